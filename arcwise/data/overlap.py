"""Whether a set holds people or photos that will be scored: what makes a test look better.

People are compared by name, photos by what they look like. It does not know whether two names
mean one person; people without a shared name or photo are not found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from arcwise.data.facts import Finding, PhotoFacts
from arcwise.data.near import find_twins
from arcwise.data.split import Sample
from arcwise.evaluate.sets.people import name_people
from arcwise.types import Pair


def people_of_pairs(pairs: Iterable[Pair]) -> frozenset[str]:
    """Everybody in a verification list.

    Args:
        pairs: of photos whose names say whom they show; evaluate/sets/people.py reads them.

    Raises:
        InputError: the names do not say whom the photos show.
    """
    return frozenset(name_people(list(pairs)).values())


def find_overlap(people: Iterable[str], scored: Iterable[str]) -> list[Finding]:
    """People of a set who will be scored.

    Case, accents, spaces and signs are left aside. Names that are numbers mean nothing in another
    set and are not compared; see `are_numbers`.

    Args:
        people: of the set.
        scored: of the evaluation.
    """
    of_name: dict[str, str] = {}
    for person in sorted(scored):
        of_name.setdefault(_fold(person), person)
    found = []
    for person in sorted(people):
        other = of_name.get(_fold(person))
        if other is None or _fold(person).isdecimal():
            continue
        same = "" if other == person else f", there called {other}"
        found.append(Finding("overlap", f"{person} will be scored{same}", people=(person, other)))
    return found


def are_numbers(people: Iterable[str]) -> bool:
    """Whether all names are numbers, so that they cannot be compared with those of another set."""
    return all(_fold(person).isdecimal() for person in people)


def find_seen(
    samples: Sequence[Sample],
    facts: Sequence[PhotoFacts],
    scored: Sequence[Sample],
    scored_facts: Sequence[PhotoFacts],
) -> list[Finding]:
    """Photos of a set that will be scored, whatever they are called.

    Args:
        samples: of the set.
        facts: of its photos, in the same order.
        scored: of the evaluation.
        scored_facts: of its photos, in the same order.
    """
    ours = [i for i, fact in enumerate(facts) if fact.look is not None]
    theirs = [i for i, fact in enumerate(scored_facts) if fact.look is not None]
    twins = find_twins(
        [look for fact in facts if (look := fact.look) is not None],
        [look for fact in scored_facts if (look := fact.look) is not None],
    )
    found = []
    for pair in twins:
        mine, other = samples[ours[pair.a]], scored[theirs[pair.b]]
        found.append(
            Finding(
                "seen",
                f"{mine.photo} will be scored as {other.photo}",
                photos=(mine.photo, other.photo),
                people=(mine.person, other.person),
            )
        )
    return found


def _fold(name: str) -> str:
    """A name as letters and digits only, without accents and case."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in plain if c.isalnum())
