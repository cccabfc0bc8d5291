"""What commands print: tables and JSON to stdout, progress and complaints to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer

from arcwise.errors import InputError

Item = TypeVar("Item")
_PIPE_WIDTH = 10_000


def print_json(plain: Any) -> None:
    """One JSON document on stdout."""
    # Other encodings than UTF-8 cannot hold every name; JSON's own escapes can.
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(plain, ensure_ascii=not is_utf8, indent=2, allow_nan=False)
    if any("\ud800" <= c <= "\udfff" for c in text):  # a file name that is no text
        text = json.dumps(plain, indent=2, allow_nan=False)
    typer.echo(text)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, title: str = "") -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading = Text(make_printable(title)) if title else None  # text: a name is no markup
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(make_printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(make_printable(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a file has no width: one line for each row
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(table, crop=False)


def make_printable(text: str) -> str:
    """A text without control characters: a file name must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(number: int, thing: str, things: str = "") -> str:
    """A number with its noun: 1 face, 2 faces."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def print_note(text: str) -> None:
    """One line for people, on stderr."""
    typer.echo(text, err=True)


def watch(items: Iterable[Item], *, total: int, doing: str) -> Iterator[Item]:
    """Show progress, rate and remaining time on stderr, when that is a terminal."""
    from arcwise.cli.progress import show_progress

    return show_progress(items, total=total, doing=doing)


def report_unreadable(errors: Iterable[InputError | None]) -> bool:
    """Complain about photos that could not be read; True when there was one."""
    found = False
    for error in errors:
        if error is not None:
            found = True
            print_note(f"arcwise: {make_printable(str(error))}")
            if error.hint:
                print_note(f"  try: {error.hint}")
    return found


def check_output(place: Path, sources: Iterable[object], suffixes: Sequence[str]) -> None:
    """Refuse, before the work, a file that cannot be written or would replace what is read.

    Args:
        place: where the result shall go.
        sources: what is read: paths are looked at, anything else is left alone.
        suffixes: the endings that work, such as ".npz".

    Raises:
        InputError: another suffix, a folder, no place for a folder, one of the sources, or the
            card of a model.
    """
    if place.is_dir():
        raise InputError(f"{place} is a folder", hint="name a file in it")
    if place.suffix.lower() not in suffixes:
        raise InputError(
            f"cannot write {place.name or 'a file without a name'}",
            hint=f"end its name with one of {', '.join(suffixes)}",
        )
    if place.suffix.lower() == ".json" and place.with_suffix(".onnx").exists():
        raise InputError(
            f"{place} is the card of {place.with_suffix('.onnx').name}", hint="choose another name"
        )
    _check_folder(place.parent)
    _refuse_sources(place, _paths_of(sources))


def _paths_of(sources: Iterable[object]) -> set[Path]:
    return {Path(source).resolve() for source in sources if isinstance(source, str | Path)}


def _refuse_sources(place: Path, sources: set[Path]) -> None:
    """Also under another spelling, where the file system ignores case, and through links."""
    is_one = place.resolve() in sources
    if not is_one and place.exists():
        is_one = any(source.exists() and place.samefile(source) for source in sources)
    if is_one:
        raise InputError(
            f"{place} is one of the files that are read and would be replaced",
            hint="name another place",
        )


def _check_folder(folder: Path) -> None:
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    if not standing.is_dir():
        raise InputError(f"{standing} is a file, not a folder", hint="name another place")


class OutputPictures:
    """Where pictures go: one photo to a file, several into a folder.

    Never over each other, and never over one of the photos they are made from.

    Args:
        out: a file name with a picture's suffix (one photo only), or a folder.
        sources: the photos, as they will be read.
        suffix: of the pictures in a folder.
        is_folder: `out` is a folder, whatever its name looks like.

    Raises:
        InputError: a file was named for several photos, a picture would replace a photo, or the
            place cannot take pictures. Nothing was done yet.
    """

    def __init__(
        self, out: Path, sources: Sequence[object], *, suffix: str = ".jpg", is_folder: bool = False
    ) -> None:
        from arcwise.encode import PICTURE_SUFFIXES

        self._suffix = suffix
        self._photos = _paths_of(sources)
        is_file = bool(out.suffix) and not out.is_dir() and not is_folder
        if is_file and len(sources) > 1:
            raise InputError(
                f"{out} is one file, but there are {len(sources)} photos", hint="name a folder"
            )
        if is_file:
            check_output(out, (), PICTURE_SUFFIXES)
        else:
            _check_folder(out)
        folder = out.parent if is_file else out
        self._file = out if is_file else None
        self._places = list(_place_all(folder, sources))
        for number in range(len(sources)):
            self.place_for(number)

    def place_for(self, number: int, *, part: str = "") -> Path:
        """The path of the picture made from a photo.

        Args:
            number: of the photo, from 0, in the order of the sources.
            part: tells several pictures of one photo apart.

        Raises:
            InputError: one of the photos has that path.
        """
        place = self._places[number]
        place = self._file or place.with_name(place.name + part + self._suffix)
        _refuse_sources(place, self._photos)
        return place


def _place_all(folder: Path, sources: Sequence[object]) -> Iterator[Path]:
    """One path without suffix for each source; equal names get a number."""
    used: set[str] = set()
    for source in sources:
        stem = Path(source).stem if isinstance(source, str) else "stdin"
        name, number = stem, 1
        while name.casefold() in used:  # one file where the file system ignores case
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        yield folder / name
