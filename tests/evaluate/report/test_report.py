"""A report is one file: numbers, definitions, pictures, and nothing that is not escaped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.report import (
    Document,
    Figure,
    Lines,
    Picture,
    Section,
    Table,
    digest_lines,
    page,
    read_document,
    write_document,
)
from arcwise.evaluate.row import Row

LINES = Lines("roc", {"exact": ([1e-3, 1e-2, 1.0], [0.5, 0.9, 1.0])})
HOSTILE = "<script>alert(1)</script>|`*_ \"'&\n x"


@pytest.fixture
def document() -> Document:
    section = Section(
        "Protocol exact",
        rows=(Row("accuracy", "94.77%", "mean over folds"),),
        tables=(Table("Worst people", ("person", "errors"), (("Ann", "3"), ("Bob", "1"))),),
        figures=(Figure("ROC", "<svg viewBox='0 0 9 9'><g/></svg>", "Higher is better.", LINES),),
        pictures=(Picture("Hardest pairs", b"\xff\xd8jpeg", "Least alike."),),
        text="Ten folds.",
    )
    return Document(
        title="Verification",
        model="compact",
        model_digest="a" * 64,
        data="pairs.txt",
        data_digest="b" * 64,
        command="arcwise evaluate verification",
        date="2026-11-22T09:00:00+00:00",
        sections=(section,),
        values=[{"accuracy": {"mean": 0.9477, "folds": (0.9, 1.0)}, "n": np.int64(6000)}],
    )


def rename(document: Document, text: str) -> Document:
    """The same with one text in every place that can hold one."""
    section = Section(
        text,
        rows=(Row(text, text, text),),
        tables=(Table(text, (text,), ((text,),)),),
        figures=(Figure(text, "<svg></svg>", text),),
        pictures=(Picture(text, b"x", text),),
        text=text,
    )
    head = dict.fromkeys(["title", "model", "model_digest", "data", "data_digest"], text)
    return replace(document, **head, command=text, date=text, sections=(section,) * 2)


def test_json_comes_back_as_it_was_but_for_drawings_and_photos(
    document: Document, tmp_path: Path
) -> None:
    read = read_document(write_document(document, tmp_path / "new" / "r.json"))
    (section,), (kept,) = read.sections, document.sections
    assert (section.rows, section.tables, section.text) == (kept.rows, kept.tables, kept.text)
    assert section.figures[0].lines == LINES
    assert (section.figures[0].svg, section.pictures) == ("", ())
    assert read.values == [{"accuracy": {"mean": 0.9477, "folds": [0.9, 1.0]}, "n": 6000}]
    assert (read.model, read.date, read.data_digest) == ("compact", document.date, "b" * 64)


def test_json_knows_no_nan(document: Document) -> None:
    values = {"a": float("nan"), "b": np.array([1.0, np.inf]), "c": np.float32(0.5), "d": {1: {2}}}
    plain = json.loads(replace(document, values=values).to_json())
    assert plain["results"] == {"a": None, "b": [1.0, None], "c": 0.5, "d": {"1": [2]}}


def test_markdown_holds_rows_and_tables_and_names_figures(document: Document) -> None:
    text = document.to_markdown()
    assert "| accuracy | 94.77% | mean over folds |" in text
    assert "| Ann | 3 |" in text
    assert "- ROC: Higher is better." in text
    assert "`arcwise evaluate verification`" in text
    assert "svg" not in text


def test_no_name_can_break_markdown(document: Document) -> None:
    text = rename(document, HOSTILE).to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {2, 4}
    plain = re.sub(r"``.*?``", "", text)  # code means nothing to HTML either
    assert not re.search(r"(?<!\\)<script", plain)


def test_the_page_holds_everything(document: Document) -> None:
    html = document.to_page()
    for text in ("94.77%", "mean over folds", "Ann", "Higher is better.", "Ten folds.", "b" * 64):
        assert text in html
    assert "<svg viewBox='0 0 9 9'>" in html
    assert "data:image/jpeg;base64,/9hqcGVn" in html


def test_the_page_loads_nothing(document: Document) -> None:
    html = document.to_page()
    assert re.findall(r"(?:src|href)=\"([^\"]+)\"", html) == ["data:image/jpeg;base64,/9hqcGVn"]
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(|<script|<link|<iframe", html)


def test_no_name_can_break_the_page(document: Document) -> None:
    html = rename(document, HOSTILE).to_page()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    body = html[html.index("<body>") : html.index("</html>")].replace("<br>", "")
    ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", body))


def test_a_name_that_is_no_text_is_written_all_the_same(document: Document, tmp_path: Path) -> None:
    odd = rename(document, "caf\udce9.jpg")
    for suffix in (".json", ".md", ".html"):
        assert "udce9" in write_document(odd, tmp_path / f"r{suffix}").read_text("utf-8")


def test_a_figure_without_drawing_is_not_in_the_page(document: Document) -> None:
    (section,) = document.sections
    figures = (Figure("ROC", "", "Higher is better.", LINES),)
    html = replace(document, sections=(replace(section, figures=figures),)).to_page()
    assert "<svg" not in html
    assert "Higher is better." not in html


def test_another_suffix_is_refused(document: Document, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.pdf"):
        write_document(document, tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_jinja2_says_what_to_install(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "jinja2", None)
    with pytest.raises(InputError, match="jinja2 is not installed") as caught:
        write_document(document, tmp_path / "r.html")
    assert "arcwise[report]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    assert write_document(document, tmp_path / "r.md").is_file()


def test_a_table_with_a_short_line_is_refused() -> None:
    with pytest.raises(InputError, match="2 columns"):
        Table("t", ("a", "b"), (("1",),))


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "3", "{}", '{"version": 2}', '{"version": 1, "sections": 3}', "[" * 9999],
)
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"r\.json is not the JSON of a report"):
        read_document(path)


def spoil(document: Document, place: str, value: object) -> str:
    """The JSON of a report with another value at one dotted place."""
    plain = json.loads(document.to_json())
    *way, last = [int(word) if word.isdigit() else word for word in place.split(".")]
    part = plain
    for step in way:
        part = part[step]
    part[last] = value
    return json.dumps(plain)


def nest(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


CURVE = "sections.0.figures.0.lines.curves.exact"


@pytest.mark.parametrize(
    ("place", "value", "complains"),
    [
        ("version", True, "version is True"),
        ("model", None, "model is None, not a text"),
        ("sections", {}, "sections is {}, not a list"),
        ("sections.0", 3, "sections.0 is 3, not an object"),
        ("sections.0.title", ["x"], "sections.0.title is"),
        ("sections.0.text", 7, "sections.0.text is 7, not a text"),
        ("sections.0.rows.0.value", 1, "sections.0.rows.0.value is 1, not a text"),
        ("sections.0.rows.0", {"name": "a"}, "there is no sections.0.rows.0.value"),
        ("sections.0.tables.0.columns.1", 5, "columns.1 is 5"),
        ("sections.0.tables.0.cells.1.0", {"a": 1}, "cells.1.0 is {'a': 1}, not a text"),
        ("sections.0.tables.0.cells.1", ["a"], "one text for each of 2 columns"),
        ("sections.0.figures.0.caption", 1, "caption is 1"),
        ("sections.0.figures.0.lines.kind", "evil", "kind is 'evil', not one of roc, det, cmc"),
        ("sections.0.figures.0.lines.kind", ["roc"], "not one of roc"),
        ("sections.0.figures.0.lines.x_label", 5, "x_label is 5, not a text"),
        ("sections.0.figures.0.lines.curves", [1], "curves is [1], not an object"),
        (CURVE, 5, f"{CURVE} is 5, not a list"),
        (CURVE, [[1], [1], [1]], "two lists of numbers of one length"),
        (CURVE, [[0.5, 1], [1]], "two lists of numbers of one length"),
        (CURVE, [[0.5, [1]], [1, 1]], f"{CURVE}.0.1 is [1], not a finite number"),
        (CURVE, [[10**400], [1]], "not a finite number"),
        (CURVE, [[None], [1]], "None, not a finite number"),
        (CURVE, [["a"], [1]], "'a', not a finite number"),
        (CURVE, [[float("nan")], [1]], "nan, not a finite number"),
        (CURVE, [[-1e300], [1e300]], "shares from 0 to 1"),
        ("results", {"x": 10**400}, "results.x is 1"),
        ("results", {"x": [float("inf")]}, "results.x.0 is inf"),
        ("results", nest(900), "results is nested more than 64 deep"),
    ],
)
def test_what_is_not_what_it_must_be_is_refused_by_its_place(
    document: Document, place: str, value: object, complains: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    path.write_text(spoil(document, place, value))
    with pytest.raises(InputError) as caught:
        read_document(path)
    assert str(caught.value).startswith(f"{path} is not the JSON of a report: ")
    assert complains in str(caught.value)


def test_results_may_be_as_deep_as_the_limit(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(spoil(document, "results", nest(64)))
    assert read_document(path).values == nest(64)


def test_no_letter_of_a_name_steers_the_reader_of_markdown(document: Document) -> None:
    text = rename(document, "a\x1b[31m\u202eb\x7f").to_markdown()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "`a\\x1b[31m\\u202eb\\x7f`" in text
    assert "| a\\x1b\\[31m\\u202eb\\x7f |" in text


def test_a_digest_names_its_lines_and_their_order() -> None:
    assert digest_lines(["a", "b"]) != digest_lines(["b", "a"])
    assert digest_lines(["ab"]) != digest_lines(["a", "b"])
    assert len(digest_lines([])) == 64
