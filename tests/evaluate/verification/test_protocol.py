"""A fold's threshold never sees the fold, and each protocol decides as it says."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.verification import evaluate_pairs, evaluate_scores
from arcwise.evaluate.verification.protocol import PROTOCOLS
from arcwise.types import Pair

BY_SCORES = [name for name, protocol in PROTOCOLS.items() if protocol.run is not None]


@pytest.mark.parametrize("protocol", BY_SCORES)
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_says_its_rule_and_its_views(protocol: str):
    found = PROTOCOLS[protocol]
    assert found.name == protocol
    assert found.rule
    assert found.views in ("any", "none", "sum", "concat")
    assert (found.run is None) != (found.run_vectors is None)


@pytest.mark.parametrize("protocol", BY_SCORES)
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


def test_concat_accepts_a_score_that_equals_the_threshold():
    same, folds = [True, False, True, False], [0, 0, 1, 1]
    grid = np.arange(-1.0, 1.0, 0.005)
    scores = [grid[300], -0.5, 0.9, grid[299]]  # fold 0 is cut at 0.5, just above fold 1's stranger
    found = evaluate_scores(scores, same, folds, protocol="concat").accuracy
    assert found.similarities[0] == grid[300]
    assert found.accuracies[0] == 1.0


def test_facex_refuses_a_score_that_equals_the_threshold_in_either_class():
    same = [True, False, True, False, True, False]
    # The others of fold 0 span 0 to 1: the first of the steps above 0 parts their classes.
    scores = [0.001, 0.001, 1.0, 0.0, 1.0, 0.0]
    found = evaluate_scores(scores, same, [0, 0, 1, 1, 2, 2], protocol="facex").accuracy
    assert found.similarities[0] == 0.001
    assert found.accuracies[0] == 0.0


def test_magface_refuses_scores_and_says_what_to_give():
    with pytest.raises(InputError, match="scores will not do") as caught:
        evaluate_scores([0.9, 0.1], [True, False], [0, 0], protocol="magface")
    assert "evaluate_pairs" in caught.value.hint


def test_magface_takes_off_what_all_vectors_share():
    """Two directions hidden under a common one: plain cosines are high for all pairs."""
    rng = np.random.default_rng(0)
    vectors = {
        f"p{i}/{j}": np.array([50.0, *(np.eye(4)[i % 4] + 0.001 * rng.normal(size=4))])
        for i in range(8)
        for j in (0, 1)
    }
    pairs = [
        pair
        for i in range(8)
        for pair in (
            Pair(f"p{i}/0", f"p{i}/1", True, i // 4),
            Pair(f"p{i}/0", f"p{i ^ 1}/1", False, i // 4),
        )
    ]
    report = evaluate_pairs(pairs, vectors, protocol="magface")
    assert report.impostor.min > 0.999
    assert report.accuracy.mean == 1.0
    assert report.accuracy.similarities == pytest.approx((np.cos(0.01 * np.pi),) * 2)
    assert report.similarity is None
    assert report.worst_at == report.best.similarity


def test_a_vector_that_equals_the_mean_is_never_accepted():
    """The other folds' vectors all are (1, 0), and so is one of the own pair."""
    pairs = [Pair("a", "b", same, fold) for fold in (0, 1) for same in (True, False)]
    vectors = {"a": np.array([1.0, 0.0]), "b": np.array([1.0, 0.0])}
    found = evaluate_pairs(pairs, vectors, protocol="magface").accuracy
    assert found.accuracies == (0.5, 0.5)


def test_magface_refuses_other_folds_of_one_class():
    vectors = {name: np.array([1.0, i]) for i, name in enumerate("abcd")}
    pairs = [
        Pair("a", "b", True, 0),
        Pair("a", "c", False, 0),
        Pair("lost", "b", True, 1),
        Pair("a", "d", False, 1),
    ]
    with pytest.raises(DatasetError, match="without fold 0 there are 1 scored pairs, all of two"):
        evaluate_pairs(pairs, vectors, protocol="magface")
