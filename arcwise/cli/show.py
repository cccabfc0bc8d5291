"""What commands print: tables and JSON to stdout, progress and complaints to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from arcwise.errors import InputError

Item = TypeVar("Item")
_PIPE_WIDTH = 10_000


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "-/s")


def print_json(plain: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, title: str = "") -> None:
    """A table on stdout."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe or a file has no width: one line for each row
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(table, crop=False)


def count(number: int, thing: str, things: str = "") -> str:
    """A number with its noun: 1 face, 2 faces."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def print_note(text: str) -> None:
    """One line for people, on stderr."""
    typer.echo(text, err=True)


def watch(items: Iterable[Item], *, total: int, doing: str) -> Iterator[Item]:
    """Show progress, rate and remaining time on stderr, when that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal or total < 2
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task(doing, total=total)
        for item in items:
            progress.advance(task)
            yield item


def report_unreadable(errors: Iterable[InputError | None]) -> bool:
    """Complain about photos that could not be read; True when there was one."""
    found = False
    for error in errors:
        if error is not None:
            found = True
            print_note(f"arcwise: {error}" + (f"\n  try: {error.hint}" if error.hint else ""))
    return found


class OutputPictures:
    """Where pictures go: one photo to a file, several into a folder, never over each other.

    Args:
        out: a file name with a picture's suffix (one photo only), or a folder.
        n_photos: how many photos there will be.

    Raises:
        InputError: a file was named for several photos.
    """

    def __init__(self, out: Path, n_photos: int) -> None:
        self._file = out if out.suffix and not out.is_dir() else None
        self._folder = out
        self._used: set[Path] = set()
        if self._file and n_photos > 1:
            raise InputError(
                f"{out} is one file, but there are {n_photos} photos", hint="name a folder"
            )

    def place_for(self, source: str, *, suffix: str = ".jpg", part: str = "") -> Path:
        """The path of the picture made from a photo; `part` tells several of one photo apart."""
        if self._file and not part:
            return self._file
        folder = self._file.with_suffix("") if self._file else self._folder
        stem = "stdin" if source.startswith("<") else Path(source).stem
        number = 1
        while True:
            name = stem + (f"-{number}" if number > 1 else "") + part + suffix
            if folder / name not in self._used:
                self._used.add(folder / name)
                return folder / name
            number += 1
