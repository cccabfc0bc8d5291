"""Read the file in which MXNet keeps named arrays (`model-0000.params`), without MXNet.

It does not know what an array is for; that is `arcwise.convert.weights`. The file comes from
somebody else: every size it states is held against the bytes that are there before it is used.

Source: NDArray::Save, Load and LegacyLoad of Apache MXNet, src/ndarray/ndarray.cc; numbers of
the element types from its mshadow/base.h.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import CheckpointError
from arcwise.files import read_bytes

_LIST_MAGIC = 0x112
_V1_MAGIC = 0xF993FAC8  # shape in int64
_V2_MAGIC = 0xF993FAC9  # and a storage type before it
_V3_MAGIC = 0xF993FACA  # and NumPy's shapes: () is a scalar, rank -1 is nothing
_DENSE = 0
_MAX_RANK = 32  # NumPy 1 holds no more
_FETCH_AGAIN = "fetch the file again and compare its size with the publisher's"

_DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f8"),
    2: np.dtype("<f2"),
    3: np.dtype("u1"),
    4: np.dtype("<i4"),
    5: np.dtype("i1"),
    6: np.dtype("<i8"),
    7: np.dtype("?"),
    8: np.dtype("<i2"),
    9: np.dtype("<u2"),
    10: np.dtype("<u4"),
    11: np.dtype("<u8"),
}


def read_ndarrays(path: Path | str) -> dict[str, NDArray[Any]]:
    """Read all named arrays of one file.

    Every published layout of an array's record is read: the first one, which has no magic
    number and 32-bit sizes, and versions 1, 2 and 3.

    Args:
        path: the file, usually `NAME-0000.params`.

    Returns:
        Name as written, such as "arg:fc1_weight", to a read-only array of the written type.

    Raises:
        CheckpointError: not such a file, cut off, too long, an array is sparse, empty, of an
            unknown type or without a name, or two have one name.
        InputError: the file cannot be read.

    Source: as the module.
    """
    path = Path(path)
    reader = _Reader(read_bytes(path), path)
    if reader.content[:4] == b"PK\x03\x04":
        reader.refuse(
            "is a zip archive (NumPy's .npz), not an MXNet array list",
            hint="save the parameters with mx.model.save_checkpoint or net.export",
        )
    if reader.take_integer("<Q", "the magic number") != _LIST_MAGIC:
        reader.refuse(
            "does not begin like an MXNet array list", hint="give the .params file of the model"
        )
    reader.take_integer("<Q", "the reserved word")
    n_arrays = reader.take_integer("<Q", "the number of arrays")
    if n_arrays > reader.n_left:
        reader.refuse(
            f"is cut off: it states {n_arrays} arrays, {reader.n_left} bytes are left",
            hint=_FETCH_AGAIN,
        )
    arrays = [_read_array(reader, f"array {k} of {n_arrays}") for k in range(n_arrays)]
    n_names = reader.take_integer("<Q", "the number of names")
    if n_names != n_arrays:
        reader.refuse(f"holds {n_arrays} arrays and {n_names} names", hint="save it with names")
    named: dict[str, NDArray[Any]] = {}
    for k, array in enumerate(arrays):
        name = _read_name(reader, f"name {k} of {n_names}")
        if name in named:
            reader.refuse(f"holds two arrays of the name {name!r}")
        named[name] = array
    if reader.n_left:
        reader.refuse(f"goes on for {reader.n_left} bytes after its end")
    return named


class _Reader:
    """The bytes of one file and how far they were read."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content = content
        self.path = path
        self.position = 0

    @property
    def n_left(self) -> int:
        return len(self.content) - self.position

    def refuse(self, what: str, *, hint: str = "") -> NoReturn:
        raise CheckpointError(f"{self.path} {what}", hint=hint)

    def take(self, n_bytes: int, what: str) -> memoryview:
        if n_bytes > self.n_left:
            self.refuse(
                f"is cut off: {what} needs {n_bytes} bytes at byte {self.position}, "
                f"{self.n_left} are left",
                hint=_FETCH_AGAIN,
            )
        start, self.position = self.position, self.position + n_bytes
        return memoryview(self.content)[start : self.position]

    def take_integer(self, kind: str, what: str) -> int:
        value: int = struct.unpack(kind, self.take(struct.calcsize(kind), what))[0]
        return value


def _read_array(reader: _Reader, what: str) -> NDArray[Any]:
    first = reader.take_integer("<I", f"the beginning of {what}")
    if first in (_V2_MAGIC, _V3_MAGIC):
        storage = reader.take_integer("<i", f"the storage type of {what}")
        if storage != _DENSE:
            reader.refuse(f"keeps {what} sparse (storage type {storage})", hint="save it dense")
    if first in (_V1_MAGIC, _V2_MAGIC, _V3_MAGIC):
        rank = reader.take_integer("<i", f"the rank of {what}")
        shape = _read_shape(reader, rank, "q", what)
    else:
        rank = first
        shape = _read_shape(reader, rank, "I", what)
    if rank == 0 and first != _V3_MAGIC:
        reader.refuse(f"holds nothing as {what}", hint="save the parameters after initializing")
    reader.take(8, f"the device of {what}")
    flag = reader.take_integer("<i", f"the type of {what}")
    if flag not in _DTYPES:
        reader.refuse(f"keeps {what} in an unknown type (number {flag})", hint="save it as float32")
    dtype = _DTYPES[flag]
    values = reader.take(math.prod(shape) * dtype.itemsize, f"{what}, {dtype} {shape},")
    return np.frombuffer(values, dtype=dtype).reshape(shape)


def _read_shape(reader: _Reader, rank: int, kind: str, what: str) -> tuple[int, ...]:
    if not 0 <= rank <= _MAX_RANK:
        reader.refuse(f"states rank {rank} for {what}: not a record of a known version")
    layout = f"<{rank}{kind}"
    sizes = struct.unpack(layout, reader.take(struct.calcsize(layout), f"the shape of {what}"))
    if any(size < 0 for size in sizes):
        reader.refuse(f"states the shape {sizes} for {what}")
    return sizes


def _read_name(reader: _Reader, what: str) -> str:
    length = reader.take_integer("<Q", f"the length of {what}")
    raw = bytes(reader.take(length, what))
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise CheckpointError(f"{reader.path} holds {what} that is not text: {raw!r}") from exc
