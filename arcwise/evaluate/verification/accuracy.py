"""Scored pairs by fold, and the accuracy over folds with its interval.

It does not know photos, vectors or how a threshold is chosen; evaluate/verification/protocol.py
does. Each class of each fold is one rising list, so that what all other folds count is the whole
less the fold. Source: Student's t as in Abramowitz and Stegun 26.7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arcwise.errors import DatasetError
from arcwise.evaluate.curve import Counts, Doubles, Flags, Rising, Scores
from arcwise.types import Pair

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over folds, each with a threshold chosen on the others.

    Attributes:
        mean: of the folds.
        std: population standard deviation over folds (ddof 0), as most papers print it.
        std_sample: sample standard deviation over folds (ddof 1).
        std_error: std_sample / sqrt(folds), what FaceX-Zoo prints.
        low, high: 95 % interval of the mean by Student's t over folds, cut to 0..1.
        accuracies: one per fold.
        similarities: the threshold of each fold, cosine.
    """

    mean: float
    std: float
    std_sample: float
    std_error: float
    low: float
    high: float
    accuracies: tuple[float, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Failures:
    """Pairs without a score that count as wrong, by fold.

    Attributes:
        same: (F,) int64 same-person pairs.
        different: (F,) int64 different-person pairs.
    """

    same: Counts
    different: Counts

    @classmethod
    def count(cls, pairs: Sequence[Pair], numbers: Sequence[int]) -> Failures:
        """Count pairs whose folds are among `numbers`."""
        place = {number: i for i, number in enumerate(numbers)}
        counts = np.zeros((2, len(numbers)), dtype=np.int64)
        for pair in pairs:
            counts[int(pair.is_same), place[pair.fold]] += 1
        return cls(same=counts[1], different=counts[0])


@dataclass(frozen=True, eq=False, slots=True)
class FoldScores:
    """Similarities by fold and class.

    Attributes:
        folds: each fold; a class of a fold may be empty, where all its pairs failed.
        whole: all folds together.
        failures: pairs without a score that count as wrong.
    """

    folds: tuple[Scores, ...]
    whole: Scores
    failures: Failures

    @classmethod
    def split(
        cls, scores: Rising, is_same: Flags, folds: Counts, failed: Sequence[Pair] = ()
    ) -> FoldScores:
        """Sort each class of each fold.

        Args:
            scores: (P,) in any order, at least one.
            is_same: (P,) bool.
            folds: (P,) whole numbers from 0; those that occur are the folds.
            failed: pairs without a score that count as wrong.
        """
        numbers = list_folds(folds, failed)
        parts = []
        for number in numbers:
            chosen = folds == number
            genuine, impostor = scores[chosen & is_same], scores[chosen & ~is_same]
            genuine.sort()
            impostor.sort()
            parts.append(Scores(genuine, impostor))
        genuine = np.concatenate([part.genuine for part in parts])
        impostor = np.concatenate([part.impostor for part in parts])
        genuine.sort()
        impostor.sort()
        return cls(tuple(parts), Scores(genuine, impostor), Failures.count(failed, numbers))

    @property
    def n_same(self) -> Counts:
        """(F,) scored same-person pairs."""
        return np.array([len(part.genuine) for part in self.folds])

    @property
    def n_different(self) -> Counts:
        """(F,) scored different-person pairs."""
        return np.array([len(part.impostor) for part in self.folds])

    @property
    def n_all(self) -> Counts:
        """(F,) pairs, failed ones among them."""
        return self.n_same + self.n_different + self.failures.same + self.failures.different


def check_others(n_same: Counts, n_different: Counts) -> None:
    """Refuse a fold for which no threshold can be chosen.

    Args:
        n_same: (F,) scored same-person pairs of each fold.
        n_different: (F,) scored different-person pairs.

    Raises:
        DatasetError: all other folds together have scores of one class only.
    """
    n_same, n_different = sum_others(n_same), sum_others(n_different)
    for fold in np.flatnonzero((n_same == 0) | (n_different == 0)):
        kind = "two people" if n_same[fold] == 0 else "one person"
        raise DatasetError(
            f"without fold {fold} there are {n_same[fold] + n_different[fold]} scored pairs, "
            f"all of {kind}: no threshold can be chosen",
            hint="use fewer folds, or more pairs",
        )


def list_folds(folds: Counts, failed: Sequence[Pair] = ()) -> list[int]:
    """The numbers that occur, rising; some pairs are looked at together to bound the memory."""
    parts = [folds[start : start + _CHUNK] for start in range(0, len(folds), _CHUNK)]
    scored = {number for part in parts for number in np.unique(part).tolist()}
    return sorted(scored | {pair.fold for pair in failed})


def sum_others(counts: Counts) -> Counts:
    """Sum over all folds but each one; the first axis is the fold."""
    result: Counts = counts.sum(axis=0) - counts
    return result


def summarize_folds(accuracies: Doubles, thresholds: Doubles) -> FoldAccuracy:
    """Mean, deviations and interval of at least two folds.

    Args:
        accuracies: (F,) share of right decisions.
        thresholds: (F,) cosine.
    """
    n = len(accuracies)
    mean, std_sample = float(accuracies.mean()), float(accuracies.std(ddof=1))
    half = student_t_point(n - 1) * std_sample / math.sqrt(n)
    return FoldAccuracy(
        mean=mean,
        std=float(accuracies.std()),
        std_sample=std_sample,
        std_error=std_sample / math.sqrt(n),
        low=max(0.0, mean - half),
        high=min(1.0, mean + half),
        accuracies=tuple(accuracies.tolist()),
        similarities=tuple(thresholds.tolist()),
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
