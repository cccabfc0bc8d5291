"""Faces lie on the template after alignment, whatever their place, size and angle in the photo."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from arcwise.align import TEMPLATE_PX, align_face, align_faces, scale_template
from arcwise.errors import ImageError, InputError
from arcwise.geometry import apply_transforms, invert_similarity
from arcwise.image import read_image

SIZES_PX = [112, 128, 224, 256]


def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth picture that is known between the pixels too; x and y in sides of the crop."""
    planes = [np.sin(7 * x + 3 * y), np.cos(5 * x * y + 1), np.sin(6 * y - 2 * x)]
    return np.rint(127.5 + 120 * np.stack(planes, axis=-1)).astype(np.uint8)


def view(matrix: np.ndarray, size_px: int, width: int, height: int) -> np.ndarray:
    """A photo in which the scene lies so that `matrix` brings it onto the crop."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)[None]
    places = apply_transforms(matrix, grid)[0] / size_px
    return scene(places[:, 0], places[:, 1]).reshape(height, width, 3)


def similarity(angle_deg: float, scale: float, x: float, y: float) -> np.ndarray:
    cos, sin = (scale * f(math.radians(angle_deg)) for f in (math.cos, math.sin))
    return np.array([[[cos, -sin, x], [sin, cos, y]]])


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize(("angle_deg", "zoom"), [(0, 1.0), (30, 0.8), (-75, 0.55), (180, 1.3)])
def test_a_face_anywhere_comes_to_lie_on_the_template(
    size_px: int, angle_deg: float, zoom: float
) -> None:
    scale = zoom * size_px / 112
    matrix = similarity(angle_deg, scale, 0, 0)
    center = apply_transforms(matrix, np.array([[[200.0, 200.0]]]))[0, 0]
    matrix[0, :, 2] = size_px / 2 - center
    photo = view(matrix, size_px, 400, 400)
    points = apply_transforms(invert_similarity(matrix), scale_template(size_px)[None])[0]
    x, y = np.meshgrid(np.arange(size_px) / size_px, np.arange(size_px) / size_px)
    crop = align_face(photo, points, size_px=size_px)
    assert np.abs(crop.astype(int) - scene(x, y).astype(int)).max() <= 4
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("size_px", SIZES_PX)
def test_a_crop_that_lies_right_already_is_not_changed(size_px: int) -> None:
    crop = np.random.default_rng(1).integers(0, 256, (size_px, size_px, 3), np.uint8)
    again = align_face(crop, scale_template(size_px), size_px=size_px)
    assert np.abs(again.astype(int) - crop.astype(int)).max() <= 1


def test_a_crop_cut_from_a_warped_photo_is_the_crop_of_the_photo(
    portraits: dict[str, Path],
) -> None:
    photo = read_image(portraits["Eileen Collins"])
    points = np.array([[204, 101], [247, 103], [225, 127], [204, 141], [244, 141]], np.float32)
    crop = align_face(photo, points)
    turned = np.ascontiguousarray(np.rot90(photo, 2))
    last = np.array([photo.shape[1] - 1, photo.shape[0] - 1], np.float32)
    same = align_face(turned, last - points)
    assert np.abs(same.astype(int) - crop.astype(int)).max() <= 2


def test_a_face_ten_times_as_large_as_the_crop_is_not_aliased() -> None:
    x, y = np.meshgrid(np.arange(1120), np.arange(1120))
    grain = np.random.default_rng(4).uniform(-60, 60, (1120, 1120, 3))
    photo = (scene(x / 1120, y / 1120) * 0.5 + 64 + grain).astype(np.uint8)
    points = (TEMPLATE_PX + 0.5) * 10 - 0.5  # pixel centers
    reference = cv2.resize(photo, (112, 112), interpolation=cv2.INTER_AREA)
    skipping = cv2.resize(photo, (112, 112), interpolation=cv2.INTER_LINEAR)

    def error(crop: np.ndarray) -> float:
        inner = (crop.astype(float) - reference)[1:-1, 1:-1]  # the rim is mixed with black
        return float(np.sqrt((inner**2).mean()))

    assert error(skipping) > 10
    assert error(align_face(photo, points)) < 4


def test_outside_the_photo_is_black() -> None:
    photo = np.full((60, 60, 3), 255, np.uint8)
    crop = align_face(photo, TEMPLATE_PX)  # the photo covers the crop's upper left
    assert (crop[:59, :59] == 255).all()
    assert (crop[61:] == 0).all()
    assert (crop[:, 61:] == 0).all()


def test_many_faces_are_aligned_as_one_at_a_time() -> None:
    photo = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)
    points = np.stack([TEMPLATE_PX, TEMPLATE_PX * 2 + 20, TEMPLATE_PX[:, ::-1] + 100])
    crops = align_faces(photo, points)
    assert crops.shape == (3, 112, 112, 3)
    for crop, one in zip(crops, points, strict=True):
        np.testing.assert_array_equal(crop, align_face(photo, one))


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("zoom", [0.7, 1.0, 3.0])
def test_a_border_adds_what_lies_around_and_leaves_the_middle_as_it_is(
    size_px: int, zoom: float
) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (900, 900, 3), np.uint8)
    turn = similarity(20, 1, 0, 0)[0, :, :2]
    points = ((scale_template(size_px) - size_px / 2) @ turn.T * zoom + 450).astype(np.float32)
    plain = align_faces(photo, points[None], size_px=size_px)
    wide = align_faces(photo, points[None], size_px=size_px, border_px=16)
    assert wide.shape == (1, size_px + 32, size_px + 32, 3)
    np.testing.assert_array_equal(wide[:, 16:-16, 16:-16], plain)
    # The border goes on where the crop ends: it is the rim of a crop whose template lies inside.
    shifted = align_faces(photo, points[None], size_px=size_px, border_px=24)
    assert np.abs(shifted[:, 8:-8, 8:-8].astype(int) - wide).max() <= 1


def test_a_border_beyond_the_photo_is_black() -> None:
    crop = align_faces(np.full((112, 112, 3), 255, np.uint8), TEMPLATE_PX[None], border_px=16)[0]
    assert (crop[16:-16, 16:-16] == 255).all()
    assert crop[:15].max() == crop[-15:].max() == crop[:, :15].max() == crop[:, -15:].max() == 0


def test_a_negative_border_is_refused() -> None:
    with pytest.raises(InputError, match="border_px must be at least 0, got -1"):
        align_faces(np.zeros((9, 9, 3), np.uint8), TEMPLATE_PX[None], border_px=-1)


@pytest.mark.parametrize("points", [[], np.zeros((0, 5, 2), np.float32)])
def test_no_faces_give_no_crops(points: np.ndarray) -> None:
    photo = np.zeros((9, 9, 3), np.uint8)
    assert align_faces(photo, points).shape == (0, 112, 112, 3)
    assert align_faces(photo, points, border_px=4).shape == (0, 120, 120, 3)


def test_the_template_grows_with_the_crop() -> None:
    shift = np.array([8, 0])
    np.testing.assert_array_equal(scale_template(112), TEMPLATE_PX)
    np.testing.assert_allclose(scale_template(224), TEMPLATE_PX * 2)
    np.testing.assert_allclose(scale_template(128), TEMPLATE_PX + shift)
    np.testing.assert_allclose(scale_template(256), (TEMPLATE_PX + shift) * 2)
    assert scale_template(112).dtype == np.float32


@pytest.mark.parametrize("size_px", [0, -112, 100, 111, 160])
def test_a_size_without_a_template_is_refused(size_px: int) -> None:
    with pytest.raises(InputError, match=f"{size_px} px") as caught:
        align_face(np.zeros((9, 9, 3), np.uint8), TEMPLATE_PX, size_px=size_px)
    assert "112" in caught.value.hint


@pytest.mark.parametrize("shape", [(4, 2), (2, 5), (10,), (1, 5, 2)])
def test_other_than_five_points_of_one_face_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"points must have shape \(5, 2\)"):
        align_face(np.zeros((9, 9, 3), np.uint8), np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (3, 2, 5), (10,)])
def test_other_than_five_points_of_each_face_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"points must have shape \(N, 5, 2\)"):
        align_faces(np.zeros((9, 9, 3), np.uint8), np.ones(shape, np.float32))


def test_points_that_coincide_are_refused() -> None:
    with pytest.raises(InputError, match="face 0 coincide"):
        align_face(np.zeros((9, 9, 3), np.uint8), np.ones((5, 2), np.float32))


def test_a_gray_photo_is_refused() -> None:
    with pytest.raises(ImageError, match=r"got \(9, 9\) uint8"):
        align_face(np.zeros((9, 9), np.uint8), TEMPLATE_PX)
