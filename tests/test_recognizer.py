"""The recognizer on the two portraits, with a model that only knows pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from arcwise.compare import Calibration, CalibrationPoint, ProbabilityCurve
from arcwise.errors import (
    ImageError,
    InputError,
    ManyFacesError,
    ModelMismatchError,
    NoFaceError,
    UnknownModelError,
)
from arcwise.gallery import Gallery
from arcwise.image import mirror_image, read_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import FakeDetector, draw_photo
from arcwise.zoo.card import load_card, save_card

BLANK = np.full((120, 160, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer(model=tiny_model, settings=Settings.from_environment({}))


@pytest.fixture(scope="module")
def both(portraits: dict[str, Path]) -> np.ndarray:
    """Both portraits beside each other."""
    hopper, collins = (read_image(path)[:512, :512] for path in portraits.values())
    return np.hstack([hopper, collins])


def test_a_portrait_has_one_face_with_embedding_norm_and_quality(
    recognizer: Recognizer, portraits: dict[str, Path]
) -> None:
    (face,) = recognizer.analyze(portraits["Grace Hopper"])
    assert face.embedding is not None
    assert face.embedding.shape == (192,)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
    assert face.norm is not None
    assert face.norm > 1
    assert face.quality is not None
    assert face.quality.is_good


def test_many_photos_at_once_answer_as_one_by_one(
    recognizer: Recognizer, portraits: dict[str, Path], both: np.ndarray
) -> None:
    photos = [*portraits.values(), both, BLANK]
    together = list(recognizer.analyze_many(photos))
    assert [len(result) for result in together] == [1, 1, 2, 0]
    for photo, result in zip(photos, together, strict=True):
        for alone, face in zip(recognizer.analyze(photo), result, strict=True):
            np.testing.assert_allclose(face.box_xyxy_px, alone.box_xyxy_px, atol=1e-2)
            assert face.embedding is not None
            assert alone.embedding is not None
            np.testing.assert_allclose(face.embedding, alone.embedding, atol=1e-4)


def test_one_unreadable_photo_does_not_stop_the_others(
    recognizer: Recognizer, portraits: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a photo")
    first, second = recognizer.analyze_many([broken, portraits["Eileen Collins"]])
    assert isinstance(first.error, ImageError)
    assert len(second) == 1


def test_a_photo_and_its_mirrored_copy_are_compared(
    recognizer: Recognizer, portraits: dict[str, Path]
) -> None:
    path = portraits["Eileen Collins"]
    image = read_image(path)
    darker = (image * 0.7).astype(np.uint8)
    assert recognizer.compare(path, darker).is_match
    assert recognizer.compare(path, image).similarity == pytest.approx(1, abs=1e-3)
    assert not recognizer.compare(*portraits.values()).is_match
    assert not recognizer.compare(path, mirror_image(image)).calibrated


def test_a_photo_without_a_face_cannot_be_compared(
    recognizer: Recognizer, portraits: dict[str, Path]
) -> None:
    with pytest.raises(NoFaceError, match="<array>"):
        recognizer.compare(portraits["Grace Hopper"], BLANK)


def test_two_faces_are_refused_where_only_one_is_meant(
    recognizer: Recognizer, both: np.ndarray
) -> None:
    with pytest.raises(ManyFacesError, match="2 faces"):
        recognizer.compare(both, both, select="only")
    assert recognizer.compare(both, both, select="largest").is_match


def test_a_missing_photo_is_told(recognizer: Recognizer) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        recognizer.analyze("nowhere.jpg")


def test_crops_have_the_size_asked_for(recognizer: Recognizer, both: np.ndarray) -> None:
    assert recognizer.align(both, size_px=224).shape == (2, 224, 224, 3)
    assert recognizer.align(BLANK).shape == (0, 112, 112, 3)


def test_what_cannot_be_used_is_told_before_any_photo(tiny_model: Path) -> None:
    with pytest.raises(UnknownModelError, match="mtcn") as caught:
        Recognizer(detector="mtcn")
    assert caught.value.hint == "did you mean mtcnn?"
    with pytest.raises(InputError, match="model is 5"):
        Recognizer(model=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="detector is None"):
        Recognizer(model=tiny_model, detector=None)  # type: ignore[arg-type]


def test_a_tilde_in_the_path_of_a_model_means_the_home_folder(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    monkeypatch.setenv("USERPROFILE", str(tiny_model.parent))
    for model in (f"~/{tiny_model.name}", Path("~") / tiny_model.name):
        assert Recognizer(model=model).embedder.name == "tiny"


@pytest.mark.usefixtures("nothing_shipped")
def test_detection_works_without_an_embedding_model(portraits: dict[str, Path]) -> None:
    recognizer = Recognizer()
    assert len(recognizer.detect(portraits["Grace Hopper"])) == 1
    with pytest.raises(UnknownModelError, match="no embedding model"):
        recognizer.analyze(portraits["Grace Hopper"])


def test_a_calibration_decides_and_says_so(tiny_model: Path, portraits: dict[str, Path]) -> None:
    digest = Recognizer(model=tiny_model).embedder.digest
    points = (CalibrationPoint(1e-2, 0.5, 0.4, 0.6), CalibrationPoint(1e-4, 0.9, 0.8, 0.95))
    calibration = Calibration(digest, points, 10_000, 100, "0" * 64, "2026-11-21")
    recognizer = Recognizer(model=tiny_model, calibration=calibration)
    answer = recognizer.compare(*portraits.values())
    assert answer.calibrated
    assert answer.threshold == pytest.approx(0.7)
    assert answer.fmr == pytest.approx(1e-3)
    assert (answer.probability, answer.is_uncertain) == (None, None)


def test_a_calibration_with_a_probability_says_how_sure_an_answer_is(
    tiny_model: Path, portraits: dict[str, Path]
) -> None:
    digest = Recognizer(model=tiny_model).embedder.digest
    points = (CalibrationPoint(1e-3, 0.7, 0.6, 0.8),)
    curve = ProbabilityCurve("logistic", 0.5, 100, (0.0, 0.5, 1.0), (0.0, 0.25, 1.0))
    calibration = Calibration(digest, points, 10_000, 100, "0" * 64, "2026-11-21", curve)
    recognizer = Recognizer(model=tiny_model, calibration=calibration)
    answer = recognizer.compare(*portraits.values())
    assert not answer.is_match
    assert answer.probability == calibration.probability_at(answer.similarity)
    assert answer.is_uncertain


def test_a_calibration_of_another_model_is_refused(tiny_model: Path) -> None:
    calibration = Calibration("f" * 64, (CalibrationPoint(1e-2, 0.5, 0.4, 0.6),), 1, 2, "", "")
    with pytest.raises(ModelMismatchError):
        _ = Recognizer(model=tiny_model, calibration=calibration).calibration


def test_the_users_calibration_is_found(tiny_model: Path, own_home: Path) -> None:
    digest = Recognizer(model=tiny_model).embedder.digest
    place = own_home / "calibrations" / f"{digest}.json"
    place.parent.mkdir(parents=True)
    place.write_text(
        f'{{"version": 1, "model_digest": "{digest}", "n_impostors": 1000, "n_people": 50,'
        '"data_digest": "", "date": "2026-11-21",'
        '"points": [{"fmr": 0.001, "similarity": 0.25, "low": 0.2, "high": 0.3}]}'
    )
    calibration = Recognizer(model=tiny_model).calibration
    assert calibration is not None
    assert calibration.similarity_at(1e-3) == pytest.approx(0.25)


def test_a_demo_grade_model_says_so_whenever_it_decides(
    tiny_model: Path, portraits: dict[str, Path], tmp_path: Path
) -> None:
    model = tmp_path / "tiny.onnx"
    shutil.copy(tiny_model, model)
    save_card(load_card(tiny_model).model_copy(update={"grade": "demo"}), model)
    recognizer = Recognizer(model=model)
    hopper, collins = portraits.values()
    assert "demo-grade" in recognizer.compare(hopper, collins).why
    assert "demo-grade" not in Recognizer(model=tiny_model).compare(hopper, collins).why
    with Gallery(tmp_path / "people.db", recognizer=recognizer) as people:
        people.enroll("Grace Hopper", [hopper])
        for photo in (hopper, collins):
            ((_, match),) = people.identify(photo)
            assert "demo-grade" in match.why


def test_a_threshold_of_other_mirror_images_is_told() -> None:
    photo = draw_photo([1], size_wh_px=(160, 160), widths_px=[90])
    detector = FakeDetector.knowing([photo])
    answers = [
        Recognizer(detector=detector, flip=flip).compare(photo.image, photo.image).why
        for flip in (False, True)
    ]
    told = ["measured without the mirror image" in why for why in answers]
    assert told == [False, True]
    assert all("a demo-grade model" in why for why in answers)
