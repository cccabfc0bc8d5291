"""What is odd about labeled photos: strangers who look alike, and photos that are there twice.

It does not judge: nobody but a person can say whose a photo is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arcwise.evaluate.calibrate.labeled import LabeledPhoto, ScoredPhotos

_N_CLOSEST = 3
_FIRST_LOOK = 1000  # pairs that are sorted at once


@dataclass(frozen=True, slots=True)
class CloseStrangers:
    """The most alike photos of two people; they may be one person under two names."""

    a: str
    b: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Copies:
    """Photos of equal content, and the people they are said to show."""

    names: tuple[str, ...]
    people: tuple[str, ...]


def find_closest(scored: ScoredPhotos) -> tuple[CloseStrangers, ...]:
    """The three most alike pairs of two people, one row for two people."""
    pairs = scored.impostors
    n_looked = _FIRST_LOOK
    while True:
        n_looked = min(n_looked, len(pairs))
        found = _find_among(scored, n_looked)
        if len(found) == _N_CLOSEST or n_looked == len(pairs):
            return tuple(found)
        n_looked *= 10  # two people with many photos fill the top


def _find_among(scored: ScoredPhotos, n_looked: int) -> list[CloseStrangers]:
    pairs = scored.impostors
    if not n_looked:
        return []
    least = np.partition(pairs.scores, len(pairs) - n_looked)[len(pairs) - n_looked]
    top = np.flatnonzero(pairs.scores >= least)  # with all that equal the last one
    found: dict[tuple[str, str], CloseStrangers] = {}
    for place in top[np.argsort(-pairs.scores[top], kind="stable")]:
        a, b = (scored.photos[int(side[place])] for side in (pairs.first, pairs.second))
        row = CloseStrangers(a.name, b.name, float(pairs.scores[place]))
        found.setdefault((a.person, b.person), row)
        if len(found) == _N_CLOSEST:
            break
    return list(found.values())


def find_copies(photos: Sequence[LabeledPhoto]) -> tuple[Copies, ...]:
    """The photos whose content is that of another one."""
    found: dict[str, list[LabeledPhoto]] = {}
    for photo in photos:
        if photo.digest:
            found.setdefault(photo.digest, []).append(photo)
    return tuple(
        Copies(
            names=tuple(photo.name for photo in equal),
            people=tuple(dict.fromkeys(photo.person for photo in equal)),
        )
        for equal in found.values()
        if len(equal) > 1
    )
