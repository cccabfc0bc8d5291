"""What all measuring commands share: refused before the work, printed, written, held."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer

from arcwise.cli.reporting import check_out, digest_photos, name_apart, tell, wants_drawings
from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Figure, Lines, Section, Table, page
from arcwise.evaluate.row import Row
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos


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


# ── what was measured ──


def photos(digests: dict[str, str], failed: dict[str, str] | None = None) -> EmbeddedPhotos:
    """Photos with a vector, and some without, by their digests; "" is unknown."""
    raw = np.ones((len(digests), 2), np.float32)
    failed = failed or {}
    known = {name: digest for name, digest in failed.items() if digest}
    reasons = dict.fromkeys(failed, "no face was found")
    return EmbeddedPhotos(
        tuple(digests), raw, None, tuple(digests.values()), reasons, "fake", "f" * 64, known
    )


def test_the_data_are_the_same_whatever_the_model_makes_of_a_photo() -> None:
    whole = digest_photos(photos({"a": "1", "b": "2"}))
    assert len(whole) == 64
    assert digest_photos(photos({"b": "2", "a": "1"})) == whole
    assert digest_photos(photos({"a": "1"}, {"b": "2"})) == whole


def test_other_photos_names_roles_and_pairs_are_other_data() -> None:
    parts = photos({"a": "1"}), photos({"b": "2"})
    digests = [
        digest_photos(photos({"a": "1", "b": "2"})),
        digest_photos(photos({"a": "1", "b": "3"})),
        digest_photos(photos({"a": "1", "c": "2"})),
        digest_photos(photos({"a": "1"}, {"b": "3"}), more=["x"]),
        digest_photos(*parts),
        digest_photos(*parts[::-1]),
        digest_photos(*parts, more=["a b 1 0"]),
    ]
    assert len(set(digests)) == len(digests)


def test_data_with_an_unknown_photo_are_unknown() -> None:
    assert digest_photos(photos({"a": "1", "b": ""})) == ""
    assert digest_photos(photos({"a": "1"}), photos({"a": "1"}, {"b": ""})) == ""


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a (2)", "a (3)"]),
        (["a", "a", "a (2)"], ["a", "a (3)", "a (2)"]),
        (["a (2)", "a", "a"], ["a (2)", "a", "a (3)"]),
    ],
)
def test_names_that_come_again_become_names_of_their_own(
    names: list[str], apart: list[str]
) -> None:
    assert name_apart(names) == apart
