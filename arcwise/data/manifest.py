"""A prepared folder: the contract of its crops, a line for each photo, and who may write to it.

`prepared.json` says how the crops were cut, `manifest.jsonl` what became of each photo, `crops/`
holds them. It does not know how crops are made (prepare.py does) and opens no picture.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arcwise.errors import DatasetError, InputError
from arcwise.files import read_bytes, translate_os_errors, write_atomically

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

CONTRACT_NAME = "prepared.json"
MANIFEST_NAME = "manifest.jsonl"
CROPS_NAME = "crops"
LOCK_NAME = ".prepare.lock"

_LOCKED_BYTE = 1 << 20  # behind the process id, which others must be able to read on Windows


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DetectorStamp(_Frozen):
    """Which detector found the faces: its name and the digest of its weights."""

    name: str
    digest: str


class CropContract(_Frozen):
    """How every crop of a prepared folder was made; two folders of one contract can be mixed.

    Attributes:
        size_px: side of the aligned face.
        border_px: what lies around it on each side.
        template: name of the alignment template (docs/conventions.md).
        color: order of the channels.
        select: which face of several is meant.
        detector: which one found it.
        min_face_px: the smallest face that was looked for.
        format, quality: of the crop files; PNG loses nothing, whatever the quality.
        source: name of the folder or archive of photos, without its path.
        version: of the folder's format.
    """

    size_px: Literal[112] = 112
    border_px: Annotated[int, Field(ge=0)] = 16
    template: Literal["arcface"] = "arcface"
    color: Literal["rgb"] = "rgb"
    select: Literal["largest", "center", "only"] = "center"
    detector: DetectorStamp
    min_face_px: int
    format: Literal["jpg", "png"] = "jpg"
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    source: str
    version: Literal[1] = 1

    @classmethod
    def load(cls, root: Path | str) -> CropContract:
        """The contract of a prepared folder.

        Raises:
            DatasetError: the folder is none, or its contract is broken or of a newer arcwise.
            InputError: it cannot be read.
        """
        path = Path(root) / CONTRACT_NAME
        if not is_prepared(root):
            raise DatasetError(
                f"{root} is no prepared folder: it has no {CONTRACT_NAME}",
                hint=f"`arcwise prepare PHOTOS --out {root}` makes one from photos",
            )
        try:
            return cls.model_validate_json(read_bytes(path))
        except ValidationError as exc:
            places = ((".".join(map(str, p["loc"])) or "the file", p["msg"]) for p in exc.errors())
            problems = "; ".join(f"{place}: {message}" for place, message in places)
            raise DatasetError(
                f"{path} is not the contract of a prepared folder: {problems}",
                hint="prepare the photos again, into another folder",
            ) from exc

    def save(self, root: Path | str) -> Path:
        """Write it into a folder, atomically.

        Raises:
            InputError: the place cannot be written.
        """
        return write_atomically(
            Path(root) / CONTRACT_NAME, (self.model_dump_json(indent=2) + "\n").encode()
        )

    def check_same(self, wanted: CropContract, root: Path) -> None:
        """Make sure that new crops will be made as those that lie there.

        Args:
            wanted: how they shall be made.
            root: the folder this contract is of, for the message.

        Raises:
            InputError: a field differs; the message has its name and both values.
        """
        there, asked = _flatten(self), _flatten(wanted)
        for name, value in there.items():
            if asked[name] != value:
                raise InputError(
                    f"{root} was prepared with {name} {value!r}, now {asked[name]!r} is asked for",
                    hint="choose another folder with --out, or the same options as before",
                )


def _flatten(contract: CropContract) -> dict[str, Any]:
    plain = contract.model_dump()
    stamp = plain.pop("detector")
    return plain | {f"detector {name}": value for name, value in stamp.items()}


def is_prepared(root: Path | str) -> bool:
    """Whether a folder looks like a prepared one: it has a contract."""
    return (Path(root) / CONTRACT_NAME).is_file()


@dataclass(frozen=True, slots=True)
class PreparedPhoto:
    """What became of one photo: a crop, or the reason why there is none.

    Attributes:
        photo: its name in its folder or archive.
        person: name of the folder it lies in; empty when it lies in none.
        crop: the file, relative to the prepared folder; None when there is none.
        box: left, top, right, bottom of the face, px of the photo; None like `crop`.
        score: the detector's confidence, 0..1; None like `crop`.
        points: the five points, px of the photo; None like `crop`.
        n_faces: how many faces the photo shows; 0 when it was not read.
        hash: perceptual hash of the crop without border, 16 hex digits; None like `crop`.
        error: why there is no crop; None when there is one.
    """

    photo: str
    person: str
    crop: str | None = None
    box: tuple[float, ...] | None = None
    score: float | None = None
    points: tuple[tuple[float, ...], ...] | None = None
    n_faces: int = 0
    hash: str | None = None
    error: str | None = None

    def to_line(self) -> bytes:
        """Its line of the manifest, ASCII (names that are no text survive), with its end."""
        return json.dumps(asdict(self), allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> PreparedPhoto:
        """Read a line of a manifest.

        Raises:
            DatasetError: it is not one.
        """
        try:
            plain = json.loads(line)
            _check_fields(plain)
            if plain["crop"] is not None:
                plain["box"] = tuple(map(float, plain["box"]))
                plain["points"] = tuple((float(x), float(y)) for x, y in plain["points"])
            return cls(**plain)
        except (AttributeError, TypeError, ValueError) as exc:
            raise DatasetError(
                f"not a line of a manifest: {line[:80]!r} ({exc})",
                hint="prepare the photos again, into another folder",
            ) from exc


_FIELDS = {field.name for field in fields(PreparedPhoto)}


def _check_fields(plain: dict[str, Any]) -> None:
    if plain.keys() != _FIELDS:
        raise ValueError(f"its fields are not {', '.join(sorted(_FIELDS))}")
    if (plain["crop"] is None) == (plain["error"] is None):
        raise ValueError("a crop or an error is needed, and not both")
    parts = PurePosixPath(plain["crop"] or f"{CROPS_NAME}/none").parts
    if len(parts) < 2 or parts[0] != CROPS_NAME or ".." in parts:
        raise ValueError(f"its crop does not lie in {CROPS_NAME}")


def read_manifest(root: Path | str) -> list[PreparedPhoto]:
    """What became of each photo of a prepared folder.

    Returns:
        Each photo once, as its last line says, in the order of their first lines. A last line
        that is broken (the process was killed) is left out: that photo was not finished.

    Raises:
        DatasetError: the folder is no prepared one, or another line is broken.
        InputError: it cannot be read.
    """
    if not is_prepared(root):
        CropContract.load(root)  # says what is missing
    path = Path(root) / MANIFEST_NAME
    return _read_lines(path)[0] if path.exists() else []


def _read_lines(path: Path) -> tuple[list[PreparedPhoto], int]:
    """The photos of a manifest, and the length of its whole lines in bytes."""
    found: dict[str, PreparedPhoto] = {}
    n_bytes, broken = 0, ""
    with translate_os_errors(path, doing="read"), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if broken:
                raise DatasetError(broken, hint="prepare the photos again, into another folder")
            try:
                photo = PreparedPhoto.from_line(line)
            except DatasetError as exc:
                broken = f"line {number} of {path}: {exc}"
                continue
            if line.endswith(b"\n"):
                found[photo.photo] = photo
                n_bytes += len(line)
    return list(found.values()), n_bytes


class Manifest:
    """The manifest of a prepared folder, open for more lines. Hold the folder's lock.

    Attributes:
        found: what was in it, see `read_manifest`.

    Args:
        root: the prepared folder; a broken last line of its manifest is cut off.

    Raises:
        DatasetError: a line before the last is broken.
        InputError: it cannot be read or written.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / MANIFEST_NAME
        with translate_os_errors(self._path, doing="write"):
            self._file = self._path.open("ab", buffering=0)
            try:
                self.found, self._n_bytes = _read_lines(self._path)
                self._file.truncate(self._n_bytes)
            except BaseException:
                self._file.close()
                raise

    def append(self, photos: Iterable[PreparedPhoto]) -> None:
        """Add lines; they are on the disk when this returns, and none is when it raises.

        Raises:
            InputError: the disk is full, or the file cannot be written.
        """
        content = memoryview(b"".join(photo.to_line() for photo in photos))
        n_bytes = self._n_bytes + len(content)
        with translate_os_errors(self._path, doing="write"):
            try:
                while content:
                    content = content[self._file.write(content) :]
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(self._n_bytes)
                raise
        self._n_bytes = n_bytes

    def close(self) -> None:
        """Nothing can be added any more."""
        self._file.close()


@contextmanager
def lock_folder(root: Path, *, name: str = LOCK_NAME, doing: str = "preparing") -> Iterator[None]:
    """Keep every other process from doing the same in a folder.

    The system lets go of the lock when its process ends, however that happens.

    Args:
        root: the folder; it must be there.
        name: of the file that is locked, in it.
        doing: what another process is told that this one does.

    Raises:
        InputError: another process holds the lock, or the folder cannot be written.
    """
    path = root / name
    with translate_os_errors(path, doing="lock"):
        handle = _open_lock(path, doing)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(handle)
            _remove(path)
        else:  # removed first: who opened it meanwhile sees that it is gone
            _remove(path)
            os.close(handle)


def _open_lock(path: Path, doing: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
            with suppress(FileNotFoundError):  # its owner removed it meanwhile: make another
                if os.path.samestat(os.fstat(handle), path.stat()):
                    os.truncate(handle, 0)
                    os.write(handle, str(os.getpid()).encode())
                    return handle
        except BlockingIOError as exc:
            owner = os.read(handle, 20).decode(errors="replace") or "unknown"
            os.close(handle)
            raise InputError(
                f"another process ({owner}) is {doing} {path.parent}",
                hint="wait until it is done, or choose another folder",
            ) from exc
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    """Raises BlockingIOError when another holds the lock."""
    if sys.platform == "win32":
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError as exc:
            raise BlockingIOError from exc
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(path: Path) -> None:
    with suppress(PermissionError):  # Windows: another process has just opened it
        path.unlink(missing_ok=True)
