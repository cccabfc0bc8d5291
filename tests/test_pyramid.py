"""Scaling and cutting: exact where pixels are kept, an area filter where they are not."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from arcwise.errors import ImageError
from arcwise.pyramid import Pyramid

RNG = np.random.default_rng(5)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def ramp(width: int, height: int) -> np.ndarray:
    """Brightness rises with x and y, so that a pixel tells where it lies."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    out = np.empty((height, width, 3), np.uint8)
    Pyramid(image).resize_into(out)
    return out


def cut(image: np.ndarray, square: list[float], size_px: int, border: int = 0) -> np.ndarray:
    squares = np.array([square], np.float32)
    return Pyramid(image).cut_squares(squares, size_px=size_px, border=border)[0]


def test_a_photo_of_the_right_size_is_copied() -> None:
    image = noise(31, 47)
    np.testing.assert_array_equal(resized(image, 47, 31), image)
    assert Pyramid(image).size_wh_px == (47, 31)


def test_half_the_size_is_the_mean_of_four_pixels() -> None:
    image = noise(30, 40)
    means = image.reshape(15, 2, 20, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resized(image, 20, 15), means, atol=1)


@pytest.mark.parametrize("factor", [2, 3, 5.7, 12, 40])
def test_stripes_of_one_pixel_become_gray_when_shrunk(factor: float) -> None:
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resized(stripes, round(640 / factor), round(480 / factor))
    assert np.abs(small.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("size", [(640, 480), (1001, 701), (333, 999), (97, 31)])
@pytest.mark.parametrize("factor", [0.5, 1.5, 3.3, 9])
def test_scaling_moves_nothing(size: tuple[int, int], factor: float) -> None:
    image = ramp(*size)
    small = max(round(size[0] / factor), 2), max(round(size[1] / factor), 2)
    area = cv2.resize(image, small, interpolation=cv2.INTER_AREA if factor > 1 else 1)
    shift = np.abs(resized(image, *small).astype(int) - area.astype(int))
    one_px = 255 / min(size)
    assert shift.max() <= 1 + factor * one_px / 3


def test_the_sides_may_shrink_differently() -> None:
    image = ramp(800, 100)
    area = cv2.resize(image, (50, 90), interpolation=cv2.INTER_AREA)
    assert np.abs(resized(image, 50, 90).astype(int) - area.astype(int)).max() <= 8


def test_a_square_of_the_right_size_is_cut_out_as_it_is() -> None:
    image = noise(60, 80)
    np.testing.assert_array_equal(cut(image, [10, 20, 34, 44], 24), image[20:44, 10:34])


def test_a_square_twice_as_large_is_the_mean_of_four_pixels() -> None:
    image = noise(60, 80)
    means = image[20:44, 10:34].reshape(12, 2, 12, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(cut(image, [10, 20, 34, 44], 12), means, atol=1)


@pytest.mark.parametrize("side", [30, 61, 147, 333, 600])
@pytest.mark.parametrize("size", [(640, 641), (1001, 703)])
def test_a_cut_square_lies_where_it_was(side: int, size: tuple[int, int]) -> None:
    """The center of crop pixel i is photo px left + (i + 0.5)·side/24 - 0.5."""
    x, y = np.meshgrid(np.arange(size[0]) / size[0], np.arange(size[1]) / size[1])
    smooth = np.stack([x, y, x], axis=-1) * 254
    image = (smooth + np.random.default_rng(0).uniform(0, 1, smooth.shape)).astype(np.uint8)
    left, top = 17.25, 9.5
    square = [left, top, left + side, top + side]
    # Each halving rounds up; the negative tells that from a move.
    crop = (cut(image, square, 24) + (255.0 - cut(255 - image, square, 24))) / 2
    steps = (np.arange(24) + 0.5) * side / 24 - 0.5
    found_x = crop[:, :, 0].mean(axis=0) * size[0] / 254
    found_y = crop[:, :, 1].mean(axis=1) * size[1] / 254
    for found, expected in ((found_x, left + steps), (found_y, top + steps)):
        moves_px = (found - expected)[1:-1] * 24 / side  # px of the crop; the rim is mixed
        assert abs(moves_px.mean()) < 0.12
        assert abs(moves_px[:11].mean() - moves_px[11:].mean()) < 0.4  # it was not stretched


@pytest.mark.parametrize("border", [0, 128])
def test_outside_the_photo_is_the_border(border: int) -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    crop = cut(image, [-12, -12, 12, 12], 24, border)
    assert (crop[:11] == border).all()
    assert (crop[:, :11] == border).all()
    assert (crop[13:, 13:] == 200).all()
    assert (cut(image, [900, 900, 924, 924], 24, border) == border).all()


def test_many_squares_are_cut_as_one_at_a_time() -> None:
    image = noise(300, 400)
    squares = np.array([[0, 0, 24, 24], [-50, 10, 250, 310], [7, 7, 8, 8]], np.float32)
    together = Pyramid(image).cut_squares(squares, size_px=24, border=128)
    for crop, square in zip(together, squares, strict=True):
        np.testing.assert_array_equal(crop, cut(image, square.tolist(), 24, 128))
    none = Pyramid(image).cut_squares(squares[:0], size_px=24, border=128)
    assert none.shape == (0, 24, 24, 3)


def test_a_square_without_a_size_is_still_a_crop() -> None:
    assert cut(np.full((9, 9, 3), 77, np.uint8), [4, 4, 4, 4], 24).shape == (24, 24, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_the_smallest_photos_can_be_scaled(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    assert (resized(image, 12, 12) == 90).all()
    assert cut(image, [0, 0, 500, 500], 24).shape == (24, 24, 3)


def test_a_panorama_can_be_cut() -> None:
    image = noise(50, 40_000)
    found = cut(image, [39_000, 10, 39_024, 34], 24)
    np.testing.assert_array_equal(found, image[10:34, 39_000:39_024])


def test_the_photo_is_not_changed() -> None:
    image = noise(200, 200)
    before = image.copy()
    pyramid = Pyramid(image)
    pyramid.resize_into(np.empty((20, 20, 3), np.uint8))
    pyramid.cut_squares(np.array([[0, 0, 200, 200]], np.float32), size_px=24, border=0)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
        np.zeros((0, 9, 3), np.uint8),
        "photo.jpg",
        None,
    ],
    ids=["gray", "alpha", "float", "empty", "path", "nothing"],
)
def test_what_is_no_rgb_image_is_refused(given: Any) -> None:
    with pytest.raises(ImageError, match=r"an \(H, W, 3\) uint8 RGB image is needed") as caught:
        Pyramid(given)
    assert "read_image" in caught.value.hint
