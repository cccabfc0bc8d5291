"""Record files, byte by byte: records that hold a header and a picture, and where each begins.

It does not know data sets: which records are crops, and whose, is found by contents.py. Reading
maps the file into memory, so many threads, and processes that were forked, may share one reader.

A record is the magic number, a word with a flag (3 bits) and a length (29 bits), the payload, and
zeros up to a multiple of 4; numbers are little-endian. A payload that holds the magic number at a
multiple of 4 is written in parts without it (flags 1, 2, .., 3). A payload is a header of 24
bytes, its labels when there are several, and the picture.
Source: RecordIO of DMLC (dmlc-core, recordio.h) and MXNet (mxnet.recordio: IRHeader, pack).
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.data.idx import Index, write_index
from arcwise.errors import DatasetError, InputError
from arcwise.files import translate_os_errors

MAGIC = 0xCED7230A  # dmlc-core, recordio.h: kMagic
_MAGIC_BYTES = MAGIC.to_bytes(4, "little")
_FRAME = struct.Struct("<II")  # magic, flag and length
_HEADER = struct.Struct("<IfQQ")  # mxnet.recordio: _IR_FORMAT
_LENGTH_BITS = 29
_MOST_LENGTH = 1 << _LENGTH_BITS
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_AT_ONCE = 1 << 18  # records that are looked at together

_AGAIN = "copy the file again and compare its size with that of the original"


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the picture.

    Attributes:
        labels: one, or several.
        id: of the record; writers put its key here.
        id2: a second one, mostly 0.
        is_vector: whether labels were written as a list; one label may be, several always are.
    """

    labels: tuple[float, ...]
    id: int
    id2: int = 0
    is_vector: bool = False


def pack_payload(header: Header, content: bytes) -> bytes:
    """Put a header before a picture.

    Raises:
        DatasetError: no label.
    """
    if not header.labels:
        raise DatasetError(f"record {header.id} has no label")
    if len(header.labels) == 1 and not header.is_vector:
        return _HEADER.pack(0, header.labels[0], header.id, header.id2) + content
    labels = np.array(header.labels, "<f4").tobytes()
    return _HEADER.pack(len(header.labels), 0.0, header.id, header.id2) + labels + content


def unpack_payload(payload: bytes, *, name: str = "a record") -> tuple[Header, bytes]:
    """Part a payload into its header and the picture.

    Args:
        payload: of one record.
        name: of the record, for the message.

    Raises:
        DatasetError: it is too short.
    """
    n_labels = int.from_bytes(payload[:4], "little")
    start = _HEADER.size + 4 * n_labels
    if len(payload) < max(start, _HEADER.size):
        raise DatasetError(
            f"{name} has {len(payload)} bytes, too few for a header with {n_labels} labels",
            hint="the file was not written as a training set: see docs/data.md",
        )
    _, label, id_, id2 = _HEADER.unpack_from(payload)
    if not n_labels:
        return Header((label,), id_, id2), payload[start:]
    labels = tuple(np.frombuffer(payload, "<f4", n_labels, _HEADER.size).tolist())
    return Header(labels, id_, id2, is_vector=True), payload[start:]


def frame_payload(payload: bytes) -> bytes:
    """The bytes of a record, in parts where the magic number occurs in it.

    Raises:
        InputError: 512 MiB or more.
    """
    if len(payload) >= _MOST_LENGTH:
        raise InputError(f"a record holds less than {_MOST_LENGTH} bytes, got {len(payload)}")
    cuts, at = [], payload.find(_MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
        at = payload.find(_MAGIC_BYTES, at + 1)
    bounds = [-4, *cuts, len(payload)]
    last = len(bounds) - 2
    framed = bytearray()
    for i, (before, end) in enumerate(pairwise(bounds)):
        part = payload[before + 4 : end]
        flag = _WHOLE if not cuts else _FIRST if i == 0 else _LAST if i == last else _MIDDLE
        framed += _FRAME.pack(MAGIC, flag << _LENGTH_BITS | len(part)) + part
    return bytes(framed) + bytes(-len(framed) % 4)


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """What the headers of many records say, without their pictures.

    Attributes:
        labels: (n,) float32, the first label of each.
        second: (n,) float32, the second label, 0 where there is none.
        n_labels: (n,) int64.
        ids: (n,) int64.
        n_bytes: (n,) int64 of the pictures.
        ends: (n,) int64, where the next record begins.
    """

    labels: NDArray[np.float32]
    second: NDArray[np.float32]
    n_labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    n_bytes: NDArray[np.int64]
    ends: NDArray[np.int64]


class RecordFile:
    """A record file, open for reading. Pickled, it is opened again where it arrives.

    Args:
        path: of the .rec file.

    Raises:
        DatasetError: it is empty or does not begin with a record.
        InputError: it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with translate_os_errors(self.path, doing="read"), self.path.open("rb") as file:
            head = file.read(4)
            if head != _MAGIC_BYTES:
                raise DatasetError(
                    f"{self.path} is no record file: it starts with {head!r}",
                    hint=_AGAIN if head else "the file is empty: copy it again",
                )
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.n_bytes = len(self._map)

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordFile, (self.path,)

    def close(self) -> None:
        """Nothing can be read from it any more."""
        with suppress(BufferError):  # after an error in `survey`: its traceback holds the map
            self._map.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, offset: int) -> bytes:
        """The payload of the record that begins at some byte.

        Raises:
            DatasetError: no record begins there, or the file ends before it does.
        """
        flag, start, end = self._frame(offset)
        if flag == _WHOLE:
            return self._map[start:end]
        if flag != _FIRST:
            raise self._no_record(offset)
        parts = [self._map[start:end]]
        while flag != _LAST:
            flag, start, end = self._frame(end)
            if flag not in (_MIDDLE, _LAST):
                raise self._no_record(offset)
            parts.append(self._map[start:end])
        return _MAGIC_BYTES.join(parts)

    def scan(self) -> NDArray[np.int64]:
        """Find every record without an index, from the first byte to the last.

        Returns:
            (n,) int64 offsets.

        Raises:
            DatasetError: the file is cut off, or broken.
        """
        offsets = array("q")
        at = 0
        while at < self.n_bytes:
            flag, _, end = self._frame(at)
            if flag in (_WHOLE, _FIRST):
                offsets.append(at)
            at = end + -end % 4
        return np.array(offsets, np.int64)

    def _frame(self, offset: int) -> tuple[int, int, int]:
        """Flag, start and end of the part at some byte."""
        start = offset + _FRAME.size
        if offset % 4 or offset < 0 or start > self.n_bytes:
            raise self._no_record(offset)
        magic, word = _FRAME.unpack_from(self._map, offset)
        if magic != MAGIC:
            raise self._no_record(offset)
        end = start + word % _MOST_LENGTH
        if end > self.n_bytes:
            raise self._cut_off(offset, end)
        return word >> _LENGTH_BITS, start, end

    def _no_record(self, offset: int) -> DatasetError:
        return DatasetError(
            f"no record begins at byte {offset} of {self.path}, which has {self.n_bytes}",
            hint="its .idx may be of another file: take it away, and it is made again; "
            "or the .rec is cut off: copy it again",
        )

    def _cut_off(self, offset: int, end: int) -> DatasetError:
        return DatasetError(
            f"{self.path} is cut off: its record at byte {offset} ends at byte {end}, "
            f"the file at {self.n_bytes}",
            hint=_AGAIN,
        )

    def survey(self, offsets: NDArray[np.int64]) -> Survey:
        """Look at the headers of many records, a million in a second once they are in memory.

        Args:
            offsets: (n,) int64, in any order.

        Raises:
            DatasetError: no record begins at one of them, or the file ends before it does.
        """
        bad = (offsets < 0) | (offsets % 4 != 0) | (offsets > self.n_bytes - _FRAME.size)
        if bad.any():
            raise self._no_record(int(offsets[bad][0]))
        found = np.zeros((6, len(offsets)), np.int64)
        order = np.argsort(offsets, kind="stable")  # so that a disk is read from front to back
        words = np.frombuffer(self._map, "<u4", self.n_bytes // 4)
        for start in range(0, len(order), _AT_ONCE):
            rows = order[start : start + _AT_ONCE]
            found[:, rows] = self._look(words, offsets[rows])
        labels, second = (row.astype(np.uint32).view(np.float32) for row in found[:2])
        return Survey(labels, second, *found[2:])

    def _look(self, words: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(6, n): bits of the labels, how many, id, bytes of the picture, end."""
        at = offsets // 4
        if (words[at] != MAGIC).any():
            raise self._no_record(int(offsets[words[at] != MAGIC][0]))
        length = (words[at + 1] % _MOST_LENGTH).astype(np.int64)
        flags = words[at + 1] >> _LENGTH_BITS
        ends = offsets + _FRAME.size + length
        if (ends > self.n_bytes).any():
            row = int(np.argmax(ends))
            raise self._cut_off(int(offsets[row]), int(ends[row]))
        ends += -ends % 4
        # A short or parted record is read one by one; what is fetched for it here is not used.
        last = len(words) - 1
        n_labels = words[np.minimum(at + 2, last)].astype(np.int64)
        odd = (flags != _WHOLE) | (length < _HEADER.size + 4 * n_labels)
        is_vector = n_labels > 0
        first = words[np.minimum(np.where(is_vector, at + 8, at + 3), last)]
        second = np.where(n_labels > 1, words[np.minimum(at + 9, last)], 0)
        low, high = (words[np.minimum(at + i, last)].astype(np.int64) for i in (4, 5))
        n_bytes = length - _HEADER.size - 4 * n_labels
        found = np.stack([first, second, n_labels, low | high << 32, n_bytes, ends])
        for row in np.flatnonzero(odd).tolist():
            found[:, row] = self._look_closely(int(offsets[row]))
        return found.astype(np.int64)

    def _look_closely(self, offset: int) -> list[int]:
        payload = self.read(offset)
        header, content = unpack_payload(payload, name=f"the record at {offset} of {self.path}")
        bits = np.array([*header.labels, 0.0], np.float32).view(np.uint32).tolist()
        n_labels = len(header.labels) if header.is_vector else 0
        end = offset + len(frame_payload(payload))
        second = bits[1] if n_labels > 1 else 0
        id_ = header.id - (header.id >> 63 << 64)  # as a signed number
        return [bits[0], second, n_labels, id_, len(content), end]


class RecordWriter:
    """A record file being written; it gets its name when it is whole, its index after it.

    Args:
        path: of the .rec file; it must not be there.

    Raises:
        InputError: it is there, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise InputError(f"{self.path} is there already", hint="choose another name")
        self._temporary = self.path.parent / f".{secrets.token_hex(8)}.part"
        self._keys, self._offsets = array("q"), array("q")
        self._at = 0
        with translate_os_errors(self.path, doing="write"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("xb")

    def append(self, key: int, payload: bytes) -> None:
        """Write one record.

        Raises:
            InputError: it is too long, or the disk is full.
        """
        record = frame_payload(payload)
        with translate_os_errors(self.path, doing="write"):
            self._file.write(record)
        self._keys.append(key)
        self._offsets.append(self._at)
        self._at += len(record)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the files, or leave nothing behind after an error."""
        try:
            with translate_os_errors(self.path, doing="write"), self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            if error is None:
                with translate_os_errors(self.path, doing="write"):
                    self._temporary.replace(self.path)
                index = Index(np.array(self._keys, np.int64), np.array(self._offsets, np.int64))
                write_index(self.path.with_suffix(".idx"), index)
        finally:
            self._temporary.unlink(missing_ok=True)
