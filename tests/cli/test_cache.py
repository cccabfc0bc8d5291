"""`arcwise cache` shows what measurements keep, and deletes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arcwise.cli.cache import cache
from arcwise.evaluate.vectors.cache import Cache, Entry
from arcwise.settings import Settings


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ARCWISE_HOME", str(tmp_path))
    return Settings.from_environment().cache_dir


@pytest.fixture
def filled(folder: Path) -> Path:
    with Cache.open(folder, model="tiny", model_digest="d" * 64, dimension=2) as kept:
        kept.add({b"1": Entry("", np.ones(2, np.float32)), b"2": Entry("", reason="no face")})
    (folder / f"{'e' * 64}.broken").write_bytes(b"nonsense")
    return folder


def test_nothing_is_kept_at_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache()
    assert f"nothing is kept in {folder}" in capsys.readouterr().out
    assert not folder.exists()


def test_each_model_is_a_row(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache()
    said = capsys.readouterr().out
    assert str(filled) in said
    assert "tiny" in said
    assert "(broken)" in said


def test_clearing_deletes_all(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache(clear=True)
    assert "deleted" in capsys.readouterr().out
    assert list(filled.iterdir()) == []


def test_json_says_the_same(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache(as_json=True)
    plain = json.loads(capsys.readouterr().out)
    assert plain["folder"] == str(filled)
    assert [(row["model"], row["n_photos"]) for row in plain["files"]] == [("tiny", 2), (None, 0)]
    assert plain["freed_bytes"] == 0
    cache(clear=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["freed_bytes"] > 8


def test_an_empty_file_is_called_that(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(parents=True)
    (folder / f"{'d' * 64}.db").touch()
    cache()
    assert "(empty)" in capsys.readouterr().out


def test_clearing_says_what_is_in_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Cache.open(folder, model="tiny", model_digest="d" * 64, dimension=2) as kept:
        kept.add({b"1": Entry("", np.ones(2, np.float32))})
        cache(clear=True)
    assert "1 file in use: emptied" in capsys.readouterr().err
