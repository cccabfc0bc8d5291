"""Runs a command and turns every way it can end into one line and an exit code."""

from __future__ import annotations

import typer

from arcwise.cli.app import build_command
from arcwise.cli.show import make_printable
from arcwise.errors import (
    ArcwiseError,
    GalleryError,
    InputError,
    LearningError,
    ModelError,
    SettingsError,
)

EXIT_CODES: tuple[tuple[type[ArcwiseError], int], ...] = (
    (SettingsError, 2),
    (InputError, 3),
    (ModelError, 4),
    (GalleryError, 5),
    (LearningError, 6),
)
"""One row for each family of errors; 1 is kept for "no", 2 for wrong usage."""
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def exit_code_of(error: ArcwiseError) -> int:
    """The exit code of an error."""
    return next((code for family, code in EXIT_CODES if isinstance(error, family)), 3)


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code.
    """
    try:
        build_command()(arguments, prog_name="arcwise")
    except SystemExit as exc:  # the framework's own way to end: usage errors, Ctrl-C, --help
        code = exc.code if isinstance(exc.code, int) else 0
        if code == INTERRUPTED:
            _print_error("interrupted", "")
        return code
    except ArcwiseError as exc:
        if "--debug" in arguments:
            raise
        _print_error(str(exc), exc.hint)
        return exit_code_of(exc)
    except OSError as exc:  # such as a full disk under the output
        if "--debug" in arguments:
            raise
        _print_error(f"{exc.strerror or exc}: {exc.filename or 'output'}", "")
        return 3
    return 0


def _print_error(message: str, hint: str) -> None:
    typer.echo(f"arcwise: {make_printable(message)}", err=True)
    if hint:
        typer.echo(f"  try: {hint}", err=True)
