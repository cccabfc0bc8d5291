"""One SQLite file: how it is opened, locked, checked, and how its errors become ours.

It does not know people. Source of what each PRAGMA promises: sqlite.org/pragma.html.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from arcwise.errors import GalleryError, GalleryLockedError, InputError
from arcwise.files import translate_os_errors
from arcwise.store.tables import APPLICATION_ID, SCHEMA

_PRAGMAS = (
    "PRAGMA foreign_keys = ON",  # templates go with their person
    "PRAGMA secure_delete = ON",  # what is deleted is overwritten with zeros
    "PRAGMA synchronous = FULL",  # a commit that returned survives a power cut
    "PRAGMA temp_store = MEMORY",  # no copy of anybody in a temporary file
)

_FAULTS: dict[int, tuple[type[GalleryError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        GalleryLockedError,
        "another process holds it",
        "wait until the other process has finished, then try again",
    ),
    sqlite3.SQLITE_READONLY: (
        GalleryError,
        "it cannot be written",
        "make the file and its folder writable, or work on a copy elsewhere",
    ),
    sqlite3.SQLITE_FULL: (
        GalleryError,
        "the disk is full; nothing was changed",
        "free some room, then try again",
    ),
    sqlite3.SQLITE_IOERR: (
        GalleryError,
        "the disk reports an error; nothing was changed",
        "check the disk and the free room on it",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        GalleryError,
        "it or its folder cannot be opened",
        "check that the file is there and that its folder is writable",
    ),
    sqlite3.SQLITE_NOTADB: (
        GalleryError,
        "it is not a gallery",
        "choose another path; nothing was changed",
    ),
    sqlite3.SQLITE_CORRUPT: (
        GalleryError,
        "the file is damaged",
        "restore it from a backup, or enroll the photos again in a new gallery",
    ),
}
"""Primary result code of SQLite (sqlite.org/rescode.html): our error, what happened, a hint."""


class Database:
    """Short transactions on one gallery file.

    A connection lives as long as its transaction: threads share none, a forked process inherits
    none (SQLite forbids to carry one across a fork), and a file that was replaced is seen. Once
    prepared, each transaction first makes sure that the file is still a gallery.

    Args:
        path: of the file.
        timeout_s: how long to wait for the lock of another process.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self.path = path
        self._is_prepared = False
        # mode=rw never makes a file; SQLite itself falls back to reading where writing is forbidden
        uri = f"{path.absolute().as_uri()}?mode=rw"

        def connect() -> sqlite3.Connection:
            # isolation_level None: the driver begins nothing behind our back
            connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)
            try:
                for pragma in _PRAGMAS:
                    connection.execute(pragma)
            except sqlite3.Error:
                connection.close()
                raise
            return connection

        self._engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees one state of the gallery.

        Raises:
            GalleryLockedError: another process kept writing for longer than the timeout.
            GalleryError: the file is gone, broken, or no gallery any more.
        """
        with self._connecting() as connection:
            connection.exec_driver_sql("BEGIN")
            self._refuse_strangers(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that is the only writer; committed at the end, or rolled back.

        Raises:
            GalleryLockedError: another process kept writing for longer than the timeout.
            GalleryError: the file or disk is read-only, full or broken; or the file is gone, or no
                gallery any more.
        """
        with self._connecting() as connection:
            # before the journal mode, which would be written into the file of another program
            self._refuse_strangers(connection)
            # A rollback journal, not a write-ahead log: the gallery stays one file that can be
            # copied, and that can be read from a disk on which nothing can be written.
            connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._refuse_strangers(connection)  # a newer arcwise may have changed it meanwhile
            yield connection

    def prepare(self, *, create: bool) -> None:
        """Make the file when it is missing, and bring its schema up to date.

        Args:
            create: make a missing file.

        Raises:
            GalleryError: missing or empty and not to be made, no regular file, not a gallery, or
                made by a newer arcwise.
        """
        self._find_file(create=create)
        with self.reading() as connection:
            schema = self._read_schema(connection)
        if schema is None and not create:
            raise GalleryError(f"{self.path} is empty", hint="enroll somebody first")
        if schema is None:
            self._make_private()
        if schema != SCHEMA:
            with self.writing() as connection:
                if self._read_schema(connection) != SCHEMA:  # nobody else did it meanwhile
                    # by name: a gallery that is up to date never pays for loading Alembic
                    import_module("arcwise.store.migrate").migrate(connection)
        self._is_prepared = True

    def check(self) -> None:
        """Have SQLite look at every page and every reference.

        Raises:
            GalleryError: something does not fit together.
        """
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check").scalar_one()
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if found != "ok" or strays is not None:
            what, hint = _FAULTS[sqlite3.SQLITE_CORRUPT][1:]
            raise GalleryError(f"gallery {self.path}: {what}", hint=hint)

    def close(self) -> None:
        """Let go of the engine. No connection is open between two transactions anyway."""
        self._engine.dispose()

    def _find_file(self, *, create: bool) -> None:
        with self._translating_os("make" if create else "open"):
            if self.path.exists():
                self._check_kind(self.path.stat().st_mode)
                return
            if not create:
                raise GalleryError(f"no gallery at {self.path}", hint="enroll somebody first")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # biometric data: for its owner alone; SQLite gives the journal the same mode
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _check_kind(self, mode: int) -> None:
        if stat.S_ISDIR(mode):
            raise GalleryError(
                f"{self.path} is a folder, not a gallery",
                hint=f"give the path of a file, such as {self.path / 'gallery.db'}",
            )
        if not stat.S_ISREG(mode):  # SQLite would wait for a pipe, and write to a device
            raise GalleryError(
                f"{self.path} is a pipe, a device or a socket, not a gallery",
                hint="give the path of a file",
            )

    def _make_private(self) -> None:
        """Take an empty file that others could read from them, before anybody is in it."""
        if os.name != "posix":
            return
        with self._translating_os("protect"):
            mode = stat.S_IMODE(self.path.stat().st_mode)
            if mode & 0o077:
                self.path.chmod(mode & 0o600)  # what is read-only for its owner stays so

    def _check_file(self) -> None:
        with self._translating_os("open"):
            try:
                mode = self.path.stat().st_mode
            except (FileNotFoundError, NotADirectoryError) as exc:
                raise GalleryError(
                    f"gallery {self.path}: the file is gone since it was opened",
                    hint="put it back, or open the gallery again to start with nobody",
                ) from exc
            self._check_kind(mode)

    def _refuse_strangers(self, connection: Connection) -> None:
        """Refuse a file that took the place of the prepared one and is no gallery of ours."""
        if not self._is_prepared:
            return
        schema = self._read_schema(connection)
        if schema is None:
            raise GalleryError(
                f"{self.path} is empty: it was replaced since it was opened",
                hint="put the gallery back, or open it again to start with nobody",
            )
        if schema != SCHEMA:
            raise GalleryError(
                f"{self.path} was replaced by the file of an older arcwise "
                f"(schema {schema}, this needs {SCHEMA})",
                hint="open the gallery again, which brings it up to date",
            )

    def _read_schema(self, connection: Connection) -> str | None:
        """The migration the file has, or None for a file that holds nothing yet."""
        mark = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
        if mark == 0 and not tables:
            return None
        if mark != APPLICATION_ID:
            raise GalleryError(
                f"{self.path} is an SQLite file of another program, not a gallery",
                hint="choose another path; nothing was changed",
            )
        query = "SELECT version_num FROM alembic_version"
        schema = connection.exec_driver_sql(query).scalar() if "alembic_version" in tables else None
        if schema is None:
            what, hint = _FAULTS[sqlite3.SQLITE_CORRUPT][1:]
            raise GalleryError(f"gallery {self.path}: {what} (it has no schema)", hint=hint)
        schema = str(schema)
        if schema > SCHEMA:
            raise GalleryError(
                f"{self.path} was made by a newer arcwise (schema {schema}, this knows {SCHEMA})",
                hint="upgrade: pip install -U arcwise",
            )
        return schema

    @contextmanager
    def _connecting(self) -> Iterator[Connection]:
        if self._is_prepared:
            self._check_file()
        with self._translating(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _translating_os(self, verb: str) -> Iterator[None]:
        try:
            with translate_os_errors(self.path, doing=f"{verb} the gallery"):
                yield
        except InputError as exc:
            raise GalleryError(str(exc), hint=exc.hint) from exc

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            origin = exc.orig if isinstance(exc, DBAPIError) else None
            # the low byte of an extended code is its primary code
            code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
            kind, what, hint = _FAULTS.get(code, (GalleryError, str(origin or exc), ""))
            raise kind(f"gallery {self.path}: {what}", hint=hint) from exc
