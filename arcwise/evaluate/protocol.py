"""Accuracy over folds: choose a threshold on all folds but one, count on that one.

Two protocols. `exact` is ours: cosine, every candidate threshold. `insightface` repeats the grid
of the InsightFace evaluation code (verification.py of its arcface_torch), written from its
definition, so that numbers can be compared with published ones. Neither knows photos or vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError
from arcwise.evaluate.curve import Doubles, SortedScores, best_cut, threshold_at_cut

Counts = NDArray[np.int64]

_ACCURACY_GRID = np.arange(0, 4, 0.01)  # InsightFace verification.py, evaluate()
_VAL_GRID = np.arange(0, 4, 0.001)  # InsightFace verification.py, evaluate()
_VAL_FAR = 1e-3  # InsightFace verification.py, evaluate()


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over folds, each with a threshold chosen on the others.

    Attributes:
        mean: of the folds.
        std: population standard deviation over folds (ddof 0), as papers print it.
        std_sample: sample standard deviation over folds (ddof 1).
        low, high: 95 % interval of the mean by Student's t over folds, cut to 0..1.
        accuracies: one per fold.
        similarities: the threshold of each fold, cosine.
    """

    mean: float
    std: float
    std_sample: float
    low: float
    high: float
    accuracies: tuple[float, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ValAtFar:
    """`VAL@FAR` of the InsightFace evaluation code.

    Attributes:
        far_aimed: false accept rate the threshold of each fold aims at on the other folds.
        val: mean over folds of the share of same-person pairs accepted.
        std: population standard deviation of it over folds.
        far: mean over folds of the share of different-person pairs accepted.
        similarities: the threshold of each fold, cosine.
    """

    far_aimed: float
    val: float
    std: float
    far: float
    similarities: tuple[float, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Failures:
    """Pairs without a score, by fold.

    Attributes:
        same: (F,) int64 same-person pairs.
        different: (F,) int64 different-person pairs.
    """

    same: Counts
    different: Counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a protocol gives: the accuracy if it can, and VAL@FAR where the protocol has it."""

    accuracy: FoldAccuracy | None
    val: ValAtFar | None


def run_exact(ordered: SortedScores, failures: Failures) -> Outcome:
    """Per fold, the threshold that is right most often on the other folds, of all there are.

    The rule is similarity >= threshold. Candidates are the middles between neighboring distinct
    scores of the other folds, their lowest score, and the next number above their highest; of
    several best ones the strictest is taken.
    """
    thresholds = np.empty(len(failures.same))
    for fold in range(len(thresholds)):
        others = ordered.folds != fold
        scores, is_same = ordered.scores[others], ordered.is_same[others]
        _check_both_classes(fold, int(np.count_nonzero(is_same)), len(is_same))
        cut, _ = best_cut(scores, is_same)
        thresholds[fold] = threshold_at_cut(scores, cut)
    is_right = (ordered.scores >= thresholds[ordered.folds]) == ordered.is_same
    n_right = np.bincount(ordered.folds[is_right], minlength=len(thresholds))
    n_scored = np.bincount(ordered.folds, minlength=len(thresholds))
    accuracies = n_right / (n_scored + failures.same + failures.different)
    return Outcome(_summarize(accuracies, thresholds), None)


def run_insightface(ordered: SortedScores, failures: Failures) -> Outcome:
    """The grid of InsightFace: 2 - 2 cos, thresholds 0 to 4 by 0.01, rule `<`.

    Per fold the first threshold of the grid with the greatest accuracy on the other folds.
    """
    table = _count_accepted(ordered, _ACCURACY_GRID, len(failures.same))
    n_same, n_different = table.n_same, table.n_different
    others_right = _others(table.same) - _others(table.different) + _others(n_different)[:, None]
    for fold, (same, different) in enumerate(
        zip(_others(n_same), _others(n_different), strict=True)
    ):
        _check_both_classes(fold, int(same), int(same + different))
    best = np.argmax(others_right, axis=1)
    folds = np.arange(len(best))
    n_right = table.same[folds, best] + n_different - table.different[folds, best]
    n_all = n_same + n_different + failures.same + failures.different
    accuracy = _summarize(n_right / n_all, 1.0 - _ACCURACY_GRID[best] / 2.0)
    return Outcome(accuracy, _measure_val(ordered, failures))


PROTOCOLS: dict[str, Callable[[SortedScores, Failures], Outcome]] = {
    "exact": run_exact,
    "insightface": run_insightface,
}
"""Name of a protocol: how it is run."""

RULES: dict[str, str] = {
    "exact": "similarity >= threshold; per fold the threshold most often right on the other "
    "folds, among all middles between neighboring scores, ties to the strictest",
    "insightface": "2 - 2 cos < t; per fold the first t of 0, 0.01 ... 3.99 most often right on "
    "the other folds; thresholds shown as cosine, 1 - t / 2",
}
"""Name of a protocol: its decision rule and its choice of thresholds."""


@dataclass(frozen=True, eq=False, slots=True)
class _Accepted:
    """Pairs with 2 - 2 cos < t, by fold and threshold.

    Attributes:
        same, different: (F, T) int64 accepted pairs of the class.
        n_same, n_different: (F,) int64 all pairs of the class.
    """

    same: Counts
    different: Counts
    n_same: Counts
    n_different: Counts


def _count_accepted(ordered: SortedScores, grid: Doubles, n_folds: int) -> _Accepted:
    squared = np.clip(2.0 - 2.0 * ordered.scores, 0.0, 4.0)
    first = np.searchsorted(grid, squared, side="right")  # index of the first t > 2 - 2 cos
    width = len(grid) + 1
    cell = (ordered.is_same * n_folds + ordered.folds) * width + first
    counts = np.bincount(cell, minlength=2 * n_folds * width).reshape(2, n_folds, width)
    accepted = np.cumsum(counts, axis=2)
    totals = accepted[:, :, -1]
    return _Accepted(accepted[1, :, :-1], accepted[0, :, :-1], totals[1], totals[0])


def _others(counts: Counts) -> Counts:
    """Sum over all folds but each one; the first axis is the fold."""
    result: Counts = counts.sum(axis=0) - counts
    return result


def _measure_val(ordered: SortedScores, failures: Failures) -> ValAtFar:
    """Threshold where the FAR of the other folds, drawn as a line over the grid, reaches 1e-3.

    FAR is flat between some grid points. The crossing lies in the one step where it first reaches
    the target, so the line is taken between the last threshold below the target and the first one
    at or above it. Where the grid never reaches the target the threshold is 0: nothing passes.
    Folds without a pair of a class are left out of that class's mean.
    """
    table = _count_accepted(ordered, _VAL_GRID, len(failures.same))
    far_others = _others(table.different) / _others(table.n_different)[:, None]
    limits = np.zeros(len(far_others))
    for fold, far in enumerate(far_others):
        reached = int(np.argmax(far >= _VAL_FAR))
        if far[reached] >= _VAL_FAR:
            step = slice(reached - 1, reached + 1)  # FAR is 0 at t = 0, so reached is at least 1
            limits[fold] = np.interp(_VAL_FAR, far[step], _VAL_GRID[step])
    passes = np.clip(2.0 - 2.0 * ordered.scores, 0.0, 4.0) < limits[ordered.folds]
    n_same = table.n_same + failures.same
    hits = np.bincount(ordered.folds[passes & ordered.is_same], minlength=len(limits))
    false = np.bincount(ordered.folds[passes & ~ordered.is_same], minlength=len(limits))
    vals = hits[n_same > 0] / n_same[n_same > 0]
    has_different = table.n_different > 0
    fars = false[has_different] / table.n_different[has_different]
    similarities = tuple(float(value) for value in 1.0 - limits / 2.0)
    return ValAtFar(
        _VAL_FAR, float(vals.mean()), float(vals.std()), float(fars.mean()), similarities
    )


def _check_both_classes(fold: int, n_same: int, n: int) -> None:
    if n_same in (0, n):
        kind = "two people" if n_same == 0 else "one person"
        raise DatasetError(
            f"without fold {fold} there are {n} scored pairs, all of {kind}: "
            "no threshold can be chosen",
            hint="use fewer folds, or more pairs",
        )


def _summarize(accuracies: Doubles, thresholds: Doubles) -> FoldAccuracy:
    n = len(accuracies)
    mean, std_sample = float(accuracies.mean()), float(accuracies.std(ddof=1))
    half = student_t_point(n - 1) * std_sample / math.sqrt(n)
    return FoldAccuracy(
        mean=mean,
        std=float(accuracies.std()),
        std_sample=std_sample,
        low=max(0.0, mean - half),
        high=min(1.0, mean + half),
        accuracies=tuple(float(value) for value in accuracies),
        similarities=tuple(float(value) for value in thresholds),
    )


def student_t_point(n_free: int) -> float:
    """The 97.5 % point of Student's t with `n_free` degrees of freedom, by bisection.

    Source: the finite series of the distribution, Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2  # angle whose tangent is t / sqrt(n_free)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _share_within(middle, n_free) < 0.95 else (low, middle)
    return math.tan(low) * math.sqrt(n_free)


def _share_within(angle: float, n_free: int) -> float:
    """Share of Student's t within +- sqrt(n_free) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = n_free % 2 == 1
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for k in range(2 if is_odd else 1, n_free, 2):
        total += term
        term *= k / (k + 1) * cosine * cosine
    return (angle + sine * total) * 2 / math.pi if is_odd else sine * total
