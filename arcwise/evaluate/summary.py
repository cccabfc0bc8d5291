"""What a verification found: every number, and in words what it means.

It does not measure anything; evaluate/verification.py does. All thresholds are cosine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from arcwise.evaluate.curve import Rate, Spread, TarAtFar
from arcwise.evaluate.protocol import FoldAccuracy, ValAtFar
from arcwise.types import Pair

FailedPolicy = Literal["count_as_wrong", "leave_out"]
"""What becomes of a pair whose photo gave no embedding; see docs/evaluate.md."""


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """A photo that gave no embedding, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report: what was measured, the value in words, and what it means."""

    name: str
    value: str
    definition: str


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What a list of pairs says about a model. All thresholds are cosine.

    Attributes:
        protocol: "exact" or "insightface".
        rule: the protocol's decision rule and choice of thresholds, in words.
        n_pairs, n_same, n_different: pairs of the list, failed reads included.
        failed_policy: "count_as_wrong" or "leave_out".
        failed_pairs: pairs without a score.
        failed_photos: photos without an embedding; empty where only scores were given.
        accuracy: over folds, each with a threshold chosen on the others.
        val: VAL@FAR of the InsightFace evaluation code, or None for another protocol.
        tars: TAR at FAR 1e-1 to 1e-6.
        eer: equal error rate and its threshold.
        auc: area under the ROC curve.
        best: highest accuracy over all pairs, optimistic.
        genuine, impostor: similarities of the scored pairs of each class.
        d_prime: decidability, or None where neither class varies.
    """

    protocol: str
    rule: str
    n_pairs: int
    n_same: int
    n_different: int
    failed_policy: FailedPolicy
    failed_pairs: tuple[Pair, ...]
    failed_photos: tuple[FailedPhoto, ...]
    accuracy: FoldAccuracy
    val: ValAtFar | None
    tars: tuple[TarAtFar, ...]
    eer: Rate
    auc: float
    best: Rate
    genuine: Spread
    impostor: Spread
    d_prime: float | None

    @property
    def similarity(self) -> float:
        """The protocol's threshold, cosine: the mean over folds."""
        return float(np.mean(self.accuracy.similarities))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = _to_plain(asdict(self))
        return plain | {"similarity": self.similarity}

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        return [*self._list_rows(), *self._accuracy_rows(), *self._curve_rows()]

    def to_markdown(self) -> str:
        """The report as a Markdown table, and the failed reads by name below it."""
        lines = ["| what | value | definition |", "| --- | --- | --- |"]
        lines += [f"| {row.name} | {row.value} | {row.definition} |" for row in self.rows()]
        if self.failed_photos:
            lines += ["", f"Failed reads ({len(self.failed_photos)} photos):", ""]
            lines += [f"- {photo.name}: {photo.reason}" for photo in self.failed_photos]
        return "\n".join(lines) + "\n"

    def _list_rows(self) -> list[Row]:
        failed = f"{len(self.failed_pairs):,} pairs, {len(self.failed_photos):,} photos"
        return [
            Row("protocol", self.protocol, self.rule),
            Row("pairs", f"{self.n_pairs:,}", "all pairs of the list, failed reads included"),
            Row("same", f"{self.n_same:,}", "pairs of one person (genuine)"),
            Row("different", f"{self.n_different:,}", "pairs of two people (impostor)"),
            Row("failed reads", failed, _POLICIES[self.failed_policy]),
        ]

    def _accuracy_rows(self) -> list[Row]:
        accuracy, n_folds = self.accuracy, len(self.accuracy.accuracies)
        low, high = min(accuracy.similarities), max(accuracy.similarities)
        rows = [
            Row(
                "accuracy",
                f"{accuracy.mean:.2%} ± {accuracy.std:.2%}",
                f"mean ± population standard deviation over {n_folds} folds, each with the "
                f"threshold of the others; ddof 1: ± {accuracy.std_sample:.2%}",
            ),
            Row(
                "95 % interval",
                f"{accuracy.low:.2%} to {accuracy.high:.2%}",
                f"of that mean, Student's t over {n_folds} folds",
            ),
            Row(
                "threshold", f"{self.similarity:.4f}", f"mean of the folds, {low:.4f} to {high:.4f}"
            ),
            Row(
                "highest accuracy",
                f"{self.best.rate:.2%} at {self.best.similarity:.4f}",
                "highest over all pairs, optimistic: the threshold was chosen on the pairs it is "
                "scored on",
            ),
        ]
        if self.val is not None:
            rows.append(
                Row(
                    f"VAL@FAR {self.val.far_aimed:g}",
                    f"{self.val.val:.2%} ± {self.val.std:.2%} at FAR {self.val.far:.3%}",
                    "share of same-person pairs accepted, threshold interpolated on the others",
                )
            )
        return rows

    def _curve_rows(self) -> list[Row]:
        rows = [
            Row(
                f"TAR@FAR {tar.far:.0e}",
                tar.text if tar.similarity is None else f"{tar.text}, at {tar.similarity:.4f}",
                "share of same-person pairs accepted while at most this share of the others is; "
                "Wilson 95 % interval",
            )
            for tar in self.tars
        ]
        d_prime = "n/a: neither class varies" if self.d_prime is None else f"{self.d_prime:.3f}"
        margin = self.genuine.mean - self.impostor.mean
        return [
            *rows,
            Row("EER", f"{self.eer.rate:.3%} at {self.eer.similarity:.4f}", _EER),
            Row(
                "AUC", f"{self.auc:.6f}", "chance that a genuine pair scores above an impostor one"
            ),
            Row("d'", d_prime, "difference of the means / root of the mean variance"),
            Row("margin", f"{margin:.4f}", "mean of the genuine minus mean of the impostor pairs"),
            Row("genuine", _show(self.genuine), _SPREAD),
            Row("impostor", _show(self.impostor), _SPREAD),
        ]


_POLICIES: dict[FailedPolicy, str] = {
    "count_as_wrong": "wrong in every accuracy; a failed genuine pair is never accepted, a failed "
    "impostor pair is not in FAR",
    "leave_out": "left out of every number below",
}
_EER = "where the false accept rate and the false non-match rate cross, interpolated"
_SPREAD = "cosine of the scored pairs: mean ± population standard deviation, least to greatest"


def _show(spread: Spread) -> str:
    return f"{spread.mean:.4f} ± {spread.std:.4f}, {spread.min:.4f} to {spread.max:.4f}"


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(part) for part in value]
    return value
