"""What is counted of searches, against counts by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from arcwise.compare import Threshold
from arcwise.errors import InputError
from arcwise.evaluate.identification import evaluate_gallery, measure_searches
from arcwise.evaluate.identification.lineup import Lineup, Side
from arcwise.evaluate.identification.redraw import PeopleDraws
from arcwise.evaluate.identification.scope import Scope
from arcwise.evaluate.identification.search import search_scores
from arcwise.evaluate.identification.size import list_sizes

QUICK = Scope(n_replicates=20)


def make_lineup(n_people=30, *, n_probes=4, n_strangers=10, noise=1.0, seed=0, failed=()):
    """People p0 ... with one photo in the gallery; x0 ... are strangers."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_people + n_strangers, 12))
    names = [f"p{i:03}" for i in range(n_people)] + [f"x{i:03}" for i in range(n_strangers)]
    sides = []
    for kind, count in (("g", 1), ("q", n_probes)):
        people, vectors, reasons = {}, {}, {}
        for i, name in enumerate(names):
            if kind == "g" and i >= n_people:
                continue
            for k in range(count):
                photo = f"{name}/{kind}{k}"
                people[photo] = name
                if photo in failed:
                    reasons[photo] = "no face"
                else:
                    vectors[photo] = (means[i] + noise * rng.normal(size=12)).astype(np.float32)
        sides.append(Side(people, vectors, reasons))
    return Lineup.gather(*sides)


def test_top_k_counts_over_all_mated_searches():
    lineup = make_lineup()
    report = evaluate_gallery(lineup, QUICK)
    ranks = lineup.search().mate_ranks[:120]
    assert [rate.rank for rate in report.ranks] == [1, 3, 5]
    for rate in report.ranks:
        assert (rate.found.n_hits, rate.found.n) == ((ranks <= rate.rank).sum(), 120)
    assert report.cmc[0] == report.ranks[0].found.share
    assert len(report.cmc) == 20
    assert (np.diff(report.cmc) >= 0).all()


def test_counts_are_printed_over_the_total():
    row = next(
        r for r in evaluate_gallery(make_lineup(noise=0.01), QUICK).rows() if "top-1" in r.name
    )
    assert row.value.startswith("120/120 = 100.00% [")


FAILED = ("p000/g0", "p001/q0", "x000/q0")


def test_failed_reads_are_in_the_denominator():
    report = evaluate_gallery(make_lineup(noise=0.01, failed=FAILED), QUICK)
    first = report.ranks[0].found
    assert (first.n_hits, first.n) == (115, 120)  # four of p000 and one of p001 fail
    assert (report.n_failed_mated, report.not_enrolled) == (5, ("p000",))
    assert report.people[0].person == "p000"
    assert (report.people[0].n_failed, report.people[0].n_found) == (4, 0)
    found = next(rate for rate in report.open_rates if rate.rates.fpir == 0.1)
    assert found.rates.false_alarms.n == 39
    assert found.rates.fnir.n == 120


def test_failed_reads_can_be_left_out():
    lineup = make_lineup(noise=0.01, failed=FAILED)
    report = evaluate_gallery(lineup, Scope(failed_policy="leave_out", n_replicates=20))
    first = report.ranks[0].found
    assert (first.n_hits, first.n) == (115, 115)
    assert (report.n_mated, report.n_failed_mated) == (120, 5)


def test_a_closed_set_says_what_open_set_rates_need():
    report = evaluate_gallery(make_lineup(n_strangers=0), QUICK)
    assert report.dirs == report.det_fpir == report.alarms == ()
    assert report.strangers is None
    texts = [rate.rates.text for rate in report.open_rates]
    assert texts[0] == "n/a: needs 1/FPIR = 10 non-mated searches, has 0"


def test_a_threshold_from_elsewhere_is_scored():
    scope = Scope(thresholds=(Threshold(0.5, None, False, "given"),), n_replicates=20)
    lineup = make_lineup()
    found = evaluate_gallery(lineup, scope).open_rates[-1]
    searches = lineup.search()
    assert found.why == "given"
    assert found.rates.fnir.n_hits == (searches.mate_scores[searches.is_mated] < 0.5).sum()
    assert (
        found.rates.false_alarms.n_hits == (searches.other_scores[~searches.is_mated] >= 0.5).sum()
    )
    assert found.people.low <= found.rates.fnir.share <= found.people.high


def test_the_worst_people_and_whom_they_were_taken_for_come_first():
    scores = np.array([[1, 2, 0], [1, 2, 0], [0, 1, 2], [0, 0, 1]], np.float32)
    side = {n: np.ones(2, np.float32) for n in ("g0", "g1", "g2", "q0", "q1", "q2", "q3")}
    gallery = {"g0": "a", "g1": "b", "g2": "c"}
    probes = {"q0": "a", "q1": "a", "q2": "b", "q3": "c"}
    lineup = Lineup.gather(Side(gallery, side, {}), Side(probes, side, {}))
    report = measure_searches(lineup, search_scores(scores, list("aabc"), list("abc")), QUICK)
    told = [(t.person, t.n_probes, t.n_found, t.taken_for) for t in report.people]
    assert told == [("a", 2, 0, "b"), ("b", 1, 0, "c"), ("c", 1, 1, "")]
    assert [(m.probe, m.taken_for, m.rank) for m in report.misses] == [
        ("q0", "g1", 2),
        ("q1", "g1", 2),
        ("q2", "g2", 2),
    ]
    lines = next(t for t in report.tables() if t.title == "Worst people").cells
    assert lines == (("a", "0/2", "0", "b"), ("b", "0/1", "0", "c"))


def test_people_are_drawn_and_not_searches():
    lineup = make_lineup(10, n_probes=5, n_strangers=4, noise=1.5)
    searches = lineup.search()
    draws = PeopleDraws(lineup, searches, Scope(n_replicates=400, seed=7))
    (moved,) = draws.spread_ranks([1])
    interval = moved.interval
    # the same by hand: whole people are drawn, each with all searches
    hits = (searches.mate_ranks[searches.is_mated] == 1).reshape(10, 5)
    rng = np.random.default_rng(1)
    shares = [hits[rng.integers(0, 10, 10)].mean() for _ in range(4000)]
    low, high = np.percentile(shares, [2.5, 97.5])
    assert interval.low == pytest.approx(low, abs=0.05)
    assert interval.high == pytest.approx(high, abs=0.05)


def test_the_threshold_of_a_rate_is_found_anew_in_each_draw():
    lineup = make_lineup(10, n_probes=5, n_strangers=12, noise=1.0)
    searches = lineup.search()
    report = measure_searches(lineup, searches, Scope(fpirs=(0.25,), n_replicates=400))
    (found,) = report.open_rates
    mates = searches.mate_scores[searches.is_mated].reshape(10, 5)
    tops = searches.other_scores[~searches.is_mated].reshape(12, 5)
    rng = np.random.default_rng(1)
    rates = []
    for _ in range(4000):
        highest = np.sort(tops[rng.integers(0, 12, 12)].ravel())
        refused = highest[-1 - math.floor(0.25 * 60)]
        rates.append((mates[rng.integers(0, 10, 10)] <= refused).mean())
    low, high = np.percentile(rates, [2.5, 97.5])
    assert found.people.low == pytest.approx(low, abs=0.06)
    assert found.people.high == pytest.approx(high, abs=0.06)


@pytest.mark.parametrize("n_people", [1, 3, 9])
def test_fewer_than_ten_people_have_no_interval(n_people):
    scope = Scope(thresholds=(Threshold(0.5, None, False, "given"),), n_replicates=20)
    report = evaluate_gallery(make_lineup(n_people), scope)
    assert report.ranks[0].people is None
    assert all(rate.people is None for rate in report.open_rates)
    values = {row.name: row.value for row in report.rows()}
    assert values["top-1"].endswith("], over people n/a: needs 10 people")
    assert values["FNIR@FPIR 0.1"].endswith(", over people n/a: needs 10 people and strangers")
    assert values["FNIR@0.5000"].endswith(", over people n/a: needs 10 people")
    assert values["FNIR@FPIR 0.001"] == "n/a: needs 1/FPIR = 1,000 non-mated searches, has 40"


def test_fewer_than_ten_strangers_leave_only_the_threshold_without_interval():
    report = evaluate_gallery(make_lineup(10, n_strangers=9), QUICK)
    assert report.ranks[0].people is not None
    assert report.open_rates[0].people is None


def test_smaller_galleries_are_easier_and_the_last_is_the_whole():
    lineup = make_lineup(40, noise=1.2, n_strangers=40)
    report = evaluate_gallery(lineup, Scope(sizes=None, n_replicates=20, n_draws=5))
    sizes = report.sizes
    assert [(size.n_people, size.n_draws) for size in sizes.sizes] == [(10, 5), (30, 5), (40, 1)]
    assert sizes.sizes[0].rank_1 > sizes.sizes[-1].rank_1 == report.ranks[0].found.share
    assert sizes.fpir == 0.01
    at = next(rate.rates for rate in report.open_rates if rate.rates.fpir == 0.01)
    assert sizes.sizes[-1].fnir == at.fnir.share
    assert sizes.similarity == at.similarity
    assert sizes.sizes[-1].fpir == at.false_alarms.share
    assert sizes.sizes[0].fpir <= sizes.sizes[-1].fpir


def test_failed_searches_count_in_smaller_galleries_too():
    lineup = make_lineup(12, noise=0.01, failed=[f"p{i:03}/q0" for i in range(12)])
    report = evaluate_gallery(lineup, Scope(sizes=(6,), n_replicates=20, n_draws=3))
    assert [size.rank_1 for size in report.sizes.sizes] == [0.75, 0.75]


LOST = [f"p{i:03}/g0" for i in range(10)]


def test_people_without_a_vector_are_in_galleries_of_every_size():
    lineup = make_lineup(30, noise=0.01, failed=LOST)
    report = evaluate_gallery(lineup, Scope(sizes=(15,), n_replicates=20, n_draws=40))
    assert report.ranks[0].found.share == 80 / 120
    some, whole = report.sizes.sizes
    assert (whole.n_people, whole.rank_1) == (30, report.ranks[0].found.share)
    assert whole.fnir == report.open_rates[0].rates.fnir.share
    assert some.rank_1 == pytest.approx(2 / 3, abs=0.05)
    assert some.fnir == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("n_strangers", [0, 10])
def test_a_gallery_in_which_every_search_fails_finds_nobody(n_strangers):
    failed = [*LOST, "p010/q0", "p010/q1", "p010/q2", "p010/q3"]
    lineup = make_lineup(12, noise=0.01, n_strangers=n_strangers, failed=failed)
    report = evaluate_gallery(lineup, Scope(sizes=(1,), n_replicates=20, n_draws=60))
    one = report.sizes.sizes[0]
    assert one.n_draws == 60
    assert 0 < one.rank_1 < 0.3  # one of twelve can be found
    assert one.fnir == (pytest.approx(1 - one.rank_1, abs=0.05) if n_strangers else None)


def test_people_without_a_vector_are_not_drawn_where_failed_searches_are_left_out():
    scope = Scope(sizes=(15,), n_replicates=20, n_draws=3, failed_policy="leave_out")
    report = evaluate_gallery(make_lineup(30, noise=0.01, failed=LOST), scope)
    assert [(s.n_people, s.rank_1) for s in report.sizes.sizes] == [(15, 1.0), (20, 1.0)]


def test_a_closed_set_has_no_fpir_in_smaller_galleries():
    report = evaluate_gallery(
        make_lineup(12, n_strangers=0), Scope(sizes=(6,), n_replicates=20, n_draws=2)
    )
    assert report.sizes.fpir is report.sizes.similarity is report.sizes.sizes[0].fnir is None


def test_one_draw_has_no_deviation():
    report = evaluate_gallery(make_lineup(12), Scope(sizes=(6,), n_replicates=20, n_draws=2))
    some, whole = report.sizes.sizes
    assert (some.n_draws, whole.n_draws) == (2, 1)
    assert some.rank_1_std is not None
    assert whole.rank_1_std is whole.fnir_std is whole.fpir_std is None
    (_, first), (_, last) = ((line[0], " ".join(line)) for line in report.tables()[-1].cells)
    assert "±" in first
    assert "±" not in last


@pytest.mark.parametrize(("noise", "share"), [(0.001, 1.0), (1000.0, 0.0)])
def test_draws_that_are_all_equal_are_no_interval(noise, share):
    scope = Scope(thresholds=(Threshold(-1.0, None, False, "given"),), n_replicates=20)
    lineup = make_lineup(noise=noise)
    if not share:  # everybody is as alike as everybody else
        lineup = replace(lineup, gallery=np.ones_like(lineup.gallery))
    report = evaluate_gallery(lineup, scope)
    first = report.ranks[0]
    assert (first.found.share, first.people, first.lack) == (share, None, "all draws are equal")
    values = {row.name: row.value for row in report.rows()}
    assert values["top-1"].endswith("], over people n/a: all draws are equal")
    assert values["FNIR@-1.0000"].endswith(", over people n/a: all draws are equal")
    assert first.found.low < first.found.high


def test_an_interval_says_nothing_of_what_it_lacks():
    report = evaluate_gallery(make_lineup(noise=1.5), QUICK)
    assert report.ranks[0].people is not None
    assert report.ranks[0].lack == ""
    assert report.open_rates[-1].lack == "needs 1/FPIR = 1,000 non-mated searches, has 40"


def test_one_search_is_no_spread():
    vectors = {"g": np.ones(2, np.float32), "q": np.ones(2, np.float32)}
    lineup = Lineup.gather(Side({"g": "a"}, vectors, {}), Side({"q": "a"}, vectors, {}))
    values = {row.name: row.value for row in evaluate_gallery(lineup, QUICK).rows()}
    assert values["mates"] == "1.0000, of one search"
    assert values["gallery"] == "1 person, 1 photo"


def test_usual_sizes_stay_below_the_gallery():
    assert list_sizes(1000) == (10, 30, 100, 300)
    assert list_sizes(10) == ()


def test_the_report_is_plain_json():
    lineup = make_lineup(failed=FAILED)
    report = evaluate_gallery(lineup, Scope(sizes=(5,), n_replicates=20, n_draws=2))
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["ranks"][0]["found"]["n"] == 120
    assert plain["sizes"]["sizes"][1]["n_people"] == 30
    assert all(row.value and row.definition for row in report.rows())
    assert {table.title.split(" (")[0] for table in report.tables()} == {
        "Worst people",
        "Mated searches with somebody else first",
        "Strangers who are most like somebody",
        "Failed reads",
        "Effect of the gallery's size",
    }


def test_no_mated_search_is_refused():
    one = Side({"g": "a"}, {"g": np.ones(2, np.float32)}, {})
    other = Side({"q": "x"}, {"q": np.ones(2, np.float32)}, {})
    with pytest.raises(InputError, match="no mated search"):
        evaluate_gallery(Lineup.gather(one, other))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cmc_to": 0},
        {"n_draws": 0},
        {"n_replicates": 1},
        {"sizes": (0,)},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_a_scope_out_of_range_is_refused(wrong):
    with pytest.raises(InputError):
        Scope(**wrong)


def test_all_equal_vectors_find_nobody():
    names = [f"p{i}" for i in range(5)]
    same = {n: np.ones(3, np.float32) for n in names}
    lineup = Lineup.gather(
        Side({n: n for n in names}, same, {}), Side({n: n for n in names}, same, {})
    )
    report = evaluate_gallery(lineup, QUICK)
    assert report.ranks[0].found.n_hits == 0
    assert report.cmc[4] == 1
