"""Thresholds decide as they say, and intervals are those of the textbooks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.evaluate.curve import (
    Scores,
    count_allowed,
    count_needed,
    equal_error_rate,
    tar_at_far,
    threshold_between,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("n_hits", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_has_its_known_values(n_hits: int, n: int, low: float, high: float):
    """The last one is the example of Newcombe (1998), table I."""
    assert wilson_interval(n_hits, n) == pytest.approx((low, high), abs=5e-5)


def test_a_threshold_between_two_neighboring_numbers_accepts_the_upper_one_only():
    below = 0.3
    above = float(np.nextafter(below, 1))
    assert threshold_between(below, above) == above
    assert threshold_between(0.2, 0.4) == pytest.approx(0.3)


def test_all_impostors_tied_at_the_budget_are_refused():
    ordered = Scores.sort([0.5, 0.6, 0.9], [0.6, 0.6, 0.6] + [0.1] * 17)
    found = tar_at_far(0.1, ordered, n_failed=0)  # 2 of 20 may pass, but 3 are tied
    assert (found.tar, found.far_found) == (1 / 3, 0.0)
    assert found.similarity == pytest.approx(0.75)


def test_exactly_the_budget_passes():
    ordered = Scores.sort([0.9, 0.2], [0.8, 0.7] + [0.1] * 18)
    found = tar_at_far(0.1, ordered, n_failed=0)
    assert (found.tar, found.far_found) == (1.0, 0.1)
    assert found.similarity == pytest.approx(0.15)


def test_a_budget_is_not_lost_to_rounding():
    assert 0.29 * 100 < 29
    ordered = Scores.sort([0.0], np.linspace(-1, 1, 100).tolist())
    assert tar_at_far(0.29, ordered, n_failed=0).far_found == 0.29


def test_the_eer_of_separated_classes_is_zero_in_the_middle_of_the_gap():
    found = equal_error_rate(Scores.sort([0.7, 0.9], [0.1, 0.2, 0.3]), n_failed=0)
    assert found.rate == pytest.approx(0.0, abs=1e-12)
    assert found.similarity == pytest.approx(0.5)


def test_the_eer_of_equal_scores_is_one_half():
    assert equal_error_rate(Scores.sort([0.5] * 3, [0.5] * 5), n_failed=0).rate == 0.5


def test_the_eer_of_swapped_classes_is_one():
    assert equal_error_rate(Scores.sort([0.1, 0.2], [0.8, 0.9]), n_failed=0).rate == 1.0


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 50))
def test_the_share_of_a_count_allows_that_count(k: int, n: int, least: int):
    k = min(k, n)
    assert count_allowed(k / n, n) == k
    needed = count_needed(k / n, least)
    assert count_allowed(k / n, needed) >= least
    assert not needed or count_allowed(k / n, needed - 1) < max(least, 1)


@pytest.mark.parametrize("rate", [1 - 1e-13, float(np.nextafter(1, 0))])
def test_a_rate_below_1_never_allows_all(rate: float):
    assert [count_allowed(rate, n) for n in (0, 1, 2, 1000)] == [0, 0, 1, 999]
    assert count_needed(rate) == 2
    found = tar_at_far(rate, Scores.sort([0.5, 0.9], [0.1, 0.2, 0.3]))
    assert (found.tar, found.far_found) == (1.0, 2 / 3)
    alone = tar_at_far(rate, Scores.sort([0.5], [0.1]))
    assert alone.text == "n/a: needs 1/FAR = 2 impostors, has 1"
