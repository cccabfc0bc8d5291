"""Boxes, overlap, suppression, and the similarity transform of five points.

Plain arrays in, plain arrays out; it does not know images, faces or models. Boxes are
(N, 4) left, top, right, bottom in px, the right and bottom edges not included.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.types import Floats

Overlap = Literal["union", "smaller"]

_SUPPRESSION_BLOCK = 256  # boxes compared with each other in one matrix


def box_areas(boxes: Floats) -> Floats:
    """Areas of (..., 4) boxes, px²; a box turned inside out has area 0."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    areas: Floats = sides[..., 0] * sides[..., 1]
    return areas


def overlap_boxes(a: Floats, b: Floats, *, relative_to: Overlap = "union") -> Floats:
    """How much every box of `a` overlaps every box of `b`.

    Args:
        a: (N, 4) boxes.
        b: (M, 4) boxes.
        relative_to: divide the common area by that of the union, or of the smaller box.

    Returns:
        (N, M) float32 in [0, 1]; 0 where the divisor is 0.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    common = sides[..., 0] * sides[..., 1]
    areas_a, areas_b = box_areas(a)[:, None], box_areas(b)[None, :]
    if relative_to == "union":
        whole = areas_a + areas_b - common
    else:
        whole = np.minimum(areas_a, areas_b)
    shares = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    result: Floats = np.minimum(shares, 1).astype(np.float32)
    return result


def suppress_boxes(
    boxes: Floats,
    scores: Floats,
    limit: float,
    *,
    relative_to: Overlap = "union",
    groups: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: keep the best box, drop what overlaps it, repeat.

    Args:
        boxes: (N, 4) px.
        scores: (N,) higher is better; equal scores keep their order.
        limit: a box goes when it overlaps a kept one by more than this.
        relative_to: see `overlap_boxes`.
        groups: (N,) boxes of different groups (photos, scales) do not see each other.

    Returns:
        (K,) indices of the boxes kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_boxes = boxes[order].astype(np.float32)
    if groups is None:
        return order[_suppress_sorted(sorted_boxes, limit, relative_to)]
    members: dict[Any, list[int]] = {}
    for position, group in enumerate(groups[order].tolist()):
        members.setdefault(group, []).append(position)
    kept = [
        np.asarray(positions)[_suppress_sorted(sorted_boxes[positions], limit, relative_to)]
        for positions in members.values()
    ]
    return order[np.sort(np.concatenate(kept))] if kept else order


def _suppress_sorted(boxes: Floats, limit: float, relative_to: Overlap) -> NDArray[np.intp]:
    """Positions kept of boxes that come best first; works in blocks to bound the memory."""
    kept = np.zeros(0, np.intp)
    for start in range(0, len(boxes), _SUPPRESSION_BLOCK):
        columns = np.arange(start, min(start + _SUPPRESSION_BLOCK, len(boxes)))
        rows = np.concatenate([kept, columns])
        clash = overlap_boxes(boxes[rows], boxes[columns], relative_to=relative_to) > limit
        alive = np.logical_not(clash[: len(kept)].any(axis=0))
        inside = clash[len(kept) :]
        for row in np.flatnonzero(inside.sum(axis=1) > 1):  # a box always clashes with itself
            if alive[row]:
                alive[row + 1 :][inside[row, row + 1 :]] = False
        kept = np.concatenate([kept, columns[alive]])
    return kept


def square_boxes(boxes: Floats) -> Floats:
    """Boxes of the same centers whose sides are all as long as their longer one."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    half_sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    squares: Floats = np.hstack([centers - half_sides, centers + half_sides])
    return squares


def fit_similarity(points: Floats, template: Floats) -> Floats:
    """The rotation, uniform scale and shift that bring points closest to a template.

    Least squares over all points. In two dimensions the solution is closed: with both point
    sets centered and read as complex numbers z and w, it is the factor Σ z̄·w / Σ |z|².

    Args:
        points: (N, P, 2) px in the photo.
        template: (P, 2) px in the crop.

    Returns:
        (N, 2, 3) float32 matrices that map photo px to crop px.

    Raises:
        InputError: the points of one face coincide, or a value is not finite.

    Source: Umeyama (1991), eq. 40-42, without reflection.
    """
    batch = np.asarray(points, dtype=np.float64)
    if batch.ndim != 3 or batch.shape[1:] != template.shape:
        raise InputError(
            f"points must have shape (N, {template.shape[0]}, 2), got {np.shape(points)}"
        )
    finite = np.logical_and.reduce(np.isfinite(batch), axis=(1, 2))
    _refuse_faces(~finite, batch, "are not finite")
    source_means = batch.mean(axis=1)
    target = np.asarray(template, dtype=np.float64)
    target_mean = target.mean(axis=0)
    z = (batch - source_means[:, None]) @ np.array([1, 1j])
    w = (target - target_mean) @ np.array([1, 1j])
    spread = (np.abs(z) ** 2).sum(axis=1)
    _refuse_faces(spread <= 1e-6, batch, "coincide")
    factors = (z.conj() @ w) / spread
    matrices = np.empty((len(batch), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = factors.real
    matrices[:, 1, 0] = factors.imag
    matrices[:, 0, 1] = -factors.imag
    matrices[:, :, 2] = target_mean - np.einsum("nij,nj->ni", matrices[:, :, :2], source_means)
    return matrices.astype(np.float32)


def _refuse_faces(is_bad: NDArray[np.bool_], points: NDArray[np.float64], problem: str) -> None:
    if is_bad.any():
        first = int(np.flatnonzero(is_bad)[0])
        raise InputError(
            f"the points of face {first} {problem}: {points[first].tolist()}",
            hint="the detector found no real face there; give other points",
        )


def invert_similarity(matrices: Floats) -> Floats:
    """The way back: (N, 2, 3) matrices that undo (N, 2, 3) similarity transforms.

    Raises:
        InputError: a transform has scale 0.
    """
    linear = np.asarray(matrices, dtype=np.float64)[:, :, :2]
    scales = linear[:, 0, 0] ** 2 + linear[:, 1, 0] ** 2
    if not (scales > 0).all():
        raise InputError("a similarity transform of scale 0 cannot be inverted")
    inverse = linear.transpose(0, 2, 1) / scales[:, None, None]
    shifts = -np.einsum("nij,nj->ni", inverse, matrices[:, :, 2])
    return np.concatenate([inverse, shifts[:, :, None]], axis=2).astype(np.float32)


def apply_transforms(matrices: Floats, points: Floats) -> Floats:
    """Move points: (N, 2, 3) matrices on (N, P, 2) points give (N, P, 2)."""
    moved: Floats = points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    return moved
