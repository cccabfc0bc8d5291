"""The table of commands."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from arcwise import __version__
from arcwise.cli.align import align
from arcwise.cli.backbones import backbones
from arcwise.cli.cache import cache
from arcwise.cli.calibrate import calibrate
from arcwise.cli.compare import compare
from arcwise.cli.comparisons import compare_losses, scaling
from arcwise.cli.convert import convert
from arcwise.cli.detect import detect
from arcwise.cli.doctor import doctor
from arcwise.cli.embed import embed
from arcwise.cli.enroll import enroll
from arcwise.cli.export import export
from arcwise.cli.identify import identify
from arcwise.cli.lazy import LazyGroup
from arcwise.cli.people import forget, merge, people, rename
from arcwise.cli.prepare import prepare
from arcwise.cli.train import train

app = typer.Typer(
    name="arcwise",
    help="Face recognition with ArcFace: from photos to names, from data to models.",
    epilog="Exit codes: 0 yes/done, 1 no (nothing found, not the same person), 2 wrong usage, "
    "3 input, 4 model, 5 gallery, 6 data or conversion, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_PHOTOS, _PEOPLE, _MODELS = "Photos", "People", "Models and measurement"
_TRAINING = "Training"

for command, panel in (
    (detect, _PHOTOS),
    (align, _PHOTOS),
    (embed, _PHOTOS),
    (compare, _PHOTOS),
    (enroll, _PEOPLE),
    (identify, _PEOPLE),
    (people, _PEOPLE),
    (rename, _PEOPLE),
    (merge, _PEOPLE),
    (forget, _PEOPLE),
    (convert, _MODELS),
    (calibrate, _MODELS),
    (cache, _MODELS),
    (doctor, _MODELS),
    (prepare, _TRAINING),
    (backbones, _TRAINING),
    (train, _TRAINING),
    (export, _TRAINING),
    (compare_losses, _TRAINING),
    (scaling, _TRAINING),
):
    app.command(rich_help_panel=panel)(command)
_GROUPS = (
    ("models", "List models, add or remove your own.", _MODELS),
    ("evaluate", "Measure a model by the standard protocols.", _MODELS),
    ("data", "Look at sets of photos, choose from them, pack them.", _TRAINING),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arcwise {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Face recognition with ArcFace: from photos to names, from data to models."""


def build_command() -> TyperGroup:
    """All commands; those of a group are loaded when the group is meant."""
    command = get_command(app)
    assert isinstance(command, TyperGroup), "several commands make a group"
    for name, text, panel in _GROUPS:
        command.add_command(
            LazyGroup(name, f"arcwise.cli.{name}:{name}_app", help=text, panel=panel)
        )
    return command
