"""The options that several commands share, and how they become settings and a recognizer."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.show import watch
from arcwise.errors import InputError, SettingsError
from arcwise.settings import Provider, Settings

if TYPE_CHECKING:
    from arcwise.compare import Calibration
    from arcwise.image import PhotoSource
    from arcwise.recognizer import Recognizer
    from arcwise.types import Detector, Embedder, Faces


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
    typer.Option(
        "--gallery",
        "-g",
        parser=lambda text: Path(text).expanduser(),
        metavar="FILE",
        help="Gallery file (default: gallery.db in your folder).",
    ),
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


def open_people_recognizer(
    settings: Settings, path: Path | None, *, model: str | None, detector: str, flip: bool
) -> Recognizer:
    """A recognizer for a gallery: where no model is named, with the model that filled it."""
    from arcwise.store import SQLStore
    from arcwise.zoo.registry import list_models

    place = path or settings.gallery
    if model is None and place.is_file() and place.stat().st_size:
        with closing(SQLStore.open(place, create=False)) as store:
            stamp = store.stamp()
        if stamp is not None:
            own = (m for m in list_models(settings) if m.card.digest == stamp.model_digest)
            model = next((str(known.path) for known in own), None)
    return open_recognizer(settings, model=model, detector=detector, flip=flip)


class StandardInput(io.BytesIO):
    """A photo that came on standard input, with a name for messages."""

    name = "stdin"


def resolve_photos(given: Sequence[str | Path]) -> list[PhotoSource]:
    """Files, folders and standard input (-, once, comes last) as sources of photos.

    Raises:
        InputError: a path is missing, or a folder holds no photo.
        SettingsError: standard input is named twice.
    """
    from arcwise.photos import find_photos

    words = [str(word) for word in given]
    for word in words:
        if word.startswith(("http://", "https://")):
            raise InputError(f"{word} is a web address", hint="download the photo first")
    if words.count("-") > 1:
        raise SettingsError(
            "- (standard input) is named twice", hint="it holds one photo: name it once"
        )
    paths = [word for word in words if word != "-"]
    sources: list[PhotoSource] = [str(photo) for photo in find_photos(paths)] if paths else []
    if "-" in words:
        sources.append(StandardInput(sys.stdin.buffer.read()))
    return sources


def resolve_photo(word: str) -> PhotoSource:
    """One file, or standard input for -."""
    return StandardInput(sys.stdin.buffer.read()) if word == "-" else word


_POLITE = signal.SIGINT, signal.SIGTERM


class StopSoon:
    """Ctrl-C, or a polite kill, waits for a safe moment; a second one does not.

    An interrupt in the middle of a transaction loses nothing, but libraries complain loudly.
    """

    def __init__(self) -> None:
        self.is_asked = False

    def __enter__(self) -> StopSoon:
        self._former = {name: signal.signal(name, self._ask) for name in _POLITE}
        return self

    def __exit__(self, *_: object) -> None:
        for name, former in self._former.items():
            signal.signal(name, former)

    def _ask(self, *_: object) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True

    def stop_if_asked(self) -> None:
        """Raise KeyboardInterrupt when Ctrl-C was pressed before."""
        if self.is_asked:
            raise KeyboardInterrupt


class Watched:
    """A recognizer that shows its progress: what a gallery needs of it, photo by photo.

    Args:
        recognizer: does the work.
        total: how many photos there are.
        doing: the word before the bar.
        stop: asked before each photo whether to go on.
    """

    def __init__(self, recognizer: Recognizer, *, total: int, doing: str, stop: StopSoon) -> None:
        self._recognizer = recognizer
        self._stop = stop
        self._total = total
        self._doing = doing

    @property
    def detector(self) -> Detector:
        return self._recognizer.detector

    @property
    def embedder(self) -> Embedder:
        return self._recognizer.embedder

    @property
    def published_threshold(self) -> tuple[float, float | None] | None:
        return self._recognizer.published_threshold

    @property
    def calibration(self) -> Calibration | None:
        return self._recognizer.calibration

    @property
    def caveat(self) -> str:
        return self._recognizer.caveat

    def analyze_many(self, photos: Iterable[PhotoSource], /) -> Iterator[Faces]:
        found = self._recognizer.analyze_many(photos)
        for faces in watch(found, total=self._total, doing=self._doing):
            self._stop.stop_if_asked()
            yield faces
