"""`arcwise export` says what it wrote and what to do next, or why it wrote nothing."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

import arcwise.export
from arcwise.cli.run import run as call_cli
from arcwise.encode import write_image
from arcwise.testing import draw_photo
from arcwise.zoo.card import load_card
from tests.test_export import DIMENSION, make_run, traced, trained

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(arcwise.export, "_trace", lambda *_: copy.deepcopy(traced()))
    return make_run(tmp_path / "run", trained())


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = call_cli([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_says_what_it_wrote_and_what_is_next(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out, weights = tmp_path / "my model.onnx", tmp_path / "weights.safetensors"
    words = ("--license", "MIT", "--weights", weights)
    code, text, err = call(capsys, "export", run, "--out", out, *words)
    assert (code, err) == (0, "")
    wrote, kept, answers, following = text.splitlines()
    assert wrote.startswith(f"wrote {out} and its card: {DIMENSION} dimensions, 9.3 MB")
    assert kept == f"wrote {weights}: float16, 4.7 MB"
    assert "largest difference" in answers
    assert "of the norm" in answers
    assert following == f"next: arcwise identify PHOTO --model '{out}'"


def test_the_options_reach_the_card(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    words = ("--license", "mine", "--no-commercial", "--name", "faces", "--grade", "good", "--half")
    code, text, _ = call(capsys, "export", run, "--out", tmp_path / "new", *words, "--json")
    plain = json.loads(text)
    card = load_card(tmp_path / "new" / "faces.onnx")
    assert code == 0
    assert plain == card.model_dump() | {
        "path": str(tmp_path / "new" / "faces.onnx"),
        "digest": card.digest,
        "size_bytes": (tmp_path / "new" / "faces.onnx").stat().st_size,
        "weights": None,
    }
    assert (card.license.name, card.license.commercial_use) == ("mine", False)
    assert (card.name, card.grade) == ("faces", "good")
    assert "float16" in card.note


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "Missing option '--license'"),
        (["--license", " "], 2, "--license is ' '"),
        (["--license", "MIT", "--grade", "best"], 2, "--grade"),
        (["--license", "MIT", "--checkpoint", "best"], 6, "there is no checkpoint at"),
        (["--license", "MIT", "--checkpoint", "first"], 2, "--checkpoint"),
        (["--license", "MIT", "--weights", "w.pt"], 3, "cannot write weights to w.pt"),
        (["--license", "MIT", "--name", "A B"], 3, "no model can have the name 'A B'"),
    ],
)
def test_what_cannot_be_done_is_one_complaint(
    capsys: pytest.CaptureFixture[str],
    run: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    complaint: str,
) -> None:
    found, out, err = call(capsys, "export", run, "--out", tmp_path / "model.onnx", *words)
    assert (found, out) == (code, "")
    assert complaint in err
    assert "Traceback" not in err
    assert not (tmp_path / "model.onnx").exists()


def test_an_older_model_is_replaced_only_when_asked(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    out.write_text("old")
    words = ("export", run, "--out", out, "--license", "MIT")
    code, _, err = call(capsys, *words)
    assert (code, out.read_text()) == (3, "old")
    assert err == f"arcwise: {out} exists already\n  try: --overwrite replaces it\n"
    assert call(capsys, *words, "--overwrite")[0] == 0
    assert load_card(out).dimension == DIMENSION


@pytest.mark.slow
def test_from_a_run_to_embeddings_in_two_commands(tmp_path: Path) -> None:
    """For real, in processes of their own; the exporter's talk to its developers is not heard."""
    make_run(tmp_path / "run", trained())
    write_image(tmp_path / "photo.png", draw_photo([1, 2]).image)
    done = [
        subprocess.run(
            [sys.executable, "-W", "default", "-m", "arcwise", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in (
            ["export", "run", "--out", "model.onnx", "--license", "MIT"],
            ["embed", "photo.png", "--model", "model.onnx", "--out", "vectors.npz", "--json"],
        )
    ]
    assert [(process.returncode, process.stderr) for process in done] == [(0, ""), (0, "")]
    assert done[0].stdout.startswith("wrote model.onnx and its card")
    faces = json.loads(done[1].stdout)[0]["faces"]
    assert {len(face["embedding"]) for face in faces} == {DIMENSION}
