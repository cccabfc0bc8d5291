"""Boxes and transforms against plain loops in float64, written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arcwise.align import TEMPLATE_PX
from arcwise.errors import InputError
from arcwise.geometry import (
    apply_transforms,
    box_areas,
    fit_similarity,
    invert_similarity,
    overlap_boxes,
    square_boxes,
    suppress_boxes,
)

RELATIVE_TO = st.sampled_from(["union", "smaller"])
whole_px = st.integers(-20, 60)  # whole numbers: every area is exact in float32


@st.composite
def box_lists(draw, max_size: int = 12) -> np.ndarray:
    """(N, 4) float32, some of them empty or turned inside out."""
    rows = draw(st.lists(st.tuples(whole_px, whole_px, whole_px, whole_px), max_size=max_size))
    return np.array(rows, np.float32).reshape(-1, 4)


def naive_overlap(a: np.ndarray, b: np.ndarray, relative_to: str) -> float:
    def area(box: list[float]) -> float:
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    one, other = a.tolist(), b.tolist()
    common = area(
        [
            max(one[0], other[0]),
            max(one[1], other[1]),
            min(one[2], other[2]),
            min(one[3], other[3]),
        ]
    )
    if relative_to == "union":
        whole = area(one) + area(other) - common
    else:
        whole = min(area(one), area(other))
    return min(common / whole, 1.0) if whole > 0 else 0.0


def naive_suppression(
    boxes: np.ndarray, scores: np.ndarray, limit: float, relative_to: str, groups: np.ndarray
) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [other for other in kept if groups[other] == groups[index]]
        if all(naive_overlap(boxes[index], boxes[o], relative_to) <= limit for o in rivals):
            kept.append(index)
    return kept


# Boxes


@settings(deadline=None)
@given(box_lists(), box_lists(), RELATIVE_TO)
def test_overlap_is_what_a_plain_loop_finds(a: np.ndarray, b: np.ndarray, relative_to: str) -> None:
    found = overlap_boxes(a, b, relative_to=relative_to)
    expected = [[naive_overlap(one, other, relative_to) for other in b] for one in a]
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), atol=1e-6)
    assert found.dtype == np.float32


def test_a_box_turned_inside_out_has_no_area() -> None:
    boxes = np.array([[0, 0, 3, 2], [3, 0, 0, 2], [3, 2, 0, 0], [1, 1, 1, 9]], np.float32)
    assert box_areas(boxes).tolist() == [6, 0, 0, 0]


@settings(deadline=None)
@given(box_lists())
def test_a_squared_box_keeps_its_center_and_its_longer_side(boxes: np.ndarray) -> None:
    squares = square_boxes(boxes)
    np.testing.assert_allclose(squares[:, :2] + squares[:, 2:], boxes[:, :2] + boxes[:, 2:])
    sides = squares[:, 2:] - squares[:, :2]
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) if len(boxes) else np.zeros(0)
    np.testing.assert_allclose(sides, np.stack([longer, longer], axis=1))


# Suppression


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_suppression_keeps_what_a_plain_loop_keeps(data: st.DataObject) -> None:
    boxes = data.draw(box_lists(max_size=30))
    n = len(boxes)
    few = st.sampled_from([0.1, 0.5, 0.5, 0.9])  # many ties
    scores = np.array(data.draw(st.lists(few, min_size=n, max_size=n)), np.float32)
    groups = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.intp)
    limit = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
    relative_to = data.draw(RELATIVE_TO)
    kept = suppress_boxes(boxes, scores, limit, relative_to=relative_to, groups=groups)
    assert kept.tolist() == naive_suppression(boxes, scores, limit, relative_to, groups)
    alone = suppress_boxes(boxes, scores, limit, relative_to=relative_to)
    together = np.zeros(n, np.intp)
    assert alone.tolist() == naive_suppression(boxes, scores, limit, relative_to, together)


@pytest.mark.parametrize("n", [255, 256, 257, 700])
def test_suppression_of_more_boxes_than_one_block_is_the_same(n: int) -> None:
    rng = np.random.default_rng(n)
    corners = rng.integers(0, 60, (n, 2))
    boxes = np.hstack([corners, corners + rng.integers(5, 25, (n, 2))]).astype(np.float32)
    scores = rng.integers(0, 50, n).astype(np.float32)  # ties across the border of a block
    groups = rng.integers(0, 2, n)
    kept = suppress_boxes(boxes, scores, 0.4)
    assert kept.tolist() == naive_suppression(boxes, scores, 0.4, "union", np.zeros(n))
    assert 20 < len(kept) < n
    kept = suppress_boxes(boxes, scores, 0.4, groups=groups)
    assert kept.tolist() == naive_suppression(boxes, scores, 0.4, "union", groups)


def test_boxes_of_different_photos_do_not_see_each_other() -> None:
    boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (3, 1))
    scores = np.array([0.5, 0.9, 0.7], np.float32)
    assert suppress_boxes(boxes, scores, 0.5).tolist() == [1]
    assert suppress_boxes(boxes, scores, 0.5, groups=np.array([7, 3, 7])).tolist() == [1, 2]


@pytest.mark.parametrize("groups", [None, np.zeros(0, np.intp)])
def test_no_boxes_stay_no_boxes(groups: np.ndarray | None) -> None:
    kept = suppress_boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5, groups=groups)
    assert kept.shape == (0,)
    assert kept.dtype == np.intp


# Similarity transforms


def similarity(angle_rad: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
    return np.array([[[cos, -sin, shift[0]], [sin, cos, shift[1]]]])


similarities = st.builds(
    similarity,
    st.floats(-math.pi, math.pi),
    st.floats(0.05, 20),
    st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
)


def umeyama(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Umeyama (1991), eq. 34-43, for one face, with the guard against reflection."""
    mean_x, mean_y = points.mean(axis=0), template.mean(axis=0)
    x, y = points - mean_x, template - mean_y
    left, singular, right = np.linalg.svd(y.T @ x / len(x))
    signs = np.ones(2)
    if np.linalg.det(left) * np.linalg.det(right) < 0:
        signs[1] = -1
    rotation = left @ np.diag(signs) @ right
    scale = (singular * signs).sum() / (x**2).sum(axis=1).mean()
    return np.column_stack([scale * rotation, mean_y - scale * rotation @ mean_x])


@settings(deadline=None)
@given(similarities)
def test_a_similarity_is_recovered_exactly(matrix: np.ndarray) -> None:
    template = TEMPLATE_PX.astype(np.float64)
    points = apply_transforms(matrix, template[None])
    found = fit_similarity(points, TEMPLATE_PX)
    assert found.shape == (1, 2, 3)
    assert found.dtype == np.float32
    rounding_px = 4 * float(np.abs(found).max()) * np.finfo(np.float32).eps
    moved = apply_transforms(found.astype(np.float64), points)
    np.testing.assert_allclose(moved, template[None], atol=1e-4 + rounding_px)


@settings(deadline=None)
@given(arrays.arrays(np.float64, (4, 5, 2), elements=st.floats(-300, 300)), st.booleans())
def test_the_fit_is_umeyamas_on_any_points(points: np.ndarray, mirrored: bool) -> None:
    if mirrored:  # close to a mirrored template, where the guard decides
        points = points / 100 + TEMPLATE_PX * [-1, 1]
    spread = ((points - points.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
    points = points[spread > 1]
    found = fit_similarity(points, TEMPLATE_PX)
    for matrix, one in zip(found, points, strict=True):
        expected = umeyama(one, TEMPLATE_PX.astype(np.float64))
        np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-4)


def test_no_transform_of_its_kind_comes_closer() -> None:
    rng = np.random.default_rng(0)
    points = TEMPLATE_PX + rng.normal(0, 6, (1, 5, 2))
    best = fit_similarity(points, TEMPLATE_PX).astype(np.float64)

    def error(matrix: np.ndarray) -> float:
        return float(((apply_transforms(matrix, points) - TEMPLATE_PX) ** 2).sum())

    for _ in range(200):
        angle, scale = rng.normal(0, 0.01), 1 + rng.normal(0, 0.01)
        turn = similarity(angle, scale, tuple(rng.normal(0, 0.3, 2)))[0]
        nearby = np.vstack([best[0], [0, 0, 1]])
        moved = (np.vstack([turn, [0, 0, 1]]) @ nearby)[None, :2]
        assert error(moved) >= error(best) - 1e-6


@settings(deadline=None)
@given(similarities)
def test_the_way_back_undoes_the_way_there(matrix: np.ndarray) -> None:
    points = np.array([[[0, 0], [100, 20], [-30, 50.0]]])
    back = apply_transforms(invert_similarity(matrix), apply_transforms(matrix, points))
    np.testing.assert_allclose(back, points, atol=0.05)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.full((5, 2), 7.0), "face 1 coincide"),
        (np.full((5, 2), np.nan), "face 1 are not finite"),
        (np.where(np.eye(5, 2) > 0, np.inf, TEMPLATE_PX), "face 1 are not finite"),
    ],
)
def test_points_without_a_fit_are_refused_by_number(points: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        fit_similarity(np.stack([TEMPLATE_PX, points]), TEMPLATE_PX)
    assert caught.value.hint


@pytest.mark.parametrize("shape", [(5, 2), (1, 4, 2), (1, 2, 5), (0,)])
def test_other_than_five_points_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"points must have shape \(N, 5, 2\)"):
        fit_similarity(np.ones(shape, np.float32), TEMPLATE_PX)


def test_no_faces_have_no_transforms() -> None:
    none = fit_similarity(np.zeros((0, 5, 2), np.float32), TEMPLATE_PX)
    assert none.shape == invert_similarity(none).shape == (0, 2, 3)


def test_a_transform_onto_one_spot_has_no_way_back() -> None:
    with pytest.raises(InputError, match="scale 0"):
        invert_similarity(np.zeros((1, 2, 3), np.float32))
