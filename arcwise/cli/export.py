"""`arcwise export`: what a run has learned becomes a model file with a card."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from arcwise.cli.models import CommercialOption, LicenseOption, parse_license
from arcwise.cli.options import JsonOption
from arcwise.cli.show import make_printable, print_json

GradeName = Literal["demo", "good", "state of the art", "unknown"]
"""The same words as `arcwise.zoo.card.Grade`, which would load pydantic for every --help."""


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a checkpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file, or a folder for it.")],
    license_name: LicenseOption,
    commercial: CommercialOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The name to ask for.")] = None,
    grade: Annotated[
        GradeName, typer.Option("--grade", help="How far to trust it (docs/models.md).")
    ] = "demo",
    half: Annotated[
        bool, typer.Option("--half", help="Keep weights as float16: half the size, as fast.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Also the weights, to train from."),
    ] = None,
    checkpoint: Annotated[
        Literal["whitened", "best", "last"] | None,
        typer.Option(
            "--checkpoint", help="Of the run; the first of these by default.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of these names.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a trained network as an ONNX model with a card, once both answer alike."""
    from arcwise.export import ExportOptions, export_model

    options = ExportOptions(
        license=parse_license(license_name, commercial),
        name=name,
        grade=grade,
        half=half,
        weights=weights,
        checkpoint=checkpoint,
        overwrite=overwrite,
    )
    card = export_model(run, out, options=options)
    place = out if out.suffix == ".onnx" else out / card.file
    size_bytes = place.stat().st_size
    if as_json:
        plain = {"path": str(place), "digest": card.digest, "size_bytes": size_bytes}
        print_json(card.model_dump() | plain | {"weights": None if not weights else str(weights)})
        return
    written = make_printable(str(place))
    typer.echo(
        f"wrote {written} and its card: {card.dimension} dimensions, {size_bytes / 1e6:.1f} MB"
    )
    if weights is not None:
        kept = make_printable(str(weights))
        typer.echo(f"wrote {kept}: float16, {weights.stat().st_size / 1e6:.1f} MB")
    typer.echo(
        "it answers as the network does: largest difference "
        f"{card.metrics['export_difference']:.1e} of the norm"
    )
    typer.echo(f"next: arcwise identify PHOTO --model {make_printable(shlex.quote(str(place)))}")
