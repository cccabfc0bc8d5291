"""The options that several commands share, and how they become settings and a recognizer."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.settings import Provider, Settings

if TYPE_CHECKING:
    from arcwise.gallery import Gallery
    from arcwise.image import PhotoSource
    from arcwise.recognizer import Recognizer


SelectName = Literal["largest", "center", "only"]
"""The same words as `arcwise.types.Select`, which would load numpy for every --help."""

PhotosArgument = Annotated[
    list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders of photos, or - (stdin).")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Embedding model: a name or the path of an .onnx file."),
]
DetectorOption = Annotated[str, typer.Option("--detector", help="Face detector.")]
MinFaceOption = Annotated[
    int | None, typer.Option("--min-face", metavar="PX", help="Smallest face looked for.")
]
ProviderOption = Annotated[
    Provider | None, typer.Option("--provider", help="Where models run.", show_default=False)
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Fail when the provider asked for does not really run.")
]
FlipOption = Annotated[
    bool, typer.Option("--flip", help="Embed the mirror image too: slower, a little better.")
]
SelectOption = Annotated[
    SelectName, typer.Option("--select", help="Which face of several is meant.")
]
GalleryOption = Annotated[
    Path | None,
    typer.Option("--gallery", "-g", help="Gallery file (default: gallery.db in your folder)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def build_settings(
    *,
    provider: Provider | None = None,
    strict: bool = False,
    min_face_px: int | None = None,
) -> Settings:
    """The environment's settings with what the options change."""
    settings = Settings.from_environment()
    if provider is not None:
        settings = replace(settings, provider=provider)
    if strict:
        settings = replace(settings, strict=True)
    if min_face_px is not None:
        settings = replace(settings, min_face_px=min_face_px)
    return settings


def open_recognizer(
    settings: Settings, *, model: str | None = None, detector: str = "mtcnn", flip: bool = False
) -> Recognizer:
    """A recognizer for the options."""
    from arcwise.recognizer import Recognizer

    return Recognizer(model=model, detector=detector, flip=flip, settings=settings)


def open_people(
    settings: Settings,
    path: Path | None,
    *,
    model: str | None,
    detector: str,
    flip: bool,
    create: bool = True,
) -> Gallery:
    """The gallery that is named, or the user's own; where no model is named, with its own model.

    Raises:
        GalleryError: there is no such gallery and none shall be made.
    """
    from arcwise.gallery import Gallery
    from arcwise.store import SQLStore
    from arcwise.zoo.registry import list_models

    place = path or settings.gallery
    if place.exists() or not create:
        with closing(SQLStore.open(place, create=False)) as store:
            stamp = store.stamp()
        if model is None and stamp is not None:
            own = (m for m in list_models(settings) if m.card.digest == stamp.model_digest)
            model = next((str(known.path) for known in own), None)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    return Gallery(place, recognizer=recognizer)


def resolve_photos(given: list[str]) -> list[PhotoSource]:
    """Files, folders and standard input as sources of photos, in order.

    Raises:
        InputError: a path is missing, or a folder holds no photo.
    """
    from arcwise.photos import find_photos

    sources: list[PhotoSource] = []
    for path in given:
        if path == "-":
            sources.append(sys.stdin.buffer.read())
        else:
            sources += [str(photo) for photo in find_photos([path])]
    return sources
