"""What a calibration found: thresholds of false match rates, what they cost, what is odd.

It does not measure anything; evaluate/calibrate does. All thresholds are cosine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arcwise.compare import Calibration, CalibrationPoint, MeasuredViews, ProbabilityCurve
from arcwise.evaluate.bootstrap import LEAST_PEOPLE
from arcwise.evaluate.calibrate.oddities import CloseStrangers, Copies
from arcwise.evaluate.curve import Rate
from arcwise.evaluate.row import FailedPhoto, Row

_THRESHOLD = "least impostor score that at most this share of impostor pairs reaches; 95 % interval"
_FNMR = "genuine pairs below that similarity; 95 % interval over draws of people"
_BALANCED = "mean of genuine pairs accepted and impostor pairs refused; optimistic, chosen on them"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A false match rate, its threshold, and what it costs.

    Attributes:
        fmr: false match rate aimed at.
        similarity: the threshold, cosine.
        low, high: 95 % interval of the threshold.
        n_false: impostor pairs that reach it.
        n_couples: pairs of people these are of.
        fmr_found: n_false as a share of all impostor pairs, at most `fmr`.
        fnmr: share of genuine pairs below it; None without genuine pairs.
        fnmr_low, fnmr_high: 95 % interval of `fnmr`; None where fewer than ten people are in the
            genuine pairs.
    """

    fmr: float
    similarity: float
    low: float
    high: float
    n_false: int
    n_couples: int
    fmr_found: float
    fnmr: float | None
    fnmr_low: float | None
    fnmr_high: float | None


@dataclass(frozen=True, slots=True)
class NextRate:
    """The first rate that is not given, how many impostor pairs it needs, and why in words."""

    fmr: float
    n_needed: int
    text: str


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What the pairs of some photos say about thresholds. All thresholds are cosine.

    Attributes:
        points: by falling false match rate, at least one.
        wanted: the one of the rate that was asked for, also among the points; or None.
        next_rate: the first rate that is not given, or None.
        is_complete: whether all pairs of the photos were scored, or those of a list.
        n_photos, n_people, n_genuine, n_impostors: what it rests on.
        n_twice: people who are in genuine pairs.
        eer: equal error rate and its threshold; None without genuine pairs.
        best: highest balanced accuracy (mean of the share of genuine pairs accepted and of
            impostor pairs refused) and its threshold; None without genuine pairs.
        closest: the most alike strangers, one row for two people.
        twins: photos that are there several times.
        failed_photos: photos without an embedding, left out.
        data_digest: SHA-256 of the names and digests of the photos, and of the list's pairs.
    """

    points: tuple[OperatingPoint, ...]
    wanted: OperatingPoint | None
    next_rate: NextRate | None
    is_complete: bool
    n_photos: int
    n_people: int
    n_genuine: int
    n_impostors: int
    n_twice: int
    eer: Rate | None
    best: Rate | None
    closest: tuple[CloseStrangers, ...]
    twins: tuple[Copies, ...]
    failed_photos: tuple[FailedPhoto, ...]
    data_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        n_pairs = f"{self.n_genuine:,} of one person, {self.n_impostors:,} of two"
        kind = "every pair of these photos" if self.is_complete else "the pairs of a list"
        rows = [
            Row("photos", f"{self.n_photos:,} of {self.n_people:,} people", "with an embedding"),
            Row("pairs", n_pairs, kind),
            Row("failed reads", f"{len(self.failed_photos):,} photos", "left out"),
        ]
        for point in self.points:
            rate = show_rate(point.fmr)
            place = f"{point.similarity:.4f} [{point.low:.4f}, {point.high:.4f}]"
            false = f"{point.n_false:,} pairs of {point.n_couples:,} couples"
            rows += [
                Row(f"similarity at FMR {rate}", place, _THRESHOLD),
                Row(f"false matches at FMR {rate}", false, "impostor pairs that reach it"),
                Row(f"FNMR at FMR {rate}", _show_fnmr(point, self.n_twice), _FNMR),
            ]
        if self.next_rate is not None:
            name = f"similarity at FMR {show_rate(self.next_rate.fmr)}"
            rows.append(Row(name, f"n/a: {self.next_rate.text}", "nothing is extrapolated"))
        for name, rate_at, definition in (
            ("EER", self.eer, "where false accept and false non-match rate cross, interpolated"),
            ("highest balanced accuracy", self.best, _BALANCED),
        ):
            value = "n/a: needs two photos of somebody"
            if rate_at is not None:
                value = f"{rate_at.rate:.3%} at {rate_at.similarity:.4f}"
            rows.append(Row(name, value, definition))
        return rows

    def to_calibration(
        self,
        *,
        model_digest: str,
        date: str,
        probability: ProbabilityCurve | None = None,
        views: MeasuredViews | None = None,
    ) -> Calibration:
        """The small part of it that decisions read.

        Args:
            model_digest: of the model that made the vectors.
            date: ISO 8601.
            probability: that two photos show one person, from `fit_probability`.
            views: what became of the mirror images in these vectors; None where it is not known.
        """
        points = (CalibrationPoint(p.fmr, p.similarity, p.low, p.high) for p in self.points)
        return Calibration(
            model_digest=model_digest,
            points=tuple(points),
            n_impostors=self.n_impostors,
            n_people=self.n_people,
            data_digest=self.data_digest,
            date=date,
            probability=probability,
            views=views,
        )


def show_rate(rate: float) -> str:
    """A rate as people write it: 1e-03, or 2.50e-04 where one digit does not say it."""
    short = f"{rate:.0e}"
    return short if float(short) == rate else f"{rate:.2e}"


def lacks_twice(n_people: int) -> str:
    """What an interval over people with two photos lacks, in words; "" where they are enough."""
    if n_people >= LEAST_PEOPLE:
        return ""
    return f"needs {LEAST_PEOPLE} people with two photos, has {n_people:,}"


def _show_fnmr(point: OperatingPoint, n_twice: int) -> str:
    if point.fnmr is None:
        return "n/a: needs two photos of somebody"
    if point.fnmr_low is None or point.fnmr_high is None:
        return f"{point.fnmr:.2%} [n/a: {lacks_twice(n_twice)}]"
    return f"{point.fnmr:.2%} [{point.fnmr_low:.2%}, {point.fnmr_high:.2%}]"
