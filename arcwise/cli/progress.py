"""Progress, rate and remaining time on stderr; loaded only by commands that have some to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

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
from rich.text import Text

Item = TypeVar("Item")


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        # Over the whole time: work comes back in batches, and a momentary speed would jump.
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:.1f}/s" if seconds and task.completed else "-/s")


def show_progress(items: Iterable[Item], *, total: int, doing: str) -> Iterator[Item]:
    """Hand on some items, and show how far they are when stderr is a terminal.

    Args:
        items: handed on one by one.
        total: how many there are; with fewer than two nothing is shown.
        doing: the word before the bar.
    """
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
