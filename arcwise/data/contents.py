"""What a record file holds: which of its records are crops, whose they are, and what is odd.

It decodes no picture. Three dialects are told apart. InsightFace: record 0 is a header without a
picture, labels [N + 1, N + 1 + P]; crops have the keys 1..N, and the P records after them are the
people, each with the range of its crops. Sequential: all records are crops, keys 0, 1, 2, .. as
they lie in the file. im2rec: all records are crops, with any keys in any order. Source:
face2rec2.py of InsightFace and im2rec.py of MXNet.

Counts and labels are stored as float32 in a record file, which is exact up to 2^24 only; sets with
more crops exist. So counts are those of the index and are only held against the header; our writer
also leaves them, exactly, in a JSON file beside the record file, with all labels next to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arcwise.data.idx import Index, read_index
from arcwise.data.recordio import RecordFile, Survey
from arcwise.errors import DatasetError
from arcwise.files import read_bytes, translate_os_errors, write_atomically

Dialect = Literal["insightface", "sequential", "im2rec"]

MOST_LABEL = 1 << 24
"""Largest whole number below which float32 has them all."""

PROPERTY_NAME = "property"
_NAMED = 3  # gaps that are named in a note
_REMAKE = "take the .idx away: it is made again from the .rec"


class RecordCounts(BaseModel):
    """What lies beside a record file that we wrote, as JSON.

    Attributes:
        dialect: of the record file.
        n_crops: exactly.
        n_classes: one more than the largest label.
        n_people: labels that occur.
        side_px: of the crops.
        rec_bytes: size of the record file that this is about.
        people: names by label, or None.
        version: of this format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: Literal["insightface", "sequential"]
    n_crops: Annotated[int, Field(ge=1)]
    n_classes: Annotated[int, Field(ge=1)]
    n_people: Annotated[int, Field(ge=1)]
    side_px: Annotated[int, Field(ge=1)]
    rec_bytes: Annotated[int, Field(ge=1)]
    people: tuple[str, ...] | None = None
    version: Literal[1] = 1


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """The crops of a record file.

    Attributes:
        dialect: see above.
        keys: (n,) int64, ascending.
        offsets: (n,) int64 of their records.
        labels: (n,) int64.
        n_classes: one more than the largest label.
        people: names by label, or None.
        notes: sentences about what is odd and can be used all the same.
    """

    dialect: Dialect
    keys: NDArray[np.int64]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    n_classes: int
    people: tuple[str, ...] | None
    notes: tuple[str, ...]


def counts_path(rec: Path) -> Path:
    """Where the exact counts of a record file lie."""
    return rec.with_suffix(".json")


def labels_path(rec: Path) -> Path:
    """Where the labels of its crops lie, (n,) int64 as numpy writes them."""
    return rec.with_suffix(".labels.npy")


def read_contents(file: RecordFile) -> Contents:
    """Find the crops of a record file, without reading them where their counts lie beside it.

    Raises:
        DatasetError: it is cut off; its index or counts are of another file; a record has no
            picture or no label that is a whole number; `property` contradicts it.
        InputError: something cannot be read.
    """
    rec = file.path
    notes: list[str] = []
    index, survey = _find_records(file, notes)
    if survey is None and counts_path(rec).is_file():
        return _trust_counts(file, _sort_index(index), notes)
    survey = survey or file.survey(index.offsets)
    missed = file.n_bytes - int((survey.ends - index.offsets).sum())
    if missed:
        notes.append(f"{rec.name} has {missed} bytes of records that its .idx does not name")
    order = np.argsort(index.keys, kind="stable")
    has_picture = survey.n_bytes[order] > 0
    if index.keys[order[0]] == 0 and survey.n_labels[order[0]] == 2 and not has_picture[0]:
        dialect: Dialect = "insightface"
        _check_header(rec, index, survey, order, notes)
    else:
        dialect = _name_dialect(index)
        if not has_picture.all():
            key = int(index.keys[order][~has_picture][0])
            raise DatasetError(f"record {key} of {rec} has no picture", hint=_REMAKE)
    crops = order[has_picture]
    labels = _check_labels(rec, index.keys[crops], survey.labels[crops])
    notes += _name_gaps(labels)
    return Contents(
        dialect=dialect,
        keys=index.keys[crops],
        offsets=index.offsets[crops],
        labels=labels,
        n_classes=int(labels.max()) + 1,
        people=None,
        notes=tuple(notes),
    )


def _find_records(file: RecordFile, notes: list[str]) -> tuple[Index, Survey | None]:
    """The index, made by looking at every record where there is none."""
    path = file.path.with_suffix(".idx")
    if path.is_file():
        index = read_index(path)
        beyond = index.offsets >= file.n_bytes
        if beyond.any():
            raise DatasetError(
                f"{path} names a record at byte {index.offsets[beyond][0]}, {file.path.name} ends "
                f"at byte {file.n_bytes}",
                hint="the .rec is cut off or the .idx is of another file: copy both again",
            )
        return index, None
    notes.append(f"{path.name} is missing; all records were looked for")
    offsets = file.scan()
    survey = file.survey(offsets)
    if len(np.unique(survey.ids)) == len(offsets) and (survey.ids >= 0).all():
        return Index(survey.ids, offsets), survey
    return Index(np.arange(len(offsets), dtype=np.int64), offsets), survey


def _sort_index(index: Index) -> Index:
    order = np.argsort(index.keys, kind="stable")
    return Index(index.keys[order], index.offsets[order])


def _name_dialect(index: Index) -> Dialect:
    in_file = index.keys[np.argsort(index.offsets, kind="stable")]
    counts_up = np.array_equal(in_file, np.arange(len(in_file)))
    return "sequential" if counts_up else "im2rec"


def _check_header(
    rec: Path, index: Index, survey: Survey, order: NDArray[np.int64], notes: list[str]
) -> None:
    """Hold the counts of the InsightFace header against what is there."""
    keys, has_picture = index.keys[order], survey.n_bytes[order] > 0
    n_crops = int(has_picture.sum())
    n_people = len(keys) - 1 - n_crops
    if not n_crops:
        raise DatasetError(f"{rec} holds no crops", hint=_REMAKE)
    wrong = keys[has_picture] != np.arange(1, n_crops + 1)
    if wrong.any():
        key = int(np.flatnonzero(wrong)[0]) + 1
        raise DatasetError(
            f"crop {key} of {rec} is missing: its keys go from {keys[has_picture][0]} to "
            f"{keys[has_picture][-1]}, but there are {n_crops}",
            hint=f"{_REMAKE}; or the .rec is not whole: copy it again",
        )
    header = survey.labels[order[0]], survey.second[order[0]]
    if header[0] != np.float32(n_crops + 1):
        raise DatasetError(
            f"{rec} promises {int(header[0]) - 1} crops and its index names {n_crops}",
            hint=f"{_REMAKE}; or the .rec is not whole: copy it again",
        )
    if header[1] != np.float32(n_crops + 1 + n_people):
        notes.append(
            f"the header of {rec.name} ends its people at {int(header[1])}, there are {n_people}"
        )


def _check_labels(
    rec: Path, keys: NDArray[np.int64], labels: NDArray[np.float32]
) -> NDArray[np.int64]:
    bad = ~((labels >= 0) & (labels <= MOST_LABEL) & (labels == np.floor(labels)))  # NaN, too
    if bad.any():
        raise DatasetError(
            f"the label of record {keys[bad][0]} of {rec} is {labels[bad][0]:g}, and "
            f"{int(bad.sum())} of {len(labels)} are no whole numbers from 0 to {MOST_LABEL}",
            hint="number the people 0, 1, 2, .. and pack the set again",
        )
    return labels.astype(np.int64)


def _name_gaps(labels: NDArray[np.int64]) -> list[str]:
    gaps = np.flatnonzero(np.bincount(labels) == 0)
    if not len(gaps):
        return []
    named = ", ".join(map(str, gaps[:_NAMED].tolist()))
    return [
        f"labels go up to {labels.max()}, but {len(gaps)} numbers have no crop, such as {named}"
    ]


# ── beside the record file ──


def _trust_counts(file: RecordFile, index: Index, notes: list[str]) -> Contents:
    rec = file.path
    counts = read_counts(rec)
    first = 1 if counts.dialect == "insightface" else 0
    crops = slice(first, first + counts.n_crops)
    labels = _read_labels(rec)
    keys = np.arange(first, first + counts.n_crops)
    if counts.rec_bytes != file.n_bytes:
        why = f"is about a file of {counts.rec_bytes} bytes, {rec.name} has {file.n_bytes}"
    elif not np.array_equal(index.keys[crops], keys):
        why = f"promises the crops {keys[0]} to {keys[-1]}, the .idx names others"
    elif len(labels) != counts.n_crops or int(labels.max()) + 1 != counts.n_classes:
        why = f"has {counts.n_crops} crops of {counts.n_classes} classes, the labels others"
    elif counts.people is not None and len(counts.people) < counts.n_classes:
        why = f"names {len(counts.people)} people, there are {counts.n_classes} classes"
    else:
        return Contents(
            dialect=counts.dialect,
            keys=keys,
            offsets=index.offsets[crops],
            labels=labels,
            n_classes=counts.n_classes,
            people=counts.people,
            notes=(*notes, *_name_gaps(labels)),
        )
    raise DatasetError(
        f"{counts_path(rec)} {why}",
        hint=f"a file was cut off or replaced: copy all again; or take {counts_path(rec).name} "
        "away, and every record is looked at",
    )


def read_counts(rec: Path) -> RecordCounts:
    """The exact counts beside a record file.

    Raises:
        DatasetError: they are broken.
        InputError: they cannot be read.
    """
    path = counts_path(rec)
    try:
        return RecordCounts.model_validate_json(read_bytes(path))
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(
            f"{path} does not hold the counts of a record file: {place}: {first['msg']}",
            hint="take it away, and every record is looked at",
        ) from exc


def _read_labels(rec: Path) -> NDArray[np.int64]:
    path = labels_path(rec)
    try:
        with translate_os_errors(path, doing="read"):
            labels = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as exc:
        raise DatasetError(
            f"{path} does not hold labels: {exc}",
            hint=f"take {counts_path(rec).name} away, and every record is looked at",
        ) from exc
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype != np.int64 or not found.size or found.min() < 0:
        raise DatasetError(f"{path} does not hold labels but {found.dtype} of {found.shape}")
    return found


def write_counts(rec: Path, counts: RecordCounts) -> Path:
    """Write the exact counts beside a record file, atomically.

    Raises:
        InputError: the place cannot be written.
    """
    text = json.dumps(counts.model_dump(), indent=2)
    return write_atomically(counts_path(rec), f"{text}\n".encode())


def check_property(rec: Path, n_classes: int, side_px: int) -> str:
    """Hold `property` (people,height,width on one line) against what is there.

    Returns:
        A sentence about what is odd, or nothing.

    Raises:
        DatasetError: it is no such line, or contradicts the crops.
        InputError: it cannot be read.
    """
    path = rec.parent / PROPERTY_NAME
    if not path.is_file():
        return f"{PROPERTY_NAME} is missing: {n_classes} people of {side_px} px were found"
    words = read_bytes(path).decode("ascii", "replace").strip().split(",")
    if len(words) != 3 or not all(word.strip().isdecimal() for word in words):
        raise DatasetError(
            f"{path} holds {','.join(words)[:80]!r}, not PEOPLE,HEIGHT,WIDTH",
            hint="correct it, or take it away: it is inferred",
        )
    n_promised, height, width = map(int, words)
    if n_promised < n_classes or (height, width) != (side_px, side_px):
        raise DatasetError(
            f"{path} says {n_promised} people of {width}x{height} px, {rec.name} has labels up to "
            f"{n_classes - 1} and crops of {side_px}x{side_px} px",
            hint="correct it, or take it away: it is inferred",
        )
    if n_promised > n_classes:
        return f"{PROPERTY_NAME} says {n_promised} people, labels go up to {n_classes - 1}"
    return ""
