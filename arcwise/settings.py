"""The environment, read once into one frozen value, and where files live.

The only reader of `os.environ`. It does not open, make or check any file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from platformdirs import user_data_path

from arcwise.errors import SettingsError

Provider = Literal["auto", "cpu", "cuda", "coreml"]

PREFIX = "ARCWISE_"

DESCRIPTIONS: dict[str, str] = {
    "HOME": "folder for models, calibrations and the default gallery (a folder of the user's)",
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


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the environment may decide. Attributes: see DESCRIPTIONS."""

    home: Path
    gallery: Path
    model: str | None = None
    provider: Provider = "auto"
    strict: bool = False
    threads: int = 0
    max_megapixels: float = 64.0
    min_face_px: int = 40
    batch_size: int = 16

    @property
    def models_dir(self) -> Path:
        """Folder of the user's own models and their cards."""
        return self.home / "models"

    @property
    def calibrations_dir(self) -> Path:
        """Folder of the user's own calibrations, one JSON per model digest."""
        return self.home / "calibrations"

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
        home = _path("HOME", given["HOME"]) if "HOME" in given else _user_folder()
        provider = given.get("PROVIDER", "auto").lower()
        if provider not in get_args(Provider):
            raise SettingsError(
                f"{PREFIX}PROVIDER is {provider!r}",
                hint=f"use one of {', '.join(get_args(Provider))}",
            )
        return cls(
            home=home,
            gallery=_path("GALLERY", given.get("GALLERY", str(home / "gallery.db"))),
            model=given.get("MODEL"),
            provider=cast(Provider, provider),
            strict=_boolean("STRICT", given.get("STRICT", "0")),
            threads=_whole("THREADS", given.get("THREADS", "0"), least=0),
            max_megapixels=_number("MAX_MEGAPIXELS", given.get("MAX_MEGAPIXELS", "64"), least=1e-6),
            min_face_px=_whole("MIN_FACE_PX", given.get("MIN_FACE_PX", "40"), least=12),
            batch_size=_whole("BATCH_SIZE", given.get("BATCH_SIZE", "16"), least=1),
        )


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


def _number(name: str, text: str, *, least: float) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint="use a number") from exc
    if not least <= value < float("inf"):
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint=f"use a number from {least:g}")
    return value


def _whole(name: str, text: str, *, least: int) -> int:
    value = _number(name, text, least=least)
    if value != int(value):
        raise SettingsError(f"{PREFIX}{name} is {text!r}", hint="use a whole number")
    return int(value)
