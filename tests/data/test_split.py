from __future__ import annotations

import numpy as np
import pytest

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
