"""What a verification found: every number, and in words what it means.

It does not measure anything; evaluate/rates.py and evaluate/verification do. All thresholds are
cosine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from arcwise.evaluate.curve import Rate, Spread, TarAtFar
from arcwise.evaluate.rates import curve_rows
from arcwise.evaluate.row import FailedPhoto, FailedPolicy, Row, Share, to_plain
from arcwise.evaluate.verification.accuracy import FoldAccuracy
from arcwise.evaluate.verification.protocol import PROTOCOLS, ValAtFar
from arcwise.evaluate.verification.scored import PersonErrors, ScoredPair
from arcwise.types import Pair


@dataclass(frozen=True, slots=True)
class RatesAt:
    """What one threshold, chosen elsewhere, does to all pairs; the rule is similarity >= it.

    Attributes:
        similarity: the threshold, cosine.
        why: where it comes from, in words.
        accuracy: share of right decisions.
        fmr: share of scored different-person pairs accepted.
        fnmr: share of same-person pairs refused.
    """

    similarity: float
    why: str
    accuracy: Share
    fmr: Share
    fnmr: Share


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What a list of pairs says about a model. All thresholds are cosine.

    Attributes:
        protocol: its name, one of `PROTOCOLS`.
        rule: the protocol's decision rule and choice of thresholds, in words.
        folds: the folds these pairs are from, counted from 1.
        n_pairs, n_same, n_different: pairs of these folds, failed reads included.
        failed_policy: "count_as_wrong" or "leave_out".
        failed_pairs: pairs without a score.
        failed_photos: photos without an embedding; empty where only scores were given.
        accuracy: over folds, each with a threshold chosen on the others; None for one fold.
        val: VAL@FAR of the InsightFace evaluation code, or None for another protocol or one fold.
        at: for each threshold that was given, what it does to all pairs.
        tars: TAR at FAR 1e-1 to 1e-6.
        eer: equal error rate and its threshold.
        auc: area under the ROC curve.
        best: highest accuracy over all pairs, optimistic.
        genuine, impostor: similarities of the scored pairs of each class.
        d_prime: decidability, or None where neither class varies.
        hardest_genuine: the least alike same-person pairs, where the pairs are known.
        hardest_impostor: the most alike different-person pairs, likewise.
        worst_people: those with errors at `worst_at`, most errors first; None where the pairs are
            not known, or the names of their photos do not say who is shown.
        worst_at: the threshold of these errors: that of the protocol where it is one of plain
            cosines, else the one of the highest accuracy; None where the pairs are not known.
    """

    protocol: str
    rule: str
    folds: tuple[int, ...]
    n_pairs: int
    n_same: int
    n_different: int
    failed_policy: FailedPolicy
    failed_pairs: tuple[Pair, ...]
    failed_photos: tuple[FailedPhoto, ...]
    accuracy: FoldAccuracy | None
    val: ValAtFar | None
    at: tuple[RatesAt, ...]
    tars: tuple[TarAtFar, ...]
    eer: Rate
    auc: float
    best: Rate
    genuine: Spread
    impostor: Spread
    d_prime: float | None
    hardest_genuine: tuple[ScoredPair, ...] = ()
    hardest_impostor: tuple[ScoredPair, ...] = ()
    worst_people: tuple[PersonErrors, ...] | None = None
    worst_at: float | None = None

    @property
    def similarity(self) -> float | None:
        """The protocol's threshold for two vectors, cosine: the mean over folds.

        None for one fold, and for a protocol that does not compare the vectors as they are.
        """
        if self.accuracy is None or PROTOCOLS[self.protocol].run is None:
            return None
        return float(np.mean(self.accuracy.similarities))

    @property
    def margin(self) -> float:
        """Discriminative margin: mean of the genuine minus mean of the impostor similarities."""
        return self.genuine.mean - self.impostor.mean

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(asdict(self))
        return plain | {"similarity": self.similarity, "margin": self.margin}

    def without_names(self) -> VerificationReport:
        """The same numbers, naming no photo and nobody: to pass on or to publish."""
        return replace(
            self,
            failed_photos=tuple(FailedPhoto("", photo.reason) for photo in self.failed_photos),
            failed_pairs=tuple(replace(pair, a="", b="") for pair in self.failed_pairs),
            hardest_genuine=(),
            hardest_impostor=(),
            worst_people=None,
            worst_at=None,
        )

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        fold_rows = _fold_rows(self.accuracy, self.val) if self.accuracy else [_ONE_FOLD]
        fixed_rows = [row for at in self.at for row in _fixed_rows(at)]
        return [*self._list_rows(), *fold_rows, *fixed_rows, *curve_rows(self)]

    def _list_rows(self) -> list[Row]:
        failed = f"{len(self.failed_pairs):,} pairs, {len(self.failed_photos):,} photos"
        return [
            Row("protocol", self.protocol, self.rule),
            Row("folds", ", ".join(map(str, self.folds)), "folds of the list, counted from 1"),
            Row("pairs", f"{self.n_pairs:,}", "all pairs of these folds, failed reads included"),
            Row("same", f"{self.n_same:,}", "pairs of one person (genuine)"),
            Row("different", f"{self.n_different:,}", "pairs of two people (impostor)"),
            Row("failed reads", failed, _POLICIES[self.failed_policy]),
        ]


def _fold_rows(accuracy: FoldAccuracy, val: ValAtFar | None) -> list[Row]:
    n_folds = len(accuracy.accuracies)
    low, high = min(accuracy.similarities), max(accuracy.similarities)
    rows = [
        Row(
            "accuracy",
            f"{accuracy.mean:.2%} ± {accuracy.std:.2%}",
            f"mean ± population standard deviation over {n_folds} folds, each with the "
            f"threshold of the others; ddof 1: ± {accuracy.std_sample:.2%}; ddof 1 / root of the "
            f"folds: ± {accuracy.std_error:.2%}",
        ),
        Row(
            "95 % interval",
            f"{accuracy.low:.2%} to {accuracy.high:.2%}",
            f"of that mean, Student's t over {n_folds} folds",
        ),
        Row(
            "threshold",
            f"{np.mean(accuracy.similarities):.4f}",
            f"mean of the folds, {low:.4f} to {high:.4f}",
        ),
    ]
    if val is not None:
        rows.append(
            Row(
                f"VAL@FAR {val.far_aimed:g}",
                f"{val.val:.2%} ± {val.std:.2%} at FAR {val.far:.3%}",
                "share of same-person pairs accepted, threshold interpolated on the others",
            )
        )
    return rows


def _fixed_rows(at: RatesAt) -> list[Row]:
    place = f"{at.similarity:.4f}"
    return [
        Row(
            f"accuracy@{place}",
            str(at.accuracy),
            f"share of right decisions at this threshold ({at.why}) over all pairs; Wilson 95 % "
            "interval",
        ),
        Row(f"FMR@{place}", str(at.fmr), "share of scored different-person pairs that reach it"),
        Row(f"FNMR@{place}", str(at.fnmr), "share of same-person pairs that do not reach it"),
    ]


_ONE_FOLD = Row("accuracy", "n/a", "one fold: there are no others to choose a threshold on")
_POLICIES: dict[FailedPolicy, str] = {
    "count_as_wrong": "wrong in every accuracy; a failed genuine pair is never accepted, a failed "
    "impostor pair is not in FAR",
    "leave_out": "left out of every number below",
}
