"""`arcwise compare-losses` and `arcwise scaling`: one recipe, several runs, one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import JsonOption, StopSoon
from arcwise.cli.show import make_printable, print_json, print_note, print_table
from arcwise.cli.train import WordsArgument, read_config

if TYPE_CHECKING:
    from arcwise.train.compare import Comparison

RoundsOption = Annotated[
    int, typer.Option("--rounds", min=1, help="Runs of each, with seeds of their own.")
]


def compare_losses(
    words: WordsArgument = None,
    losses: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            metavar="NAME[:MARGIN]",
            help="A loss to compare, again for each; triplet is one of them. Default: arcface, "
            "cosface, sphereface and triplet.",
            show_default=False,
        ),
    ] = None,
    rounds: RoundsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train with several losses, all else being equal, and compare what comes out."""
    from arcwise.train.compare import compare_losses as compare

    config = read_config(words)
    wanted = losses or ["arcface", "cosface", "sphereface", "triplet"]
    report = print_note if as_json else typer.echo
    with StopSoon() as stop:
        found = compare(config, wanted, n_rounds=rounds, report=report, should_stop=_asks(stop))
    _print_comparison(found, as_json)


def scaling(
    words: WordsArgument = None,
    people: Annotated[
        list[int] | None,
        typer.Option(
            "--people",
            metavar="N",
            min=2,
            help="How many to learn, again for each.",
            show_default=False,
        ),
    ] = None,
    rounds: RoundsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train with growing numbers of people, and see what more of them would bring."""
    from arcwise.errors import SettingsError
    from arcwise.train.compare import compare_scales

    if not people:
        raise SettingsError(
            "no number of people is given", hint="such as --people 100 --people 300 --people 1000"
        )
    config = read_config(words)
    report = print_note if as_json else typer.echo
    with StopSoon() as stop:
        found = compare_scales(
            config, people, n_rounds=rounds, report=report, should_stop=_asks(stop)
        )
    _print_comparison(found, as_json)


def _asks(stop: StopSoon) -> Callable[[], bool]:
    return lambda: stop.is_asked


def _print_comparison(found: Comparison, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        print_table(found.head, found.rows())
        print_note(f"in {make_printable(str(found.folder))}: comparison.md, .json and .png")
    if not found.is_complete:
        print_note("stopped; the same command goes on from where it was")
        raise KeyboardInterrupt
