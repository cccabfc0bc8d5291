"""Pixels become photo files that come back as they were, or nearly so."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arcwise.encode import encode_image, write_image
from arcwise.errors import ImageError, InputError
from arcwise.image import read_image

side_px = st.integers(1, 40)
images = arrays.arrays(np.uint8, st.tuples(side_px, side_px, st.just(3)))


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """(90, 120, 3), smooth like a photo."""
    colors = np.random.default_rng(1).integers(0, 255, (7, 9, 3), np.uint8)
    return cv2.resize(colors, (120, 90), interpolation=cv2.INTER_CUBIC)


@given(images, st.sampled_from([".png", ".bmp", ".tif", ".TIFF"]))
def test_lossless_files_come_back_pixel_by_pixel(image: np.ndarray, suffix: str) -> None:
    np.testing.assert_array_equal(read_image(encode_image(image, suffix=suffix)), image)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_quality_costs_bytes_and_saves_pixels(scene: np.ndarray, suffix: str) -> None:
    low, high = (encode_image(scene, suffix=suffix, quality=q) for q in (20, 95))
    errors = [np.abs(read_image(c).astype(int) - scene).mean() for c in (low, high)]
    assert len(low) < len(high)
    assert errors[1] < errors[0]
    assert errors[1] < 3


@pytest.mark.parametrize("suffix", [".gif", ".heic", "", "jpg"])
def test_an_unknown_suffix_is_refused_and_the_known_ones_listed(
    scene: np.ndarray, suffix: str
) -> None:
    with pytest.raises(InputError, match="cannot write") as caught:
        encode_image(scene, suffix=suffix)
    assert ".jpg" in caught.value.hint
    assert ".png" in caught.value.hint


def test_what_cannot_be_encoded_is_refused(scene: np.ndarray) -> None:
    with pytest.raises(InputError, match="101"):
        encode_image(scene, quality=101)
    with pytest.raises(ImageError, match="float64"):
        encode_image(scene / 255)
    with pytest.raises(ImageError, match=r"\(90, 120\)"):
        encode_image(scene[:, :, 0])
    for suffix, side_px in ((".jpg", 65_501), (".webp", 16_384)):
        with pytest.raises(ImageError, match=f"{suffix} cannot hold an image of {side_px}x1"):
            encode_image(np.zeros((1, side_px, 3), np.uint8), suffix=suffix)
        assert encode_image(np.zeros((1, side_px - 1, 3), np.uint8), suffix=suffix)


def test_writing_makes_folders_and_leaves_nothing_else(scene: np.ndarray, tmp_path: Path) -> None:
    path = write_image(tmp_path / "new" / "a.png", scene)
    np.testing.assert_array_equal(read_image(path), scene)
    assert list(path.parent.iterdir()) == [path]
