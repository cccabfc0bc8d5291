"""How many photos people have: the shape of a training set, as numbers and as a histogram.

It does not look at photos, and says nothing about what they show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.data.split import Sample
from arcwise.errors import DatasetError, InputError

_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)  # each bin reaches up to the next edge
_BAR_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of the histogram: people with `least`..`most` photos; `most` None has no end."""

    least: int
    most: int | None
    n_people: int
    n_photos: int

    @property
    def name(self) -> str:
        """How it is written: 1, 5-9, 1000+."""
        if self.most is None:
            return f"{self.least}+"
        return f"{self.least}" if self.least == self.most else f"{self.least}-{self.most}"


@dataclass(frozen=True, slots=True)
class PhotoStats:
    """Photos per person of a set.

    Attributes:
        n_people, n_photos: how many there are.
        mean, median: photos per person.
        fewest, most: photos of the person with the fewest and with the most.
        person_with_most: who that is; the first by name of several.
        least: the number asked for.
        n_below: people with fewer photos than `least`.
        n_photos_below: the photos of these people.
        bins: the histogram, without the rows above `most`.
    """

    n_people: int
    n_photos: int
    mean: float
    median: float
    fewest: int
    most: int
    person_with_most: str
    least: int
    n_below: int
    n_photos_below: int
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"bins": [asdict(row) | {"name": row.name} for row in self.bins]}

    def to_text(self) -> str:
        """A histogram for people to read: a row for each bin, a bar as long as it has people."""
        most = max(row.n_people for row in self.bins)
        width = max(len(row.name) for row in self.bins)
        n_width = len(f"{most:,}")
        lines = [
            f"{row.name:>{width}}  {row.n_people:>{n_width},}  "
            + "#" * -(-_BAR_WIDTH * row.n_people // most)
            for row in self.bins
        ]
        return "\n".join(line.rstrip() for line in lines)


def count_photos(samples: Sequence[Sample]) -> dict[str, int]:
    """Photos of each person, by name; photos of nobody are not counted."""
    counts = Counter(sample.person for sample in samples if sample.person)
    return {person: counts[person] for person in sorted(counts)}


def describe_counts(counts: Mapping[str, int], *, least: int = 10) -> PhotoStats:
    """Describe photos per person.

    Args:
        counts: person -> number of photos, such as `count_photos` gives.
        least: people with fewer photos are counted.

    Raises:
        DatasetError: nobody has a photo.
        InputError: `least` is less than 1.
    """
    if least < 1:
        raise InputError(f"least must be at least 1, got {least}")
    own = {person: n for person, n in counts.items() if n > 0}
    if not own:
        raise DatasetError(
            f"none of {len(counts)} people has a photo",
            hint="photos must lie in a folder for each person",
        )
    numbers = np.array(list(own.values()), np.int64)
    below = numbers[numbers < least]
    return PhotoStats(
        n_people=len(numbers),
        n_photos=int(numbers.sum()),
        mean=float(numbers.mean()),
        median=float(np.median(numbers)),
        fewest=int(numbers.min()),
        most=int(numbers.max()),
        person_with_most=min(own, key=lambda person: (-own[person], person)),
        least=least,
        n_below=len(below),
        n_photos_below=int(below.sum()),
        bins=tuple(_fill_bins([int(n) for n in numbers])),
    )


def _fill_bins(numbers: Sequence[int]) -> list[Bin]:
    rows = []
    ends: tuple[int | None, ...] = (*_EDGES[1:], None)
    for start, end in zip(_EDGES, ends, strict=True):
        inside = [n for n in numbers if n >= start and (end is None or n < end)]
        rows.append(Bin(start, None if end is None else end - 1, len(inside), sum(inside)))
    while not rows[-1].n_people:
        rows.pop()
    return rows
