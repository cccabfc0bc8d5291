"""Who of some pairs a model has learned: what makes its numbers too good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arcwise.evaluate.report import Section
    from arcwise.types import Pair


@dataclass(frozen=True, slots=True)
class Leak:
    """People of a set of pairs that a model has learned; `people` is None where nobody asked."""

    source: str = ""
    people: tuple[str, ...] | None = None
    n_pairs: int = 0
    n_all: int = 0

    @property
    def sections(self) -> Iterator[Section]:
        from arcwise.evaluate.report import Section
        from arcwise.evaluate.row import Row

        if self.people is None:
            return
        rows = (
            Row(
                "people learned",
                f"{len(self.people):,}",
                f"of these pairs, by name, in {self.source}: a model knows them better than "
                "strangers",
            ),
            Row(
                "pairs with them",
                f"{self.n_pairs:,} of {self.n_all:,}",
                "pairs that show one of them; --leave-out scores the others",
            ),
        )
        yield Section("Leakage", rows, text=", ".join(self.people))

    def to_dict(self) -> dict[str, Any]:
        if self.people is None:
            return {"leakage": None}
        return {"leakage": {"people": list(self.people), "n_pairs": self.n_pairs}}


def find_leak(pairs: Sequence[Pair], place: Path | None) -> Leak:
    """Who of the pairs is in a training list, whatever the spelling."""
    from arcwise.cli.folds import read_people
    from arcwise.data.overlap import find_overlap, people_of_pairs

    if place is None:
        return Leak()
    found = find_overlap(read_people(place), people_of_pairs(pairs))
    people = {person for finding in found for person in finding.people[1:]}
    touched = [pair for pair in pairs if people & people_of_pairs([pair])]
    return Leak(place.name, tuple(sorted(people)), len(touched), len(pairs))
