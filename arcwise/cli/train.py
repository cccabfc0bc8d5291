"""`arcwise train`: aligned crops become a network; what was cut off goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import JsonOption, StopSoon
from arcwise.cli.show import (
    check_output,
    count,
    make_printable,
    print_json,
    print_note,
    print_table,
)
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.train.config import TrainConfig

_DEFAULT = "config.yaml"
_STEPS_PER_EPOCH = 1000  # of a preview without data
_POINTS = 1000  # of a preview

WordsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG.yaml] [KEY=VALUE...]",
        help="A recipe, and what shall be different: run=runs/mine schedule.epochs=5. Without any "
        "word, config.yaml in this folder.",
        show_default=False,
    ),
]


def train(
    words: WordsArgument = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print parameters and memory per rank.")
    ] = False,
    identities: Annotated[
        int | None,
        typer.Option("--identities", help="For --plan: people to learn; else the data is read."),
    ] = None,
    ranks: Annotated[int, typer.Option("--ranks", help="For --plan: processes.")] = 1,
    memory: Annotated[
        float | None, typer.Option("--memory", metavar="GIB", help="For --plan: of each rank.")
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--schedule-preview", metavar="PNG", help="Only draw the learning rate."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network. Run again after an interruption, it goes on where it was."""
    from arcwise.train.loop import train as run_training

    config = read_config(words)
    if plan:
        _print_plan(config, identities, ranks, memory, as_json)
        return
    if preview is not None:
        _preview(config, preview, as_json)
        return
    report = print_note if as_json else typer.echo
    with StopSoon() as stop:
        result = run_training(config, report=report, should_stop=lambda: stop.is_asked)
    if not result.is_complete:
        print_note(
            f"stopped at step {result.step} of {result.n_steps}; the same command goes on from it"
        )
        raise KeyboardInterrupt
    if not result.is_first:
        return
    folder = make_printable(str(result.folder))
    if as_json:
        found = {"folder": str(result.folder), "step": result.step, "best": result.best}
        print_json(found)
        return
    if result.best is not None:
        from arcwise.train.story import tell_score

        typer.echo(f"best: {tell_score(result.best)} after epoch {result.best['epoch']:g}")
    typer.echo(f"next: arcwise export {folder} --out model.onnx --license 'all rights reserved'")


def read_config(words: Sequence[str] | None) -> TrainConfig:
    """The configuration that the words of a command name."""
    from arcwise.compat.tutorial import is_tutorial_config, translate_tutorial
    from arcwise.train.config import load_config

    def translate(values: dict[str, object]) -> dict[str, object]:
        if not is_tutorial_config(values):
            return values
        translated, notes = translate_tutorial(values)
        for note in notes:
            print_note(f"arcwise: {note}")
        return translated

    place, overrides = _tell_apart(words or [])
    if not words and Path(_DEFAULT).is_file():
        place = Path(_DEFAULT)
    return load_config(place, overrides, translate=translate)


def _tell_apart(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The recipe, if one is named, and the settings."""
    recipes = [word for word in words if "=" not in word or Path(word).is_file()]
    if len(recipes) > 1:
        raise SettingsError(
            f"several recipes are named: {', '.join(recipes)}",
            hint="name one file; settings are written KEY=VALUE",
        )
    return (Path(recipes[0]) if recipes else None), [word for word in words if word not in recipes]


def _print_plan(
    config: TrainConfig, identities: int | None, ranks: int, memory: float | None, as_json: bool
) -> None:
    from arcwise.train.material import open_material
    from arcwise.train.plan import GIB, make_plan

    if identities is None:
        identities = open_material(config).n_people
    n_bytes = None if memory is None else int(memory * GIB)
    plan = make_plan(config, n_identities=identities, n_ranks=ranks, memory_bytes=n_bytes)
    if as_json:
        print_json(plan.to_dict())
        return
    print_table(["part", "what", "memory", "how"], plan.rows())
    typer.echo(
        f"{plan.network}: {plan.n_network_weights:,} parameters, head of {plan.n_identities:,} "
        f"people: {plan.n_head_weights:,}, on {count(plan.n_ranks, 'rank')}"
    )
    if plan.memory_bytes is not None and plan.most_identities is not None:
        verdict = "fits" if plan.fits else "does not fit"
        typer.echo(f"it {verdict}; up to {plan.most_identities:,} people would")


def _preview(config: TrainConfig, place: Path, as_json: bool) -> None:
    from arcwise.errors import InputError
    from arcwise.train.curves import draw_schedule
    from arcwise.train.material import open_material
    from arcwise.train.timing import Timing

    check_output(place, [], [".png"])
    try:
        per_epoch = open_material(config).sampler.steps_per_epoch
    except InputError as exc:
        per_epoch = _STEPS_PER_EPOCH
        print_note(f"arcwise: an epoch is taken for {per_epoch} steps, as {exc}")
    rows = Timing(config, per_epoch).sketch(_POINTS)
    draw_schedule(rows, place)
    shown = [rows[round(i * (len(rows) - 1) / 20)] for i in range(21)]
    if as_json:
        print_json({"picture": str(place), "schedule": shown})
        return
    table = [
        [f"{row['epoch']:.2f}", f"{row['learning_rate']:.3g}", f"{row['margin_strength']:.0%}"]
        for row in shown
    ]
    print_table(["epoch", "learning rate", "margin"], table)
    print_note(f"drawn: {make_printable(str(place))}")
