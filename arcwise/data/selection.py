"""Which people, and which of their photos, make a list or a subset.

What is drawn depends on the seed and on names alone: not on the order in which photos were found,
and a person who comes or goes changes nothing about the others. It does not know what photos show
nor how they are stored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from arcwise.data.split import Sample
from arcwise.errors import DatasetError, InputError

PeopleOrder = Literal["name", "count", "random"]


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Who and what is wanted.

    Attributes:
        min_photos: people with fewer photos are left out.
        n_people: how many people; None takes all who are left.
        by: who comes first when `n_people` is less than there are: "name" (as text is sorted,
            capitals first), "count" (most photos; equal ones by name), "random" (by `seed`).
        max_photos: of one person, drawn by `seed`; None takes all.
        seed: the same photos for the same seed.

    Raises:
        InputError: a number is less than 1 (the seed: than 0), or `by` is no such word.
    """

    min_photos: int = 1
    n_people: int | None = None
    by: PeopleOrder = "name"
    max_photos: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("min_photos", 1), ("n_people", 1), ("max_photos", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
        if self.by not in get_args(PeopleOrder):
            raise InputError(
                f"by is {self.by!r}", hint=f"use one of {', '.join(get_args(PeopleOrder))}"
            )


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen of a set.

    Attributes:
        people: their names, sorted; a label is a position in it.
        positions: (n,) int64, of the chosen samples, in the order of the set.
        labels: (n,) int64, 0..len(people) - 1 without gaps.
        n_people: how many people the set has.
        n_photos: how many photos the set has.
        n_qualified: how many people have photos enough.
    """

    people: tuple[str, ...]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    n_people: int
    n_photos: int
    n_qualified: int

    def shuffled(self, samples: Sequence[Sample], seed: int) -> Selection:
        """The same photos in a random order.

        Args:
            samples: the set this was chosen from.
            seed: the same order for the same seed.
        """
        names = [samples[position].photo for position in self.positions]
        order = sorted(range(len(names)), key=lambda i: _draw(seed, "shuffle", names[i]))
        return replace(self, positions=self.positions[order], labels=self.labels[order])


def select_samples(samples: Sequence[Sample], rules: SelectionRules) -> Selection:
    """Choose people and photos.

    Args:
        samples: the set; a sample whose person is empty belongs to nobody and is never chosen.
        rules: who and what is wanted.

    Raises:
        DatasetError: nobody has photos enough, or fewer people than wanted.
    """
    counts = Counter(sample.person for sample in samples if sample.person)
    qualified = [person for person, n in counts.items() if n >= rules.min_photos]
    if not qualified:
        most = max(counts.values(), default=0)
        raise DatasetError(
            f"none of {len(counts)} people has {rules.min_photos} photos, the most are {most}",
            hint="ask for fewer photos of each person"
            if counts
            else "photos must lie in a folder for each person",
        )
    if rules.n_people is not None and rules.n_people > len(qualified):
        raise DatasetError(
            f"{rules.n_people} people were asked for, {len(qualified)} of {len(counts)} have "
            f"{rules.min_photos} photos or more",
            hint="ask for fewer people, or for fewer photos of each",
        )
    people = sorted(_order_people(qualified, counts, rules)[: rules.n_people])
    label = {person: number for number, person in enumerate(people)}
    positions = [i for i, sample in enumerate(samples) if sample.person in label]
    if rules.max_photos is not None:
        positions = _cap_photos(samples, positions, rules.max_photos, rules.seed)
    return Selection(
        people=tuple(people),
        positions=np.array(positions, np.int64),
        labels=np.array([label[samples[i].person] for i in positions], np.int64),
        n_people=len(counts),
        n_photos=len(samples),
        n_qualified=len(qualified),
    )


def _order_people(people: list[str], counts: Counter[str], rules: SelectionRules) -> list[str]:
    if rules.by == "count":
        return sorted(people, key=lambda person: (-counts[person], person))
    if rules.by == "random":
        return sorted(people, key=lambda person: _draw(rules.seed, "person", person))
    return sorted(people)


def _cap_photos(samples: Sequence[Sample], positions: list[int], most: int, seed: int) -> list[int]:
    of_person: dict[str, list[int]] = {}
    for i in positions:
        of_person.setdefault(samples[i].person, []).append(i)
    kept: list[int] = []
    for own in of_person.values():
        kept += sorted(own, key=lambda i: _draw(seed, "photo", samples[i].photo))[:most]
    return sorted(kept)


def _draw(seed: int, what: str, name: str) -> tuple[bytes, str]:
    """A random rank of a name: no generator, so that it does not depend on the other names."""
    text = f"{seed}/{what}/{name}".encode(errors="surrogateescape")
    return hashlib.sha256(text).digest(), name
