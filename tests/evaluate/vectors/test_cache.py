"""What was embedded before is found again; whatever goes wrong with it is told, never raised."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.vectors import cache as module
from arcwise.evaluate.vectors.cache import Cache, Entry, clear_caches, list_caches

DIGEST = "d" * 64
FULL = "is not used"


def open_cache(folder: Path, *, digest: str = DIGEST, dimension: int = 3) -> Cache:
    return Cache.open(folder, model="tiny", model_digest=digest, dimension=dimension)


def make_entry(number: int, *, mirror: bool = True) -> Entry:
    raw = np.array([number, 2, 3], np.float32)
    return Entry(f"{number:064x}", raw, -raw if mirror else None)


def key_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache" / "embeddings"


def test_what_was_kept_is_found_by_the_next_process(folder: Path) -> None:
    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1), key_of(2): Entry("", reason="no face was found")})
    with open_cache(folder) as cache:
        found, failed = cache.find(key_of(1)), cache.find(key_of(2))
        assert cache.find(key_of(3)) is None
        assert cache.trouble == ""
    assert found is not None
    assert failed is not None
    assert found.digest == f"{1:064x}"
    np.testing.assert_array_equal(found.raw, [1, 2, 3])
    np.testing.assert_array_equal(found.mirrored, [-1, -2, -3])
    assert (failed.raw, failed.mirrored, failed.reason) == (None, None, "no face was found")


def test_a_later_entry_replaces_an_older(folder: Path) -> None:
    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1, mirror=False)})
        assert cache.find(key_of(1)).mirrored is None  # type: ignore[union-attr]
        cache.add({key_of(1): make_entry(1)})
        assert cache.find(key_of(1)).mirrored is not None  # type: ignore[union-attr]


def test_models_do_not_share_a_file(folder: Path) -> None:
    with open_cache(folder) as cache, open_cache(folder, digest="e" * 64) as other:
        cache.add({key_of(1): make_entry(1)})
        assert other.find(key_of(1)) is None
    assert len(list_caches(folder)) == 2


def test_a_digest_that_is_no_file_name_does_not_lead_out(folder: Path) -> None:
    with open_cache(folder, digest="../../evil") as cache:
        cache.add({key_of(1): make_entry(1)})
    assert [file.path.parent for file in list_caches(folder)] == [folder]


def test_files_are_for_their_owner_alone(folder: Path) -> None:
    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1)})
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.iterdir())
        assert len(files) > 1, "the write-ahead log lies beside"
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_file_that_is_no_database_is_put_aside(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.db").write_bytes(b"nonsense " * 1000)
    with open_cache(folder) as cache:
        assert "broken" in cache.trouble
        cache.add({key_of(1): make_entry(1)})
        assert cache.find(key_of(1)) is not None
    assert (folder / f"{DIGEST}.broken").read_bytes().startswith(b"nonsense")
    with open_cache(folder) as cache:
        assert cache.trouble == ""
        assert cache.find(key_of(1)) is not None


@pytest.mark.parametrize(
    "script", ["CREATE TABLE songs (title TEXT)", "PRAGMA user_version = 99; CREATE TABLE x (y)"]
)
def test_a_database_of_somebody_else_is_put_aside(folder: Path, script: str) -> None:
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / f"{DIGEST}.db") as connection:
        connection.executescript(script)
    connection.close()
    with open_cache(folder) as cache:
        assert "another version" in cache.trouble
        cache.add({key_of(1): make_entry(1)})
        assert cache.find(key_of(1)) is not None


def test_pages_that_rot_are_never_an_error(folder: Path) -> None:
    with open_cache(folder) as cache:
        cache.add({key_of(number): make_entry(number) for number in range(500)})
    path = folder / f"{DIGEST}.db"
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(20):
        damaged = bytearray(whole)
        start = int(rng.integers(0, len(whole) - 4096))
        damaged[start : start + 4096] = rng.bytes(4096)
        path.write_bytes(bytes(damaged))
        with open_cache(folder) as cache:
            for number in range(500):
                found = cache.find(key_of(number))
                assert found is None or found.reason or found.raw is not None
            cache.add({key_of(1000): make_entry(1000)})
        for left in folder.iterdir():
            left.unlink()


@pytest.mark.parametrize(
    "row",
    [
        ("", b"\0" * 8, None, ""),
        ("", np.array([1, np.nan, 2], "<f4").tobytes(), None, ""),
        ("", np.zeros(3, "<f4").tobytes(), None, ""),
        ("", None, None, ""),
        ("", np.ones(3, "<f4").tobytes(), b"\0", ""),
    ],
)
def test_a_row_we_never_wrote_is_not_found(folder: Path, row: tuple[Any, ...]) -> None:
    open_cache(folder).close()
    with sqlite3.connect(folder / f"{DIGEST}.db") as connection:
        connection.execute("INSERT INTO photos VALUES (?, ?, ?, ?, ?)", (key_of(1), *row))
    connection.close()
    with open_cache(folder) as cache:
        assert cache.find(key_of(1)) is None
        assert cache.trouble == ""


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with open_cache(tmp_path / "home" / "cache" / "embeddings") as cache:
        assert FULL in cache.trouble
        cache.add({key_of(1): make_entry(1)})
        assert cache.find(key_of(1)) is None


def test_a_full_disk_is_told_and_the_rest_goes_on(folder: Path) -> None:
    cache = open_cache(folder)
    with cache:
        cache.add({key_of(1): make_entry(1)})
        assert cache._connection is not None
        cache._connection.execute("PRAGMA max_page_count = 8")
        for first in range(2, 5000, 100):
            cache.add({key_of(number): make_entry(number) for number in range(first, first + 100)})
        assert "full" in cache.trouble
        assert cache.find(key_of(1)) is None
    with open_cache(folder) as cache:
        assert cache.trouble == ""
        assert cache.find(key_of(1)) is not None


def test_a_lock_that_is_never_given_back_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.1)
    cache = open_cache(folder)
    holder = sqlite3.connect(folder / f"{DIGEST}.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    cache.add({key_of(1): make_entry(1)})
    assert "locked" in cache.trouble
    holder.close()
    cache.close()


def test_nothing_is_kept_after_closing(folder: Path) -> None:
    cache = open_cache(folder)
    cache.close()
    cache.close()
    cache.add({key_of(1): make_entry(1)})
    assert cache.find(key_of(1)) is None
    assert cache.trouble == ""


def test_one_thread_may_read_while_another_writes(folder: Path) -> None:
    with open_cache(folder) as cache:
        reader = threading.Thread(target=lambda: [cache.find(key_of(n)) for n in range(300)])
        reader.start()
        for number in range(300):
            cache.add({key_of(number): make_entry(number)})
        reader.join()
        assert cache.trouble == ""


WRITER = """
import sys
from pathlib import Path
import numpy as np
from arcwise.evaluate.vectors.cache import Cache, Entry
first, n_batches = int(sys.argv[2]), int(sys.argv[3])
cache = Cache.open(Path(sys.argv[1]), model="tiny", model_digest="d" * 64, dimension=3)
for batch in range(n_batches):
    numbers = range(first + 10 * batch, first + 10 * batch + 10)
    rows = {n: Entry("", np.array([n, 2, 3], np.float32)) for n in numbers}
    cache.add({n.to_bytes(32, "big"): entry for n, entry in rows.items()})
    if cache.trouble:
        sys.exit(cache.trouble)
    print(batch, flush=True)
"""


def start_writer(folder: Path, first: int, n_batches: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(first), str(n_batches)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.fault
def test_three_processes_write_one_new_file(folder: Path) -> None:
    writers = [start_writer(folder, 10_000 * number, 30) for number in range(3)]
    for writer in writers:
        _, complaint = writer.communicate()
        assert writer.returncode == 0, complaint
    (file,) = list_caches(folder)
    assert file.n_photos == 900


@pytest.mark.fault
def test_a_killed_process_loses_nothing_it_had_told(folder: Path) -> None:
    writer = start_writer(folder, 0, 100_000)
    assert writer.stdout is not None
    told = 0
    while told < 50:
        told = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with open_cache(folder) as cache:
        assert cache.trouble == ""
        assert all(cache.find(key_of(number)) is not None for number in range(10 * told + 10))


# ── what lies there ──


def test_files_are_listed_with_their_model(folder: Path) -> None:
    assert list_caches(folder) == []
    with open_cache(folder) as cache:
        cache.add({key_of(number): make_entry(number) for number in range(7)})
        (while_open,) = list_caches(folder)
    (file,) = list_caches(folder)
    assert (file.model, file.n_photos) == ("tiny", 7)
    assert file.size_bytes == file.path.stat().st_size > 0
    assert while_open.n_photos == 7


def test_clearing_deletes_what_is_ours_and_nothing_else(folder: Path) -> None:
    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1)})
    (folder / f"{'e' * 64}.broken").write_bytes(b"nonsense")
    (folder / f"{'f' * 64}.db").write_bytes(b"nonsense " * 1000)
    (folder / "notes.txt").write_text("mine")
    assert clear_caches(folder) > 9008
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert clear_caches(folder) == 0
    assert clear_caches(folder / "nowhere") == 0


def test_a_file_in_use_is_overwritten_and_goes_on(folder: Path) -> None:
    entries = {key_of(number): make_entry(number) for number in range(500)}
    with open_cache(folder) as cache:
        cache.add(entries)
        assert clear_caches(folder) > 4096
        (file,) = list_caches(folder)
        assert (file.state, file.n_photos) == ("whole", 0)
        content = b"".join(path.read_bytes() for path in folder.iterdir())
        assert np.array([77, 2, 3], "<f4").tobytes() not in content
        assert f"{77:064x}".encode() not in content
        assert cache.find(key_of(77)) is None
        cache.add({key_of(1): make_entry(1)})
        with open_cache(folder) as other:
            assert other.find(key_of(1)) is not None
        assert cache.trouble == ""
    clear_caches(folder)
    assert list(folder.iterdir()) == []


def test_clearing_a_file_that_is_being_written_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.1)
    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1)})
    holder = sqlite3.connect(folder / f"{DIGEST}.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="cannot clear"):
        clear_caches(folder)
    holder.close()
    assert clear_caches(folder) > 0


def test_a_file_on_a_full_disk_is_deleted_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complain(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with open_cache(folder) as cache:
        cache.add({key_of(1): make_entry(1)})
    monkeypatch.setattr(module, "_empty_log", complain)
    assert clear_caches(folder) > 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("is_database", [True, False])
def test_a_file_that_a_full_disk_left_empty_is_called_that(folder: Path, is_database: bool) -> None:
    folder.mkdir(parents=True)
    path = folder / f"{DIGEST}.db"
    if is_database:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    else:
        path.touch()
    (file,) = list_caches(folder)
    assert (file.model, file.state) == ("", "empty")


def test_a_broken_file_is_listed_without_a_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.db").write_bytes(b"nonsense " * 1000)
    (file,) = list_caches(folder)
    assert (file.model, file.n_photos, file.size_bytes) == ("", 0, 9000)
    assert file.state == "broken"
