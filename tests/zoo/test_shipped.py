"""The model that comes along: whole, small, honest, and as good as its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arcwise.compare import Calibration
from arcwise.embed import ONNXEmbedder
from arcwise.evaluate.sets.pairs import keep_folds, read_pairs
from arcwise.evaluate.verification import evaluate_pairs
from arcwise.photos import open_photos
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.zoo.registry import SHIPPED_DIR, default_model

NAME = "compact-lfw"


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(settings=Settings.from_environment())


def test_it_is_the_default_and_whole() -> None:
    model = default_model(Settings.from_environment()).model
    model.verify()
    assert (model.card.name, model.origin) == (NAME, "shipped")


def test_it_is_small() -> None:
    assert (SHIPPED_DIR / f"{NAME}.onnx").stat().st_size <= 6_000_000


def test_its_card_says_what_it_is() -> None:
    card = default_model(Settings.from_environment()).model.card
    assert card.grade == "demo"
    assert (card.dimension, card.input.size_px, card.input.color) == (128, 112, "rgb")
    for word in ("LFW", "dlib"):
        assert word in card.trained_on
    assert card.metrics["lfw_folds_1_2_accuracy"] >= 0.95
    assert "research" in card.license.note


def test_its_calibration_belongs_to_it(recognizer: Recognizer) -> None:
    calibration = Calibration.load(SHIPPED_DIR / f"{NAME}.calibration.json")
    assert calibration.model_digest == recognizer.embedder.digest
    assert recognizer.calibration == calibration
    assert calibration.similarity_at(1e-3) is not None


def test_two_women_are_told_apart_and_a_mirror_image_is_not(
    recognizer: Recognizer, portraits: dict[str, Path]
) -> None:
    answer = recognizer.compare(portraits["Grace Hopper"], portraits["Eileen Collins"])
    assert not answer.is_match
    assert answer.calibrated
    assert "a demo-grade model" in answer.why


def test_a_batch_is_answered_as_its_crops_alone(recognizer: Recognizer) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    embedder = recognizer.embedder
    assert isinstance(embedder, ONNXEmbedder)
    alone = np.concatenate([embedder.embed(crops[i : i + 1]).vectors for i in range(5)])
    assert np.allclose(embedder.embed(crops).vectors, alone, atol=1e-5)


@pytest.mark.real
@pytest.mark.slow
def test_it_is_as_good_as_its_card_says(recognizer: Recognizer, real_data: Path) -> None:
    """On fold 3, which chose it; folds 1 and 2 are scored by hand, and rarely."""
    card = default_model(recognizer.settings).model.card
    with open_photos(real_data / "lfw" / "lfw-deepfunneled.zip") as photos:
        listed = read_pairs(real_data / "lfw" / "pairs_6000.txt", photos=photos.names)
        pairs = keep_folds(listed, [3])
        names = sorted({name for pair in pairs for name in (pair.a, pair.b)})
        found = recognizer.choose_many(map(photos.open, names), select="center")
        vectors = {name: faces.faces[0].embedding for name, faces in zip(names, found, strict=True)}
    report = evaluate_pairs(pairs, vectors)
    assert report.best.rate >= card.metrics["lfw_fold_3_best_accuracy"] - 0.005
