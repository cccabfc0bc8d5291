"""The contract and the manifest of a prepared folder, and its lock."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.data import manifest as room
from arcwise.data.manifest import (
    LOCK_NAME,
    MANIFEST_NAME,
    CropContract,
    DetectorStamp,
    Manifest,
    PreparedPhoto,
    is_prepared,
    lock_folder,
    read_manifest,
)
from arcwise.errors import DatasetError, InputError

CONTRACT = CropContract(
    detector=DetectorStamp(name="mtcnn", digest="12ab"), min_face_px=40, source="people.zip"
)
ANN = PreparedPhoto(
    photo="Ann/1.jpg",
    person="Ann",
    crop="crops/Ann/1.jpg.jpg",
    box=(1.0, 2.0, 30.5, 40.25),
    score=0.9876,
    points=((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.5)),
    n_faces=2,
    hash="00ff00ff00ff00ff",
)
BOB = PreparedPhoto(photo="Bob/1.jpg", person="Bob", error="no face was found")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder without photos."""
    CONTRACT.save(tmp_path)
    return tmp_path


def write(folder: Path, *photos: PreparedPhoto) -> Path:
    with closing(Manifest(folder)) as manifest:
        manifest.append(photos)
    return folder / MANIFEST_NAME


# The contract


def test_a_contract_is_read_as_it_was_saved(tmp_path: Path) -> None:
    assert not is_prepared(tmp_path)
    place = CONTRACT.save(tmp_path)
    assert is_prepared(tmp_path)
    assert CropContract.load(tmp_path) == CONTRACT
    assert json.loads(place.read_text())["version"] == 1


def test_a_folder_without_contract_is_told_how_to_get_one(tmp_path: Path) -> None:
    for load in (CropContract.load, read_manifest):
        with pytest.raises(DatasetError, match="no prepared folder") as caught:
            load(tmp_path)
        assert f"--out {tmp_path}" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [({"version": 2}, "version"), ({"size_px": 96}, "size_px"), ({"extra": 1}, "extra")],
)
def test_a_contract_that_this_version_cannot_read_is_refused(
    folder: Path, change: dict[str, int], words: str
) -> None:
    plain = CONTRACT.model_dump() | change
    (folder / room.CONTRACT_NAME).write_text(json.dumps(plain))
    with pytest.raises(DatasetError, match=words):
        CropContract.load(folder)


@pytest.mark.parametrize(
    ("change", "name", "there", "asked"),
    [
        ({"border_px": 8}, "border_px", "16", "8"),
        ({"select": "only"}, "select", "'center'", "'only'"),
        ({"format": "png"}, "format", "'jpg'", "'png'"),
        ({"min_face_px": 20}, "min_face_px", "40", "20"),
        ({"source": "others"}, "source", "'people.zip'", "'others'"),
        (
            {"detector": DetectorStamp(name="mtcnn", digest="ffff")},
            "detector digest",
            "'12ab'",
            "'ffff'",
        ),
    ],
)
def test_whatever_differs_between_two_contracts_is_named_with_both_values(
    tmp_path: Path, change: dict[str, object], name: str, there: str, asked: str
) -> None:
    CONTRACT.check_same(CONTRACT, tmp_path)
    wanted = CONTRACT.model_copy(update=change)
    with pytest.raises(InputError, match=f"with {name} {there}, now {asked}") as caught:
        CONTRACT.check_same(wanted, tmp_path)
    assert "another folder" in caught.value.hint


# The manifest


def test_photos_are_read_as_they_were_written(folder: Path) -> None:
    assert read_manifest(folder) == []
    write(folder, ANN)
    write(folder, BOB)
    assert read_manifest(folder) == [ANN, BOB]


@given(st.text(st.characters(min_codepoint=0), max_size=20))
def test_any_name_survives_a_line(name: str) -> None:
    photo = PreparedPhoto(photo=name, person=name, error=name)
    line = photo.to_line()
    assert line.count(b"\n") == 1
    assert PreparedPhoto.from_line(line) == photo


def test_a_name_that_is_no_text_survives_a_line() -> None:
    name = os.fsdecode(b"\xff\xfe.jpg")
    assert PreparedPhoto.from_line(replace(BOB, photo=name).to_line()).photo == name


def test_the_last_line_of_a_photo_counts(folder: Path) -> None:
    found = replace(BOB, error=None, crop=ANN.crop, box=ANN.box, score=1.0, points=ANN.points)
    write(folder, BOB, ANN, found)
    assert read_manifest(folder) == [found, ANN]


@pytest.mark.parametrize(
    "tail",
    [BOB.to_line()[:20], BOB.to_line()[:-1], b"{}\n", bytes(30), b"\xff\n"],
    ids=["half a line", "no line end", "another line", "zeros", "no text"],
)
def test_a_broken_last_line_is_left_out_and_cut_off(folder: Path, tail: bytes) -> None:
    path = write(folder, ANN)
    with path.open("ab") as file:
        file.write(tail)
    assert read_manifest(folder) == [ANN]
    with closing(Manifest(folder)) as manifest:
        assert manifest.found == [ANN]
        manifest.append([BOB])
    assert path.read_bytes() == ANN.to_line() + BOB.to_line()


def test_a_broken_line_before_the_last_is_an_error_and_nothing_is_changed(folder: Path) -> None:
    path = folder / MANIFEST_NAME
    content = ANN.to_line() + b"broken\n" + BOB.to_line()
    path.write_bytes(content)
    for read in (read_manifest, Manifest):
        with pytest.raises(DatasetError, match=f"line 2 of {path}: .*broken"):
            read(folder)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"error": "but why"},
        {"crop": None},
        {"crop": "../elsewhere.jpg"},
        {"crop": "crops/../../elsewhere.jpg"},
        {"crop": "/etc/passwd"},
        {"points": None},
        {"box": ["a"]},
        {"extra": 1},
    ],
)
def test_a_line_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    plain = json.loads(ANN.to_line()) | change
    with pytest.raises(DatasetError, match="not a line of a manifest"):
        PreparedPhoto.from_line(json.dumps(plain).encode())


@pytest.mark.parametrize(
    ("blow", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_lines_that_were_not_written_whole_are_taken_back(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    blow: BaseException,
    kind: type[BaseException],
) -> None:
    path = write(folder, ANN)

    def fail(_: int) -> None:
        raise blow

    with closing(Manifest(folder)) as manifest:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(kind) as caught:
                manifest.append([BOB])
        assert path.read_bytes() == ANN.to_line()
        assert getattr(caught.value, "hint", "the disk is full").startswith("the disk is full")
        manifest.append([BOB])
    assert read_manifest(folder) == [ANN, BOB]


# The lock


def test_two_cannot_hold_the_lock_of_one_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        with (
            pytest.raises(InputError, match=rf"another process \({os.getpid()}\)") as caught,
            lock_folder(tmp_path),
        ):
            pass
        assert "wait" in caught.value.hint
        assert (tmp_path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path):
        pass


def test_the_lock_file_of_a_dead_process_holds_nobody_out(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("999999999999")
    with lock_folder(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"cannot lock .*No such file"),
        lock_folder(tmp_path / "absent"),
    ):
        pass


@pytest.mark.fault
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from arcwise.data.manifest import lock_folder
with lock_folder(Path({str(tmp_path)!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(InputError, match=rf"\({process.pid}\)"), lock_folder(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with lock_folder(tmp_path):
        pass
