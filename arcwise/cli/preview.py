"""`arcwise data preview`: what augmentation makes of crops, on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.show import check_output, count, make_printable, print_json, print_note
from arcwise.errors import SettingsError


def preview(
    crops: Annotated[
        Path, typer.Argument(metavar="CROPS", help="Prepared crops, a folder, a list or a .rec.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture, such as sheet.png.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG.yaml] [augment.KEY=VALUE...]",
            help="A recipe, and what shall be different: augment.erase=1",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Crops, of as many people.")] = 6,
    versions: Annotated[int, typer.Option("--versions", help="Of each crop.")] = 7,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one draws others.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Draw crops and augmented versions of them, to see how strong a recipe's changes are."""
    from arcwise.data.augment import Augmentation
    from arcwise.data.preview import draw_preview
    from arcwise.data.source import open_crops
    from arcwise.encode import PICTURE_SUFFIXES, write_image
    from arcwise.nn import BACKBONES
    from arcwise.train.config import load_config

    check_output(out, [crops], PICTURE_SUFFIXES)
    recipe, changes = _tell_apart(words or [])
    config = load_config(recipe, ["run=.", "data.folder=.", *changes])
    size_px = BACKBONES[config.network.name].crop_shape(config.network.size_px)[1]
    source = open_crops(crops, size_px=size_px)
    sheet = draw_preview(
        source,
        Augmentation(**config.augment),
        n_crops=rows,
        n_versions=versions,
        seed=seed,
        size_px=size_px,
    )
    write_image(out, sheet)
    if as_json:
        n_shown = min(rows, len(source.samples))
        print_json({"picture": str(out), "rows": n_shown, "versions": versions, "seed": seed})
        return
    shown = count(min(rows, len(source.samples)), "crop")
    print_note(f"{shown} with {count(versions, 'version')} each in {make_printable(str(out))}")


def _tell_apart(words: list[str]) -> tuple[Path | None, list[str]]:
    """The recipe, if one is named, and the strengths."""
    recipes = [word for word in words if "=" not in word or Path(word).is_file()]
    if len(recipes) > 1:
        raise SettingsError(
            f"several recipes are named: {', '.join(recipes)}",
            hint="name one file; settings are written augment.KEY=VALUE",
        )
    changes = [word for word in words if word not in recipes]
    for word in changes:
        if not word.startswith("augment."):
            raise SettingsError(
                f"{word} does not change the augmentation",
                hint="write augment.KEY=VALUE, such as augment.erase=1",
            )
    return (Path(recipes[0]) if recipes else None), changes
