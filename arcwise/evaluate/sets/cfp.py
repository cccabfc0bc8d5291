"""Celebrities in Frontal-Profile (CFP): pairs with ten folds, and its 30 points of each face.

It opens no photo. Source: Sengupta et al. 2016, "Frontal to Profile Face Verification in the
Wild", layout of cfp-dataset: `Protocol/Pair_list_F.txt` and `Pair_list_P.txt` number the photos,
`Protocol/Split/FP/01/same.txt` and so on pair the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.names import match_names
from arcwise.files import read_bytes
from arcwise.types import Floats, Pair

Kind = Literal["FF", "FP"]

N_FIDUCIALS = 30
"""Points of one face, in the order of the set's own files."""

_N_FOLDS = 10
_N_EACH = 350  # pairs of one person and of two people, in each fold
_NUMBERED = re.compile(r"([0-9]{1,9})\s+(\S.*)")
_INDICES = re.compile(r"([0-9]{1,9})\s*,\s*([0-9]{1,9})")
_HINT = "give the folder of cfp-dataset that holds Protocol and Data, as it was unpacked"


def read_cfp(
    root: Path | str, kind: Kind = "FP", *, photos: Collection[str] | None = None
) -> list[Pair]:
    """Read the protocol: ten folds of 350 pairs of one person and 350 of two.

    Args:
        root: the folder of the set, with `Protocol`.
        kind: "FF" for two frontal photos, "FP" for a frontal one and a profile.
        photos: names of the photos there are; the pairs are then called so (`match_names`).

    Returns:
        7,000 pairs, fold by fold, those of one person first. Without `photos`, names are relative
        to the root: Data/Images/001/frontal/01.jpg.

    Raises:
        DatasetError: a line that is no pair, a number that no list has, a photo numbered twice,
            a file with other than 350 pairs.
        InputError: another kind, or a file that cannot be read.
    """
    if kind not in ("FF", "FP"):
        raise InputError(f"CFP has no protocol {kind!r}", hint="it has FF and FP")
    protocol = Path(root) / "Protocol"
    frontal = _read_numbers(protocol / "Pair_list_F.txt")
    second = frontal if kind == "FF" else _read_numbers(protocol / "Pair_list_P.txt")
    pairs = []
    for fold in range(_N_FOLDS):
        for is_same, name in ((True, "same.txt"), (False, "diff.txt")):
            path = protocol / "Split" / kind / f"{fold + 1:02d}" / name
            for a, b in _read_indices(path, frontal, second):
                pairs.append(Pair(a, b, is_same, fold))
    return pairs if photos is None else match_names(pairs, photos)


def read_fiducials(path: Path | str) -> Floats:
    """Read the 30 points of one photo, such as Data/Fiducials/001/frontal/01.txt.

    Args:
        path: of the file; each line is `x,y`.

    Returns:
        (30, 2) float32, px in the photo, in the order of the file.

    Raises:
        DatasetError: other than 30 lines, or one that is not two finite numbers.
        InputError: the file cannot be read.
    """
    path = Path(path)
    points = []
    for place, line in _read_lines(path):
        try:
            x, y = (float(word) for word in line.split(","))
        except ValueError as exc:
            raise DatasetError(f"{place}: {line[:80]!r} is not `x,y`", hint=_HINT) from exc
        points.append((x, y))
    found = np.array(points, dtype=np.float32).reshape(-1, 2)
    if len(found) != N_FIDUCIALS or not np.isfinite(found).all():
        raise DatasetError(
            f"{path} holds {len(found)} points, {int(np.isfinite(found).all(axis=1).sum())} of "
            f"them finite; a face has {N_FIDUCIALS}",
            hint=_HINT,
        )
    return found


def _read_numbers(path: Path) -> dict[int, str]:
    """Number of a photo -> its name from the root of the set."""
    found: dict[int, str] = {}
    for place, line in _read_lines(path):
        match = _NUMBERED.fullmatch(line)
        if match is None:
            raise DatasetError(f"{place}: {line[:80]!r} is not `number path`", hint=_HINT)
        number = int(match[1])
        if number in found:
            raise DatasetError(f"{place}: a second photo has number {number}", hint=_HINT)
        found[number] = _clean_path(place, match[2])
    if not found:
        raise DatasetError(f"{path} names no photos", hint=_HINT)
    return found


def _clean_path(place: str, text: str) -> str:
    """`../Data/Images/001/frontal/01.jpg` is written from the folder Protocol."""
    path = PurePosixPath(text.replace("\\", "/"))
    parts = path.parts[1:] if path.parts[0] == ".." else path.parts
    if not parts or path.is_absolute() or ".." in parts:
        raise DatasetError(f"{place}: {text[:80]!r} leads out of the set", hint=_HINT)
    return "/".join(parts)


def _read_indices(
    path: Path, first: dict[int, str], second: dict[int, str]
) -> list[tuple[str, str]]:
    pairs = []
    for place, line in _read_lines(path):
        match = _INDICES.fullmatch(line)
        if match is None:
            raise DatasetError(f"{place}: {line[:80]!r} is not `i,j`", hint=_HINT)
        i, j = int(match[1]), int(match[2])
        for number, photos in ((i, first), (j, second)):
            if number not in photos:
                raise DatasetError(
                    f"{place}: photo {number} is not among the {len(photos)} of its list",
                    hint=_HINT,
                )
        pairs.append((first[i], second[j]))
    if len(pairs) != _N_EACH:
        raise DatasetError(
            f"{path} holds {len(pairs)} pairs, the published file has {_N_EACH}",
            hint="the file is cut short or edited; unpack the set again",
        )
    return pairs


def _read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines that are not blank, each with its place."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path} is not UTF-8 text ({exc.reason})", hint=_HINT) from exc
    lines = enumerate(text.splitlines(), start=1)
    return [(f"{path}:{number}", line.strip()) for number, line in lines if line.strip()]
