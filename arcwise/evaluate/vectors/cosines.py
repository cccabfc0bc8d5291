"""The cosines of many pairs of vectors, fetched by their rows.

It does not know what the rows stand for. Pairs that share many first rows are faster as a matrix
product; evaluate/templates has that.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)
_CHUNK_PAIRS = 1 << 9  # two blocks of vectors stay in the cache of a core


def fetch_cosines(
    vectors: NDArray[_Float], first: NDArray[np.integer[Any]], second: NDArray[np.integer[Any]]
) -> NDArray[_Float]:
    """The cosine of each pair, some at a time to bound the memory.

    Args:
        vectors: (N, D) float32 or float64 of norm 1.
        first: (P,) rows of `vectors`.
        second: (P,) likewise.

    Returns:
        (P,) of the kind of `vectors`, -1..1.
    """
    cosines = np.empty(len(first), dtype=vectors.dtype)
    for start in range(0, len(first), _CHUNK_PAIRS):
        part = slice(start, start + _CHUNK_PAIRS)
        cosines[part] = np.einsum("pd,pd->p", vectors[first[part]], vectors[second[part]])
    return np.clip(cosines, -1.0, 1.0, out=cosines)
