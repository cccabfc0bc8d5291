"""A choice written down: the list and the copies, and that they are whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from arcwise.data.lists import read_list
from arcwise.data.records import write_records
from arcwise.data.scan import scan_place
from arcwise.data.selection import SelectionRules, select_samples
from arcwise.data.subset import copy_selection, is_found, write_selection
from arcwise.errors import DatasetError, InputError

RULES = SelectionRules(n_people=3, max_photos=2, seed=4)


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_list_has_the_chosen_photos_with_their_labels(drawn_crops: Path, tmp_path: Path) -> None:
    with scan_place(drawn_crops) as scan:
        chosen = select_samples(scan.samples, RULES).shuffled(scan.samples, 4)
        out = write_selection(scan, chosen, tmp_path / "train.txt")
    found = read_list(out).photos
    assert [photo.path for photo in found] == [scan.paths[i] for i in chosen.positions]
    assert [int(photo.person) for photo in found] == chosen.labels.tolist()
    assert out.read_text().splitlines()[0].split("\t")[1].isdecimal()


def test_a_list_that_is_there_is_replaced_when_asked_only(
    drawn_crops: Path, tmp_path: Path
) -> None:
    out = tmp_path / "train.txt"
    out.write_text("mine")
    with scan_place(drawn_crops) as scan:
        chosen = select_samples(scan.samples, RULES)
        with pytest.raises(InputError, match="exists already"):
            write_selection(scan, chosen, out)
        assert out.read_text() == "mine"
        write_selection(scan, chosen, out, overwrite=True)
    assert len(out.read_text().splitlines()) == 6


def test_a_name_that_is_no_text_is_refused_and_nothing_is_written(
    drawn_crops: Path, tmp_path: Path
) -> None:
    person = tmp_path / "photos" / b"J\xf6rg".decode(errors="surrogateescape")
    shutil.copytree(drawn_crops / "person0", person)
    with scan_place(tmp_path / "photos") as scan:
        chosen = select_samples(scan.samples, SelectionRules())
        with pytest.raises(InputError, match="no text"):
            write_selection(scan, chosen, tmp_path / "train.txt")
        copy_selection(scan, chosen, tmp_path / "copy")
    assert not (tmp_path / "train.txt").exists()
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "photos")


def test_records_are_copied_and_cannot_be_listed(drawn_crops: Path, tmp_path: Path) -> None:
    contents = [(drawn_crops / f"person{i}" / "0.png").read_bytes() for i in range(3)]
    write_records(tmp_path / "set" / "train.rec", zip(contents, range(3), strict=True))
    with scan_place(tmp_path / "set") as scan:
        chosen = select_samples(scan.samples, SelectionRules())
        with pytest.raises(InputError, match="holds records"):
            write_selection(scan, chosen, tmp_path / "train.txt")
        copy_selection(scan, chosen, tmp_path / "copy")
    assert files_of(tmp_path / "copy") == {
        f"{label:07d}/{label + 1:08d}.png": content for label, content in enumerate(contents)
    }


def test_copies_have_the_bytes_of_the_photos_and_only_the_chosen_ones(
    drawn_crops: Path, tmp_path: Path
) -> None:
    with scan_place(drawn_crops) as scan:
        chosen = select_samples(scan.samples, RULES)
        out = copy_selection(scan, chosen, tmp_path / "small")
        expected = {scan.paths[i]: scan.read(i) for i in chosen.positions}
    assert files_of(out) == expected


def test_equal_names_of_one_person_and_wrong_endings_are_told_apart(
    drawn_crops: Path, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    places = ("2019/Ann/1.png", "2020/Ann/1.PNG", "2021/Ann/1.jpg")
    for number, place in enumerate(places):
        (root / place).parent.mkdir(parents=True)
        shutil.copy(drawn_crops / "person0" / f"{number}.png", root / place)
    with scan_place(root) as scan:
        out = copy_selection(
            scan, select_samples(scan.samples, SelectionRules()), tmp_path / "copy"
        )
    assert sorted(files_of(out)) == ["Ann/1.jpg.png", "Ann/1.png", "Ann/1~2.PNG"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(
    drawn_crops: Path, tmp_path: Path, error: BaseException
) -> None:
    def stop(positions: Iterable[int], _total: int) -> Iterator[int]:
        yield from list(positions)[:3]
        raise error

    with scan_place(drawn_crops) as scan:
        chosen = select_samples(scan.samples, RULES)
        with pytest.raises((KeyboardInterrupt, OSError)):
            copy_selection(scan, chosen, tmp_path / "here" / "small", watch=stop)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_missing_photo_is_named_and_nothing_is_left(drawn_crops: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(drawn_crops, root)
    with scan_place(root) as scan:
        (root / "person1" / "3.png").unlink()
        chosen = select_samples(scan.samples, SelectionRules())
        with pytest.raises(DatasetError, match=r"person1/3\.png"):
            copy_selection(scan, chosen, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "arcwise-home") == [
        "photos"
    ]


def test_a_folder_that_holds_something_is_never_filled(drawn_crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with scan_place(drawn_crops) as scan:
        chosen = select_samples(scan.samples, RULES)
        with pytest.raises(InputError, match="exists already"):
            copy_selection(scan, chosen, out)
        (out / "mine.txt").unlink()
        copy_selection(scan, chosen, out)  # an empty one is
    assert len(files_of(out)) == 6


def test_training_finds_a_list_in_its_folder_or_one_below(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    assert is_found(tmp_path / "train.txt", tmp_path)
    assert is_found(tmp_path / "lists" / "train.txt", tmp_path)
    assert not is_found(tmp_path.parent / "train.txt", tmp_path)
