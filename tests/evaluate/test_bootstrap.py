"""Thresholds and their intervals against loops that write every drawn pair out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.evaluate.bootstrap import (
    RankedPairs,
    count_pairs,
    count_strangers,
    cut_at_fmr,
    draw_people,
    measure_spreads,
    spread_share,
)

RATES = (0.5, 0.29, 0.1, 0.01)


def rank(scores: list[float], first: list[int] | None = None, second: list[int] | None = None):
    numbers = np.zeros(len(scores), dtype=np.int64)
    return RankedPairs.rank(
        np.array(scores, dtype=np.float64),
        numbers if first is None else np.array(first, dtype=np.int64),
        numbers if second is None else np.array(second, dtype=np.int64),
    )


def naive_threshold(scores: list[float], fmr: float) -> float | None:
    """The smallest score that at most a share `fmr` of them reaches."""
    fitting = [t for t in set(scores) if sum(s >= t for s in scores) <= fmr * len(scores) + 1e-9]
    return min(fitting, default=None)


@given(
    st.lists(
        st.tuples(st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.3, 0.9]), st.integers(0, 3)),
        min_size=1,
        max_size=30,
    ).filter(lambda rows: any(n for _, n in rows)),
    st.sampled_from(RATES),
)
def test_a_threshold_is_that_of_the_naive_loop_over_all_drawn_pairs(rows, fmr: float):
    scores, times = zip(*rows, strict=True)
    order = np.argsort(-np.array(scores), kind="stable")
    pairs = rank(list(scores))
    found = cut_at_fmr(pairs, np.cumsum(np.array(times)[order]), fmr)
    drawn = [score for score, n in rows for _ in range(n)]
    expected = naive_threshold(drawn, fmr)
    assert found.n_passing == sum(score >= found.similarity for score in drawn)
    if expected is None:
        assert found.n_passing == 0
        assert found.similarity == np.nextafter(max(drawn), np.inf)
    else:
        assert found.similarity == expected


def test_a_budget_is_not_lost_to_rounding():
    assert 0.29 * 100 < 29
    found = cut_at_fmr(rank(np.linspace(0, 1, 100).tolist()), np.arange(1, 101), 0.29)
    assert found.n_passing == 29


def test_equal_scores_pass_together_or_not_at_all():
    pairs = rank([0.9, 0.8, 0.8, 0.8, *[0.1] * 16])
    assert cut_at_fmr(pairs, np.arange(1, 21), 0.1).n_passing == 1  # the budget is 2
    assert cut_at_fmr(pairs, np.arange(1, 21), 0.2).n_passing == 4


def test_people_are_drawn_as_often_as_there_are_and_by_the_seed():
    draws = draw_people(7, 50, seed=1)
    assert draws.shape == (50, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert (draws == draw_people(7, 50, seed=1)).all()
    assert (draws != draw_people(7, 50, seed=2)).any()
    assert (draws == draw_people(7, 50, np.random.default_rng(1))).all()
    assert draws.dtype == np.int32


def test_a_draw_is_what_it_was_when_all_were_drawn_at_once():
    numbers = np.random.default_rng(5).integers(0, 11, (30, 11))
    expected = [np.bincount(row, minlength=11).tolist() for row in numbers]
    assert draw_people(11, 30, seed=5).tolist() == expected


def test_intervals_are_those_of_samples_with_every_drawn_person_written_out():
    rng = np.random.default_rng(5)
    people = np.repeat(np.arange(8), [1, 2, 3, 2, 2, 1, 2, 4])
    scores = np.round(rng.normal(0.2, 0.2, (17, 17)), 1).clip(-1, 1)  # many ties
    rows = [(scores[i, j], int(people[i]), int(people[j])) for i, j in combinations(range(17), 2)]
    genuine, impostors = (
        rank(*map(list, zip(*[r for r in rows if (r[1] == r[2]) is same], strict=True)))
        for same in (True, False)
    )
    draws = draw_people(8, 40, seed=3)
    found = [(0.2, 0.4), (0.1, 0.5)]
    spreads = measure_spreads(genuine, impostors, draws, found)
    assert spreads is not None
    for (fmr, similarity), spread in zip(found, spreads, strict=True):
        thresholds, refused = [], []
        for times in draws:
            copies = [p for p in range(8) for _ in range(times[p])]
            drawn = [s for s, a, b in rows if a != b for p in copies for q in copies
                     if (p, q) == (a, b)]  # fmt: skip
            own = [s for s, a, b in rows if a == b for p in copies if p == a]
            highest = float(np.nextafter(max(drawn), np.inf))
            expected = naive_threshold(drawn, fmr)
            thresholds.append(highest if expected is None else expected)
            refused.append(np.mean([s < similarity for s in own]))
        interval = (spread.similarity.low, spread.similarity.high)
        assert interval == pytest.approx(tuple(np.percentile(thresholds, [2.5, 97.5])))
        assert spread.fnmr is not None
        shares = (spread.fnmr.low, spread.fnmr.high)
        assert shares == pytest.approx(tuple(np.percentile(refused, [2.5, 97.5])))


def test_pairs_that_share_people_say_less_than_as_many_pairs_that_do_not():
    """Two of 30 people look like everybody: 57 similar pairs, but they stand for two people."""
    first, second = np.triu_indices(30, 1)
    scores = np.where(second < 2, 0.8, np.where(first < 2, 0.7, 0.1)) + first / 1000
    pairs = rank(scores.tolist(), first.tolist(), second.tolist())
    spreads = measure_spreads(rank([]), pairs, draw_people(30, 300, seed=0), [(0.1, 0.7)])
    assert spreads is not None
    (spread,) = spreads
    assert spread.similarity.low < 0.2  # nobody like that among those drawn
    assert spread.similarity.high > 0.7
    assert spread.fnmr is None


def test_counting_multiplies_how_often_the_two_people_were_drawn():
    pairs = rank([0.9, 0.5, 0.1], [0, 0, 1], [1, 2, 2])
    assert count_pairs(pairs, np.array([2, 3, 1])).tolist() == [6, 8, 11]


def make_crowd(n_people: int = 12, *, seed: int = 0):
    """Photos of some people, the score of every pair of photos of two, and whose they are."""
    rng = np.random.default_rng(seed)
    people = np.sort(np.concatenate((np.arange(n_people), rng.integers(0, n_people, 20))))
    first, second = np.triu_indices(len(people), 1)
    other = people[first] != people[second]
    scores = np.round(rng.normal(0, 0.2, int(other.sum())), 2).astype(np.float32)
    return people, scores, people[first][other], people[second][other]


@pytest.mark.parametrize("seed", range(4))
def test_the_most_alike_pairs_give_the_intervals_of_all_pairs(seed: int):
    people, scores, first, second = make_crowd(seed=seed)
    everything = RankedPairs.rank(scores, first, second)
    draws = draw_people(12, 100, seed=seed)
    found = [(0.1, 0.25), (0.02, 0.4)]
    top = scores >= np.sort(scores)[-len(scores) // 3]
    n_photos = np.bincount(people)
    tail = RankedPairs.rank(
        scores[top], first[top], second[top], n_all=len(scores), n_photos=n_photos
    )
    spreads = measure_spreads(rank([]), everything, draws, found)
    assert spreads is not None
    assert measure_spreads(rank([]), tail, draws, found) == spreads


def test_too_few_of_the_most_alike_pairs_are_told_and_not_made_up():
    people, scores, first, second = make_crowd()
    top = scores >= np.sort(scores)[-len(scores) // 10]
    tail = RankedPairs.rank(
        scores[top], first[top], second[top], n_all=len(scores), n_photos=np.bincount(people)
    )
    draws = draw_people(12, 100, seed=0)
    assert measure_spreads(rank([]), tail, draws, [(0.1, 0.25)]) is None
    assert cut_at_fmr(tail, np.arange(1, top.sum() + 1), 0.5, n_all=len(scores)) is None


def test_drawn_pairs_of_strangers_are_counted_without_looking_at_them():
    people, _, first, second = make_crowd()
    draws = draw_people(12, 30, seed=2)
    expected = [int((times[first] * times[second]).sum()) for times in draws]
    assert count_strangers(np.bincount(people), draws).tolist() == expected


def test_the_spread_of_a_share_leaves_out_draws_that_say_nothing():
    hits, counts = np.array([1, 0, 3, 0]), np.array([2, 0, 4, 5])
    spread = spread_share(hits, counts)
    assert spread is not None
    assert (spread.low, spread.high) == pytest.approx(np.percentile([0.5, 0.75, 0], [2.5, 97.5]))
    assert spread_share(np.zeros(3), np.zeros(3)) is None
