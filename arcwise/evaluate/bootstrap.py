"""The threshold of a false match rate, and how far it moves when other people are drawn.

It does not know photos or embeddings: it takes scored pairs and the number of each pair's people.
A pair matches when similarity >= threshold; the threshold of a false match rate f is the smallest
impostor score t with (impostors >= t) / impostors <= f. Pairs share people and are not
independent, so intervals come from drawing the people anew: a pair of people drawn v and w times
counts v * w times. Sources: Bolle, Ratha and Pankanti (2004), the subsets bootstrap; Davezies,
D'Haultfoeuille and Guyonvarch (2021) for pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError
from arcwise.evaluate.curve import Counts, count_allowed

Similarities = NDArray[Any]
"""float32 or float64; what is said of them is exact in either."""
Numbers = NDArray[np.int32]

LEAST_PEOPLE = 10
"""With fewer, drawing people anew says nothing about others: our choice."""


@dataclass(frozen=True, eq=False, slots=True)
class RankedPairs:
    """Pairs, most alike first: all there are, or the most alike of all.

    Attributes:
        scores: (P,) float32 or float64, falling.
        first, second: (P,) int32 numbers of the two people.
        ties: (P,) int64 place where the run of equal scores begins that the pair is in.
        n_all: pairs there are, at least P.
        n_photos: (C,) int64 photos of each person, where `n_all` counts every pair of photos of
            two people; needed where P is less than `n_all`, else None.
    """

    scores: Similarities
    first: Numbers
    second: Numbers
    ties: Counts
    n_all: int
    n_photos: Counts | None = None

    @classmethod
    def rank(
        cls,
        scores: Similarities,
        first: NDArray[Any],
        second: NDArray[Any],
        *,
        n_all: int | None = None,
        n_photos: Counts | None = None,
    ) -> RankedPairs:
        """Sort once; thresholds are then found by counting along this order."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        begins = np.arange(len(falling))
        begins[1:][falling[1:] == falling[:-1]] = 0
        return cls(
            scores=falling,
            first=first[order].astype(np.int32),
            second=second[order].astype(np.int32),
            ties=np.maximum.accumulate(begins, out=begins),
            n_all=len(falling) if n_all is None else n_all,
            n_photos=n_photos,
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """A threshold, and how many pairs reach it, each counted as often as it was drawn."""

    similarity: float
    n_passing: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spreads:
    """How far drawing other people moves a threshold, and the FNMR at the one that was found.

    Attributes:
        similarity: of the threshold.
        fnmr: None without genuine pairs.
    """

    similarity: Interval
    fnmr: Interval | None


def count_pairs(pairs: RankedPairs, times: NDArray[Any]) -> Counts:
    """(P,) pairs so far, from the most alike; `times` says how often each of the two counts."""
    weights = times[pairs.first]
    weights *= times[pairs.second]
    counted: Counts = np.cumsum(weights, dtype=np.int64)
    return counted


def count_strangers(n_photos: NDArray[Any], times: NDArray[Any]) -> Counts:
    """How many pairs of photos of two people there are, each as often as it was drawn.

    Args:
        n_photos: (C,) photos of each person.
        times: (R, C) how often each person was drawn.

    Returns:
        (R,) int64.
    """
    drawn = times.astype(np.int64) * n_photos
    total = drawn.sum(axis=1)
    pairs: Counts = (total * total - (drawn * drawn).sum(axis=1)) // 2
    return pairs


def cut_at_fmr(
    impostors: RankedPairs, counted: Counts, fmr: float, *, n_all: int | None = None
) -> Cut | None:
    """The smallest score that at most floor(fmr * pairs) impostor pairs reach.

    Args:
        impostors: the pairs, at least one.
        counted: (P,) as `count_pairs` gives it.
        fmr: above 0 and below 1.
        n_all: how many pairs there are, counted likewise; by default the last of `counted`.

    Returns:
        The cut; where equal scores at the top exceed the budget, the next number above them, which
        nothing reaches. None where the pairs that are known all pass: more of them are needed.
    """
    n_drawn = int(counted[-1]) if n_all is None else n_all
    budget = count_allowed(fmr, n_drawn)
    refused = int(np.searchsorted(counted, budget, side="right"))
    if refused == len(counted):
        return None
    cut = int(impostors.ties[refused])  # equals of a refused pair are refused with it
    n_passing = int(counted[cut - 1]) if cut else 0
    if n_passing == 0:
        return Cut(float(np.nextafter(impostors.scores[cut], np.inf)), 0)
    last = int(np.searchsorted(counted, n_passing, side="left"))  # those after were not drawn
    return Cut(float(impostors.scores[last]), n_passing)


def draw_people(n_people: int, n_replicates: int, seed: int | np.random.Generator) -> Numbers:
    """(R, C) how often each person is drawn when as many as there are are drawn anew."""
    rng = np.random.default_rng(seed)
    counts = np.empty((n_replicates, n_people), np.int32)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, n_people, n_people), minlength=n_people)
    return counts


def interval_of(values: Sequence[Any] | NDArray[Any]) -> Interval:
    """From the 2.5 % to the 97.5 % point of what the draws gave, at least one value."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def spread_share(hits: NDArray[Any], counts: NDArray[Any]) -> Interval | None:
    """95 % interval of a share over draws of people.

    Args:
        hits: (R,) pairs that are counted in each draw.
        counts: (R,) pairs there are in each draw; draws without any say nothing.

    Returns:
        None where no draw has any pair.
    """
    there = counts > 0
    return interval_of(hits[there] / counts[there]) if there.any() else None


def measure_spreads(
    genuine: RankedPairs,
    impostors: RankedPairs,
    draws: Numbers,
    found: Sequence[tuple[float, float]],
) -> list[Spreads] | None:
    """95 % intervals (2.5 % and 97.5 % points) over draws of people.

    Args:
        genuine: all pairs of one person.
        impostors: pairs of two people, or the most alike of them.
        draws: (R, C) as `draw_people` gives them.
        found: a false match rate and the threshold that was found for it, for each result.

    Returns:
        A result for each, or None where a draw needs impostor pairs that were left out.

    Raises:
        DatasetError: no draw has any impostor pair.
    """
    totals = count_strangers(impostors.n_photos, draws) if impostors.n_photos is not None else None
    thresholds = []
    for number, times in enumerate(draws):
        counted = count_pairs(impostors, times)
        n_all = int(counted[-1] if totals is None else totals[number])
        if not n_all:  # one person was drawn every time
            continue
        cuts = [cut_at_fmr(impostors, counted, fmr, n_all=n_all) for fmr, _ in found]
        known = [cut.similarity for cut in cuts if cut is not None]
        if len(known) < len(cuts):
            return None
        thresholds.append(known)
    if not thresholds:
        raise DatasetError(
            f"none of {len(draws):,} draws of people has a pair of two people",
            hint="draw people more often (n_replicates), or give pairs of more people",
        )
    bounds = [interval_of(values) for values in zip(*thresholds, strict=True)]
    n_own = np.bincount(genuine.first, minlength=draws.shape[1])
    spreads = []
    for bound, (_, similarity) in zip(bounds, found, strict=True):
        refused = genuine.first[genuine.scores < similarity]
        n_refused = np.bincount(refused, minlength=draws.shape[1])
        # a person drawn twice brings all own pairs twice
        fnmr = spread_share(draws @ n_refused, draws @ n_own)
        spreads.append(Spreads(Interval(bound.low, min(bound.high, 1.0)), fnmr))
    return spreads
