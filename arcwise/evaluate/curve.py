"""Error rates of scored pairs over every threshold, counted in two rising lists of scores.

It does not know folds, protocols or photos. A threshold accepts a pair when similarity >=
threshold. The two classes are sorted on their own and never merged, in float32 where they are
given so: 100 million scores need little more than their own 400 MB. Definitions of FAR, TAR, FNMR
and EER after ISO/IEC 19795-1; AUC is the Mann-Whitney statistic; d' after Daugman (2000); the
interval of a share is Wilson's score interval (1927).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.errors import DatasetError, InputError

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Rising = NDArray[np.floating[Any]]
"""Scores in rising order, float32 or float64."""

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution
_CHUNK = 1 << 20  # scores that are looked at together, to bound the memory


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

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}, {self.min:.4f} to {self.max:.4f}"


class TwoClasses(Protocol):
    """Anything with the rising scores of both classes, of one dtype, both not empty."""

    @property
    def genuine(self) -> Rising:
        """(G,) of the same-person pairs."""

    @property
    def impostor(self) -> Rising:
        """(I,) of the different-person pairs."""


@dataclass(frozen=True, eq=False, slots=True)
class Scores:
    """Similarities of both classes, each sorted once.

    Attributes:
        genuine: (G,) of the same-person pairs, rising.
        impostor: (I,) of the different-person pairs, rising; of the same dtype.
    """

    genuine: Rising
    impostor: Rising

    @classmethod
    def sort(cls, genuine: ArrayLike, impostor: ArrayLike) -> Scores:
        """Check and sort; float32 and float16 become float32, everything else float64.

        Args:
            genuine: (G,) similarities of same-person pairs, in any order.
            impostor: (I,) similarities of different-person pairs.

        Raises:
            InputError: a list that is not (N,), or a score that is no finite number.
            DatasetError: a class without scores.
        """
        parts = [_to_floats("genuine", genuine), _to_floats("impostor", impostor)]
        kind = np.result_type(*parts)
        return cls(*(np.sort(part.astype(kind, copy=False)) for part in parts))


def threshold_between(below: float, above: float) -> float:
    """The middle of two scores, always a number that accepts `above` and refuses `below`."""
    middle = 0.5 * (below + above)  # of two float32 a float32, so that it decides among them
    return float(middle if below < middle <= above else above)


def threshold_at_cut(scores: Rising, cut: int) -> float:
    """The threshold that refuses exactly the first `cut` of some rising scores.

    It is the middle between neighboring scores; the lowest score where all are accepted, the next
    number above the highest where all are refused.
    """
    if cut == 0:
        return float(scores[0])
    if cut == len(scores):
        return float(np.nextafter(scores[-1], np.inf))
    return threshold_between(scores[cut - 1], scores[cut])


def threshold_at(
    parts: Sequence[Rising], value: float, *, side: Literal["left", "right"] = "left"
) -> float:
    """The threshold that refuses all scores below a value, as `threshold_at_cut` places it.

    Args:
        parts: rising scores of one dtype, not all of them empty.
        value: of that dtype.
        side: "right" refuses the scores equal to the value too.
    """
    cuts = [int(np.searchsorted(part, value, side=side)) for part in parts]
    below = [part[cut - 1] for part, cut in zip(parts, cuts, strict=True) if cut]
    above = [part[cut] for part, cut in zip(parts, cuts, strict=True) if cut < len(part)]
    if not below:
        return float(min(above))
    return threshold_between(max(below), min(above)) if above else threshold_over(parts)


def threshold_over(parts: Sequence[Rising]) -> float:
    """The next number above the highest of all scores: it refuses every pair."""
    return float(np.nextafter(max(part[-1] for part in parts if len(part)), np.inf))


def count_allowed(rate: float, n: int) -> int:
    """The most of `n` that are at most a share `rate` of them.

    Below a rate of 1 it is never all of them, however near to 1 the rate is.
    """
    if rate >= 1:
        return n
    return max(0, min(math.floor(rate * n * (1 + 1e-12)), n - 1))  # 0.29 * 100 falls short of 29


def count_needed(rate: float, least: int = 1) -> int:
    """How many there must be so that `count_allowed` is at least `least`; `rate` is above 0."""
    n = math.ceil(least / rate * (1 - 1e-12))
    return max(n, least + 1) if rate < 1 else n


def count_below(rising: Rising, values: Rising) -> Counts:
    """(V,) how many of some rising scores are below each of V rising values."""
    if len(rising) >= len(values):
        return np.searchsorted(rising, values)
    places = np.searchsorted(values, rising, side="right")
    return np.cumsum(np.bincount(places, minlength=len(values) + 1)[:-1])


def best_accuracy(scores: TwoClasses, *, n_failed: int = 0) -> Rate:
    """The highest accuracy that any threshold has over all pairs; optimistic.

    Of several best thresholds the strictest is taken, as a false accept is the dearer mistake: it
    lies just below a genuine score, or above all.

    Args:
        scores: of both classes.
        n_failed: pairs without a score, wrong at every threshold.
    """
    genuine, impostor = scores.genuine, scores.impostor
    n_right = count_below(impostor, genuine)  # and those of one person that are accepted:
    n_right += np.arange(len(genuine), 0, -1)  # too few for the second of equals, never the best
    last = len(genuine) - 1 - int(np.argmax(n_right[::-1]))
    n_all = len(genuine) + len(impostor) + n_failed
    if len(impostor) >= n_right[last]:
        return Rate(len(impostor) / n_all, threshold_over((genuine, impostor)))
    return Rate(int(n_right[last]) / n_all, threshold_at((genuine, impostor), genuine[last]))


def tar_at_far(far: float, scores: TwoClasses, *, n_failed: int = 0) -> TarAtFar:
    """TAR at the lowest threshold that lets at most floor(far * impostors) impostors pass.

    Impostors tied with the first one that must be refused are refused with it. The threshold is
    the middle between that score and the next observed one.

    Args:
        far: the false accept rate aimed at, above 0 and below 1.
        scores: of both classes.
        n_failed: same-person pairs without a score; they are never accepted.
    """
    genuine, impostor = scores.genuine, scores.impostor
    budget = count_allowed(far, len(impostor))
    if budget < 1:
        need = count_needed(far)
        text = f"n/a: needs 1/FAR = {need:,} impostors, has {len(impostor):,}"
        return TarAtFar(far, None, None, None, None, None, text)
    refused = impostor[-1 - budget]
    n_accepted = len(genuine) - int(np.searchsorted(genuine, refused, side="right"))
    n_false = len(impostor) - int(np.searchsorted(impostor, refused, side="right"))
    n_genuine = len(genuine) + n_failed
    low, high = wilson_interval(n_accepted, n_genuine)
    tar = n_accepted / n_genuine
    text = f"{tar:.2%} [{low:.2%}, {high:.2%}], {n_accepted:,} of {n_genuine:,} pairs"
    similarity = threshold_at((genuine, impostor), refused, side="right")
    return TarAtFar(far, tar, low, high, similarity, n_false / len(impostor), text)


def wilson_interval(n_hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of the share n_hits / n; n is at least 1."""
    share, z2 = n_hits / n, _Z95 * _Z95
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


def equal_error_rate(scores: TwoClasses, *, n_failed: int = 0) -> Rate:
    """Where the false accept rate and the false non-match rate cross.

    Both rates are taken at every cut between distinct scores, with the threshold of that cut; the
    crossing is interpolated linearly between the two cuts around it, found by bisection.

    Args:
        scores: of both classes.
        n_failed: same-person pairs without a score; they are refused at every threshold.
    """
    parts = scores.genuine, scores.impostor

    def rates_at(value: float, side: Literal["left", "right"]) -> tuple[float, float]:
        n_refused, n_right = (int(np.searchsorted(part, value, side=side)) for part in parts)
        fnmr = (n_refused + n_failed) / (len(parts[0]) + n_failed)
        return fnmr, (len(parts[1]) - n_right) / len(parts[1])

    def has_crossed(value: float) -> bool:
        fnmr, far = rates_at(value, "right")
        return fnmr >= far

    places = [bisect_left(part, True, key=has_crossed) for part in parts]
    value = min(part[i] for part, i in zip(parts, places, strict=True) if i < len(part))
    (fnmr_low, far_low), (fnmr_high, far_high) = rates_at(value, "left"), rates_at(value, "right")
    before, after = fnmr_low - far_low, fnmr_high - far_high  # below 0, and 0 or above
    weight = before / (before - after)
    low, high = threshold_at(parts, value), threshold_at(parts, value, side="right")
    return Rate(fnmr_low + weight * (fnmr_high - fnmr_low), low + weight * (high - low))


def area_under_curve(scores: TwoClasses, *, n_failed: int = 0) -> float:
    """Chance that a same-person pair scores above a different one, ties counting half; exact.

    Args:
        scores: of both classes.
        n_failed: same-person pairs without a score; they count as below every other pair.
    """
    genuine, impostor = scores.genuine, scores.impostor
    n_all = 2 * (len(genuine) + n_failed) * len(impostor)
    if len(genuine) <= len(impostor):
        return _sum_places(impostor, genuine) / n_all
    return (2 * len(genuine) * len(impostor) - _sum_places(genuine, impostor)) / n_all


def describe_spread(scores: Rising) -> Spread:
    """Mean, standard deviation, least and greatest of some scores, at least one."""
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return Spread(len(scores), low, 0.0, low, high)
    mean = float(scores.mean(dtype=np.float64))
    total = sum(
        float(np.square(scores[start : start + _CHUNK] - np.float64(mean)).sum())
        for start in range(0, len(scores), _CHUNK)
    )
    return Spread(len(scores), mean, math.sqrt(total / len(scores)), low, high)


def decidability(genuine: Spread, impostor: Spread) -> float | None:
    """d': how far the two means are apart, in units of their common standard deviation.

    Returns:
        The value, or None where neither class varies.
    """
    common = math.sqrt(0.5 * (genuine.std**2 + impostor.std**2))
    return (genuine.mean - impostor.mean) / common if common > 0 else None


def _sum_places(rising: Rising, values: Rising) -> int:
    """Over all values, twice the number of rising scores below, and once of those equal."""
    total = 0
    for start in range(0, len(values), _CHUNK):
        part = values[start : start + _CHUNK]
        total += int(np.searchsorted(rising, part, side="left").sum(dtype=np.int64))
        total += int(np.searchsorted(rising, part, side="right").sum(dtype=np.int64))
    return total


def _to_floats(name: str, scores: ArrayLike) -> Rising:
    try:
        array = np.asarray(scores)
        kind = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
        array = array.astype(kind, copy=False)
    except (TypeError, ValueError) as exc:
        raise InputError(f"the {name} scores are not numbers: {exc}") from exc
    if array.ndim != 1:
        raise InputError(f"the {name} scores must be one list, got shape {array.shape}")
    if not len(array):
        raise DatasetError(
            f"there are no {name} scores",
            hint="verification needs pairs of one person and of two people",
        )
    if not np.isfinite([array.min(), array.max()]).all():
        at = int(np.argmin(np.isfinite(array)))
        raise InputError(f"{name} score {at} is {array[at]}, no finite number")
    return array
