"""Crops into a record file with all that belongs to it, and back into a folder for each person.

Packing writes a folder that appears when it is whole; unpacking goes on where it was stopped.
Files are copied as they are, so nothing is compressed twice. The bytes of record files are
recordio.py's, what they mean is contents.py's.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from arcwise.data.contents import RecordCounts
from arcwise.data.manifest import lock_folder
from arcwise.data.records import Records, write_records
from arcwise.data.selection import Selection, SelectionRules, select_samples
from arcwise.data.source import StoredCrops
from arcwise.data.subset import refuse_taken
from arcwise.decode import HEAD_BYTES, recognize_format
from arcwise.errors import DatasetError, ImageError, InputError
from arcwise.files import read_bytes, translate_os_errors, write_atomically
from arcwise.types import Image

RECORD_NAME = "train.rec"
UNPACKING_NAME = ".unpacking.json"

_LOCK_NAME = ".unpack.lock"
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
_KEPT_FORMATS = {"JPEG", "PNG"}  # what other readers of record files decode
_EXIF_WITHIN = 1 << 16  # a segment of a JPEG is no longer, and EXIF comes first

Watch = Callable[[Iterable[str], int], Iterable[str]]
"""Is given the names of photos as they get done, and how many that will be; passes all on."""


def _pass_on(names: Iterable[str], _n_photos: int) -> Iterable[str]:
    return names


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed.

    Attributes:
        path: of the record file.
        dialect: "insightface" or "sequential".
        n_photos, n_people: in it.
        side_px: of its crops.
        n_copied: files that are in it as they were; the others were encoded again.
    """

    path: Path
    dialect: str
    n_photos: int
    n_people: int
    side_px: int
    n_copied: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"path": str(self.path)}


@dataclass(frozen=True, slots=True)
class UnpackReport:
    """What was unpacked.

    Attributes:
        root: the folder with a folder for each person.
        n_photos, n_people: in it.
        n_done_before: photos that an earlier run had written.
    """

    root: Path
    n_photos: int
    n_people: int
    n_done_before: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"root": str(self.root)}


def pack_crops(
    source: StoredCrops,
    out: Path | str,
    *,
    dialect: Literal["insightface", "sequential"] = "insightface",
    selection: Selection | None = None,
    cut_border: bool = False,
    seed: int = 0,
    watch: Watch = _pass_on,
) -> PackReport:
    """Write train.rec, train.idx, property, labels and exact counts, all of them or none.

    Crops stand person by person ("insightface"), or mixed by `seed` ("sequential"), for readers
    that take them as they come. JPEG and PNG files are copied; other formats, files with EXIF
    (which others would not turn) and cut crops are encoded as JPEG.

    Args:
        source: the crops.
        out: a folder that is not there, or is empty.
        dialect: of the record file (docs/datasets.md).
        selection: which crops, with their labels; by default all, labeled by name.
        cut_border: keep the aligned face only.
        seed: of the mixing.
        watch: shows progress.

    Raises:
        DatasetError: a crop is broken or has another size, or a name is no text.
        InputError: the place is taken or cannot be written.
    """
    out = Path(out)
    chosen = selection or select_samples(source.samples, SelectionRules())
    _check_names(chosen.people)
    refuse_taken(out)
    if dialect == "sequential":
        chosen = chosen.shuffled(source.samples, seed)
        order = list(range(len(chosen.positions)))
    else:
        order = [int(i) for i in chosen.labels.argsort(kind="stable")]
    places = [(int(chosen.positions[i]), int(chosen.labels[i])) for i in order]
    crops = _Crops(source, places, cut_border=cut_border, watch=watch)
    counts = _write_whole(
        out, lambda place: write_records(place, crops, dialect=dialect, people=chosen.people), crops
    )
    return PackReport(
        path=out / RECORD_NAME,
        dialect=dialect,
        n_photos=counts.n_crops,
        n_people=counts.n_people,
        side_px=counts.side_px,
        n_copied=crops.n_copied,
    )


class _Crops:
    """The crops of a source, one after the other, as they shall be stored."""

    def __init__(
        self,
        source: StoredCrops,
        places: list[tuple[int, int]],
        *,
        cut_border: bool,
        watch: Watch,
    ) -> None:
        self._source = source
        self._places = places
        self._border_px = source.border_px if cut_border else 0
        self._watch = watch
        self.n_copied = 0
        self.photo = ""  # the last one that was given away

    def __iter__(self) -> Iterator[tuple[bytes | Image, int]]:
        names = (self._source.samples[position].photo for position, _ in self._places)
        watched = self._watch(names, len(self._places))
        for (position, label), photo in zip(self._places, watched, strict=True):
            self.photo = photo
            yield self._take(position), label

    def _take(self, position: int) -> bytes | Image:
        border = self._border_px
        if border:
            return self._source.read(position)[border:-border, border:-border]
        content = self._source.content(position)
        kind = recognize_format(content[:HEAD_BYTES], name=self.photo)
        if kind not in _KEPT_FORMATS or b"Exif" in content[:_EXIF_WITHIN]:
            return self._source.read(position)
        self.n_copied += 1
        return content


def _check_names(people: Iterable[str]) -> None:
    for person in people:
        try:
            person.encode()
        except UnicodeEncodeError as exc:
            raise DatasetError(
                f"the name {person!r} is no text, and cannot be kept beside a record file",
                hint="rename the folder of this person",
            ) from exc


def _write_whole(out: Path, write: Callable[[Path], RecordCounts], crops: _Crops) -> RecordCounts:
    """Let a folder be written beside its place, and move it there when it is whole."""
    part = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
    try:
        with translate_os_errors(part, doing="make"):
            part.mkdir(parents=True)
        counts = write(part / RECORD_NAME)
        with translate_os_errors(out, doing="write"):
            if out.exists():
                out.rmdir()  # it was empty
            part.rename(out)
    except (DatasetError, ImageError) as exc:
        raise DatasetError(
            f"{crops.photo}: {exc}" if crops.photo else str(exc),
            hint=exc.hint or "`arcwise data check` lists every photo that cannot be used",
        ) from exc
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)
    return counts


# ── and back ──


def unpack_records(place: Path | str, out: Path | str, *, watch: Watch = _pass_on) -> UnpackReport:
    """Write every crop of a record file as a file, in a folder for each person.

    Run again after an interruption, it goes on: what is there with the same bytes is left alone.

    Args:
        place: the record file, or a folder with one.
        out: a folder that is not there, is empty, or was being filled from the same file.
        watch: shows progress.

    Raises:
        DatasetError: the record file is broken, or a person has a name that no folder can have.
        InputError: `out` is no such folder, or cannot be written; what is done, stays.
    """
    out = Path(out)
    with closing(Records(place)) as records:
        samples = records.samples
        people = {sample.person for sample in samples}
        _check_folders(people)
        with translate_os_errors(out, doing="make"):
            out.mkdir(parents=True, exist_ok=True)
        with lock_folder(out, name=_LOCK_NAME, doing="unpacking into"):
            _claim_folder(out, records)
            n_before = 0
            names = watch((sample.photo for sample in samples), len(samples))
            for position, photo in enumerate(names):
                n_before += not _write_crop(out, photo, records.content(position))
            with translate_os_errors(out, doing="write"):
                (out / UNPACKING_NAME).unlink()
    return UnpackReport(out, len(samples), len(people), n_before)


def _check_folders(people: Iterable[str]) -> None:
    """A name comes out of a file: it must not lead anywhere else."""
    for person in people:
        path = PureWindowsPath(person)  # knows both separators, and drives
        if len(path.parts) != 1 or path.anchor or person in {".", ".."} or "\0" in person:
            raise DatasetError(
                f"nobody's folder can be called {person!r}",
                hint="correct the names of the people in the .json file beside the .rec",
            )


def _claim_folder(out: Path, records: Records) -> None:
    """Leave a note of what is unpacked here; refuse a folder that holds anything else."""
    with translate_os_errors(records.path, doing="read"):
        n_bytes = records.path.stat().st_size
    stamp = {"file": records.path.name, "n_bytes": n_bytes, "n_photos": len(records.samples)}
    content = (json.dumps(stamp) + "\n").encode()
    note = out / UNPACKING_NAME
    if note.exists():
        if read_bytes(note) != content:
            raise InputError(
                f"{out} is being filled from another record file", hint="name another folder"
            )
        with translate_os_errors(out, doing="clean"):
            for leftover in out.glob("*/.*.part"):  # of a run that was killed
                leftover.unlink(missing_ok=True)
        return
    with translate_os_errors(out, doing="list"):
        strangers = sorted(p.name for p in out.iterdir() if p.name != _LOCK_NAME)
    if strangers:
        raise InputError(f"{out} is not empty: it holds {strangers[0]}", hint="name a new folder")
    write_atomically(note, content)


def _write_crop(out: Path, photo: str, content: bytes) -> bool:
    """Write a file unless it is there; False when it was."""
    try:
        suffix = _SUFFIXES[recognize_format(content[:HEAD_BYTES], name=photo)]
    except ImageError as exc:
        raise DatasetError(str(exc), hint="`arcwise data check` lists all such records") from exc
    path = out / f"{photo}{suffix}"
    with translate_os_errors(path, doing="write"):
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return False
        path.parent.mkdir(exist_ok=True)
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        try:  # not flushed one by one: the note says that the folder is not whole yet
            temporary.write_bytes(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return True
