"""What names inside a pickle of photos stand for: bytes, and arrays of bytes or of truths.

A name is looked up in the table here and nowhere else; it never becomes the thing of Python that
it names, so that a file can make nothing but bytes. It does not know how the file is laid out:
unpickle.py does. Source: ndarray.__reduce__ and dtype.__reduce__ of NumPy, bytes and bytearray in
Lib/pickle.py of CPython 2.7 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MOST_AXES = 4
_LONGEST_NAME = 200

NOT_NEEDED = (
    "a pack of photos needs nothing of that, and nothing of the file was run: open it with no "
    "other program, and fetch it again from a place you trust"
)
CUT_SHORT = "the file is cut short or is no pickle: copy or download it again"


class RefusedError(Exception):
    """Why a pickle is not read; unpickle.py makes it an error of ours, with the path."""

    def __init__(self, why: str, *, hint: str = NOT_NEEDED) -> None:
        super().__init__(why)
        self.hint = hint


@dataclass(eq=False, slots=True)
class PickledArray:
    """An array of bytes or of truths, as the file holds it.

    Attributes:
        shape: at most four numbers; their product is the number of bytes.
        kind: "u1" for bytes, "b1" for truths.
        content: its bytes, in the order of memory.
    """

    shape: tuple[int, ...] = (0,)
    kind: str = "u1"
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """What an array is of: "u1" or "b1"."""

    code: str


@dataclass(frozen=True, slots=True)
class Role:
    """What a name in the file stands for; `make` gives bytes, a truth, an array or its kind."""

    name: str
    make: Callable[[tuple[Any, ...]], bytes | bool | PickledArray | ArrayKind]


def find_role(module: str, name: str) -> Role:
    """What a name stands for.

    Raises:
        RefusedError: anything that the table does not list.
    """
    role = _ROLES.get(f"{module}.{name}")
    if role is None:
        raise RefusedError(f"asks for {quote_name(f'{module}.{name}')}")
    return role


def quote_name(name: str) -> str:
    """A name from the file, printable and short."""
    return ascii(name[:_LONGEST_NAME])[1:-1]


def fill(target: object, state: object) -> None:
    """Give an array what it holds, or check that a kind is a plain one.

    Raises:
        RefusedError: another target, or a state that does not fit it.
    """
    if not isinstance(target, ArrayKind | PickledArray) or not isinstance(state, tuple):
        raise RefusedError(f"fills {_describe(target)} with {_describe(state)}")
    if isinstance(target, PickledArray):
        _fill_array(target, state)
    elif len(state) < 8 or any(part is not None for part in state[2:5]):
        raise RefusedError("holds an array of records or of arrays")


def _fill_array(array: PickledArray, state: tuple[Any, ...]) -> None:
    """The state is version, shape, kind, whether in Fortran's order, and the bytes."""
    if len(state) != 5:
        raise RefusedError(f"fills an array with {len(state)} things, not five")
    _, shape, kind, _, content = state
    if not isinstance(kind, ArrayKind) or not isinstance(content, bytes):
        raise RefusedError(f"fills an array with {_describe(content)}, not with bytes")
    is_shape = isinstance(shape, tuple) and len(shape) <= _MOST_AXES
    if not is_shape or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError("holds an array without a shape")
    if math.prod(shape) != len(content):
        raise RefusedError(
            f"holds an array of shape {shape} with {len(content):,} bytes", hint=CUT_SHORT
        )
    array.shape, array.kind, array.content = shape, kind.code, content


def _make_array(given: tuple[Any, ...]) -> PickledArray:
    """An empty one, whatever size is asked for; what it is and holds follows."""
    if len(given) != 3 or given[0] is not _ROLES["numpy.ndarray"]:
        raise RefusedError("makes an array of an unknown class")
    return PickledArray()


def _view_array(given: tuple[Any, ...]) -> PickledArray:
    """As protocol 5 has it: bytes, kind, shape, and the order, which a row of bytes has not."""
    if len(given) != 4 or given[3] not in ("C", "F"):
        raise RefusedError("makes an array in an unknown way")
    content, kind, shape, order = given
    array = PickledArray()
    _fill_array(array, (None, shape, kind, order, content))
    return array


def _make_truth(given: tuple[Any, ...]) -> bool:
    """A bool of NumPy: its kind, and one byte."""
    kind, content = given if len(given) == 2 else (None, None)
    if not isinstance(kind, ArrayKind) or kind.code != "b1" or content not in (b"\0", b"\1"):
        raise RefusedError("holds a single value of NumPy that is no truth")
    return bool(content == b"\1")


def _make_kind(given: tuple[Any, ...]) -> ArrayKind:
    code = given[0] if given else ""
    code = code.decode("latin-1") if isinstance(code, bytes) else code  # str of Python 2
    code = code.removeprefix("|") if isinstance(code, str) else ""
    if code not in ("u1", "b1"):
        raise RefusedError(
            f"holds an array of kind {quote_name(code)!r}; photos are bytes (u1), truths b1",
            hint="each photo is the content of its .jpg or .png, as bytes",
        )
    return ArrayKind(code)


def _make_bytes(given: tuple[Any, ...]) -> bytes:
    if not given:
        return b""
    if len(given) == 2:  # bytearray of Python 2: text and "latin-1"
        return _encode(given)
    if len(given) == 1 and isinstance(given[0], bytes):
        return given[0]
    raise RefusedError(f"makes bytes of {_describe(given[0])}")  # a number would be a size


def _encode(given: tuple[Any, ...]) -> bytes:
    text, codec = given if len(given) == 2 else (None, None)
    if not isinstance(text, str) or codec not in ("latin1", "latin-1", b"latin-1"):
        raise RefusedError("encodes something other than text as Latin-1")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as exc:
        raise RefusedError("holds text where bytes are due") from exc


def _refuse_making(given: tuple[Any, ...]) -> bytes:
    raise RefusedError(f"makes an array in an unknown way, of {len(given)} things")


def _describe(value: object) -> str:
    return value.name if isinstance(value, Role) else type(value).__name__


_ROLES = {
    name: Role(name, make)
    for name, make in (
        ("numpy.core.multiarray._reconstruct", _make_array),
        ("numpy._core.multiarray._reconstruct", _make_array),  # NumPy 2
        ("numpy.core.numeric._frombuffer", _view_array),
        ("numpy._core.numeric._frombuffer", _view_array),
        ("numpy.core.multiarray.scalar", _make_truth),
        ("numpy._core.multiarray.scalar", _make_truth),
        ("numpy.ndarray", _refuse_making),
        ("numpy.dtype", _make_kind),
        ("_codecs.encode", _encode),
        ("builtins.bytes", _make_bytes),
        ("__builtin__.bytes", _make_bytes),  # as Python 2 calls builtins
        ("builtins.bytearray", _make_bytes),
        ("__builtin__.bytearray", _make_bytes),
    )
}
