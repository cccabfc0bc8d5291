"""Rates and curves of scores equal loops over their definitions, and scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.rates import det_points, error_rates, measure_scores, roc_points

ANY = st.floats(-1, 1, allow_subnormal=False)
TIED = st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.3])
SAME = st.just(0.25)
LISTS = st.sampled_from([ANY, TIED, SAME]).flatmap(
    lambda score: st.tuples(
        st.lists(score, min_size=1, max_size=30), st.lists(score, min_size=1, max_size=30)
    )
)


def draw_normal(n_genuine: int, n_impostor: int, dtype=np.float64):
    rng = np.random.default_rng(5)
    genuine = np.clip(rng.normal(0.5, 0.2, n_genuine), -1, 1).astype(dtype)
    return genuine, np.clip(rng.normal(0.0, 0.15, n_impostor), -1, 1).astype(dtype)


def naive_corners(genuine, impostor):
    """The greatest TAR of every number of false accepts that occurs."""
    corners = {}
    for threshold in [*sorted({*genuine, *impostor}), np.inf]:
        n_false = sum(score >= threshold for score in impostor)
        n_hits = sum(score >= threshold for score in genuine)
        corners[n_false] = max(corners.get(n_false, 0), n_hits)
    return corners


@given(LISTS)
@settings(max_examples=100, deadline=None)
def test_the_area_is_that_of_scikit_learn(drawn):
    genuine, impostor = drawn
    labels = [True] * len(genuine) + [False] * len(impostor)
    expected = roc_auc_score(labels, [*genuine, *impostor])
    assert measure_scores(genuine, impostor).auc == pytest.approx(expected, abs=1e-12)


@given(LISTS, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_roc_points_are_all_corners_where_there_is_room(drawn, n_failed: int):
    genuine, impostor = drawn
    far, tar = roc_points(genuine, impostor, n=4000, n_failed=n_failed)
    corners = naive_corners(genuine, impostor)
    assert (far * len(impostor)).round().astype(int).tolist() == sorted(corners)
    expected = [corners[n_false] / (len(genuine) + n_failed) for n_false in sorted(corners)]
    assert tar.tolist() == expected


def test_thinned_roc_points_lie_on_the_curve_of_scikit_learn_evenly_in_log_far():
    genuine, impostor = draw_normal(400, 20_000)
    labels = np.arange(20_400) < 400
    every = roc_curve(labels, np.concatenate((genuine, impostor)), drop_intermediate=False)
    on_curve = {*zip(every[0].tolist(), every[1].tolist(), strict=True)}
    far, tar = roc_points(genuine, impostor, n=60)
    assert {*zip(far.tolist(), tar.tolist(), strict=True)} <= on_curve
    assert len(far) <= 61
    assert (far[0], far[-1], tar[-1]) == (0.0, 1.0, 1.0)
    assert (np.diff(far) > 0).all()
    assert (np.diff(np.log10(far[far > 1e-3])) < 0.15).all()


@given(LISTS, st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_error_rates_are_counted_at_their_thresholds(drawn, n_failed: int):
    genuine, impostor = drawn
    for found in (
        error_rates(genuine, impostor, [0.2, -1.0, 0.25, 1.5], n_failed=n_failed),
        det_points(genuine, impostor, n_failed=n_failed),
    ):
        assert (np.diff(found.thresholds) > 0).all()
        for threshold, fmr, fnmr in zip(found.thresholds, found.fmr, found.fnmr, strict=True):
            n_refused = sum(score < threshold for score in genuine) + n_failed
            assert fmr == sum(score >= threshold for score in impostor) / len(impostor)
            assert fnmr == n_refused / (len(genuine) + n_failed)


def test_det_points_reach_the_least_rates_of_both_kinds():
    genuine, impostor = draw_normal(5000, 20_000)
    found = det_points(genuine, impostor, n=100)
    assert len(found.thresholds) <= 102
    assert found.fmr[found.fmr > 0].min() == 1 / 20_000
    assert found.fnmr[found.fnmr > 0].min() == 1 / 5000


def test_float32_scores_stay_so_and_give_the_rates_of_float64():
    genuine, impostor = draw_normal(3000, 30_000, np.float32)
    narrow = measure_scores(genuine, impostor)
    wide = measure_scores(genuine.astype(np.float64), impostor.astype(np.float64))
    assert [found.tar for found in narrow.tars] == [found.tar for found in wide.tars]
    assert (narrow.auc, narrow.best.rate, narrow.eer.rate) == (
        wide.auc,
        wide.best.rate,
        wide.eer.rate,
    )
    assert narrow.genuine.std == pytest.approx(np.std(genuine, dtype=np.float64), abs=1e-12)
    assert narrow.impostor.mean == pytest.approx(np.mean(impostor, dtype=np.float64), abs=1e-12)


def test_a_threshold_of_float32_scores_decides_among_them():
    below = np.float32(0.3)
    above = np.nextafter(below, np.float32(1))
    found = measure_scores(np.array([above]), np.array([below])).best
    assert found.rate == 1.0
    limit = np.float32(found.similarity)
    assert (above >= limit, below >= limit) == (True, False)


def test_failed_pairs_lower_what_they_could_have_raised():
    whole = measure_scores([0.9, 0.8], [0.1] * 10)
    found = measure_scores([0.9, 0.8], [0.1] * 10, n_failed_same=2, n_failed_different=1)
    assert (whole.tars[0].tar, found.tars[0].tar) == (1.0, 0.5)
    assert (found.auc, found.best.rate) == (0.5, 12 / 15)
    assert (found.n_same, found.n_different, found.n_failed) == (4, 11, 3)


def test_a_report_of_scores_survives_json_and_defines_each_number():
    report = measure_scores([0.5, 0.5], [0.25, 0.25], fars=[0.1])
    plain = report.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == json.loads(json.dumps(plain))
    assert (plain["margin"], plain["d_prime"]) == (0.25, None)
    rows = {row.name: row for row in report.rows()}
    assert all(row.value and row.definition for row in rows.values())
    assert rows["TAR@FAR 1e-01"].value == "n/a: needs 1/FAR = 10 impostors, has 2"
    assert rows["d'"].value == "n/a: neither class varies"


def test_equal_scores_that_floats_cannot_average_exactly_do_not_vary():
    assert measure_scores([0.1] * 7, [0.7] * 11).d_prime is None


@pytest.mark.parametrize(
    ("genuine", "impostor", "error", "message"),
    [
        ([], [0.1], DatasetError, "no genuine scores"),
        ([0.1], [], DatasetError, "no impostor scores"),
        ([0.1, float("nan")], [0.1], InputError, "genuine score 1 is nan"),
        ([0.1], [0.2, 0.3, float("inf")], InputError, "impostor score 2 is inf"),
        ([[0.1]], [0.1], InputError, r"one list, got shape \(1, 1\)"),
        (["a"], [0.1], InputError, "genuine scores are not numbers"),
        ([0.1], [None, object()], InputError, "impostor scores are not numbers"),
    ],
)
def test_scores_that_cannot_be_measured_are_refused(genuine, impostor, error, message: str):
    for measure in (measure_scores, roc_points, det_points):
        with pytest.raises(error, match=message):
            measure(genuine, impostor)


def test_counts_and_rates_out_of_range_are_refused():
    with pytest.raises(InputError, match="n_failed_same must be at least 0, got -1"):
        measure_scores([0.5], [0.1], n_failed_same=-1)
    with pytest.raises(InputError, match="rate 1 is not between 0 and 1"):
        measure_scores([0.5], [0.1], fars=[1])
    with pytest.raises(InputError, match="threshold is NaN"):
        error_rates([0.5], [0.1], [float("nan")])
    with pytest.raises(InputError, match="n = 1"):
        roc_points([0.5], [0.1], 1)
    with pytest.raises(InputError, match="n = 3"):
        det_points([0.5], [0.1], 3)
