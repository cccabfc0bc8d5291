"""What a check finds: each thing planted is found, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from arcwise.data.check import CheckOptions, CheckReport, check_place
from arcwise.data.facts import KINDS
from arcwise.data.lists import write_list
from arcwise.data.records import write_records
from arcwise.encode import write_image
from arcwise.errors import InputError
from arcwise.image import read_image, resize_image
from arcwise.types import Image


@pytest.fixture
def photos(drawn_crops: Path, tmp_path: Path) -> Path:
    """Eight people, six photos each, with nothing wrong."""
    return Path(shutil.copytree(drawn_crops, tmp_path / "photos"))


def kinds_of(report: CheckReport) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for finding in report.findings:
        found.setdefault(finding.kind, []).append(finding.photos)
    return found


def draw_blots() -> Image:
    """A crop that is like no other."""
    blots = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return resize_image(blots, (112, 112))


def test_a_good_set_is_fine(photos: Path) -> None:
    report = check_place(photos)
    assert report.is_fine, report.findings
    assert (report.form, report.n_people, report.n_photos, report.notes) == ("folder", 8, 48, ())


def test_broken_empty_and_foreign_files_are_found(photos: Path) -> None:
    whole = (photos / "person0" / "0.png").read_bytes()
    (photos / "person0" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "person1" / "empty.jpg").write_bytes(b"")
    (photos / "person2" / "page.jpg").write_bytes(b"<html><body>not found</body></html>")
    report = check_place(photos)
    assert kinds_of(report) == {
        "broken": [("person0/cut.png",), ("person1/empty.jpg",), ("person2/page.jpg",)]
    }
    assert "web page" in report.findings[2].text


def test_one_file_twice_is_found_for_one_person_and_for_two(photos: Path) -> None:
    shutil.copy(photos / "person0" / "0.png", photos / "person0" / "copy.png")
    shutil.copy(photos / "person1" / "0.png", photos / "person2" / "taken.png")
    shutil.copy(photos / "person1" / "0.png", photos / "person3" / "too.png")
    report = check_place(photos, options=CheckOptions(near=False))
    assert kinds_of(report) == {
        "repeated": [("person0/0.png", "person0/copy.png")],
        "twins": [("person1/0.png", "person2/taken.png", "person3/too.png")],
    }
    assert report.findings[1].people == ("person1", "person2", "person3")


def test_a_changed_copy_under_another_name_is_found_unless_it_is_not_looked_for(
    photos: Path,
) -> None:
    image = draw_blots()
    changed = np.clip(image.astype(np.float32) * 0.9 + 5, 0, 255).astype(np.uint8)
    write_image(photos / "person4" / "2.png", image)
    write_image(photos / "person4" / "same.jpg", changed)  # one person may have similar photos
    assert check_place(photos).is_fine
    write_image(photos / "person5" / "x.jpg", changed)
    assert kinds_of(check_place(photos)) == {
        "twins": [("person4/2.png", "person4/same.jpg", "person5/x.jpg")]
    }
    equal = check_place(photos, options=CheckOptions(near=False))
    assert kinds_of(equal) == {"twins": [("person4/same.jpg", "person5/x.jpg")]}


def test_photos_of_another_size_than_most_or_than_asked_for_are_found(photos: Path) -> None:
    write_image(photos / "person6" / "large.png", np.full((200, 180, 3), 90, np.uint8))
    report = check_place(photos)
    assert kinds_of(report) == {"size": [("person6/large.png",)]}
    assert report.findings[0].text == "person6/large.png has 180x200 px, not 112x112"
    asked = check_place(photos, options=CheckOptions(size_px=128))
    assert len(asked.findings) == 49


def test_sizes_that_differ_all_over_are_a_note(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for person in range(3):
        for size in range(2):
            noise = generator.integers(0, 255, (60 + 9 * person + size, 70, 3))
            write_image(tmp_path / "p" / f"{person}" / f"{size}.png", noise.astype(np.uint8))
    report = check_place(tmp_path / "p")
    assert report.is_fine
    assert report.notes == ("photos have 6 sizes; `arcwise prepare` cuts crops of one size",)


def test_people_without_photos_and_photos_without_people_are_found(photos: Path) -> None:
    (photos / "nobody").mkdir()
    shutil.move(photos / "person7" / "0.png", photos / "stray.png")
    report = check_place(photos)
    assert kinds_of(report) == {"empty": [()], "homeless": [("stray.png",)]}
    assert report.findings[0].people == ("nobody",)


@pytest.mark.parametrize("n_people", [0, 1])
def test_fewer_than_two_people_are_found(drawn_crops: Path, tmp_path: Path, n_people: int) -> None:
    root = tmp_path / "p"
    shutil.copytree(drawn_crops / "person0", root / "Ann" if n_people else root)
    report = check_place(root)
    assert report.findings[0].kind == "people"
    assert ("only Ann" if n_people else "nobody") in report.findings[0].text
    assert len(report.findings) == (1 if n_people else 7)


def test_a_list_that_names_missing_files_is_found_out(photos: Path) -> None:
    lines = [("person0/0.png", 0), ("person0/gone.png", 0), ("person1/0.png", 1)]
    report = check_place(write_list(photos / "train.txt", lines))
    assert kinds_of(report) == {"missing": [("person0/gone.png",)]}
    assert (report.form, report.n_people, report.n_photos) == ("list", 2, 3)


def test_a_list_with_one_photo_of_two_people_is_found_out(photos: Path) -> None:
    lines = [("person0/0.png", 0), ("person1/0.png", 1), ("person0/0.png", 1)]
    report = check_place(write_list(photos / "train.txt", lines))
    assert kinds_of(report) == {"twins": [("person0/0.png", "person0/0.png")]}


# ── record files ──


@pytest.fixture
def rec(drawn_crops: Path, tmp_path: Path) -> Path:
    """Four people with three crops each."""
    path = tmp_path / "set" / "train.rec"
    files = [
        (drawn_crops / f"person{i}" / f"{j}.png").read_bytes() for i in range(4) for j in "012"
    ]
    write_records(path, zip(files, np.repeat(range(4), 3).tolist(), strict=True))
    return path


def test_a_good_record_file_is_fine(rec: Path) -> None:
    report = check_place(rec)
    assert report.is_fine, report.findings
    assert (report.form, report.n_people, report.n_photos) == ("records", 4, 12)


def test_a_record_file_that_is_cut_off_is_a_finding_and_no_error(rec: Path) -> None:
    rec.write_bytes(rec.read_bytes()[:-3000])
    report = check_place(rec)
    assert [finding.kind for finding in report.findings] == ["unreadable"]
    assert (report.form, report.n_people) == ("", 0)


def test_an_index_that_lies_is_found(rec: Path) -> None:
    for name in ("train.json", "train.labels.npy"):
        (rec.parent / name).unlink()
    index = rec.with_suffix(".idx")
    lines = index.read_text().splitlines()
    key, offset = lines[5].split("\t")
    lines[5] = f"{key}\t{int(offset) + 4}"
    index.write_text("\n".join(lines) + "\n")
    (finding,) = check_place(rec).findings
    assert finding.kind == "unreadable"
    assert "no record begins" in finding.text


def test_gaps_of_labels_are_found(drawn_crops: Path, tmp_path: Path) -> None:
    files = [(drawn_crops / f"person{i}" / "0.png").read_bytes() for i in range(3)]
    write_records(tmp_path / "set" / "train.rec", zip(files, (0, 2, 5), strict=True))
    report = check_place(tmp_path / "set")
    assert [finding.kind for finding in report.findings] == ["records"]
    assert "3 numbers have no crop, such as 1, 3, 4" in report.findings[0].text


def test_a_broken_crop_among_records_is_found(rec: Path) -> None:
    content = bytearray(rec.read_bytes())
    at = content.find(b"IDAT", len(content) // 2)
    content[at + 10 : at + 40] = bytes(30)
    rec.write_bytes(bytes(content))
    report = check_place(rec)
    assert [finding.kind for finding in report.findings] == ["broken"]


# ── against what is known and what will be scored ──


def test_counts_of_a_public_set_are_compared(photos: Path) -> None:
    report = check_place(photos, options=CheckOptions(known="lfw"))
    assert [finding.kind for finding in report.findings] == ["counts", "counts"]
    with pytest.raises(InputError, match="no known set is called 'lwf'"):
        check_place(photos, options=CheckOptions(known="lwf"))


def test_people_of_a_list_of_pairs_are_found_by_fold(photos: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "a,b,is_same,fold\n"
        "person0/0.png,person0/1.png,1,1\nperson0/0.png,Zoe/1.png,0,1\n"
        "Zoe/0.png,Zoe/1.png,1,2\nPerson_3/0.png,Zoe/1.png,0,2\n"
    )
    found = check_place(photos, options=CheckOptions(pairs=pairs)).findings
    assert [finding.people for finding in found] == [
        ("person0", "person0"),
        ("person3", "Person_3"),
    ]
    first = check_place(photos, options=CheckOptions(pairs=pairs, folds=(1,))).findings
    assert [finding.people for finding in first] == [("person0", "person0")]
    with pytest.raises(InputError, match="of no list"):
        CheckOptions(folds=(1,))


def test_people_who_are_numbers_are_not_compared_and_a_note_says_so(
    rec: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("1/0.png 1/1.png 1\n1/0.png 2/1.png 0\n" * 2)
    report = check_place(rec, options=CheckOptions(pairs=pairs))
    assert report.is_fine
    assert "names say nothing" in report.notes[0]


def test_a_photo_that_will_be_scored_is_found_under_another_name(
    photos: Path, tmp_path: Path
) -> None:
    scored = tmp_path / "scored" / "Zoe"
    scored.mkdir(parents=True)
    write_image(photos / "person2" / "9.png", draw_blots())
    write_image(scored / "7.jpg", read_image(photos / "person2" / "9.png"))
    report = check_place(photos, options=CheckOptions(photos=scored.parent))
    assert kinds_of(report) == {"seen": [("person2/9.png", "Zoe/7.jpg")]}


def test_crops_and_photos_are_not_comparable_and_a_note_says_so(
    photos: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "scored" / "Zoe" / "1.png", np.full((250, 250, 3), 7, np.uint8))
    report = check_place(photos, options=CheckOptions(photos=tmp_path / "scored"))
    assert report.is_fine
    assert "112x112 px" in report.notes[0]
    assert "250x250 px" in report.notes[0]


def test_the_report_is_plain_and_in_the_order_of_the_kinds(photos: Path) -> None:
    (photos / "nobody").mkdir()
    (photos / "person1" / "empty.jpg").write_bytes(b"")
    shutil.copy(photos / "person0" / "0.png", photos / "person2" / "taken.png")
    plain = json.loads(json.dumps(check_place(photos).to_dict()))
    assert plain["counts"] == {"empty": 1, "broken": 1, "twins": 1}
    assert [finding["kind"] for finding in plain["findings"]] == ["empty", "broken", "twins"]
    assert set(plain["counts"]) <= set(KINDS)
    assert plain["is_fine"] is False


@pytest.mark.real
@pytest.mark.slow
def test_lfw_has_five_photos_under_two_names(real_data: Path) -> None:
    """Each of the five was looked at: one photograph, two people."""
    report = check_place(
        real_data / "lfw" / "lfw-deepfunneled.zip", options=CheckOptions(known="lfw")
    )
    assert sorted(finding.people for finding in report.findings) == [
        ("Andrew_Caldecott", "Andrew_Gilligan"),
        ("Bart_Hendricks", "Ricky_Ray"),
        ("Carlos_Beltran", "Raul_Ibanez"),
        ("Emmy_Rossum", "Eva_Amurri"),
        ("Gabrielle_Rose", "Martha_Bowen"),
    ]
    assert report.count_kinds() == {"twins": 5}
