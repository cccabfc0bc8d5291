"""Who of some pairs a model has learned: what makes its numbers too good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Section
    from arcwise.types import Pair


@dataclass(frozen=True, slots=True)
class Learned:
    """What of a set of pairs a model has learned.

    Attributes:
        source: name of the training list.
        people: who of the pairs is in it, as the pairs name them; None where nobody asked.
        n_pairs: pairs that show one of them.
        n_all: all pairs.
        is_named: the report may say who they are.
    """

    source: str = ""
    people: tuple[str, ...] | None = None
    n_pairs: int = 0
    n_all: int = 0
    is_named: bool = True

    def list_sections(self) -> list[Section]:
        """The part of a report that tells it; none where nobody asked."""
        from arcwise.evaluate.report import Section
        from arcwise.evaluate.row import Row

        if self.people is None:
            return []
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
        return [Section("Leakage", rows, text=", ".join(self.people) if self.is_named else "")]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under the key `leakage`."""
        if self.people is None:
            return {"leakage": None}
        people = list(self.people) if self.is_named else None
        counts = {"n_people": len(self.people), "n_pairs": self.n_pairs}
        return {"leakage": {"people": people} | counts}


def find_learned(pairs: Sequence[Pair], place: Path | None) -> Learned:
    """Who of the pairs is in a training list, and how many pairs that touches.

    Args:
        pairs: as `read_pairs` gives them.
        place: the list, or None where nobody asked.

    Raises:
        InputError: as `find_known`.
    """
    from arcwise.evaluate.sets.people import name_people

    if place is None:
        return Learned()
    known, person_of = find_known(pairs, place), name_people(pairs)
    n_pairs = sum(not known.isdisjoint((person_of[p.a], person_of[p.b])) for p in pairs)
    return Learned(place.name, tuple(sorted(known)), n_pairs, len(pairs))


def find_known(pairs: Sequence[Pair], place: Path) -> set[str]:
    """Who of the pairs is in a training list, whatever the spelling, as the pairs name them.

    Args:
        pairs: as `read_pairs` gives them.
        place: the training list; its photos are called as those of pairs are.

    Raises:
        InputError: the names of one or the other do not say who is shown, or they are numbers,
            which mean nothing in another set.
    """
    from arcwise.data.overlap import are_numbers, find_overlap, people_of_pairs

    learned, scored = _read_people(place), people_of_pairs(pairs)
    for people, whose in ((scored, "the pairs"), (learned, str(place))):
        if are_numbers(people):
            raise InputError(
                f"the people of {whose} have numbers for names, such as {min(people)}",
                hint="a number means nothing in another set: who of one is in the other cannot be "
                "known, so leave out --trained-on and --leave-out",
            )
    return {finding.people[1] for finding in find_overlap(learned, scored)}


def _read_people(place: Path) -> set[str]:
    from arcwise.data.lists import read_list
    from arcwise.evaluate.sets.people import person_of

    people = {person_of(photo.path) for photo in read_list(place).photos} - {""}
    if not people:
        raise InputError(
            f"{place} does not say whom its photos show",
            hint="a training list names them PERSON/FILE",
        )
    return people
