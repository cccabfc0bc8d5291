"""Reports of several models side by side: one column for each, and how far they are apart.

It measures nothing, draws nothing and reads no photo: it knows what is in the JSON of reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Figure, Lines, Section, Table
from arcwise.evaluate.row import Row

_MOST_NUMBERS = 400  # of a table: more is for a machine, which can read the JSON
_MISSING = "n/a"
_LABELS = ("protocol", "set", "name", "model")  # texts that tell the items of a list apart


def place_beside(documents: Mapping[str, Document], *, command: str, date: str) -> Document:
    """Make one document of several.

    The same sections stand side by side, rows matched by name. The numbers of all results come
    last, each with its difference from the first document. Curves of one kind and title come into
    one figure, as points.

    Args:
        documents: name of a column -> document; two or more.
        command: the command line of the new document.
        date: of the new document, ISO 8601.

    Raises:
        InputError: fewer than two documents.
    """
    if len(documents) < 2:
        raise InputError("one report has nothing to stand beside", hint="give two or more")
    titles = dict.fromkeys(document.title for document in documents.values())
    digests = {document.data_digest for document in documents.values()}
    sections = [_describe_models(documents)]
    for title in _union(s.title for d in documents.values() for s in d.sections):
        own = {
            name: section
            for name, document in documents.items()
            for section in document.sections
            if section.title == title
        }
        sections.append(_join_sections(title, own, list(documents)))
    numbers = {name: dict(find_numbers(d.values)) for name, d in documents.items()}
    sections.append(_table_numbers(numbers))
    return Document(
        title=f"{', '.join(titles)}: {len(documents)} reports side by side",
        model=", ".join(documents),
        model_digest=", ".join(document.model_digest for document in documents.values()),
        data=", ".join(dict.fromkeys(document.data for document in documents.values())),
        data_digest=digests.pop() if len(digests) == 1 else "",
        command=command,
        date=date,
        sections=tuple(sections),
        values={name: document.values for name, document in documents.items()},
    )


def find_numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of some results with its dotted name, but not those of lists of numbers.

    A list of numbers is a curve or the folds: one alone says nothing. An item of another list is
    called by its "protocol", "set", "name" or "model" where it has one that no other item has,
    since its place may be another's in the next report; otherwise by its place.
    """
    if isinstance(values, bool) or values is None:
        return
    if isinstance(values, int | float):
        yield name, values
    elif isinstance(values, Mapping):
        for key, part in values.items():
            yield from find_numbers(part, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        for label, part in zip(_label_items(values), values, strict=True):
            if isinstance(part, Mapping | list | tuple):
                yield from find_numbers(part, f"{name}.{label}" if name else label)


def _label_items(items: Sequence[Any]) -> list[str]:
    """Of each item of a list its own text, or its place where it has none of its own."""
    own = [
        next((item[key] for key in _LABELS if _is_text(item.get(key))), "")
        if isinstance(item, Mapping)
        else ""
        for item in items
    ]
    known = Counter(own)
    return [
        label if label and known[label] == 1 and not label.isdigit() else str(number)
        for number, label in enumerate(own)
    ]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _describe_models(documents: Mapping[str, Document]) -> Section:
    columns = ("column", "model", "model digest", "data", "data digest", "date")
    cells = tuple(
        (name, d.model, d.model_digest[:12], d.data, d.data_digest[:12], d.date)
        for name, d in documents.items()
    )
    digests = {document.data_digest for document in documents.values()}
    is_same = len(digests) == 1 and "" not in digests
    text = (
        "All of them measured the same data."
        if is_same
        else "They did not measure the same data, or it is not known: differences between the "
        "columns may come from the data alone."
    )
    return Section("Reports", tables=(Table("", columns, cells),), text=text)


def _join_sections(title: str, own: Mapping[str, Section], columns: Sequence[str]) -> Section:
    tables = [_join_rows(own, columns)] if any(section.rows for section in own.values()) else []
    tables += [
        Table(f"{table.title}: {name}" if table.title else name, table.columns, table.cells)
        for name, section in own.items()
        for table in section.tables
    ]
    names = _union(f.title for section in own.values() for f in section.figures if f.lines)
    figures = [_join_figures(figure_title, own) for figure_title in names]
    texts = _union(section.text for section in own.values() if section.text)
    return Section(title, tables=tuple(tables), figures=tuple(figures), text="\n".join(texts))


def _join_rows(own: Mapping[str, Section], columns: Sequence[str]) -> Table:
    rows: dict[str, dict[str, Row]] = {}
    for name, section in own.items():
        for row in section.rows:
            rows.setdefault(row.name, {})[name] = row
    cells = []
    for what, found in rows.items():
        values = [found[name].value if name in found else _MISSING for name in columns]
        definitions = _union(row.definition for row in found.values())
        cells.append((what, *values, "; ".join(definitions)))
    return Table("", ("what", *columns, "definition"), tuple(cells))


def _join_figures(title: str, own: Mapping[str, Section]) -> Figure:
    found = {
        name: figure
        for name, section in own.items()
        for figure in section.figures
        if figure.title == title and figure.lines is not None
    }
    first = next(iter(found.values()))
    assert first.lines is not None
    curves = {}
    for name, figure in found.items():
        lines = figure.lines
        if lines is None or lines.kind != first.lines.kind:
            continue
        for curve, points in lines.curves.items():
            curves[name if len(lines.curves) == 1 else f"{name}: {curve}"] = points
    joined = Lines(first.lines.kind, curves, first.lines.x_label, first.lines.y_label)
    return Figure(title, "", first.caption, joined)


def _table_numbers(numbers: Mapping[str, Mapping[str, float]]) -> Section:
    first, *others = numbers
    names = _union(name for found in numbers.values() for name in found)
    cells = []
    for name in names[:_MOST_NUMBERS]:
        values = [found.get(name) for found in numbers.values()]
        differences = [
            _MISSING if value is None or values[0] is None else f"{value - values[0]:+.6g}"
            for value in values[1:]
        ]
        cells.append((name, *(_show(value) for value in values), *differences))
    columns = ("number", *numbers, *(f"{other} − {first}" for other in others))
    text = (
        f"The first {_MOST_NUMBERS} of {len(names)}; the JSON has all."
        if len(names) > _MOST_NUMBERS
        else ""
    )
    return Section("All numbers", tables=(Table("", columns, tuple(cells)),), text=text)


def _show(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _union(parts: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(parts))
