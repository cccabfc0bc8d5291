"""Rows become unit vectors; those without a direction are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.vectors.rows import row_norms, unit_rows


def test_lengths_are_summed_in_float64() -> None:
    vectors = np.array([[3, 4], [1e30, 0]], np.float32)  # whose square float32 cannot hold
    np.testing.assert_allclose(row_norms(vectors, str), [5, 1e30])
    unit = unit_rows(vectors, str)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [1, 0]])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_a_direction_is_refused_by_name(value: float) -> None:
    names = ["Ann", "Bob"]
    with pytest.raises(InputError, match="Bob"):
        unit_rows(np.array([[1, 1], [value, 0]], np.float32), lambda row: names[row])


def test_no_rows_are_no_lengths() -> None:
    assert unit_rows(np.empty((0, 3), np.float32), str).shape == (0, 3)
