"""Cosines fetched in parts are those computed pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.evaluate.vectors import cosines
from arcwise.evaluate.vectors.cosines import fetch_cosines


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_parts_give_the_cosines_of_each_pair(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "_CHUNK_PAIRS", 3)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(7, 5)).astype(kind)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = rng.integers(0, 7, (2, 10)).astype(np.int32)
    found = fetch_cosines(vectors, first, second)
    expected = [vectors[a] @ vectors[b] for a, b in zip(first, second, strict=True)]
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    assert found.dtype == kind


def test_rounding_leads_beyond_no_end_and_no_pairs_have_no_cosines() -> None:
    vectors = np.full((1, 3), np.nextafter(np.float32(1 / np.sqrt(3)), np.float32(1)))
    rows = np.zeros(1, np.int64)
    assert fetch_cosines(vectors, rows, rows).tolist() == [1.0]
    assert fetch_cosines(np.empty((0, 0)), rows[:0], rows[:0]).shape == (0,)
