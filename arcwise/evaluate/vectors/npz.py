"""Vectors as .npz: plain arrays of numpy, of which nothing is unpickled.

It does not know what the columns mean: embedded.py does. Photos without a vector are the arrays
`failed_names`, `failed_reasons` and `failed_digests`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from arcwise.errors import InputError
from arcwise.evaluate.vectors.contents import FACTS, Contents, to_texts
from arcwise.files import translate_os_errors

_FAILED = ("failed_names", "failed_reasons", "failed_digests")
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
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise TypeError("one array without a name")
            own = [name for name in archive.files if name in (*FACTS, *_FAILED)]
            arrays = {name: archive[name] for name in {*choose(archive.files), *own}}
    except _BROKEN as exc:
        hint = "save plain arrays: np.savez(path, names=[...], vectors=array)"
        raise InputError(f"{path} is no archive of plain arrays: {exc}", hint=hint) from exc
    facts = {name: str(arrays.pop(name)) for name in FACTS if name in arrays}
    failed = [to_texts(arrays.pop(name), name) for name in _FAILED if name in arrays]
    if len({len(texts) for texts in failed}) > 1:
        raise InputError(f"{path}: {', '.join(_FAILED)} are not of one length")
    if len(failed) < 2:
        return Contents(arrays, facts, {})
    names, reasons, *digests = failed
    known = zip(names, digests[0], strict=True) if digests else ()
    return Contents(
        arrays, facts, dict(zip(names, reasons, strict=True)), {n: d for n, d in known if d}
    )
