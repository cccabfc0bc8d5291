"""The protocols of AgeDB: cells of MATLAB become pairs with folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from arcwise.errors import DatasetError, InputError, LearningError
from arcwise.evaluate.sets import agedb
from arcwise.evaluate.sets.agedb import read_agedb

FEW = 10
NAME = "04_FINAL_protocol_30_years.mat"


def cells(*shape: int) -> np.ndarray[Any, Any]:
    return np.empty(shape, dtype=object)


def names_of(fold: int, pair: int) -> tuple[str, str]:
    """Two of one person in every other pair."""
    other = fold * 10 + pair % 2
    return f"{fold * 10}_Ann_{pair}_20_f", f"{other}_Ann_{pair + 1}_50_f"


def as_struct(name: str) -> Any:
    return {"path": name, "age": 20}  # MATLAB's struct of 1 x 1


def as_cell(name: str) -> Any:
    cell = cells(1, 2)
    cell[0, 0], cell[0, 1] = name, 20
    return cell


def as_text(name: str) -> Any:
    return name


def write_agedb(
    root: Path,
    *,
    entry: Callable[[str], Any] = as_struct,
    has_structs: bool = True,
    name: str = NAME,
    change: Callable[[list[Any]], None] = lambda folds: None,
    n_pairs: int = FEW,
) -> Path:
    """A column of ten cells, each with 2 x 600 entries (or few) and as many labels."""
    folds = []
    for fold in range(10):
        entries = cells(2, n_pairs)
        for pair in range(n_pairs):
            for row, photo in enumerate(names_of(fold, pair)):
                entries[row, pair] = entry(photo)
        folds.append([entries, np.tile([1.0, -1.0], n_pairs // 2)[None]])
    change(folds)
    splits = cells(len(folds), 1)
    for i, parts in enumerate(folds):
        if has_structs:
            splits[i, 0] = dict(zip(("pairs", "labels"), parts, strict=False))
        else:
            splits[i, 0] = cells(1, len(parts))
            splits[i, 0][0, :] = parts
    savemat(root / name, {"splits": splits})
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_agedb(tmp_path_factory.mktemp("agedb"), entry=as_text, n_pairs=600)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of few pairs, as MATLAB's cells are slow to write."""
    monkeypatch.setattr(agedb, "_N_PAIRS", FEW)


def expected(n_pairs: int = FEW) -> list[tuple[str, str, bool, int]]:
    return [
        (
            f"03_Protocol_Images/{names_of(fold, pair)[0]}.jpg",
            f"03_Protocol_Images/{names_of(fold, pair)[1]}.jpg",
            pair % 2 == 0,
            fold,
        )
        for fold in range(10)
        for pair in range(n_pairs)
    ]


def test_the_layout_is_what_the_published_reader_walks_through(tmp_path):
    """The steps of agedb2pack.py (InsightFace) lead to a name in the file of these tests."""
    splits = agedb.loadmat(str(write_agedb(tmp_path) / NAME))["splits"]
    assert splits.shape == (10, 1)
    split = splits[3][0][0][0][0]
    assert split.shape == (2, FEW)
    assert str(split[1][5][0][0][0][0]) == names_of(3, 5)[1]
    assert splits[3][0][0][0][1][0][4] == 1


def test_the_whole_file_gives_ten_folds_of_600_pairs(whole):
    pairs = read_agedb(whole)
    assert [(pair.a, pair.b, pair.is_same, pair.fold) for pair in pairs] == expected(600)
    counts = Counter((pair.fold, pair.is_same) for pair in pairs)
    assert counts == {(fold, same): 300 for fold in range(10) for same in (True, False)}


def test_a_fold_of_another_size_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"fold 1 holds names of shape \(2, 10\)"):
        read_agedb(write_agedb(tmp_path))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("has_structs", [True, False], ids=["struct", "cell"])
@pytest.mark.parametrize("entry", [as_struct, as_cell, as_text])
def test_pairs_are_those_of_the_file_whether_cells_or_structs_hold_them(
    tmp_path, entry, has_structs
):
    pairs = read_agedb(write_agedb(tmp_path, entry=entry, has_structs=has_structs))
    assert [(pair.a, pair.b, pair.is_same, pair.fold) for pair in pairs] == expected()


def test_the_file_itself_is_enough(whole):
    assert len(read_agedb(whole / NAME)) == 6000


def test_photos_are_called_as_they_are_called_at_hand(whole):
    a, b = names_of(0, 0)
    pairs = read_agedb(whole, photos={f"{a}.png", f"03_Protocol_Images/{b}.jpg"})
    assert (pairs[0].a, pairs[0].b) == (f"{a}.png", f"03_Protocol_Images/{b}.jpg")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("years", [5, 10, 20])
def test_the_sisters_are_found_by_their_years(tmp_path, years):
    write_agedb(tmp_path, name=f"01_FINAL_protocol_{years}_years.mat", entry=as_text)
    assert len(read_agedb(tmp_path, years)) == 10 * FEW
    with pytest.raises(DatasetError, match=r"holds 0 files called .*_30_years\.mat"):
        read_agedb(tmp_path)


def set_label(value: float) -> Callable[[list[Any]], None]:
    def change(folds: list[Any]) -> None:
        folds[2][1][0, 7] = value

    return change


def set_name(value: Any) -> Callable[[list[Any]], None]:
    def change(folds: list[Any]) -> None:
        folds[2][0][1, 7] = value

    return change


def cut_labels(folds: list[Any]) -> None:
    folds[2][1] = folds[2][1][:, :-1]


def drop_labels(folds: list[Any]) -> None:
    del folds[2][1]


def make_one_class(folds: list[Any]) -> None:
    folds[2][1][:] = 1


def drop_fold(folds: list[Any]) -> None:
    del folds[9]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_label(0), "fold 3: label 8 is 0.0, not 1 or -1"),
        (set_label(float("nan")), "fold 3: label 8 is nan"),
        (set_name(5.0), "fold 3: pair 8 has no name"),
        (set_name(""), "fold 3: pair 8 has no name"),
        (set_name("../a"), "fold 3: pair 8 has no name"),
        (cut_labels, r"fold 3 holds names of shape \(2, 10\) and 9 labels"),
        (make_one_class, "fold 3 holds pairs of one class only"),
        (drop_fold, "holds 9 splits, not 10"),
        (drop_labels, "fold 3"),
    ],
)
def test_another_layout_is_refused_by_its_place(tmp_path, change, why):
    root = write_agedb(tmp_path, entry=as_text, has_structs=False, change=change)
    with pytest.raises(DatasetError, match=why):
        read_agedb(root)


@pytest.mark.parametrize(
    "content",
    [b"", b"text\n", b"\0" * 200, b"MATLAB 5.0 MAT-file" + b" " * 105 + b"\0\1IM" + b"\x0e"],
)
def test_what_is_no_matlab_file_is_refused(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DatasetError, match=r"is no MATLAB file|holds no `splits`"):
        read_agedb(tmp_path)


@pytest.mark.usefixtures("few")
def test_a_cut_file_is_refused(tmp_path):
    content = (write_agedb(tmp_path) / NAME).read_bytes()
    for n in range(0, len(content), len(content) // 40):
        (tmp_path / NAME).write_bytes(content[:n])
        with pytest.raises(DatasetError):
            read_agedb(tmp_path)


def test_a_file_without_splits_is_refused(tmp_path):
    savemat(tmp_path / NAME, {"other": np.zeros(3)})
    with pytest.raises(DatasetError, match="holds no `splits`"):
        read_agedb(tmp_path)


def test_missing_files_and_other_years_are_errors_of_ours(tmp_path):
    with pytest.raises(InputError, match="no protocol of 7 years"):
        read_agedb(tmp_path, 7)
    with pytest.raises(InputError, match="cannot read"):
        read_agedb(tmp_path / NAME)
    for number in ("01", "04"):
        (tmp_path / f"{number}_FINAL_protocol_30_years.mat").touch()
    with pytest.raises(DatasetError, match="holds 2 files"):
        read_agedb(tmp_path)


def test_without_scipy_the_error_says_what_to_install(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(agedb, "loadmat", None)
    with pytest.raises(LearningError, match="scipy is not installed") as caught:
        read_agedb(whole)
    assert "arcwise[report]" in caught.value.hint
