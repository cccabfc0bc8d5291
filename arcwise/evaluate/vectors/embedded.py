"""Photos as vectors under their names, and the files they are kept in: what evaluators take.

It does not know where vectors come from, nor whom a photo shows beyond the folder in its name.
How the files look is known to npz.py and parquet.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.vectors.contents import Columns, Contents, to_floats, to_texts
from arcwise.evaluate.vectors.npz import read_npz, to_npz
from arcwise.files import write_atomically
from arcwise.types import Embeddings, Floats

Views = Literal["none", "sum", "concat"]
"""What becomes of the mirror image: left out, its vector added, or put behind the original's."""

SUFFIXES = (".npz", ".parquet")
"""Files that `save_embeddings` writes and `load_embeddings` reads."""

ZERO = "the model gives a vector of length 0"
"""Why a photo whose vector has no direction counts as failed."""

ABSENT = "absent"
"""In the place of a digest: there is no such photo."""

_NAMES = ("names", "name", "photos", "photo", "paths", "path")
_RAW = ("raw", "vectors", "vector", "embeddings", "embedding")
_OTHERS = ("mirrored", "digests", "photos")


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
        failed_digests: photo of `reasons` -> SHA-256 of its pixels, of its bytes where they cannot
            be decoded, or `ABSENT`; it is not there where it is not known.

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
    failed_digests: dict[str, str] = field(default_factory=dict)

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
        known = self.failed_digests
        return EmbeddedPhotos(
            names=tuple(self.names[row] for row in rows),
            raw=self.raw[rows],
            mirrored=None if self.mirrored is None else self.mirrored[rows],
            digests=tuple(self.digests[row] for row in rows),
            reasons={name: self.reasons.get(name, "not among the embeddings") for name in lost},
            model=self.model,
            model_digest=self.model_digest,
            failed_digests={name: known[name] for name in lost if name in known},
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


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse, before photos are embedded, a file that could not hold vectors of these names.

    Args:
        path: where `save_embeddings` shall write.
        names: of the photos.

    Raises:
        InputError: another suffix, no pyarrow, or a name that is no text in a .parquet.
    """
    if _suffix_of(path) != ".npz":
        import_module("arcwise.evaluate.vectors.parquet").check_texts(names)


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
    contents = Contents(columns, facts, embedded.reasons, embedded.failed_digests)
    match _suffix_of(path):
        case ".npz":
            content = to_npz(contents)
        case _:
            parquet = import_module("arcwise.evaluate.vectors.parquet")  # pyarrow is optional
            content = parquet.to_parquet(contents)
    return write_atomically(path, content, private=True)


def load_embeddings(path: Path | str, *, is_one_face: bool = False) -> EmbeddedPhotos:
    """Read vectors: what `arcwise embed --out` wrote, or anybody's names and vectors.

    Args:
        path: .npz or .parquet with a column of names (`names`, `photos` or `paths`, unique) and
            one of vectors (`raw`, `vectors` or `embeddings`, of one length). `mirrored`,
            `digests`, `model`, `model_digest` are read where they are there. Rows of zeros, as
            others write for a photo without a face, become failed reads.
        is_one_face: refuse a file with several faces of a photo, as measurements must.

    Raises:
        InputError: it cannot be read, holds no names or vectors, they do not fit each other, a
            number is not finite, something in it is pickled, or a photo has several faces.
    """
    path = Path(path)
    match _suffix_of(path):
        case ".npz":
            contents = read_npz(path, _choose_columns)
        case _:
            parquet = import_module("arcwise.evaluate.vectors.parquet")
            contents = parquet.read_parquet(path, _choose_columns)
    try:
        if is_one_face:
            _refuse_several(contents.columns)
        return _from_contents(contents)
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


def _choose_columns(names: Sequence[str]) -> list[str]:
    """What must be read: one column of names, one of vectors, and those that stand for themselves.

    Which vectors it is matters: ours has them twice, and unread ones cost no time.
    """
    first = [next((n for n in known if n in names), "") for known in (_NAMES, _RAW)]
    return [name for name in names if name in {*first, *_OTHERS}]


def _refuse_several(columns: Columns) -> None:
    """A photo that is there with several faces: which of them is the one that is meant?"""
    if (
        "names" not in columns
        or "photos" not in columns
        or columns["photos"].dtype.kind not in "US"
    ):
        return
    photos, counts = np.unique(columns["photos"], return_counts=True)
    if counts.size and counts.max() > 1:
        at = int(counts.argmax())
        raise InputError(
            f"photo {str(photos[at])!r} is there with {counts[at]} faces, and a measurement needs "
            "the one that is meant",
            hint="embed the photos again with --select center",
        )


def _from_contents(contents: Contents) -> EmbeddedPhotos:
    columns, facts = contents.columns, contents.facts
    names = to_texts(_take(columns, _NAMES), "names")
    raw = to_floats(_take(columns, _RAW), "vectors")
    mirrored = to_floats(columns["mirrored"], "mirrored") if "mirrored" in columns else None
    digests = to_texts(columns["digests"], "digests") if "digests" in columns else [""] * len(names)
    _check_rows(names, digests, raw, mirrored)
    has_length = np.asarray(raw.any(axis=1))
    lost = [name for name, has in zip(names, has_length, strict=True) if not has]
    lost_digests = {
        name: d for name, d, has in zip(names, digests, has_length, strict=True) if d and not has
    }
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
        reasons=dict.fromkeys(lost, ZERO) | dict(contents.reasons),
        model=facts.get("model", ""),
        model_digest=facts.get("model_digest", ""),
        failed_digests=lost_digests | dict(contents.failed_digests),
    )


def _take(columns: Columns, known: Sequence[str]) -> NDArray[Any]:
    found = next((name for name in known if name in columns), None)
    if found is None:
        raise InputError(
            f"there is none of the columns {', '.join(known)}",
            hint="write the file with arcwise embed --out, or rename its columns",
        )
    return columns[found]


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
        with np.errstate(invalid="ignore"):  # infinite ones of both signs; refused below
            is_finite = np.isfinite(values.sum(axis=1, dtype=np.float64))
        if not is_finite.all():
            raise InputError(f"the vector of {names[int(np.argmin(is_finite))]} is not finite")


def _check_names(names: Sequence[str], reasons: Mapping[str, str]) -> None:
    seen: set[str] = set(reasons)
    for name in names:
        if name in seen:
            raise InputError(f"photo {name!r} is there twice", hint="each name must be there once")
        seen.add(name)
