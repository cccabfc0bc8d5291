"""Files we write are whole or absent: temporary name, flush to disk, atomic rename.

It does not know what is in a file. Errors of the operating system are translated here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arcwise.errors import InputError

_CHUNK_BYTES = 1 << 20


@contextmanager
def translate_os_errors(path: Path, *, doing: str) -> Iterator[None]:
    """Turn an OSError about `path` into an InputError that says what to try.

    Args:
        path: the file or folder in question.
        doing: the verb of the message, such as "write".

    Raises:
        InputError: an OSError was raised inside.
    """
    hints = {
        errno.ENOSPC: "the disk is full: free some room or choose another place",
        errno.EDQUOT: "the disk quota is used up: free some room or choose another place",
        errno.EROFS: "the disk is read-only: choose another place",
        errno.EACCES: "permission denied: choose another place or change the permissions",
        errno.EPERM: "permission denied: choose another place or change the permissions",
        errno.ENOENT: "check the path for typing errors",
        errno.EISDIR: "a folder has that name: give the path of a file",
        errno.EEXIST: "a file stands where a folder is needed: choose another place",
        errno.ENOTDIR: "a file stands where a folder is needed: choose another place",
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.EMFILE: "too many open files: raise the limit (ulimit -n) or use smaller batches",
    }
    try:
        yield
    except OSError as exc:
        hint = hints.get(exc.errno or 0, "")
        raise InputError(f"cannot {doing} {path}: {exc.strerror or exc}", hint=hint) from exc


def write_atomically(path: Path | str, content: bytes, *, private: bool = False) -> Path:
    """Write a file so that a reader, a crash or a full disk sees all of it or the old one.

    Args:
        path: where the file shall be; missing folders are made.
        content: all of its bytes.
        private: only its owner may read it (mode 0600), as biometric data should be.

    Returns:
        The path.

    Raises:
        InputError: the disk is full, read-only, or the place cannot be written.
    """
    path = Path(path)
    with translate_os_errors(path, doing="write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            handle = os.open(temporary, flags, 0o600 if private else 0o666)  # and the umask
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return path


def read_bytes(path: Path | str) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: there is no such file or it cannot be read.
    """
    path = Path(path)
    with translate_os_errors(path, doing="read"):
        return path.read_bytes()


def sha256_of_file(path: Path | str) -> str:
    """SHA-256 of a file, 64 lowercase hex digits.

    Raises:
        InputError: there is no such file or it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    with translate_os_errors(path, doing="read"), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
