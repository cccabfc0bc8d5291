"""Thresholds over searches against the definitions, threshold by threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.errors import InputError
from arcwise.evaluate.identification.alarm import det_points, dir_at_far, fnir_at_fpir, rates_at
from arcwise.evaluate.identification.search import search_scores


def draw_searches(seed, *, n_probes=40, n_people=6, levels=8):
    """Searches with many equal scores; people n_people to n_people + 3 are not in the gallery."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, levels, (n_probes, n_people)) / levels).astype(np.float32)
    own = rng.integers(0, n_people + 4, n_probes)
    own[:2] = 0, n_people
    return search_scores(scores, own.tolist(), range(n_people)), scores, own


def count_naively(scores, own, threshold, rank):
    """FNIR and FPIR at a threshold, by NIST's words."""
    n_people = scores.shape[1]
    missed = mated = alarms = strangers = 0
    for row, person in zip(scores.astype(np.float64), own, strict=True):
        if person < n_people:
            mated += 1
            place = 1 + sum(s >= row[person] for i, s in enumerate(row) if i != person)
            missed += not (row[person] >= threshold and (rank is None or place <= rank))
        else:
            strangers += 1
            alarms += max(row) >= threshold
    return missed / mated, alarms / strangers


seeds = st.integers(0, 10_000)
ranks = st.sampled_from([None, 1, 2, 5])


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from([0.05, 0.1, 0.29, 0.5, 1.0]), ranks)
def test_fnir_is_the_least_among_thresholds_that_keep_fpir(seed, fpir, rank):
    searches, scores, own = draw_searches(seed)
    found = fnir_at_fpir(searches, fpir, rank=rank)
    places = [*np.unique(scores), np.inf]
    kept = [
        fnir
        for fnir, alarms in (count_naively(scores, own, place, rank) for place in places)
        if alarms <= fpir * (1 + 1e-12)
    ]
    if found.fnir is None:
        assert searches.n_non_mated < 1 / fpir
        return
    assert found.fnir.share == pytest.approx(min(kept))
    fnir, alarms = count_naively(scores, own, found.similarity, rank)
    assert (fnir, alarms) == (pytest.approx(found.fnir.share), found.false_alarms.share)


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.2, 0.5, 0.7001, 1.0, -5.0]), ranks)
def test_rates_at_a_threshold_are_counted(seed, threshold, rank):
    searches, scores, own = draw_searches(seed)
    found = rates_at(searches, threshold, rank=rank)
    fnir, alarms = count_naively(scores, own, threshold, rank)
    assert (found.fnir.share, found.fpir) == (pytest.approx(fnir), pytest.approx(alarms))


def test_rates_at_a_threshold_without_strangers_tell_fnir_only():
    searches = search_scores(np.array([[0.5, 0.1]], np.float32), ["a"], ["a", "b"])
    found = rates_at(searches, 0.5)
    assert (found.fnir.n_hits, found.fpir, found.false_alarms) == (0, None, None)


def dir_naively(scores, own, far, rank):
    """The published rule: round, sort falling, take the k-th, or the highest + 1e-5."""
    n_people = scores.shape[1]
    scores = scores.astype(np.float64)
    highest = sorted((max(row) for row, p in zip(scores, own, strict=True) if p >= n_people))[::-1]
    k = int(np.round(far * len(highest)))
    threshold = highest[k - 1] if k else highest[0] + 1e-5
    fnir, alarms = count_naively(scores, own, threshold, rank)
    return 1 - fnir, alarms, threshold


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0]), st.sampled_from([1, 5, 20]))
def test_dir_follows_the_published_rule(seed, far, rank):
    searches, scores, own = draw_searches(seed)
    found = dir_at_far(searches, far, rank=rank)
    share, alarms, threshold = dir_naively(scores, own, far, rank)
    assert found.dir.share == pytest.approx(share)
    assert (found.false_alarms.share, found.similarity) == (alarms, threshold)


def test_no_false_alarm_puts_the_threshold_just_above_the_highest():
    searches = search_scores(np.array([[0.9], [0.4]], np.float32), ["a", "x"], ["a"])
    found = dir_at_far(searches, 0.01)
    assert found.similarity == pytest.approx(0.4 + 1e-5)
    assert (found.dir.share, found.false_alarms.n_hits) == (1.0, 0)


def test_too_few_strangers_are_said_never_extrapolated():
    searches, _, _ = draw_searches(3)
    found = fnir_at_fpir(searches, 0.003)
    assert found.fnir is found.similarity is None
    assert found.text == (f"n/a: needs 1/FPIR = 334 non-mated searches, has {searches.n_non_mated}")


def test_equal_scores_everywhere_name_nobody():
    searches = search_scores(
        np.full((20, 3), 0.5, np.float32), ["a"] * 10 + ["x"] * 10, list("abc")
    )
    found = fnir_at_fpir(searches, 0.5)
    assert (found.fnir.share, found.false_alarms.share) == (1.0, 0.0)
    assert found.similarity > 0.5


def test_failed_searches_are_misses():
    searches = search_scores(np.array([[0.9], [0.4]], np.float32), ["a", "x"], ["a"])
    assert fnir_at_fpir(searches, 1.0, n_failed=3).fnir.n_hits == 3
    assert dir_at_far(searches, 0.0, n_failed=3).dir.n == 4
    assert rates_at(searches, 0.5, n_failed=1).fnir.share == 0.5


@settings(max_examples=50, deadline=None)
@given(seeds, ranks)
def test_det_points_are_the_rates_of_each_number_of_false_alarms(seed, rank):
    searches, _, _ = draw_searches(seed, levels=100)
    points = det_points(searches, rank=rank)
    assert (np.diff(points.fpir) > 0).all()
    assert (np.diff(points.fnir) <= 0).all()
    assert points.fpir[-1] == 1
    for fpir, fnir in zip(points.fpir, points.fnir, strict=True):
        assert fnir == pytest.approx(fnir_at_fpir(searches, fpir, rank=rank).fnir.share)


def test_det_points_are_thinned():
    searches, _, _ = draw_searches(0, n_probes=20_000, levels=2**20)
    points = det_points(searches, n=50)
    assert len(points.fpir) <= 50
    assert points.fpir[0] == pytest.approx(1 / searches.n_non_mated)


@pytest.mark.parametrize("measure", [det_points, lambda s: dir_at_far(s, 0.1)])
def test_without_strangers_there_are_no_false_alarms_to_count(measure):
    searches = search_scores(np.ones((1, 1), np.float32), ["a"], ["a"])
    with pytest.raises(InputError, match="no non-mated search"):
        measure(searches)


@pytest.mark.parametrize("measure", [det_points, lambda s: fnir_at_fpir(s, 0.1)])
def test_without_mated_searches_nothing_is_found(measure):
    searches = search_scores(np.ones((1, 1), np.float32), ["x"], ["a"])
    with pytest.raises(InputError, match="no mated search"):
        measure(searches)


@pytest.mark.parametrize("fpir", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_out_of_range_is_refused(fpir):
    searches, _, _ = draw_searches(0)
    with pytest.raises(InputError, match="FPIR is"):
        fnir_at_fpir(searches, fpir)


def test_a_false_alarm_rate_out_of_range_is_refused():
    searches, _, _ = draw_searches(0)
    with pytest.raises(InputError, match="false alarm rate is 2"):
        dir_at_far(searches, 2.0)


def test_a_rank_of_zero_is_refused():
    searches, _, _ = draw_searches(0)
    with pytest.raises(InputError, match="ranks are"):
        fnir_at_fpir(searches, 1.0, rank=0)
