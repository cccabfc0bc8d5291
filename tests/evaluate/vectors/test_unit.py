"""Vectors become directions with the lengths they had, and those without one are lost."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.vectors.unit import unit_vectors


def test_a_direction_has_norm_1_and_keeps_the_length_it_had() -> None:
    given = {"a": np.array([3.0, 4.0], np.float32), "b": np.array([0.0, 2.0])}
    found = unit_vectors(["b", "a"], given, {})
    assert found.names == ("b", "a")
    assert found.units.tolist() == [[0.0, 1.0], [0.6, 0.8]]
    assert found.lengths.tolist() == [2.0, 5.0]
    assert given["b"].tolist() == [0.0, 2.0]  # not changed


def test_a_photo_without_direction_is_lost_with_the_reason() -> None:
    given = {"b": np.zeros(2), "c": np.ones(2)}
    found = unit_vectors(["a", "b", "c", "d"], given, {"d": "no face", "c": "unused"})
    assert (found.names, found.units.shape, found.lengths.shape) == (("c",), (1, 2), (1,))
    assert list(found.lost.items()) == [
        ("a", "no embedding was given"),
        ("b", "its embedding has length 0"),
        ("d", "no face"),
    ]
    assert len(unit_vectors(["a"], {}, {}).units) == 0


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones(3), r"embedding of b must be \(2,\), got \(3,\)"),
        (np.float64(1), r"embedding of b must be \(2,\), got \(\)"),
        (np.array([1e200, 1e200]), "embedding of b holds values that are not finite"),
        (np.array([1, np.nan]), "embedding of b holds values that are not finite"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(vector: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unit_vectors(["a", "b"], {"a": np.ones(2), "b": vector}, {})
    with pytest.raises(InputError, match=r"embedding of a must be \(D,\), got \(1, 2\)"):
        unit_vectors(["a", "b"], {"a": np.ones((1, 2)), "b": vector}, {})
