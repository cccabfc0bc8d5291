"""Files are whole or absent, and the operating system's errors become ours."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from arcwise.errors import InputError
from arcwise.files import read_bytes, sha256_of_file, translate_os_errors, write_atomically


def fail_with(code: int):
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "new" / "folder" / "card.json", b"\x00whole")
    assert read_bytes(path) == b"\x00whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"a much longer old file")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match=r"cannot write .*card\.json") as caught:
        write_atomically(path, b"new")
    assert "full" in caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_an_end_in_the_middle_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"old")

    def stop(_: int) -> None:
        raise end

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(end):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.raises(InputError, match=r"card\.json") as caught:
        write_atomically(tmp_path / "card.json", b"new")
    assert "a folder has that name" in caught.value.hint
    assert [child.name for child in tmp_path.iterdir()] == ["card.json"]


@pytest.mark.parametrize("place", ["file/card.json", "file/deeper/card.json"])
def test_a_file_where_a_folder_is_needed_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path / place, b"new")
    assert "a file stands where a folder is needed" in caught.value.hint


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / ("n" * 255), b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path / ("n" * 256), b"new")
    assert "shorter" in caught.value.hint


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_users_umask_decides_who_may_read(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        path = write_atomically(tmp_path / "card.json", b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.EACCES, "permission"),
        (errno.EPERM, "permission"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EMFILE, "ulimit"),
        (errno.ENOENT, "path"),
    ],
)
def test_every_usual_error_of_the_system_has_a_hint(code: int, word: str) -> None:
    with (
        pytest.raises(InputError, match=f"cannot read photo: {os.strerror(code)}") as caught,
        translate_os_errors(Path("photo"), doing="read"),
    ):
        fail_with(code)()
    assert word in caught.value.hint


def test_an_error_without_words_is_still_told() -> None:
    with (
        pytest.raises(InputError, match="cannot read photo: the cable is loose"),
        translate_os_errors(Path("photo"), doing="read"),
    ):
        raise OSError("the cable is loose")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_bytes, sha256_of_file):
        with pytest.raises(InputError, match=r"nowhere\.onnx"):
            read(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("size_bytes", [0, 1, 1 << 20, (1 << 20) + 7])
def test_a_digest_is_that_of_all_bytes(tmp_path: Path, size_bytes: int) -> None:
    content = bytes(range(256)) * (size_bytes // 256 + 1)
    path = tmp_path / "weights"
    path.write_bytes(content[:size_bytes])
    assert sha256_of_file(path) == hashlib.sha256(content[:size_bytes]).hexdigest()
