"""A choice of photos written down: as a list of them, or as a folder of copies for each person.

It does not choose (selection.py does) and changes no photo.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from arcwise.data.lists import write_list
from arcwise.data.scan import Scan
from arcwise.data.selection import Selection
from arcwise.decode import HEAD_BYTES, recognize_format
from arcwise.errors import DatasetError, InputError
from arcwise.files import translate_os_errors

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}

Watch = Callable[[Iterable[int], int], Iterable[int]]
"""Is given positions as they get done, and how many that will be; passes all on."""


def write_selection(
    scan: Scan, selection: Selection, out: Path | str, *, overwrite: bool = False
) -> Path:
    """Write a list of `path label`, atomically; paths begin at `scan.base`.

    Args:
        scan: the set that was chosen from.
        selection: the photos, in the order of the list, with their labels.
        out: the list.
        overwrite: replace a file of that name.

    Raises:
        InputError: the file is there already, a path or name cannot be written in a list, photos
            are no files, or the place cannot be written.
    """
    out = Path(out)
    if not scan.paths:
        raise InputError(
            f"a list names files, and {scan.place} holds records",
            hint="write the subset to a folder or to a record file of its own",
        )
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already", hint="--overwrite replaces it")
    places = zip(selection.positions.tolist(), selection.labels.tolist(), strict=True)
    return write_list(out, ((scan.paths[position], label) for position, label in places))


def is_found(out: Path, base: Path) -> bool:
    """Whether training finds the photos of a list by itself: they begin beside it, or above."""
    folder = out.resolve().parent
    return base.resolve() in (folder, folder.parent)


def copy_selection(
    scan: Scan,
    selection: Selection,
    out: Path | str,
    *,
    watch: Watch = lambda positions, _n_photos: positions,
) -> Path:
    """Copy the chosen photos as they are into a folder for each person, all of them or none.

    A photo keeps its name; where two of a person share it, and where photos are records, it gets
    the number or the ending that it needs.

    Args:
        scan: the set that was chosen from.
        selection: the photos.
        out: a folder that is not there, or is empty.
        watch: shows progress.

    Raises:
        DatasetError: a photo is missing or is none.
        InputError: the place is taken or cannot be written.
    """
    out = Path(out)
    refuse_taken(out)
    part = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
    used: set[str] = set()
    try:
        with translate_os_errors(part, doing="make"):
            part.mkdir(parents=True)
        for position in watch(selection.positions.tolist(), len(selection.positions)):
            sample = scan.samples[position]
            try:
                content = scan.read(position)
                kind = recognize_format(content[:HEAD_BYTES], name=sample.photo)
            except InputError as exc:
                raise DatasetError(f"{sample.photo}: {exc}", hint=exc.hint) from exc
            place = part / sample.person / _name_copy(sample.photo, sample.person, kind, used)
            with translate_os_errors(place, doing="write"):
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(content)
        with translate_os_errors(out, doing="write"):
            if out.exists():
                out.rmdir()  # it was empty
            part.rename(out)
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)
    return out


def refuse_taken(out: Path) -> None:
    """Make sure that a folder can be written as a whole.

    Raises:
        InputError: it is there and not empty, or is a file.
    """
    with translate_os_errors(out, doing="look at"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} exists already", hint="name a new folder")


def _name_copy(photo: str, person: str, kind: str, used: set[str]) -> str:
    path = PurePosixPath(photo)
    endings: Sequence[str] = _SUFFIXES[kind]
    stem, suffix = path.name, endings[0]
    if path.suffix.lower() in endings:
        stem, suffix = path.stem, path.suffix
    name, number = f"{stem}{suffix}", 1
    while f"{person}/{name}".casefold() in used:  # one file where the file system ignores case
        number += 1
        name = f"{stem}~{number}{suffix}"
    used.add(f"{person}/{name}".casefold())
    return name
