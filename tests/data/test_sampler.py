from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.data.sampler import SAMPLERS, BalancedSampler, Division, PKSampler, Sampler
from arcwise.errors import DatasetError

# 2 to 11 photos of each of 10 people, mixed.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.arange(2, 12)))
NAMES = list(SAMPLERS)


def batches(sampler: Any, n_steps: int) -> np.ndarray:
    return np.stack([sampler.batch(step) for step in range(n_steps)])


def test_an_epoch_takes_every_sample_at_most_once() -> None:
    sampler = Sampler(n_samples=23, batch_size=5, seed=1)
    seen = np.concatenate([sampler.batch(step) for step in range(sampler.steps_per_epoch)])
    assert sampler.steps_per_epoch == 4
    assert len(set(seen.tolist())) == 20


def test_every_epoch_has_its_own_order() -> None:
    sampler = Sampler(n_samples=20, batch_size=5, seed=1)
    assert not np.array_equal(sampler.batch(0), sampler.batch(4))


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    first, second = (Sampler(n_samples=20, batch_size=5, seed=3) for _ in range(2))
    for step in range(7):
        first.batch(step)
    assert np.array_equal(first.batch(7), second.batch(7))
    assert first.generator(7).random() == second.generator(7).random()


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_the_step_and_the_place_change_the_random_numbers(name: str) -> None:
    drawn = {
        SAMPLERS[name](LABELS, 8, seed, 2).generator(step, place).random()
        for seed in (0, 1)
        for step in (0, 1)
        for place in range(8)
    }
    assert len(drawn) == 32


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_needs_the_step_alone(name: str) -> None:
    """No state: backwards as forwards; an epoch is as many photos as there are."""
    sampler, again, other = (SAMPLERS[name](LABELS, 8, seed, 2) for seed in (1, 1, 2))
    assert (sampler.batch_size, sampler.steps_per_epoch) == (8, len(LABELS) // 8)
    forward = batches(sampler, 40)
    backward = [again.batch(step) for step in reversed(range(40))]
    assert np.array_equal(forward, backward[::-1])
    assert forward.dtype == np.int64
    assert not np.array_equal(forward, batches(other, 40))
    assert len(np.unique(forward, axis=0)) == 40
    assert set(forward.ravel()) == set(range(len(LABELS)))


@pytest.mark.parametrize(("n_samples", "batch_size"), [(3, 4), (0, 1), (4, 0)])
def test_less_than_a_batch_is_refused(n_samples: int, batch_size: int) -> None:
    with pytest.raises(DatasetError, match=f"{n_samples} photos do not fill"):
        Sampler(n_samples=n_samples, batch_size=batch_size, seed=0)


# ── balanced ──


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(0, 500),
)
def test_balanced_people_come_equally_often(
    counts: list[int], batch_size: int, seed: int, start: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    batch_size = min(batch_size, len(labels))
    sampler = BalancedSampler(labels, batch_size=batch_size, seed=seed)
    drawn = np.concatenate([sampler.batch(step) for step in range(20)])
    people = Counter(labels[drawn].tolist())
    assert max(people.values()) - min(people[i] for i in range(len(counts))) <= 1
    for person in people:
        photos = Counter(drawn[labels[drawn] == person].tolist())
        n_turns = [photos[i] for i in np.flatnonzero(labels == person).tolist()]
        assert max(n_turns) - min(n_turns) <= 1
    later = np.concatenate([sampler.batch(step) for step in range(start, start + 5)])
    people = Counter(labels[later].tolist())
    assert max(people.values()) - min(people[i] for i in range(len(counts))) <= 2


def test_balanced_orders_change_from_round_to_round() -> None:
    drawn = batches(BalancedSampler(np.arange(12), batch_size=12, seed=1), 30)
    assert len(np.unique(drawn, axis=0)) == 30
    assert (np.sort(drawn, axis=1) == np.arange(12)).all()


# ── P people x K photos ──


def test_a_pk_batch_is_k_different_photos_of_each_of_p_different_people() -> None:
    labels = np.repeat(np.arange(30), 5)
    sampler = PKSampler(labels, batch_size=32, photos_per_person=4, seed=1)
    assert sampler.people_per_batch == 8
    for drawn in batches(sampler, 60):
        groups = labels[drawn].reshape(8, 4)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0].tolist())) == 8
        assert len(set(drawn.tolist())) == 32


@given(
    n_people=st.integers(2, 23),
    wanted=st.integers(2, 9),
    n_photos=st.integers(2, 5),
    n_each=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_pk_people_and_their_photos_take_turns(
    n_people: int, wanted: int, n_photos: int, n_each: int, seed: int
) -> None:
    wanted = min(wanted, n_people)
    labels = np.repeat(np.arange(n_people), n_each + n_photos)
    sampler = PKSampler(labels, batch_size=wanted * n_photos, photos_per_person=n_photos, seed=seed)
    drawn = np.concatenate([sampler.batch(step) for step in range(50)])
    people = Counter(labels[drawn].tolist())
    often = [people[person] // n_photos for person in range(n_people)]
    assert max(often) - min(often) <= 2
    photos = Counter(drawn.tolist())
    for person, n_turns in enumerate(often):
        first = person * (n_each + n_photos)
        per_round = (n_each + n_photos) // n_photos
        counts = [photos[first + i] for i in range(n_each + n_photos)]
        assert max(counts) <= -(-n_turns // per_round)  # at most once in a round of photos


def test_pk_leaves_everybody_out_equally_often() -> None:
    # 10 people in batches of 4: two batches a round, two people left out.
    labels = np.repeat(np.arange(10), 2)
    sampler = PKSampler(labels, batch_size=8, photos_per_person=2, seed=4)
    rounds = [
        set(labels[batches_of].tolist()) for batches_of in batches(sampler, 20).reshape(10, 16)
    ]
    assert {len(people) for people in rounds} == {8}
    out = Counter(person for people in rounds for person in set(range(10)) - people)
    assert set(out.values()) == {2}
    assert any(a != b for a, b in pairwise(rounds))


def test_who_has_too_few_photos_shows_them_again() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2, 2, 2])
    sampler = PKSampler(labels, batch_size=8, photos_per_person=4, seed=1)
    for drawn in batches(sampler, 12):
        for person in set(labels[drawn].tolist()):
            times = Counter(drawn[labels[drawn] == person].tolist())
            assert sorted(times.values()) == {0: [4], 1: [2, 2], 2: [1] * 4}[person]


@pytest.mark.parametrize(
    ("batch_size", "photos_per_person", "words"),
    [
        (8, 3, "a batch of 8 photos cannot be 3 photos each"),
        (8, 1, "cannot be 1 photos each"),
        (8, 0, "cannot be 0 photos each"),
        (8, 8, "cannot be 8 photos each"),
        (24, 2, "10 people do not fill a batch of 12 people"),
        (66, 2, "65 photos do not fill one batch of 66"),
    ],
)
def test_a_pk_batch_that_cannot_be_is_refused(
    batch_size: int, photos_per_person: int, words: str
) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        PKSampler(LABELS, batch_size=batch_size, photos_per_person=photos_per_person, seed=1)
    assert "batch_size" in caught.value.hint


def test_balanced_photos_must_fill_a_batch() -> None:
    with pytest.raises(DatasetError, match="65 photos do not fill one batch of 66"):
        BalancedSampler(LABELS, batch_size=66, seed=1)


# ── ranks and micro-batches ──


@given(
    n_ranks=st.integers(1, 5),
    n_parts=st.integers(1, 5),
    n_each=st.integers(1, 6),
)
def test_all_parts_together_are_the_batch(n_ranks: int, n_parts: int, n_each: int) -> None:
    batch_size = n_ranks * n_parts * n_each
    found = [
        place
        for part in range(n_parts)
        for rank in range(n_ranks)
        for place in Division(rank, n_ranks, n_parts).places(batch_size, part)
    ]
    assert found == list(range(batch_size))


def test_two_ranks_get_the_parts_that_one_takes_after_each_other() -> None:
    alone = Division(n_parts=2)
    for rank in range(2):
        assert Division(rank, 2).places(8) == alone.places(8, rank)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"64 photos .* 6 equal parts \(3 ranks x 2") as caught:
        Division(0, 3, 2).places(64)
    assert "a multiple of 6" in caught.value.hint


@pytest.mark.parametrize(
    ("rank", "n_ranks", "n_parts"), [(-1, 2, 1), (2, 2, 1), (0, 0, 1), (0, 1, 0)]
)
def test_a_division_that_cannot_be_is_refused(rank: int, n_ranks: int, n_parts: int) -> None:
    with pytest.raises(DatasetError, match=f"rank {rank} of {n_ranks}"):
        Division(rank, n_ranks, n_parts)


@pytest.mark.parametrize("part", [-1, 2])
def test_a_part_that_is_none_is_refused(part: int) -> None:
    with pytest.raises(DatasetError, match=f"micro-batch {part} of 2"):
        Division(n_parts=2).places(8, part)
