"""Several models on one gallery, side by side: rows of numbers and curves.

It measures nothing and draws nothing: figures are points here (beside.draw_lines draws them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arcwise.evaluate.identification.tally import IdentificationReport
from arcwise.evaluate.report import Figure, Section, Table
from arcwise.evaluate.report.curves import cmc_figure, det_figure

_CMC = "Share of mated searches whose person is among the first k; the higher the better."
_DET = (
    "Share of mated searches without their person against the share of strangers who are named, "
    "both on logarithmic axes. Nearer to the lower left corner is better."
)
_BASELINE = (
    "Eigenfaces and a support vector machine, learned from the gallery's own crops. Its scores are "
    "the machine's decision values, no cosines."
)


@dataclass(frozen=True, slots=True)
class Entrant:
    """What one model, or the baseline, found.

    Attributes:
        name: unique among those it is held against.
        report: of its searches.
        is_baseline: its mistakes are not worth a table, and its scores are no cosines.
    """

    name: str
    report: IdentificationReport
    is_baseline: bool = False


def make_sections(entrants: Sequence[Entrant]) -> list[Section]:
    """Everybody in one table with the curves, then each with all numbers.

    A model that is alone, the baseline aside, has a section whose title does not name it: reports
    of two models stand side by side by titles.

    Args:
        entrants: at least one, of the same lineup and scope.
    """
    table = compare_entrants(entrants)
    beside = Section("Side by side", tables=(table,), figures=tuple(list_curves(entrants)))
    is_alone = sum(not entrant.is_baseline for entrant in entrants) == 1
    return [beside, *(_make_section(entrant, is_alone=is_alone) for entrant in entrants)]


def _make_section(entrant: Entrant, *, is_alone: bool) -> Section:
    rows = tuple(entrant.report.rows())
    if entrant.is_baseline:
        return Section(entrant.name, rows, text=_BASELINE)
    title = "Identification" if is_alone else entrant.name
    return Section(title, rows, entrant.report.tables())


def compare_entrants(entrants: Sequence[Entrant]) -> Table:
    """One line for each: top-k, FNIR@FPIR, failed searches."""
    first = entrants[0].report
    open_rates = [rate for rate in first.open_rates if not rate.why and rate.rates.fnir]
    columns = ["model", *(f"top-{rate.rank}" for rate in first.ranks)]
    columns += [f"FNIR@FPIR {rate.rates.fpir:g}" for rate in open_rates]
    cells = []
    for entrant in entrants:
        ranks = [
            f"{r.found.share:.2%} ({r.found.n_hits}/{r.found.n})" for r in entrant.report.ranks
        ]
        by_rate = {r.rates.fpir: r.rates.fnir for r in entrant.report.open_rates if not r.why}
        shares = [by_rate.get(rate.rates.fpir) for rate in open_rates]
        fnirs = [f"{share.share:.2%}" if share else "n/a" for share in shares]
        failed = f"{entrant.report.n_failed_mated}/{entrant.report.n_mated}"
        cells.append((entrant.name, *ranks, *fnirs, failed))
    return Table("", (*columns, "failed searches"), tuple(cells))


def list_curves(entrants: Sequence[Entrant]) -> list[Figure]:
    """The CMC of all, and the DET curve of those who met strangers; as points, not drawn."""
    figures = [cmc_figure("CMC", {e.name: e.report.cmc for e in entrants}, caption=_CMC)]
    det = {e.name: (e.report.det_fpir, e.report.det_fnir) for e in entrants if e.report.det_fpir}
    if det:
        figures.append(det_figure("DET", det, x_label="FPIR", y_label="FNIR", caption=_DET))
    return figures
