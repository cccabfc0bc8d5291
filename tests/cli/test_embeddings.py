"""`evaluate embeddings` as a person types it; the gate's exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import FakeEmbedder

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Saved embeddings of 5 people, 4 photos each, and one photo without a face."""
    rng = np.random.default_rng(0)
    raw = np.repeat(rng.normal(size=(5, 16)), 4, axis=0) + 0.3 * rng.normal(size=(20, 16))
    names = tuple(f"p{k // 4}/{k % 4}.jpg" for k in range(20))
    embedded = EmbeddedPhotos(
        names=names,
        raw=raw.astype(np.float32),
        mirrored=None,
        digests=tuple(f"{k:064x}" for k in range(20)),
        reasons={"p0/9.jpg": "no face"},
        model="fake",
        model_digest="f" * 64,
        failed_digests={"p0/9.jpg": "9" * 64},
    )
    return save_embeddings(embedded, tmp_path / "vectors.npz")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it


def test_saved_embeddings_are_analyzed(call: Call, vectors: Path) -> None:
    code, out, err = call("embeddings", "--embeddings", vectors)
    assert code == 0, err
    assert "Embeddings: fake on" in out
    assert "20 photos, 1 failed reads" in out
    assert "feature quality" in out
    assert "Excellent" in out


def test_json_is_the_whole_document(call: Call, vectors: Path, tmp_path: Path) -> None:
    code, out, _ = call(
        "embeddings", "--embeddings", vectors, "--json", "--out", tmp_path / "r.json"
    )
    assert code == 0
    plain = json.loads(out)
    assert plain == json.loads((tmp_path / "r.json").read_text())
    assert plain["results"]["genuine"]["n"] == 5 * 6
    assert plain["results"]["failed"] == {"p0/9.jpg": "no face"}
    assert plain["model_digest"] == "f" * 64
    assert plain["command"].startswith("arcwise")


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_a_seed_that_no_generator_takes_is_refused(kind: str, call: Call, vectors: Path) -> None:
    given = ("--embeddings", vectors, "--map", kind, "--seed")
    assert call("embeddings", *given, 2**32 - 1)[0] == 0
    code, _, err = call("embeddings", *given, 2**32)
    assert code == 2
    assert "--seed" in err


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_the_page_shows_histogram_norms_and_map(
    kind: str, call: Call, vectors: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    code, _, err = call("embeddings", "--embeddings", vectors, "--map", kind, "--out", out)
    assert code == 0, err
    html = out.read_text("utf-8")
    assert html.count("<svg ") == 3
    assert {"pca": "principal components", "tsne": "t-SNE, seed 0"}[kind] in html
    assert "p4" in html


def test_the_digest_of_the_data_follows_the_photos(
    call: Call, vectors: Path, tmp_path: Path
) -> None:
    def digest(path: Path) -> str:
        return str(json.loads(call("embeddings", "--embeddings", path, "--json")[1])["data_digest"])

    first = digest(vectors)
    with np.load(vectors) as saved:
        columns = dict(saved)
    columns["digests"] = np.array(["0" * 64] * 20)
    np.savez(tmp_path / "other.npz", **columns)
    assert digest(vectors) == first
    assert digest(tmp_path / "other.npz") != first


def test_an_earlier_report_is_a_gate(call: Call, vectors: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    call("embeddings", "--embeddings", vectors, "--out", earlier)
    code, _, err = call("embeddings", "--embeddings", vectors, "--expected", earlier)
    assert code == 0
    assert "as expected by" in err
    plain = json.loads(earlier.read_text())
    plain["results"]["margin"] += 0.01
    earlier.write_text(json.dumps(plain))
    code, _, err = call("embeddings", "--embeddings", vectors, "--expected", earlier)
    assert code == 1
    assert "deviates: results.margin is" in err
    call_again = ("embeddings", "--embeddings", vectors, "--expected", earlier)
    assert call(*call_again, "--tolerance", "0.02")[0] == 0


def test_rubbish_is_refused_before_the_work(call: Call, vectors: Path, tmp_path: Path) -> None:
    rubbish = tmp_path / "e.json"
    rubbish.write_text("{}")
    given = ("embeddings", "--embeddings", vectors)
    assert call(*given, "--expected", rubbish)[0] == 3
    assert call(*given, "--out", tmp_path / "r.pdf")[0] == 3
    assert call(*given, "--expected", vectors, "--out", vectors)[0] == 3
    assert call("embeddings")[0] == 2


def test_vectors_of_another_model_than_the_one_named_are_refused(
    call: Call, vectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_fake(settings: Settings, **_: object) -> Recognizer:
        return Recognizer(model=FakeEmbedder(), settings=settings)

    monkeypatch.setattr("arcwise.cli.embeddings.open_recognizer", open_fake)
    code, _, err = call("embeddings", "--embeddings", vectors, "--model", "fake-embedder")
    assert code != 0
    assert "was made with fake (ffffffffffff)" in err
    assert call("embeddings", "--embeddings", vectors)[0] == 0


def test_a_file_without_a_model_is_told_as_such(call: Call, vectors: Path, tmp_path: Path) -> None:
    with np.load(vectors) as saved:
        np.savez(tmp_path / "bare.npz", names=saved["names"], vectors=saved["vectors"])
    _, out, _ = call("embeddings", "--embeddings", tmp_path / "bare.npz")
    assert out.startswith("Embeddings: an unknown model on ")
