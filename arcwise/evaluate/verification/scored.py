"""Pairs of photos and their cosines: the hardest ones, and the people most often mistaken.

It does not know models or protocols: it takes one vector per photo name. A photo without a vector
is lost, with the reason, and every pair it is in fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Counts, Doubles, Flags, Rising
from arcwise.evaluate.vectors.unit import unit_vectors
from arcwise.types import Pair

_CHUNK_PAIRS = 1 << 14


@dataclass(frozen=True, eq=False, slots=True)
class ScoredPairs:
    """What became of the pairs of a list.

    Attributes:
        pairs: those with a score, P of them, in the order of the list.
        scores: (P,) float64 cosines.
        units: (N, D) float64 vectors of norm 1 of the photos with one.
        lengths: (N,) float64 that they had before.
        first, second: (P,) rows of `units`.
        failed: the other pairs.
        reasons: photo -> why it has no vector, in order of name.
    """

    pairs: tuple[Pair, ...]
    scores: Doubles
    units: Doubles
    lengths: Doubles
    first: Counts
    second: Counts
    failed: tuple[Pair, ...]
    reasons: dict[str, str]

    @property
    def is_same(self) -> Flags:
        """(P,) whether both photos show one person."""
        return np.array([pair.is_same for pair in self.pairs], dtype=np.bool_)

    @property
    def folds(self) -> Counts:
        """(P,) the fold of each pair."""
        return np.array([pair.fold for pair in self.pairs], dtype=np.int64)


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
        person: the folder of their photos.
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
    names = sorted({pair.a for pair in pairs} | {pair.b for pair in pairs})
    units, lost = unit_vectors(names, embeddings, failed or {})
    kept = [name for name in names if name not in lost]
    place = {name: i for i, name in enumerate(kept)}
    left = [pair for pair in pairs if pair.a in lost or pair.b in lost]
    scored = [pair for pair in pairs if pair.a in place and pair.b in place] if left else pairs
    first = np.array([place[pair.a] for pair in scored], dtype=np.int64)
    second = np.array([place[pair.b] for pair in scored], dtype=np.int64)
    lengths = [np.linalg.norm(np.asarray(embeddings[name], dtype=np.float64)) for name in kept]
    return ScoredPairs(
        pairs=tuple(scored),
        scores=_cosines(units, first, second),
        units=units,
        lengths=np.array(lengths, dtype=np.float64),
        first=first,
        second=second,
        failed=tuple(left),
        reasons=lost,
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
    is_same = np.array([pair.is_same for pair in pairs], dtype=np.bool_)
    places = [_find_least(values, np.flatnonzero(is_same), n)]
    places.append(_find_least(-values, np.flatnonzero(~is_same), n))
    return HardestPairs(
        *(tuple(ScoredPair(pairs[i], float(values[i])) for i in chosen) for chosen in places)
    )


def worst_people(
    pairs: Sequence[Pair], scores: ArrayLike, threshold: float
) -> tuple[PersonErrors, ...]:
    """People with errors at a threshold, most errors first; equals by name.

    Args:
        pairs: P pairs of photos PERSON/FILE; a photo in no folder is a person of its own.
        scores: (P,) their similarities.
        threshold: a pair matches when its similarity is at least this.

    Raises:
        InputError: scores that are not (P,) finite numbers.
    """
    values = _check_scores(pairs, scores)
    names = {pair.a for pair in pairs} | {pair.b for pair in pairs}
    people = sorted({_person_of(name) for name in names})
    number = {person: i for i, person in enumerate(people)}
    place = {name: number[_person_of(name)] for name in names}
    first = np.array([place[pair.a] for pair in pairs], dtype=np.int64)
    second = np.array([place[pair.b] for pair in pairs], dtype=np.int64)
    is_same = np.array([pair.is_same for pair in pairs], dtype=np.bool_)

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


def _cosines(vectors: Doubles, a: Counts, b: Counts) -> Doubles:
    """Cosine of unit vectors a[i] and b[i], some pairs at a time to bound the memory."""
    cosines = np.empty(len(a))
    for start in range(0, len(a), _CHUNK_PAIRS):
        part = slice(start, start + _CHUNK_PAIRS)
        cosines[part] = np.einsum("pd,pd->p", vectors[a[part]], vectors[b[part]])
    return np.clip(cosines, -1.0, 1.0)


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


def _person_of(name: str) -> str:
    return name.rpartition("/")[0] or name
