"""Vectors that were made before, in one SQLite file for each model.

It does not know photos or models, only keys. It is a convenience: whatever goes wrong with it is
told in `trouble` and costs time, never a result. Several processes may use one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal

import numpy as np

from arcwise.errors import InputError
from arcwise.files import translate_os_errors
from arcwise.types import Floats

VERSION = 1
"""Of the tables; a file of another version is put aside."""

CacheState = Literal["whole", "empty", "unreadable", "broken"]
_SUFFIX = ".db"
_BROKEN_SUFFIX = ".broken"
_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file
_PATIENCE_S = 10.0  # while another process writes; a batch takes milliseconds
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE photos (
    key BLOB PRIMARY KEY, digest TEXT NOT NULL, raw BLOB, mirrored BLOB, reason TEXT NOT NULL
);
"""


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """What became of one photo.

    Attributes:
        digest: SHA-256 of its pixels, hex; of the bytes of its file where they cannot be decoded;
            empty when it could not be read.
        raw: (D,) float32, or None when there is no vector.
        mirrored: (D,) float32 of the mirror image, or None where it was not embedded.
        reason: why there is no vector, else empty.
    """

    digest: str = ""
    raw: Floats | None = None
    mirrored: Floats | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of the cache.

    Attributes:
        path: where it is.
        model: name of the model; empty unless the file is whole.
        n_photos: how many photos it knows.
        size_bytes: on disk.
        state: "empty" is one that was begun and never filled, as on a full disk; "unreadable" one
            that is locked or may not be read; "broken" one that is not ours, or was put aside.
    """

    path: Path
    model: str
    n_photos: int
    size_bytes: int
    state: CacheState


class Cache:
    """The vectors of one model.

    Made by `open`, never raises: when something goes wrong `trouble` says what, and from then on
    nothing is found and nothing kept.

    Attributes:
        trouble: what went wrong, for a person; empty while all is well.
    """

    def __init__(self, path: Path, *, dimension: int) -> None:
        self.trouble = ""
        self._path = path
        self._size_bytes = 4 * dimension
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()  # one connection for the thread that reads and the one that writes

    @classmethod
    def open(cls, folder: Path, *, model: str, model_digest: str, dimension: int) -> Cache:
        """Open the file of one model, or make it: mode 0600, in a folder of mode 0700.

        Args:
            folder: of the cache; see `Settings.cache_dir`.
            model: its name, for people.
            model_digest: whose vectors they are.
            dimension: D, their length.
        """
        is_plain = re.fullmatch(r"[0-9a-f]{64}", model_digest)
        stem = model_digest if is_plain else hashlib.sha256(model_digest.encode()).hexdigest()
        cache = cls(folder / f"{stem}{_SUFFIX}", dimension=dimension)
        with cache._lock, cache._guard():
            cache._connection = cache._connect()
            if not cache._make_tables(model):
                cache._put_aside("it is of another version, or of another program")
        if cache.trouble and not cache._path.exists():  # it was put aside: begin anew
            trouble = cache.trouble
            with cache._lock, cache._guard():
                cache._connection = cache._connect()
                cache._make_tables(model)
            cache.trouble = cache.trouble or trouble
        return cache

    def find(self, key: bytes) -> Entry | None:
        """What is known of a photo, or None."""
        found = None
        with self._lock, self._guard():
            if self._connection is not None:
                sql = "SELECT digest, raw, mirrored, reason FROM photos WHERE key = ?"
                row = self._connection.execute(sql, (key,)).fetchone()
                found = None if row is None else self._to_entry(*row)
        return found

    def add(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep what became of some photos, all of them or none; an older entry is replaced."""
        rows = [
            (key, e.digest, _to_bytes(e.raw), _to_bytes(e.mirrored), e.reason)
            for key, e in entries.items()
        ]
        with self._lock, self._guard():
            if self._connection is None or not rows:
                return
            with _transaction(self._connection):
                sql = "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?)"
                self._connection.executemany(sql, rows)

    def close(self) -> None:
        """Close the file; nothing is found or kept afterwards."""
        with self._lock:
            self._close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        folder = self._path.parent
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # SQLite would make it readable by others
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
        )
        with contextlib.suppress(sqlite3.OperationalError):  # slower without, but as good
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
        return connection

    def _make_tables(self, model: str) -> bool:
        """False when the file holds something else."""
        assert self._connection is not None
        with _transaction(self._connection):
            ((version,),) = self._connection.execute("PRAGMA user_version")
            ((n_tables,),) = self._connection.execute("SELECT count(*) FROM sqlite_master")
            if n_tables:
                return bool(version == VERSION)
            for statement in _TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.execute("INSERT INTO facts VALUES ('model', ?)", (model,))
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        return True

    def _to_entry(
        self, digest: str, raw: bytes | None, mirrored: bytes | None, reason: str
    ) -> Entry | None:
        """The row as a value; None when it holds what we never wrote, such as after bit rot."""
        if raw is None:
            return Entry(digest, reason=reason) if reason else None
        vectors = [np.frombuffer(view, "u1") for view in (raw, mirrored) if view is not None]
        if any(len(vector) != self._size_bytes for vector in vectors):
            return None
        vectors = [vector.view("<f4") for vector in vectors]
        if not all(np.isfinite(vector).all() for vector in vectors) or not vectors[0].any():
            return None
        return Entry(digest, vectors[0], vectors[1] if len(vectors) > 1 else None)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn any failure of the file into `trouble`."""
        try:
            yield
        except sqlite3.OperationalError as exc:  # full, locked, read-only
            self._give_up(f"the cache {self._path} is not used: {exc}")
        except (sqlite3.Error, ValueError) as exc:
            self._put_aside(str(exc))
        except OSError as exc:
            self._give_up(f"the cache {self._path} is not used: {exc.strerror or exc}")

    def _give_up(self, trouble: str) -> None:
        self.trouble = trouble
        self._close()

    def _put_aside(self, why: str) -> None:
        self._close()
        aside = self._path.with_suffix(_BROKEN_SUFFIX)
        self.trouble = f"the cache was broken and lies in {aside} now: {why}"
        try:
            self._path.replace(aside)
            for end in _BESIDE:
                Path(f"{self._path}{end}").unlink(missing_ok=True)
        except OSError as exc:
            self.trouble = f"the cache {self._path} is broken: {why}; {exc.strerror or exc}"

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _to_bytes(vector: Floats | None) -> bytes | None:
    return None if vector is None else vector.astype("<f4").tobytes()


def list_caches(folder: Path) -> list[CacheFile]:
    """The files of a cache, broken ones too, by name; none when there is no folder.

    Raises:
        InputError: the folder cannot be read.
    """
    return [_describe(path) for path in _list_files(folder, (_SUFFIX, _BROKEN_SUFFIX))]


def clear_caches(folder: Path) -> int:
    """Overwrite with zeros what a cache holds, and delete its files.

    A file that a process has open stays, empty: SQLite may mix up the write-ahead logs of the old
    file and of a new one of that name. That process goes on, and what it adds is kept there.

    Returns:
        Bytes that were freed.

    Raises:
        InputError: a file cannot be deleted, or another process is writing to it all the time.
    """
    endings = (_SUFFIX, _BROKEN_SUFFIX, *(_SUFFIX + end for end in _BESIDE))
    before = _list_files(folder, endings)
    n_bytes = _sum_sizes(before)
    in_use = {path for path in before if path.suffix == _SUFFIX and not _empty(path)}
    kept = {Path(f"{path}{end}") for path in in_use for end in ("", *_BESIDE)}
    for path in _list_files(folder, endings):
        if path not in kept:
            with translate_os_errors(path, doing="delete"):
                path.unlink(missing_ok=True)
    return n_bytes - _sum_sizes(kept)


def _empty(path: Path) -> bool:
    """Overwrite all rows with zeros; True when no other process has the file open.

    A file that is broken, may not be written, or lies on a disk too full to overwrite anything is
    left as it is: to delete it is what remains.
    """
    try:
        with contextlib.closing(_open_patiently(path)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("DELETE FROM photos")
            _empty_log(connection, path)  # the zeros are in the file now
            connection.execute("VACUUM")
            _empty_log(connection, path)
            connection.execute("PRAGMA busy_timeout = 0")
            return _leave_wal(connection)
    except sqlite3.Error as exc:
        if _is_locked(exc):
            raise InputError(f"cannot clear {path}: {exc}", hint=_IN_USE) from exc
        return True


def _empty_log(connection: sqlite3.Connection, path: Path) -> None:
    ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if is_busy:
        raise InputError(f"cannot clear {path}: it is in use", hint=_IN_USE)


def _leave_wal(connection: sqlite3.Connection) -> bool:
    """Whether the file goes without a log, which it does only where no other process has it."""
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as exc:
        if _is_locked(exc):
            return False
        raise
    return True


_IN_USE = "end the measurement that uses it, then clear again"


def _is_locked(exc: sqlite3.Error) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0)  # not there where Python itself complains
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _open_patiently(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)


def _sum_sizes(paths: Iterable[Path]) -> int:
    n_bytes = 0
    for path in paths:
        with contextlib.suppress(OSError):  # it is gone
            n_bytes += path.stat().st_size
    return n_bytes


def _list_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Ours alone: whatever else lies there is left alone."""
    if not folder.is_dir():
        return []
    with translate_os_errors(folder, doing="list"):
        files = sorted(folder.iterdir())
    return [
        f for f in files if re.fullmatch("[0-9a-f]{64}", f.name[:64]) and f.name[64:] in endings
    ]


def _describe(path: Path) -> CacheFile:
    size_bytes = _sum_sizes([path, *(Path(f"{path}{end}") for end in _BESIDE)])
    model, n_photos = "", 0
    state: CacheState = "broken"
    if path.suffix == _SUFFIX:
        try:
            with contextlib.closing(_open_patiently(path)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
                if {"facts", "photos"} <= tables:
                    ((model,),) = connection.execute("SELECT value FROM facts WHERE name = 'model'")
                    ((n_photos,),) = connection.execute("SELECT count(*) FROM photos")
                    state = "whole"
                elif not tables:
                    state = "empty"
        except sqlite3.OperationalError:
            state = "unreadable"
        except (sqlite3.Error, ValueError):  # no facts
            pass
    return CacheFile(path, model, n_photos, size_bytes, state)
