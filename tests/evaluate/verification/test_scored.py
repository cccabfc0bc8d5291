"""The hardest pairs and the worst people are those that a plain count finds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.errors import InputError
from arcwise.evaluate.verification.scored import (
    PersonErrors,
    hardest_pairs,
    score_pairs,
    worst_people,
)
from arcwise.types import Pair

PAIRS = [
    Pair("ann/1.jpg", "ann/2.jpg", True, 0),
    Pair("ann/1.jpg", "bob/1.jpg", False, 0),
    Pair("bob/1.jpg", "bob/2.jpg", True, 0),
    Pair("bob/2.jpg", "eve/1.jpg", False, 0),
    Pair("eve/1.jpg", "eve/2.jpg", True, 0),
]
SCORES = [0.3, 0.8, 0.2, 0.1, 0.9]


def test_pairs_keep_the_length_of_their_vectors_and_lose_photos_without_one():
    vectors = {"ann/1.jpg": np.array([3.0, 4.0]), "ann/2.jpg": np.array([0.0, 2.0])}
    found = score_pairs(PAIRS, vectors, failed={"bob/1.jpg": "no face"})
    assert (found.pairs, found.scores.tolist()) == ((PAIRS[0],), [0.8])
    assert found.lengths.tolist() == [5.0, 2.0]
    assert (len(found.failed), found.reasons["bob/1.jpg"]) == (4, "no face")
    assert (found.is_same.tolist(), found.folds.tolist()) == ([True], [0])


def test_the_hardest_pairs_come_first():
    found = hardest_pairs(PAIRS, SCORES, 2)
    assert [pair.similarity for pair in found.genuine] == [0.2, 0.3]
    assert [pair.pair.b for pair in found.impostor] == ["bob/1.jpg", "eve/1.jpg"]


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2]), min_size=1, max_size=30), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_of_equally_hard_pairs_the_first_of_the_list_are_shown(scores, n: int):
    pairs = [Pair(f"a/{i}", f"b/{i}", False, 0) for i in range(len(scores))]
    found = hardest_pairs(pairs, scores, n)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    assert [pair.pair for pair in found.impostor] == [pairs[i] for i in order[:n]]
    assert found.genuine == ()


def test_people_are_ranked_by_their_errors():
    assert worst_people(PAIRS, SCORES, 0.5) == (
        PersonErrors("ann", 1, 1, 1, 1),
        PersonErrors("bob", 1, 1, 1, 2),
    )
    assert worst_people(PAIRS, SCORES, 0.2) == (
        PersonErrors("ann", 0, 1, 1, 1),
        PersonErrors("bob", 0, 1, 1, 2),
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 0.5, 1]))))
@settings(max_examples=100, deadline=None)
def test_errors_of_people_equal_the_count_pair_by_pair(drawn):
    pairs = [Pair(f"p{a}/x", f"p{b}/y", a == b, 0) for a, b, _ in drawn]
    refused, accepted = Counter(), Counter()
    for a, b, score in drawn:
        if a == b and score < 0.5:
            refused[f"p{a}"] += 1
        if a != b and score >= 0.5:
            accepted[f"p{a}"] += 1
            accepted[f"p{b}"] += 1
    found = worst_people(pairs, [float(score) for _, _, score in drawn], 0.5)
    assert {one.person: one.n_false_non_matches for one in found if one.n_false_non_matches} == (
        dict(refused)
    )
    assert {one.person: one.n_false_matches for one in found if one.n_false_matches} == accepted
    totals = [one.n_false_matches + one.n_false_non_matches for one in found]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize(
    ("a", "b", "is_same"),
    [
        ("lfw/000000", "lfw/000001", False),  # a pack
        ("crops/a.jpg", "crops/b.jpg", False),
        ("Ann/1.jpg", "Bob/1.jpg", True),
        ("000001.jpg", "000002.jpg", True),  # nothing is left of the name
    ],
)
def test_nobody_is_mistaken_where_the_names_do_not_say_who_is_shown(a, b, is_same):
    assert worst_people([*PAIRS, Pair(a, b, is_same, 0)], [*SCORES, 0.4], 0.5) is None


def test_people_of_agedb_and_cfp_are_known_by_their_own_names():
    pairs = [
        Pair("03_Protocol_Images/1_Ann_20_f.jpg", "03_Protocol_Images/2_Ann_60_f.jpg", True, 0),
        Pair("001/frontal/01.jpg", "001/profile/01.jpg", True, 0),
        Pair("001/frontal/01.jpg", "002/profile/01.jpg", False, 0),
    ]
    found = worst_people(pairs, [0.1, 0.1, 0.9], 0.5)
    assert [(one.person, one.n_false_non_matches, one.n_false_matches) for one in found] == [
        ("001", 1, 1),
        ("002", 0, 1),
        ("Ann", 1, 0),
    ]


def test_scores_that_do_not_fit_the_pairs_are_refused():
    with pytest.raises(InputError, match=r"5 pairs need as many scores, got shape \(1,\)"):
        hardest_pairs(PAIRS, [0.1])
    with pytest.raises(InputError, match="score 1 is no finite number"):
        worst_people(PAIRS, [0.1, np.nan, 0.1, 0.1, 0.1], 0.5)
    with pytest.raises(InputError, match="n must be at least 1"):
        hardest_pairs(PAIRS, SCORES, 0)
