"""What a verification report shows beside its numbers: curves, and people most often mistaken.

Curves are points here, which every report keeps; they are drawn when there is a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from arcwise.evaluate.rates import det_points, roc_points
from arcwise.evaluate.report import Figure, Section, Table
from arcwise.evaluate.report.curves import det_figure, roc_figure
from arcwise.evaluate.verification.scored import PersonErrors, ScoredPair, ScoredPairs
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
    errors = {name: (rates.fmr, rates.fnmr)}
    return [
        roc_figure("ROC", {name: (fars, tars)}, caption=_ROC),
        det_figure("DET", errors, x_label="FMR", y_label="FNMR", caption=_DET),
    ]


def make_section(report: VerificationReport, *, title: str) -> Section:
    """Everything a report says, as a part of a document.

    Args:
        report: of one list by one protocol.
        title: of the section.
    """
    tables = []
    if report.worst_people and report.worst_at is not None:
        tables.append(_table_people(report.worst_people, report.worst_at))
    if any(photo.name for photo in report.failed_photos):
        cells = tuple((photo.name, photo.reason) for photo in report.failed_photos)
        tables.append(Table("Failed reads", ("photo", "reason"), cells))
    return Section(title, tuple(report.rows()), tuple(tables))


def list_hardest(report: VerificationReport) -> tuple[Table, Table]:
    """The pairs that a model gets most wrong, numbered as their pictures are."""
    return (
        _table_pairs("Hardest genuine pairs: one person, least alike", report.hardest_genuine),
        _table_pairs("Hardest impostor pairs: two people, most alike", report.hardest_impostor),
    )


def _table_pairs(title: str, pairs: Sequence[ScoredPair]) -> Table:
    cells = tuple(
        (str(number), f"{scored.similarity:.4f}", scored.pair.a, scored.pair.b)
        for number, scored in enumerate(pairs, start=1)
    )
    return Table(title, ("number", "similarity", "photo", "photo"), cells)


def _table_people(mistaken: Sequence[PersonErrors], threshold: float) -> Table:
    people = mistaken[:_N_WORST]
    n_more = len(mistaken) - len(people)
    more = f", {n_more:,} more with errors" if n_more else ""
    columns = ("person", "false non-matches", "own pairs", "false matches", "pairs with others")
    return Table(
        f"People most often mistaken, at {threshold:.4f}{more}",
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
