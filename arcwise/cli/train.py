"""`arcwise train`: aligned crops become a network; what was cut off goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.options import JsonOption, StopSoon
from arcwise.cli.show import make_printable, print_json, print_note
from arcwise.errors import SettingsError


def train(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG.yaml] [KEY=VALUE...]",
            help="A recipe, and what shall be different: run=runs/mine schedule.epochs=5",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Train a network. Run again after an interruption, it goes on where it was."""
    from arcwise.train.config import load_config
    from arcwise.train.loop import train as run_training

    place, overrides = _tell_apart(words)
    config = load_config(place, overrides)
    report = print_note if as_json else typer.echo
    with StopSoon() as stop:
        result = run_training(config, report=report, should_stop=lambda: stop.is_asked)
    if not result.is_complete:
        print_note(
            f"stopped at step {result.step} of {result.n_steps}; the same command goes on from it"
        )
        raise KeyboardInterrupt
    folder = make_printable(str(result.folder))
    if as_json:
        found = {"folder": str(result.folder), "step": result.step, "best": result.best}
        print_json(found)
        return
    if result.best is not None:
        typer.echo(f"best: EER {result.best['eer']:.2%} after epoch {result.best['epoch']:g}")
    typer.echo(f"next: arcwise export {folder} --out model.onnx --license 'all rights reserved'")


def _tell_apart(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The recipe, if one is named, and the settings."""
    recipes = [word for word in words if "=" not in word or Path(word).is_file()]
    if len(recipes) > 1:
        raise SettingsError(
            f"several recipes are named: {', '.join(recipes)}",
            hint="name one file; settings are written KEY=VALUE",
        )
    return (Path(recipes[0]) if recipes else None), [word for word in words if word not in recipes]
