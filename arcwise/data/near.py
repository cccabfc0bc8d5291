"""Photos that are one photo: scaled, compressed or brightened a little, under two names.

Two photos are taken for one when few bits of their perceptual hashes differ and their thumbnails
are nearly proportional. The hash alone is not enough: aligned faces lie so much alike that
strangers come close. It does not know people, and a mirrored or otherwise cut photo is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.image import luma, perceptual_hash, resize_image
from arcwise.types import Image

MOST_BITS = 6
LEAST_CORRELATION = 0.98
"""On the 13,233 crops of LFW, 391 pairs of different names differ in 6 bits or fewer. Four of them
reach 0.98, and each is one photo; the next reaches 0.970 and is not. One more photo, at 0.966, was
cut at two places: it is found on the whole photos, where five pairs reach 0.98, and each is one
photo. `arcwise data check` gives both."""

_THUMB_PX = 16
_N_BITS = 64
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What a photo is recognized by.

    Attributes:
        hash: perceptual hash, 64 bits.
        thumb: (256,) uint8, brightness of 16x16 px.
    """

    hash: int
    thumb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Twins:
    """Two photos that are one, by position in two sets (or one set twice).

    Attributes:
        a, b: positions.
        n_bits: how many bits of their hashes differ.
        correlation: of their thumbnails, at most 1.
    """

    a: int
    b: int
    n_bits: int
    correlation: float


def take_look(image: Image) -> Look:
    """Remember what a photo looks like.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is not such an image.
    """
    thumb = luma(resize_image(image, (_THUMB_PX, _THUMB_PX)))
    return Look(perceptual_hash(image), thumb.ravel())


def find_twins(
    looks: Sequence[Look],
    others: Sequence[Look] | None = None,
    *,
    most_bits: int = MOST_BITS,
    least_correlation: float = LEAST_CORRELATION,
) -> list[Twins]:
    """Every pair of photos that are one. The time grows with the product of the two numbers.

    Args:
        looks: (N,) of photos.
        others: (M,) of others; by default, each pair within `looks` is compared once.
        most_bits: of the hashes may differ.
        least_correlation: of the thumbnails; a flat one correlates with nothing.

    Returns:
        The pairs, by position.
    """
    against = looks if others is None else others
    if not looks or not against:
        return []
    signs, thumbs = _stack_signs(looks), np.stack([look.thumb for look in looks])
    signs_b = signs if others is None else _stack_signs(against)
    thumbs_b = thumbs if others is None else np.stack([look.thumb for look in against])
    least = _N_BITS - 2 * most_bits  # of 64 equal signs each bit that differs takes 2
    found: list[Twins] = []
    for start in range(0, len(signs), _ROWS_AT_ONCE):
        first = start if others is None else 0
        scores = signs[start : start + _ROWS_AT_ONCE] @ signs_b[first:].T
        rows, columns = np.nonzero(scores >= least)
        n_bits = (_N_BITS - scores[rows, columns]) / 2
        rows, columns = rows + start, columns + first
        correlations = _correlate(thumbs[rows], thumbs_b[columns])
        is_twin = correlations >= least_correlation
        if others is None:
            is_twin &= columns > rows
        found += [
            Twins(int(rows[i]), int(columns[i]), round(float(n_bits[i])), float(correlations[i]))
            for i in np.flatnonzero(is_twin)
        ]
    return found


def _stack_signs(looks: Sequence[Look]) -> NDArray[np.float32]:
    """(N, 64) of -1 and 1: their product counts equal bits, and is the fastest there is."""
    codes = np.array([look.hash for look in looks], np.uint64).astype(">u8").view(np.uint8)
    return np.unpackbits(codes).reshape(-1, _N_BITS).astype(np.float32) * 2 - 1


def _correlate(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,) correlation of thumbnails (n, 256) with their partners; 0 where one is flat."""
    x = a - a.mean(axis=1, keepdims=True)
    y = b - b.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products: NDArray[np.float64] = np.einsum("nd,nd->n", x, y)
    correlations = np.zeros_like(products)
    np.divide(products, norms, out=correlations, where=norms > 0)
    return correlations
