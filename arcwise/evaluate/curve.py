"""Error rates of scored pairs over every threshold: one sort, then counting.

It does not know folds, protocols or photos. A threshold accepts a pair when similarity >=
threshold. Definitions of FAR, TAR, FNMR and EER after ISO/IEC 19795-1; AUC is the Mann-Whitney
statistic; d' after Daugman (2000); the interval of a share is Wilson's score interval (1927).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class TarAtFar:
    """Share of same-person pairs accepted while at most a share `far` of the others is.

    Attributes:
        far: the false accept rate aimed at.
        tar: true accept rate, or None where the impostor pairs are too few to tell.
        low, high: Wilson 95 % interval of `tar`, or None.
        similarity: the threshold, cosine, or None.
        far_found: share of impostor pairs really accepted at it, at most `far`; or None.
        text: the result in words.
    """

    far: float
    tar: float | None
    low: float | None
    high: float | None
    similarity: float | None
    far_found: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate and the threshold, cosine, at which it was reached."""

    rate: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation (population), least and greatest of `n` similarities."""

    n: int
    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, eq=False, slots=True)
class SortedScores:
    """Similarities in rising order, and what is known of each.

    Attributes:
        scores: (P,) float64, rising.
        is_same: (P,) bool.
        folds: (P,) int64, from 0.
        genuine: scores of the same-person pairs, rising.
        impostor: scores of the different-person pairs, rising.
    """

    scores: Doubles
    is_same: Flags
    folds: NDArray[np.int64]
    genuine: Doubles
    impostor: Doubles

    @classmethod
    def sort(cls, scores: Doubles, is_same: Flags, folds: NDArray[np.int64]) -> SortedScores:
        """Sort once; everything else here counts along this order."""
        order = np.argsort(scores, kind="stable")
        rising, flags = scores[order], is_same[order]
        return cls(rising, flags, folds[order], rising[flags], rising[~flags])


def threshold_between(below: float, above: float) -> float:
    """The middle of two scores, always a number that accepts `above` and refuses `below`."""
    middle = 0.5 * (below + above)
    return middle if below < middle <= above else above


def threshold_at_cut(scores: Doubles, cut: int) -> float:
    """The threshold that refuses exactly the first `cut` of some rising scores.

    It is the middle between neighboring scores; the lowest score where all are accepted, the next
    number above the highest where all are refused.
    """
    if cut == 0:
        return float(scores[0])
    if cut == len(scores):
        return float(np.nextafter(scores[-1], np.inf))
    return threshold_between(float(scores[cut - 1]), float(scores[cut]))


def best_cut(scores: Doubles, is_same: Flags) -> tuple[int, int]:
    """Where to cut rising scores for the greatest number of right decisions.

    Equal scores are never cut apart. Of several best cuts the highest is taken: the strictest
    threshold, as a false accept is the dearer mistake.

    Returns:
        The number of refused pairs, and the number of right decisions.
    """
    right = np.empty(len(scores) + 1, dtype=np.int64)
    right[0] = 0
    np.cumsum(np.where(is_same, np.int64(-1), np.int64(1)), out=right[1:])
    tied = scores[1:] == scores[:-1]
    right[1:-1][tied] = -len(scores) - 1
    cut = len(right) - 1 - int(np.argmax(right[::-1]))
    return cut, int(right[cut]) + int(np.count_nonzero(is_same))


def best_accuracy(ordered: SortedScores, *, n_failed: int) -> Rate:
    """The highest accuracy that any threshold has over all pairs; optimistic.

    Args:
        ordered: the scored pairs.
        n_failed: pairs without a score, wrong at every threshold.
    """
    cut, n_right = best_cut(ordered.scores, ordered.is_same)
    accuracy = n_right / (len(ordered.scores) + n_failed)
    return Rate(accuracy, threshold_at_cut(ordered.scores, cut))


def tar_at_far(far: float, ordered: SortedScores, *, n_failed: int) -> TarAtFar:
    """TAR at the lowest threshold that lets at most floor(far * impostors) impostors pass.

    Impostors tied with the first one that must be refused are refused with it. The threshold is
    the middle between that score and the next observed one.

    Args:
        far: the false accept rate aimed at.
        ordered: the scored pairs.
        n_failed: same-person pairs without a score; they are never accepted.
    """
    genuine, impostor = ordered.genuine, ordered.impostor
    budget = math.floor(far * len(impostor) * (1 + 1e-12))  # 0.29 * 100 falls short of 29
    if budget < 1:
        need = math.ceil(1 / far * (1 - 1e-12))
        text = f"n/a: needs 1/FAR = {need:,} impostors, has {len(impostor):,}"
        return TarAtFar(far, None, None, None, None, None, text)
    refused = impostor[-1 - budget]
    cut = int(np.searchsorted(ordered.scores, refused, side="right"))
    n_accepted = len(genuine) - int(np.searchsorted(genuine, refused, side="right"))
    n_false = len(impostor) - int(np.searchsorted(impostor, refused, side="right"))
    n_genuine = len(genuine) + n_failed
    low, high = wilson_interval(n_accepted, n_genuine)
    tar = n_accepted / n_genuine
    text = f"{tar:.2%} [{low:.2%}, {high:.2%}], {n_accepted:,} of {n_genuine:,} pairs"
    similarity = threshold_at_cut(ordered.scores, cut)
    return TarAtFar(far, tar, low, high, similarity, n_false / len(impostor), text)


def wilson_interval(n_hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of the share n_hits / n; n is at least 1."""
    share, z2 = n_hits / n, _Z95 * _Z95
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


def equal_error_rate(ordered: SortedScores, *, n_failed: int) -> Rate:
    """Where the false accept rate and the false non-match rate cross.

    Both rates are taken at every cut between distinct scores, with the threshold of that cut; the
    crossing is interpolated linearly between the two cuts around it.

    Args:
        ordered: the scored pairs.
        n_failed: same-person pairs without a score; they are refused at every threshold.
    """
    scores = ordered.scores
    is_cut = np.concatenate(([True], scores[1:] != scores[:-1], [True]))
    cuts = np.flatnonzero(is_cut)
    n_refused_same = np.concatenate(([0], np.cumsum(ordered.is_same)))[cuts]
    n_same = int(n_refused_same[-1])
    n_different = len(scores) - n_same
    fnmr = (n_refused_same + n_failed) / (n_same + n_failed)
    far = (n_different - (cuts - n_refused_same)) / n_different
    gap = fnmr - far  # rises from below 0 to 1, so there is a cut on either side of the crossing
    after = int(np.searchsorted(gap, 0.0))
    before = after - 1
    weight = float(gap[before] / (gap[before] - gap[after]))
    low, high = (threshold_at_cut(scores, int(cuts[i])) for i in (before, after))
    rate = float(fnmr[before] + weight * (fnmr[after] - fnmr[before]))
    return Rate(rate, low + weight * (high - low))


def area_under_curve(ordered: SortedScores, *, n_failed: int) -> float:
    """Chance that a same-person pair scores above a different one, ties counting half; exact.

    Args:
        ordered: the scored pairs.
        n_failed: same-person pairs without a score; they count as below every other pair.
    """
    genuine, impostor = ordered.genuine, ordered.impostor
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    wins_twice = int(below.sum(dtype=np.int64)) + int(not_above.sum(dtype=np.int64))
    return wins_twice / (2 * (len(genuine) + n_failed) * len(impostor))


def describe_spread(scores: Doubles) -> Spread:
    """Mean, standard deviation, least and greatest of some scores."""
    return Spread(
        len(scores),
        float(scores.mean()),
        float(scores.std()),
        float(scores.min()),
        float(scores.max()),
    )


def decidability(genuine: Spread, impostor: Spread) -> float | None:
    """d': how far the two means are apart, in units of their common standard deviation.

    Returns:
        The value, or None where neither class varies.
    """
    common = math.sqrt(0.5 * (genuine.std**2 + impostor.std**2))
    return (genuine.mean - impostor.mean) / common if common > 0 else None
