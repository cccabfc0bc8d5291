from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arcwise.data.targets import Targets
from arcwise.errors import DatasetError, InputError
from arcwise.files import sha256_of_file

VECTORS = np.arange(6, dtype=np.float64).reshape(3, 2)
NAMES = ["lfw/Ann/1.jpg", "lfw/Ann/2.jpg", "lfw/Bob/1.jpg"]


def test_vectors_are_found_by_person_and_file(tmp_path: Path) -> None:
    path = tmp_path / "targets.npz"
    np.savez(path, names=NAMES, vectors=VECTORS)
    targets = Targets.load(path)
    assert targets.dimension == 2
    assert targets.digest == sha256_of_file(path)
    found = targets.rows_of(["Bob/1.jpg", "elsewhere/Ann/2.jpg"])
    assert found.dtype == np.float32
    assert found.tolist() == [[4, 5], [2, 3]]


def test_a_photo_without_a_vector_is_named() -> None:
    with pytest.raises(DatasetError, match=r"no vector for 1 of 2 photos, such as Cid/1.jpg"):
        Targets(NAMES, VECTORS.astype(np.float32)).rows_of(["Ann/1.jpg", "Cid/1.jpg"])


@pytest.mark.parametrize(
    ("names", "vectors", "message"),
    [
        (NAMES[:2], VECTORS, "2 names and vectors of shape"),
        (NAMES, VECTORS[0], "shape"),
        ([], VECTORS[:0], "0 names"),
        (["Ann/1.jpg", "lfw/Ann/1.jpg", "Bob/1.jpg"], VECTORS, "names 1 photos twice"),
        (NAMES, VECTORS * np.nan, "not finite, of lfw/Ann/1.jpg"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    names: list[str], vectors: np.ndarray, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        Targets(names, vectors.astype(np.float32))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    text, other, whole = tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c.npz"
    text.write_text("no archive")
    np.savez(other, people=NAMES)
    np.savez(whole, names=NAMES, vectors=np.zeros((3, 2), np.int64))
    empty, flat = tmp_path / "d.npz", tmp_path / "e.npz"
    empty.write_bytes(b"")
    np.savez(flat, names="Ann/1.jpg", vectors=VECTORS)
    for path in (text, other, whole, empty, flat):
        with pytest.raises(DatasetError, match=path.name):
            Targets.load(path)
    with pytest.raises(InputError, match=r"missing\.npz"):
        Targets.load(tmp_path / "missing.npz")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, names=np.array([object()] * 3), vectors=VECTORS)
    with pytest.raises(DatasetError, match=r"objects\.npz"):
        Targets.load(path)
