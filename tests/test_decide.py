"""Two faces: the threshold decides, and the probability says how sure that is."""

from __future__ import annotations

import pytest

from arcwise.compare import Calibration, CalibrationPoint, ProbabilityCurve, Threshold
from arcwise.decide import decide_pair, uncertain_band

THRESHOLD = Threshold(0.4, 1e-3, True, "calibrated for FMR 1.0e-03")


def calibrate(*probabilities: float, similarities: tuple[float, ...] = (0.0, 1.0)) -> Calibration:
    curve = ProbabilityCurve("isotonic", 0.5, 100, similarities, probabilities)
    points = (CalibrationPoint(1e-3, 0.4, 0.3, 0.5),)
    return Calibration("a" * 64, points, 10_000, 100, "b" * 64, "2026-11-22", curve)


@pytest.mark.parametrize("calibration", [None, calibrate(0.0, 1.0)])
@pytest.mark.parametrize(("similarity", "is_match"), [(0.4, True), (0.399, False)])
def test_the_threshold_alone_decides(similarity, is_match, calibration):
    answer = decide_pair(similarity, THRESHOLD, calibration)
    assert (answer.is_match, answer.similarity, answer.threshold) == (is_match, similarity, 0.4)
    assert (answer.fmr, answer.calibrated) == (1e-3, True)


def test_without_a_probability_nothing_is_said_of_certainty():
    answer = decide_pair(0.4, THRESHOLD, None)
    assert (answer.probability, answer.is_uncertain) == (None, None)
    assert answer.why == "similarity 0.400 is at least 0.400 (calibrated for FMR 1.0e-03)"


@pytest.mark.parametrize(
    ("similarity", "is_uncertain"),
    [
        (0.05, False),
        (0.099, False),
        (0.1, True),
        (0.15, True),
        (0.39, True),
        (0.41, True),
        (0.95, False),
    ],
)
def test_a_yes_below_nine_in_ten_and_a_no_from_one_in_ten_on_are_uncertain(
    similarity, is_uncertain
):
    answer = decide_pair(similarity, THRESHOLD, calibrate(0.0, 1.0))
    assert answer.probability == pytest.approx(similarity)
    assert answer.is_uncertain is is_uncertain
    assert answer.why.endswith(", uncertain") is is_uncertain
    assert f"probability of one person {similarity:.3f} (0.5 beforehand)" in answer.why


def test_a_no_is_uncertain_where_the_probability_says_yes():
    lenient = calibrate(0.0, 0.95, 1.0, similarities=(0.0, 0.2, 1.0))
    assert decide_pair(0.3, THRESHOLD, lenient).is_uncertain
    assert not decide_pair(0.4, THRESHOLD, lenient).is_uncertain


@pytest.mark.parametrize(
    "calibration",
    [
        calibrate(0.0, 1.0),
        calibrate(0.0, 0.95, 1.0, similarities=(0.0, 0.2, 1.0)),
        calibrate(0.0, 0.05, 1.0, similarities=(0.0, 0.6, 1.0)),
        calibrate(0.2, 0.8),
        calibrate(0.1, 0.1, 0.8, similarities=(-0.5, 0.3, 1.0)),
        calibrate(0.0, 0.1, 0.1, 0.9, 0.9, 1.0, similarities=(-0.5, 0.1, 0.3, 0.5, 0.8, 1.0)),
        calibrate(0.0, 0.9),
        calibrate(0.95, 0.99),
        calibrate(0.01, 0.05),
    ],
)
def test_the_band_holds_the_similarities_whose_answer_is_uncertain(calibration):
    low, high = uncertain_band(calibration.probability, THRESHOLD.similarity)
    assert low <= THRESHOLD.similarity <= high
    curve = calibration.probability
    beside = [hundredth / 100 + 0.0033 for hundredth in range(-99, 99)]
    for similarity in (*beside, *curve.similarities, -1.0, 1.0):
        answer = decide_pair(similarity, THRESHOLD, calibration)
        assert answer.is_uncertain is (low <= similarity < high)
        says_no = curve.at(similarity) >= 0.1 and not answer.is_match
        assert answer.is_uncertain is (says_no or (answer.is_match and curve.at(similarity) < 0.9))
