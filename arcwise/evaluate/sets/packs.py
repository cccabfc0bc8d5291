"""Packs of verification pairs: all photos and the answers in one `.bin` or `.npz`.

A `.bin` is a pickle of (photos, answers), as InsightFace ships lfw.bin, cfp_fp.bin, agedb_30.bin
and others: photos are encoded JPEG or PNG in the order a0, b0, a1, b1, ..., answers are truths,
one for each pair. It is read by unpickle.py, which runs nothing of it. The `.npz` is ours and holds
the same without a pickle. This opens no photo. Source: lfw2pack.py and eval/verification.py of
InsightFace.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.folds import assign_folds
from arcwise.evaluate.sets.pickled import PickledArray
from arcwise.evaluate.sets.unpickle import read_pickled
from arcwise.files import translate_os_errors, write_atomically
from arcwise.types import Pair

PACK_SUFFIXES = (".bin", ".npz")
"""Files with these endings are packs."""

KNOWN_PACKS = {
    "lfw": 6_000,
    "cfp_ff": 7_000,
    "cfp_fp": 7_000,
    "agedb_30": 6_000,
    "calfw": 6_000,
    "cplfw": 6_000,
}
"""Pairs of the packs that InsightFace published, half of them of one person; two photos each."""

_PICKLE_PROTOCOL = 4  # Python 3.4 and later; what InsightFace's loaders read
_ZIP_MAGIC = b"PK\x03\x04"
_NPZ_PARTS = {"content": "|u1", "ends": "<i8", "is_same": "|b1"}
_HINT = (
    "a .bin is a pickle of two things: a list of encoded photos, two for each pair, and a list of "
    "True or False, one for each pair"
)
_HINT_NPZ = "a pack in this form is written by arcwise data make-bin"


@dataclass(frozen=True, eq=False, slots=True)
class Pack:
    """Pairs with their photos.

    Attributes:
        name: of the file, without its ending.
        images: encoded photos, 2P of them: the two of pair i are at 2i and 2i + 1.
        is_same: (P,) bool, whether both show one person.
        notes: in which counts it differs from the published pack of that name; mostly empty.
    """

    name: str
    images: tuple[bytes, ...]
    is_same: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    @property
    def photo_names(self) -> tuple[str, ...]:
        """What the photos are called in pairs and reports: NAME/000000 and so on."""
        return tuple(f"{self.name}/{i:06d}" for i in range(len(self.images)))


def read_pack(path: Path | str) -> Pack:
    """Read a `.bin` or `.npz`; which of them it is, its content says.

    Nothing that a `.bin` asks for is run, imported or looked up; see unpickle.py.

    Args:
        path: of the file. Its photos stay in memory.

    Raises:
        DatasetError: it asks for anything but bytes (the message names what), is cut short, or
            holds something other than two photos for each answer.
        InputError: it cannot be read.
    """
    path = Path(path)
    with translate_os_errors(path, doing="read"), path.open("rb") as file:
        is_npz = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    images, is_same = _read_npz(path) if is_npz else _parse_pickled(read_pickled(path), path)
    if len(images) != 2 * len(is_same):
        raise DatasetError(
            f"{path} holds {len(images):,} photos for {len(is_same):,} pairs", hint=_HINT
        )
    if not len(is_same):
        raise DatasetError(f"{path} holds no pairs", hint=_HINT)
    return Pack(path.stem, images, is_same, _tell_counts(path.stem, is_same))


def write_pack(path: Path | str, images: Sequence[bytes], is_same: Sequence[bool]) -> Path:
    """Write a pack, whole or not at all.

    A `.bin` holds plain bytes and bools in protocol 4, which any Python 3 reads with pickle.load.
    A photo given several times as the same object is written once.

    Args:
        path: ends in .bin or .npz.
        images: 2P encoded photos, a0, b0, a1, b1, ...; kept as they are.
        is_same: P truths.

    Returns:
        The path.

    Raises:
        InputError: another ending, no pairs, other than two photos for each pair, or the place
            cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in PACK_SUFFIXES:
        raise InputError(
            f"cannot write {path.name}", hint=f"end its name with {' or '.join(PACK_SUFFIXES)}"
        )
    if not len(is_same) or len(images) != 2 * len(is_same):
        raise InputError(
            f"{len(images):,} photos for {len(is_same):,} pairs", hint="a pair has two photos"
        )
    truths = [bool(answer) for answer in is_same]
    if path.suffix.lower() == ".npz":
        return write_atomically(path, _to_npz(images, truths))
    content = pickle.dumps(([bytes(image) for image in images], truths), protocol=_PICKLE_PROTOCOL)
    return write_atomically(path, content)


def pack_pairs(pack: Pack, *, n_folds: int = 10) -> list[Pair]:
    """The pairs of a pack, in contiguous folds.

    Args:
        pack: as `read_pack` gives it.
        n_folds: a pack does not state its folds; those that were published have ten.

    Returns:
        Pairs of `pack.photo_names`.

    Raises:
        DatasetError: too few pairs of a class to fill the folds.
        InputError: `n_folds` is less than 2.
    """
    names = pack.photo_names
    pairs = [
        Pair(a, b, bool(is_same), 0)
        for a, b, is_same in zip(names[::2], names[1::2], pack.is_same, strict=True)
    ]
    return assign_folds(pairs, n_folds, name=pack.name)


# ── .bin ──


def _parse_pickled(value: Any, path: Path) -> tuple[tuple[bytes, ...], NDArray[np.bool_]]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise DatasetError(f"{path} holds {_describe(value)}, not two things", hint=_HINT)
    images, answers = value
    if not isinstance(images, tuple | list):
        raise DatasetError(f"{path} holds {_describe(images)} as its photos", hint=_HINT)
    found = tuple(_parse_image(image, f"{path}: photo {i}") for i, image in enumerate(images))
    return found, _parse_answers(answers, path)


def _parse_image(image: Any, place: str) -> bytes:
    if isinstance(image, bytes):
        return image
    is_flat = isinstance(image, PickledArray) and max(image.shape, default=1) == len(image.content)
    if not is_flat or image.kind != "u1":
        raise DatasetError(
            f"{place} is {_describe(image)}, not encoded bytes",
            hint="each photo is the content of its .jpg or .png",
        )
    return image.content  # type: ignore[no-any-return]


def _parse_answers(answers: Any, path: Path) -> NDArray[np.bool_]:
    if isinstance(answers, PickledArray):
        if len(answers.shape) != 1:
            raise DatasetError(f"{path} holds {_describe(answers)} as its answers", hint=_HINT)
        answers = list(answers.content)
    if not isinstance(answers, tuple | list):
        raise DatasetError(f"{path} holds {_describe(answers)} as its answers", hint=_HINT)
    for i, answer in enumerate(answers):
        if not isinstance(answer, int) or answer not in (0, 1):  # a bool is an int, too
            raise DatasetError(f"{path}: answer {i} is {_describe(answer)}, no truth", hint=_HINT)
    return np.array(answers, dtype=np.bool_)


def _describe(value: Any) -> str:
    """Short and without walking into it: a list may hold itself."""
    if isinstance(value, PickledArray):
        return f"an array of shape {value.shape} and kind {value.kind}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value):,}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _tell_counts(name: str, is_same: NDArray[np.bool_]) -> tuple[str, ...]:
    published = KNOWN_PACKS.get(name.lower().replace("-", "_"))
    n_pairs, n_same = len(is_same), int(is_same.sum())
    if published is None or (n_pairs, 2 * n_same) == (published, published):
        return ()
    return (
        f"{name} holds {n_pairs:,} pairs, {n_same:,} of one person; the published pack of that "
        f"name holds {published:,}, {published // 2:,} of one person",
    )


# ── .npz ──


def _to_npz(images: Sequence[bytes], is_same: Sequence[bool]) -> bytes:
    buffer = io.BytesIO()
    np.savez(  # stored, not deflated: photos are compressed already
        buffer,
        content=np.frombuffer(b"".join(images), np.uint8),
        ends=np.cumsum([len(image) for image in images], dtype=np.int64),
        is_same=np.array(is_same, np.bool_),
    )
    return buffer.getvalue()


def _read_npz(path: Path) -> tuple[tuple[bytes, ...], NDArray[np.bool_]]:
    parts = _read_npz_parts(path)
    ends = parts["ends"]
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    if (ends < starts).any() or (int(ends[-1]) if len(ends) else 0) != len(parts["content"]):
        raise DatasetError(f"{path}: photos do not fit into its content", hint=_HINT_NPZ)
    content = parts["content"]
    images = (content[start:end].tobytes() for start, end in zip(starts, ends, strict=True))
    return tuple(images), parts["is_same"].view(np.uint8) != 0


def _read_npz_parts(path: Path) -> dict[str, NDArray[Any]]:
    parts = {}
    try:
        with translate_os_errors(path, doing="read"), zipfile.ZipFile(path) as archive:
            for name in _NPZ_PARTS:
                member = archive.getinfo(f"{name}.npy")
                if member.compress_type != zipfile.ZIP_STORED:  # it could swell without limit
                    raise DatasetError(f"{path}: {name} is compressed", hint=_HINT_NPZ)
                with archive.open(member) as file:
                    parts[name] = np.lib.format.read_array(file, allow_pickle=False)
    except (KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, MemoryError) as exc:
        raise DatasetError(f"{path} is no pack: {exc}", hint=_HINT_NPZ) from exc
    for name, kind in _NPZ_PARTS.items():
        if parts[name].dtype.str != kind or parts[name].ndim != 1:
            raise DatasetError(
                f"{path}: {name} is {parts[name].dtype.str} of shape {parts[name].shape}",
                hint=_HINT_NPZ,
            )
    return parts
