"""Rows of norm 1 and how long they were; rows that have no direction are refused by name.

It does not know what the rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Doubles
from arcwise.types import Floats


def row_norms(vectors: NDArray[Any], name_row: Callable[[int], str]) -> Doubles:
    """(N,) float64 lengths of the rows.

    Args:
        vectors: (N, D).
        name_row: what a row is called when it is refused.

    Raises:
        InputError: a row is not finite, or 0.
    """
    with np.errstate(over="ignore"):  # what overflows is refused below
        norms: Doubles = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))  # NaN and inf reach the norm
    if len(wrong):
        at = int(wrong[0])
        raise InputError(
            f"the embedding of {name_row(at)} has length {norms[at]}",
            hint="a photo without a usable embedding is a failed read: leave it out and count it",
        )
    return norms


def unit_rows(vectors: NDArray[Any], name_row: Callable[[int], str]) -> Floats:
    """(N, D) float32 rows of norm 1; arguments and errors are those of `row_norms`."""
    norms = row_norms(vectors, name_row)
    unit: Floats = (vectors / norms[:, None]).astype(np.float32)
    return unit
