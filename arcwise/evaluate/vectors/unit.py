"""Vectors of norm 1 for photos by their names, and why some photos have none.

It does not know where vectors come from or what they are compared for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Doubles


@dataclass(frozen=True, eq=False, slots=True)
class UnitVectors:
    """The directions of some photos.

    Attributes:
        names: of the N photos with a direction, in the order given.
        units: (N, D) float64 of norm 1.
        lengths: (N,) float64 that they had before.
        lost: photo -> why it has none, in the order given.
    """

    names: tuple[str, ...]
    units: Doubles
    lengths: Doubles
    lost: dict[str, str]


def unit_vectors(
    names: Sequence[str], embeddings: Mapping[str, NDArray[Any]], reasons: Mapping[str, str]
) -> UnitVectors:
    """The directions of photos, and why some have none.

    Args:
        names: of the photos, each once.
        embeddings: photo name -> (D,) vector.
        reasons: photo name -> why it has none, where that is known.

    Raises:
        InputError: a vector that is not (D,), not finite, or of another dimension than the others.
    """
    given = [name for name in names if name in embeddings]
    vectors = _stack(given, embeddings)
    with np.errstate(over="ignore"):  # a length that is not finite is refused
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    is_finite = np.isfinite(lengths)
    if not is_finite.all():
        name = given[int(np.argmin(is_finite))]
        raise InputError(f"the embedding of {name} holds values that are not finite")
    has_length = lengths > 0
    lost = {
        name: reasons.get(name, "no embedding was given")
        for name in names
        if name not in embeddings
    }
    if not has_length.all():
        empty = [name for name, has in zip(given, has_length.tolist(), strict=True) if not has]
        lost |= dict.fromkeys(empty, "its embedding has length 0")
        lost = {name: lost[name] for name in names if name in lost}
        given = [name for name in given if name not in lost]
        vectors, lengths = vectors[has_length], lengths[has_length]
    vectors /= lengths[:, None]
    return UnitVectors(tuple(given), vectors, lengths, lost)


def _stack(names: Sequence[str], embeddings: Mapping[str, NDArray[Any]]) -> Doubles:
    """(N, D) float64, a copy."""
    found = [np.asarray(embeddings[name]) for name in names]
    for name, vector in zip(names, found, strict=True):
        if vector.ndim != 1 or vector.shape != found[0].shape:
            wanted = f"({len(found[0])},)" if found[0].ndim == 1 else "(D,)"
            raise InputError(f"the embedding of {name} must be {wanted}, got {vector.shape}")
    return np.array(found, dtype=np.float64) if found else np.empty((0, 0))
