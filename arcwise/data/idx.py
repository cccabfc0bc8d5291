"""The index of a record file (.idx): at which byte each record begins, by key.

It does not know what is in the records. The file is text with a line `key TAB offset` for each.
Source: MXIndexedRecordIO of MXNet (mxnet.recordio).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError
from arcwise.files import read_bytes, write_atomically

_LINES_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Index:
    """Where records begin.

    Attributes:
        keys: (n,) int64, each once.
        offsets: (n,) int64 bytes from the start of the record file.
    """

    keys: NDArray[np.int64]
    offsets: NDArray[np.int64]


def read_index(path: Path | str) -> Index:
    """Read an index (.idx).

    Raises:
        DatasetError: a line is not `key TAB offset` of whole numbers, or a key or a place occurs
            twice.
        InputError: it cannot be read.
    """
    path = Path(path)
    text = read_bytes(path).replace(b"\r\n", b"\n").rstrip(b"\n")
    if not text:
        raise DatasetError(f"{path} is empty", hint="take it away: it is made again from the .rec")
    n_lines = text.count(b"\n") + 1
    if text.translate(None, b"0123456789") != (b"\t\n" * n_lines).rstrip(b"\n"):
        raise _bad_line(path, text)
    # Text mode: it takes 0.2 s for a million lines, float parsers and csv readers several.
    numbers = np.fromstring(text, np.int64, sep=" ")
    if numbers.size != 2 * n_lines:
        raise _bad_line(path, text)
    keys, offsets = np.ascontiguousarray(numbers[::2]), np.ascontiguousarray(numbers[1::2])
    for values, what in ((keys, "key"), (offsets, "offset")):
        twice = _find_twice(values)
        if twice is not None:
            raise DatasetError(
                f"{path} has the {what} {twice} twice",
                hint="it is not the index of this file; take it away: it is made again",
            )
    return Index(keys, offsets)


def _bad_line(path: Path, text: bytes) -> DatasetError:
    lines = text.split(b"\n")
    bad = (
        (number, line)
        for number, line in enumerate(lines, start=1)
        if len(line.split(b"\t")) != 2 or not all(word.isdigit() for word in line.split(b"\t"))
    )
    number, line = next(bad)
    return DatasetError(
        f"{path}:{number}: {line[:80]!r} is not a key, a tab and an offset",
        hint="take the .idx away: it is made again from the .rec",
    )


def _find_twice(values: NDArray[np.int64]) -> int | None:
    steps = np.diff(values)
    if (steps > 0).all():
        return None
    ordered = np.sort(values)
    same = ordered[1:] == ordered[:-1]
    return int(ordered[1:][same][0]) if same.any() else None


def write_index(path: Path | str, index: Index) -> Path:
    """Write an index, atomically, in the order given.

    Raises:
        InputError: the place cannot be written.
    """
    lines = []
    for start in range(0, len(index.keys), _LINES_AT_ONCE):
        part = slice(start, start + _LINES_AT_ONCE)
        pairs = zip(index.keys[part].tolist(), index.offsets[part].tolist(), strict=True)
        lines.append("".join(f"{key}\t{offset}\n" for key, offset in pairs).encode())
    return write_atomically(Path(path), b"".join(lines))
