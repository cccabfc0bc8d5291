"""The protocol of CFP becomes pairs with its own folds, in the layout of the set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.cfp import read_cfp, read_fiducials


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cfp(tmp_path_factory.mktemp("cfp"))


def write_cfp(root: Path) -> Path:
    """All lines of the published protocol; 500 people with 10 frontal photos and 4 profiles."""
    protocol = root / "Protocol"
    protocol.mkdir(parents=True)
    for letter, view, n_each in (("F", "frontal", 10), ("P", "profile", 4)):
        lines = [
            f"{n_each * person + i + 1} ../Data/Images/{person + 1:03d}/{view}/{i + 1:02d}.jpg"
            for person in range(500)
            for i in range(n_each)
        ]
        (protocol / f"Pair_list_{letter}.txt").write_text("\n".join(lines) + "\n")
    for kind, n_second in (("FF", 10), ("FP", 4)):
        for fold in range(10):
            folder = protocol / "Split" / kind / f"{fold + 1:02d}"
            folder.mkdir(parents=True)
            write_split(folder, fold, n_second)
    return root


def write_split(folder: Path, fold: int, n_second: int) -> None:
    people = np.repeat(np.arange(50 * fold, 50 * fold + 50), 7)
    places = np.tile(np.arange(7), 50)
    for name, other in (("same", people), ("diff", np.roll(people, 7))):
        first = 10 * people + places + 1
        second = n_second * other + (places + 1) % n_second + 1
        lines = [f"{i},{j}" for i, j in zip(first, second, strict=True)]
        (folder / f"{name}.txt").write_text("\r\n".join(lines) + "\r\n")


@pytest.mark.parametrize(("kind", "second"), [("FF", "frontal"), ("FP", "profile")])
def test_ten_folds_of_350_pairs_each(whole, kind, second):
    pairs = read_cfp(whole, kind)
    counts = Counter((pair.fold, pair.is_same) for pair in pairs)
    assert counts == {(fold, same): 350 for fold in range(10) for same in (True, False)}
    assert pairs[0].a == "Data/Images/001/frontal/01.jpg"
    assert pairs[0].b == f"Data/Images/001/{second}/02.jpg"
    for pair in pairs:
        assert (pair.a.split("/")[2] == pair.b.split("/")[2]) == pair.is_same
        assert (pair.a.split("/")[3], pair.b.split("/")[3]) == ("frontal", second)


@pytest.mark.parametrize("start", ["Data/Images/", "Images/", ""])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photos_are_called_as_they_are_called_at_hand(whole, start, suffix):
    photos = {f"{start}001/frontal/01.{suffix}", f"{start}001/profile/02.{suffix}"}
    first, second, *_ = read_cfp(whole, photos=photos)
    assert {first.a, first.b} == photos
    assert second.a == "Data/Images/001/frontal/02.jpg"  # not there: a failed read under its name


def change(whole: Path, place: str, old: str, new: str) -> None:
    path = whole / "Protocol" / place
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("place", "old", "new", "why"),
    [
        ("Split/FP/03/same.txt", "1001,", "", "same.txt:1: .* is not `i,j`"),
        ("Split/FP/03/same.txt", "1001,", "5001,", "photo 5001 is not among the 5000"),
        ("Split/FP/03/same.txt", "1001,", "0,", "photo 0 is not among"),
        ("Split/FP/03/same.txt", "1001,402\n", "", "holds 349 pairs, the published file has 350"),
        ("Split/FP/03/same.txt", ",402", ",2001", "photo 2001 is not among the 2000"),
        ("Pair_list_P.txt", "2 ../", "1 ../", ":2: a second photo has number 1"),
        ("Pair_list_P.txt", "2 ../", "../", ":2: .* is not `number path`"),
        ("Pair_list_P.txt", "2 ../", "2 ../../", ":2: .* leads out of the set"),
        ("Pair_list_P.txt", "2 ../", "2 /", ":2: .* leads out of the set"),
    ],
)
def test_a_damaged_protocol_is_refused_by_its_line(tmp_path, place, old, new, why):
    root = write_cfp(tmp_path)
    change(root, place, old, new)
    with pytest.raises(DatasetError, match=why):
        read_cfp(root)


def test_an_empty_list_and_one_that_is_no_text_are_refused(tmp_path):
    root = write_cfp(tmp_path)
    place = root / "Protocol" / "Pair_list_F.txt"
    place.write_text("\n")
    with pytest.raises(DatasetError, match="names no photos"):
        read_cfp(root)
    place.write_bytes(b"1 \xff\n")
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_cfp(root)


def test_a_folder_without_protocol_and_an_unknown_kind_are_errors_of_ours(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*Pair_list_F\.txt"):
        read_cfp(tmp_path)
    with pytest.raises(InputError, match="no protocol 'PP'"):
        read_cfp(tmp_path, "PP")


def test_fiducials_are_thirty_points(tmp_path):
    path = tmp_path / "01.txt"
    path.write_text("".join(f"{i}.5,{2 * i}\n" for i in range(30)))
    points = read_fiducials(path)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, [[i + 0.5, 2 * i] for i in range(30)])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2\n" * 29, "holds 29 points, 29 of them finite"),
        ("1,2\n" * 29 + "nan,1\n", "holds 30 points, 29 of them finite"),
        ("1,2\n1,2,3\n", ":2: '1,2,3' is not `x,y`"),
        ("1 2\n", ":1: '1 2' is not `x,y`"),
        ("", "holds 0 points"),
    ],
)
def test_other_points_are_refused(tmp_path, text, why):
    path = tmp_path / "01.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=why):
        read_fiducials(path)
