"""What a measurement found, as a document: one JSON file, one Markdown text or one HTML page.

It measures nothing and draws nothing: numbers, tables and pictures are the caller's. JSON and
Markdown need no foreign library; the page (page.py) needs jinja2.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from arcwise.errors import InputError
from arcwise.evaluate.report.node import Node
from arcwise.evaluate.report.page import render_page
from arcwise.evaluate.row import Row
from arcwise.files import read_bytes, write_atomically

VERSION = 1
"""Of the JSON; a reader of another version must look at docs/reports.md first."""
LinesKind = Literal["roc", "det", "cmc"]


@dataclass(frozen=True, slots=True)
class Lines:
    """The points behind a figure, so that several documents can be drawn into one.

    Attributes:
        kind: which plot they are for: plots.plot_roc, plot_det or plot_cmc.
        curves: name -> x and y of some hundred points; of a CMC, the ranks and the shares.
        x_label, y_label: of a DET plot.
    """

    kind: LinesKind
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        title: above it.
        svg: of plots.py; "" where it was not drawn, such as for a report without a page.
        caption: below it: what is to be seen.
        lines: the points it shows, for reports side by side; None where that makes no sense.
    """

    title: str
    svg: str
    caption: str
    lines: Lines | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo or a sheet of photos; it is in the page only, never in JSON or Markdown."""

    title: str
    jpeg: bytes
    caption: str

    def to_url(self) -> str:
        """The picture itself as a data: address."""
        return "data:image/jpeg;base64," + b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown; every line has one for each column."""

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for line in self.cells:
            if len(line) != len(self.columns):
                raise InputError(
                    f"table {self.title!r} has {len(self.columns)} columns, "
                    f"a line of it has {len(line)} cells"
                )


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a document: numbers with definitions, then tables, figures and pictures."""

    title: str
    rows: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    pictures: tuple[Picture, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A report with what it rests on.

    Attributes:
        title: such as "Verification".
        model, model_digest: name and digest of the embedding model.
        data, data_digest: what was measured on, in words, and a SHA-256 that names it.
        command: the command line that makes it again.
        date: ISO 8601, UTC.
        sections: for people.
        values: for machines: what the JSON holds under "results".
    """

    title: str
    model: str
    model_digest: str
    data: str
    data_digest: str
    command: str
    date: str
    sections: tuple[Section, ...]
    values: Any

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no numpy, null for NaN and infinity, no SVG and no photo."""
        head = {name: getattr(self, name) for name in _HEAD}
        sections = [_section_to_dict(section) for section in self.sections]
        return {
            "version": VERSION,
            **head,
            "results": _to_plain(self.values),
            "sections": sections,
        }

    def to_json(self) -> str:
        """The text of a .json report; `read_document` reads it."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """The text of a .md report: rows and tables whole, figures and pictures by title."""
        lines = [f"# {_escape(self.title)}", ""]
        lines += [f"- {label}: {_quote(getattr(self, name))}" for name, label in _HEAD_LABELS]
        for section in self.sections:
            lines += ["", f"## {_escape(section.title)}", *_section_to_markdown(section)]
        return "\n".join(lines) + "\n"

    def to_page(self) -> str:
        """The text of a .html report: one file that loads nothing from anywhere.

        Raises:
            InputError: jinja2 is not installed.
        """
        head = [(label, getattr(self, name)) for name, label in _HEAD_LABELS]
        return render_page(document=self, head=head)


_HEAD = ("title", "model", "model_digest", "data", "data_digest", "command", "date")
_HEAD_LABELS = (
    ("model", "Model"),
    ("model_digest", "Model digest"),
    ("data", "Data"),
    ("data_digest", "Data digest"),
    ("command", "Command"),
    ("date", "Date"),
)
_WRITERS: dict[str, Callable[[Document], str]] = {
    ".json": Document.to_json,
    ".md": Document.to_markdown,
    ".html": Document.to_page,
}
DOCUMENT_SUFFIXES = tuple(_WRITERS)
"""What `write_document` can write."""


def write_document(document: Document, path: Path | str) -> Path:
    """Write a report, whole or not at all; the suffix decides the format.

    Args:
        document: what to write.
        path: ends in .json, .md or .html; missing folders are made.

    Returns:
        The path.

    Raises:
        InputError: another suffix, jinja2 is missing for .html, or the place cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(
            f"cannot write a report as {path.name or 'a file without a name'}",
            hint=f"end its name with one of {', '.join(DOCUMENT_SUFFIXES)}",
        )
    return write_atomically(path, writer(document).encode("utf-8", errors="backslashreplace"))


def read_document(path: Path | str) -> Document:
    """Read the JSON of a report; its figures have points but no drawing, its pictures are gone.

    Names that are not known are left out.

    Raises:
        InputError: it cannot be read, is no such report, or something in it is not what it must
            be: texts that are none, curves that are not two lists of finite numbers, results that
            no float can hold or that are nested too deep.
    """
    content = read_bytes(path)
    try:
        plain = Node.parse(content)
        _check_version(plain.part("version"))
        head = {name: plain.text(name) for name in _HEAD}
        sections = tuple(_section_from(node) for node in plain.part("sections").parts())
        results = plain.part("results")
        results.check_finite()
    except InputError as exc:
        raise InputError(
            f"{path} is not the JSON of a report: {exc}", hint="write one with --out report.json"
        ) from exc
    return Document(**head, sections=sections, values=results.value)


def _check_version(node: Node) -> None:
    if node.value != VERSION or not isinstance(node.value, int) or isinstance(node.value, bool):
        raise node.refuse(f"{VERSION}, which this arcwise reads")


def digest_lines(lines: Iterable[str]) -> str:
    """SHA-256 that names some data, hex: of its names and digests, one text after the other."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", errors="surrogatepass") + b"\n")
    return digest.hexdigest()


# ── JSON ──


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_plain(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _to_plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _section_to_dict(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "text": section.text,
        "rows": [asdict(row) for row in section.rows],
        "tables": [
            {"title": table.title, "columns": list(table.columns), "cells": _to_plain(table.cells)}
            for table in section.tables
        ],
        "figures": [
            {"title": f.title, "caption": f.caption, "lines": _to_plain(f.lines)}
            for f in section.figures
        ],
        "pictures": [{"title": p.title, "caption": p.caption} for p in section.pictures],
    }


def _section_from(node: Node) -> Section:
    return Section(
        title=node.text("title"),
        rows=tuple(_row_from(row) for row in node.part("rows").parts()),
        tables=tuple(_table_from(table) for table in node.part("tables").parts()),
        figures=tuple(_figure_from(figure) for figure in node.part("figures").parts()),
        text=node.text("text"),
    )


def _row_from(node: Node) -> Row:
    return Row(node.text("name"), node.text("value"), node.text("definition"))


def _table_from(node: Node) -> Table:
    columns, lines = node.part("columns").texts(), node.part("cells").parts()
    for line in lines:
        if len(line.texts()) != len(columns):
            raise line.refuse(f"one text for each of {len(columns)} columns")
    return Table(node.text("title"), columns, tuple(line.texts() for line in lines))


def _figure_from(node: Node) -> Figure:
    lines = node.part("lines")
    found = None if lines.value is None else _lines_from(lines)
    return Figure(node.text("title"), "", node.text("caption"), found)


def _lines_from(node: Node) -> Lines:
    kind = node.part("kind")
    if kind.value not in get_args(LinesKind):
        raise kind.refuse(f"one of {', '.join(get_args(LinesKind))}")
    curves = {}
    for name, curve in node.part("curves").items().items():
        axes = [axis.numbers() for axis in curve.parts()]
        if len(axes) != 2 or len(axes[0]) != len(axes[1]):
            raise curve.refuse("two lists of numbers of one length")
        shares = axes[1] if kind.value == "cmc" else [*axes[0], *axes[1]]  # its x are ranks
        if not all(0 <= share <= 1 for share in shares):
            raise curve.refuse("shares from 0 to 1")
        curves[name] = (axes[0], axes[1])
    return Lines(kind.value, curves, node.text("x_label"), node.text("y_label"))


# ── Markdown ──


def _section_to_markdown(section: Section) -> list[str]:
    lines = ["", *map(_escape, section.text.splitlines())] if section.text else []
    if section.rows:
        cells = [(row.name, row.value, row.definition) for row in section.rows]
        lines += ["", *_table_to_markdown(("what", "value", "definition"), cells)]
    for table in section.tables:
        lines += ["", f"**{_escape(table.title)}**"] if table.title else []
        lines += ["", *_table_to_markdown(table.columns, table.cells)]
    named: list[Figure | Picture] = [*section.figures, *section.pictures]
    if named:
        lines += ["", "In the page (`--out report.html`):", ""]
        lines += [f"- {_escape(part.title)}: {_escape(part.caption)}" for part in named]
    return lines


def _table_to_markdown(columns: Sequence[str], cells: Iterable[Sequence[str]]) -> list[str]:
    shown = [f"| {' | '.join(map(_escape, line))} |" for line in (columns, *cells)]
    return [shown[0], f"|{' --- |' * len(columns)}", *shown[1:]]


def _escape(text: str) -> str:
    """One line in which no letter of a name means anything to Markdown, HTML or a terminal."""
    text = " ".join(text.split())
    return _show_hidden("".join("\\" + c if c in "\\|`*_<>[]" else c for c in text))


def _quote(text: str) -> str:
    """The text as code, whatever backticks it holds."""
    text = _show_hidden(" ".join(text.split()))
    if not text:
        return "unknown"
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, gap = "`" * (longest + 1), " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def _show_hidden(text: str) -> str:
    r"""The text with letters that cannot be seen, or that turn others around, as \xNN or \uNNNN."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
