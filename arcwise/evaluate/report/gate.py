"""Are the numbers of a report still what they were? For checks that shall fail when they are not.

It measures nothing. What is expected is a JSON file in one of three forms:

- an earlier report (report.py): every number of its "results";
- names and numbers: {"results.0.accuracy.mean": 0.9977}, a list's places counted from 0;
- the same nested: {"results": [{"accuracy": {"mean": 0.9977}}]}.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from arcwise.errors import InputError
from arcwise.files import read_bytes

_MISSING = object()
_PLACE = re.compile("[0-9]{1,18}")  # in a list; longer ones lie beyond any


@dataclass(frozen=True, slots=True)
class Deviation:
    """A value that is not what it should be.

    Attributes:
        name: its place, parted by dots, such as "results.0.accuracy.mean".
        expected, found: both in words.
        by: found minus expected, or None where one of them is no number.
    """

    name: str
    expected: str
    found: str
    by: float | None

    def __str__(self) -> str:
        difference = "" if self.by is None else f" ({self.by:+.6g})"
        name = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in self.name)
        return f"{name} is {self.found}, expected {self.expected}{difference}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of holding a report against expected values.

    Attributes:
        n_held: values that were held against each other.
        deviations: those that differ by more than the tolerance, or are missing.
    """

    n_held: int
    deviations: tuple[Deviation, ...]


def read_expected(path: Path | str) -> dict[str, Any]:
    """Read expected values: name -> value; see the top of this module.

    Returns:
        Names parted by dots, at least one. Of an earlier report, numbers only: its texts are for
        people. Of other files texts, truth values and nulls too.

    Raises:
        InputError: it cannot be read, is no JSON object, or holds no value, a NaN or a number that
            no float can hold.
    """
    content = read_bytes(path)
    try:
        plain: Any = json.loads(content)
        is_report = {"version", "results"} <= plain.keys()
        leaves = list(_walk({"results": plain["results"]} if is_report else plain))
    except (ValueError, AttributeError, RecursionError) as exc:
        raise InputError(
            f"{path} does not hold expected numbers: {exc}",
            hint='give an earlier report.json, or such as {"results.0.auc": 0.99}',
        ) from exc
    expected = {name: value for name, value in leaves if not is_report or _is_number(value)}
    if not expected:
        raise InputError(f"{path} holds no number", hint="without one every report would pass")
    for name, value in expected.items():
        if _is_number(value) and not _is_finite(value):
            raise InputError(
                f"{name} in {path} is {shorten(value)}", hint="expect a finite number, or null"
            )
    return expected


def hold_against(
    found: Mapping[str, Any], expected: Mapping[str, Any], *, tolerance: float
) -> Verdict:
    """Look every expected value up in a report.

    Args:
        found: `Document.to_dict()`; what is not expected is not looked at.
        expected: of `read_expected`.
        tolerance: largest absolute difference of two numbers; counts too are numbers. Anything
            else must be equal.

    Raises:
        InputError: the tolerance is below 0 or no number.
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(
            f"the tolerance is {tolerance}", hint="0.002 allows 0.2 points of a percentage"
        )
    results = [
        _hold(name, _look_up(found, name), wanted, tolerance) for name, wanted in expected.items()
    ]
    return Verdict(len(results), tuple(result for result in results if result is not None))


def _hold(name: str, found: Any, expected: Any, tolerance: float) -> Deviation | None:
    if found is _MISSING:
        return Deviation(name, json.dumps(expected), "missing", None)
    if _is_number(found) and _is_number(expected):
        by = float(found) - float(expected)
        # Rounding of the difference itself must not count: 0.3 - 0.1 is more than 0.2.
        slack = 1e-12 * max(1.0, abs(float(expected)))
        if abs(by) <= tolerance + slack:
            return None
        return Deviation(name, _show(expected), _show(found), by)
    if type(found) is type(expected) and found == expected:
        return None
    return Deviation(name, _show(expected), _show(found), None)


def _look_up(plain: Any, name: str) -> Any:
    """The value at a dotted name; keys may hold dots themselves, so all ways are tried."""
    if not name:
        return plain
    words = name.split(".")
    for n_words in range(1, len(words) + 1):
        key, rest = ".".join(words[:n_words]), ".".join(words[n_words:])
        part: Any = _MISSING
        if isinstance(plain, Mapping):
            part = plain.get(key, _MISSING)
        elif isinstance(plain, list) and n_words == 1 and _PLACE.fullmatch(key):
            part = plain[int(key)] if int(key) < len(plain) else _MISSING
        if part is not _MISSING:
            found = _look_up(part, rest)
            if found is not _MISSING:
                return found
    return _MISSING


def _walk(plain: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, with its dotted name."""
    if isinstance(plain, dict):
        parts = list(plain.items())
    elif isinstance(plain, list):
        parts = [(str(number), part) for number, part in enumerate(plain)]
    else:
        yield name, plain
        return
    for key, part in parts:
        yield from _walk(part, f"{name}.{key}" if name else key)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _show(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
