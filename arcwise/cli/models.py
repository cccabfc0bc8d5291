"""`arcwise models`: which models are there, and your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from arcwise.cli.options import JsonOption, build_settings
from arcwise.cli.show import make_printable, print_json, print_note, print_table
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from arcwise.zoo.card import InputContract, License, PublishedThreshold
    from arcwise.zoo.registry import Model

Part = TypeVar("Part", bound="BaseModel")

models_app = typer.Typer()

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
    from arcwise.zoo.registry import survey_models

    settings = build_settings()
    shelf = survey_models(settings)
    models = shelf.models
    for fault in shelf.faults:
        print_note(f"note: {make_printable(str(fault.error))}")
    if as_json:
        print_json([_to_plain(model) for model in models])
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
    if not models and not shelf.faults:
        print_note(f"no embedding model yet; your own go to {settings.models_dir}")


@models_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE.onnx")],
    as_json: JsonOption = False,  # noqa: ARG001 - a card is JSON with or without it
) -> None:
    """Print the card of a model and check its file."""
    from arcwise.zoo.registry import find_model

    model = find_model(name, build_settings())
    model.verify()
    print_json(_to_plain(model))


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
    as_json: JsonOption = False,
) -> None:
    """Add your own ArcFace model. Its graph and you say what it is, and a card is written.

    A model that has a card beside it (made by `arcwise convert`) needs no further words; those
    that are given replace the card's. With --license, they replace the whole card.
    """
    from arcwise.zoo.card import card_path_of
    from arcwise.zoo.registry import Claims, add_model

    card_file = card_path_of(file)
    if license_name is None and commercial is not None:
        raise SettingsError(
            "--commercial and --no-commercial belong to a license", hint="say --license WORDS too"
        )
    if license_name is None and not card_file.is_file():
        raise SettingsError(
            f"{file} has no card, and no license was named",
            hint="say --license WORDS: an SPDX identifier or the publisher's words",
        )
    claims = Claims(
        license=None if license_name is None else parse_license(license_name, commercial),
        contract=parse_input(input_text),
        name=name,
        source=source,
        threshold=_parse_threshold(threshold, source),
    )
    is_replaced = card_file.is_file() and claims != Claims()
    model = add_model(file, build_settings(), claims)
    if is_replaced:
        words = "its words" if license_name is None else "all its words"
        place = make_printable(str(card_file))
        print_note(f"note: {place} lies beside the file; your words are used instead of {words}")
    if as_json:
        print_json(_to_plain(model))
        return
    eats = model.card.input
    typer.echo(
        f"added {model.card.name}: {eats.size_px} px {eats.color}, (x - {eats.mean:g}) / "
        f"{eats.std:g}, {model.card.dimension} dimensions"
    )
    typer.echo(make_printable(str(model.path)))


@models_app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonOption = False
) -> None:
    """Delete one of your own models and its card, or a card that leads to no model."""
    from arcwise.zoo.registry import CardFault, remove_model

    removed = remove_model(name, build_settings())
    if isinstance(removed, CardFault):
        plain = {"name": removed.name, "card": str(removed.path)}
        text = f"removed the card {removed.path.name}, and no model"
    else:
        plain, text = _to_plain(removed), f"removed {removed.card.name}"
    if as_json:
        print_json(plain)
        return
    typer.echo(make_printable(text))


def _to_plain(model: Model) -> dict[str, Any]:
    place = {"path": str(model.path), "origin": model.origin, "digest": model.card.digest}
    return model.card.model_dump() | place


def parse_input(text: str | None) -> InputContract | None:
    """An input contract from COLOR,MEAN,STD.

    Raises:
        SettingsError: the text has another form.
    """
    from arcwise.zoo.card import InputContract

    if text is None:
        return None
    hint = "use COLOR,MEAN,STD, such as rgb,127.5,127.5"
    parts = [part.strip() for part in text.lower().split(",")]
    if len(parts) != 3:
        raise SettingsError(f"--input is {text!r}", hint=hint)
    fields = dict(zip(("color", "mean", "std"), parts, strict=True))
    return _parse(InputContract, fields, option="--input", given=text, hint=hint)


def parse_license(words: str, commercial: bool | None) -> License:
    """A license from the words of the command line.

    Raises:
        SettingsError: there are no words.
    """
    from arcwise.zoo.card import License

    fields = {"name": words.strip(), "commercial_use": commercial}
    hint = "use an SPDX identifier or the publisher's words"
    return _parse(License, fields, option="--license", given=words, hint=hint)


def _parse_threshold(similarity: float | None, source: str) -> PublishedThreshold | None:
    from arcwise.zoo.card import PublishedThreshold

    if similarity is None:
        return None
    fields = {"similarity": similarity, "source": source or "given by its owner"}
    hint = "use a cosine similarity from -1 to 1"
    return _parse(PublishedThreshold, fields, option="--threshold", given=similarity, hint=hint)


def _parse(
    part: type[Part], fields: dict[str, Any], *, option: str, given: object, hint: str
) -> Part:
    """A part of a card from the words of an option."""
    from pydantic import ValidationError

    try:
        return part.model_validate(fields)
    except ValidationError as exc:
        raise SettingsError(f"{option} is {given!r}", hint=hint) from exc
