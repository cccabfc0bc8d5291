"""An archive is taken as its headers and entries say, or refused before anything is inflated."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from arcwise.errors import InputError
from arcwise.evaluate.vectors import npz as module
from arcwise.evaluate.vectors.embedded import load_embeddings


def pack(path: Path, *, kind: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def array_bytes(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header_bytes(descr: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


NAMES, ROWS = array_bytes(["a", "b"]), array_bytes(np.eye(2))


def test_compressed_archives_are_read(tmp_path: Path) -> None:
    assert len(load_embeddings(pack(tmp_path / "x.npz", names=NAMES, vectors=ROWS))) == 2


def test_a_bomb_is_refused_before_it_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HARMLESS_BYTES", 1 << 16)
    monkeypatch.setattr(npy, "read_array", None)
    path = pack(tmp_path / "x.npz", names=NAMES, vectors=array_bytes(np.zeros((5000, 512))))
    with pytest.raises(InputError, match="would take more than"):
        load_embeddings(path)


def test_what_nobody_asks_for_is_not_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HARMLESS_BYTES", 1 << 16)
    zeros = array_bytes(np.zeros((5000, 512)))
    path = pack(tmp_path / "x.npz", names=NAMES, vectors=ROWS, masks=zeros)
    assert len(load_embeddings(path)) == 2


@pytest.mark.parametrize(
    ("vectors", "complains"),
    [
        (header_bytes("<f8", (1 << 40, 512)) + b"\0" * 64, "in 64 bytes"),
        (header_bytes("<f8", (2, 2)), "in 0 bytes"),
        (header_bytes("<U0", (1 << 40,)), "in 0 bytes"),
        (header_bytes("<f8", (-2, -2)) + b"\0" * 16, "in 16 bytes"),
        (header_bytes("|O", (2,)) + b"cposix", "would have to be unpickled"),
        (npy.magic(9, 9) + b"\0" * 100, "version"),
        (b"", "plain arrays"),
        (b"nonsense" * 10, "plain arrays"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, vectors: bytes, complains: str) -> None:
    path = pack(tmp_path / "x.npz", names=NAMES, vectors=vectors)
    with pytest.raises(InputError, match="no archive of plain arrays") as caught:
        load_embeddings(path)
    assert complains in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.npz", kind=zipfile.ZIP_LZMA, names=NAMES, vectors=ROWS)
    with pytest.raises(InputError, match="compressed"):
        load_embeddings(path)


def test_a_pickle_is_no_reason_to_recommend_pickles(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(InputError, match="plain arrays") as caught:
        load_embeddings(tmp_path / "x.npz")
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("model", [["a", "b"], [["a"]], 3])
def test_a_model_that_is_not_one_text_is_refused(tmp_path: Path, model: Any) -> None:
    np.savez(tmp_path / "x.npz", names=["a"], vectors=np.eye(1), model=model)
    with pytest.raises(InputError, match=r"x\.npz: model has shape"):
        load_embeddings(tmp_path / "x.npz")


@pytest.mark.parametrize("model", ["tiny", b"tiny"])
def test_a_model_is_one_text(tmp_path: Path, model: Any) -> None:
    np.savez(tmp_path / "x.npz", names=["a"], vectors=np.eye(1), model=model)
    assert load_embeddings(tmp_path / "x.npz").model == "tiny"


def test_vectors_that_are_not_finite_are_refused_without_a_warning(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=["a"], vectors=[[np.inf, -np.inf]])
    with pytest.raises(InputError, match="not finite"):
        load_embeddings(tmp_path / "x.npz")
