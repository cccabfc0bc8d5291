"""What all measuring commands share: refused before the work, printed, written, held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from arcwise.cli.reporting import check_out, tell, wants_drawings
from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Figure, Lines, Section, Table, page
from arcwise.evaluate.row import Row


@pytest.fixture
def document() -> Document:
    lines = Lines("roc", {"exact": ([0.1, 1.0], [0.9, 1.0])})
    section = Section(
        "Protocol",
        rows=(Row("accuracy", "94.77%", "mean over folds"),),
        tables=(Table("Worst people", ("person",), (("Ann\x1b[2J",),)),),
        figures=(Figure("ROC", "", "caption", lines),),
        text="Some words\x07.",
    )
    head = dict.fromkeys(["model", "model_digest", "data", "data_digest", "command", "date"], "x")
    return Document(title="Verification", sections=(section,), values={"a": 0.5}, **head)


@pytest.mark.parametrize("suffix", [".json", ".md", ".html"])
def test_every_form_of_a_report_can_be_asked_for(suffix: str, tmp_path: Path) -> None:
    check_out(tmp_path / "new" / f"r{suffix}", [tmp_path / "pairs.txt", None])
    assert list(tmp_path.iterdir()) == []


def test_no_report_needs_no_check(tmp_path: Path) -> None:
    check_out(None, [tmp_path])


@pytest.mark.parametrize("name", ["r.pdf", "r", "photos/r.html", "expected.json"])
def test_a_place_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    photos, expected = tmp_path / "photos", tmp_path / "expected.json"
    photos.mkdir()
    expected.write_text('{"a": 1}')
    with pytest.raises(InputError):
        check_out(tmp_path / name, [photos], expected=expected)


def test_expected_numbers_that_cannot_be_read_are_refused_without_out(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        check_out(None, [], expected=tmp_path / "none.json")


def test_a_missing_library_is_known_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "jinja2", None)
    check_out(tmp_path / "r.md", [])
    with pytest.raises(InputError, match="jinja2"):
        check_out(tmp_path / "r.html", [])


def test_only_a_page_has_drawings() -> None:
    assert wants_drawings(Path("r.HTML"))
    assert not any(map(wants_drawings, (None, Path("r.json"), Path("r.md"))))


def test_tables_are_printed_without_control_characters(
    document: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(document, out=None, as_json=False)
    out = capsys.readouterr().out
    assert "accuracy  94.77%  mean over folds" in out
    assert "Ann\\x1b[2J" in out
    assert not {"\x1b", "\x07"} & set(out)


def test_json_is_one_document(document: Document, capsys: pytest.CaptureFixture[str]) -> None:
    tell(document, out=None, as_json=True)
    assert json.loads(capsys.readouterr().out) == document.to_dict()


def test_the_page_draws_what_has_points(document: Document, tmp_path: Path) -> None:
    tell(document, out=tmp_path / "r.html", as_json=False)
    assert (tmp_path / "r.html").read_text("utf-8").count("<svg ") == 1


def test_a_deviation_is_named_after_the_report_was_written(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tmp_path / "e.json"
    expected.write_text('{"results.a": 0.51, "results.b": 1}')
    with pytest.raises(typer.Exit) as caught:
        tell(document, out=tmp_path / "r.md", as_json=False, expected=expected, tolerance=0.002)
    assert caught.value.exit_code == 1
    assert (tmp_path / "r.md").is_file()
    assert capsys.readouterr().err.splitlines() == [
        "deviates: results.a is 0.5, expected 0.51 (-0.01)",
        "deviates: results.b is missing, expected 1",
        f"2 of 2 numbers deviate from {expected} by more than 0.002",
    ]


def test_numbers_within_the_tolerance_pass(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tmp_path / "e.json"
    expected.write_text('{"results.a": 0.501}')
    tell(document, out=None, as_json=True, expected=expected, tolerance=0.002)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"] == {"a": 0.5}
    assert "1 number as expected by" in captured.err
