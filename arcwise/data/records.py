"""Training sets in record files: crops by position, and the writer of such sets.

It does not know the bytes of records (recordio.py does) nor which records are crops (contents.py
does). What is known of a crop is made when it is asked for: a set of 17 million crops is three
arrays of numbers, not 17 million objects.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from arcwise.data.contents import (
    MOST_LABEL,
    PROPERTY_NAME,
    RecordCounts,
    check_property,
    labels_path,
    read_contents,
    write_counts,
)
from arcwise.data.folder import SIZE_PX, KeptCrops, measure_border
from arcwise.data.lists import name_label
from arcwise.data.recordio import Header, RecordFile, RecordWriter, pack_payload, unpack_payload
from arcwise.data.split import Sample
from arcwise.encode import encode_image
from arcwise.errors import DatasetError, ImageError, InputError
from arcwise.files import translate_os_errors, write_atomically
from arcwise.image import read_crop, read_image
from arcwise.types import Image

_SAMPLES_AT_ONCE = 1 << 16


class RecordSamples(Sequence[Sample]):
    """Photo (PERSON/KEY) and person of every crop, made when they are asked for.

    Args:
        keys: (n,) int64 of the records.
        labels: (n,) int64.
        people: names by label, or None for the labels themselves.
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        labels: NDArray[np.int64],
        people: Sequence[str] | None = None,
    ) -> None:
        self._keys = keys
        self._labels = labels
        self._people = people

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, position: int) -> Sample: ...
    @overload
    def __getitem__(self, position: slice) -> RecordSamples: ...
    def __getitem__(self, position: int | slice) -> Sample | RecordSamples:
        if isinstance(position, slice):
            return RecordSamples(self._keys[position], self._labels[position], self._people)
        return self._make(int(self._keys[position]), int(self._labels[position]))

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _SAMPLES_AT_ONCE):
            part = slice(start, start + _SAMPLES_AT_ONCE)
            yield from map(self._make, self._keys[part].tolist(), self._labels[part].tolist())

    def _make(self, key: int, label: int) -> Sample:
        person = name_label(label) if self._people is None else self._people[label]
        return Sample(f"{person}/{key:08d}", person)


class Records:
    """The crops of a record file. Many threads may read at once; pickled, it is opened again.

    Attributes:
        path: of the .rec file.
        samples: of every crop: photo (PERSON/KEY) and person; made when they are asked for.
        labels: (n,) int64 of the crops.
        keys: (n,) int64 keys of their records, ascending.
        people: names by label, or None; without a name a person is called by the label, 7 digits.
        n_classes: one more than the largest label.
        dialect: insightface, sequential or im2rec (see contents.py).
        notes: sentences about what is odd but usable: numbers without a crop, a missing .idx.
        size_px, border_px: side of the aligned face, and what lies around it on each side.

    Args:
        place: the .rec file, or a folder with one (train.rec where there are several).
        size_px: see above.

    Raises:
        DatasetError: the .rec is cut off, its .idx lies, labels are no whole numbers, `property`
            says something else, or crops have a size that does not fit.
        InputError: it cannot be read.
    """

    def __init__(self, place: Path | str, *, size_px: int = SIZE_PX) -> None:
        self.path = find_record_file(Path(place))
        self.size_px = size_px
        self._file = RecordFile(self.path)
        found = read_contents(self._file)
        self.keys, self.labels, self._offsets = found.keys, found.labels, found.offsets
        self.people, self.n_classes, self.dialect = found.people, found.n_classes, found.dialect
        self.samples: Sequence[Sample] = RecordSamples(self.keys, self.labels, self.people)
        self.border_px = measure_border(self._decode(0), size_px, self._name(0))
        note = check_property(self.path, self.n_classes, self.side_px)
        self.notes = (*found.notes, note) if note else found.notes
        self._kept = KeptCrops(self.side_px)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": KeptCrops(self.side_px)}

    @property
    def side_px(self) -> int:
        """Side of the crops, border included."""
        return self.size_px + 2 * self.border_px

    def read(self, position: int) -> Image:
        """One crop.

        Args:
            position: in `samples`.

        Returns:
            (S, S, 3) uint8 RGB, S = size_px + 2 * border_px.

        Raises:
            DatasetError: it is broken, or has another size or label than it should.
        """
        return self._kept.read(position, self._decode, name=self._name)

    def content(self, position: int) -> bytes:
        """The picture file of one crop as it is stored.

        Raises:
            DatasetError: its record is broken, or has another label than it should.
        """
        payload = self._file.read(int(self._offsets[position]))
        try:
            header, content = unpack_payload(payload)
        except DatasetError as exc:
            raise DatasetError(f"{self._name(position)}: {exc}", hint=exc.hint) from exc
        if header.labels[0] != self.labels[position]:
            raise DatasetError(
                f"{self._name(position)} has label {header.labels[0]:g}, not "
                f"{self.labels[position]}",
                hint="a file beside the .rec is of another set: copy all of them again",
            )
        return content

    def close(self) -> None:
        """Nothing can be read any more but what was kept."""
        self._file.close()

    def _decode(self, position: int) -> Image:
        try:
            return read_crop(self.content(position))
        except ImageError as exc:
            raise DatasetError(
                f"{self._name(position)} cannot be read: {exc}",
                hint="copy the .rec again, or pack the set again without this crop",
            ) from exc

    def _name(self, position: int) -> str:
        return f"record {self.keys[position]} of {self.path}"


def find_record_file(place: Path) -> Path:
    """The .rec file that a path means.

    Args:
        place: the file itself, or a folder with one.

    Raises:
        InputError: there is none, or several and none is called train.rec.
    """
    if not place.is_dir():
        return place
    with translate_os_errors(place, doing="list"):
        found = sorted(path for path in place.iterdir() if path.suffix == ".rec")
    train = place / "train.rec"
    if train in found or len(found) == 1:
        return train if train in found else found[0]
    raise InputError(
        f"{place} holds {len(found)} record files" if found else f"{place} holds no record file",
        hint="give the path of one .rec file",
    )


# ── writing ──


def write_records(
    path: Path | str,
    crops: Iterable[tuple[bytes | Image, int]],
    *,
    dialect: Literal["insightface", "sequential"] = "insightface",
    people: Sequence[str] | None = None,
    quality: int = 95,
) -> RecordCounts:
    """Write a record file with its index, `property`, labels and counts, the counts last.

    The record file gets its name when it is whole. Every crop is decoded once, so that none is
    broken or of another size.

    Args:
        path: of the .rec file; it must not be there, nor `property` beside it.
        crops: picture files as bytes, stored as they are, or (S, S, 3) uint8 RGB pixels, stored as
            JPEG; each with its label from 0. For "insightface" the crops of a label follow each
            other.
        dialect: see contents.py.
        people: names by label.
        quality: of the JPEG made of pixels, 1..100; InsightFace takes 95 by default.

    Returns:
        The counts that were written.

    Raises:
        DatasetError: no crops; one is broken or has another size than the first; a label is no
            whole number from 0, has no name, or comes back later.
        InputError: the place is taken or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".rec":
        raise InputError(f"{path} does not end in .rec", hint=f"call it {path.stem}.rec")
    taken = path.parent / PROPERTY_NAME
    if taken.exists():
        raise InputError(f"{taken} is there already", hint="write each set to its own folder")
    labels, seen = array("q"), set[int]()
    side_px = 0
    first_key = 1 if dialect == "insightface" else 0
    with RecordWriter(path) as writer:
        for crop, label in crops:
            content = crop if isinstance(crop, bytes) else _encode(crop, quality)
            key = first_key + len(labels)
            _check_label(label, len(labels), people)
            if dialect == "insightface" and label in seen and label != labels[-1]:
                raise DatasetError(
                    f"label {label} comes back at crop {len(labels)}",
                    hint="sort the crops by label, or write the sequential dialect",
                )
            seen.add(label)
            side_px = _check_crop(content, side_px, key)
            writer.append(key, pack_payload(Header((float(label),), key), content))
            labels.append(label)
        found = np.array(labels, np.int64)
        if not len(found):
            raise DatasetError(f"no crops to write to {path}")
        if dialect == "insightface":
            _append_people(writer, found)
        n_classes = int(found.max()) + 1
        line = f"{n_classes},{side_px},{side_px}\n"
        write_atomically(taken, line.encode())
        write_atomically(labels_path(path), _to_npy(found))
    with translate_os_errors(path, doing="read"):
        rec_bytes = path.stat().st_size
    counts = RecordCounts(
        dialect=dialect,
        n_crops=len(found),
        n_classes=n_classes,
        n_people=len(seen),
        side_px=side_px,
        rec_bytes=rec_bytes,
        people=None if people is None else tuple(people),
    )
    write_counts(path, counts)
    return counts


def _append_people(writer: RecordWriter, labels: NDArray[np.int64]) -> None:
    """The header, key 0, and the range of crops of each person, as face2rec2.py writes them."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1])
    after = len(labels) + 1
    header = Header((float(after), float(after + len(starts))), 0, is_vector=True)
    writer.append(0, pack_payload(header, b""))
    ends = np.append(starts[1:], len(labels))
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        span = Header((float(start + 1), float(end + 1)), after + row, is_vector=True)
        writer.append(after + row, pack_payload(span, b""))


def _encode(crop: Image, quality: int) -> bytes:
    return encode_image(crop, suffix=".jpg", quality=quality)


def _check_label(label: int, position: int, people: Sequence[str] | None) -> None:
    if not 0 <= label <= MOST_LABEL or label != int(label):
        raise DatasetError(
            f"label {label!r} of crop {position} is no whole number from 0 to {MOST_LABEL}",
            hint="number the people 0, 1, 2, ..",
        )
    if people is not None and label >= len(people):
        raise DatasetError(f"label {label} of crop {position} has none of the {len(people)} names")


def _check_crop(content: bytes, side_px: int, key: int) -> int:
    """Side of a crop, that of those before it if there were any."""
    try:
        height, width = read_image(content).shape[:2]
    except ImageError as exc:
        raise DatasetError(f"crop {key} cannot be read: {exc}", hint=exc.hint) from exc
    if height != width or side_px not in (0, height):
        wanted = f"{side_px}x{side_px} as the first" if side_px else "square"
        raise DatasetError(
            f"crop {key} has {width}x{height} px, it must be {wanted}",
            hint="all crops must be cut alike: `arcwise prepare` does that from photos",
        )
    return int(height)


def _to_npy(labels: NDArray[np.int64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, labels, allow_pickle=False)
    return buffer.getvalue()
