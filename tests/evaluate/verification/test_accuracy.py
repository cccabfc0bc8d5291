"""The interval over folds uses Student's t, and every pair is counted in its fold and class."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.evaluate.verification.accuracy import (
    FoldScores,
    list_folds,
    student_t_point,
    summarize_folds,
)
from arcwise.types import Pair


@pytest.mark.parametrize(
    ("n_free", "point"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (10, 2.2281), (30, 2.0423)],
)
def test_student_t_has_the_points_of_the_tables(n_free: int, point: float):
    assert student_t_point(n_free) == pytest.approx(point, abs=5e-5)


def test_the_interval_over_folds_is_that_of_student():
    found = summarize_folds(np.array([0.75, 1.0, 1.0]), np.zeros(3))
    half = 4.3026527 * found.std_sample / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((11 / 12 - half, 1.0), abs=1e-6)
    assert found.std_error == pytest.approx(np.std([0.75, 1, 1], ddof=1) / np.sqrt(3))


def test_scores_are_split_by_fold_and_class_and_sorted():
    scores = np.array([0.3, 0.9, 0.1, 0.8, 0.2, 0.7], dtype=np.float32)
    same = np.array([False, True, False, True, True, False])
    lost = [Pair("a", "b", True, 4), Pair("a", "c", False, 7), Pair("a", "d", False, 7)]
    found = FoldScores.split(scores, same, np.array([7, 7, 2, 2, 7, 7]), lost)
    assert [part.genuine.tolist() for part in found.folds] == [
        scores[[3]].tolist(),
        [],
        scores[[4, 1]].tolist(),
    ]
    assert found.folds[2].impostor.tolist() == scores[[0, 5]].tolist()
    assert found.whole.genuine.tolist() == scores[[4, 3, 1]].tolist()
    assert found.whole.genuine.dtype == np.float32
    assert (found.failures.same.tolist(), found.failures.different.tolist()) == (
        [0, 1, 0],
        [0, 0, 2],
    )
    assert found.n_all.tolist() == [2, 1, 6]


def test_folds_that_occur_are_listed_once():
    folds = np.array([5, 0, 5, 3], dtype=np.uint8)
    assert list_folds(folds, [Pair("a", "b", True, 9)]) == [0, 3, 5, 9]
