"""What every test may ask for. Real photos and weights come through one fixture."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photos and weights (ARCWISE_TEST_DATA); its absence skips the test."""
    given = os.environ.get("ARCWISE_TEST_DATA")
    if not given:
        pytest.skip("ARCWISE_TEST_DATA is not set: no real photos or weights")
    folder = Path(given)
    assert folder.is_dir(), f"ARCWISE_TEST_DATA names no folder: {folder}"
    return folder


@pytest.fixture(scope="session")
def portraits() -> dict[str, Path]:
    """The two public-domain portraits that come inside wheels: Grace Hopper, Eileen Collins."""
    found = {}
    for person, package, place in (
        ("Grace Hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("Eileen Collins", "skimage", "data/astronaut.png"),
    ):
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is missing: pip install 'arcwise[demo]'"
        assert spec.origin is not None
        found[person] = Path(spec.origin).parent / place
    return found


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's folder or the user's settings."""
    for key in list(os.environ):
        if key.startswith("ARCWISE_") and key != "ARCWISE_TEST_DATA":
            monkeypatch.delenv(key)
    home = tmp_path / "arcwise-home"
    monkeypatch.setenv("ARCWISE_HOME", str(home))
    return home
