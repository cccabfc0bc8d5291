"""What a verification report shows beside its numbers: curves, and people most often mistaken.

Curves are points here, which every report keeps; they are drawn when there is a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from arcwise.evaluate.rates import det_points, roc_points
from arcwise.evaluate.report import Figure, Lines, Section, Table
from arcwise.evaluate.verification.scored import PersonErrors, ScoredPairs
from arcwise.evaluate.verification.summary import VerificationReport

_N_WORST = 10  # people named in the table; the JSON has all
_ROC = (
    "True accept rate against false accept rate, the latter on a logarithmic axis. What counts is "
    "the left end, where few strangers pass."
)
_DET = (
    "The two error rates against each other, both on logarithmic axes. Nearer to the lower left "
    "corner is better."
)


def list_curves(scored: ScoredPairs, *, name: str, n_failed: int = 0) -> list[Figure]:
    """The ROC and DET curves as points, not drawn.

    Args:
        scored: pairs of both classes.
        name: of the curves, such as that of the model.
        n_failed: same-person pairs without a score, refused at every threshold.
    """
    genuine, impostor = scored.scores[scored.is_same], scored.scores[~scored.is_same]
    fars, tars = roc_points(genuine, impostor, n_failed=n_failed)
    rates = det_points(genuine, impostor, n_failed=n_failed)
    roc = Lines("roc", {name: (fars.tolist(), tars.tolist())})
    errors = {name: (rates.fmr.tolist(), rates.fnmr.tolist())}
    det = Lines("det", errors, x_label="FMR", y_label="FNMR")
    return [Figure("ROC", "", _ROC, roc), Figure("DET", "", _DET, det)]


def make_section(
    report: VerificationReport, *, title: str, figures: Sequence[Figure] = (), text: str = ""
) -> Section:
    """Everything a report says, as a part of a document.

    Args:
        report: of one list by one protocol.
        title: of the section.
        figures: of these pairs.
        text: above the numbers.
    """
    tables = [_table_people(report)] if report.worst_people else []
    if report.failed_photos:
        cells = tuple((photo.name, photo.reason) for photo in report.failed_photos)
        tables.append(Table("Failed reads", ("photo", "reason"), cells))
    return Section(title, tuple(report.rows()), tuple(tables), tuple(figures), text=text)


def _table_people(report: VerificationReport) -> Table:
    people = report.worst_people[:_N_WORST]
    n_more = len(report.worst_people) - len(people)
    more = f", {n_more:,} more with errors" if n_more else ""
    columns = ("person", "false non-matches", "own pairs", "false matches", "pairs with others")
    return Table(
        f"People most often mistaken, at {report.worst_at:.4f}{more}",
        columns,
        tuple(_show_person(person) for person in people),
    )


def _show_person(person: PersonErrors) -> tuple[str, ...]:
    return (
        person.person,
        f"{person.n_false_non_matches:,}",
        f"{person.n_genuine:,}",
        f"{person.n_false_matches:,}",
        f"{person.n_impostor:,}",
    )
