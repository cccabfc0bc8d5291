"""`arcwise backbones`: the networks that can be trained, and what each costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.show import count, print_json, print_note, print_table, watch
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.nn import Backbone


def backbones(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Those only; all by default.")
    ] = None,
    size_px: Annotated[
        int | None,
        typer.Option(
            "--size", metavar="PX", help="Side of the crop, where a network has a choice."
        ),
    ] = None,
    with_time: Annotated[
        bool, typer.Option("--time", help="Also build each and measure it here.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the networks for training: weights, multiplications, time, input."""
    from arcwise.nn import BACKBONES
    from arcwise.nn.count import count_backbone, time_backbone

    chosen = _choose(names or [], size_px)
    found: list[dict[str, Any]] = []
    for name in watch(chosen, total=len(chosen), doing="counting"):
        cost = count_backbone(name, size_px=size_px)
        spent_ms = time_backbone(name, size_px=size_px) if with_time else None
        row = BACKBONES[name]
        found.append(
            {
                "name": name,
                "weights": cost.n_weights,
                "multiply_adds": cost.n_multiply_adds,
                "milliseconds": spent_ms,
                "dimension": row.dimension,
                "size_px": size_px or row.size_px,
                "least_px": row.least_px,
                "color": row.color,
                "options": dict(row.options),
                "about": row.about,
            }
        )
    if as_json:
        print_json(found)
        return
    _print(found, with_time=with_time)
    if not names and len(chosen) < len(BACKBONES):
        others = count(len(BACKBONES) - len(chosen), "network")
        print_note(f"{others} left out that do not take crops of {size_px} px")


def _choose(names: list[str], size_px: int | None) -> list[str]:
    """The named ones, which must take that size, or else all that do."""
    from arcwise.nn import BACKBONES, find_backbone

    if names:
        chosen = list(dict.fromkeys(find_backbone(name) for name in names))
        for name in chosen:
            BACKBONES[name].crop_shape(size_px)
        return chosen
    rows: dict[str, Backbone] = BACKBONES
    chosen = [name for name, row in rows.items() if size_px is None or row.takes(size_px)]
    if not chosen:
        least = min(row.least_px for row in rows.values() if row.least_px is not None)
        raise SettingsError(
            f"no network takes crops of {size_px} px", hint=f"--size is {least} or more"
        )
    return chosen


def _print(found: list[dict[str, Any]], *, with_time: bool) -> None:
    columns = ["network", "weights", "multiply-adds", "dimension", "input", "about"]
    rows = [
        [
            row["name"],
            f"{row['weights'] / 1e6:.2f} M",
            f"{row['multiply_adds'] / 1e9:.2f} G",
            "any" if row["dimension"] is None else str(row["dimension"]),
            f"{row['size_px']} px {row['color']}",
            row["about"],
        ]
        for row in found
    ]
    if with_time:
        columns.insert(3, "ms")
        for cells, row in zip(rows, found, strict=True):
            cells.insert(3, f"{row['milliseconds']:.1f}")
    print_table(columns, rows)
    if with_time:
        print_note("time of one crop alone, in float32, by torch: median of some rounds")
