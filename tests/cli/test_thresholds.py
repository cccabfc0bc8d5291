"""One calibration for one model, wherever its vectors come from, and what its thresholds say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.cli.thresholds import check_threshold, find_calibration, list_thresholds
from arcwise.compare import Calibration, CalibrationPoint
from arcwise.errors import ModelMismatchError, SettingsError
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings
from arcwise.settings import Settings
from arcwise.zoo.registry import list_models

POINTS = (CalibrationPoint(1e-2, 0.4, 0.3, 0.5), CalibrationPoint(1e-3, 0.6, 0.5, 0.7))
CALIBRATION = Calibration("e" * 64, POINTS, 9999, 99, "0" * 64, "2026-11-22", views="none")


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return Settings(home=own_home, gallery=own_home / "gallery.db")


def shipped_digest(settings: Settings) -> str:
    return next(model.card.digest for model in list_models(settings))


def test_saved_vectors_of_an_installed_model_have_its_calibration(settings: Settings) -> None:
    digest = shipped_digest(settings)
    found = find_calibration(settings, None, digest)
    assert found is not None
    assert found.model_digest == digest
    assert found.n_people == 397


def test_the_users_own_calibration_comes_first(settings: Settings) -> None:
    digest = shipped_digest(settings)
    own = replace(CALIBRATION, model_digest=digest)
    own.save(settings.calibrations_dir / f"{digest}.json")
    assert find_calibration(settings, None, digest) == own


def test_an_unknown_model_has_no_calibration_and_a_foreign_one_is_refused(
    settings: Settings,
) -> None:
    assert find_calibration(settings, None, "") is None
    assert find_calibration(settings, None, "f" * 64) is None
    CALIBRATION.save(settings.calibrations_dir / f"{'f' * 64}.json")
    with pytest.raises(ModelMismatchError):
        find_calibration(settings, None, "f" * 64)


def test_a_threshold_says_what_it_rests_on_and_to_what_it_is_applied() -> None:
    usual, given = list_thresholds(CALIBRATION, 0.3, views="sum", caveat="a demo-grade model")
    assert (usual.similarity, given.similarity, given.why) == (0.6, 0.3, "given")
    assert usual.why == (
        "calibrated for FMR 1.0e-03; on 99 people, 2026-11-22; measured without the mirror "
        "image, applied with it; a demo-grade model"
    )
    (plain,) = list_thresholds(CALIBRATION, None, views="none")
    assert plain.why == "calibrated for FMR 1.0e-03; on 99 people, 2026-11-22"
    (unknown,) = list_thresholds(replace(CALIBRATION, views=None), None, views="sum")
    assert unknown.why == plain.why


def test_for_a_gallery_its_size_decides_and_else_the_publisher() -> None:
    (usual,) = list_thresholds(CALIBRATION, None, views="none", n_people=1)
    assert usual.similarity == pytest.approx(0.4)
    assert "FPIR 1% among 1 people" in usual.why
    (published,) = list_thresholds(None, None, views="none", n_people=5, published=(0.2, None))
    assert (published.similarity, published.why) == (0.2, "uncalibrated: the publisher's")
    assert list_thresholds(None, None, views="none") == []


@pytest.mark.parametrize("given", [1.5, -2.0, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(given: float) -> None:
    with pytest.raises(SettingsError, match="--threshold is"):
        check_threshold(given)
    assert check_threshold(None) is None
    assert check_threshold(-1.0) == -1.0


@pytest.fixture
def saved(tmp_path: Path, settings: Settings) -> Path:
    """Vectors that say they are of the shipped model, with those of the mirror images."""
    rng = np.random.default_rng(0)
    names = tuple(f"p{person:02}/{photo}.jpg" for person in range(12) for photo in range(3))
    centers = np.repeat(rng.normal(size=(12, 16)), 3, axis=0)
    raw, mirrored = ((centers + rng.normal(size=(36, 16))).astype(np.float32) for _ in range(2))
    digests = tuple(f"{i:064x}" for i in range(36))
    embedded = EmbeddedPhotos(
        names, raw, mirrored, digests, {}, "compact-lfw", shipped_digest(settings)
    )
    return save_embeddings(embedded, tmp_path / "vectors.npz")


@pytest.fixture
def arguments(saved: Path, tmp_path: Path) -> dict[str, tuple[str, ...]]:
    who = tmp_path / "who.csv"
    who.write_text("person,side\n" + "".join(f"p{i:02},{'ab'[i % 2]}\n" for i in range(12)))
    pairs = tmp_path / "pairs.csv"
    rows = [
        f"p{i:02}/0.jpg,p{j:02}/1.jpg,{int(i == j)},{i % 2 + 1}"
        for i in range(12)
        for j in (i, (i + 1) % 12)
    ]
    pairs.write_text("\n".join(["a,b,is_same,fold", *rows]))
    return {
        "verification": ("--pairs", str(pairs)),
        "gallery": (),
        "clusters": (),
        "groups": ("--metadata", str(who)),
    }


def find_reasons(plain: Any) -> set[str]:
    """Everything that is called `why`."""
    if isinstance(plain, dict):
        found = {plain["why"]} if isinstance(plain.get("why"), str) else set()
        return found.union(*map(find_reasons, plain.values()))
    return set().union(*map(find_reasons, plain)) if isinstance(plain, list) else set()


@pytest.mark.parametrize("command", ["verification", "gallery", "clusters", "groups"])
@pytest.mark.parametrize("flip", [True, False])
def test_every_measurement_of_saved_vectors_finds_the_threshold_of_their_model(
    command: str,
    flip: bool,
    saved: Path,
    arguments: dict[str, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate", command, "--embeddings", str(saved), *arguments[command], "--json"]
    if flip and command in ("clusters", "groups"):
        words.append("--flip")
    elif not flip and command in ("verification", "gallery"):
        words.append("--no-flip")
    assert run(words) == 0, capsys.readouterr().err
    (why,) = {text for text in find_reasons(json.loads(capsys.readouterr().out)) if "FMR" in text}
    assert "on 397 people" in why
    assert ("measured without the mirror image, applied with it" in why) is flip


@pytest.mark.parametrize("command", ["verification", "gallery", "clusters", "groups"])
def test_every_measurement_refuses_a_threshold_that_is_no_cosine(
    command: str,
    saved: Path,
    arguments: dict[str, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate", command, "--embeddings", str(saved), *arguments[command]]
    assert run([*words, "--threshold", "2"]) == 2
    assert "a cosine lies in -1..1" in capsys.readouterr().err
