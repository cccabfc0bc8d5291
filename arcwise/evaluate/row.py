"""What all reports are made of: a line, a share with its interval, a photo that failed.

It does not measure anything. Source of the interval: evaluate/curve.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from arcwise.evaluate.curve import wilson_interval

FailedPolicy = Literal["count_as_wrong", "leave_out"]
"""What becomes of a pair whose photo gave no embedding; see docs/evaluate.md."""


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """A photo that gave no embedding, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report: what was measured, the value in words, and what it means."""

    name: str
    value: str
    definition: str


@dataclass(frozen=True, slots=True)
class Share:
    """`n_hits` of `n`, with Wilson's 95 % interval."""

    n_hits: int
    n: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.2%} [{self.low:.2%}, {self.high:.2%}], {self.n_hits:,} of {self.n:,}"


def count_share(n_hits: int, n: int) -> Share:
    """`n_hits` of `n`, at least 1, with Wilson's 95 % interval."""
    return Share(n_hits, n, n_hits / n, *wilson_interval(n_hits, n))


def to_plain(value: Any) -> Any:
    """Dictionaries and lists as JSON gives them back: tuples become lists."""
    if isinstance(value, dict):
        return {key: to_plain(part) for key, part in value.items()}
    return [to_plain(part) for part in value] if isinstance(value, list | tuple) else value
