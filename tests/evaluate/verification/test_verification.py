"""A report counts what was there, names what failed, and refuses what it cannot measure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arcwise.compare import Threshold, cosine_similarity
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.row import FailedPhoto
from arcwise.evaluate.verification import (
    evaluate_pairs,
    evaluate_scored,
    evaluate_scores,
    rates_at,
)
from arcwise.evaluate.verification.exhibits import make_section
from arcwise.evaluate.verification.protocol import PROTOCOLS
from arcwise.evaluate.verification.scored import score_pairs
from arcwise.evaluate.verification.summary import VerificationReport
from arcwise.types import Pair

BY_SCORES = [name for name, protocol in PROTOCOLS.items() if protocol.run is not None]
SAME = np.array([True, True, False, False] * 2)
FOLDS = np.repeat([0, 1], 4)
SCORES = np.array([0.9, 0.8, 0.1, 0.2, 0.85, 0.8, 0.3, 0.0])


def make_people(n_people: int, n_photos: int, dimension: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    centers = rng.normal(size=(n_people, dimension))
    return {
        f"p{i}/{j}.jpg": (centers[i] + 0.1 * rng.normal(size=dimension)).astype(np.float32)
        for i in range(n_people)
        for j in range(n_photos)
    }


def make_pairs(n_people: int, n_folds: int) -> list[Pair]:
    pairs = []
    for i in range(n_people):
        fold = i * n_folds // n_people
        pairs.append(Pair(f"p{i}/0.jpg", f"p{i}/1.jpg", True, fold))
        pairs.append(Pair(f"p{i}/0.jpg", f"p{(i + 1) % n_people}/1.jpg", False, fold))
    return pairs


def values_of(report: VerificationReport) -> dict[str, str]:
    return {row.name: row.value for row in report.rows()}


def test_the_numbers_of_a_separable_list_are_those_of_a_perfect_model():
    report = evaluate_scores(SCORES, SAME, FOLDS)
    assert (report.n_pairs, report.n_same, report.n_different) == (8, 4, 4)
    assert (report.accuracy.mean, report.auc, report.best.rate) == (1.0, 1.0, 1.0)
    assert report.eer.rate == pytest.approx(0.0, abs=1e-12)
    assert report.similarity == pytest.approx((0.5 + 0.55) / 2)
    assert (report.genuine.mean, report.impostor.max) == pytest.approx((0.8375, 0.3))
    variances = np.var(SCORES[SAME]), np.var(SCORES[~SAME])
    assert report.d_prime == pytest.approx((0.8375 - 0.15) / np.sqrt(np.mean(variances)))


def test_tar_is_not_given_where_impostors_are_too_few():
    first, second = evaluate_scores(SCORES, SAME, FOLDS).tars[:2]
    assert first.tar is None
    assert first.text == "n/a: needs 1/FAR = 10 impostors, has 4"
    assert second.text == "n/a: needs 1/FAR = 100 impostors, has 4"


@pytest.mark.parametrize("protocol", BY_SCORES)
def test_one_fold_has_every_number_but_those_over_folds(protocol: str):
    report = evaluate_scores(SCORES, SAME, np.full(8, 2), protocol=protocol)
    assert (report.accuracy, report.val, report.similarity) == (None, None, None)
    assert (report.folds, report.auc, report.best.rate) == ((3,), 1.0, 1.0)
    assert values_of(report)["accuracy"] == "n/a"
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["accuracy"] is None


def test_a_report_says_which_folds_it_is_of():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    report = evaluate_pairs([pair for pair in pairs if pair.fold in (1, 3)], people)
    assert (report.folds, report.n_pairs) == ((2, 4), 20)
    assert values_of(report)["folds"] == "2, 4"


def test_a_threshold_chosen_elsewhere_is_scored_over_all_pairs():
    threshold = Threshold(0.2, None, False, "given")
    found = rates_at(threshold, SCORES, SAME)
    assert (found.accuracy.n_hits, found.accuracy.n) == (6, 8)
    assert (found.fmr.n_hits, found.fmr.n) == (2, 4)  # 0.2 itself passes
    assert (found.fnmr.n_hits, found.fnmr.n) == (0, 4)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.4093, 0.9285), abs=5e-5)


def test_failed_reads_are_wrong_at_a_given_threshold_or_left_out():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    del people["p0/0.jpg"]
    threshold = Threshold(0.7, None, False, "given")
    (wrong,) = evaluate_pairs(pairs, people, thresholds=[threshold]).at
    assert (wrong.accuracy.n_hits, wrong.accuracy.n) == (38, 40)
    assert (wrong.fmr.n_hits, wrong.fmr.n) == (0, 19)
    assert (wrong.fnmr.n_hits, wrong.fnmr.n) == (1, 20)
    (absent,) = evaluate_pairs(pairs, people, failed_policy="leave_out", thresholds=[threshold]).at
    assert (absent.accuracy.n_hits, absent.accuracy.n) == (38, 38)
    assert (absent.fnmr.n_hits, absent.fnmr.n) == (0, 19)


def test_the_rows_of_a_given_threshold_say_where_it_comes_from_and_stand_in_the_page():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    threshold = Threshold(0.7, 1e-3, True, "calibrated for FMR 1.0e-03")
    report = evaluate_pairs(pairs, people, thresholds=[threshold])
    page = Path(__file__).parents[3].joinpath("docs", "evaluate.md").read_text(encoding="utf-8")
    rows = [row for row in report.rows() if row.name.endswith("@0.7000")]
    assert [row.name for row in rows] == ["accuracy@0.7000", "FMR@0.7000", "FNMR@0.7000"]
    assert "(calibrated for FMR 1.0e-03)" in rows[0].definition
    assert all(f"| {row.name.split('@')[0]}@" in page for row in rows)


@pytest.mark.parametrize("wrong", [float("nan"), 1.1, -2.0])
def test_a_threshold_that_is_no_cosine_is_refused(wrong: float):
    with pytest.raises(InputError, match=f"threshold is {wrong}"):
        rates_at(Threshold(wrong, None, False, "given"), SCORES, SAME)


def test_scores_without_any_spread_have_no_d_prime():
    report = evaluate_scores(np.where(SAME, 0.5, 0.25), SAME, FOLDS)
    assert report.d_prime is None
    assert values_of(report)["d'"] == "n/a: neither class varies"


def test_pairs_are_scored_by_the_cosine_of_their_vectors():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    report = evaluate_pairs(pairs, people)
    scores = [cosine_similarity(people[p.a], people[p.b])[0, 0] for p in pairs if p.is_same]
    assert report.genuine.mean == pytest.approx(np.mean(scores), abs=1e-6)
    assert report.accuracy.mean == 1.0
    stretched = {name: 7 * vector for name, vector in people.items()}
    assert evaluate_pairs(pairs, stretched).auc == report.auc


def test_failed_reads_are_counted_and_named_with_their_reasons():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    del people["p0/0.jpg"], people["p5/1.jpg"]
    people["p9/0.jpg"] = np.zeros(16, dtype=np.float32)
    report = evaluate_pairs(pairs, people, failed={"p0/0.jpg": "no face", "other.jpg": "unused"})
    assert report.failed_photos == (
        FailedPhoto("p0/0.jpg", "no face"),
        FailedPhoto("p5/1.jpg", "no embedding was given"),
        FailedPhoto("p9/0.jpg", "its embedding has length 0"),
    )
    assert (report.n_pairs, report.n_same, len(report.failed_pairs)) == (40, 20, 6)
    assert values_of(report)["failed reads"] == "6 pairs, 3 photos"


@pytest.mark.parametrize("protocol", ["exact", "insightface"])
def test_count_as_wrong_lowers_what_the_missing_pairs_could_have_raised(protocol: str):
    lost = [Pair("a", "b", True, 0), Pair("a", "c", False, 1)]
    report = evaluate_scores(SCORES, SAME, FOLDS, protocol=protocol, failed_pairs=lost)
    assert report.accuracy.accuracies == (4 / 5, 4 / 5)
    assert report.best.rate == 8 / 10
    assert report.auc == 4 / 5  # the lost genuine pair lies below every impostor pair
    assert report.eer.rate > 0
    assert (report.n_pairs, report.n_same, report.n_different) == (10, 5, 5)
    assert report.genuine.n == 4
    if report.val is not None:
        assert report.val.val == pytest.approx((2 / 3 + 1) / 2)


def test_count_as_wrong_refuses_lost_genuine_pairs_in_tar_and_keeps_lost_impostors_out_of_far():
    same = np.tile([True] + [False] * 10, 2)
    scores, folds = np.where(same, 0.9, 0.1), np.repeat([0, 1], 11)
    lost = [Pair("a", "b", True, 0), *[Pair("a", "c", False, 1)] * 90]
    report = evaluate_scores(scores, same, folds, failed_pairs=lost)
    assert report.tars[0].tar == 2 / 3
    assert report.tars[1].text == "n/a: needs 1/FAR = 100 impostors, has 20"


@pytest.mark.parametrize("protocol", BY_SCORES)
def test_leave_out_measures_as_if_the_pairs_were_not_in_the_list(protocol: str):
    lost = [Pair("a", "b", True, 0), Pair("a", "c", False, 1)]
    report = evaluate_scores(
        SCORES, SAME, FOLDS, protocol=protocol, failed_pairs=lost, failed_policy="leave_out"
    )
    whole = evaluate_scores(SCORES, SAME, FOLDS, protocol=protocol)
    assert (report.accuracy, report.val, report.auc) == (whole.accuracy, whole.val, whole.auc)
    assert (report.eer, report.best) == (whole.eer, whole.best)
    assert (report.n_pairs, len(report.failed_pairs)) == (10, 2)


def test_a_fold_that_failed_wholly_is_wrong_or_absent():
    lost = [Pair("a", "b", True, 5), Pair("a", "c", False, 5)]
    wrong = evaluate_scores(SCORES, SAME, FOLDS, failed_pairs=lost)
    assert wrong.accuracy.accuracies == (1.0, 1.0, 0.0)
    absent = evaluate_scores(SCORES, SAME, FOLDS, failed_pairs=lost, failed_policy="leave_out")
    assert absent.accuracy.accuracies == (1.0, 1.0)


@pytest.mark.parametrize("protocol", BY_SCORES)
def test_a_report_survives_json(protocol: str):
    lost = [Pair("a", "b", True, 0)]
    report = evaluate_scores(SCORES, SAME, FOLDS, protocol=protocol, failed_pairs=lost)
    plain = report.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["failed_pairs"] == [{"a": "a", "b": "b", "is_same": True, "fold": 0}]
    assert plain["similarity"] == report.similarity


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_report_defines_each_number_and_so_does_the_page(protocol: str):
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    report = evaluate_pairs(pairs, people, protocol=protocol)
    page = Path(__file__).parents[3].joinpath("docs", "evaluate.md").read_text(encoding="utf-8")
    for row in report.rows():
        assert row.value
        assert row.definition
        assert f"| {row.name.split('@')[0]}" in page
    assert f"`{protocol}`" in page
    assert "optimistic" in {row.name: row.definition for row in report.rows()}["highest accuracy"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1.00001, -1.5])
def test_a_score_that_is_no_cosine_is_refused_with_its_place(wrong: float):
    scores = SCORES.copy()
    scores[3] = wrong
    with pytest.raises(InputError, match=rf"similarity 3 is {wrong}"):
        evaluate_scores(scores, SAME, FOLDS)


def test_the_rounding_of_float32_is_not_refused():
    scores = SCORES.astype(np.float32)
    scores[0] = np.nextafter(np.float32(1), np.float32(2))
    assert evaluate_scores(scores, SAME, FOLDS, protocol="insightface").accuracy.mean == 1.0


@pytest.mark.parametrize(
    ("scores", "same", "folds", "message"),
    [
        (SCORES[:7], SAME, FOLDS, r"got shapes \(7,\), \(8,\) and \(8,\)"),
        (SCORES[:, None], SAME[:, None], FOLDS[:, None], "three lists of one length"),
        (SCORES, SAME * 2, FOLDS, "is_same must hold only"),
        (SCORES, SAME, FOLDS + 0.5, "folds must be whole numbers, got float64"),
        (SCORES, SAME, FOLDS - 1, "fold -1 is below 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(scores, same, folds, message: str):
    with pytest.raises(InputError, match=message):
        evaluate_scores(scores, same, folds)


@pytest.mark.parametrize(
    ("same", "folds", "message"),
    [
        (SAME | True, FOLDS, "8 scored pairs, all of one person"),
        (SAME & False, FOLDS, "8 scored pairs, all of two people"),
        (SAME, np.where(SAME, 0, 1), "fold 0 holds only pairs of one person"),
    ],
)
def test_a_list_that_cannot_be_measured_is_refused(same, folds, message: str):
    with pytest.raises(DatasetError, match=message):
        evaluate_scores(SCORES, same, folds)


def test_a_report_of_pairs_shows_the_hardest_and_the_people_most_often_mistaken():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    people["p3/1.jpg"] = people["p4/0.jpg"]  # so p3 is refused, and accepted as p4
    report = evaluate_pairs([*pairs, Pair("p3/1.jpg", "p4/0.jpg", False, 0)], people)
    hardest = report.hardest_genuine[0].pair, report.hardest_impostor[0].pair
    assert hardest == (pairs[6], Pair("p3/1.jpg", "p4/0.jpg", False, 0))
    assert (len(report.hardest_genuine), len(report.hardest_impostor)) == (8, 8)
    assert report.worst_at == report.similarity
    worst = report.worst_people[0]
    assert (worst.person, worst.n_false_non_matches, worst.n_false_matches) == ("p3", 1, 1)
    plain = report.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["worst_people"][0]["person"] == "p3"
    assert plain["margin"] == report.margin


def test_nobody_is_called_mistaken_where_names_do_not_say_who_is_shown():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    people["p3/1.jpg"] = people["p4/0.jpg"]
    new = {name: f"lfw/{number:06d}" for number, name in enumerate(people)}  # as packs have it
    packed = [Pair(new[pair.a], new[pair.b], pair.is_same, pair.fold) for pair in pairs]
    report = evaluate_pairs(packed, {new[name]: vector for name, vector in people.items()})
    named = evaluate_pairs(pairs, people)
    assert (report.worst_people, report.auc) == (None, named.auc)
    titles = [[t.title for t in make_section(r, title="x").tables] for r in (report, named)]
    assert titles[0] == []
    assert titles[1][0].startswith("People most often mistaken, at ")


def test_several_protocols_can_measure_what_was_scored_once():
    people, pairs = make_people(20, 2), make_pairs(20, 4)
    scored = score_pairs(pairs, people)
    for protocol in PROTOCOLS:
        again = evaluate_scored(scored, protocol=protocol)
        assert again == evaluate_pairs(pairs, people, protocol=protocol)


@pytest.mark.parametrize("protocol", BY_SCORES)
def test_float32_scores_give_the_numbers_of_float64(protocol: str):
    rng = np.random.default_rng(2)
    same = np.arange(2000) % 2 == 0
    scores = np.clip(np.where(same, 0.5, 0.1) + rng.normal(0, 0.2, 2000), -1, 1)
    scores, folds = scores.astype(np.float32), np.arange(2000) // 200
    narrow = evaluate_scores(scores, same, folds.astype(np.uint8), protocol=protocol)
    wide = evaluate_scores(scores.astype(np.float64), same, folds, protocol=protocol)
    assert narrow.accuracy.accuracies == wide.accuracy.accuracies
    assert narrow.accuracy.similarities == pytest.approx(wide.accuracy.similarities, abs=1e-7)
    assert (narrow.best.rate, narrow.auc) == (wide.best.rate, wide.auc)


def test_a_list_whose_photos_all_failed_is_refused():
    with pytest.raises(DatasetError, match=r"0 scored pairs, .* and 40 failed reads"):
        evaluate_pairs(make_pairs(20, 4), {})


def test_unknown_protocols_and_policies_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'best'") as caught:
        evaluate_scores(SCORES, SAME, FOLDS, protocol="best")
    assert caught.value.hint == "use one of exact, insightface, concat, facex, magface"
    with pytest.raises(InputError, match="'best'"):
        evaluate_pairs(make_pairs(20, 4), make_people(20, 2), protocol="best")
    with pytest.raises(InputError, match="'ignore'"):
        evaluate_scores(SCORES, SAME, FOLDS, failed_policy="ignore")


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones(8), r"embedding of p3/0.jpg must be \(16,\), got \(8,\)"),
        (np.ones((1, 16)), r"must be \(16,\), got \(1, 16\)"),
        (np.full(16, np.nan), "embedding of p3/0.jpg holds values that are not finite"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused_by_the_name_of_its_photo(vector, message: str):
    people = make_people(20, 2) | {"p3/0.jpg": vector}
    with pytest.raises(InputError, match=message):
        evaluate_pairs(make_pairs(20, 4), people)
