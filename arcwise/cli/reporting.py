"""What all commands that measure share: options of a report, writing it, and the gate.

`--out` writes the report, `--expected FILE --tolerance X` holds its numbers against earlier ones.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from arcwise.cli.show import (
    check_output,
    count,
    make_printable,
    print_json,
    print_note,
    print_table,
)
from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Document, Section
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
    from arcwise.recognizer import Recognizer
    from arcwise.types import Faces

DEFAULT_TOLERANCE = 0.002
"""0.2 points of a percentage: the maximum deviation from its paper that system B states."""

OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write the report (.json, .md or .html)."),
]
ExpectedOption = Annotated[
    Path | None,
    typer.Option(
        "--expected",
        metavar="FILE",
        help="Exit with 1 unless the numbers are those of this JSON: an earlier report, or names "
        "and numbers.",
    ),
]
ToleranceOption = Annotated[
    float,
    typer.Option("--tolerance", min=0.0, help="Largest deviation from --expected, absolute."),
]


def check_out(out: Path | None, sources: Sequence[object], *, expected: Path | None = None) -> None:
    """Refuse, before the work, a report that cannot be written or numbers that cannot be read.

    Args:
        out: of --out.
        sources: files and folders that are read; the report must not replace or lie in them.
        expected: of --expected.

    Raises:
        InputError: another suffix than .json, .md, .html; a place that cannot be written or is
            read from; a library of the page is missing; the expected numbers cannot be read.
    """
    from arcwise.evaluate.report import DOCUMENT_SUFFIXES
    from arcwise.evaluate.report.gate import read_expected

    if expected is not None:
        read_expected(expected)
        sources = [*sources, expected]
    if out is None:
        return
    check_beside(out, sources, DOCUMENT_SUFFIXES)
    check_libraries(out)


def check_libraries(out: Path) -> None:
    """Make sure, before the work, that what draws and lays out such a file is installed.

    Raises:
        InputError: matplotlib (pages and pictures) or jinja2 (pages) is missing.
    """
    if out.suffix.lower() in (".html", ".svg", ".png"):
        import arcwise.evaluate.report.drawing  # noqa: F401
    if out.suffix.lower() == ".html":
        from arcwise.evaluate.report.page import check_page

        check_page()


def wants_drawings(out: Path | None) -> bool:
    """Whether a report has figures and pictures: only the page shows them."""
    return out is not None and out.suffix.lower() == ".html"


def check_beside(out: Path, sources: Sequence[object], suffixes: Sequence[str]) -> None:
    """As `check_output`; and the file must not lie in one of the folders that are read."""
    check_output(out, sources, suffixes)
    for source in sources:
        if not isinstance(source, str | Path):
            continue
        if Path(source).is_dir() and out.resolve().is_relative_to(Path(source).resolve()):
            raise InputError(
                f"{out} lies in {source}, which is only read", hint="name another place"
            )


class Measured(Protocol):
    """What says which model it comes from, such as embeddings that were saved; "" is unknown."""

    @property
    def model(self) -> str: ...

    @property
    def model_digest(self) -> str: ...


def describe_run(
    title: str,
    model: Recognizer | Measured,
    *,
    data: str,
    data_digest: str,
    sections: Sequence[Section],
    values: Any,
) -> Document:
    """A document of this run: with its model, command line and date.

    Args:
        title: such as "Verification".
        model: what was measured: a recognizer, or what says which model it comes from.
        data: what it was measured on, in words.
        data_digest: SHA-256 that names the data, of `digest_photos`; "" where it is not known.
        sections: for people.
        values: for machines; "results" of the JSON.
    """
    from arcwise.evaluate.report import Document
    from arcwise.recognizer import Recognizer

    if isinstance(model, Recognizer):
        name, digest = model.embedder.name, model.embedder.digest
    else:
        name, digest = model.model, model.model_digest
    return Document(
        title=title,
        model=name,
        model_digest=digest,
        data=data,
        data_digest=data_digest,
        command=name_command(),
        date=name_date(),
        sections=tuple(sections),
        values=values,
    )


def name_command() -> str:
    """The command line of this run."""
    return shlex.join(["arcwise", *sys.argv[1:]])


def name_date() -> str:
    """Now: ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def name_apart(names: Iterable[str]) -> list[str]:
    """The same names; one that comes again gets a number that makes it a name of its own."""
    given = list(names)
    taken, apart = set(given), []
    seen: set[str] = set()
    for name in given:
        own, number = name, 1
        while own in seen or (number > 1 and own in taken):
            number += 1
            own = f"{name} ({number})"
        seen.add(own)
        apart.append(own)
    return apart


def digest_photos(*parts: EmbeddedPhotos, more: Iterable[str] = ()) -> str:
    """SHA-256 that names what was measured: names and pixels of photos, whatever the model.

    Args:
        parts: photos that play a role of their own, such as queries and what is searched; those
            without an embedding count too.
        more: lines that say what is measured of them, such as the pairs of a list.

    Returns:
        64 hex digits, or "" where the pixels of a photo are not known.
    """
    from arcwise.evaluate.report import digest_lines

    lines = []
    for number, part in enumerate(parts):
        known = part.digest_of() | part.failed_digests
        names = sorted([*part.names, *part.reasons])
        if any(name not in known for name in names):
            return ""
        lines += [f"{number}\t{name}\t{known[name]}" for name in names]
    return digest_lines([*lines, *more])


def digest_faces(found: Sequence[Faces]) -> str:
    """SHA-256 that names some photos without names: of their pixels, in order; "" as above."""
    from arcwise.evaluate.report import digest_lines

    digests = [faces.digest for faces in found]
    return digest_lines(digests) if all(digests) else ""


def tell(
    document: Document,
    *,
    out: Path | None,
    as_json: bool,
    expected: Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
) -> None:
    """Write the report, print it, and hold its numbers against the expected ones.

    Args:
        document: the report; a page has its figures drawn, where they have points only.
        out: where to write it, or None.
        as_json: print the JSON instead of tables.
        expected: numbers it must have, or None; see evaluate/report/gate.py.
        tolerance: largest deviation, absolute.

    Raises:
        InputError: the report cannot be written or the expected numbers cannot be read.
        Exit: with 1, a number deviates; each of them was named.
    """
    from arcwise.evaluate.report import write_document
    from arcwise.evaluate.report.gate import hold_against, read_expected

    if out is not None and wants_drawings(out):
        from arcwise.evaluate.report.plots import draw_figures

        write_document(draw_figures(document), out)
    elif out is not None:
        write_document(document, out)
    if as_json:
        print_json(document.to_dict())
    else:
        _print_sections(document)
    if expected is None:
        return
    verdict = hold_against(document.to_dict(), read_expected(expected), tolerance=tolerance)
    for deviation in verdict.deviations:
        print_note(f"deviates: {deviation}")
    numbers = count(verdict.n_held, "number")
    if verdict.deviations:
        deviate = "deviates" if len(verdict.deviations) == 1 else "deviate"
        print_note(
            f"{len(verdict.deviations)} of {numbers} {deviate} from {expected} by more than "
            f"{tolerance:g}"
        )
        raise typer.Exit(1)
    print_note(f"{numbers} as expected by {expected}, within {tolerance:g}")


def _print_sections(document: Document) -> None:
    model = document.model or "an unknown model"
    typer.echo(make_printable(f"{document.title}: {model} on {document.data}"))
    for section in document.sections:
        typer.echo("")
        if section.rows:
            rows = [[row.name, row.value, row.definition] for row in section.rows]
            print_table(["what", "value", "definition"], rows, title=section.title)
        elif section.title:
            typer.echo(make_printable(section.title))
        if section.text:
            typer.echo(make_printable(section.text))
        for table in section.tables:
            print_table(table.columns, table.cells, title=table.title)
