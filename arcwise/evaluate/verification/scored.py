"""Pairs of photos and their cosines: the hardest ones, and the people most often mistaken.

It does not know models or protocols: it takes one vector per photo name. A photo without a vector
is lost, with the reason, and every pair it is in fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Counts, Doubles, Flags, Rising
from arcwise.evaluate.sets.people import person_of
from arcwise.evaluate.vectors.cosines import fetch_cosines
from arcwise.evaluate.vectors.unit import unit_vectors
from arcwise.types import Pair


@dataclass(frozen=True, eq=False, slots=True)
class ScoredPairs:
    """What became of the pairs of a list.

    Attributes:
        pairs: those with a score, P of them, in the order of the list.
        scores: (P,) float64 cosines.
        units: (N, D) float64 vectors of norm 1 of the photos with one.
        lengths: (N,) float64 that they had before.
        first, second: (P,) rows of `units`.
        is_same: (P,) bool, whether both photos show one person.
        folds: (P,) int64, the fold of each pair.
        failed: the other pairs.
        reasons: photo -> why it has no vector, in order of name.
    """

    pairs: tuple[Pair, ...]
    scores: Doubles
    units: Doubles
    lengths: Doubles
    first: Counts
    second: Counts
    is_same: Flags
    folds: Counts
    failed: tuple[Pair, ...]
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair and its cosine."""

    pair: Pair
    similarity: float


@dataclass(frozen=True, slots=True)
class HardestPairs:
    """The pairs that a model gets most wrong.

    Attributes:
        genuine: same-person pairs, the least alike first.
        impostor: different-person pairs, the most alike first.
    """

    genuine: tuple[ScoredPair, ...]
    impostor: tuple[ScoredPair, ...]


@dataclass(frozen=True, slots=True)
class PersonErrors:
    """How often one person is mistaken at a threshold.

    Attributes:
        person: as the names of their photos have it.
        n_false_non_matches: own pairs below the threshold.
        n_genuine: own pairs.
        n_false_matches: pairs with others that reach it; each counts for both people.
        n_impostor: pairs with others.
    """

    person: str
    n_false_non_matches: int
    n_genuine: int
    n_false_matches: int
    n_impostor: int


def score_pairs(
    pairs: Sequence[Pair],
    embeddings: Mapping[str, NDArray[Any]],
    *,
    failed: Mapping[str, str] | None = None,
) -> ScoredPairs:
    """Score every pair by the cosine of its two vectors.

    Args:
        pairs: as `read_pairs` gives them.
        embeddings: photo name -> (D,) vector of any length but 0.
        failed: photo name -> why it has no vector.

    Raises:
        InputError: a vector that is not (D,), not finite, or of another dimension than the others.
    """
    numbered = _number_photos(pairs)
    found = unit_vectors(numbered.names, embeddings, failed or {})
    row_of = {name: row for row, name in enumerate(found.names)}
    rows = np.array([row_of.get(name, -1) for name in numbered.names], dtype=np.int64)
    first, second = rows[numbered.first], rows[numbered.second]
    has_both = (first >= 0) & (second >= 0)
    scored = tuple(compress(pairs, has_both.tolist()))
    first, second = first[has_both], second[has_both]
    return ScoredPairs(
        pairs=scored,
        scores=fetch_cosines(found.units, first, second),
        units=found.units,
        lengths=found.lengths,
        first=first,
        second=second,
        is_same=_list_classes(scored),
        folds=np.fromiter((pair.fold for pair in scored), np.int64, len(scored)),
        failed=tuple(compress(pairs, (~has_both).tolist())),
        reasons=found.lost,
    )


def hardest_pairs(pairs: Sequence[Pair], scores: ArrayLike, n: int = 8) -> HardestPairs:
    """The least alike same-person pairs and the most alike others; equals in order of the list.

    Args:
        pairs: P pairs.
        scores: (P,) their similarities.
        n: how many of each class, at most.

    Raises:
        InputError: scores that are not (P,) finite numbers, or n less than 1.
    """
    values = _check_scores(pairs, scores)
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    is_same = _list_classes(pairs)
    genuine = _find_least(values, np.flatnonzero(is_same), n)
    impostor = _find_least(-values, np.flatnonzero(~is_same), n)
    return HardestPairs(
        genuine=tuple(ScoredPair(pairs[i], float(values[i])) for i in genuine),
        impostor=tuple(ScoredPair(pairs[i], float(values[i])) for i in impostor),
    )


def worst_people(
    pairs: Sequence[Pair], scores: ArrayLike, threshold: float
) -> tuple[PersonErrors, ...] | None:
    """People with errors at a threshold, most errors first; equals by name.

    Args:
        pairs: P pairs.
        scores: (P,) their similarities.
        threshold: a pair matches when its similarity is at least this.

    Returns:
        None where the names of the photos do not say who is shown, as in a pack.

    Raises:
        InputError: scores that are not (P,) finite numbers.
    """
    values = _check_scores(pairs, scores)
    numbered, is_same = _number_photos(pairs), _list_classes(pairs)
    shown = [person_of(name) for name in numbered.names]
    people = sorted(set(shown))
    number = {person: i for i, person in enumerate(people)}
    persons = np.array([number[person] for person in shown], dtype=np.int64)
    first, second = persons[numbered.first], persons[numbered.second]
    if "" in number or ((first == second) != is_same).any():
        return None

    def count(chosen: Flags) -> Counts:
        ends = np.concatenate((first[chosen], second[chosen & (first != second)]))
        return np.bincount(ends, minlength=len(people))

    is_match = values >= threshold
    refused, accepted = count(is_same & ~is_match), count(~is_same & is_match)
    genuine, impostor = count(is_same), count(~is_same)
    errors = refused + accepted
    ranked = np.argsort(-errors, kind="stable")[: np.count_nonzero(errors)]
    return tuple(
        PersonErrors(
            person=people[i],
            n_false_non_matches=int(refused[i]),
            n_genuine=int(genuine[i]),
            n_false_matches=int(accepted[i]),
            n_impostor=int(impostor[i]),
        )
        for i in ranked.tolist()
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Numbered:
    """The photos of P pairs in order of name, and the (P,) places of each pair's two."""

    names: list[str]
    first: Counts
    second: Counts


def _number_photos(pairs: Sequence[Pair]) -> _Numbered:
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    names = sorted({*a, *b})
    place = {name: i for i, name in enumerate(names)}
    first = np.fromiter(map(place.__getitem__, a), np.int64, len(a))
    second = np.fromiter(map(place.__getitem__, b), np.int64, len(b))
    return _Numbered(names, first, second)


def _list_classes(pairs: Sequence[Pair]) -> Flags:
    return np.fromiter((pair.is_same for pair in pairs), np.bool_, len(pairs))


def _check_scores(pairs: Sequence[Pair], scores: ArrayLike) -> Doubles:
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(pairs),):
        raise InputError(f"{len(pairs)} pairs need as many scores, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"score {int(np.argmin(np.isfinite(values)))} is no finite number")
    return values


def _find_least(values: Rising, places: Counts, n: int) -> Counts:
    """The n of some places with the least values, rising; equals in order."""
    chosen = values[places]
    if len(chosen) > n:
        places = places[chosen <= np.partition(chosen, n - 1)[n - 1]]
    return places[np.argsort(values[places], kind="stable")[:n]]
