"""`arcwise compare`: the same person or not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from arcwise.cli.options import (
    DetectorOption,
    FlipOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    ProviderOption,
    SelectOption,
    StrictOption,
    build_settings,
    open_recognizer,
    resolve_photo,
)
from arcwise.cli.show import print_json
from arcwise.errors import SettingsError


def compare(
    a: Annotated[str, typer.Argument(metavar="PHOTO_A", help="A photo, or - (stdin).")],
    b: Annotated[str, typer.Argument(metavar="PHOTO_B", help="A photo, or - (stdin).")],
    select: SelectOption = "largest",
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    flip: FlipOption = False,
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether two photos show the same person. Exit code 0: the same, 1: not."""
    if a == b == "-":
        raise SettingsError("both photos are standard input", hint="name a file for one of them")
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    sources = [resolve_photo(word) for word in (a, b)]
    answer = recognizer.compare(*sources, select=select)
    if as_json:
        print_json(asdict(answer) | {"model": recognizer.embedder.name})
    else:
        typer.echo(f"{'same person' if answer.is_match else 'different people'}: {answer.why}")
    if not answer.is_match:
        raise typer.Exit(1)
