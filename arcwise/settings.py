"""The environment, read once into one frozen value, and where files live.

The only reader of `os.environ`. It does not open, make or check any file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, cast, get_args

from platformdirs import user_data_path

from arcwise.errors import SettingsError

Provider = Literal["auto", "cpu", "cuda", "coreml"]

_log = logging.getLogger(__name__)

PREFIX = "ARCWISE_"

DESCRIPTIONS: dict[str, str] = {
    "HOME": "folder for models, calibrations, cache, default gallery (a folder of the user's)",
    "MODEL": "name or path of the embedding model to use",
    "GALLERY": "path of the gallery file (default: gallery.db in HOME)",
    "PROVIDER": "where models run: auto, cpu, cuda or coreml (default: auto)",
    "STRICT": "1: fail when the provider asked for does not really run (default: 0)",
    "THREADS": "threads of each model session; 0 lets the runtime choose (default: 0)",
    "MAX_MEGAPIXELS": "largest photo that is decoded, in million pixels (default: 64)",
    "MIN_FACE_PX": "smallest face that is looked for, px; smaller is slower (default: 40)",
    "BATCH_SIZE": "photos that are read and processed together (default: 16)",
}
"""Every setting, without its prefix: what it does. docs/settings.md lists the same."""

TEST_SETTINGS = frozenset({"TEST_DATA"})
"""Variables with our prefix that are not settings: the tests read them."""

LIMITS: dict[str, tuple[type[Any], float, float]] = {
    "threads": (Integral, 0, 1024),
    "max_megapixels": (Real, 1e-6, 10_000),
    "min_face_px": (Integral, 12, 10_000),  # 12 px: the input of the first network
    "batch_size": (Integral, 1, 4096),
}
"""Kind, least and most of each number. The upper limits only stop slips of the keyboard."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the environment may decide. Attributes: see DESCRIPTIONS.

    Raises:
        SettingsError: a value cannot be used, wherever it came from.
    """

    home: Path
    gallery: Path
    model: str | None = None
    provider: Provider = "auto"
    strict: bool = False
    threads: int = 0
    max_megapixels: float = 64.0
    min_face_px: int = 40
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("home", "gallery"):
            if not isinstance(getattr(self, name), Path):
                raise _refuse(name, getattr(self, name), hint="use a pathlib.Path")
        if self.provider not in get_args(Provider):
            known = ", ".join(get_args(Provider))
            raise _refuse("provider", self.provider, hint=f"use one of {known}")
        if not isinstance(self.strict, bool):
            raise _refuse("strict", self.strict, hint="use True or False")
        for name, (kind, least, most) in LIMITS.items():
            value: Any = getattr(self, name)
            if not isinstance(value, kind) or not least <= value <= most:
                noun = "a whole number" if kind is Integral else "a number"
                raise _refuse(name, value, hint=f"use {noun} from {least:g} to {most:,}")

    @property
    def models_dir(self) -> Path:
        """Folder of the user's own models and their cards."""
        return self.home / "models"

    @property
    def calibrations_dir(self) -> Path:
        """Folder of the user's own calibrations, one JSON per model digest."""
        return self.home / "calibrations"

    @property
    def cache_dir(self) -> Path:
        """Folder of the embeddings that measurements keep, one file per model digest."""
        return self.home / "cache" / "embeddings"

    @property
    def max_pixels(self) -> int:
        """Largest photo that is decoded, in pixels."""
        return int(self.max_megapixels * 1_000_000)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the ARCWISE_* variables.

        Args:
            environment: what to read; the process environment by default.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        values = os.environ if environment is None else environment
        given = {
            key.removeprefix(PREFIX): value.strip()
            for key, value in values.items()
            if key.startswith(PREFIX) and value.strip()
        }
        for name in sorted(given.keys() - DESCRIPTIONS.keys() - TEST_SETTINGS):
            _warn_of_slip(name)
        home = _path("HOME", given["HOME"]) if "HOME" in given else _user_folder()
        return cls(
            home=home,
            gallery=_path("GALLERY", given.get("GALLERY", str(home / "gallery.db"))),
            model=given.get("MODEL"),
            provider=cast(Provider, given.get("PROVIDER", "auto").lower()),
            strict=_boolean("STRICT", given.get("STRICT", "0")),
            threads=_whole("THREADS", given.get("THREADS", "0")),
            max_megapixels=_number("MAX_MEGAPIXELS", given.get("MAX_MEGAPIXELS", "64")),
            min_face_px=_whole("MIN_FACE_PX", given.get("MIN_FACE_PX", "40")),
            batch_size=_whole("BATCH_SIZE", given.get("BATCH_SIZE", "16")),
        )


def _refuse(name: str, value: object, *, hint: str) -> SettingsError:
    return SettingsError(f"{name} ({PREFIX}{name.upper()}) is {value!r}", hint=hint)


@cache  # once for each name, however often settings are read
def _warn_of_slip(name: str) -> None:
    close = get_close_matches(name, DESCRIPTIONS, n=1)
    if close:  # what resembles no setting may be somebody else's
        message = "%s%s is not a setting and changes nothing; did you mean %s%s?"
        _log.warning(message, PREFIX, name, PREFIX, close[0])


def _path(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:
        raise SettingsError(f"{PREFIX}{name} is {text!r}: {exc}", hint="write it out") from exc


def _user_folder() -> Path:
    return user_data_path("arcwise", appauthor=False)


def _boolean(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint="use 1 or 0")
    return known[text.lower()]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint="use a number") from exc


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint="use a whole number") from exc
