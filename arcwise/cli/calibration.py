"""The report of a calibration: its numbers, and how true its probabilities are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arcwise.cli.reporting import describe_run, wants_drawings

if TYPE_CHECKING:
    from arcwise.cli.sources import Source
    from arcwise.evaluate.calibrate.labeled import ScoredPhotos
    from arcwise.evaluate.calibrate.probability import ProbabilityReport
    from arcwise.evaluate.calibrate.thresholds import CalibrationReport
    from arcwise.evaluate.report import Figure, Section

_N_THRESHOLDS = 400


def write_sheet(
    out: Path,
    source: Source,
    scored: ScoredPhotos,
    report: CalibrationReport,
    found: ProbabilityReport | None,
    band: tuple[float, float] | None,
    *,
    data: str,
) -> None:
    """Write it as JSON, Markdown or one page; `band` holds the uncertain similarities."""
    from arcwise.evaluate.report import Section, write_document

    has_drawings = wants_drawings(out)
    figures = (_draw_rates(scored, report),) if has_drawings and report.n_genuine else ()
    sections = [Section("Thresholds", rows=tuple(report.rows()), figures=figures)]
    if found is not None and band is not None:
        sections.append(_describe_probability(found, band, has_drawings=has_drawings))
    values = report.to_dict() | {
        "probability": found.to_dict() if found else None,
        "uncertain": band,
    }
    document = describe_run(
        "Calibration",
        source,
        data=data,
        data_digest=report.data_digest,
        sections=sections,
        values=values,
    )
    write_document(document, out)


def _draw_rates(scored: ScoredPhotos, report: CalibrationReport) -> Figure:
    import numpy as np

    from arcwise.evaluate.calibrate.thresholds import show_rate
    from arcwise.evaluate.rates import error_rates
    from arcwise.evaluate.report import Figure
    from arcwise.evaluate.report.plots import plot_rates

    genuine, impostor = scored.genuine.scores, scored.impostors.scores
    low = float(min(genuine.min(), np.median(impostor)))
    high = float(max(genuine.max(), impostor.max()))
    found = error_rates(genuine, impostor, np.linspace(low, high, _N_THRESHOLDS))
    marks = {f"FMR {show_rate(point.fmr)}": point.similarity for point in report.points}
    svg = plot_rates(found.thresholds, found.fmr, found.fnmr, marks=marks)
    return Figure(
        "Error rates", svg, "Share of wrong answers at each threshold; lines mark the thresholds."
    )


def _describe_probability(
    found: ProbabilityReport, band: tuple[float, float], *, has_drawings: bool
) -> Section:
    from arcwise.decide import SURE_NO, SURE_YES
    from arcwise.evaluate.report import Figure, Section, Table
    from arcwise.evaluate.row import Row

    there = found.reliability
    cells = tuple(
        (
            f"{row.above:.1f} to {row.to:.1f}",
            f"{row.predicted:.3f}",
            f"{row.observed:.3f}",
            "n/a" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}",
            f"{row.n_genuine:,}",
            f"{row.n_impostors:,}",
        )
        for row in there
    )
    unsure = (
        f"neither a yes with {SURE_YES:g} or more nor a no with less than {SURE_NO:g}, at the "
        "threshold of compare"
    )
    columns = ("said", "mean", "found", "95 % interval", "of one person", "of two")
    figures: tuple[Figure, ...] = ()
    if has_drawings:
        from arcwise.evaluate.report.plots import plot_reliability

        svg = plot_reliability(
            [row.predicted for row in there],
            [row.observed for row in there],
            [row.observed if row.low is None else row.low for row in there],
            [row.observed if row.high is None else row.high for row in there],
            [row.n_genuine + row.n_impostors for row in there],
        )
        caption = "On the line, what was said came true; bars are 95 % intervals over ten or more."
        figures = (Figure("Reliability", svg, caption),)
    return Section(
        "Probability of one person",
        rows=(*found.rows(), Row("uncertain", f"{band[0]:.4f} to {band[1]:.4f}", unsure)),
        tables=(Table("Reliability, on people that were not fitted", columns, cells),),
        figures=figures,
    )
