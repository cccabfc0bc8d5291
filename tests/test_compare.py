"""Cosine, calibration and the threshold that follows from them."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arcwise.compare import (
    UNCALIBRATED_SIMILARITY,
    Calibration,
    CalibrationPoint,
    ProbabilityCurve,
    calibration_beside,
    choose_threshold,
    cosine_similarity,
    fmr_for_gallery,
    identify_threshold,
)
from arcwise.errors import InputError, ModelMismatchError

POINTS = (
    CalibrationPoint(fmr=1e-2, similarity=0.20, low=0.19, high=0.21),
    CalibrationPoint(fmr=1e-3, similarity=0.30, low=0.28, high=0.32),
    CalibrationPoint(fmr=1e-4, similarity=0.36, low=0.33, high=0.40),
)
CALIBRATION = Calibration(
    model_digest="a" * 64,
    points=POINTS,
    n_impostors=100_000,
    n_people=400,
    data_digest="b" * 64,
    date="2025-01-31",
)

CURVE = ProbabilityCurve(
    method="isotonic",
    prior=0.5,
    n_genuine=900,
    similarities=(-0.2, 0.2, 0.4, 0.8),
    probabilities=(0.01, 0.01, 0.5, 0.99),
)


# Cosine


@settings(deadline=None)
@given(
    arrays.arrays(np.float32, (3, 4), elements=st.integers(-8, 8)),
    arrays.arrays(np.float32, (2, 4), elements=st.integers(-8, 8)),
    st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_cosine_is_the_dot_product_over_both_lengths(
    a: np.ndarray, b: np.ndarray, scale: float
) -> None:
    expected = np.zeros((3, 2))
    for i, left in enumerate(a.astype(np.float64)):
        for j, right in enumerate(b.astype(np.float64)):
            lengths = math.sqrt(sum(left**2)) * math.sqrt(sum(right**2))
            expected[i, j] = sum(left * right) / lengths if lengths else 0.0
    found = cosine_similarity(a * np.float32(scale), b)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert (np.abs(found) <= 1).all()


def test_one_vector_may_come_without_its_axis() -> None:
    one = np.array([3, 4], np.float32)
    assert cosine_similarity(one, one).tolist() == [[1.0]]


def test_a_vector_of_length_0_is_like_nothing() -> None:
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert cosine_similarity(zero, one).tolist() == [[0.0]]
    assert cosine_similarity(zero, zero).tolist() == [[0.0]]


def test_no_vectors_give_no_similarities() -> None:
    assert cosine_similarity(np.zeros((0, 3), np.float32), np.ones((2, 3))).shape == (0, 2)


def test_embeddings_of_different_models_are_not_compared() -> None:
    with pytest.raises(InputError, match="512 and 128 dimensions") as caught:
        cosine_similarity(np.ones((1, 512), np.float32), np.ones((1, 128), np.float32))
    assert "different models" in caught.value.hint


# Calibration


@pytest.mark.parametrize("point", POINTS)
def test_a_calibrated_rate_has_its_own_threshold(point: CalibrationPoint) -> None:
    assert CALIBRATION.similarity_at(point.fmr) == pytest.approx(point.similarity, abs=1e-12)


def test_between_two_points_the_threshold_is_linear_in_the_logarithm_of_the_rate() -> None:
    halfway = CALIBRATION.similarity_at(math.sqrt(1e-2 * 1e-3))
    assert halfway == pytest.approx(0.25)
    assert CALIBRATION.similarity_at(2e-3) == pytest.approx(0.30 - 0.10 * math.log10(2))


@pytest.mark.parametrize("fmr", [1e-5, 0.99e-4, 1.01e-2, 0.5, 0.0, -1.0, float("nan")])
def test_where_the_data_does_not_reach_there_is_no_threshold(fmr: float) -> None:
    assert CALIBRATION.similarity_at(fmr) is None


def test_a_calibration_of_another_model_is_refused() -> None:
    CALIBRATION.check_model("a" * 64)
    with pytest.raises(ModelMismatchError, match="aaaaaaaaaaaa, this is cccccccccccc"):
        CALIBRATION.check_model("c" * 64)


def test_a_written_calibration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(CALIBRATION) | {"version": 1}))
    assert Calibration.load(path) == CALIBRATION


def test_a_saved_calibration_is_read_again_and_looks_like_the_page(tmp_path: Path) -> None:
    calibration = dataclasses.replace(CALIBRATION, probability=CURVE, views="none")
    path = calibration.save(tmp_path / "new" / "calibration.json")
    assert Calibration.load(path) == calibration
    plain = json.loads(path.read_text())
    page = Path(__file__).parents[1].joinpath("docs", "thresholds.md").read_text(encoding="utf-8")
    shown = json.loads(page.split("```json")[1].split("```")[0])
    assert list(plain) == list(shown)
    assert list(plain["points"][0]) == list(shown["points"][0])
    assert list(plain["probability"]) == list(shown["probability"])
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


def test_without_a_probability_the_file_is_the_one_that_older_versions_read(
    tmp_path: Path,
) -> None:
    plain = json.loads(CALIBRATION.save(tmp_path / "c.json").read_text())
    assert (plain["version"], "probability" in plain, "views" in plain) == (1, False, False)
    known = dataclasses.replace(CALIBRATION, probability=CURVE)
    assert json.loads(known.to_json())["version"] == 2
    assert json.loads(dataclasses.replace(known, views="sum").to_json())["version"] == 3


@pytest.mark.parametrize(
    ("measured", "applied", "caveat"),
    [
        (None, "sum", ""),
        ("none", "none", ""),
        ("none", "sum", "measured without the mirror image, applied with it"),
        ("sum", "none", "measured with the mirror image, applied without it"),
        ("sum", "concat", "measured with the mirror image, applied with it behind the original"),
    ],
)
def test_a_threshold_on_other_vectors_than_it_was_measured_on_says_so(
    measured: Any, applied: Any, caveat: str
) -> None:
    assert dataclasses.replace(CALIBRATION, views=measured).caveat_of(applied) == caveat


def test_the_shipped_calibration_is_read_and_decides_as_ever() -> None:
    folder = Path(__file__).parents[1] / "arcwise" / "zoo" / "shipped"
    calibration = Calibration.load(folder / "compact-lfw.calibration.json")
    assert calibration.similarity_at(1e-3) == pytest.approx(0.54146920, abs=1e-6)
    assert calibration.views == "none"
    text = (folder / "compact-lfw.calibration.json").read_text(encoding="utf-8")
    assert calibration.to_json() == text
    known = [calibration.probability_at(similarity) for similarity in (0.0, 0.3, 0.7)]
    assert known == pytest.approx([0.0025, 0.626, 0.9975], abs=1e-3)


def test_the_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(CALIBRATION) | {"version": 4}))
    with pytest.raises(InputError, match="its version is 4"):
        Calibration.load(path)


def test_a_calibration_lies_beside_its_model_or_gallery() -> None:
    assert calibration_beside(Path("a/people.db")) == Path("a/people.calibration.json")
    assert calibration_beside(Path("people")) == Path("people.calibration.json")


# Probability


@given(st.floats(-1, 1))
def test_a_probability_lies_on_straight_lines_and_ends_with_the_data(similarity: float) -> None:
    found = dataclasses.replace(CALIBRATION, probability=CURVE).probability_at(similarity)
    held = min(max(similarity, -0.2), 0.8)
    lines = list(zip(CURVE.similarities, CURVE.probabilities, strict=True))
    for (x0, y0), (x1, y1) in pairwise(lines):
        if x0 <= held <= x1:
            assert found == pytest.approx(y0 + (y1 - y0) * (held - x0) / (x1 - x0))


def test_a_calibration_without_a_probability_says_nothing_of_it() -> None:
    assert CALIBRATION.probability_at(0.5) is None


@given(st.floats(0.001, 0.999))
def test_the_similarity_of_a_probability_is_the_least_that_has_it(probability: float) -> None:
    found = CURVE.reach(probability)
    if not -1 < found <= 1:
        assert (CURVE.at(-1) >= probability) == (found == -1.0)
        assert (CURVE.at(1) < probability) == (found > 1.0)
    else:
        assert CURVE.at(found) == pytest.approx(probability)
        assert CURVE.at(found - 1e-6) < probability + 1e-9


def curve(**changes: Any) -> dict[str, Any]:
    return dataclasses.asdict(CURVE) | changes


def broken(**changes: Any) -> str:
    return json.dumps(dataclasses.asdict(CALIBRATION) | changes)


def point(**changes: Any) -> dict[str, Any]:
    return {"fmr": 1e-2, "similarity": 0.2, "low": 0.1, "high": 0.3} | changes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        "\ud800",
        broken(points=[]),
        broken(points=7),
        broken(points=[[1e-2, 0.2, 0.1, 0.3]]),
        broken(points=[{"fmr": 1e-2, "similarity": 0.2}]),
        broken(points=[point(), point(fmr=1e-3, similarity=0.1)]),
        broken(points=[point(fmr=1e-3), point(fmr=1e-2)]),
        broken(points=[point(fmr=0.0)]),
        broken(points=[point(fmr=float("nan"))]),
        broken(points=[point(fmr="1e-3")]),
        broken(points=[point(similarity=1.5)]),
        broken(colour="blue"),
        broken(version=[]),
        broken(views="concat"),
        broken(views=[]),
        broken(probability=7),
        broken(probability={}),
        broken(probability=curve(prior=0.0)),
        broken(probability=curve(prior=1.0)),
        broken(probability=curve(colour="blue")),
        broken(probability=curve(similarities=[0.1], probabilities=[0.1])),
        broken(probability=curve(similarities=[-0.2, 0.2, 0.8])),
        broken(probability=curve(similarities=[-0.2, 0.4, 0.2, 0.8])),
        broken(probability=curve(similarities=[-0.2, 0.2, 0.2, 0.8])),
        broken(probability=curve(similarities=[-0.2, 0.2, 0.4, 1.8])),
        broken(probability=curve(similarities=[-0.2, 0.2, 0.4, float("nan")])),
        broken(probability=curve(probabilities=[0.01, 0.5, 0.4, 0.99])),
        broken(probability=curve(probabilities=[0.01, 0.2, 0.5, 1.1])),
        broken(probability=curve(probabilities=[0.01, 0.2, 0.5, "much"])),
    ],
)
def test_a_broken_calibration_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"calibration\.json is not a calibration") as caught:
        Calibration.load(path)
    assert caught.value.hint


def test_a_missing_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.json"):
        Calibration.load(tmp_path / "nowhere.json")


# Thresholds


@settings(deadline=None)
@given(st.integers(1, 10_000_000), st.floats(1e-6, 0.5))
def test_a_gallerys_rate_keeps_a_strangers_chance(n_people: int, fpir: float) -> None:
    fmr = fmr_for_gallery(n_people, fpir=fpir)
    assert 0 < fmr <= fpir * (1 + 1e-12)
    assert -math.expm1(n_people * math.log1p(-fmr)) == pytest.approx(fpir)  # 1 - (1 - FMR)^N


def test_an_empty_gallery_counts_as_one_person() -> None:
    assert fmr_for_gallery(0) == fmr_for_gallery(1) == pytest.approx(0.01)


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1, float("nan")])
def test_a_chance_that_is_none_is_refused(fpir: float) -> None:
    with pytest.raises(InputError, match="fpir"):
        fmr_for_gallery(10, fpir=fpir)


def test_the_calibration_decides_first() -> None:
    threshold = choose_threshold(CALIBRATION, (0.9, 1e-6), fmr=1e-3)
    assert threshold.similarity == pytest.approx(0.30)
    assert (threshold.fmr, threshold.calibrated) == (1e-3, True)
    assert threshold.why == "calibrated for FMR 1.0e-03"


def test_beyond_the_data_the_strictest_point_is_used_and_said_to_be_uncalibrated() -> None:
    threshold = choose_threshold(CALIBRATION, (0.9, 1e-6), fmr=1e-6, aim="a purpose")
    assert (threshold.similarity, threshold.fmr, threshold.calibrated) == (0.36, 1e-4, False)
    assert threshold.why == (
        "uncalibrated for a purpose: FMR 1.0e-06; strictest that was measured, FMR 1.0e-04"
    )


def test_a_looser_wish_than_the_data_gets_the_loosest_point() -> None:
    threshold = choose_threshold(CALIBRATION, None, fmr=0.1)
    assert (threshold.similarity, threshold.fmr, threshold.calibrated) == (0.20, 1e-2, True)
    assert threshold.why == "calibrated, stricter than FMR 1.0e-01"


def test_without_a_calibration_the_publisher_decides() -> None:
    threshold = choose_threshold(None, (0.31, 1e-4))
    assert (threshold.similarity, threshold.fmr, threshold.calibrated) == (0.31, 1e-4, False)
    assert threshold.why == "uncalibrated: the publisher's"


def test_without_anything_a_usual_default_decides() -> None:
    threshold = choose_threshold(None, None)
    assert threshold.similarity == UNCALIBRATED_SIMILARITY
    assert (threshold.fmr, threshold.calibrated) == (None, False)
    assert threshold.why == "uncalibrated: a usual default"


def test_a_larger_gallery_asks_for_more() -> None:
    few, many = (identify_threshold(CALIBRATION, None, n_people=n) for n in (2, 90))
    assert few.calibrated
    assert many.calibrated
    assert few.similarity < many.similarity
    assert "FPIR 1% among 90 people" in many.why
    assert not identify_threshold(CALIBRATION, None, n_people=1000).calibrated
