"""`arcwise evaluate report`: a page of one report, or several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.reporting import OutOption, check_out, name_command, name_date, tell
from arcwise.cli.show import print_note
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Document


def report(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Reports that are JSON.")
    ],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page of one JSON report, or lay several side by side, one column for each."""
    from arcwise.evaluate.report import read_document

    check_out(out, reports)
    documents = [read_document(place) for place in reports]
    if len(documents) == 1:
        document = documents[0]
        print_note("the photos of a report are not in its JSON")
    else:
        from arcwise.evaluate.report.beside import place_beside

        document = place_beside(
            _name_columns(reports, documents),
            command=name_command(),
            date=name_date(),
        )
    tell(document, out=out, as_json=as_json)


def _name_columns(places: list[Path], documents: list[Document]) -> dict[str, Document]:
    """The model's name of each report, or its file's where models are not told apart.

    Raises:
        SettingsError: one file is named twice.
    """
    if len({place.resolve() for place in places}) < len(places):
        raise SettingsError("a report is named twice", hint="name each file once")
    names = [document.model for document in documents]
    if len(set(names)) < len(names) or "" in names:
        names = [place.stem for place in places]
    if len(set(names)) < len(names):
        names = [str(place) for place in places]
    return dict(zip(names, documents, strict=True))
