from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from arcwise.data.folder import CropFolder
from arcwise.data.manifest import CropContract, DetectorStamp, Manifest, PreparedPhoto
from arcwise.encode import encode_image, write_image
from arcwise.errors import DatasetError, InputError
from arcwise.image import read_image
from arcwise.types import Image


@pytest.fixture
def crops(drawn_crops: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn_crops, tmp_path / "crops")


def test_a_folder_of_crops_for_each_person_is_read(drawn_crops: Path) -> None:
    folder = CropFolder(drawn_crops)
    assert (len(folder.samples), folder.border_px) == (48, 0)
    assert folder.samples[7].photo == "person1/1.png"
    assert folder.samples[7].person == "person1"
    assert np.array_equal(folder.read(7), read_image(drawn_crops / "person1" / "1.png"))
    assert folder.read(7) is folder.read(7), "a decoded crop is kept"


def test_a_border_is_found_from_the_size(tmp_path: Path) -> None:
    write_image(tmp_path / "Ann" / "1.png", np.zeros((144, 144, 3), np.uint8))
    assert CropFolder(tmp_path).border_px == 16


def test_a_crop_smaller_than_networks_take_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "Ann" / "1.png", np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(DatasetError, match="96x96 px, networks take 112x112"):
        CropFolder(tmp_path)


@pytest.mark.parametrize("side_px", [250, 224, 178, 113])
def test_photos_that_were_not_prepared_are_refused(tmp_path: Path, side_px: int) -> None:
    write_image(tmp_path / "Ann" / "1.png", np.zeros((side_px, side_px, 3), np.uint8))
    with pytest.raises(DatasetError, match=f"{side_px}x{side_px} px, networks take") as caught:
        CropFolder(tmp_path)
    assert "arcwise prepare" in caught.value.hint


def test_a_crop_of_another_size_is_named(crops: Path) -> None:
    write_image(crops / "person3" / "2.png", np.zeros((100, 90, 3), np.uint8))
    folder = CropFolder(crops)
    with pytest.raises(DatasetError, match=r"person3/2.png has 90x100 px, .* 112x112"):
        folder.read(20)


def test_a_broken_crop_is_named(crops: Path) -> None:
    (crops / "person3" / "2.png").write_bytes(b"no picture")
    folder = CropFolder(crops)
    with pytest.raises(DatasetError, match=r"the crop of person3/2.png cannot be read"):
        folder.read(20)


def test_a_crop_that_was_cut_off_is_named(crops: Path) -> None:
    whole = encode_image(CropFolder(crops).read(20), suffix=".jpg", quality=95)
    for n_bytes in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (crops / "person3" / "2.jpg").write_bytes(whole[:n_bytes])
        with pytest.raises(DatasetError, match=r"the crop of person3/2.jpg cannot be read: .* is "):
            CropFolder(crops).read(20)


def test_a_crop_is_upright_as_its_photo_is(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[274] = 8
    (tmp_path / "Ann").mkdir()
    PIL.Image.fromarray(crop).save(tmp_path / "Ann" / "1.jpg", exif=exif)
    wanted = read_image(tmp_path / "Ann" / "1.jpg")
    assert np.array_equal(CropFolder(tmp_path).read(0), wanted)


def test_a_crop_that_is_missing_is_named(crops: Path) -> None:
    folder = CropFolder(crops)
    (crops / "person3" / "2.png").unlink()
    with pytest.raises(DatasetError, match=r"person3/2.png cannot be read: cannot read .*2.png"):
        folder.read(20)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no photos"):
        CropFolder(tmp_path)


def test_photos_that_lie_beside_the_people_are_not_crops(tmp_path: Path) -> None:
    write_image(tmp_path / "Ann.png", np.zeros((112, 112, 3), np.uint8))
    with pytest.raises(DatasetError, match="holds no crops"):
        CropFolder(tmp_path)


@pytest.mark.parametrize(("size_px", "border_px"), [(112, 16), (128, 8), (144, 0)])
def test_the_border_is_what_lies_around_the_size_of_the_network(
    tmp_path: Path, size_px: int, border_px: int
) -> None:
    write_image(tmp_path / "Ann" / "1.png", np.zeros((144, 144, 3), np.uint8))
    folder = CropFolder(tmp_path, size_px=size_px)
    assert (folder.size_px, folder.border_px, folder.side_px) == (size_px, border_px, 144)


def test_crops_of_448_px_may_have_a_border_that_is_as_wide_in_proportion(tmp_path: Path) -> None:
    write_image(tmp_path / "Ann" / "1.png", np.zeros((704, 704, 3), np.uint8))
    assert CropFolder(tmp_path, size_px=448).border_px == 128
    with pytest.raises(DatasetError, match=r"704x704 px, networks take 440x440"):
        CropFolder(tmp_path, size_px=440)


def prepare(root: Path, crop: Image, *, border_px: int) -> Path:
    """A prepared folder of one crop."""
    write_image(root / "crops" / "Ann" / "1.png", crop)
    CropContract(
        border_px=border_px,
        detector=DetectorStamp(name="d", digest="1"),
        min_face_px=40,
        source="photos",
    ).save(root)
    line = PreparedPhoto(
        photo="Ann/1.jpg",
        person="Ann",
        crop="crops/Ann/1.png",
        box=(0, 0, 1, 1),
        score=1.0,
        points=((0, 0),) * 5,
        n_faces=1,
    )
    manifest = Manifest(root)
    manifest.append([line])
    manifest.close()
    return root


@pytest.mark.parametrize(
    ("size_px", "border_px"), [(144, 0), (128, 8), (112, 16), (110, 17), (96, 24), (2, 71)]
)
def test_a_prepared_folder_serves_every_size_its_crops_hold(
    tmp_path: Path, size_px: int, border_px: int
) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (144, 144, 3), np.uint8)
    folder = CropFolder(prepare(tmp_path, crop, border_px=16), size_px=size_px)
    assert (folder.size_px, folder.border_px, folder.side_px) == (size_px, border_px, 144)
    assert np.array_equal(folder.read(0), crop), "the middle is cut where it is needed"


@pytest.mark.parametrize("size_px", [146, 145, 127, 0, -2])
def test_a_size_that_no_middle_of_a_prepared_crop_has_is_refused(
    tmp_path: Path, size_px: int
) -> None:
    prepare(tmp_path, np.zeros((144, 144, 3), np.uint8), border_px=16)
    message = f"holds crops of 144x144 px, which have no middle of {size_px}x{size_px}"
    with pytest.raises(DatasetError, match=message) as caught:
        CropFolder(tmp_path, size_px=size_px)
    assert "--border" in caught.value.hint


def test_a_prepared_folder_without_a_border_is_for_its_own_size(tmp_path: Path) -> None:
    prepare(tmp_path, np.zeros((112, 112, 3), np.uint8), border_px=0)
    assert CropFolder(tmp_path).border_px == 0
    with pytest.raises(DatasetError, match="crops of 112x112 px, which have no middle of 128x128"):
        CropFolder(tmp_path, size_px=128)


def test_the_file_of_a_crop_is_given_as_it_is(crops: Path) -> None:
    assert CropFolder(crops).content(20) == (crops / "person3" / "2.png").read_bytes()
