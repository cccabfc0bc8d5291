"""What is given says how it is read: a list, the folder of CFP, the folder of AgeDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets import pairset as lists
from arcwise.evaluate.sets.pairset import PAIR_SETS, open_pairs
from arcwise.types import Pair


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which sets were read."""
    names: list[str] = []

    def answer(name: str):
        def read(root: Path, photos: object) -> list[Pair]:
            names.append(name)
            return []

        return read

    monkeypatch.setattr(lists, "PAIR_SETS", {name: answer(name) for name in PAIR_SETS})
    return names


def make_cfp(root: Path) -> Path:
    (root / "Protocol" / "Split").mkdir(parents=True)
    return root


def make_agedb(root: Path) -> Path:
    (root / "04_FINAL_protocol_30_years.mat").touch()
    return root


def test_a_list_is_read_with_its_folds(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("a/1.jpg a/2.jpg 1\na/1.jpg b/1.jpg 0\n" * 3)
    pairs = open_pairs(path, photos=["a/1.png"], n_folds=3)
    assert [pair.fold for pair in pairs] == [0, 0, 1, 1, 2, 2]
    assert pairs[0].a == "a/1.png"


def test_a_folder_is_known_by_what_is_in_it(tmp_path, asked):
    (tmp_path / "c").mkdir()
    (tmp_path / "a").mkdir()
    open_pairs(make_cfp(tmp_path / "c"))
    open_pairs(make_agedb(tmp_path / "a"))
    open_pairs(tmp_path / "a" / "04_FINAL_protocol_30_years.mat")
    assert asked == ["cfp-fp", "agedb-30", "agedb-30"]


@pytest.mark.parametrize("name", PAIR_SETS)
def test_a_set_that_is_named_is_taken(tmp_path, asked, name):
    open_pairs(make_agedb(make_cfp(tmp_path)), set_name=name)
    assert asked == [name]


def test_each_name_of_a_set_has_its_own_reader(tmp_path):
    for name in PAIR_SETS:
        wanted = "Pair_list" if name.startswith("cfp") else f"_{name.partition('-')[2]}_years"
        with pytest.raises((DatasetError, InputError), match=wanted):
            open_pairs(tmp_path, set_name=name)


def test_a_folder_of_no_set_or_of_two_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no protocol that we know"):
        open_pairs(tmp_path)
    with pytest.raises(DatasetError, match="protocols of CFP and of AgeDB"):
        open_pairs(make_agedb(make_cfp(tmp_path)))


def test_a_pack_a_set_for_a_list_and_an_unknown_set_are_refused(tmp_path):
    (tmp_path / "list.txt").touch()
    for name, set_name, why in (
        ("lfw.bin", "", "is a pack with photos of its own"),
        ("list.txt", "cfp-fp", "is a list, cfp-fp is a folder"),
        ("list.txt", "cfp", "no set 'cfp'"),
    ):
        with pytest.raises(InputError, match=why):
            open_pairs(tmp_path / name, set_name=set_name)
