from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arcwise.data.split import (
    Sample,
    SplitRules,
    draw_people,
    find_lookalikes,
    people_of_folds,
    split_samples,
)
from arcwise.errors import DatasetError
from arcwise.types import Pair

SAMPLES = [
    Sample(f"{person}/{i}.jpg", person, f"{person}{i}")
    for person, n in (("Ann", 3), ("Bob", 1), ("Cid", 2), ("Dee", 2), ("Eve", 4))
    for i in range(n)
]


def persons(positions: np.ndarray) -> set[str]:
    return {SAMPLES[i].person for i in positions}


def test_labels_are_dense_whoever_is_left_out() -> None:
    split = split_samples(SAMPLES, SplitRules(reserved=frozenset({"Bob", "Dee"})))
    assert split.people == ("Ann", "Cid", "Eve")
    assert set(split.labels.tolist()) == {0, 1, 2}
    assert split.labels.dtype == np.int64
    for position, label in zip(split.training, split.labels, strict=True):
        assert SAMPLES[position].person == split.people[label]


def test_nobody_is_on_two_sides() -> None:
    rules = SplitRules(reserved=frozenset({"Ann"}), validation=frozenset({"Cid", "Dee"}))
    split = split_samples(SAMPLES, rules)
    assert persons(split.training) == {"Bob", "Eve"}
    assert persons(split.validation) == {"Cid", "Dee"}
    assert split.left_out == {"Ann": "will be scored"}


def test_validation_people_are_drawn_by_seed_among_those_with_two_photos() -> None:
    first, again, *others = (draw_people(SAMPLES, 0.5, seed=seed) for seed in (4, 4, 5, 6, 7))
    assert first == again
    assert len(first) == 2
    assert "Bob" not in first.union(*others)
    assert len({first, *others}) > 1


def test_a_small_share_still_draws_two_people_and_leaves_two() -> None:
    assert len(draw_people(SAMPLES, 0.01, seed=0)) == 2
    assert draw_people(SAMPLES[:6], 0.01, seed=0) == frozenset(), "three people cannot be divided"
    assert draw_people(SAMPLES, 0.0, seed=0) == frozenset()


def test_a_name_to_be_left_out_that_nobody_has_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"such as 'Anm'; did you mean Ann\?"):
        split_samples(SAMPLES, SplitRules(leave_out=frozenset({"Anm", "Bob"})))


def test_people_with_few_photos_are_left_out_with_a_reason() -> None:
    split = split_samples(SAMPLES, SplitRules(min_photos=3))
    assert split.people == ("Ann", "Eve")
    assert split.left_out["Bob"] == "has 1 photos, fewer than 3"


def test_people_and_photos_can_be_named_to_be_left_out() -> None:
    split = split_samples(SAMPLES, SplitRules(leave_out=frozenset({"Ann", "Eve/0.jpg"})))
    assert "Ann" not in split.people
    assert np.count_nonzero(split.labels == split.people.index("Eve")) == 3
    assert split.left_out == dict.fromkeys(["Ann", "Eve/0.jpg"], "named to be left out")


def test_one_person_cannot_be_learned() -> None:
    with pytest.raises(DatasetError, match="1 people are left to learn"):
        split_samples(SAMPLES[:3], SplitRules())


def test_a_list_of_other_people_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"none of the 1 people to be scored .* Zoe"):
        split_samples(SAMPLES, SplitRules(reserved=frozenset({"Zoe"})))


def test_people_of_folds_count_from_one() -> None:
    pairs = [Pair("x/Ann/1.jpg", "x/Bob/1.jpg", False, 0), Pair("Cid/1.jpg", "Cid/2.jpg", True, 2)]
    assert people_of_folds(pairs, {1}) == {"Ann", "Bob"}
    assert people_of_folds(pairs, {2, 3}) == {"Cid"}
    with pytest.raises(DatasetError, match="does not say whom it shows"):
        people_of_folds([Pair("1.jpg", "2.jpg", True, 0)], {1})


def test_an_equal_photo_under_another_name_is_found() -> None:
    twin = Sample("Zoe/9.jpg", "Zoe", "Ann0")
    found = find_lookalikes([*SAMPLES, twin], frozenset({"Ann"}))
    assert found == {"Zoe": "the same photo as one of Ann"}


def test_similar_vectors_under_another_name_are_found() -> None:
    vectors = np.eye(len(SAMPLES), dtype=np.float32)
    vectors[-1] = 0.9 * vectors[0] + 0.1 * vectors[-1]  # an Eve near an Ann
    kept_apart = frozenset({"Ann"})
    found = find_lookalikes(SAMPLES, kept_apart, vectors=vectors, similarity=0.9)
    assert found == {"Eve": "looks like Ann (0.99)"}
    assert find_lookalikes(SAMPLES, kept_apart, vectors=vectors, similarity=0.999) == {}
    assert find_lookalikes(SAMPLES, kept_apart, vectors=vectors) == {}


def test_photos_without_a_hash_are_not_equal_to_each_other() -> None:
    plain = [Sample("Ann/1.jpg", "Ann"), Sample("Bob/1.jpg", "Bob")]
    assert find_lookalikes(plain, frozenset({"Ann"})) == {}


# Fewer people, and photos that are kept apart

COUNTS = st.lists(st.integers(1, 9), min_size=2, max_size=12)


def make_samples(counts: list[int]) -> list[Sample]:
    return [Sample(f"{i:02}/{k}", f"{i:02}") for i, n in enumerate(counts) for k in range(n)]


@given(COUNTS, st.integers(0, 99), st.data())
def test_of_two_numbers_of_people_the_larger_holds_the_smaller(
    counts: list[int], seed: int, data: st.DataObject
) -> None:
    samples = make_samples(counts)
    numbers = sorted(data.draw(st.lists(st.integers(2, 13), min_size=2, max_size=2)))
    few, many = (split_samples(samples, SplitRules(most_people=n, seed=seed)) for n in numbers)
    assert set(few.people) <= set(many.people)
    for split, wanted in zip((few, many), numbers, strict=True):
        assert len(split.people) == min(wanted, len(counts))
        learned = {samples[i].person for i in split.training}
        assert learned == set(split.people)
        reasons = dict.fromkeys(sorted({s.person for s in samples} - learned))
        assert split.left_out == dict.fromkeys(reasons, f"not among the {wanted} people drawn")


def test_other_seeds_draw_other_people() -> None:
    samples = make_samples([1] * 12)
    drawn = {split_samples(samples, SplitRules(most_people=4, seed=s)).people for s in range(9)}
    assert len(drawn) > 5


def test_people_are_drawn_of_those_who_would_be_learned() -> None:
    rules = SplitRules(
        reserved=frozenset({"Ann"}), validation=frozenset({"Eve"}), min_photos=2, most_people=2
    )
    split = split_samples(SAMPLES, rules)
    assert split.people == ("Cid", "Dee")
    assert persons(split.validation) == {"Eve"}


def test_one_person_drawn_is_too_few() -> None:
    with pytest.raises(DatasetError, match="1 people are left to learn"):
        split_samples(SAMPLES, SplitRules(most_people=1))


@given(COUNTS, st.floats(0.01, 1, exclude_max=True), st.integers(0, 99))
@example([2, 5], math.nextafter(1, 0), 0)
def test_of_each_person_the_share_is_held_rounded_down_and_one_is_left(
    counts: list[int], share: float, seed: int
) -> None:
    samples, rules = make_samples(counts), SplitRules(held_share=share, seed=seed)
    wanted = {f"{i:02}": min(int(share * n + 1e-9), n - 1) for i, n in enumerate(counts)}
    if not any(wanted.values()):
        with pytest.raises(DatasetError, match="nobody has so many photos"):
            split_samples(samples, rules)
        return
    split = split_samples(samples, rules)
    held = Counter(samples[i].person for i in split.held)
    assert held == Counter(wanted)
    together = np.concatenate([split.training, split.held])
    assert sorted(together.tolist()) == list(range(len(samples)))
    labels = np.concatenate([split.labels, split.held_labels])
    assert labels.dtype == np.int64
    assert [split.people[label] for label in labels] == [samples[i].person for i in together]
    assert set(split.labels.tolist()) == set(range(len(counts))), "everybody is learned"


def test_a_share_that_binary_numbers_miss_is_not_one_photo_less() -> None:
    """0.58 of 50 is 28.999999999999996 to a computer."""
    split = split_samples(make_samples([50, 50]), SplitRules(held_share=0.58))
    assert np.bincount(split.held_labels).tolist() == [29, 29]


def test_which_photos_are_held_follows_from_the_seed() -> None:
    samples = make_samples([9] * 4)
    held = [
        split_samples(samples, SplitRules(held_share=0.4, seed=seed)).held.tolist()
        for seed in (1, 1, 2)
    ]
    assert held[0] == held[1] != held[2]


def test_no_photo_is_held_unless_asked_for_and_none_of_strangers() -> None:
    assert len(split_samples(SAMPLES, SplitRules()).held) == 0
    rules = SplitRules(validation=frozenset({"Cid"}), reserved=frozenset({"Dee"}), held_share=0.5)
    assert persons(split_samples(SAMPLES, rules).held) == {"Ann", "Eve"}
