"""Vectors of norm 1 for photos by their names, and why some photos have none.

It does not know where vectors come from or what they are compared for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Doubles


def unit_vectors(
    names: Sequence[str], embeddings: Mapping[str, NDArray[Any]], reasons: Mapping[str, str]
) -> tuple[Doubles, dict[str, str]]:
    """(N, D) float64 vectors of norm 1 in the order of `names`, and why some photos have none.

    Args:
        names: of the photos.
        embeddings: photo name -> (D,) vector.
        reasons: photo name -> why it has none, where that is known.

    Raises:
        InputError: a vector that is not (D,), not finite, or of another dimension than the others.
    """
    vectors: list[Doubles] = []
    lost: dict[str, str] = {}
    for name in names:
        if name not in embeddings:
            lost[name] = reasons.get(name, "no embedding was given")
            continue
        vector = np.asarray(embeddings[name], dtype=np.float64)
        if vector.ndim != 1 or (vectors and vector.shape != vectors[0].shape):
            wanted = f"({len(vectors[0])},)" if vectors else "(D,)"
            raise InputError(f"the embedding of {name} must be {wanted}, got {vector.shape}")
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm):
            raise InputError(f"the embedding of {name} holds values that are not finite")
        if norm == 0:
            lost[name] = "its embedding has length 0"
            continue
        vectors.append(vector / norm)
    return np.array(vectors), lost
