"""`arcwise compare`: the same person or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.matrix import show_matrix
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
from arcwise.cli.show import count, print_json
from arcwise.errors import SettingsError


def compare(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO_A PHOTO_B",
            help="Two photos, one may be - (stdin); with --matrix any number, or folders.",
        ),
    ],
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Compare all faces of all photos with each other.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Draw the matrix (.svg, .png, .html, .md or .json)."),
    ] = None,
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
    if not matrix:
        _check_two(photos, out)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    if matrix:
        show_matrix(recognizer, photos, out=out, as_json=as_json)
        return
    sources = [resolve_photo(word) for word in photos]
    answer = recognizer.compare(*sources, select=select)
    if as_json:
        print_json(asdict(answer) | {"model": recognizer.embedder.name})
    else:
        typer.echo(f"{'same person' if answer.is_match else 'different people'}: {answer.why}")
    if not answer.is_match:
        raise typer.Exit(1)


def _check_two(photos: Sequence[str], out: Path | None) -> None:
    """Two photos and no drawing: what can be answered without --matrix.

    Raises:
        SettingsError: another number of photos, standard input twice, or a place for a matrix.
    """
    if len(photos) != 2:
        raise SettingsError(
            f"{count(len(photos), 'photo')} given, not two", hint="--matrix takes any number"
        )
    if list(photos) == ["-", "-"]:
        raise SettingsError("both photos are standard input", hint="name a file for one of them")
    if out is not None:
        raise SettingsError(f"--out {out} is for a matrix", hint="add --matrix")
