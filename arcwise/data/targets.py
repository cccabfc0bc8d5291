"""Saved embeddings of another model, by name of the photo: what a student learns to answer.

It does not know networks. The file is a numpy archive (.npz) with `names` (N strings) and
`vectors` (N, T); nothing in it is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arcwise.errors import DatasetError
from arcwise.files import sha256_of_file
from arcwise.types import Floats

_BROKEN = (EOFError, OSError, zipfile.BadZipFile, zlib.error)


class Targets:
    """Vectors by name of the photo.

    A name fits a photo when both agree in person and file, `PERSON/FILE`, whatever folders lie
    above.

    Args:
        names: of the photos, with "/".
        vectors: (N, T) finite numbers, as the other model gives them.
        origin: what to call them in an error.
        digest: SHA-256 of the file they come from.

    Raises:
        DatasetError: not one vector for each name, a name twice, or a number that is not finite.
    """

    def __init__(
        self, names: Sequence[str], vectors: Floats, *, origin: str = "targets", digest: str = ""
    ) -> None:
        self.origin = origin
        self.digest = digest
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if self.vectors.ndim != 2 or len(names) != len(self.vectors) or not len(names):
            raise DatasetError(
                f"{origin} holds {len(names)} names and vectors of shape {np.shape(vectors)}",
                hint="there must be one row for each name",
            )
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0])
            raise DatasetError(f"{origin} holds a vector that is not finite, of {names[row]}")
        self._rows = {_short(name): row for row, name in enumerate(names)}
        if len(self._rows) < len(names):
            raise DatasetError(
                f"{origin} names {len(names) - len(self._rows)} photos twice",
                hint="PERSON/FILE must be different for each photo",
            )

    @property
    def dimension(self) -> int:
        """T, length of the vectors."""
        return int(self.vectors.shape[1])

    @classmethod
    def load(cls, path: Path | str) -> Targets:
        """Read a file of names and vectors.

        Raises:
            DatasetError: it is no such file.
            InputError: it cannot be read.
        """
        path = Path(path)
        digest = sha256_of_file(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                names, vectors = archive["names"], archive["vectors"]
        except (*_BROKEN, AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            raise DatasetError(
                f"{path} does not hold names and vectors: {exc}",
                hint="np.savez(path, names=[...], vectors=array)",
            ) from exc
        if names.ndim != 1:
            raise DatasetError(f"the names of {path} have shape {names.shape}, not (N,)")
        if vectors.dtype.kind != "f":
            raise DatasetError(f"the vectors of {path} are {vectors.dtype}, not floating point")
        return cls([str(name) for name in names], vectors, origin=path.name, digest=digest)

    def rows_of(self, photos: Sequence[str]) -> Floats:
        """The vectors of photos.

        Returns:
            (len(photos), T) float32.

        Raises:
            DatasetError: some of them have none.
        """
        missing = [photo for photo in photos if _short(photo) not in self._rows]
        if missing:
            raise DatasetError(
                f"{self.origin} has no vector for {len(missing)} of {len(photos)} photos, "
                f"such as {missing[0]}",
                hint="leave these photos out (data.leave_out), or complete the file",
            )
        result: Floats = self.vectors[[self._rows[_short(photo)] for photo in photos]]
        return result


def _short(name: str) -> str:
    return "/".join(name.split("/")[-2:])
