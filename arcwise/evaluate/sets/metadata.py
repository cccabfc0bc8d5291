"""What is known of photos or people, from a csv: age, gender, ethnicity, quality.

It does not know embeddings. The first column is called `photo` or `person` and holds names; every
other column becomes a way to part the photos into groups. An empty cell is not known.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import Numbers
from arcwise.files import read_bytes

MOST_VALUES = 8
"""A column of numbers with more different values becomes ranges: our choice."""
_QUARTERS = (0.25, 0.5, 0.75)
_HINT = "a line `photo,age,gender` or `person,gender` first, then one line for each"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of some photos or people.

    Attributes:
        is_of_people: whether the rows are of people, not of photos.
        columns: titles of what is known.
        rows: name of the photo or person -> a text for each column, "" where it is not known.
    """

    is_of_people: bool
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """Photos in groups.

    Attributes:
        names: of the groups, at least one.
        codes: (N,) int32 the group of each photo, -1 where it is not known.
    """

    names: tuple[str, ...]
    codes: Numbers


def read_metadata(path: Path | str) -> Metadata:
    """Read a csv, UTF-8, with a line of titles.

    Raises:
        DatasetError: it is not such a file, or names something twice.
        InputError: it cannot be read.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"{path} is no csv: {exc}", hint="save it as csv, UTF-8") from exc
    titles = [title.strip() for title in lines[0]] if lines else []
    if len(titles) < 2 or titles[0].lower() not in ("photo", "person") or "" in titles:
        raise DatasetError(f"{path} does not begin with the titles that are needed", hint=_HINT)
    if len(set(titles)) < len(titles):
        raise DatasetError(f"{path} has two columns of one title", hint="rename one of them")
    rows: dict[str, tuple[str, ...]] = {}
    for line in lines[1:]:
        name, *cells = (cell.strip() for cell in line)
        if len(line) != len(titles) or not name:
            raise DatasetError(
                f"{path}: the line of {name!r} has {len(line)} cells, there are {len(titles)} "
                "titles",
                hint=_HINT,
            )
        if name in rows:
            raise DatasetError(f"{path} names {name} twice", hint="keep one of the lines")
        rows[name] = tuple(cells)
    if not rows:
        raise DatasetError(f"{path} names no {titles[0]}", hint=_HINT)
    return Metadata(titles[0].lower() == "person", tuple(titles[1:]), rows)


def sort_into_groups(
    metadata: Metadata, keys: Sequence[str], edges: Mapping[str, Sequence[float]]
) -> dict[str, Parts]:
    """Part photos into groups, one parting for each column.

    Args:
        metadata: what is known.
        keys: (N,) the name that each photo has in the metadata: its own, or its person's.
        edges: column -> rising numbers. Values from one edge up to, but not at, the next are one
            group. A column of numbers with more than 8 different values and without edges is
            parted into quarters of equally many photos. Ranges without a photo are left out.

    Returns:
        Column -> parting; a column of which no photo has a value is left out.

    Raises:
        InputError: edges that do not rise, for a column that is not there or holds no numbers.
    """
    unknown = set(edges) - set(metadata.columns)
    if unknown:
        raise InputError(
            f"there is no column {min(unknown)!r}", hint=f"there are {', '.join(metadata.columns)}"
        )
    empty = ("",) * len(metadata.columns)
    found = {}
    for place, column in enumerate(metadata.columns):
        texts = [metadata.rows.get(key, empty)[place] for key in keys]
        if any(texts):
            found[column] = _part(column, texts, edges.get(column))
    return found


def _part(column: str, texts: Sequence[str], edges: Sequence[float] | None) -> Parts:
    values = [_number_of(text) for text in texts]
    there = [value for value, text in zip(values, texts, strict=True) if text]
    numbers = [value for value in there if value is not None]
    if len(numbers) < len(there):
        if edges is not None:
            raise InputError(f"column {column!r} holds no numbers", hint="leave its edges out")
        return _part_words(texts)
    distinct = sorted(set(numbers))
    if edges is None and len(distinct) <= MOST_VALUES:
        shown = dict(zip(distinct, _show_apart(distinct), strict=True))
        return _part_words(["" if value is None else shown[value] for value in values])
    if edges is None:
        edges = np.unique(np.quantile(numbers, _QUARTERS)).tolist()
    if not edges or not all(a < b for a, b in pairwise((*edges, math.inf))):
        raise InputError(f"the edges of {column!r} are {list(edges)}", hint="give rising numbers")
    bounds = _show_apart(edges)
    middle = [f"{low} to below {high}" for low, high in pairwise(bounds)]
    names = (f"below {bounds[0]}", *middle, f"{bounds[-1]} and above")
    places = [None if v is None else int(np.searchsorted(edges, v, side="right")) for v in values]
    kept = sorted({place for place in places if place is not None})
    codes = [-1 if place is None else kept.index(place) for place in places]
    return Parts(tuple(names[place] for place in kept), np.array(codes, dtype=np.int32))


def _show_apart(numbers: Sequence[float]) -> list[str]:
    """Different numbers as different texts: with 15 digits, else with as many as it takes."""
    texts = [f"{number:.15g}" for number in numbers]
    return texts if len(set(texts)) == len(texts) else [repr(float(n)) for n in numbers]


def _part_words(texts: Sequence[str]) -> Parts:
    numbers = [_number_of(text) for text in set(texts) - {""}]
    by_value = None not in numbers
    names = sorted(set(texts) - {""}, key=lambda text: (float(text), "") if by_value else (0, text))
    code_of = {name: code for code, name in enumerate(names)} | {"": -1}
    return Parts(tuple(names), np.array([code_of[text] for text in texts], dtype=np.int32))


def _number_of(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
