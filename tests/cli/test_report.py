"""`evaluate report` as a person types it: one page of one report, several side by side."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.evaluate.report import read_document
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Saved embeddings of 5 people, 4 photos each."""
    rng = np.random.default_rng(0)
    raw = np.repeat(rng.normal(size=(5, 16)), 4, axis=0) + 0.3 * rng.normal(size=(20, 16))
    embedded = EmbeddedPhotos(
        names=tuple(f"p{k // 4}/{k % 4}.jpg" for k in range(20)),
        raw=raw.astype(np.float32),
        mirrored=None,
        digests=tuple(f"{k:064x}" for k in range(20)),
        reasons={},
        model="fake",
        model_digest="f" * 64,
    )
    return save_embeddings(embedded, tmp_path / "vectors.npz")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it


def test_the_report_of_two_files_stands_side_by_side(
    call: Call, vectors: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        call("embeddings", "--embeddings", vectors, "--out", tmp_path / f"{name}.json")
    both = tmp_path / "both.html"
    code, out, err = call("report", tmp_path / "a.json", tmp_path / "b.json", "--out", both)
    assert code == 0, err
    assert "All of them measured the same data." in out
    assert "b − a" in both.read_text("utf-8")


def test_the_json_of_one_report_becomes_a_page(call: Call, vectors: Path, tmp_path: Path) -> None:
    call("embeddings", "--embeddings", vectors, "--out", tmp_path / "a.json")
    code, _, err = call("report", tmp_path / "a.json", "--out", tmp_path / "a.html")
    assert code == 0, err
    assert "effective rank" in (tmp_path / "a.html").read_text("utf-8")
    assert read_document(tmp_path / "a.json").date in (tmp_path / "a.html").read_text("utf-8")


def test_one_file_named_twice_is_wrong_usage(call: Call, vectors: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    call("embeddings", "--embeddings", vectors, "--out", place)
    assert call("report", place, place)[0] == 2
    assert call("report", tmp_path / "none.json")[0] == 3


def test_what_is_not_drawn_needs_no_matplotlib(call: Call, vectors: Path, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("a.json", "b.json", "both.md")]
    for place in places[:2]:
        call("embeddings", "--embeddings", vectors, "--out", place)
    words = ["evaluate", "report", *map(str, places[:2]), "--out", str(places[2])]
    code = (
        "import sys; sys.modules['matplotlib'] = None; "
        f"from arcwise.cli.run import run; sys.exit(run({words}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "side by side" in places[2].read_text("utf-8")
