"""The photos of a place, whatever lies there: whose they are, and their files as they are stored.

Unlike source.py it takes photos of any size, broken ones too, and decodes none: it is for looking
at a set, not for training on it. A person is called by the folder a photo lies in, the last one.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal

from arcwise.data.lists import read_list
from arcwise.data.manifest import CropContract, is_prepared, read_manifest
from arcwise.data.records import Records
from arcwise.data.split import Sample
from arcwise.errors import InputError
from arcwise.files import read_bytes
from arcwise.photos import find_people, open_photos

_PHOTO_FOLDERS = ("Img", "images", "imgs")  # In-Shop, Paddle, MagFace
_TRIED = 100  # photos of a list that are looked for before all count as missing

Kind = Literal["prepared", "folder", "archive", "records", "list"]


@dataclass(frozen=True, eq=False, slots=True)
class Scan:
    """Photos that were found. Many threads may read at once.

    Attributes:
        place: where.
        kind: what lies there.
        samples: of every photo: its name, its person (empty: nobody's), its hash if known.
        paths: how a list names each photo; none where photos are no files.
        border_px: what lies around the aligned face on each side; None where nobody said so.
        people_without_photo: names.
        notes: sentences about what is odd.
        read: gives the file of a photo by its position, or raises InputError or DatasetError.
        base: where the paths begin; None where photos are no files.
    """

    place: Path
    kind: Kind
    samples: Sequence[Sample]
    read: Callable[[int], bytes]
    close: Callable[[], None]
    paths: Sequence[str] = ()
    base: Path | None = None
    border_px: int | None = None
    people_without_photo: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __enter__(self) -> Scan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def scan_place(place: Path | str, *, root: Path | str | None = None) -> Scan:
    """Find the photos of a place.

    Args:
        place: a prepared folder, a folder or zip archive of photos, a record file (.rec) or a
            folder with one, or a list.
        root: where the paths of a list begin; by default it is looked for beside the list.

    Raises:
        DatasetError: a manifest, record file or list is broken.
        InputError: it is missing, none of these, or holds no photos.
    """
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path.expanduser fails for "~nobody"
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="check the path for typing errors")
    if path.is_dir():
        if is_prepared(path):
            return _scan_prepared(path)
        if not any(path.glob("*.rec")):
            return _scan_photos(path, "folder")
    if path.is_dir() or path.suffix == ".rec":
        return _scan_records(path)
    if zipfile.is_zipfile(path):
        return _scan_photos(path, "archive")
    return _scan_list(path, root)


def _scan_prepared(root: Path) -> Scan:
    lines = sorted(read_manifest(root), key=lambda line: line.photo)
    crops = [line for line in lines if line.crop is not None]
    paths = [line.crop for line in crops if line.crop is not None]
    there = {line.person for line in crops}
    return Scan(
        root,
        "prepared",
        [Sample(line.photo, line.person, line.hash) for line in crops],
        lambda position: read_bytes(root / paths[position]),
        _keep_open,
        paths=paths,
        base=root,
        border_px=CropContract.load(root).border_px,
        people_without_photo=tuple(sorted({line.person for line in lines} - there - {""})),
    )


def _scan_photos(root: Path, kind: Kind) -> Scan:
    photos = open_photos(root)
    empty = find_people(root).empty if kind == "folder" else ()
    return Scan(
        root,
        kind,
        [Sample(name, PurePosixPath(name).parent.name) for name in photos.names],
        lambda position: photos.read(photos.names[position]),
        photos.close,
        paths=photos.names,
        base=root if kind == "folder" else None,
        people_without_photo=empty,
    )


def _scan_records(place: Path) -> Scan:
    records = Records(place)
    return Scan(
        records.path,
        "records",
        records.samples,
        records.content,
        records.close,
        border_px=records.border_px,
        notes=records.notes,
    )


def _scan_list(path: Path, root: Path | str | None) -> Scan:
    photos = read_list(path).photos
    names = [photo.path for photo in photos]
    base = _find_base(path, names) if root is None else Path(root)
    return Scan(
        path,
        "list",
        [Sample(photo.path, photo.person) for photo in photos],
        lambda position: read_bytes(base / names[position]),
        _keep_open,
        paths=names,
        base=base,
    )


def _find_base(path: Path, names: Sequence[str]) -> Path:
    """Where a list is read from by source.py; some of its photos may be missing here."""
    above = (path.parent, path.parent.parent)
    places = [*above, *(folder / name for folder in above for name in _PHOTO_FOLDERS)]
    for name in names[:_TRIED]:
        for place in places:
            if (place / name).is_file():
                return place
    return path.parent


def _keep_open() -> None:
    """Files are opened one by one: nothing has to be closed."""
