"""Whatever holds a photo becomes (H, W, 3) uint8 RGB; resizing and hashes of it."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arcwise.encode import encode_image, write_image
from arcwise.errors import ImageError, InputError
from arcwise.image import (
    describe_source,
    hash_difference_bits,
    letterbox,
    luma,
    mirror_image,
    perceptual_hash,
    pixel_digest,
    read_crop,
    read_image,
    resize_image,
    sharpness,
)

side_px = st.integers(1, 40)
images = arrays.arrays(np.uint8, st.tuples(side_px, side_px, st.just(3)))
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """(90, 120, 3), smooth like a photo."""
    colors = np.random.default_rng(1).integers(0, 255, (7, 9, 3), np.uint8)
    return cv2.resize(colors, (120, 90), interpolation=cv2.INTER_CUBIC)


# Sources


def test_every_source_of_one_photo_gives_the_same_pixels(scene: np.ndarray, tmp_path: Path) -> None:
    content = encode_image(scene, suffix=".png")
    path = tmp_path / "Zoë und 李.png"
    path.write_bytes(content)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        sources = [
            path, str(path), content, bytearray(content), memoryview(content), file, raw,
            io.BytesIO(content), PIL.Image.open(io.BytesIO(content)), scene,
        ]  # fmt: skip
        for source in sources:
            np.testing.assert_array_equal(read_image(source), scene)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_a_crop_has_the_pixels_of_its_photo_in_any_format(scene: np.ndarray, suffix: str) -> None:
    content = encode_image(scene, suffix=suffix)
    np.testing.assert_array_equal(read_crop(content), read_image(content))


def test_a_crop_is_upright(scene: np.ndarray) -> None:
    exif, buffer = PIL.Image.Exif(), io.BytesIO()
    exif[274] = 6  # turned by a quarter
    PIL.Image.fromarray(scene).save(buffer, "JPEG", exif=exif)
    assert read_crop(buffer.getvalue()).shape == (120, 90, 3)
    np.testing.assert_array_equal(read_crop(buffer.getvalue()), read_image(buffer.getvalue()))


def test_a_crop_that_cannot_be_read_is_named(scene: np.ndarray) -> None:
    content = encode_image(scene, suffix=".jpg")
    for broken in (b"", b"no picture", content[:-300], content[:-1]):
        with pytest.raises(ImageError, match=r"^Ann/1.jpg is "):
            read_crop(broken, name="Ann/1.jpg")


def test_a_tilde_means_the_home_folder(
    scene: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_image(tmp_path / "me.png", scene)
    np.testing.assert_array_equal(read_image("~/me.png"), scene)


def test_a_pillow_image_is_turned_upright_and_stays_as_it_was() -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 2)).save(buffer, "PNG", exif=exif)
    picture = PIL.Image.open(buffer)
    assert read_image(picture).shape == (4, 2, 3)
    assert picture.size == (4, 2)
    assert picture.mode == "L"


def test_a_pillow_image_obeys_the_limit_too() -> None:
    with pytest.raises(ImageError, match=r"<image> has 10x10 pixels"):
        read_image(PIL.Image.new("RGB", (10, 10)), max_pixels=99)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([[7]], np.uint8), [7, 7, 7]),
        (np.array([[[7]]], np.uint8), [7, 7, 7]),
        (np.array([[[1, 2, 3]]], np.uint8), [1, 2, 3]),
        (np.array([[[10, 20, 30, 0]]], np.uint8), [255, 255, 255]),
        (np.array([[[10, 20, 30, 255]]], np.uint8), [10, 20, 30]),
        (np.array([[65535]], np.uint16), [255, 255, 255]),
        (np.array([[256 * 9 + 5]], np.uint16), [9, 9, 9]),
        (np.array([[True]]), [255, 255, 255]),
        (np.array([[0.5]]), [128, 128, 128]),
        (np.array([[[0.0, 1.0, 0.2]]], np.float16), [0, 255, 51]),
        (np.array([[1.00001]], np.float32), [255, 255, 255]),
    ],
)
def test_arrays_of_every_kind_become_rgb(array: np.ndarray, wanted: list[int]) -> None:
    pixels = read_image(array)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels[0, 0].tolist() == wanted


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((3, 10, 12), np.uint8), "transpose"),
        (np.zeros((2, 10, 12, 3), np.uint8), "one photo at a time"),
        (np.zeros((10, 12, 2), np.uint8), "RGB"),
        (np.zeros((10, 12, 3), np.int64), "astype"),
        (np.full((10, 12), 200.0), "255"),
        (np.full((10, 12), -1.0), "255"),
        (np.full((10, 12), np.nan), "255"),
    ],
)
def test_arrays_that_are_no_photo_are_refused_with_a_hint(array: np.ndarray, hint: str) -> None:
    with pytest.raises(ImageError, match="an array of") as caught:
        read_image(array)
    assert hint in caught.value.hint


@pytest.mark.parametrize("shape", [(0, 5), (5, 0, 3), (0, 0, 4)])
def test_arrays_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="no pixels"):
        read_image(np.zeros(shape, np.uint8))


def test_what_is_no_file_is_an_image_error_with_a_hint(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for source, words in [
        (tmp_path / "absent.jpg", "No such file"),
        (tmp_path, "cannot read"),
        (empty, "empty"),
        ("nul\0byte.jpg", "null byte"),
        ("~nobody-of-this-name/a.jpg", "No such file"),
        ("https://example.org/a.jpg", "web address"),
    ]:
        with pytest.raises(ImageError, match=words) as caught:
            read_image(source)
        assert caught.value.hint


def test_files_that_give_no_bytes_are_an_image_error(tmp_path: Path) -> None:
    closed = io.BytesIO(b"")
    closed.close()
    with (tmp_path / "new").open("wb") as unreadable:
        for source in [io.StringIO("text"), closed, unreadable]:
            with pytest.raises(ImageError) as caught:
                read_image(source)
            assert "rb" in caught.value.hint


def test_what_holds_no_photo_is_named() -> None:
    with pytest.raises(ImageError, match="from int: 5"):
        read_image(5)


def test_a_film_is_refused_without_reading_it_all() -> None:
    film = io.BytesIO(b"\0\0\0\x20ftypisom" + bytes(1 << 20))
    with pytest.raises(ImageError, match="a video"):
        read_image(film)
    assert film.tell() < 10_000


def test_a_file_of_more_than_a_gibibyte_is_refused_without_reading_it(
    scene: np.ndarray, tmp_path: Path
) -> None:
    path = write_image(tmp_path / "huge.png", scene)
    os.truncate(path, (1 << 30) + 1)  # sparse: takes no room
    with pytest.raises(ImageError, match=r"huge\.png has 1073741825 bytes") as caught:
        read_image(path)
    assert "1 GiB" in caught.value.hint
    os.truncate(path, 1 << 20)
    assert read_image(path).shape == scene.shape


def test_a_source_is_described_by_its_path_or_its_kind(tmp_path: Path) -> None:
    assert describe_source("~/a b.jpg") == "~/a b.jpg"
    assert describe_source(Path("a") / "é.jpg") == str(Path("a") / "é.jpg")
    assert describe_source(b"") == describe_source(bytearray()) == "<bytes>"
    assert describe_source(io.BytesIO()) == "<file>"
    assert describe_source(PIL.Image.new("L", (1, 1))) == "<image>"
    assert describe_source(np.zeros(1)) == "<array>"
    with (tmp_path / "x").open("wb") as file:
        assert describe_source(file) == f"<file {tmp_path / 'x'}>"


# Identity


@given(images)
def test_the_digest_tells_pixels_and_shape_apart(image: np.ndarray) -> None:
    other = image.copy()
    other[0, 0, 0] ^= 1
    assert pixel_digest(image) == pixel_digest(image.copy())
    assert pixel_digest(image) == pixel_digest(np.asfortranarray(image))
    assert pixel_digest(image) != pixel_digest(other)
    flat = image.reshape(1, -1, 3)
    assert (pixel_digest(image) == pixel_digest(flat)) == (image.shape == flat.shape)


def test_the_perceptual_hash_is_that_of_its_definition(scene: np.ndarray) -> None:
    gray = luma(resize_image(scene, (32, 32))).astype(np.float64)
    k, n = np.mgrid[0:32, 0:32]
    basis = np.cos(np.pi * (2 * n + 1) * k / 64) * np.where(
        k == 0, np.sqrt(1 / 32), np.sqrt(2 / 32)
    )
    low = (basis @ gray @ basis.T)[:8, :8]
    wanted = 0
    for value in low.ravel():
        wanted = 2 * wanted + int(value > np.median(low))
    assert perceptual_hash(scene) == wanted
    assert 0 <= wanted < 1 << 64


def test_the_perceptual_hash_survives_scaling_compression_and_light(scene: np.ndarray) -> None:
    same = [
        resize_image(scene, (80, 60)),
        resize_image(scene, (240, 180)),
        read_image(encode_image(scene, quality=40)),
        (scene * 0.8).astype(np.uint8),
    ]
    others = [mirror_image(scene), np.rot90(scene), 255 - scene]
    reference = perceptual_hash(scene)
    assert max(hash_difference_bits(reference, perceptual_hash(image)) for image in same) <= 4
    assert min(hash_difference_bits(reference, perceptual_hash(image)) for image in others) >= 16


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_difference_of_hashes_counts_bits(a: int, b: int) -> None:
    assert hash_difference_bits(a, b) == f"{a ^ b:b}".count("1")


# Size and shape


@given(images, sizes)
def test_resizing_gives_the_size_asked_for(image: np.ndarray, size_wh_px: tuple[int, int]) -> None:
    resized = resize_image(image, size_wh_px)
    assert resized.shape == (size_wh_px[1], size_wh_px[0], 3)
    assert resized.dtype == np.uint8
    assert resized.min() >= image.min()
    assert resized.max() <= image.max()


def test_shrinking_averages_so_that_fine_stripes_become_gray() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert set(resize_image(stripes, (8, 8)).ravel()) <= {127, 128}


@given(images, sizes)
def test_a_letterbox_keeps_the_aspect_at_the_top_left_on_black(
    image: np.ndarray, size_wh_px: tuple[int, int]
) -> None:
    image = np.maximum(image, 1)
    boxed = letterbox(image, size_wh_px)
    assert boxed.image.shape == (size_wh_px[1], size_wh_px[0], 3)
    is_photo = boxed.image.any(axis=2)
    height, width = int(is_photo[:, 0].sum()), int(is_photo[0].sum())
    assert is_photo[:height, :width].all()
    assert is_photo.sum() == height * width
    assert height == size_wh_px[1] or width == size_wh_px[0]
    assert boxed.scale == height / image.shape[0]
    exact = min(size_wh_px[0] / image.shape[1], size_wh_px[1] / image.shape[0])
    assert abs(height - exact * image.shape[0]) <= 1
    assert abs(width - exact * image.shape[1]) <= 1


def test_a_letterbox_is_that_of_the_reference(scene: np.ndarray) -> None:
    """The input of SCRFD in InsightFace, python-package/insightface/model_zoo/scrfd.py, detect."""
    for image in (scene, scene[:, :50], scene[:31]):
        ratio = image.shape[0] / image.shape[1]
        if ratio > 64 / 96:
            height, width = 64, int(64 / ratio)
        else:
            height, width = int(96 * ratio), 96
        canvas = np.zeros((64, 96, 3), np.uint8)
        canvas[:height, :width] = cv2.resize(image, (width, height))
        boxed = letterbox(image, (96, 64))
        np.testing.assert_array_equal(boxed.image, canvas)
        assert boxed.scale == height / image.shape[0]


def test_a_size_without_pixels_is_refused(scene: np.ndarray) -> None:
    for resize in (resize_image, letterbox):
        with pytest.raises(InputError, match="0x5"):
            resize(scene, (0, 5))


@given(images)
def test_mirroring_twice_changes_nothing(image: np.ndarray) -> None:
    mirrored = mirror_image(image)
    assert mirrored.flags.c_contiguous
    np.testing.assert_array_equal(mirrored[:, 0], image[:, -1])
    np.testing.assert_array_equal(mirror_image(mirrored), image)


def test_many_images_are_mirrored_as_one_by_one(scene: np.ndarray) -> None:
    many = np.stack([scene, 255 - scene])
    np.testing.assert_array_equal(mirror_image(many)[1], mirror_image(many[1]))


def test_luma_is_that_of_bt_601_for_one_image_and_for_many(scene: np.ndarray) -> None:
    exact = scene @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma(scene) - exact).max() <= 0.51
    many = luma(np.stack([scene, 255 - scene]))
    assert many.shape == (2, 90, 120)
    np.testing.assert_array_equal(many[1], luma(255 - scene))


def test_blur_lowers_sharpness_to_zero() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)
    blurred = [sharpness(cv2.GaussianBlur(noise, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert sorted(blurred, reverse=True) == blurred
    assert sharpness(noise) > blurred[0]
    assert sharpness(np.full((9, 9), 7, np.uint8)) == 0


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    around = np.pad(gray.astype(float), 1, mode="reflect")
    sides = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    assert sharpness(gray) == pytest.approx((sides - 4.0 * gray).var(), rel=1e-6)


# Real photos


@pytest.mark.real
def test_photos_of_lfw_are_read_as_pillow_reads_them(real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "lfw" / "lfw-deepfunneled.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::200]
        assert len(names) > 60
        for name in names:
            content = archive.read(name)
            wanted = np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGB"))
            np.testing.assert_array_equal(read_image(content), wanted)


@pytest.mark.real
def test_real_photos_keep_their_hash_when_they_are_compressed(real_data: Path) -> None:
    paths = sorted((real_data / "photos").glob("*.jpg"))
    photos = [read_image(path) for path in paths]
    hashes = [perceptual_hash(photo) for photo in photos]
    for photo, reference in zip(photos, hashes, strict=True):
        height, width = photo.shape[:2]
        small = read_image(encode_image(resize_image(photo, (width // 2, height // 2)), quality=60))
        assert hash_difference_bits(perceptual_hash(small), reference) <= 6
