"""Photos as vectors under their names, and the files they are kept in: what evaluators take.

It does not know where vectors come from, nor whom a photo shows beyond the folder in its name.
Nothing is unpickled; how Parquet looks is known to parquet.py.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.files import translate_os_errors, write_atomically
from arcwise.types import Embeddings, Floats

Views = Literal["none", "sum", "concat"]
"""What becomes of the mirror image: left out, its vector added, or put behind the original's."""

Columns = Mapping[str, NDArray[Any]]
"""What a file holds, by name: arrays without pickle."""

Contents = tuple[dict[str, NDArray[Any]], dict[str, str], dict[str, str]]
"""Of a file: its columns, its facts (model, model_digest), and the reasons of failed photos."""

SUFFIXES = (".npz", ".parquet")
"""Files that `save_embeddings` writes and `load_embeddings` reads."""

ZERO = "the model gives a vector of length 0"
"""Why a photo whose vector has no direction counts as failed."""

_NAMES = ("names", "name", "photos", "photo", "paths", "path")
_RAW = ("raw", "vectors", "vector", "embeddings", "embedding")
_FACTS = ("model", "model_digest")
_FAILED = ("failed_names", "failed_reasons")
_OTHERS = ("mirrored", "digests", *_FACTS, *_FAILED)
_BROKEN = (
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,  # numpy's, of a header that is not Python
    TypeError,
    ValueError,  # numpy's, of an array of objects, which would have to be unpickled
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddedPhotos:
    """Photos as one model sees them.

    Attributes:
        names: photos with a vector, each once, "/"-separated.
        raw: (N, D) float32, as the model gives them, not normalized; none has length 0.
        mirrored: (N, D) float32 of the mirror images, or None where they were not embedded.
        digests: SHA-256 of the pixels, hex, "" where it is not known.
        reasons: photo -> why it has no vector.
        model: its name, "" where it is not known.
        model_digest: its digest, "" where it is not known.

    Raises:
        InputError: the parts do not fit each other, a name comes twice, a number is not finite,
            or a vector has length 0.
    """

    names: tuple[str, ...]
    raw: Floats
    mirrored: Floats | None
    digests: tuple[str, ...]
    reasons: dict[str, str]
    model: str
    model_digest: str

    def __post_init__(self) -> None:
        _check_names(self.names, self.reasons)
        _check_rows(self.names, self.digests, self.raw, self.mirrored)
        empty = np.flatnonzero(~self.raw.any(axis=1))
        if len(empty):
            raise InputError(f"the vector of {self.names[empty[0]]} has length 0")

    def __len__(self) -> int:
        return len(self.names)

    def matrix(self, views: Views = "sum") -> Floats:
        """The vectors, in the order of `names`.

        Args:
            views: "none" (original alone), "sum" (original + mirrored, as ArcFace evaluates), or
                "concat" (the mirrored one behind the original).

        Returns:
            (N, D) float32, (N, 2D) for "concat"; not normalized.

        Raises:
            InputError: the mirror images were not embedded, or `views` is another word.
        """
        if views not in get_args(Views):
            raise InputError(f"views is {views!r}", hint=f"use one of {', '.join(get_args(Views))}")
        if views == "none":
            return self.raw
        if self.mirrored is None:
            raise InputError(
                "the mirror images were not embedded",
                hint="embed the photos with --flip, or measure with --no-flip",
            )
        if views == "sum":
            return self.raw + self.mirrored
        return np.concatenate([self.raw, self.mirrored], axis=1)

    def vectors(self, views: Views = "sum") -> dict[str, Floats]:
        """Each photo's vector by its name: (D,) or (2D,) float32, a row of `matrix(views)`."""
        return dict(zip(self.names, self.matrix(views), strict=True))

    def embeddings(self) -> Embeddings:
        """The mean of the views there are, ready to compare: N of norm 1, with their norms."""
        if self.mirrored is None:
            return Embeddings.from_raw(self.raw)
        return Embeddings.from_raw(self.matrix("sum") * np.float32(0.5))

    def norms(self) -> Floats:
        """(N,) float32, length of each vector of `raw`."""
        return Embeddings.from_raw(self.raw).norms

    def digest_of(self) -> dict[str, str]:
        """Each photo's digest of its pixels by its name; those that are not known are left out."""
        return {name: d for name, d in zip(self.names, self.digests, strict=True) if d}

    def choose(self, names: Sequence[str]) -> EmbeddedPhotos:
        """The same of some photos only, in the order given.

        Args:
            names: of photos; one that is not there has the reason "not among the embeddings".
        """
        row_of = {name: row for row, name in enumerate(self.names)}
        wanted = list(dict.fromkeys(names))
        rows = [row_of[name] for name in wanted if name in row_of]
        lost = [name for name in wanted if name not in row_of]
        return EmbeddedPhotos(
            names=tuple(self.names[row] for row in rows),
            raw=self.raw[rows],
            mirrored=None if self.mirrored is None else self.mirrored[rows],
            digests=tuple(self.digests[row] for row in rows),
            reasons={name: self.reasons.get(name, "not among the embeddings") for name in lost},
            model=self.model,
            model_digest=self.model_digest,
        )


def person_of_photo(name: str) -> str:
    """Whom a photo PERSON/FILE shows: the folder it lies in, with all folders above it.

    Raises:
        InputError: it lies in no folder.
    """
    person = name.rpartition("/")[0]
    if not person:
        raise InputError(
            f"{name!r} lies in no person's folder", hint="a photo is called PERSON/FILE"
        )
    return person


def save_embeddings(
    embedded: EmbeddedPhotos, path: Path | str, *, more: Columns | None = None
) -> Path:
    """Write vectors into a file that only its owner can read: they are biometric data.

    Args:
        embedded: what to write.
        path: ends in .npz or .parquet.
        more: further columns, one row for each photo; columns of our own are not replaced.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a further column of another length, no pyarrow, or the place
            cannot be written.
    """
    path = Path(path)
    columns = dict(more or {}) | _to_columns(embedded)
    for name, column in columns.items():
        if len(column) != len(embedded):
            raise InputError(f"column {name} has {len(column)} rows for {len(embedded)} photos")
    facts = {"model": embedded.model, "model_digest": embedded.model_digest}
    match _suffix_of(path):
        case ".npz":
            content = _to_npz(columns, facts, embedded.reasons)
        case _:
            parquet = import_module("arcwise.evaluate.vectors.parquet")  # pyarrow is optional
            content = parquet.to_parquet(columns, facts, embedded.reasons)
    return write_atomically(path, content, private=True)


def load_embeddings(path: Path | str) -> EmbeddedPhotos:
    """Read vectors: what `arcwise embed --out` wrote, or anybody's names and vectors.

    Args:
        path: .npz or .parquet with a column of names (`names`, `photos` or `paths`, unique) and
            one of vectors (`raw`, `vectors` or `embeddings`, of one length). `mirrored`,
            `digests`, `model`, `model_digest` are read where they are there. Rows of zeros, as
            others write for a photo without a face, become failed reads.

    Raises:
        InputError: it cannot be read, holds no names or vectors, they do not fit each other, a
            number is not finite, or something in it is pickled.
    """
    path = Path(path)
    match _suffix_of(path):
        case ".npz":
            columns, facts, reasons = _read_npz(path)
        case _:
            columns, facts, reasons = _read_parquet(path)
    try:
        return _from_columns(columns, facts, reasons)
    except InputError as exc:
        raise InputError(f"{path}: {exc}", hint=exc.hint) from exc


def _suffix_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path} is no file of embeddings", hint=f"its name must end in {' or '.join(SUFFIXES)}"
        )
    return suffix


def _to_columns(embedded: EmbeddedPhotos) -> dict[str, NDArray[Any]]:
    mean = embedded.embeddings()
    columns: dict[str, NDArray[Any]] = {
        "names": np.array(embedded.names, np.str_),
        "vectors": mean.vectors,
        "norms": mean.norms,
        "raw": embedded.raw,
        "digests": np.array(embedded.digests, np.str_),
    }
    if embedded.mirrored is not None:
        columns["mirrored"] = embedded.mirrored
    return columns


def _to_npz(columns: Columns, facts: Mapping[str, str], reasons: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    failed = {
        "failed_names": np.array(list(reasons), np.str_),
        "failed_reasons": np.array(list(reasons.values()), np.str_),
    }
    plain = {name: np.array(text, np.str_) for name, text in facts.items()}
    arrays: dict[str, Any] = {**columns, **failed, **plain}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _read_parquet(path: Path) -> Contents:
    contents: Contents = import_module("arcwise.evaluate.vectors.parquet").read_parquet(
        path, _choose_columns
    )
    return contents


def _choose_columns(names: Sequence[str]) -> list[str]:
    """What must be read: one column of names, one of vectors, and those that stand for themselves.

    Which vectors it is matters: ours has them twice, and unread ones cost no time.
    """
    first = [next((n for n in known if n in names), "") for known in (_NAMES, _RAW)]
    return [name for name in names if name in {*first, *_OTHERS}]


def _read_npz(path: Path) -> Contents:
    try:
        with translate_os_errors(path, doing="read"), path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise TypeError("one array without a name")
            columns = {name: archive[name] for name in _choose_columns(archive.files)}
    except _BROKEN as exc:
        hint = "save plain arrays: np.savez(path, names=[...], vectors=array)"
        raise InputError(f"{path} is no archive of plain arrays: {exc}", hint=hint) from exc
    facts = {name: str(columns.pop(name)) for name in _FACTS if name in columns}
    failed = [to_texts(columns.pop(name), name) for name in _FAILED if name in columns]
    return columns, facts, dict(zip(*failed, strict=True)) if len(failed) == 2 else {}


def _from_columns(
    columns: Columns, facts: Mapping[str, str], reasons: dict[str, str]
) -> EmbeddedPhotos:
    names = to_texts(_take(columns, _NAMES), "names")
    raw = _to_floats(_take(columns, _RAW), "vectors")
    mirrored = _to_floats(columns["mirrored"], "mirrored") if "mirrored" in columns else None
    digests = to_texts(columns["digests"], "digests") if "digests" in columns else [""] * len(names)
    _check_rows(names, digests, raw, mirrored)
    has_length = np.asarray(raw.any(axis=1))
    lost = [name for name, has in zip(names, has_length, strict=True) if not has]
    if lost:  # others write zeros for a photo without a face
        names = [name for name, has in zip(names, has_length, strict=True) if has]
        digests = [digest for digest, has in zip(digests, has_length, strict=True) if has]
        raw = raw[has_length]
        mirrored = None if mirrored is None else mirrored[has_length]
    return EmbeddedPhotos(
        names=tuple(names),
        raw=raw,
        mirrored=mirrored,
        digests=tuple(digests),
        reasons=dict.fromkeys(lost, ZERO) | reasons,
        model=facts.get("model", ""),
        model_digest=facts.get("model_digest", ""),
    )


def _take(columns: Columns, known: Sequence[str]) -> NDArray[Any]:
    found = next((name for name in known if name in columns), None)
    if found is None:
        raise InputError(
            f"there is none of the columns {', '.join(known)}",
            hint="write the file with arcwise embed --out, or rename its columns",
        )
    return columns[found]


def to_texts(column: NDArray[Any], name: str) -> list[str]:
    """A column of texts, whether they are characters or UTF-8.

    Raises:
        InputError: it holds something else.
    """
    if column.ndim != 1 or column.dtype.kind not in "US":
        raise InputError(f"{name} has shape {column.shape} of {column.dtype}, not (N,) texts")
    try:
        return [text.decode() if isinstance(text, bytes) else text for text in column.tolist()]
    except UnicodeDecodeError as exc:
        raise InputError(f"{name} holds a text that is not UTF-8") from exc


def _to_floats(column: NDArray[Any], name: str) -> Floats:
    if column.ndim != 2 or column.dtype.kind != "f":
        raise InputError(f"{name} has shape {column.shape} of {column.dtype}, not (N, D) floats")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.ascontiguousarray(column, dtype=np.float32)


def _check_rows(
    names: Sequence[str], digests: Sequence[str], raw: Floats, mirrored: Floats | None
) -> None:
    n = len(names)
    if len(raw) != n or len(digests) != n:
        raise InputError(f"{n} names for {len(raw)} vectors and {len(digests)} digests")
    if mirrored is not None and mirrored.shape != raw.shape:
        raise InputError(f"the mirrored vectors have shape {mirrored.shape}, not {raw.shape}")
    for values in (raw,) if mirrored is None else (raw, mirrored):
        if values.dtype != np.float32 or values.ndim != 2 or not values.shape[1]:
            raise InputError(f"vectors have shape {values.shape} {values.dtype}, not (N, D) floats")
        is_finite = np.isfinite(values.sum(axis=1, dtype=np.float64))
        if not is_finite.all():
            raise InputError(f"the vector of {names[int(np.argmin(is_finite))]} is not finite")


def _check_names(names: Sequence[str], reasons: Mapping[str, str]) -> None:
    seen: set[str] = set(reasons)
    for name in names:
        if name in seen:
            raise InputError(f"photo {name!r} is there twice", hint="each name must be there once")
        seen.add(name)
