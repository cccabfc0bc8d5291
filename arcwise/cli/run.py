"""Runs a command and turns every way it can end into one line and an exit code."""

from __future__ import annotations

import os
import sys

import click
import typer

from arcwise.cli.app import app
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
        result = app(arguments, prog_name="arcwise", standalone_mode=False)
    except ArcwiseError as exc:
        if "--debug" in arguments:
            raise
        _print_error(str(exc), exc.hint)
        return exit_code_of(exc)
    except click.exceptions.Abort:
        _print_error("interrupted", "")
        return INTERRUPTED
    except KeyboardInterrupt:
        _print_error("interrupted", "")
        return INTERRUPTED
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except BrokenPipeError:
        # The reader (such as `head`) has gone; Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _print_error(message: str, hint: str) -> None:
    typer.echo(f"arcwise: {message}", err=True)
    if hint:
        typer.echo(f"  try: {hint}", err=True)
