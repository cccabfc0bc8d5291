"""Do probabilities come true? Of pairs said to be of one person with 0.7, seven in ten should be.

It does not know how probabilities are fitted: it takes them on a grid of similarities, one row for
each fold of people, and looks only at pairs within a fold, which were not fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.evaluate.bootstrap import LEAST_PEOPLE, Numbers, count_strangers, interval_of
from arcwise.evaluate.calibrate.labeled import PhotoPairs, ScoredPhotos
from arcwise.evaluate.curve import Counts, Doubles, Flags
from arcwise.types import Floats

STEPS = 2000
"""Of the grid, to 1 of similarity: scores are counted in steps of 0.0005, our choice."""
GRID = np.linspace(-1.0, 1.0, 2 * STEPS + 1)
"""(S,) similarities."""
_N_BINS = 10
_CHUNK = 1 << 22  # pairs that are looked at together, to bound the memory


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of the pairs that got a probability in one bin: how many are of one person.

    Attributes:
        above, to: ends of the bin; the first bin holds its lower end too.
        predicted: mean probability given, with the weights of the prior.
        observed: share of pairs of one person, likewise.
        low, high: its 95 % interval over draws of people; None where fewer than ten people are in
            the pairs of the bin.
        n_genuine, n_impostors: pairs of one person and of two.
    """

    above: float
    to: float
    predicted: float
    observed: float
    low: float | None
    high: float | None
    n_genuine: int
    n_impostors: int


@dataclass(frozen=True, eq=False, slots=True)
class _Held:
    """Pairs within a fold: how many are in each bin, what they got, and whose some of them are.

    Attributes:
        counts, sums: (bins,) number of pairs, and sum of their probabilities.
        first, second, bins: of the pairs that are known one by one.
        has_person: (bins, C) who occurs in which bin.
    """

    counts: Counts
    sums: Doubles
    first: Numbers
    second: Numbers
    bins: Counts
    has_person: Flags


def step_of(scores: Floats) -> Numbers:
    """(P,) place in the grid that is nearest to each score."""
    steps: Numbers = np.rint((scores + 1) * STEPS).astype(np.int32)
    return steps


def portions(pairs: PhotoPairs) -> Iterator[slice]:
    """Some millions of pairs at a time."""
    return (slice(start, start + _CHUNK) for start in range(0, len(pairs), _CHUNK))


def measure_reliability(
    scored: ScoredPhotos, folds: Numbers, fits: Doubles, draws: Numbers, *, prior: float
) -> tuple[Reliability, ...]:
    """Ten bins of the probabilities that pairs within a fold got; those without pairs left out.

    Args:
        scored: the pairs; there is one of either kind within a fold.
        folds: (C,) of the people.
        fits: (K, S) probability at each place of the grid, from a fit without the fold.
        draws: (R, C) how often each person is drawn, for the intervals.
        prior: share of pairs that is of one person; all pairs of a kind weigh as much together.
    """
    genuine = _find_held(scored, scored.genuine, folds, fits, first_bin=0)
    # nearly all impostor pairs get next to nothing: where all pairs are there, they are reckoned
    first_bin = 1 if scored.is_complete else 0
    impostors = _find_held(scored, scored.impostors, folds, fits, first_bin=first_bin)
    n_people = draws.shape[1]
    places = genuine.first * _N_BINS + genuine.bins
    n_own = np.bincount(places, minlength=n_people * _N_BINS).reshape(n_people, _N_BINS)
    n_other = np.stack([_count_bins(impostors, times) for times in draws])
    if scored.n_photos is not None:
        parts = [count_strangers(scored.n_photos * (folds == k), draws) for k in range(len(fits))]
        n_other[:, 0] = np.sum(parts, axis=0) - n_other.sum(axis=1)
    drawn = _share(draws @ n_own, n_other, prior)
    observed = _share(genuine.counts[None], impostors.counts[None], prior)[0]
    weights = prior / genuine.counts.sum(), (1 - prior) / impostors.counts.sum()
    given = weights[0] * genuine.sums + weights[1] * impostors.sums
    total = weights[0] * genuine.counts + weights[1] * impostors.counts
    found = []
    for b in range(_N_BINS):
        known = drawn[np.isfinite(drawn[:, b]), b]
        if not total[b]:
            continue
        n_there = np.count_nonzero(genuine.has_person[b] | impostors.has_person[b])
        spread = interval_of(known) if n_there >= LEAST_PEOPLE and len(known) else None
        found.append(
            Reliability(
                above=b / _N_BINS,
                to=(b + 1) / _N_BINS,
                predicted=float(given[b] / total[b]),
                observed=float(observed[b]),
                low=spread.low if spread else None,
                high=spread.high if spread else None,
                n_genuine=int(genuine.counts[b]),
                n_impostors=int(impostors.counts[b]),
            )
        )
    return tuple(found)


def _find_held(
    scored: ScoredPhotos, pairs: PhotoPairs, folds: Numbers, fits: Doubles, *, first_bin: int
) -> _Held:
    """The pairs within a fold; those from `first_bin` on are known one by one."""
    bin_of = np.clip(np.ceil(fits * _N_BINS - 1e-9) - 1, 0, _N_BINS - 1).astype(np.int64)
    counts, sums = np.zeros(_N_BINS, np.int64), np.zeros(_N_BINS)
    has_person = np.zeros((_N_BINS, len(folds)), dtype=bool)
    known: list[tuple[NDArray[np.int32], NDArray[np.int32], Counts]] = []
    for part in portions(pairs):
        first, second = scored.people[pairs.first[part]], scored.people[pairs.second[part]]
        fold = folds[first]
        held = np.flatnonzero(fold == folds[second])
        place = fold[held], step_of(pairs.scores[part][held])
        bins = bin_of[place]
        counts += np.bincount(bins, minlength=_N_BINS)
        sums += np.bincount(bins, weights=fits[place], minlength=_N_BINS)
        has_person[bins, first[held]] = has_person[bins, second[held]] = True
        chosen = bins >= first_bin
        known.append((first[held[chosen]], second[held[chosen]], bins[chosen]))
    first, second, bins = (np.concatenate(column) for column in zip(*known, strict=True))
    return _Held(counts, sums, first, second, bins, has_person)


def _count_bins(pairs: _Held, times: Numbers) -> Counts:
    """(bins,) pairs, each as often as it was drawn."""
    weights = times[pairs.first] * times[pairs.second]
    counts: Counts = np.bincount(pairs.bins, weights=weights, minlength=_N_BINS).astype(np.int64)
    return counts


def _share(n_same: NDArray[np.int64], n_other: NDArray[np.int64], prior: float) -> Doubles:
    """(R, bins) weighted share of pairs of one person in each bin; NaN without pairs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        same = prior * n_same / n_same.sum(axis=1, keepdims=True)
        other = (1 - prior) * n_other / n_other.sum(axis=1, keepdims=True)
        shares: Doubles = same / (same + other)
    return shares
