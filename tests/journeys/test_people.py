"""People: enroll one photo each, find them in their other photos and in group photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arcwise.cli.run import run

pytestmark = pytest.mark.real

PEOPLE = (
    "Family1-Dad",
    "Family1-Daughter",
    "Family1-Mom",
    "Family1-Son",
    "Family2-Lady",
    "Family2-Man",
    "Family3-Lady",
    "Family3-Man",
)
COPIES = {  # equal content under another name
    "extra-woman-image.jpg": "Family2-Lady",
    "findsimilar.jpg": None,  # Family1-Dad2.jpg, which is not enrolled
    "woman3-person-group.jpg": "Family2-Lady",
}


@pytest.fixture(scope="module")
def photos(real_data: Path) -> Path:
    return real_data / "photos"


@pytest.fixture(scope="module")
def folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each person with their first photo."""
    folder = tmp_path_factory.mktemp("people")
    for person in PEOPLE:
        (folder / person).mkdir()
        shutil.copy(photos / f"{person}1.jpg", folder / person)
    return folder


@pytest.fixture(scope="module")
def gallery(folder: Path, y1_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    options = ["--gallery", str(tmp_path_factory.mktemp("g") / "people.db"), "--model"]
    options.append(str(y1_model))
    assert run(["enroll", str(folder), *options]) == 0
    return options


def identify(
    capsys: pytest.CaptureFixture[str], gallery: list[str], *photos: Path
) -> list[dict[str, Any]]:
    capsys.readouterr()
    code = run(["identify", *map(str, photos), *gallery, "--json"])
    assert code in (0, 1)
    answer: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return answer


def test_the_other_photos_of_a_person_are_theirs(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path
) -> None:
    others = [
        photo
        for photo in sorted(photos.glob("Family*.jpg"))
        if photo.stem[-1] != "1" and photo.stem[:-1] in PEOPLE
    ]
    assert len(others) == 8
    answers = identify(capsys, gallery, *others)
    named = {Path(a["photo"]).stem[:-1]: {f["person"] for f in a["faces"]} for a in answers}
    assert named == {person: {person} for person in named}


def test_a_whole_family_is_named_in_one_photo(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path
) -> None:
    (answer,) = identify(capsys, gallery, photos / "identification1.jpg")
    left_to_right = sorted(answer["faces"], key=lambda face: face["box_xyxy_px"][0])
    assert [face["person"] for face in left_to_right] == [
        "Family1-Son",
        "Family1-Dad",
        "Family1-Mom",
        "Family1-Daughter",
    ]


def test_a_couple_is_named_in_one_photo(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path
) -> None:
    (answer,) = identify(capsys, gallery, photos / "test-image-person-group.jpg")
    assert {face["person"] for face in answer["faces"]} == {"Family2-Man", "Family2-Lady"}


def test_an_elderly_couple_is_found_in_a_photo_of_another_day(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path
) -> None:
    (answer,) = identify(capsys, gallery, photos / "detection6.jpg")
    assert {face["person"] for face in answer["faces"]} == {"Family3-Man", "Family3-Lady"}


def test_strangers_stay_unknown(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path
) -> None:
    answers = identify(capsys, gallery, *(photos / f"detection{n}.jpg" for n in range(1, 6)))
    assert [len(answer["faces"]) for answer in answers] == [1, 1, 1, 3, 3]
    faces = [face for answer in answers for face in answer["faces"]]
    assert {face["status"] for face in faces} <= {"unknown", "low_quality"}


def test_equal_photos_are_reported_whatever_their_names(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path, tmp_path: Path
) -> None:
    """On a copy of the gallery: enrolling must not change what the other tests see."""
    copy = tmp_path / "copy.db"
    shutil.copy(gallery[1], copy)
    options = ["--gallery", str(copy), *gallery[2:]]
    for name, owner in COPIES.items():
        capsys.readouterr()
        run(["enroll", str(photos / name), "--name", "Somebody", *options, "--json"])
        (row,) = json.loads(capsys.readouterr().out)
        if owner is None:
            assert row["accepted"]
            assert row["look_alike"] == "Family1-Dad"
        else:
            assert [rejection["code"] for rejection in row["rejected"]] == ["duplicate"]
            assert owner in row["rejected"][0]["why"]


def test_a_forgotten_person_is_unknown(
    capsys: pytest.CaptureFixture[str], gallery: list[str], photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(gallery[1], copy)
    options = ["--gallery", str(copy), *gallery[2:]]
    assert run(["forget", "Family1-Son", "--gallery", str(copy)]) == 0
    (answer,) = identify(capsys, options, photos / "identification1.jpg")
    named = {face["person"] for face in answer["faces"]}
    assert named == {"Family1-Dad", "Family1-Mom", "Family1-Daughter", None}
