"""Folds are contiguous and hold both classes; the first ones take what is left over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.folds import assign_folds
from arcwise.evaluate.sets.pairs import read_pairs
from arcwise.types import Pair


def pairs_of(answers: list[bool]) -> list[Pair]:
    return [Pair(f"p{i}/a.jpg", f"p{i}/b.jpg", answer, 0) for i, answer in enumerate(answers)]


def test_the_first_folds_are_larger():
    pairs = assign_folds(pairs_of([True, False] * 4), 3, name="x")
    assert [pair.fold for pair in pairs] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_classes_that_stand_apart_are_cut_on_their_own():
    pairs = assign_folds(pairs_of([True] * 4 + [False] * 4), 2, name="x")
    assert [pair.fold for pair in pairs] == [0, 0, 1, 1, 0, 0, 1, 1]


@given(answers=st.lists(st.booleans(), min_size=2, max_size=60), n_folds=st.integers(2, 6))
def test_it_is_the_rule_of_lists(tmp_path_factory, answers, n_folds):
    path = tmp_path_factory.getbasetemp() / "folds.txt"
    pairs = pairs_of(answers)
    path.write_text("\n".join(f"{pair.a}\t{pair.b}\t{pair.is_same:d}" for pair in pairs))
    try:
        expected = read_pairs(path, n_folds=n_folds)
    except DatasetError:
        with pytest.raises(DatasetError, match="needs at least"):
            assign_folds(pairs, n_folds, name="x")
        return
    assert assign_folds(pairs, n_folds, name="x") == expected
    assert {pair.fold for pair in expected} == set(range(n_folds))


def test_one_fold_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(pairs_of([True, False]), 1, name="x")
