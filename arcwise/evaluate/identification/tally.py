"""What searches of a gallery found: every number, and in words what it means.

It does not search or count; evaluate/identification does. All thresholds are cosine, or what
the classifier gives where a classifier was searched with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from arcwise.evaluate.bootstrap import Interval
from arcwise.evaluate.curve import Spread
from arcwise.evaluate.identification.alarm import DirAtFar, FnirAtFpir
from arcwise.evaluate.report import Table
from arcwise.evaluate.row import FailedPhoto, FailedPolicy, Row, Share

MISSES = "Mated searches with somebody else first"
ALARMS = "Strangers who are most like somebody"

_MOST_LINES = 10  # of people and mistakes in a table


@dataclass(frozen=True, slots=True)
class RankRate:
    """How many mated searches find their mate among the first `rank` people.

    Attributes:
        rank: from 1.
        found: of all mated searches, with Wilson's interval.
        people: 95 % interval over draws of people, or None.
        lack: why there is none, in words, such as fewer than ten people; else "".
    """

    rank: int
    found: Share
    people: Interval | None
    lack: str

    def __str__(self) -> str:
        found = self.found
        text = f"{found.n_hits}/{found.n} = {found.share:.2%} [{found.low:.2%}, {found.high:.2%}]"
        return text + _over_people(self.people, self.lack)


@dataclass(frozen=True, slots=True)
class OpenRate:
    """What a threshold does to all searches.

    Attributes:
        rates: FNIR, FPIR and the threshold.
        why: where the threshold comes from, in words.
        people: 95 % interval of the FNIR over draws of people, the threshold found anew in each
            where it was found here; or None.
        lack: why there is none, in words: there is no FNIR, fewer than ten people of the gallery,
            or of the strangers where the threshold is found, or all draws are equal; else "".
    """

    rates: FnirAtFpir
    why: str
    people: Interval | None
    lack: str

    def __str__(self) -> str:
        if self.rates.fnir is None:
            return self.rates.text
        return self.rates.text + _over_people(self.people, self.lack)


@dataclass(frozen=True, slots=True)
class SizeEffect:
    """The same searches in a smaller gallery, as mean and standard deviation over draws.

    One draw has no deviation: None.

    Attributes:
        n_people: in the gallery, those not enrolled among them where failed searches count.
        n_draws: random galleries of that size with somebody who is searched for.
        rank_1, rank_1_std: share of mated searches whose mate is first; failed ones count as in
            the whole report.
        fnir, fnir_std: at the FPIR of `SizeEffects`; None without enough non-mated searches.
        fpir, fpir_std: at the threshold of `SizeEffects`; None without one.
    """

    n_people: int
    n_draws: int
    rank_1: float
    rank_1_std: float | None
    fnir: float | None
    fnir_std: float | None
    fpir: float | None
    fpir_std: float | None


@dataclass(frozen=True, slots=True)
class SizeEffects:
    """How the numbers change with the size of the gallery.

    Attributes:
        fpir: the rate at which FNIR is given, or None where no rate asked for is supported.
        similarity: the fixed threshold at which FPIR is given, or None.
        seed: of the draws.
        sizes: by rising number of people; the last is the whole gallery.
    """

    fpir: float | None
    similarity: float | None
    seed: int
    sizes: tuple[SizeEffect, ...]


@dataclass(frozen=True, slots=True)
class PersonTally:
    """How the searches for one person went.

    Attributes:
        person: of the gallery.
        n_probes: mated searches, failed ones included.
        n_found: of rank 1.
        n_failed: without a vector.
        taken_for: the person who was first instead most often, or "".
    """

    person: str
    n_probes: int
    n_found: int
    n_failed: int
    taken_for: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A search in which somebody else was first, or a stranger was most like somebody.

    Attributes:
        probe, person: the photo and whom it shows.
        rank: of the mate; 0 where the search is non-mated.
        similarity: of the mate; None where non-mated.
        taken_for: photo of the gallery that was most alike among other people.
        other_similarity: of that photo.
    """

    probe: str
    person: str
    rank: int
    similarity: float | None
    taken_for: str
    other_similarity: float


@dataclass(frozen=True, slots=True)
class IdentificationReport:
    """What searches of a gallery say about a model.

    Attributes:
        n_people, n_templates: of the gallery, as far as they have a vector.
        n_probes, n_mated, n_non_mated: searches, failed ones included.
        n_failed_mated: mated searches that failed: no vector, or nobody to find.
        failed_policy: "count_as_wrong" or "leave_out".
        failed_gallery, failed_probes: photos without a vector.
        not_enrolled: people of the gallery without any vector.
        ranks: rates of the ranks asked for.
        cmc: share of mated searches found up to rank 1, 2, 3 and so on.
        dirs: DIR@FAR; empty without non-mated searches.
        open_rates: FNIR@FPIR, then the rates at thresholds that were chosen elsewhere.
        det_fpir, det_fnir: the DET curve; empty without non-mated searches.
        mates: similarities to the own person.
        strangers: highest similarities of the non-mated searches, or None.
        people: everybody who was searched for, worst first.
        misses: mated searches that put somebody else first, most certain mistake first.
        alarms: non-mated searches, most alike first.
        sizes: effect of the gallery's size, or None where it was not measured.
    """

    n_people: int
    n_templates: int
    n_probes: int
    n_mated: int
    n_non_mated: int
    n_failed_mated: int
    failed_policy: FailedPolicy
    failed_gallery: tuple[FailedPhoto, ...]
    failed_probes: tuple[FailedPhoto, ...]
    not_enrolled: tuple[str, ...]
    ranks: tuple[RankRate, ...]
    cmc: tuple[float, ...]
    dirs: tuple[DirAtFar, ...]
    open_rates: tuple[OpenRate, ...]
    det_fpir: tuple[float, ...]
    det_fnir: tuple[float, ...]
    mates: Spread | None
    strangers: Spread | None
    people: tuple[PersonTally, ...]
    misses: tuple[Mistake, ...]
    alarms: tuple[Mistake, ...]
    sizes: SizeEffects | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        return [*self._count_rows(), *self._rank_rows(), *self._open_rows(), *self._spread_rows()]

    def tables(self) -> tuple[Table, ...]:
        """The worst people, the mistakes, the failed reads and the gallery's size, as far as any.

        Of people and mistakes the first ten; the JSON holds more.
        """
        failed = self.failed_gallery + self.failed_probes
        parts = [
            Table(_PEOPLE, _PEOPLE_COLUMNS, tuple(_person_cells(self.people))),
            Table(MISSES, _MISTAKE_COLUMNS, tuple(map(_mistake_cells, self.misses[:_MOST_LINES]))),
            Table(ALARMS, _ALARM_COLUMNS, tuple(map(_alarm_cells, self.alarms[:_MOST_LINES]))),
            Table(_FAILED, ("photo", "why"), tuple((p.name, p.reason) for p in failed)),
        ]
        if self.sizes:
            parts.append(_size_table(self.sizes))
        return tuple(part for part in parts if part.cells)

    def _count_rows(self) -> list[Row]:
        people = f"{self.n_people:,} {'person' if self.n_people == 1 else 'people'}"
        gallery = f"{people}, {self.n_templates:,} {'photo' if self.n_templates == 1 else 'photos'}"
        probes = f"{self.n_mated:,} mated, {self.n_non_mated:,} non-mated"
        failed = (
            f"{len(self.failed_gallery):,} of the gallery, {len(self.failed_probes):,} probes, "
            f"{self.n_failed_mated:,}/{self.n_mated:,} mated searches"
        )
        rows = [
            Row("gallery", gallery, "a person scores as their most alike photo does"),
            Row("probes", f"{self.n_probes:,}", "photos searched for, failed reads included"),
            Row("searches", probes, "mated: the person is in the gallery"),
            Row("failed reads", failed, _POLICIES[self.failed_policy]),
        ]
        if self.not_enrolled:
            what = "people of the gallery without any vector; searches for them fail"
            rows.append(Row("not enrolled", f"{len(self.not_enrolled):,}", what))
        return rows

    def _rank_rows(self) -> list[Row]:
        rows = []
        for rate in self.ranks:
            what = f"share of mated searches whose person is among the first {rate.rank}"
            rows.append(Row(f"top-{rate.rank}", str(rate), f"{what}; {_TIES}; {_INTERVALS}"))
        return rows

    def _open_rows(self) -> list[Row]:
        rows = [
            Row(
                f"DIR@FAR {found.far:g}, rank {found.rank}",
                f"{found.dir}, at {found.similarity:.4f}; FAR found {found.false_alarms.share:.3%}",
                "share of mated searches found within the rank and the threshold, which round(FAR "
                "* non-mated) strangers reach; for 0 of them the highest + 1e-5",
            )
            for found in self.dirs
        ]
        for rate in self.open_rates:
            found = rate.rates
            if not rate.why:
                what = f"{_FNIR}; {_INTERVALS}" if found.fnir else _FNIR
                rows.append(Row(f"FNIR@FPIR {found.fpir:g}", str(rate), what))
                continue
            what = f"share of mated searches without their person at this threshold ({rate.why})"
            rows.append(Row(f"FNIR@{found.similarity:.4f}", str(rate), f"{what}; {_INTERVALS}"))
            alarms = str(found.false_alarms) if found.false_alarms else "n/a: no non-mated search"
            what = "share of non-mated searches that name somebody at it; Wilson 95 % interval"
            rows.append(Row(f"FPIR@{found.similarity:.4f}", alarms, what))
        return rows

    def _spread_rows(self) -> list[Row]:
        rows = []
        if self.mates:
            what = f"similarity to the own person, {_SPREAD}"
            rows.append(Row("mates", _show_spread(self.mates), what))
        if self.strangers:
            what = f"highest similarity of each non-mated search, {_SPREAD}"
            rows.append(Row("strangers", _show_spread(self.strangers), what))
        return rows


_TIES = "ties count against the model"
_INTERVALS = "Wilson 95 % interval, then the one over draws of people"
_FNIR = (
    "share of mated searches without their person at the lowest threshold that at most this share "
    "of the non-mated ones reaches"
)
_SPREAD = "mean ± population standard deviation, least to greatest"
_POLICIES: dict[FailedPolicy, str] = {
    "count_as_wrong": "a failed mated search never finds its person; failed strangers are not in "
    "FPIR",
    "leave_out": "left out of every number below",
}
_PEOPLE = "Worst people"
_PEOPLE_COLUMNS = ("person", "found first", "failed reads", "taken for most often")
_FAILED = "Failed reads"
_ALARM_COLUMNS = ("probe", "most alike", "similarity")
_MISTAKE_COLUMNS = ("probe", "rank", "similarity", "most alike of others", "its similarity")


def _person_cells(people: tuple[PersonTally, ...]) -> Iterator[tuple[str, ...]]:
    for tally in people[:_MOST_LINES]:
        if tally.n_found < tally.n_probes:
            found = f"{tally.n_found}/{tally.n_probes}"
            yield tally.person, found, f"{tally.n_failed}", tally.taken_for


def _mistake_cells(found: Mistake) -> tuple[str, ...]:
    own = f"{found.similarity:.3f}"
    return found.probe, f"{found.rank}", own, found.taken_for, f"{found.other_similarity:.3f}"


def _alarm_cells(found: Mistake) -> tuple[str, ...]:
    return found.probe, found.taken_for, f"{found.other_similarity:.3f}"


def _size_table(effects: SizeEffects) -> Table:
    columns = ["people", "draws", "top-1"]
    columns += [] if effects.fpir is None else [f"FNIR@FPIR {effects.fpir:g}"]
    columns += [] if effects.similarity is None else [f"FPIR@{effects.similarity:.4f}"]
    lines = []
    for size in effects.sizes:
        line = [f"{size.n_people:,}", f"{size.n_draws}", _mean(size.rank_1, size.rank_1_std)]
        line += [] if effects.fpir is None else [_mean(size.fnir, size.fnir_std)]
        line += [] if effects.similarity is None else [_mean(size.fpir, size.fpir_std)]
        lines.append(tuple(line))
    title = "Effect of the gallery's size (mean ± standard deviation over draws of people)"
    return Table(title, tuple(columns), tuple(lines))


def _mean(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "n/a"
    return f"{mean:.2%}" if std is None else f"{mean:.2%} ± {std:.2%}"


def _show_spread(spread: Spread) -> str:
    return f"{spread.mean:.4f}, of one search" if spread.n == 1 else str(spread)


def _over_people(interval: Interval | None, lack: str) -> str:
    if interval is None:
        return f", over people n/a: {lack}"
    return f", {interval.low:.2%} to {interval.high:.2%} over people"
