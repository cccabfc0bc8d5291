"""What a gallery survives: processes at once, kills, full, read-only disks. All of it is real.

Run as root these tests cannot be refused by file permissions; a disk that is mounted read-only
refuses root as well, so that is what they use (in a mount namespace of their own).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from arcwise.gallery import Gallery
from arcwise.store import SQLStore
from tests.fake_recognizer import FakeRecognizer

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
N_PEOPLE, N_PHOTOS = 40, 3
EVERYBODY = {f"p{i}": [f"p{i}/{j}" for j in range(N_PHOTOS)] for i in range(N_PEOPLE)}

HEADER = """
import json, os, signal, sys, time
from pathlib import Path
from tests.fake_recognizer import FakeRecognizer
from arcwise.errors import GalleryError
from arcwise.gallery import Gallery
from arcwise.store import SQLStore
from arcwise.store.database import Database

def say(value):
    print(json.dumps(value), flush=True)

path, argument = Path(sys.argv[1]), json.loads(sys.argv[2])
"""

ENROLL = """
for done in Gallery(path, recognizer=FakeRecognizer()).enroll_many(argument):
    say(done.person.name)
"""


def start(
    script: str, path: Path, argument: object = None, *, prefix: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", HEADER + script, str(path), json.dumps(argument)]

    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def finish(process: subprocess.Popen[str]) -> list[object]:
    """The values a process said; it must have ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def counts(path: Path) -> dict[str, int]:
    return {person.name: person.n_templates for person in SQLStore.open(path).people()}


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_two_processes_that_enroll_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.db"  # missing: both also try to make it
    names = list(EVERYBODY)
    halves = [
        {name: EVERYBODY[name] for name in some} | {"both": [f"both/{number}"]}
        for number, some in enumerate((names[::2], names[1::2]))
    ]
    for process in [start(ENROLL, path, half) for half in halves]:
        finish(process)
    assert counts(path) == dict.fromkeys(names, N_PHOTOS) | {"both": 2}
    check_integrity(path)


def test_nobody_is_found_after_forget_returned_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    gallery = Gallery(path, recognizer=FakeRecognizer())
    list(gallery.enroll_many({"ann": ["ann/1"], "bob": ["bob/1"]}))
    watching = start(
        """
        gallery = Gallery(path, recognizer=FakeRecognizer())
        while not Path(argument).exists():
            began = time.monotonic()
            say([began, gallery.identify("ann/2")[0][1].person])
        """.replace("\n        ", "\n"),
        path,
        str(tmp_path / "stop"),
    )
    assert watching.stdout is not None
    assert [json.loads(watching.stdout.readline())[1] for _ in range(5)] == ["ann"] * 5
    gallery.forget("ann")
    forgotten = time.monotonic()  # the clock of the machine, the same in every process
    time.sleep(0.5)
    (tmp_path / "stop").touch()
    answers = finish(watching)
    later = [person for began, person in answers if began > forgotten]
    assert len(later) > 5
    assert set(later) == {None}


@pytest.mark.parametrize("wait_s", [0.0, 0.003, 0.007, 0.013, 0.03, 0.07, 0.15, 0.3])
def test_a_kill_while_enrolling_leaves_whole_people_and_a_rerun_completes(
    tmp_path: Path, wait_s: float
) -> None:
    path = tmp_path / "people.db"
    process = start(ENROLL, path, EVERYBODY)
    assert process.stdout is not None
    said = [process.stdout.readline()]
    time.sleep(wait_s)
    process.kill()
    said += process.communicate(timeout=60)[0].splitlines(keepends=True)
    # A line may be cut off by the kill; every whole one was said after its commit.
    promised = {json.loads(line) for line in said if line.endswith("\n")}
    found = counts(path)
    check_integrity(path)
    assert promised <= found.keys()
    assert set(found.values()) == {N_PHOTOS}
    finish(start(ENROLL, path, EVERYBODY))
    assert counts(path) == dict.fromkeys(EVERYBODY, N_PHOTOS)


def test_a_kill_with_half_a_transaction_on_disk_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    list(Gallery(path, recognizer=FakeRecognizer()).enroll_many(EVERYBODY))
    process = start(
        """
with Database(path, timeout_s=1).writing() as connection:
    connection.exec_driver_sql("PRAGMA cache_size = 1")  # pages go to the file before the commit
    connection.exec_driver_sql("INSERT INTO revisions VALUES (10000, 'x')")
    connection.exec_driver_sql("DELETE FROM people")
    os.kill(os.getpid(), signal.SIGKILL)
""",
        path,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "people.db-journal").stat().st_size > 0
    assert counts(path) == dict.fromkeys(EVERYBODY, N_PHOTOS)
    assert not (tmp_path / "people.db-journal").exists()
    check_integrity(path)


def test_a_kill_while_the_gallery_is_made_leaves_a_file_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.touch()
    process = start(
        """
from arcwise.store.migrate import migrate
with Database(path, timeout_s=1).writing() as connection:
    migrate(connection)
    os.kill(os.getpid(), signal.SIGKILL)
""",
        path,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    finish(start(ENROLL, path, {"ann": ["ann/1"]}))
    assert counts(path) == {"ann": 1}


def test_a_kill_before_the_gallery_is_made_leaves_an_empty_file_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    process = start(
        """
def stop(*_):
    os.kill(os.getpid(), signal.SIGKILL)

Database.writing = stop  # the file is there, its tables are not
SQLStore.open(path)
""",
        path,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.stat().st_size == 0
    finish(start(ENROLL, path, {"ann": ["ann/1"]}))
    assert counts(path) == {"ann": 1}


def test_a_kill_in_the_middle_of_the_first_person_leaves_a_gallery_for_any_model(
    tmp_path: Path,
) -> None:
    path = tmp_path / "people.db"
    process = start(
        """
import arcwise.store.sql as sql

def stop(*_):
    os.kill(os.getpid(), signal.SIGKILL)

sql._insert_templates = stop
Gallery(path, recognizer=FakeRecognizer()).enroll("ann", ["ann/1"])
""",
        path,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    Gallery(path, recognizer=FakeRecognizer(model="other")).enroll("ann", ["ann/1"])
    assert counts(path) == {"ann": 1}
    check_integrity(path)


def test_a_process_that_runs_follows_a_gallery_that_was_replaced(tmp_path: Path) -> None:
    path, other = tmp_path / "people.db", tmp_path / "other.db"
    Gallery(path, recognizer=FakeRecognizer()).enroll("ann", ["ann/1"])
    Gallery(other, recognizer=FakeRecognizer()).enroll("bob", ["bob/1"])
    said = finish(
        start(
            """
gallery = Gallery(path, recognizer=FakeRecognizer())
say([match.person for _, match in gallery.identify("ann/2+bob/2")])
os.replace(argument, path)
say([match.person for _, match in gallery.identify("ann/2+bob/2")])
""",
            path,
            str(other),
        )
    )
    assert said == [["ann", None], [None, "bob"]]


def test_control_c_stops_cleanly_between_people(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    process = start(ENROLL, path, EVERYBODY)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert [file.name for file in tmp_path.glob("people.db*")] == ["people.db"]
    found = counts(path)
    assert 1 <= len(found) < N_PEOPLE
    assert set(found.values()) == {N_PHOTOS}
    check_integrity(path)


@pytest.fixture
def own_disk(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A folder, and the start of a command that sees a disk of 512 KiB there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=512k tmpfs '{folder}' && exec \"$@\""
    prefix = ("unshare", "--mount", "sh", "-c", mount, "sh")
    can_mount = (
        shutil.which("unshare")
        and not subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode
    )
    if not can_mount:
        pytest.skip("no mount namespace: needs Linux, util-linux and the right to mount")
    return folder, prefix


def test_a_full_disk_is_told_and_nobody_is_enrolled_by_half(
    own_disk: tuple[Path, tuple[str, ...]],
) -> None:
    folder, prefix = own_disk
    said = finish(
        start(
            """
ballast = path.with_name("ballast")
ballast.write_bytes(bytes(300 << 10))
gallery = Gallery(path, recognizer=FakeRecognizer())
promised = []
try:
    for done in gallery.enroll_many(argument):
        promised.append(done.person.name)
except GalleryError as exc:
    say([str(exc), exc.hint])
say([promised, {person.name: person.n_templates for person in gallery.people()}])
say(gallery.identify("p0/9")[0][1].person)
ballast.unlink()
list(gallery.enroll_many(argument))
say({person.name: person.n_templates for person in gallery.people()})
""",
            folder / "people.db",
            EVERYBODY | {"many": [f"many/{i}" for i in range(200)]},
            prefix=prefix,
        )
    )
    (message, hint), (promised, found), known, finally_there = said
    assert "the disk is full" in message
    assert "free some room" in hint
    assert found == dict.fromkeys(promised, N_PHOTOS)
    assert known == "p0"
    assert finally_there == dict.fromkeys(EVERYBODY, N_PHOTOS) | {"many": 200}


def test_a_read_only_disk_can_be_read_and_says_why_it_cannot_be_written(
    own_disk: tuple[Path, tuple[str, ...]],
) -> None:
    folder, prefix = own_disk
    said = finish(
        start(
            """
import subprocess
Gallery(path, recognizer=FakeRecognizer()).enroll("ann", ["ann/1"])
subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
gallery = Gallery(path, recognizer=FakeRecognizer())
say(gallery.identify("ann/2")[0][1].person)
say([person.name for person in gallery.people()])
for change in (
    lambda: gallery.enroll("bob", ["bob/1"]),
    lambda: gallery.forget("ann"),
    lambda: Gallery(path.with_name("new.db"), recognizer=FakeRecognizer()),
):
    try:
        change()
    except GalleryError as exc:
        say([str(exc), exc.hint])
say(gallery.identify("ann/2")[0][1].person)
""",
            folder / "people.db",
            prefix=prefix,
        )
    )
    known, people, enrolling, forgetting, making, still_known = said
    assert (known, people, still_known) == ("ann", ["ann"], "ann")
    for message, hint in (enrolling, forgetting):
        assert "cannot be written" in message
        assert "writable" in hint
    assert "cannot make the gallery" in making[0]
    assert "read-only" in making[1]
