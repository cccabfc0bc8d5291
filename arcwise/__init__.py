"""arcwise: the complete ArcFace system.

Importing it costs almost nothing: every public name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "ArcwiseError": "arcwise.errors",
    "Settings": "arcwise.settings",
}

__all__ = sorted([*_HOMES, "__version__"])

if TYPE_CHECKING:
    from arcwise.errors import ArcwiseError as ArcwiseError
    from arcwise.settings import Settings as Settings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'arcwise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
