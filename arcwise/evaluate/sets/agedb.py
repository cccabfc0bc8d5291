"""AgeDB: verification pairs with 5, 10, 20 or 30 years between.

It opens no photo; people.py reads its file names. Source: Moschoglou et al. 2017, "AgeDB: the first
manually collected, in-the-wild age database"; the layout of `04_FINAL_protocol_30_years.mat` after
agedb2pack.py of InsightFace: `splits` is a column of ten cells, one for each fold; each holds
2 x 600 entries, of which the first part is the file name without ending, and 600 labels, 1 or -1.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from arcwise.errors import DatasetError, InputError, LearningError
from arcwise.evaluate.sets.names import match_names
from arcwise.files import read_bytes, translate_os_errors
from arcwise.types import Pair

_MAT_ERRORS: tuple[type[Exception], ...] = (
    EOFError, IndexError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
try:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "scipy":
        raise
    loadmat = None  # lists.py reads other lists without it
else:
    _MAT_ERRORS += (MatReadError,)

AGEDB_YEARS = (5, 10, 20, 30)
"""Years between the photos of a pair; one protocol for each."""

_N_FOLDS = 10
_N_PAIRS = 600  # of each fold
_FOLDER = "03_Protocol_Images"
_HINT = "give the folder of AgeDB that holds 04_FINAL_protocol_30_years.mat, as it was unpacked"


def read_agedb(
    root: Path | str, years: int = 30, *, photos: Collection[str] | None = None
) -> list[Pair]:
    """Read a protocol: ten folds of 600 pairs.

    Args:
        root: the folder with `04_FINAL_protocol_30_years.mat` or its sisters (any number in
            front), or such a file itself.
        years: 5, 10, 20 or 30; which file is taken from a folder.
        photos: names of the photos there are; the pairs are then called so (`match_names`).

    Returns:
        6,000 pairs, fold by fold. Without `photos`, names are relative to the root:
        03_Protocol_Images/NAME.jpg.

    Raises:
        DatasetError: no such file or several, one that is no MATLAB file or is laid out in
            another way, a label other than 1 and -1, or a fold of one class.
        InputError: other years, or a file that cannot be read.
        LearningError: scipy is not installed.
    """
    if years not in AGEDB_YEARS:
        raise InputError(
            f"AgeDB has no protocol of {years} years",
            hint=f"it has {', '.join(map(str, AGEDB_YEARS))}",
        )
    path = _find_protocol(Path(root), years)
    splits = np.asarray(_load_splits(path), dtype=object).ravel()
    if len(splits) != _N_FOLDS:
        raise DatasetError(f"{path} holds {len(splits)} splits, not {_N_FOLDS}", hint=_HINT)
    pairs = [
        pair
        for i, split in enumerate(splits)
        for pair in _parse_split(split, i, f"{path}: fold {i + 1}")
    ]
    return pairs if photos is None else match_names(pairs, photos)


def _find_protocol(root: Path, years: int) -> Path:
    if not root.is_dir():
        return root
    with translate_os_errors(root, doing="list"):
        found = sorted(root.glob(f"*FINAL_protocol_{years}_years.mat"))
    if len(found) != 1:
        raise DatasetError(
            f"{root} holds {len(found)} files called *FINAL_protocol_{years}_years.mat", hint=_HINT
        )
    return found[0]


def _load_splits(path: Path) -> Any:
    if loadmat is None:
        raise LearningError("scipy is not installed", hint="pip install 'arcwise[report]'")
    content = read_bytes(path)
    try:
        return loadmat(io.BytesIO(content), variable_names=["splits"])["splits"]
    except _MAT_ERRORS as exc:
        what = "holds no `splits`" if isinstance(exc, KeyError) else f"is no MATLAB file: {exc}"
        raise DatasetError(f"{path} {what}", hint=_HINT) from exc


def _parse_split(split: Any, fold: int, place: str) -> list[Pair]:
    parts = _open_cell(split)
    if len(parts) < 2:
        raise DatasetError(f"{place} is not pairs and labels", hint=_HINT)
    entries, labels = np.asarray(parts[0]), np.asarray(parts[1]).ravel()
    if entries.shape != (2, _N_PAIRS) or labels.shape != (_N_PAIRS,):
        raise DatasetError(
            f"{place} holds names of shape {entries.shape} and {len(labels)} labels, the "
            f"published one (2, {_N_PAIRS}) and {_N_PAIRS}",
            hint=_HINT,
        )
    pairs = []
    for i, label in enumerate(labels.tolist()):
        if label not in (1, -1):
            raise DatasetError(f"{place}: label {i + 1} is {label!r}, not 1 or -1", hint=_HINT)
        a, b = (_name_photo(entries[row, i], f"{place}: pair {i + 1}") for row in (0, 1))
        pairs.append(Pair(a, b, label == 1, fold))
    if len({pair.is_same for pair in pairs}) < 2:
        raise DatasetError(f"{place} holds pairs of one class only", hint=_HINT)
    return pairs


def _open_cell(value: Any) -> list[Any]:
    """The parts of a cell or struct of MATLAB, whatever cells of one lie around it."""
    while isinstance(value, np.ndarray) and value.size == 1:
        if value.dtype.names is None and value.dtype != object:
            break
        value = value.ravel()[0]
    if isinstance(value, np.void):
        return list(value.item())
    if isinstance(value, np.ndarray) and value.dtype == object:
        return list(value.ravel())
    return [value]


def _name_photo(entry: Any, place: str) -> str:
    """The first text of an entry, which may hold the age and more behind it."""
    parts = _open_cell(entry)
    text = parts[0]
    while isinstance(text, np.ndarray) and text.size == 1:
        text = text.ravel()[0]
    name = str(text).strip().replace("\\", "/") if isinstance(text, str) else ""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise DatasetError(f"{place} has no name of a photo", hint=_HINT)
    name = name if name.lower().endswith((".jpg", ".png")) else f"{name}.jpg"
    return f"{_FOLDER}/{name}"
