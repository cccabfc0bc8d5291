"""`arcwise convert`: a foreign model becomes an ONNX file with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.models import CommercialOption, InputOption, LicenseOption, parse_input
from arcwise.cli.show import print_note


def convert(
    source: Annotated[Path, typer.Argument(help="Folder, prefix or file of the foreign model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file, or a folder for it.")],
    license_name: LicenseOption,
    dialect: Annotated[
        str | None, typer.Option("--from", help="mxnet; found out when left out.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The name to ask for.")] = None,
    input_text: InputOption = None,
    commercial: CommercialOption = None,
    origin: Annotated[str, typer.Option("--source", help="Where the files come from.")] = "",
) -> None:
    """Convert a published model: MXNet symbol and params so far."""
    from arcwise.convert import convert_model
    from arcwise.zoo.card import License

    card = convert_model(
        source,
        out,
        license=License(name=license_name, commercial_use=commercial),
        input=parse_input(input_text),
        dialect=dialect,
        name=name,
        source_note=origin,
    )
    place = out if out.suffix == ".onnx" else out / card.file
    print_note(f"wrote {place} and its card: {card.dimension} dimensions, {card.input.size_px} px")
