"""What a file of vectors holds, whatever its format: columns, facts, and photos without a vector.

It does not know what the columns mean: embedded.py does. Formats: npz.py and parquet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError

FACTS = ("model", "model_digest")
"""What holds for all rows."""

Columns = Mapping[str, NDArray[Any]]
"""What a file holds, by name: arrays without pickle."""


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """Of one file.

    Attributes:
        columns: name -> (N,) texts or (N, D) numbers.
        facts: model and model_digest, where they are there.
        reasons: photo -> why it has no row.
        failed_digests: photo of those -> digest of its pixels, where it is known.
    """

    columns: Columns
    facts: Mapping[str, str]
    reasons: Mapping[str, str]
    failed_digests: Mapping[str, str] = field(default_factory=dict)


def to_text(value: NDArray[Any], name: str) -> str:
    """One text that holds for all rows.

    Raises:
        InputError: it is something else.
    """
    if value.ndim:
        raise InputError(f"{name} has shape {value.shape}, not one text")
    return to_texts(value.reshape(1), name)[0]


def to_texts(column: NDArray[Any], name: str) -> list[str]:
    """A column of texts, whether they are characters or UTF-8.

    Raises:
        InputError: it holds something else.
    """
    if column.ndim != 1 or column.dtype.kind not in "US":
        raise InputError(f"{name} has shape {column.shape} of {column.dtype}, not (N,) texts")
    try:
        return [text.decode() if isinstance(text, bytes) else text for text in column.tolist()]
    except UnicodeDecodeError as exc:
        raise InputError(f"{name} holds a text that is not UTF-8") from exc


def to_floats(column: NDArray[Any], name: str) -> NDArray[np.float32]:
    """A column of vectors as float32.

    Raises:
        InputError: it holds something else.
    """
    if column.ndim != 2 or column.dtype.kind != "f":
        raise InputError(f"{name} has shape {column.shape} of {column.dtype}, not (N, D) floats")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.ascontiguousarray(column, dtype=np.float32)
