"""arcwise: the complete ArcFace system.

Importing it costs almost nothing: every public name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from arcwise.align import align_face as align_face
    from arcwise.align import align_faces as align_faces
    from arcwise.compare import Calibration as Calibration
    from arcwise.compare import cosine_similarity as cosine_similarity
    from arcwise.draw import draw_faces as draw_faces
    from arcwise.encode import write_image as write_image
    from arcwise.errors import ArcwiseError as ArcwiseError
    from arcwise.gallery import Gallery as Gallery
    from arcwise.image import read_image as read_image
    from arcwise.recognizer import Recognizer as Recognizer
    from arcwise.settings import Settings as Settings
    from arcwise.types import Comparison as Comparison
    from arcwise.types import Embeddings as Embeddings
    from arcwise.types import Enrollment as Enrollment
    from arcwise.types import Face as Face
    from arcwise.types import Match as Match
    from arcwise.types import Person as Person

_HOMES = {
    "ArcwiseError": "arcwise.errors",
    "Calibration": "arcwise.compare",
    "Comparison": "arcwise.types",
    "Embeddings": "arcwise.types",
    "Enrollment": "arcwise.types",
    "Face": "arcwise.types",
    "Gallery": "arcwise.gallery",
    "Match": "arcwise.types",
    "Person": "arcwise.types",
    "Recognizer": "arcwise.recognizer",
    "Settings": "arcwise.settings",
    "align_face": "arcwise.align",
    "align_faces": "arcwise.align",
    "cosine_similarity": "arcwise.compare",
    "draw_faces": "arcwise.draw",
    "read_image": "arcwise.image",
    "write_image": "arcwise.encode",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'arcwise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
