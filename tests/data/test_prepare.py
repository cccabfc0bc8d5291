"""Photos of people become crops and a manifest, also after an interruption.

The detector is a fake that knows the drawn photos by their pixels; tests/cli/test_prepare.py
has the real one, real processes and real blows.
"""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arcwise.align import align_faces
from arcwise.data import crop as crop_room
from arcwise.data import prepare as prepare_room
from arcwise.data.manifest import (
    LOCK_NAME,
    MANIFEST_NAME,
    CropContract,
    PreparedPhoto,
    lock_folder,
    read_manifest,
)
from arcwise.data.prepare import PrepareOptions, PrepareReport, prepare_photos
from arcwise.detect import DETECTORS
from arcwise.encode import write_image
from arcwise.errors import DatasetError, InputError
from arcwise.image import perceptual_hash, pixel_digest, read_image
from arcwise.settings import Settings
from arcwise.testing import DrawnPhoto, FakeDetector, draw_photo
from arcwise.types import Face, Image

N_PEOPLE, N_VARIATIONS = 4, 3
OPTIONS = PrepareOptions(detector="fake", format="png", n_workers=1)


class Watchful(FakeDetector):
    """Remembers how many photos it was given each time."""

    def __init__(self, faces: dict[str, tuple[Face, ...]]) -> None:
        super().__init__(faces)
        self.faces = faces
        self.n_photos: list[int] = []

    def detect(self, images: list[Image]) -> list[list[Face]]:
        self.n_photos.append(len(images))
        return super().detect(images)

    def learn(self, photo: DrawnPhoto) -> DrawnPhoto:
        self.faces[pixel_digest(photo.image)] = photo.faces
        return photo


@pytest.fixture(scope="session")
def drawn() -> dict[str, DrawnPhoto]:
    """Small photos of four people, three of each, by name."""
    return {
        f"person{person}/{variation}.png": draw_photo([person], widths_px=[60], variation=variation)
        for person in range(N_PEOPLE)
        for variation in range(N_VARIATIONS)
    }


@pytest.fixture
def detector(drawn: dict[str, DrawnPhoto], monkeypatch: pytest.MonkeyPatch) -> Watchful:
    fake = Watchful({pixel_digest(photo.image): photo.faces for photo in drawn.values()})
    monkeypatch.setitem(DETECTORS, "fake", lambda _: fake)
    monkeypatch.setattr(prepare_room, "_CHUNK_PHOTOS", 4)
    return fake


@pytest.fixture(scope="session")
def drawn_folder(drawn: dict[str, DrawnPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "people"
    for name, photo in drawn.items():
        write_image(folder / name, photo.image)
    return folder


@pytest.fixture
def photos(drawn_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn_folder, tmp_path / "people"))


@pytest.fixture
def out(tmp_path: Path, detector: Watchful) -> Path:
    return tmp_path / "out"


def prepare(photos: Path, out: Path, **changes: object) -> PrepareReport:
    return prepare_photos(photos, out, options=replace(OPTIONS, **changes))  # type: ignore[arg-type]


def content(out: Path) -> dict[str, bytes]:
    """Every file of a prepared folder; the lines of the manifest in a fixed order."""
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    lines = files[MANIFEST_NAME].splitlines(keepends=True)
    return files | {MANIFEST_NAME: b"".join(sorted(lines))}


def line_of(out: Path, photo: str) -> PreparedPhoto:
    return {line.photo: line for line in read_manifest(out)}[photo]


def interrupt_after(n_photos: int):
    def watch(done: Iterable[PreparedPhoto], _: int) -> Iterable[PreparedPhoto]:
        for number, photo in enumerate(done, start=1):
            yield photo
            if number == n_photos:
                raise KeyboardInterrupt

    return watch


# Crops


def test_every_photo_becomes_the_aligned_crop_of_its_face_with_what_lies_around(
    drawn: dict[str, DrawnPhoto], photos: Path, out: Path
) -> None:
    report = prepare(photos, out)
    assert (report.n_photos, report.n_crops, report.n_done_before) == (12, 12, 0)
    assert report.people == {f"person{person}": N_VARIATIONS for person in range(N_PEOPLE)}
    assert (report.failures, report.people_without_crop, report.equal_photos) == ({}, (), ())
    for name, photo in drawn.items():
        points = photo.faces[0].points_px[None]
        crop = read_image(out / "crops" / f"{name}.png")
        np.testing.assert_array_equal(crop, align_faces(photo.image, points, border_px=16)[0])
        np.testing.assert_array_equal(crop[16:-16, 16:-16], align_faces(photo.image, points)[0])


def test_the_manifest_says_what_was_found(
    drawn: dict[str, DrawnPhoto], photos: Path, out: Path
) -> None:
    prepare(photos, out)
    lines = read_manifest(out)
    assert [line.photo for line in lines] == sorted(drawn)
    line, face = lines[0], drawn["person0/0.png"].faces[0]
    assert (line.person, line.crop) == ("person0", "crops/person0/0.png.png")
    np.testing.assert_allclose(line.box, face.box_xyxy_px, atol=0.01)
    np.testing.assert_allclose(line.points, face.points_px, atol=0.01)
    assert (line.score, line.n_faces, line.error) == (1.0, 1, None)
    inner = read_image(out / line.crop)[16:-16, 16:-16]
    assert line.hash == f"{perceptual_hash(inner):016x}"


def test_the_contract_says_how(photos: Path, out: Path) -> None:
    prepare(photos, out, border_px=0, format="jpg", select="only")
    contract = CropContract.load(out)
    assert (contract.border_px, contract.format, contract.quality) == (0, "jpg", 95)
    assert (contract.select, contract.min_face_px, contract.source) == ("only", 40, "people")
    assert contract.detector.name == FakeDetector.name
    assert read_image(out / "crops/person0/0.png.jpg").shape == (112, 112, 3)


def test_a_folder_and_its_archive_give_the_same(photos: Path, out: Path) -> None:
    archive = out.parent / "people.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in photos.rglob("*.png"):
            packed.write(path, path.relative_to(photos.parent))
    prepare(photos, out)
    prepare(archive, out.parent / "unpacked")
    expected, found = content(out), content(out.parent / "unpacked")
    assert expected.pop("prepared.json").replace(b'"people"', b'"people.zip"') == found.pop(
        "prepared.json"
    )
    assert found == expected


def test_of_two_faces_the_one_in_the_middle_is_taken(
    photos: Path, out: Path, detector: Watchful
) -> None:
    photo = detector.learn(draw_photo([5, 6, 7], widths_px=[60, 60, 60]))
    write_image(photos / "person5" / "group.png", photo.image)
    prepare(photos, out)
    line = line_of(out, "person5/group.png")
    assert line.n_faces == 3
    np.testing.assert_allclose(line.box, photo.faces[1].box_xyxy_px, atol=0.01)


# Names


def test_photos_that_differ_by_their_suffix_keep_both_crops(
    drawn: dict[str, DrawnPhoto], photos: Path, out: Path
) -> None:
    write_image(photos / "person0" / "0.bmp", drawn["person0/1.png"].image)
    prepare(photos, out)
    crops = [read_image(out / f"crops/person0/0.{suffix}.png") for suffix in ("png", "bmp")]
    assert not np.array_equal(*crops)


def test_a_person_is_the_last_folder_and_two_of_one_name_keep_their_crops(
    drawn: dict[str, DrawnPhoto], tmp_path: Path, out: Path
) -> None:
    for number, place in enumerate(("2019/Zoë", "2020/Zoë")):
        write_image(tmp_path / "x" / place / "1.png", drawn[f"person0/{number}.png"].image)
    report = prepare(tmp_path / "x", out)
    assert report.people == {"Zoë": 2}
    assert len({line.crop for line in read_manifest(out)}) == 2


def test_names_that_differ_by_case_alone_never_share_a_crop(
    drawn: dict[str, DrawnPhoto], tmp_path: Path, out: Path
) -> None:
    names = ["ann/1.png", "Ann/1.png", "Ann/2.png", "Zoë/1.png", "Zoe\u0308/1.png"]
    archive = tmp_path / "people.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, path in zip(names, sorted(drawn), strict=False):
            place = write_image(tmp_path / "one.png", drawn[path].image)
            packed.write(place, name)
    report = prepare(archive, out)
    assert report.people == {"ann": 1, "Ann": 2, "Zoë": 1, "Zoe\u0308": 1}
    crops = [line.crop for line in read_manifest(out) if line.crop]
    folded = {unicodedata.normalize("NFC", crop).casefold() for crop in crops}
    assert len(folded) == len(crops) == 5
    assert "crops/Ann/2.png.png" in crops


def test_a_name_as_long_as_the_disk_allows_has_a_crop(
    drawn: dict[str, DrawnPhoto], tmp_path: Path, out: Path
) -> None:
    name = "x" * 251 + ".png"
    place = write_image(tmp_path / "people" / "Ann" / "1.png", drawn["person0/0.png"].image)
    place.rename(place.with_name(name))
    prepare(tmp_path / "people", out)
    crop = line_of(out, f"Ann/{name}").crop
    assert crop is not None
    assert (out / crop).is_file()


def test_a_name_that_is_no_text_has_a_crop(
    drawn: dict[str, DrawnPhoto], tmp_path: Path, out: Path
) -> None:
    place = write_image(tmp_path / "people" / "Ann" / "1.png", drawn["person0/0.png"].image)
    try:
        place.parent.rename(place.parent.with_name(os.fsdecode(b"\xff")))
    except OSError:
        pytest.skip("this file system wants text")
    assert prepare(tmp_path / "people", out).people == {"\udcff": 1}
    assert prepare(tmp_path / "people", out).n_done_before == 1


# Failures


def test_a_photo_without_crop_says_why_and_the_others_are_done(
    drawn: dict[str, DrawnPhoto], photos: Path, out: Path
) -> None:
    write_image(photos / "person0" / "wall.png", np.full((50, 50, 3), 99, np.uint8))
    (photos / "person1" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (photos / "person9").mkdir()
    (photos / "person9" / "text.jpg").write_text("a text")
    write_image(photos / "lost.png", drawn["person0/0.png"].image)
    report = prepare(photos, out)
    assert (report.n_photos, report.n_crops) == (16, 12)
    assert list(report.failures) == [
        "lost.png", "person0/wall.png", "person1/broken.jpg", "person9/text.jpg"
    ]  # fmt: skip
    lost, wall, broken, text = report.failures.values()
    assert lost == "it lies in no folder of a person"
    assert wall == "no face was found"
    assert "broken.jpg" in broken
    assert "not a photo" in text
    assert report.people_without_crop == ("person9",)
    assert line_of(out, "person0/wall.png") == PreparedPhoto(
        "person0/wall.png", "person0", error=wall
    )
    assert line_of(out, "lost.png").person == ""
    assert json.loads(json.dumps(report.to_dict()))["failures"][1] == {
        "photo": "person0/wall.png",
        "why": wall,
    }


def test_several_faces_are_a_failure_when_only_one_may_be_there(
    photos: Path, out: Path, detector: Watchful
) -> None:
    photo = detector.learn(draw_photo([5, 6], widths_px=[60, 60]))
    write_image(photos / "person5" / "two.png", photo.image)
    report = prepare(photos, out, select="only")
    assert report.failures["person5/two.png"].startswith("2 faces were found")
    assert line_of(out, "person5/two.png").n_faces == 2


def test_a_photo_above_the_limit_of_pixels_is_not_decoded(photos: Path, out: Path) -> None:
    write_image(photos / "person0" / "large.png", np.zeros((600, 600, 3), np.uint8))
    settings = replace(Settings.from_environment(), max_megapixels=0.3)
    report = prepare_photos(photos, out, options=OPTIONS, settings=settings)
    assert "600x600" in report.failures["person0/large.png"]
    assert report.n_crops == 12


def test_large_photos_are_not_held_in_memory_together(
    photos: Path, out: Path, detector: Watchful, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(photos, out)
    assert detector.n_photos == [4, 4, 4]
    detector.n_photos.clear()
    monkeypatch.setattr(crop_room, "_BATCH_PIXELS", 10_000)  # less than one of these
    prepare(photos, out.with_name("again"))
    assert detector.n_photos == [1] * 12
    assert content(out) == content(out.with_name("again"))


def test_who_must_stop_in_a_chunk_keeps_what_is_finished(
    photos: Path, out: Path, detector: Watchful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_room, "_BATCH_PIXELS", 1)
    prepare(photos, out)
    before = content(out)
    places = {line.photo: line.crop for line in read_manifest(out)[:4] if line.crop}
    job = crop_room.Job(photos, out, CropContract.load(out), "fake", Settings.from_environment())
    answers = iter([False, False, True])
    cropper = crop_room.Cropper(job, must_stop=lambda: next(answers))
    lines = cropper.crop(crop_room.Chunk(tuple(places), places))
    assert lines == read_manifest(out)[:2]
    assert content(out) == before


def test_one_photo_under_two_names_is_told(
    drawn: dict[str, DrawnPhoto], photos: Path, out: Path
) -> None:
    write_image(photos / "person1" / "copy.png", drawn["person0/0.png"].image)
    write_image(photos / "person0" / "copy.png", drawn["person0/1.png"].image)  # their own: fine
    report = prepare(photos, out)
    assert report.equal_photos == (("person0/0.png", "person1/copy.png"),)


def test_no_crop_at_all_is_an_error_and_the_manifest_says_why(tmp_path: Path, out: Path) -> None:
    write_image(tmp_path / "people" / "Ann" / "1.png", np.full((50, 50, 3), 99, np.uint8))
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"none of the 1 photos .*no face was found"):
            prepare(tmp_path / "people", out)
    assert [line.error for line in read_manifest(out)] == ["no face was found"]


def test_without_photos_nothing_is_made(tmp_path: Path, out: Path) -> None:
    (tmp_path / "people").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        prepare(tmp_path / "people", out)
    assert not out.exists()


# Going on


@pytest.mark.parametrize("n_photos", [1, 4, 6, 11])
def test_an_interrupted_run_goes_on_to_the_same_end(photos: Path, out: Path, n_photos: int) -> None:
    prepare(photos, out)
    other = out.with_name("interrupted")
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(photos, other, options=OPTIONS, watch=interrupt_after(n_photos))
    assert not (other / LOCK_NAME).exists()
    n_kept = len(read_manifest(other))
    assert n_kept == -(-n_photos // 4) * 4  # whole chunks
    report = prepare(photos, other)
    assert (report.n_crops, report.n_done_before) == (12, n_kept)
    assert content(other) == content(out)


@pytest.mark.parametrize("n_bytes", [1, 100, 500])
def test_after_a_crash_the_same_is_made_again(photos: Path, out: Path, n_bytes: int) -> None:
    prepare(photos, out)
    before = content(out)
    os.truncate(out / MANIFEST_NAME, (out / MANIFEST_NAME).stat().st_size - n_bytes)
    (out / "crops/person3/2.png.png").unlink()
    (out / "crops/person3/.0123456789abcdef.part").write_bytes(b"half a crop")
    (out / ".0123456789abcdef.part").write_bytes(b"half a contract")
    (out / LOCK_NAME).write_text("999999999")
    report = prepare(photos, out)
    assert report.n_done_before < 12
    assert content(out) == before


def test_a_crash_before_the_contract_leaves_a_folder_that_can_be_filled(
    photos: Path, out: Path
) -> None:
    out.mkdir()
    (out / LOCK_NAME).write_text("")
    (out / ".0123456789abcdef.part").write_bytes(b"half a contract")
    assert prepare(photos, out).n_crops == 12


def test_what_is_done_is_left_alone(photos: Path, out: Path, detector: Watchful) -> None:
    write_image(photos / "person0" / "wall.png", np.full((50, 50, 3), 99, np.uint8))
    prepare(photos, out)
    before = content(out)
    detector.n_photos.clear()
    report = prepare(photos, out)
    assert (report.n_done_before, report.n_crops) == (13, 12)
    assert detector.n_photos == []
    assert content(out) == before


def test_a_crop_that_is_gone_is_made_again(photos: Path, out: Path) -> None:
    prepare(photos, out)
    before = content(out)
    (out / "crops/person2/1.png.png").unlink()
    assert prepare(photos, out).n_done_before == 11
    after = content(out)
    after[MANIFEST_NAME] = b"".join(sorted(line.to_line() for line in read_manifest(out)))
    assert after == before


def test_photos_that_came_since_are_added(
    photos: Path, out: Path, drawn: dict[str, DrawnPhoto]
) -> None:
    moved = photos.parent / "0.png"
    (photos / "person0" / "0.png").rename(moved)
    prepare(photos, out)
    moved.rename(photos / "person0" / "0.png")
    report = prepare(photos, out)
    assert (report.n_done_before, report.n_crops) == (11, 12)


def test_failed_photos_are_tried_again_only_when_asked(
    photos: Path, out: Path, drawn: dict[str, DrawnPhoto]
) -> None:
    place = photos / "person0" / "late.png"
    write_image(place, np.full((50, 50, 3), 99, np.uint8))
    prepare(photos, out)
    write_image(place, drawn["person1/0.png"].image)
    assert prepare(photos, out).failures == {"person0/late.png": "no face was found"}
    report = prepare(photos, out, retry_failed=True)
    assert (report.failures, report.n_done_before, report.n_crops) == ({}, 12, 13)
    assert line_of(out, "person0/late.png").error is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"border_px": 8}, "border_px 16, now 8"),
        ({"format": "jpg"}, "format 'png', now 'jpg'"),
        ({"select": "largest"}, "select 'center', now 'largest'"),
    ],
)
def test_another_way_to_cut_is_refused_and_nothing_is_changed(
    photos: Path, out: Path, change: dict[str, object], words: str
) -> None:
    prepare(photos, out)
    before = content(out)
    with pytest.raises(InputError, match=words):
        prepare(photos, out, **change)
    assert content(out) == before


def test_the_smallest_face_and_the_photos_must_stay_the_same(photos: Path, out: Path) -> None:
    prepare(photos, out)
    settings = replace(Settings.from_environment(), min_face_px=20)
    with pytest.raises(InputError, match="min_face_px 40, now 20"):
        prepare_photos(photos, out, options=OPTIONS, settings=settings)
    with pytest.raises(InputError, match="source 'people', now 'others'"):
        prepare(photos.rename(photos.with_name("others")), out)


# Places


def test_a_folder_among_the_photos_is_refused(photos: Path, detector: Watchful) -> None:
    link = photos.with_name("link")
    link.symlink_to(photos)
    for place in (photos, photos / "out", photos / "person0" / "deep" / "out", link / "out"):
        with pytest.raises(InputError, match="lies among the photos"):
            prepare(photos, place)
    assert not list(photos.rglob("*out*"))


def test_photos_in_the_folder_for_crops_are_refused(photos: Path, detector: Watchful) -> None:
    with pytest.raises(InputError, match="the photos lie in"):
        prepare(photos, photos.parent)


def test_a_folder_of_something_else_is_not_filled(photos: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"neither empty .*thesis\.txt"):
        prepare(photos, out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match=r"cannot make .*File exists") as caught:
        prepare(photos, out / "thesis.txt")
    assert "a file stands where a folder is needed" in caught.value.hint


def test_a_folder_that_another_process_fills_is_refused(photos: Path, out: Path) -> None:
    prepare(photos, out)
    with (
        lock_folder(out),
        pytest.raises(InputError, match=rf"another process \({os.getpid()}\) is preparing"),
    ):
        prepare(photos, out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"select": "middle"}, "select is 'middle'"),
        ({"format": "gif"}, "format is 'gif'"),
        ({"border_px": -1}, r"0\.\.112, got -1"),
        ({"border_px": 999}, r"0\.\.112, got 999"),
        ({"n_workers": -1}, "n_workers must be at least 0"),
    ],
)
def test_options_that_cannot_be_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        replace(OPTIONS, **change)  # type: ignore[arg-type]
    assert caught.value.hint
