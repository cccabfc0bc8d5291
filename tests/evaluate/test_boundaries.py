"""The pictures of margins show what the papers' formulae say (examples/draw_margins.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from arcwise.nn.margin import Margin, arcface, cosface

SCRIPT = Path(__file__).parents[2] / "examples" / "draw_margins.py"
ANGLES = np.linspace(0.0, 60.0, 13)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_margins", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_arcface_asks_for_the_same_angle_everywhere(script: ModuleType) -> None:
    found = script.least_angle(arcface(0.5), ANGLES)
    np.testing.assert_allclose(found - ANGLES, np.degrees(0.5), atol=1e-6)


def test_cosface_asks_for_the_same_cosine_everywhere(script: ModuleType) -> None:
    found = script.least_angle(cosface(0.35), ANGLES)
    gaps = np.cos(np.radians(ANGLES)) - np.cos(np.radians(found))
    np.testing.assert_allclose(gaps, 0.35, atol=1e-6)


def test_sphereface_asks_for_a_multiple_of_the_angle(script: ModuleType) -> None:
    found = script.least_angle(Margin(m1=1.35, beyond_pi="extend"), ANGLES)
    np.testing.assert_allclose(found, 1.35 * ANGLES, atol=1e-5)


def test_between_two_centers_arcface_leaves_its_margin_free(script: ModuleType) -> None:
    free = script.CENTERS_DEG - 2 * script.half_sector(arcface(0.5))
    assert free == pytest.approx(np.degrees(0.5), abs=0.02)
    assert script.half_sector(Margin()) == pytest.approx(script.CENTERS_DEG / 2, abs=0.01)


def test_the_docs_hold_both_pictures(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["draw_margins.py", str(tmp_path)])
    script.main()
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["margin_boundaries.svg", "margin_sectors.svg"]
    kept = SCRIPT.parents[1] / "docs" / "images"
    assert all((kept / name).read_text("utf-8").startswith("<svg ") for name in drawn)
    assert "28.6°" in (kept / "margin_sectors.svg").read_text("utf-8")
