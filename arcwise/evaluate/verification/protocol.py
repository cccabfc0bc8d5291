"""Named protocols: choose a threshold on all folds but one, count right decisions on that one.

`exact` is ours: cosine, every candidate threshold. The others repeat published evaluation code,
written from its definition, so that numbers can be compared with published ones: `insightface`
(verification.py of its arcface_torch), `concat` (yakhyo/face-recognition, after system E's
tutorials), `facex` (lfw_evaluator.py of FaceX-Zoo) and `magface` (eval_1v1.py of MagFace; see
evaluate/verification/centered.py). None of them knows photos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from arcwise.evaluate.curve import (
    Counts,
    Doubles,
    Rising,
    count_below,
    threshold_at,
    threshold_over,
)
from arcwise.evaluate.verification.accuracy import (
    FoldAccuracy,
    FoldScores,
    check_others,
    sum_others,
    summarize_folds,
)
from arcwise.evaluate.verification.centered import PairVectors, run_centered

_ACCURACY_GRID = np.arange(0, 4, 0.01)  # InsightFace verification.py, evaluate()
_VAL_GRID = np.arange(0, 4, 0.001)  # InsightFace verification.py, evaluate()
_VAL_FAR = 1e-3  # InsightFace verification.py, evaluate()
_CONCAT_GRID = np.arange(-1.0, 1.0, 0.005)  # yakhyo/face-recognition evaluate.py, eval()
_FACEX_STEPS = 1000  # FaceX-Zoo lfw_evaluator.py, getThreshold()


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a protocol gives: the accuracy if it can, and VAL@FAR where the protocol has it."""

    accuracy: FoldAccuracy | None
    val: ValAtFar | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to choose thresholds and to decide.

    Attributes:
        name: as people give it.
        rule: its decision rule and its choice of thresholds, in words.
        views: which vectors it is meant for: of the photo ("none"), its sum with that of the
            mirror image ("sum"), both behind each other ("concat"), or the caller's choice.
        run: from scores, at least two folds; None where it needs the vectors.
        run_vectors: from vectors; None where scores will do.
    """

    name: str
    rule: str
    views: Literal["any", "none", "sum", "concat"]
    run: Callable[[FoldScores], Outcome] | None = None
    run_vectors: Callable[[PairVectors], FoldAccuracy] | None = None


def run_exact(scores: FoldScores) -> Outcome:
    """Per fold, the threshold that is right most often on the other folds, of all there are.

    The rule is similarity >= threshold. Candidates are the middles between neighboring distinct
    scores of the other folds, their lowest score, and the next number above their highest; of
    several best ones the strictest is taken. That one lies just below a genuine score or above
    all scores, so only those are counted.
    """
    check_others(scores.n_same, scores.n_different)
    whole = scores.whole
    gain = count_below(whole.impostor, whole.genuine) - np.arange(len(whole.genuine))
    n_same, n_different = sum_others(scores.n_same), sum_others(scores.n_different)
    thresholds = []
    for fold, part in enumerate(scores.folds):
        # Right decisions at each genuine score, less those when all are accepted. A candidate of
        # the fold itself cuts the others at their next score.
        own = count_below(part.impostor, whole.genuine) - count_below(part.genuine, whole.genuine)
        others_gain = gain - own
        last = len(others_gain) - 1 - int(np.argmax(others_gain[::-1]))
        parts = [
            rising
            for i, other in enumerate(scores.folds)
            if i != fold
            for rising in (other.genuine, other.impostor)
        ]
        refuses_all = n_different[fold] >= n_same[fold] + others_gain[last]
        thresholds.append(
            threshold_over(parts) if refuses_all else threshold_at(parts, whole.genuine[last])
        )
    n_right = [
        _count_from(part.genuine, limit) + len(part.impostor) - _count_from(part.impostor, limit)
        for part, limit in zip(scores.folds, thresholds, strict=True)
    ]
    return Outcome(summarize_folds(np.array(n_right) / scores.n_all, np.array(thresholds)))


def run_insightface(scores: FoldScores) -> Outcome:
    """The grid of InsightFace: 2 - 2 cos, thresholds 0 to 4 by 0.01, rule `<`.

    Per fold the first threshold of the grid with the greatest accuracy on the other folds.
    """
    check_others(scores.n_same, scores.n_different)
    accepted = _count_squared(scores, _ACCURACY_GRID)
    accuracy = _choose_on_grid(scores, accepted, 1.0 - _ACCURACY_GRID / 2.0)
    return Outcome(accuracy, _measure_val(scores))


def run_concat(scores: FoldScores) -> Outcome:
    """Cosine thresholds from -1 by 0.005, rule `>=`; per fold the first best on the others."""
    check_others(scores.n_same, scores.n_different)
    same = [_count_reaching(part.genuine, _CONCAT_GRID) for part in scores.folds]
    different = [_count_reaching(part.impostor, _CONCAT_GRID) for part in scores.folds]
    accepted = _Accepted(np.array(same), np.array(different))
    return Outcome(_choose_on_grid(scores, accepted, _CONCAT_GRID))


def run_facex(scores: FoldScores) -> Outcome:
    """Per fold the first of 1,000 thresholds with the greatest TPR - FPR on the other folds.

    They lie evenly above the least score of the other folds, up to their greatest. The rule is
    `>`; a score equal to the threshold is wrong in either class, as published.
    """
    check_others(scores.n_same, scores.n_different)
    n_same, n_different = sum_others(scores.n_same), sum_others(scores.n_different)
    accuracies, thresholds = [], []
    for fold, part in enumerate(scores.folds):
        others = [other for i, other in enumerate(scores.folds) if i != fold]
        found = [r for other in others for r in (other.genuine, other.impostor) if len(r)]
        low, high = float(min(r[0] for r in found)), float(max(r[-1] for r in found))
        steps = np.arange(1, _FACEX_STEPS + 1, dtype=np.float64)
        grid = low + np.float64((high - low) / _FACEX_STEPS) * steps
        hits = np.sum([_count_over(other.genuine, grid) for other in others], axis=0)
        false = np.sum([_count_over(other.impostor, grid) for other in others], axis=0)
        limit = float(grid[np.argmax(hits / n_same[fold] - false / n_different[fold])])
        n_below = np.searchsorted(part.impostor, limit, side="left")
        n_over = len(part.genuine) - np.searchsorted(part.genuine, limit, side="right")
        accuracies.append((n_over + n_below) / scores.n_all[fold])
        thresholds.append(limit)
    return Outcome(summarize_folds(np.array(accuracies), np.array(thresholds)))


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "exact",
            "similarity >= threshold; per fold the threshold most often right on the other "
            "folds, among all middles between neighboring scores, ties to the strictest",
            "any",
            run=run_exact,
        ),
        Protocol(
            "insightface",
            "2 - 2 cos < t; per fold the first t of 0, 0.01 ... 3.99 most often right on the "
            "other folds; thresholds shown as cosine, 1 - t / 2",
            "sum",
            run=run_insightface,
        ),
        Protocol(
            "concat",
            "similarity >= threshold; per fold the first threshold of -1, -0.995 ... 0.995 most "
            "often right on the other folds; meant for both views behind each other",
            "concat",
            run=run_concat,
        ),
        Protocol(
            "facex",
            "similarity > threshold; per fold the first of 1,000 even steps between the least "
            "and the greatest score of the other folds with their greatest TPR - FPR; no mirror",
            "none",
            run=run_facex,
        ),
        Protocol(
            "magface",
            "arccos(cos) / pi < t after the mean vector of the other folds is taken off; per fold "
            "the first t of 0, 0.01 ... 3.99 most often right on the other folds; thresholds of "
            "folds are cosines of such centered vectors, cos(pi t); all numbers below but the "
            "accuracy over folds are of the plain cosines",
            "sum",
            run_vectors=run_centered,
        ),
    )
}
"""Name of a protocol: how it is run."""


@dataclass(frozen=True, eq=False, slots=True)
class _Accepted:
    """Pairs that pass, by fold and threshold: (F, T) int64 of each class."""

    same: Counts
    different: Counts


def _count_from(rising: Rising, limit: float) -> int:
    """How many scores reach a threshold that `threshold_at` gave, so of the scores' precision."""
    return len(rising) - int(np.searchsorted(rising, rising.dtype.type(limit), side="left"))


def _count_reaching(rising: Rising, grid: Doubles) -> Counts:
    return len(rising) - np.searchsorted(rising, grid, side="left")


def _count_over(rising: Rising, grid: Doubles) -> Counts:
    return len(rising) - np.searchsorted(rising, grid, side="right")


def _square(rising: Rising) -> Doubles:
    """2 - 2 cos of rising cosines, rising."""
    squared: Doubles = np.clip(2.0 - 2.0 * rising[::-1].astype(np.float64), 0.0, 4.0)
    return squared


def _count_squared(scores: FoldScores, grid: Doubles) -> _Accepted:
    same = [np.searchsorted(_square(part.genuine), grid) for part in scores.folds]
    different = [np.searchsorted(_square(part.impostor), grid) for part in scores.folds]
    return _Accepted(np.array(same), np.array(different))


def _choose_on_grid(scores: FoldScores, accepted: _Accepted, similarities: Doubles) -> FoldAccuracy:
    """Per fold, the first threshold with the most right decisions on the other folds."""
    n_right = accepted.same - accepted.different + scores.n_different[:, None]
    best = np.argmax(sum_others(n_right), axis=1)
    chosen = n_right[np.arange(len(best)), best]
    return summarize_folds(chosen / scores.n_all, similarities[best])


def _measure_val(scores: FoldScores) -> ValAtFar:
    """Threshold where the FAR of the other folds, drawn as a line over the grid, reaches 1e-3.

    FAR is flat between some grid points. The crossing lies in the one step where it first reaches
    the target, so the line is taken between the last threshold below the target and the first one
    at or above it. Where the grid never reaches the target the threshold is 0: nothing passes.
    Folds without a pair of a class are left out of that class's mean.
    """
    accepted = _count_squared(scores, _VAL_GRID)
    far_others = sum_others(accepted.different) / sum_others(scores.n_different)[:, None]
    limits = np.zeros(len(far_others))
    for fold, far in enumerate(far_others):
        reached = int(np.argmax(far >= _VAL_FAR))
        if far[reached] >= _VAL_FAR:
            step = slice(reached - 1, reached + 1)  # FAR is 0 at t = 0, so reached is at least 1
            limits[fold] = np.interp(_VAL_FAR, far[step], _VAL_GRID[step])
    pairs = list(zip(scores.folds, limits, strict=True))
    hits = np.array([np.searchsorted(_square(part.genuine), limit) for part, limit in pairs])
    false = np.array([np.searchsorted(_square(part.impostor), limit) for part, limit in pairs])
    n_same = scores.n_same + scores.failures.same
    vals = hits[n_same > 0] / n_same[n_same > 0]
    has_different = scores.n_different > 0
    fars = false[has_different] / scores.n_different[has_different]
    similarities = tuple((1.0 - limits / 2.0).tolist())
    return ValAtFar(
        _VAL_FAR, float(vals.mean()), float(vals.std()), float(fars.mean()), similarities
    )
