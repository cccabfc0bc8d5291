"""Many photos under their names: in folders, in lists of files, in a zip archive.

It does not look at pixels: in a folder or archive the suffix says what is a photo. Hidden files and
what systems leave beside photos (__MACOSX, @eaDir, Thumbs.db) are skipped.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from threading import Lock
from types import TracebackType

from arcwise.errors import InputError
from arcwise.files import read_bytes, translate_os_errors

PHOTO_SUFFIXES = frozenset(
    {".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)
"""Files with these suffixes, in any case, are taken for photos when a folder is searched."""

_LEFTOVERS = {"__MACOSX", "@eaDir"}  # of macOS archives and of Synology's thumbnails
_MAX_PHOTO_BYTES = 1 << 30  # no photo within the pixel limit is larger; a zip bomb is

_NO_PHOTOS = f"photos end in {', '.join(sorted(PHOTO_SUFFIXES))}; convert others (HEIC) first"

_ZIP_ERRORS = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class PeopleFolder:
    """The people of a folder.

    Attributes:
        people: name -> photos, both in natural order; nobody is without a photo.
        empty: names of the subfolders without any photo.
    """

    people: dict[str, list[Path]]
    empty: tuple[str, ...]


class Photos:
    """Photos of a folder or of a zip archive by name; many threads may read at once.

    Attributes:
        names: "/"-separated, relative to the folder or archive, sorted.
    """

    def __init__(
        self,
        root: Path,
        places: Mapping[str, Path] | Mapping[str, zipfile.ZipInfo],
        archive: zipfile.ZipFile | None = None,
    ) -> None:
        self.names = tuple(sorted(places))
        self._root = root
        self._places = places
        self._archive = archive
        self._lock = Lock()  # zipfile counts its open entries without one

    def read(self, name: str) -> bytes:
        """The whole file of one photo, as it was stored.

        Raises:
            InputError: no photo has that name, or it cannot be read.
        """
        place = self._places.get(name)
        if place is None:
            raise self._missing(name)
        if isinstance(place, Path):
            with translate_os_errors(place, doing="read"):
                self._check_size(name, place.stat().st_size)
            return read_bytes(place)
        assert self._archive is not None, "a place in an archive needs the archive"
        self._check_size(name, place.file_size)
        with self._lock, _translate_zip_errors(self._root, f"cannot read {name} in"):
            return self._archive.read(place)

    def open(self, name: str) -> LazyPhoto:
        """One photo as an open file that is read when it is needed; errors come then."""
        return LazyPhoto(self, name)

    def close(self) -> None:
        """Close the archive; nothing can be read from it afterwards. A folder stays as it is."""
        if self._archive is not None:
            with self._lock:
                self._archive.close()

    def __enter__(self) -> Photos:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_size(self, name: str, size_bytes: int) -> None:
        if size_bytes > _MAX_PHOTO_BYTES:
            raise InputError(f"{name} in {self._root} has {size_bytes} bytes: not a photo")

    def _missing(self, name: str) -> InputError:
        if _is_unsafe(name):
            return InputError(
                f"{name!r} leads out of {self._root}", hint='give a relative name without ".."'
            )
        close = get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]}?" if close else "names are case-sensitive, with suffix"
        return InputError(
            f"no photo {name!r} among the {len(self.names)} of {self._root}", hint=hint
        )


class LazyPhoto:
    """A photo of a folder or archive as an open file; read from it, and it is fetched.

    Args:
        photos: where it is.
        name: its name there.
    """

    def __init__(self, photos: Photos, name: str) -> None:
        self.name = name
        self._photos = photos
        self._content: io.BytesIO | None = None

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of the photo.

        Raises:
            InputError: no photo has that name, or it cannot be read.
        """
        if self._content is None:
            self._content = io.BytesIO(self._photos.read(self.name))
        return self._content.read(size)


def open_photos(root: str | os.PathLike[str]) -> Photos:
    """Open a folder or a zip archive of photos; an archive is read in place.

    Args:
        root: the folder or the archive. When all photos of an archive lie in one folder, as
            archives are usually made, the names leave it out: they are then those of the folder
            that was packed.

    Raises:
        InputError: it is missing, neither folder nor archive, broken, encrypted, holds names that
            lead out of it, or no photos.
    """
    path = _expand(root)
    if path.is_dir():
        found = {file.relative_to(path).as_posix(): file for file in _walk_photos(path)}
        _refuse_empty(path, found)
        return Photos(path, found)
    with _translate_zip_errors(path, "cannot open"), translate_os_errors(path, doing="read"):
        archive = zipfile.ZipFile(path)
    try:
        entries = _find_entries(path, archive)
        _refuse_empty(path, entries)
    except InputError:
        archive.close()
        raise
    return Photos(path, entries, archive)


def _find_entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))  # as some Windows tools write
        if info.filename.endswith("/") or not _is_photo(name):
            continue
        if _is_unsafe(info.filename):
            raise InputError(
                f"{path} holds a name that leads out of it: {info.filename!r}",
                hint='pack it again without absolute names and ".."',
            )
        if any(_is_skipped(part) for part in name.parts):
            continue
        if info.flag_bits & 0x1:  # APPNOTE 4.4.4: encrypted
            raise InputError(f"{path} is encrypted", hint="unpack it with its password first")
        entries[name.as_posix()] = info
    tops = {name.partition("/")[0] for name in entries}
    if len(tops) == 1 and all("/" in name for name in entries):
        return {name.partition("/")[2]: info for name, info in entries.items()}
    return entries


def find_photos(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The photos of files and folders, each once.

    Args:
        paths: files, kept as they are, whatever their suffix; and folders, searched with all
            folders in them, in natural order (photo2 before photo10).

    Raises:
        InputError: a path is missing, a folder holds no photos, or there are no paths.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = _expand(given)
        if path.is_dir():
            inside = list(_walk_photos(path))
            _refuse_empty(path, inside)
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise InputError(f"{path} does not exist", hint="check the path for typing errors")
    if not found:
        raise InputError("no photos were given", hint="give files or folders of photos")
    return list(found)


def find_people(folder: str | os.PathLike[str]) -> PeopleFolder:
    """The people of a folder: a subfolder for each, or a photo named after each.

    Args:
        folder: its subfolders are people, with all photos in them; a photo directly in it is of
            the person its name says, without the suffix. Names stay exactly as they are written;
            a subfolder and a photo of one name are one person.

    Raises:
        InputError: it is missing, no folder, or there are no photos in it.
    """
    root = _expand(folder)
    if root.is_file():
        raise InputError(f"{root} is a file", hint="give a folder with a subfolder for each person")
    people: dict[str, list[Path]] = {}
    for entry in _list_folder(root):
        if entry.is_dir():
            people.setdefault(entry.name, []).extend(_walk_photos(entry))
        elif _is_photo(entry) and not _is_device(entry):
            people.setdefault(entry.stem, []).append(entry)
    _refuse_empty(root, [photo for photos in people.values() for photo in photos])
    names = sorted(people, key=_natural_order)
    return PeopleFolder(
        people={name: people[name] for name in names if people[name]},
        empty=tuple(name for name in names if not people[name]),
    )


def _expand(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails for "~nobody"


def _walk_photos(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:  # a symbolic link that leads in a circle
        return
    for entry in _list_folder(folder):
        if entry.is_dir():
            yield from _walk_photos(entry, above | {real})
        elif _is_photo(entry) and not _is_device(entry):
            yield entry


def _is_device(path: Path) -> bool:
    """A pipe, socket or device: reading it would never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # a link that leads nowhere is told when it is read
        return False
    return not stat.S_ISREG(mode)


def _list_folder(folder: Path) -> list[Path]:
    with translate_os_errors(folder, doing="list"):
        entries = [entry for entry in folder.iterdir() if not _is_skipped(entry.name)]
    return sorted(entries, key=lambda entry: _natural_order(entry.name))


def _natural_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Key that sorts photo2 before photo10, whatever the case."""
    key: list[str | tuple[int, str]] = []
    for i, part in enumerate(re.split(r"([0-9]+)", name.casefold())):
        digits = part.lstrip("0")
        key.append((len(digits), digits) if i % 2 else part)
    return key, name


def _is_photo(path: PurePath) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES


def _is_skipped(part: str) -> bool:
    return part.startswith(".") or part in _LEFTOVERS


def _is_unsafe(name: str) -> bool:
    path = PureWindowsPath(name)  # knows both separators, and drives
    return ".." in path.parts or bool(path.anchor)


def _refuse_empty(root: Path, found: Sized) -> None:
    if not found:
        raise InputError(f"{root} holds no photos", hint=_NO_PHOTOS)


@contextmanager
def _translate_zip_errors(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as exc:
        what = str(exc) or type(exc).__name__
        raise InputError(
            f"{doing} {path}: {what}", hint="give a folder of photos or a zip archive that is whole"
        ) from exc
