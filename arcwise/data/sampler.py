"""Which photos make up a step, and which of them a rank reads: found from the seed and the step.

Three ways: all photos shuffled, every person equally often, or some photos each of some people.
None holds any state: any step can be asked for at any time, which is what makes training
resumable; and none knows how many ranks there are, so that a step is the same on any number.

Source of P people x K photos: Hermans et al., In Defense of the Triplet Loss (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError

# Streams of random numbers that never meet; 2 is that of data/split.py.
_ORDER, _STEP, _ROUND, _CIRCLE, _PHOTOS = 0, 1, 3, 4, 5


class BatchSampler(Protocol):
    """What makes up the steps of a training, step for step.

    Attributes:
        batch_size: samples of one step.
        steps_per_epoch: whole batches of as many photos as there are.
    """

    @property
    def batch_size(self) -> int: ...  # noqa: D102 - above, as the next one

    @property
    def steps_per_epoch(self) -> int: ...  # noqa: D102

    def batch(self, step: int) -> NDArray[np.int64]:
        """(batch_size,) int64 positions: the samples of a step, counted from 0."""
        ...

    def generator(self, step: int, place: int = 0) -> np.random.Generator:
        """The random numbers of one place of a step's batch, for augmentation."""
        ...


@dataclass(frozen=True, slots=True)
class Division:
    """Who reads which part of every batch; the default reads all of it at once.

    Part m of all ranks together is the m-th piece of the batch, in the order of the ranks: two
    ranks get the same parts as one rank that takes two after each other.

    Attributes:
        rank: 0..n_ranks - 1.
        n_ranks: that share each batch.
        n_parts: micro-batches that a rank takes one after the other before it makes a step.

    Raises:
        DatasetError: a number out of its range.
    """

    rank: int = 0
    n_ranks: int = 1
    n_parts: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.n_ranks and self.n_parts >= 1):
            raise DatasetError(
                f"rank {self.rank} of {self.n_ranks} with {self.n_parts} micro-batches",
                hint="ranks count from 0, and there is at least one micro-batch",
            )

    def places(self, batch_size: int, part: int = 0) -> range:
        """Places of the whole batch that make up one micro-batch of this rank.

        Args:
            batch_size: photos of one step, of all ranks and micro-batches.
            part: which micro-batch, 0..n_parts - 1.

        Raises:
            DatasetError: the batch cannot be divided into equal parts, or there is no such part.
        """
        n_all = self.n_ranks * self.n_parts
        if batch_size % n_all:
            raise DatasetError(
                f"a batch of {batch_size} photos does not divide into {n_all} equal parts "
                f"({self.n_ranks} ranks x {self.n_parts} micro-batches)",
                hint="make schedule.batch_size, the photos of all ranks and micro-batches "
                f"together, a multiple of {n_all}",
            )
        if not 0 <= part < self.n_parts:
            raise DatasetError(f"micro-batch {part} of {self.n_parts}", hint="they count from 0")
        n_own = batch_size // n_all
        start = (part * self.n_ranks + self.rank) * n_own
        return range(start, start + n_own)


@dataclass(frozen=True, slots=True)
class Sampler:
    """Shuffled batches, the last incomplete one of an epoch left out.

    Attributes:
        n_samples: how many there are.
        batch_size: samples of one step.
        seed: two samplers of one seed give the same batches.
    """

    n_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _check_batch(self.n_samples, self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of one epoch."""
        return self.n_samples // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, counted from 0.

        Returns:
            (batch_size,) int64 positions.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, _ORDER, epoch, self.n_samples)
        found: NDArray[np.int64] = order[place * self.batch_size : (place + 1) * self.batch_size]
        return found

    def generator(self, step: int, place: int = 0) -> np.random.Generator:
        """The random numbers of one place of a step's batch, for augmentation."""
        return _generator(self.seed, step, place)


class BalancedSampler:
    """Every person equally often, however many photos there are of each.

    People come in rounds: everybody once, in an order of its own. A person's photos come in
    rounds as well: each once, before one comes again. An epoch is as many photos as there are;
    rounds go on across epochs.

    Args:
        labels: (n,) int64, the person of each sample.
        batch_size: samples of one step.
        seed: two samplers of one seed give the same batches.

    Raises:
        DatasetError: the photos do not fill a batch.
    """

    def __init__(self, labels: NDArray[np.int64], *, batch_size: int, seed: int) -> None:
        _check_batch(len(labels), batch_size)
        self._album = _Album(labels, seed)
        self.batch_size = batch_size
        self.seed = seed

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of one epoch."""
        return self._album.n_photos // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, counted from 0.

        Returns:
            (batch_size,) int64 positions.
        """
        n_people = self._album.n_people
        found = np.empty(self.batch_size, np.int64)
        for place in range(self.batch_size):
            turn, at = divmod(step * self.batch_size + place, n_people)
            person = int(_order(self.seed, _ROUND, turn, n_people)[at])
            found[place] = self._album.find_photos(person, turn, 1)[0]
        return found

    def generator(self, step: int, place: int = 0) -> np.random.Generator:
        """The random numbers of one place of a step's batch, for augmentation."""
        return _generator(self.seed, step, place)


class PKSampler:
    """P different people, K photos of each, side by side: what a triplet loss learns from.

    People come in rounds of whole batches, each person at most once in a round; where the number
    of people is no multiple of P, the few who are left out take turns. A person's photos come in
    rounds as well. Who has fewer than K photos shows some of them twice or more in a batch. An
    epoch is as many photos as there are; rounds go on across epochs.

    Args:
        labels: (n,) int64, the person of each sample.
        batch_size: samples of one step, P x K.
        photos_per_person: K.
        seed: two samplers of one seed give the same batches.

    Raises:
        DatasetError: fewer than 2 photos of a person, a batch that K does not divide, fewer than
            2 people in a batch or fewer people than it needs, or too few photos to fill it.
    """

    def __init__(
        self, labels: NDArray[np.int64], *, batch_size: int, photos_per_person: int, seed: int
    ) -> None:
        _check_batch(len(labels), batch_size)
        self._album = _Album(labels, seed)
        _check_people(self._album.n_people, batch_size, photos_per_person)
        self.batch_size = batch_size
        self.photos_per_person = photos_per_person
        self.seed = seed

    @property
    def people_per_batch(self) -> int:
        """P."""
        return self.batch_size // self.photos_per_person

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of one epoch."""
        return self._album.n_photos // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, counted from 0.

        Returns:
            (batch_size,) int64 positions: K of a person, K of the next one, and so on.
        """
        n_people, wanted = self._album.n_people, self.people_per_batch
        batches_per_round, n_left_out = divmod(n_people, wanted)
        number, at = divmod(step, batches_per_round)
        people = _find_round(self.seed, number, n_people, n_left_out)
        chosen = people[at * wanted : (at + 1) * wanted]
        # Everybody was there in every round before this one, but for those left out.
        seats = _seats(self.seed, n_people)[chosen]
        turns = number - (number * n_left_out - seats + n_people - 1) // n_people
        return np.concatenate(
            [
                self._album.find_photos(person, turn, self.photos_per_person)
                for person, turn in zip(chosen.tolist(), turns.tolist(), strict=True)
            ]
        )

    def generator(self, step: int, place: int = 0) -> np.random.Generator:
        """The random numbers of one place of a step's batch, for augmentation."""
        return _generator(self.seed, step, place)


BuildSampler = Callable[[NDArray[np.int64], int, int, int], BatchSampler]

SAMPLERS: dict[str, BuildSampler] = {
    "shuffled": lambda labels, batch_size, seed, _: Sampler(len(labels), batch_size, seed),
    "balanced": lambda labels, batch_size, seed, _: BalancedSampler(
        labels, batch_size=batch_size, seed=seed
    ),
    "pk": lambda labels, batch_size, seed, photos_per_person: PKSampler(
        labels, batch_size=batch_size, photos_per_person=photos_per_person, seed=seed
    ),
}
"""Name to sampler of labels (n,), batch size, seed and K, the photos of a person in a batch."""


class _Album:
    """The photos of each person, and which of them come at the person's n-th turn."""

    def __init__(self, labels: NDArray[np.int64], seed: int) -> None:
        counts = np.unique(labels, return_counts=True)[1]
        self._photos = np.argsort(labels, kind="stable")
        self._ends = np.cumsum(counts)
        self._counts = counts
        self._seed = seed
        self.n_photos, self.n_people = len(labels), len(counts)

    def find_photos(self, person: int, turn: int, n_wanted: int) -> NDArray[np.int64]:
        """(n_wanted,) positions, all different where there are as many; each once in a while."""
        count, end = int(self._counts[person]), int(self._ends[person])
        turns_per_round = max(1, count // n_wanted)
        number, at = divmod(turn, turns_per_round)
        order = np.random.default_rng((self._seed, _PHOTOS, person, number)).permutation(count)
        chosen = np.resize(order[at * n_wanted : (at + 1) * n_wanted], n_wanted)  # repeats them
        found: NDArray[np.int64] = self._photos[end - count + chosen]
        return found


@lru_cache(maxsize=2)  # the end of one epoch or round and the start of the next
def _order(seed: int, stream: int, number: int, n: int) -> NDArray[np.int64]:
    order = np.random.default_rng((seed, stream, number)).permutation(n)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def _find_round(seed: int, number: int, n_people: int, n_left_out: int) -> NDArray[np.int64]:
    """Who comes in a round, in order; people sit in a circle and are left out in turn."""
    first = number * n_left_out
    out = np.arange(first, first + n_left_out) % n_people
    is_in = np.ones(n_people, bool)
    is_in[_order(seed, _CIRCLE, 0, n_people)[out]] = False
    order = np.random.default_rng((seed, _ROUND, number)).permutation(np.flatnonzero(is_in))
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def _seats(seed: int, n_people: int) -> NDArray[np.int64]:
    """(n_people,) where each person sits in the circle."""
    seats = np.argsort(_order(seed, _CIRCLE, 0, n_people))
    seats.setflags(write=False)
    return seats


def _generator(seed: int, step: int, place: int) -> np.random.Generator:
    return np.random.default_rng((seed, _STEP, step, place))


def _check_batch(n_samples: int, batch_size: int) -> None:
    if batch_size < 1 or n_samples < batch_size:
        raise DatasetError(
            f"{n_samples} photos do not fill one batch of {batch_size}",
            hint="make the batch smaller (schedule.batch_size) or give more photos",
        )


def _check_people(n_people: int, batch_size: int, photos_per_person: int) -> None:
    wanted, rest = divmod(batch_size, max(photos_per_person, 1))
    if photos_per_person < 2 or rest or wanted < 2:
        raise DatasetError(
            f"a batch of {batch_size} photos cannot be {photos_per_person} photos each of "
            "some people",
            hint="take at least 2 photos each (data.photos_per_person) of at least 2 people: "
            "schedule.batch_size is the product",
        )
    if n_people < wanted:
        raise DatasetError(
            f"{n_people} people do not fill a batch of {wanted} people, "
            f"{photos_per_person} photos each",
            hint="make schedule.batch_size smaller, or data.photos_per_person larger",
        )
