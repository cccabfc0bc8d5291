"""The parts of some JSON, each with its place, taken only as what they must be.

It does not know reports. A complaint names the place, parted by dots as the gate's names are:
"sections.0.rows.2.value".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from reprlib import repr as shorten
from typing import Any

from arcwise.errors import InputError

MOST_DEEP = 64
"""Values within values: our own reports have fewer than ten, our readers go down one by one."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: of the JSON.
        place: names and numbers parted by dots; "" for the whole.
    """

    value: Any
    place: str = ""

    @classmethod
    def parse(cls, content: bytes) -> Node:
        """The whole of a JSON.

        Raises:
            InputError: it is none.
        """
        try:
            return cls(json.loads(content))
        except (ValueError, RecursionError) as exc:  # of numbers with more digits than Python reads
            raise InputError(f"no JSON: {exc}") from exc

    def part(self, name: str) -> Node:
        """What an object holds under a name.

        Raises:
            InputError: it is no object, or there is no such name.
        """
        plain = self._take(dict, "an object")
        if name not in plain:
            raise InputError(f"there is no {self._below(name)}")
        return Node(plain[name], self._below(name))

    def text(self, name: str) -> str:
        """The text an object holds under a name.

        Raises:
            InputError: there is none.
        """
        found: str = self.part(name)._take(str, "a text")
        return found

    def items(self) -> dict[str, Node]:
        """Everything that an object holds.

        Raises:
            InputError: it is no object.
        """
        plain = self._take(dict, "an object")
        return {name: Node(part, self._below(name)) for name, part in plain.items()}

    def parts(self) -> list[Node]:
        """Everything that a list holds.

        Raises:
            InputError: it is no list.
        """
        plain = self._take(list, "a list")
        return [Node(part, self._below(str(number))) for number, part in enumerate(plain)]

    def texts(self) -> tuple[str, ...]:
        """A list of texts.

        Raises:
            InputError: it is none.
        """
        return tuple(part._take(str, "a text") for part in self.parts())

    def numbers(self) -> list[float]:
        """A list of finite numbers.

        Raises:
            InputError: it is none.
        """
        for part in self.parts():
            part._check_number()
        return list(self.value)

    def check_finite(self) -> None:
        """Make sure that everything below can be written down and reckoned with.

        Raises:
            InputError: a number that is not finite or no float can hold, or values nested more
                than `MOST_DEEP` deep.
        """
        left = [(self, 0)]  # no recursion: what is too deep must be found, not fallen into
        while left:
            node, depth = left.pop()
            if depth > MOST_DEEP:
                raise InputError(f"{self.place} is nested more than {MOST_DEEP} deep")
            left += [(part, depth + 1) for part in node._below_it()]
            if isinstance(node.value, int | float):
                node._check_number()

    def refuse(self, wanted: str) -> InputError:
        """The complaint that it is not what it must be."""
        return InputError(f"{self.place or 'all of it'} is {shorten(self.value)}, not {wanted}")

    def _below_it(self) -> Iterator[Node]:
        if isinstance(self.value, dict):
            yield from self.items().values()
        elif isinstance(self.value, list):
            yield from self.parts()

    def _take(self, kind: type, wanted: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.refuse(wanted)
        return self.value

    def _check_number(self) -> None:
        is_number = isinstance(self.value, int | float)
        try:
            if is_number and math.isfinite(self.value):
                return
        except OverflowError:
            pass
        raise self.refuse("a finite number")

    def _below(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name
