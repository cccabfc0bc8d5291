"""Vectors as .npz: plain arrays of numpy, of which nothing is unpickled.

It does not know what the columns mean: embedded.py does. Photos without a vector are the arrays
`failed_names`, `failed_reasons` and `failed_digests`.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.vectors.contents import FACTS, Contents, to_text, to_texts
from arcwise.files import translate_os_errors

_SUFFIX = ".npy"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_HARMLESS_BYTES = 256 << 20  # of all arrays: inflated in a second
_MOST_TIMES = 100
"""Times the file that its arrays may take, where they take more than is harmless (our choice):
floats hardly compress, names and empty digests of 4 bytes a letter some 50 times; a bomb 1,000."""
_FAILED = ("failed_names", "failed_reasons", "failed_digests")
_BROKEN = (
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,  # numpy's, of a header that is not Python
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def to_npz(contents: Contents) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    reasons, digests = contents.reasons, contents.failed_digests
    failed = (list(reasons), list(reasons.values()), [digests.get(name, "") for name in reasons])
    arrays: dict[str, Any] = dict(contents.columns)
    arrays |= {name: np.array(texts, np.str_) for name, texts in zip(_FAILED, failed, strict=True)}
    arrays |= {name: np.array(text, np.str_) for name, text in contents.facts.items()}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_npz(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> Contents:
    """What a file holds, ours or anybody's.

    Args:
        path: where it is.
        choose: which of its columns to read.

    Raises:
        InputError: it cannot be read, or something in it is pickled.
    """
    try:
        with translate_os_errors(path, doing="read"), path.open("rb") as file:
            arrays = _read_arrays(file, path, choose)
    except _BROKEN as exc:
        hint = "save plain arrays: np.savez(path, names=[...], vectors=array)"
        raise InputError(f"{path} is no archive of plain arrays: {exc}", hint=hint) from exc
    try:
        return _sort_arrays(arrays)
    except InputError as exc:
        raise InputError(f"{path}: {exc}", hint=exc.hint) from exc


def _sort_arrays(arrays: dict[str, NDArray[Any]]) -> Contents:
    """What holds for all rows and for none of them, taken out of the columns."""
    facts = {name: to_text(arrays.pop(name), name) for name in FACTS if name in arrays}
    failed = [to_texts(arrays.pop(name), name) for name in _FAILED if name in arrays]
    if len({len(texts) for texts in failed}) > 1:
        raise InputError(f"{', '.join(_FAILED)} are not of one length")
    if len(failed) < 2:
        return Contents(arrays, facts, {})
    names, reasons, *digests = failed
    known = zip(names, digests[0], strict=True) if digests else ()
    return Contents(
        arrays, facts, dict(zip(names, reasons, strict=True)), {n: d for n, d in known if d}
    )


def _read_arrays(
    file: BinaryIO, path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, NDArray[Any]]:
    if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
        raise ValueError("one array without a name")
    largest = max(_HARMLESS_BYTES, _MOST_TIMES * file.seek(0, os.SEEK_END))
    with zipfile.ZipFile(file) as archive:
        entries = {
            entry.filename.removesuffix(_SUFFIX): entry
            for entry in archive.infolist()
            if entry.filename.endswith(_SUFFIX)
        }
        own = [name for name in entries if name in (*FACTS, *_FAILED)]
        wanted = {name: entries[name] for name in {*choose(list(entries)), *own}}
        if sum(entry.file_size for entry in wanted.values()) > largest:
            raise InputError(
                f"what {path} holds would take more than {largest / 1e6:,.0f} MB, far more than "
                "vectors in a file of its size",
                hint="save plain arrays with np.savez, which does not compress them",
            )
        return {name: _read_array(archive, entry) for name, entry in wanted.items()}


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """One array, once its header is seen to say what there is: numpy makes room by it."""
    with archive.open(entry) as file:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is compressed as numpy does not")
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename} has version {version} of the format")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{entry.filename} holds objects, which would have to be unpickled")
        n_bytes = entry.file_size - file.tell()
        if not dtype.itemsize or math.prod(shape) * dtype.itemsize != n_bytes:
            raise ValueError(f"{entry.filename} has shape {shape} of {dtype} in {n_bytes:,} bytes")
    with archive.open(entry) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array
