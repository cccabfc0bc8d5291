"""Groups of commands that are loaded when one of them is meant: `arcwise --help` needs none."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command


class LazyGroup(TyperGroup):
    """A group whose commands are those of a Typer application somewhere else.

    Args:
        name: as people type it.
        place: MODULE:NAME of the application.
        help: what the group is for.
        panel: where the list of all commands shows it.
    """

    def __init__(self, name: str, place: str, *, help: str, panel: str) -> None:  # noqa: A002
        self._place = place
        self._loaded: Any = None
        super().__init__(name=name, help=help, no_args_is_help=True, rich_help_panel=panel)
        self.rich_markup_mode = "rich"

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """Name -> command; loaded now at the latest."""
        if self._loaded is None:
            module, _, name = self._place.partition(":")
            self._loaded = get_command(getattr(import_module(module), name))
        loaded: MutableMapping[str, Any] = self._loaded.commands
        return loaded

    @commands.setter
    def commands(self, value: MutableMapping[str, Any]) -> None:
        """The framework sets an empty table first; the real one comes from the application."""
