"""The interval over folds uses Student's t, and a fold's threshold never sees the fold."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import DatasetError
from arcwise.evaluate.protocol import PROTOCOLS, RULES, student_t_point
from arcwise.evaluate.verification import evaluate_scores
from arcwise.types import Pair


@pytest.mark.parametrize(
    ("n_free", "point"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (10, 2.2281), (30, 2.0423)],
)
def test_student_t_has_the_points_of_the_tables(n_free: int, point: float):
    assert student_t_point(n_free) == pytest.approx(point, abs=5e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_threshold_is_chosen_without_the_fold_it_is_used_on(protocol: str):
    same = np.array([True, False] * 4)
    folds = np.repeat([0, 1], 4)
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.9, 0.1, 0.8, 0.2])
    moved = scores.copy()
    moved[:4] -= 0.15
    before = evaluate_scores(scores, same, folds, protocol=protocol).accuracy
    after = evaluate_scores(moved, same, folds, protocol=protocol).accuracy
    assert after.similarities[0] == before.similarities[0]
    assert after.similarities[1] != before.similarities[1]


def test_the_interval_over_folds_is_that_of_student():
    same = np.array([True, False] * 6)
    scores = np.where(same, 0.9, 0.1)
    scores[1] = 0.95  # one false accept in the first of three folds: 0.75, 1, 1
    found = evaluate_scores(scores, same, np.repeat([0, 1, 2], 4)).accuracy
    assert found.accuracies == (0.75, 1.0, 1.0)
    half = 4.3026527 * found.std_sample / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((11 / 12 - half, 1.0), abs=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_says_its_rule(protocol: str):
    assert RULES[protocol]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_threshold_is_chosen_where_failures_left_one_class(protocol: str):
    lost = [Pair("a", "b", True, 1)]
    with pytest.raises(DatasetError, match="without fold 0 there are 1 scored pairs, all of two"):
        evaluate_scores(
            [0.9, 0.1, 0.2],
            [True, False, False],
            [0, 0, 1],
            protocol=protocol,
            failed_pairs=lost,
        )
