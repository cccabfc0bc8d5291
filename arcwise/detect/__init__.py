"""Face detectors: a table from name to builder.

To add one: a module with a class that satisfies `arcwise.types.Detector`, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from arcwise.detect.mtcnn import MTCNN
from arcwise.errors import UnknownModelError
from arcwise.settings import Settings
from arcwise.types import Detector


def _build_mtcnn(settings: Settings) -> Detector:
    return MTCNN(
        min_face_px=settings.min_face_px,
        provider=settings.provider,
        strict=settings.strict,
        threads=settings.threads,
    )


DETECTORS: dict[str, Callable[[Settings], Detector]] = {"mtcnn": _build_mtcnn}


def check_detector(name: str) -> None:
    """Make sure that a detector of that name is there, without loading it.

    Raises:
        UnknownModelError: there is none of that name.
    """
    if name not in DETECTORS:
        close = get_close_matches(name, DETECTORS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(DETECTORS)}"
        raise UnknownModelError(f"no detector is called {name!r}", hint=hint)


def build_detector(name: str, settings: Settings) -> Detector:
    """The detector of a name, loaded.

    Raises:
        UnknownModelError: there is none of that name.
        ModelError: its weights cannot be used.
    """
    check_detector(name)
    return DETECTORS[name](settings)
