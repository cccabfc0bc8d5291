"""Drawn people in folders, and commands whose recognizer knows their photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from arcwise.cli.run import run
from arcwise.encode import write_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_photo

Drawn = Mapping[str, DrawnPhoto]
Call = Callable[..., tuple[int, str, str]]
"""Takes the words after the command; gives exit code, standard output and standard error."""


def draw_album(n_people: int, n_photos: int = 2, *, width: int = 1) -> dict[str, DrawnPhoto]:
    """Photos of drawn people, called pPERSON/VARIATION.png; `width` digits name the person."""
    return {
        f"p{person:0{width}}/{variation}.png": draw_photo(
            [person], size_wh_px=(128, 128), widths_px=[72], variation=variation
        )
        for person in range(n_people)
        for variation in range(n_photos)
    }


def save_album(drawn: Drawn, folder: Path) -> Path:
    for name, photo in drawn.items():
        write_image(folder / name, photo.image)
    return folder


def fake_call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: Drawn,
    *,
    modules: Iterable[str],
    words: Iterable[str] = (),
) -> Call:
    """Runs a command with a recognizer that knows the drawn photos.

    `modules` of arcwise.cli open the recognizer; `words` stand before those of each call.
    """

    def open_fake(settings: Settings, **_: object) -> Recognizer:
        detector = FakeDetector.knowing(drawn.values())
        return Recognizer(model=FakeEmbedder(), detector=detector, settings=settings)

    for module in modules:
        monkeypatch.setattr(f"arcwise.cli.{module}.open_recognizer", open_fake)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([*words, *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call
