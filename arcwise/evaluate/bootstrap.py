"""The threshold of a false match rate, and how far it moves when other people are drawn.

It does not know photos or embeddings: it takes scored pairs and the number of each pair's people.
A pair matches when similarity >= threshold; the threshold of a false match rate f is the smallest
impostor score t with (impostors >= t) / impostors <= f. Pairs share people and are not
independent, so intervals come from drawing the people anew: a pair of people drawn v and w times
counts v * w times. Sources: Bolle, Ratha and Pankanti (2004), the subsets bootstrap; Davezies,
D'Haultfoeuille and Guyonvarch (2021) for pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.evaluate.curve import Doubles

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class RankedPairs:
    """Pairs, most alike first.

    Attributes:
        scores: (P,) float64, falling.
        first, second: (P,) int64 numbers of the two, photos or people.
        ties: (P,) int64 place where the run of equal scores begins that the pair is in.
    """

    scores: Doubles
    first: Counts
    second: Counts
    ties: Counts

    @classmethod
    def rank(cls, scores: Doubles, first: Counts, second: Counts) -> RankedPairs:
        """Sort once; thresholds are then found by counting along this order."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        begins = np.arange(len(falling))
        begins[1:][falling[1:] == falling[:-1]] = 0
        return cls(falling, first[order], second[order], np.maximum.accumulate(begins))


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


def count_pairs(pairs: RankedPairs, times: Counts) -> Counts:
    """(P,) pairs so far, from the most alike; `times` says how often each of the two counts."""
    counted: Counts = np.cumsum(times[pairs.first] * times[pairs.second])
    return counted


def cut_at_fmr(impostors: RankedPairs, counted: Counts, fmr: float) -> Cut:
    """The smallest score that at most floor(fmr * pairs) impostor pairs reach.

    Args:
        impostors: the pairs, at least one.
        counted: (P,) as `count_pairs` gives it.
        fmr: above 0 and below 1.

    Returns:
        The cut; where equal scores at the top exceed the budget, the next number above them, which
        nothing reaches.
    """
    budget = math.floor(fmr * int(counted[-1]) * (1 + 1e-12))  # 0.29 * 100 falls short of 29
    refused = int(np.searchsorted(counted, budget, side="right"))
    cut = int(impostors.ties[refused])  # equals of a refused pair are refused with it
    n_passing = int(counted[cut - 1]) if cut else 0
    if n_passing == 0:
        return Cut(float(np.nextafter(impostors.scores[cut], np.inf)), 0)
    last = int(np.searchsorted(counted, n_passing, side="left"))  # those after were not drawn
    return Cut(float(impostors.scores[last]), n_passing)


def draw_people(n_people: int, n_replicates: int, seed: int) -> Counts:
    """(R, C) how often each person is drawn when as many as there are are drawn anew."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, n_people, (n_replicates, n_people))
    return np.stack([np.bincount(draw, minlength=n_people) for draw in draws])


def measure_spreads(
    genuine: RankedPairs,
    impostors: RankedPairs,
    draws: Counts,
    found: Sequence[tuple[float, float]],
) -> list[Spreads]:
    """95 % intervals (2.5 % and 97.5 % points) over draws of people.

    Args:
        genuine: pairs of one person; `first` and `second` number people.
        impostors: pairs of two people, likewise.
        draws: (R, C) as `draw_people` gives them.
        found: a false match rate and the threshold that was found for it, for each result.
    """
    is_refused = genuine.scores < np.array([[similarity] for _, similarity in found])
    thresholds, shares = [], []
    for times in draws:
        counted = count_pairs(impostors, times)
        if counted[-1]:  # else one person was drawn every time
            thresholds.append([cut_at_fmr(impostors, counted, fmr).similarity for fmr, _ in found])
        weights = times[genuine.first]  # a person drawn twice brings all own pairs twice
        if weights.sum():
            shares.append(is_refused @ weights / weights.sum())
    bounds = np.minimum(np.percentile(thresholds, [2.5, 97.5], axis=0), 1.0).T.tolist()
    rates = np.percentile(shares, [2.5, 97.5], axis=0).T.tolist() if shares else None
    return [
        Spreads(Interval(*bound), Interval(*rates[i]) if rates else None)
        for i, bound in enumerate(bounds)
    ]
