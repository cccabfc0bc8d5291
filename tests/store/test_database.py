from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from arcwise.errors import GalleryError, GalleryLockedError
from arcwise.store import NewTemplate, SQLStore, Stamp
from arcwise.store.database import Database

STAMP = Stamp("a" * 64, "small", 2, "boxes", "b" * 64)


def add_ann(store: SQLStore) -> None:
    store.add_templates("Ann", [NewTemplate(np.float32([1, 0]), 1.0, "e" * 64)], STAMP)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.db"


@contextmanager
def sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def test_what_is_promised_is_switched_on(path: Path) -> None:
    SQLStore.open(path)
    with Database(path, timeout_s=0.5).writing() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("secure_delete", "foreign_keys", "synchronous", "journal_mode")
        }
    full = 2
    assert values == {
        "secure_delete": 1,
        "foreign_keys": 1,
        "synchronous": full,
        "journal_mode": "delete",
    }


def test_one_file_is_left_after_a_write(path: Path) -> None:
    add_ann(SQLStore.open(path))
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["people.db"]


@pytest.mark.parametrize("content", [b"hello", b"not a database " * 1000, b"SQLite format 3\0"])
def test_a_file_that_is_not_sqlite_is_refused_and_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(GalleryError, match="not a gallery"):
        SQLStore.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["notes", "alembic_version"])
def test_an_sqlite_file_of_another_program_is_refused_and_not_touched(
    path: Path, table: str
) -> None:
    with sqlite(path) as other:
        other.execute(f"CREATE TABLE {table} (version_num TEXT)")
    content = path.read_bytes()
    with pytest.raises(GalleryError, match="another program"):
        SQLStore.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_is_refused_as_such(tmp_path: Path, create: bool) -> None:
    with pytest.raises(GalleryError, match=f"{tmp_path} is a folder") as caught:
        SQLStore.open(tmp_path, create=create)
    assert "path of a file" in caught.value.hint


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GalleryError, match="cannot make the gallery"):
        SQLStore.open(tmp_path / "file" / "people.db")


def test_a_gallery_of_a_newer_arcwise_is_refused_with_the_way_out(path: Path) -> None:
    SQLStore.open(path)
    with sqlite(path) as later:
        later.execute("UPDATE alembic_version SET version_num = '0099'")
    content = path.read_bytes()
    with pytest.raises(GalleryError, match=r"newer arcwise .*0099") as caught:
        SQLStore.open(path)
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == content


def test_a_missing_gallery_is_an_error_when_none_shall_be_made(path: Path) -> None:
    with pytest.raises(GalleryError, match="no gallery at"):
        SQLStore.open(path, create=False)
    assert not path.exists()


def test_an_empty_file_becomes_a_gallery(path: Path) -> None:
    path.touch()
    add_ann(SQLStore.open(path))
    assert [person.name for person in SQLStore.open(path, create=False).people()] == ["Ann"]


def test_an_empty_file_is_no_gallery_when_none_shall_be_made(path: Path) -> None:
    path.touch()
    with pytest.raises(GalleryError, match="is empty"):
        SQLStore.open(path, create=False)
    assert path.stat().st_size == 0


def test_a_gallery_that_vanished_is_an_error_and_not_made_anew(path: Path) -> None:
    store = SQLStore.open(path)
    path.unlink()
    for operation in (store.people, lambda: add_ann(store)):
        with pytest.raises(GalleryError, match=f"{path}: the file is gone") as caught:
            operation()
        assert "put it back" in caught.value.hint
    assert not path.exists()


def replace_by_nothing(path: Path) -> None:
    path.touch()


def replace_by_another_program(path: Path) -> None:
    with sqlite(path) as other:
        other.execute("PRAGMA journal_mode = WAL")  # which a gallery would change
        other.execute("CREATE TABLE notes (text TEXT)")


def replace_by_schema(path: Path, statement: str) -> None:
    SQLStore.open(path)
    with sqlite(path) as other:
        other.execute(statement)


@pytest.mark.parametrize(
    ("replace", "message", "hint"),
    [
        (replace_by_nothing, "is empty: it was replaced", "put the gallery back"),
        (replace_by_another_program, "of another program", "choose another path"),
        (
            lambda path: replace_by_schema(path, "UPDATE alembic_version SET version_num = '0099'"),
            "newer arcwise .*0099",
            "upgrade",
        ),
        (
            lambda path: replace_by_schema(path, "UPDATE alembic_version SET version_num = '0000'"),
            "older arcwise .*0000",
            "open the gallery again",
        ),
        (
            lambda path: replace_by_schema(path, "DROP TABLE alembic_version"),
            "damaged .it has no schema",
            "backup",
        ),
        (
            lambda path: replace_by_schema(path, "DELETE FROM alembic_version"),
            "damaged .it has no schema",
            "backup",
        ),
        (Path.mkdir, "is a folder", "path of a file"),
    ],
)
def test_what_took_the_place_of_an_open_gallery_is_told_and_not_touched(
    path: Path, replace: Callable[[Path], None], message: str, hint: str
) -> None:
    store = SQLStore.open(path)
    add_ann(store)
    path.unlink()
    replace(path)
    content = path.read_bytes() if path.is_file() else b""
    for operation in (store.people, store.check, lambda: add_ann(store)):
        with pytest.raises(GalleryError, match=message) as caught:
            operation()
        assert hint in caught.value.hint
    assert content == (path.read_bytes() if path.is_file() else b"")


def test_a_gallery_that_is_put_back_goes_on(path: Path) -> None:
    store = SQLStore.open(path)
    add_ann(store)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(GalleryError, match="gone"):
        store.people()
    path.with_suffix(".away").rename(path)
    assert [person.name for person in store.people()] == ["Ann"]


@pytest.mark.parametrize("statement", ["'0000'", "NULL"])
def test_an_unknown_schema_is_refused_and_not_touched(path: Path, statement: str) -> None:
    SQLStore.open(path)
    with sqlite(path) as other:
        other.execute("DROP TABLE alembic_version")
        other.execute("CREATE TABLE alembic_version (version_num TEXT)")
        other.execute(f"INSERT INTO alembic_version VALUES ({statement})")
    content = path.read_bytes()
    with pytest.raises(GalleryError, match="schema") as caught:
        SQLStore.open(path)
    assert "backup" in caught.value.hint
    assert path.read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o666, 0o600), (0o600, 0o600)])
def test_an_empty_file_is_its_owners_alone_before_anybody_is_in_it(
    path: Path, before: int, after: int
) -> None:
    path.touch()
    path.chmod(before)
    SQLStore.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == after


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_gallery_that_was_shared_on_purpose_stays_shared(path: Path) -> None:
    SQLStore.open(path)
    path.chmod(0o640)
    add_ann(SQLStore.open(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of this kind are POSIX")
@pytest.mark.parametrize("create", [True, False])
def test_a_pipe_or_a_device_is_refused_before_sqlite_opens_it(path: Path, create: bool) -> None:
    os.mkfifo(path)
    for one in (path, Path(os.devnull)):
        with pytest.raises(GalleryError, match=f"{one} is a pipe, a device") as caught:
            SQLStore.open(one, create=create)
        assert "path of a file" in caught.value.hint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of this kind are POSIX")
def test_a_pipe_in_the_place_of_an_open_gallery_is_refused(path: Path) -> None:
    store = SQLStore.open(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(GalleryError, match="is a pipe"):
        store.people()


def test_a_damaged_gallery_is_told_as_such(path: Path) -> None:
    store = SQLStore.open(path)
    add_ann(store)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(GalleryError, match="damaged"):
        store.people()


def test_a_locked_gallery_is_an_error_within_the_timeout(path: Path) -> None:
    store = SQLStore.open(path, timeout_s=0.3)
    with sqlite(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        for operation in (store.people, lambda: add_ann(store)):
            start = time.monotonic()
            with pytest.raises(GalleryLockedError, match="another process"):
                operation()
            assert 0.2 < time.monotonic() - start < 5
    add_ann(store)


def test_a_lock_that_is_released_in_time_is_waited_for(path: Path) -> None:
    store = SQLStore.open(path, timeout_s=20)
    taken = threading.Event()

    def hold() -> None:
        with sqlite(path) as other:
            other.execute("BEGIN EXCLUSIVE")
            taken.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(10)
    add_ann(store)
    holder.join()
    assert store.stamp() == STAMP


def test_an_error_in_a_transaction_rolls_it_back(path: Path) -> None:
    store = SQLStore.open(path)
    before = store.revision()

    def change_and_stop() -> None:
        with Database(path, timeout_s=1).writing() as connection:
            connection.exec_driver_sql("INSERT INTO revisions VALUES (77, 'x')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change_and_stop()
    assert store.revision() == before


def test_the_gallery_of_a_forked_process_is_its_own(path: Path) -> None:
    store = SQLStore.open(path)
    script = (
        "import os, sys, numpy as np, arcwise.store as s\n"
        "store = s.SQLStore.open(sys.argv[1])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    one = s.NewTemplate(np.float32([1, 0]), 1.0, 'e' * 64)\n"
        "    stamp = s.Stamp('a' * 64, 'small', 2, 'boxes', 'b' * 64)\n"
        "    store.add_templates('Ann', [one], stamp)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert store.revision().number == 1\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert store.stamp() == STAMP


def test_reopening_a_gallery_does_not_load_alembic(path: Path) -> None:
    SQLStore.open(path)
    script = (
        "import sys, arcwise.store as s\n"
        "s.SQLStore.open(sys.argv[1]).people()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
