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
    assert section.figures[0].lines == Lines("roc", {"exact": [[1e-3, 1e-2, 1], [0.5, 0.9, 1]]})
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


def test_a_digest_names_its_lines_and_their_order() -> None:
    assert digest_lines(["a", "b"]) != digest_lines(["b", "a"])
    assert digest_lines(["ab"]) != digest_lines(["a", "b"])
    assert len(digest_lines([])) == 64
