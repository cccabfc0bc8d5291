"""The protocol `magface`: vectors less their mean over the other folds, compared by their angle.

It does not know photos. Source: eval_recognition/eval_1v1.py of MagFace (subtract_mean), written
from its definition: the mean is over both vectors of every pair, so that a photo in three pairs
counts three times; vectors are taken as they are, not normalized, so that a long one weighs more
in the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arcwise.evaluate.curve import Counts, Doubles, Flags
from arcwise.evaluate.verification.accuracy import (
    Failures,
    FoldAccuracy,
    check_others,
    summarize_folds,
)

_GRID = np.arange(0, 4, 0.01)  # MagFace eval_1v1.py, perform_1v1_eval(); angle / pi is at most 1
_LEAST_SHARE = 1e-12  # of a squared length; what is left of a vector below it is rounding


@dataclass(frozen=True, eq=False, slots=True)
class PairVectors:
    """Scored pairs, and the vectors they are of.

    Attributes:
        units: (N, D) float64 vectors of norm 1.
        lengths: (N,) float64 that they had before.
        first, second: (P,) rows of `units`.
        cosines: (P,) float64 of the two.
        is_same: (P,) bool.
        folds: (P,) numbers of folds, from 0 without gaps.
        failures: pairs without a score that count as wrong, by fold.
    """

    units: Doubles
    lengths: Doubles
    first: Counts
    second: Counts
    cosines: Doubles
    is_same: Flags
    folds: Counts
    failures: Failures


def run_centered(pairs: PairVectors) -> FoldAccuracy:
    """Angle / pi of centered vectors, thresholds 0 to 4 by 0.01, rule `<`.

    Per fold the mean of the vectors of the other folds' pairs is taken off, and the first
    threshold of the grid with the greatest accuracy on the other folds is used. A vector that
    equals the mean has no direction; its pairs are never accepted.

    Raises:
        DatasetError: all other folds of one have scores of one class only.
    """
    n_folds = len(pairs.failures.same)
    n_same = np.bincount(pairs.folds[pairs.is_same], minlength=n_folds)
    n_different = np.bincount(pairs.folds[~pairs.is_same], minlength=n_folds)
    check_others(n_same, n_different)
    means = _measure_means(pairs, n_folds)
    signs = np.where(pairs.is_same, 1, -1)
    n_right, thresholds = [], []
    for fold, mean in enumerate(means):
        first = np.searchsorted(_GRID, _measure_angles(pairs, mean), side="right")
        is_own = pairs.folds == fold
        best = int(np.argmax(_count_gain(first[~is_own], signs[~is_own])))
        gain = int(_count_gain(first[is_own], signs[is_own])[best])
        n_right.append(gain + int(n_different[fold]))
        thresholds.append(math.cos(math.pi * min(_GRID[best], 1.0)))
    n_all = n_same + n_different + pairs.failures.same + pairs.failures.different
    return summarize_folds(np.array(n_right) / n_all, np.array(thresholds))


def _measure_means(pairs: PairVectors, n_folds: int) -> Doubles:
    """(F, D) mean of both vectors of every pair of the other folds."""
    n_photos = len(pairs.units)
    times = np.zeros((n_folds, n_photos))
    for ends in (pairs.first, pairs.second):
        cells = np.bincount(pairs.folds * n_photos + ends, minlength=times.size)
        times += cells.reshape(times.shape)
    weights = times.sum(axis=0) - times
    means: Doubles = (weights * pairs.lengths) @ pairs.units / weights.sum(axis=1)[:, None]
    return means


def _measure_angles(pairs: PairVectors, mean: Doubles) -> Doubles:
    """(P,) angle / pi of the vectors less the mean; infinite where one has no direction."""
    along = (pairs.units @ mean) * pairs.lengths
    own = mean @ mean
    squares = pairs.lengths**2 - 2 * along + own
    squares[squares < _LEAST_SHARE * (pairs.lengths**2 + own)] = 0.0
    first, second = pairs.first, pairs.second
    dots = pairs.cosines * (pairs.lengths[first] * pairs.lengths[second])
    dots += own - along[first] - along[second]
    lengths = np.sqrt(squares[first] * squares[second])
    cosines = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    angles: Doubles = np.arccos(np.clip(cosines, -1.0, 1.0)) / math.pi
    angles[lengths == 0] = math.inf
    return angles


def _count_gain(first: Counts, signs: Counts) -> Counts:
    """(T,) accepted same-person pairs less accepted others, for each threshold."""
    gain = np.bincount(first, weights=signs, minlength=len(_GRID) + 1)
    return np.cumsum(gain[:-1]).astype(np.int64)
