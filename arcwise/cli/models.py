"""`arcwise models`: which models are there, and your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import JsonOption, build_settings
from arcwise.cli.show import print_json, print_note, print_table
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.zoo.card import InputContract
    from arcwise.zoo.registry import Model

models_app = typer.Typer(help="List models, add or remove your own.", no_args_is_help=True)

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="COLOR,MEAN,STD",
        help="What the model eats, such as rgb,127.5,127.5; pixels are 0..255.",
    ),
]
LicenseOption = Annotated[
    str, typer.Option("--license", help="SPDX identifier or the publisher's words.")
]
CommercialOption = Annotated[
    bool | None,
    typer.Option(
        "--commercial/--no-commercial",
        help="Whether the license allows commercial use; leave it out when nobody says.",
        show_default=False,
    ),
]


@models_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the models that are there, with license and grade."""
    from arcwise.zoo.registry import list_models

    settings = build_settings()
    models = list_models(settings)
    if as_json:
        print_json(
            [
                model.card.model_dump()
                | {"path": str(model.path), "origin": model.origin, "digest": model.card.digest}
                for model in models
            ]
        )
        return
    rows = [
        [
            model.card.name,
            model.card.task,
            model.origin,
            str(model.card.dimension),
            model.card.grade,
            model.card.license.name,
            {True: "yes", False: "no", None: "unknown"}[model.card.license.commercial_use],
        ]
        for model in models
    ]
    columns = ["model", "task", "from", "dimension", "grade", "license", "commercial use"]
    print_table(columns, rows)
    if not models:
        print_note(f"no embedding model yet; your own go to {settings.models_dir}")


@models_app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE.onnx")]) -> None:
    """Print the card of a model and check its file."""
    from arcwise.zoo.registry import find_model

    model = find_model(name, build_settings())
    model.verify()
    print_json(model.card.model_dump() | {"path": str(model.path), "digest": model.card.digest})


@models_app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx")],
    license_name: Annotated[
        str | None,
        typer.Option("--license", help="SPDX identifier or the publisher's words."),
    ] = None,
    input_text: InputOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The name to ask for.")] = None,
    commercial: CommercialOption = None,
    source: Annotated[str, typer.Option("--source", help="Where it comes from.")] = "",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="The publisher's threshold, cosine.")
    ] = None,
) -> None:
    """Add your own ArcFace model. Its graph and you say what it is, and a card is written.

    A model that has a card beside it (made by `arcwise convert`) needs no further words.
    """
    from arcwise.zoo.card import License, PublishedThreshold, card_path_of
    from arcwise.zoo.registry import Claims, add_model

    if license_name is None and card_path_of(file).is_file():
        _report_added(add_model(file, build_settings()))
        return
    if license_name is None:
        raise SettingsError(
            f"{file} has no card, and no license was named",
            hint="say --license WORDS: an SPDX identifier or the publisher's words",
        )
    claims = Claims(
        license=License(name=license_name, commercial_use=commercial),
        contract=parse_input(input_text),
        name=name,
        source=source,
        threshold=(
            None
            if threshold is None
            else PublishedThreshold(similarity=threshold, source=source or "given by its owner")
        ),
    )
    _report_added(add_model(file, build_settings(), claims))


def _report_added(model: Model) -> None:
    eats = model.card.input
    print_note(
        f"added {model.card.name}: {eats.size_px} px {eats.color}, (x - {eats.mean:g}) / "
        f"{eats.std:g}, {model.card.dimension} dimensions\n{model.path}"
    )


@models_app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Delete one of your own models and its card."""
    from arcwise.zoo.registry import remove_model

    model = remove_model(name, build_settings())
    print_note(f"removed {model.card.name}")


def parse_input(text: str | None) -> InputContract | None:
    """An input contract from COLOR,MEAN,STD.

    Raises:
        SettingsError: the text has another form.
    """
    from pydantic import ValidationError

    from arcwise.zoo.card import InputContract

    if text is None:
        return None
    parts = text.lower().split(",")
    try:
        color, mean, std = parts
        return InputContract.model_validate(
            {"color": color, "mean": float(mean), "std": float(std)}
        )
    except (ValueError, ValidationError) as exc:
        raise SettingsError(
            f"--input is {text!r}", hint="use COLOR,MEAN,STD, such as rgb,127.5,127.5"
        ) from exc
