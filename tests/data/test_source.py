"""One door to crops in every form: the same people and pixels whatever the form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from arcwise.align import align_faces
from arcwise.data.folder import CropFiles, CropFolder
from arcwise.data.lists import write_list
from arcwise.data.manifest import CropContract, DetectorStamp, Manifest, PreparedPhoto
from arcwise.data.records import Records, write_records
from arcwise.data.source import CropSource, StoredCrops, open_crops
from arcwise.encode import write_image
from arcwise.errors import DatasetError, InputError
from arcwise.image import read_image
from arcwise.testing import draw_person


@pytest.fixture
def crops(drawn_crops: Path, tmp_path: Path) -> Path:
    """Crops of eight people in a folder for each, six of each."""
    return shutil.copytree(drawn_crops, tmp_path / "crops")


def make_prepared(crops: Path, out: Path, *, border_px: int = 0) -> Path:
    CropContract(
        border_px=border_px,
        detector=DetectorStamp(name="d", digest="1"),
        min_face_px=40,
        source="s",
    ).save(out)
    photos = [path.relative_to(crops).as_posix() for path in sorted(crops.rglob("*.png"))]
    lines = [
        PreparedPhoto(
            photo=name,
            person=name.split("/")[0],
            crop=f"crops/{name}",
            box=(0, 0, 1, 1),
            score=1.0,
            points=((0, 0),) * 5,
            n_faces=1,
        )
        for name in photos
    ]
    shutil.copytree(crops, out / "crops")
    manifest = Manifest(out)
    manifest.append(lines)
    manifest.close()
    return out


def make_records(crops: Path, out: Path) -> Path:
    folder = CropFolder(crops)
    people = sorted({sample.person for sample in folder.samples})
    labelled = [
        (folder.content(i), people.index(sample.person)) for i, sample in enumerate(folder.samples)
    ]
    write_records(out / "train.rec", labelled, people=people)
    return out


def make_list(crops: Path, out: Path) -> Path:
    lines = [(sample.photo, sample.person) for sample in CropFolder(crops).samples]
    return write_list(crops / "list.txt", lines)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda crops, _: crops, CropFolder),
        (make_prepared, CropFolder),
        (make_records, Records),
        (lambda crops, out: make_records(crops, out) / "train.rec", Records),
        (make_list, CropFiles),
    ],
    ids=["folder", "prepared", "folder of records", "records", "list"],
)
def test_every_form_gives_the_same_people_and_pixels(
    crops: Path, tmp_path: Path, make: object, kind: type
) -> None:
    assert callable(make)
    source: CropSource = open_crops(make(crops, tmp_path / "other"))
    assert type(source) is kind
    assert (source.side_px, source.border_px, len(source.samples)) == (112, 0, 48)
    paths = sorted(crops.rglob("*.png"))
    assert [sample.person for sample in source.samples] == [path.parent.name for path in paths]
    for position in (0, 17, 47):
        assert np.array_equal(source.read(position), read_image(paths[position]))


def test_a_picture_file_can_be_had_as_it_is(crops: Path, tmp_path: Path) -> None:
    wanted = (crops / "person1" / "1.png").read_bytes()
    for place in (crops, make_records(crops, tmp_path / "rec"), make_list(crops, crops)):
        source: StoredCrops = open_crops(place)
        assert source.content(7) == wanted
    (crops / "person1" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"the crop of person1/1.png cannot be read"):
        source.content(7)


def test_another_size_of_crop_is_served_in_every_form(tmp_path: Path) -> None:
    crop = np.full((144, 144, 3), 9, np.uint8)
    write_image(tmp_path / "crops" / "Ann" / "1.png", crop)
    write_list(tmp_path / "crops" / "list.txt", [("Ann/1.png", 0)])
    write_records(tmp_path / "rec" / "train.rec", [(crop, 0)])
    for place in ("crops", "rec", "crops/list.txt"):
        borders = [open_crops(tmp_path / place, size_px=size).border_px for size in (112, 128, 144)]
        assert borders == [16, 8, 0]


# Lists


def test_a_list_is_looked_for_beside_its_photos(crops: Path, tmp_path: Path) -> None:
    shutil.move(crops, tmp_path / "set" / "Img")
    partition = (
        "3\nimage_name item_id evaluation_status\nperson1/0.png person1 train\n"
        "person2/0.png person2 train\nperson3/0.png person3 query\n"
    )
    (tmp_path / "set" / "Eval").mkdir()
    (tmp_path / "set" / "Eval" / "list_eval_partition.txt").write_text(partition)
    source = open_crops(tmp_path / "set" / "Eval" / "list_eval_partition.txt")
    assert [sample.person for sample in source.samples] == ["person1", "person2"]
    assert source.read(1).shape == (112, 112, 3)


def test_it_can_be_said_where_the_paths_of_a_list_begin(crops: Path, tmp_path: Path) -> None:
    path = write_list(tmp_path / "far" / "away" / "list.txt", [("person1/0.png", 0)])
    with pytest.raises(DatasetError, match=r"person1/0.png, the first photo of .*, is in none of"):
        open_crops(path)
    assert open_crops(path, root=crops).samples[0].person == "0000000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person1/0.png 0\nperson1/0.png 1\n", "shows 0000000 and 0000001"),
        ("1\nimage_name item_id evaluation_status\na/1.jpg i query\n", "no photos for training"),
        ("1\tperson1/0.png\t0\n0\tperson1/1.png\t0\n", "person1/1.png is not cut out yet"),
    ],
)
def test_a_list_that_is_none_to_learn_from_is_refused(crops: Path, text: str, message: str) -> None:
    (crops / "list.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_crops(crops / "list.txt")


def test_a_photo_that_a_list_names_twice_is_one_crop(crops: Path) -> None:
    (crops / "list.txt").write_text("person1/0.png 0\nperson1/0.png 0\nperson2/0.png 1\n")
    assert len(open_crops(crops / "list.txt").samples) == 2


# What is none of these


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train.idx", "give the .rec"),
        ("lfw.bin", "verification set"),
        ("photos.zip", "arcwise prepare"),
    ],
)
def test_a_file_that_is_none_to_learn_from_says_what_to_give(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DatasetError, match="holds no crops to learn from") as caught:
        open_crops(tmp_path / name)
    assert message in caught.value.hint


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("absent", "absent.rec", "absent.txt"):
        with pytest.raises(InputError, match=f"cannot read .*{name}"):
            open_crops(tmp_path / name)


def test_128_px_of_prepared_crops_are_what_alignment_would_cut(tmp_path: Path) -> None:
    image, points = draw_person(3, size_px=400)
    wide = align_faces(image, points[None], size_px=112, border_px=16)[0]
    write_image(tmp_path / "crops" / "Ann" / "1.png", wide)
    root = make_prepared(tmp_path / "crops", tmp_path / "prepared", border_px=16)
    listed = write_list(tmp_path / "list.txt", [("crops/Ann/1.png", 0)])
    wanted = align_faces(image, points[None], size_px=128)[0]
    for source in (
        open_crops(root, size_px=128),
        open_crops(listed, size_px=128, root=root),
    ):
        assert (source.side_px, source.border_px) == (128, 0)
        assert np.abs(source.read(0).astype(int) - wanted).max() <= 1
        assert source.content(0)[:4] == b"\x89PNG"
    assert open_crops(root, size_px=112).border_px == 16
