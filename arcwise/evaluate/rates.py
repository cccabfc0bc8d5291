"""Every number that the scores of two classes tell, and the points of their curves.

It does not know folds, protocols, photos or people. Source of the measures: evaluate/curve.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from arcwise.errors import InputError
from arcwise.evaluate.curve import (
    FARS,
    Counts,
    Doubles,
    Rate,
    Rising,
    Scores,
    Spread,
    TarAtFar,
    area_under_curve,
    best_accuracy,
    decidability,
    describe_spread,
    equal_error_rate,
    tar_at_far,
)
from arcwise.evaluate.row import Row, to_plain


@dataclass(frozen=True, slots=True)
class CurveReport:
    """What the scores of two classes say. All thresholds are similarities.

    Attributes:
        n_same, n_different: pairs of each class, failed ones included.
        n_failed: pairs without a score; a genuine one is refused at every threshold, an impostor
            one is wrong in the accuracy and not in any false accept rate.
        tars: TAR at the false accept rates that were asked for.
        eer: equal error rate and its threshold.
        auc: area under the ROC curve.
        best: highest accuracy over all pairs, optimistic.
        genuine, impostor: scores of each class.
        d_prime: decidability, or None where neither class varies.
    """

    n_same: int
    n_different: int
    n_failed: int
    tars: tuple[TarAtFar, ...]
    eer: Rate
    auc: float
    best: Rate
    genuine: Spread
    impostor: Spread
    d_prime: float | None

    @property
    def margin(self) -> float:
        """Discriminative margin: mean of the genuine minus mean of the impostor scores."""
        return self.genuine.mean - self.impostor.mean

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(asdict(self))
        return plain | {"margin": self.margin}

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        failed = "wrong in the accuracy; genuine ones never accepted, impostor ones not in FAR"
        return [
            Row("same", f"{self.n_same:,}", "pairs of one person (genuine)"),
            Row("different", f"{self.n_different:,}", "pairs of two people (impostor)"),
            Row("failed reads", f"{self.n_failed:,} pairs", failed),
            *curve_rows(self),
        ]


class Curve(Protocol):
    """What `curve_rows` tells of: any report with the numbers of two classes."""

    @property
    def tars(self) -> tuple[TarAtFar, ...]:
        """TAR at the false accept rates aimed at."""

    @property
    def eer(self) -> Rate:
        """Equal error rate."""

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""

    @property
    def best(self) -> Rate:
        """Highest accuracy."""

    @property
    def genuine(self) -> Spread:
        """Same-person scores."""

    @property
    def impostor(self) -> Spread:
        """Different-person scores."""

    @property
    def d_prime(self) -> float | None:
        """Decidability."""

    @property
    def margin(self) -> float:
        """Difference of the means."""


def curve_rows(found: Curve) -> list[Row]:
    """Every number of the scores with its definition."""
    tars = [
        Row(
            f"TAR@FAR {tar.far:.0e}",
            tar.text if tar.similarity is None else f"{tar.text}, at {tar.similarity:.4f}",
            "share of same-person pairs accepted while at most this share of the others is; "
            "Wilson 95 % interval",
        )
        for tar in found.tars
    ]
    d_prime = "n/a: neither class varies" if found.d_prime is None else f"{found.d_prime:.3f}"
    return [
        Row("highest accuracy", f"{found.best.rate:.2%} at {found.best.similarity:.4f}", _BEST),
        *tars,
        Row("EER", f"{found.eer.rate:.3%} at {found.eer.similarity:.4f}", _EER),
        Row("AUC", f"{found.auc:.6f}", "chance that a genuine pair scores above an impostor one"),
        Row("d'", d_prime, "difference of the means / root of the mean variance"),
        Row(
            "margin", f"{found.margin:.4f}", "mean of the genuine minus mean of the impostor pairs"
        ),
        Row("genuine", str(found.genuine), _SPREAD),
        Row("impostor", str(found.impostor), _SPREAD),
    ]


_BEST = (
    "highest over all pairs, optimistic: the threshold was chosen on the pairs it is scored on, "
    "as tutorials do"
)
_EER = "where the false accept rate and the false non-match rate cross, interpolated"
_SPREAD = "cosine of the scored pairs: mean ± population standard deviation, least to greatest"


@dataclass(frozen=True, eq=False, slots=True)
class ErrorRates:
    """Both error rates at some thresholds; a pair matches when similarity >= threshold.

    Attributes:
        thresholds: (N,) float64, rising.
        fmr: (N,) share of impostor scores that reach it, falling.
        fnmr: (N,) share of genuine scores below it, rising.
    """

    thresholds: Doubles
    fmr: Doubles
    fnmr: Doubles


def measure_scores(
    genuine: ArrayLike,
    impostor: ArrayLike,
    *,
    n_failed_same: int = 0,
    n_failed_different: int = 0,
    fars: Sequence[float] = FARS,
) -> CurveReport:
    """Measure similarities of both classes: TAR@FAR, EER, AUC, highest accuracy, spreads, d'.

    Args:
        genuine: (G,) similarities of same-person pairs, in any order; higher is more alike.
        impostor: (I,) similarities of different-person pairs. float32 stays float32, and 100
            million of them take 400 MB beside themselves.
        n_failed_same: same-person pairs without a score, refused at every threshold.
        n_failed_different: different-person pairs without a score; wrong in the accuracy, and
            not in any false accept rate.
        fars: false accept rates aimed at, each above 0 and below 1.

    Returns:
        The report.

    Raises:
        InputError: a list that is not (N,), a score that is no finite number, a count below 0, or
            a false accept rate that is not between 0 and 1.
        DatasetError: a class without scores.
    """
    return measure_sorted(
        Scores.sort(genuine, impostor),
        n_failed_same=n_failed_same,
        n_failed_different=n_failed_different,
        fars=fars,
    )


def measure_sorted(
    scores: Scores, *, n_failed_same: int, n_failed_different: int, fars: Sequence[float] = FARS
) -> CurveReport:
    """As `measure_scores`, of scores that are sorted already."""
    for name, count in (("same", n_failed_same), ("different", n_failed_different)):
        if count < 0:
            raise InputError(f"n_failed_{name} must be at least 0, got {count}")
    for far in fars:
        if not 0 < far < 1:
            raise InputError(f"the false accept rate {far} is not between 0 and 1")
    genuine, impostor = describe_spread(scores.genuine), describe_spread(scores.impostor)
    return CurveReport(
        n_same=genuine.n + n_failed_same,
        n_different=impostor.n + n_failed_different,
        n_failed=n_failed_same + n_failed_different,
        tars=tuple(tar_at_far(far, scores, n_failed=n_failed_same) for far in fars),
        eer=equal_error_rate(scores, n_failed=n_failed_same),
        auc=area_under_curve(scores, n_failed=n_failed_same),
        best=best_accuracy(scores, n_failed=n_failed_same + n_failed_different),
        genuine=genuine,
        impostor=impostor,
        d_prime=decidability(genuine, impostor),
    )


def roc_points(
    genuine: ArrayLike, impostor: ArrayLike, n: int = 512, *, n_failed: int = 0
) -> tuple[Doubles, Doubles]:
    """Corners of the ROC curve, evenly thinned in log FAR.

    Each point is a TAR and the FAR it costs, at a threshold between two distinct scores. Between
    two points the step curve keeps the TAR of the left one: draw it so (`steps-post`).

    Args:
        genuine: (G,) similarities of same-person pairs.
        impostor: (I,) similarities of different-person pairs.
        n: most points, at least 2.
        n_failed: same-person pairs without a score, never accepted.

    Returns:
        FAR (N,) strictly rising from 0 (leave that point out of a log axis) to 1, and TAR (N,).

    Raises:
        InputError, DatasetError: as `measure_scores`; InputError where n is less than 2.
    """
    scores = Scores.sort(genuine, impostor)
    budgets = _space_counts(len(scores.impostor), n)
    refused = scores.impostor[len(scores.impostor) - 1 - budgets[:-1]]
    n_false = _count_over(scores.impostor, refused)
    n_hits = _count_over(scores.genuine, refused)
    # Equals of a refused score are refused with it, so budgets may end at one corner.
    n_false, kept = np.unique(np.append(n_false, len(scores.impostor)), return_index=True)
    n_hits = np.append(n_hits, len(scores.genuine))[kept]
    return n_false / len(scores.impostor), n_hits / (len(scores.genuine) + n_failed)


def det_points(
    genuine: ArrayLike, impostor: ArrayLike, n: int = 512, *, n_failed: int = 0
) -> ErrorRates:
    """FMR against FNMR, thinned evenly in the log of each.

    Args:
        genuine: (G,) similarities of same-person pairs.
        impostor: (I,) similarities of different-person pairs.
        n: most points, at least 4; half of them are even in log FMR, half in log FNMR.
        n_failed: same-person pairs without a score, refused at every threshold.

    Raises:
        InputError, DatasetError: as `measure_scores`; InputError where n is less than 4.
    """
    if n < 4:
        raise InputError(f"a curve needs at least 4 points, got n = {n}")
    scores = Scores.sort(genuine, impostor)
    n_false = _space_counts(len(scores.impostor), n // 2)
    n_refused = _space_counts(len(scores.genuine), n // 2)
    limits = (scores.impostor[len(scores.impostor) - n_false[1:]], scores.genuine[n_refused[:-1]])
    return _rate(scores, np.unique(np.concatenate(limits)), n_failed)


def error_rates(
    genuine: ArrayLike, impostor: ArrayLike, thresholds: ArrayLike, *, n_failed: int = 0
) -> ErrorRates:
    """FMR and FNMR at chosen thresholds.

    Args:
        genuine: (G,) similarities of same-person pairs.
        impostor: (I,) similarities of different-person pairs.
        thresholds: (N,) in any order; a pair matches when similarity >= threshold.
        n_failed: same-person pairs without a score, refused at every threshold.

    Raises:
        InputError, DatasetError: as `measure_scores`; InputError where a threshold is NaN.
    """
    limits = np.sort(np.asarray(thresholds, dtype=np.float64).ravel())
    if np.isnan(limits).any():
        raise InputError("a threshold is NaN", hint="give numbers, such as 0.4")
    return _rate(Scores.sort(genuine, impostor), limits, n_failed)


def _rate(scores: Scores, limits: Rising, n_failed: int) -> ErrorRates:
    n_refused = np.searchsorted(scores.genuine, limits, side="left") + n_failed
    n_right = np.searchsorted(scores.impostor, limits, side="left")
    return ErrorRates(
        thresholds=limits.astype(np.float64),
        fmr=(len(scores.impostor) - n_right) / len(scores.impostor),
        fnmr=n_refused / (len(scores.genuine) + n_failed),
    )


def _space_counts(most: int, n: int) -> Counts:
    """At most n counts from 0 to `most`, evenly spaced in their logarithm."""
    if n < 2:
        raise InputError(f"a curve needs at least 2 points, got n = {n}")
    spaced = np.rint(np.geomspace(1, most, n - 1)) if n > 2 else [most]
    return np.unique(np.concatenate(([0], spaced, [most]))).astype(np.int64)


def _count_over(rising: Rising, limits: Rising) -> Counts:
    return len(rising) - np.searchsorted(rising, limits, side="right")
