"""The plain data of a pickle file, read as data: nothing in the file is looked up, called or built.

`pickle.load` runs what a file asks for. Python's remedy, an Unpickler with an own `find_class`,
still hands real objects to the file, and ten bytes can make it fill all memory
(python/cpython#115952). So this walks through the steps of the format itself, and knows only those
that lists of photos and truths need; pickled.py says which names they may hold. Memory stays
within a small multiple of the file. It does not know what a pack is. Source: the format,
Lib/pickletools.py of CPython.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from pickletools import opcodes
from typing import Any, BinaryIO

from arcwise.errors import DatasetError
from arcwise.evaluate.sets.pickled import (
    CUT_SHORT,
    NOT_NEEDED,
    RefusedError,
    Role,
    fill,
    find_role,
    quote_name,
)
from arcwise.files import translate_os_errors

_FREE_STEPS = 1_000_000  # our choice: at most some 100 MB of empty lists
_BYTES_PER_STEP = 8  # our choice, above that: photos are far more bytes than steps
_LONGEST_WORD = 200  # characters of a name or number; the longest we know has 35
_NEWEST_PROTOCOL = 5

_STEP_NAMES = {known.code.encode("latin-1"): known.name for known in opcodes}
_WHOLE = re.compile(rb"[+-]?[0-9]{1,20}")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[nrt\\'\"])")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}


def read_pickled(path: Path | str) -> Any:
    """The plain data of a pickle of protocol 0 to 5.

    Args:
        path: of the file. What follows the end of the pickle is not read.

    Returns:
        Lists and tuples of bytes (str of Python 2, too), str, int, bool, None and `PickledArray`.
        What the file repeats by reference is one object here, too; a list may hold itself.

    Raises:
        DatasetError: the file asks for anything else, which the message names; it is cut short;
            or it holds far more steps than data.
        InputError: it cannot be read.
    """
    path = Path(path)
    with translate_os_errors(path, doing="read"), path.open("rb") as file:
        try:
            return _Walk(file, path.stat().st_size).to_end()
        except RefusedError as exc:
            raise DatasetError(f"{path} {exc}", hint=exc.hint) from exc
        except MemoryError as exc:
            raise DatasetError(f"{path} does not fit into memory", hint=NOT_NEEDED) from exc


class _Walk:
    """One way through a pickle: a stack, the stacks below its marks, and a memo.

    Args:
        file: at its first byte.
        size_bytes: of the whole file; nothing is asked for beyond it.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes
        self._most_steps = _FREE_STEPS + size_bytes // _BYTES_PER_STEP
        self._makeable = size_bytes  # bytes: what a file holds, it may make once
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}  # no list: a file may name any place

    def to_end(self) -> Any:
        for _ in range(self._most_steps):
            step = self.read(1)
            if step == b".":
                return self._finish()
            take = _STEPS.get(step)
            if take is None:
                raise self._refuse(step)
            take(self)
        raise RefusedError("holds far more steps than data")

    def _finish(self) -> Any:
        value = self.pop()
        if self._stack or self._below:
            raise RefusedError("ends before its lists do", hint=CUT_SHORT)
        return value

    def _refuse(self, step: bytes) -> RefusedError:
        name = _STEP_NAMES.get(step)
        if name is None:
            return RefusedError(f"holds {step!r}, which is no step of a pickle", hint=CUT_SHORT)
        if name == "INST":  # an older way to ask for a name
            return RefusedError(f"asks for {quote_name('.'.join(self.read_names()))}")
        return RefusedError(f"holds the step {name}")

    # ── what the file holds ──

    def read(self, n_bytes: int) -> bytes:
        found = self._file.read(n_bytes) if 0 <= n_bytes <= self._left else b""
        if len(found) != n_bytes:
            raise RefusedError(
                f"promises {n_bytes:,} more bytes, {self._left:,} follow", hint=CUT_SHORT
            )
        self._left -= n_bytes
        return found

    def read_number(self, width: int, *, is_signed: bool = False) -> int:
        return int.from_bytes(self.read(width), "little", signed=is_signed)

    def read_line(self, most: int | None = _LONGEST_WORD) -> bytes:
        line = self._file.readline(self._left if most is None else min(most + 1, self._left))
        if not line.endswith(b"\n"):
            raise RefusedError("holds a line without end", hint=CUT_SHORT)
        self._left -= len(line)
        return line[:-1]

    def read_names(self) -> list[str]:
        return [_decode(self.read_line(), "utf-8") for _ in range(2)]

    # ── the stack ──

    def push(self, value: object) -> None:
        self._stack.append(value)

    def top(self) -> Any:
        if not self._stack:
            raise RefusedError("takes more than it has put down", hint=CUT_SHORT)
        return self._stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self._stack.pop()
        return value

    def pop_last(self, n: int) -> list[Any]:
        return [self.pop() for _ in range(n)][::-1]

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_to_mark(self) -> list[Any]:
        if not self._below:
            raise RefusedError("ends a list that it has not begun", hint=CUT_SHORT)
        items, self._stack = self._stack, self._below.pop()
        return items

    def remember(self, place: int) -> None:
        self._memo[place] = self.top()

    def memoize(self) -> None:
        self.remember(len(self._memo))

    def repeat(self, place: int) -> None:
        if place not in self._memo:
            raise RefusedError(f"repeats thing {place}, which it does not hold", hint=CUT_SHORT)
        self.push(self._memo[place])

    def make(self) -> None:
        role, given = self.pop_last(2)
        if not isinstance(role, Role) or not isinstance(given, tuple):
            raise RefusedError(f"calls {type(role).__name__}")
        made = role.make(given)
        if isinstance(made, bytes) and not any(made is part for part in given):
            self._makeable -= len(made)
            if self._makeable < 0:
                raise RefusedError("makes more bytes than it holds")
        self.push(made)


# ── steps ──


def _skip_protocol(walk: _Walk) -> None:
    protocol = walk.read_number(1)
    if protocol > _NEWEST_PROTOCOL:
        raise RefusedError(
            f"is a pickle of protocol {protocol}, which we do not know", hint="write protocol 4"
        )


def _skip_frame(walk: _Walk) -> None:
    walk.read_number(8)  # of bytes to read at once; each step is held against the file anyhow


def _push_long(walk: _Walk) -> None:
    width = walk.read_number(1)
    if width > 8:
        raise RefusedError(f"holds a number of {width} bytes")
    walk.push(walk.read_number(width, is_signed=True))


def _push_int_line(walk: _Walk) -> None:
    line = walk.read_line()
    is_truth = line in (b"00", b"01")  # as protocols 0 and 1 write False and True
    walk.push(line == b"01" if is_truth else _parse_number(line))


def _parse_number(line: bytes) -> int:
    if not _WHOLE.fullmatch(line.removesuffix(b"L")):  # L: long of Python 2
        raise RefusedError(f"holds {line[:40]!r} where a number is due", hint=CUT_SHORT)
    return int(line.removesuffix(b"L"))


def _push_quoted(walk: _Walk) -> None:
    """A str of Python 2 as its repr."""
    line = walk.read_line(None)
    if len(line) < 2 or line[0] not in b"'\"" or line[-1] != line[0]:
        raise RefusedError("holds a str of Python 2 without quotes", hint=CUT_SHORT)
    walk.push(_ESCAPE.sub(_unescape, line[1:-1]))


def _unescape(match: re.Match[bytes]) -> bytes:
    word = match[1]
    return bytes([int(word[1:], 16)]) if len(word) > 1 else _ESCAPED[word]


def _push_named(walk: _Walk) -> None:
    module, name = walk.pop_last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise RefusedError("asks for something whose name is no text")
    walk.push(find_role(module, name))


def _append(walk: _Walk) -> None:
    item = walk.pop()
    _extend(walk, [item])


def _append_marked(walk: _Walk) -> None:
    items = walk.pop_to_mark()
    _extend(walk, items)


def _extend(walk: _Walk, items: list[Any]) -> None:
    into = walk.top()
    if not isinstance(into, list):
        raise RefusedError(f"adds items to {type(into).__name__}")
    into.extend(items)


def _fill(walk: _Walk) -> None:
    state = walk.pop()
    fill(walk.top(), state)


def _decode(content: bytes, codec: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as exc:
        raise RefusedError(f"holds text that is not {codec}", hint=CUT_SHORT) from exc


_Step = Callable[[_Walk], None]


def _push_bytes(width: int) -> _Step:
    return lambda walk: walk.push(walk.read(walk.read_number(width)))


def _push_text(width: int) -> _Step:
    return lambda walk: walk.push(_decode(walk.read(walk.read_number(width)), "utf-8"))


def _push_number(width: int, *, is_signed: bool = False) -> _Step:
    return lambda walk: walk.push(walk.read_number(width, is_signed=is_signed))


def _push_tuple(n: int) -> _Step:
    return lambda walk: walk.push(tuple(walk.pop_last(n)))


_STEPS: dict[bytes, _Step] = {
    b"\x80": _skip_protocol,
    b"\x95": _skip_frame,
    # constants and numbers
    b"N": lambda walk: walk.push(None),
    b"\x88": lambda walk: walk.push(True),
    b"\x89": lambda walk: walk.push(False),
    b"K": _push_number(1),
    b"M": _push_number(2),
    b"J": _push_number(4, is_signed=True),
    b"\x8a": _push_long,
    b"I": _push_int_line,
    b"L": lambda walk: walk.push(_parse_number(walk.read_line())),
    # bytes, and str of Python 2
    b"C": _push_bytes(1),
    b"B": _push_bytes(4),
    b"\x8e": _push_bytes(8),
    b"\x96": _push_bytes(8),
    b"U": _push_bytes(1),
    b"T": _push_bytes(4),
    b"S": _push_quoted,
    # text
    b"\x8c": _push_text(1),
    b"X": _push_text(4),
    b"\x8d": _push_text(8),
    b"V": lambda walk: walk.push(_decode(walk.read_line(None), "raw-unicode-escape")),
    # lists and tuples
    b"(": _Walk.mark,
    b"]": lambda walk: walk.push([]),
    b"l": lambda walk: walk.push(walk.pop_to_mark()),
    b"a": _append,
    b"e": _append_marked,
    b")": lambda walk: walk.push(()),
    b"t": lambda walk: walk.push(tuple(walk.pop_to_mark())),
    b"\x85": _push_tuple(1),
    b"\x86": _push_tuple(2),
    b"\x87": _push_tuple(3),
    # what is repeated
    b"q": lambda walk: walk.remember(walk.read_number(1)),
    b"r": lambda walk: walk.remember(walk.read_number(4)),
    b"p": lambda walk: walk.remember(_parse_number(walk.read_line())),
    b"\x94": _Walk.memoize,
    b"h": lambda walk: walk.repeat(walk.read_number(1)),
    b"j": lambda walk: walk.repeat(walk.read_number(4)),
    b"g": lambda walk: walk.repeat(_parse_number(walk.read_line())),
    # names, and what they stand for
    b"c": lambda walk: walk.push(find_role(*walk.read_names())),
    b"\x93": _push_named,
    b"R": _Walk.make,
    b"b": _fill,
}
