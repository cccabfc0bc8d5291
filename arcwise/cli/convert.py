"""`arcwise convert`: a foreign model becomes an ONNX file with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.models import (
    CommercialOption,
    InputOption,
    LicenseOption,
    parse_input,
    parse_license,
)
from arcwise.cli.options import JsonOption
from arcwise.cli.show import make_printable, print_json


def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder, prefix or file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file, or a folder for it.")],
    license_name: LicenseOption,
    dialect: Annotated[
        str | None, typer.Option("--from", help="mxnet; found out when left out.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The name to ask for.")] = None,
    input_text: InputOption = None,
    commercial: CommercialOption = None,
    origin: Annotated[str, typer.Option("--source", help="Where the files come from.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Convert a published model: MXNet symbol and params so far."""
    from arcwise.convert import convert_model

    card = convert_model(
        source,
        out,
        license=parse_license(license_name, commercial),
        input=parse_input(input_text),
        dialect=dialect,
        name=name,
        source_note=origin,
    )
    place = out if out.suffix == ".onnx" else out / card.file
    if as_json:
        print_json(card.model_dump() | {"path": str(place), "digest": card.digest})
        return
    written = make_printable(str(place))
    typer.echo(
        f"wrote {written} and its card: {card.dimension} dimensions, {card.input.size_px} px"
    )
