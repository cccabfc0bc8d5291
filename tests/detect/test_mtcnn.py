"""Faces of real photos: found once, in the right place, however many photos are asked for."""

from __future__ import annotations

import logging
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from arcwise.align import align_faces
from arcwise.detect import DETECTORS, build_detector, check_detector
from arcwise.detect import mtcnn as mtcnn_module
from arcwise.detect.mtcnn import MTCNN, Thresholds
from arcwise.detect.networks import build_proposal_net
from arcwise.errors import ImageError, InputError, SessionError, UnknownModelError
from arcwise.image import mirror_image, read_image
from arcwise.session import Session, import_runtime
from arcwise.settings import Settings
from arcwise.types import Face, Image

POINTS_SEEN = {  # marked by eye, px
    "Grace Hopper": [[223, 190], [305, 184], [268, 232], [231, 280], [305, 276]],
    "Eileen Collins": [[203.5, 101], [246.5, 103], [225, 127], [203.5, 140.5], [243.5, 141]],
}
MIRRORED = [1, 0, 2, 4, 3]  # what is left becomes right


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def photos(portraits: dict[str, Path]) -> dict[str, Image]:
    return {person: read_image(path) for person, path in portraits.items()}


def assert_same_faces(found: list[list[Face]], expected: list[list[Face]], atol_px: float) -> None:
    assert [len(faces) for faces in found] == [len(faces) for faces in expected]
    for faces, others in zip(found, expected, strict=True):
        for one, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(one.box_xyxy_px, other.box_xyxy_px, atol=atol_px)
            np.testing.assert_allclose(one.points_px, other.points_px, atol=atol_px)
            assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("person", ["Grace Hopper", "Eileen Collins"])
def test_a_portrait_has_one_face_with_its_points_in_place(
    person: str, detector: MTCNN, photos: dict[str, Image]
) -> None:
    ((face,),) = detector.detect([photos[person]])
    left, top, right, bottom = face.box_xyxy_px
    x, y = face.points_px.T
    assert face.score > 0.99
    assert ((left < x) & (x < right) & (top < y) & (y < bottom)).all()
    assert max(y[0], y[1]) < y[2] < min(y[3], y[4])  # eyes, nose, mouth
    assert x[0] < x[2] < x[1]
    assert x[3] < x[4]


@pytest.mark.parametrize("person", POINTS_SEEN)
def test_the_points_are_where_people_see_them(
    person: str, detector: MTCNN, photos: dict[str, Image]
) -> None:
    ((face,),) = detector.detect([photos[person]])
    seen = np.array(POINTS_SEEN[person])
    misses_px = np.linalg.norm(face.points_px - seen, axis=1)
    assert misses_px.mean() < 0.1 * np.linalg.norm(seen[1] - seen[0])


def test_many_photos_are_searched_as_one_at_a_time(
    detector: MTCNN, photos: dict[str, Image]
) -> None:
    portraits = list(photos.values())
    blank = np.full((200, 300, 3), 90, np.uint8)
    small = [np.ascontiguousarray(photo[::2, ::2]) for photo in portraits]
    many = [*portraits, blank, *small, portraits[0], mirror_image(portraits[1])]
    alone = [detector.detect([photo])[0] for photo in many]
    assert [len(faces) for faces in alone] == [1, 1, 0, 1, 1, 1, 1]
    assert_same_faces(detector.detect(many), alone, 1e-3)
    assert_same_faces(detector.detect(many[::-1]), alone[::-1], 1e-3)


@pytest.mark.parametrize("person", ["Grace Hopper", "Eileen Collins"])
def test_a_mirrored_photo_has_mirrored_points(
    person: str, detector: MTCNN, photos: dict[str, Image]
) -> None:
    photo = photos[person]
    (face,), (mirrored,) = detector.detect([photo, mirror_image(photo)])
    back = mirrored.points_px[MIRRORED] * [-1, 1] + [photo.shape[1] - 1, 0]
    width = face.size_wh_px[0]
    np.testing.assert_allclose(back, face.points_px, atol=0.05 * width)


def test_photos_of_one_size_do_not_take_each_others_faces(
    detector: MTCNN, photos: dict[str, Image]
) -> None:
    one, other = photos["Grace Hopper"][:512], photos["Eileen Collins"]
    pairs = [np.hstack([one, other]), np.hstack([one, mirror_image(other)])]  # one twice
    alone = [detector.detect([pair])[0] for pair in pairs]
    assert [len(faces) for faces in alone] == [2, 2]
    assert_same_faces(detector.detect(pairs), alone, 1e-3)


def test_a_very_dark_face_is_found_at_the_second_look(
    detector: MTCNN, photos: dict[str, Image]
) -> None:
    bright = photos["Eileen Collins"]
    dark = (bright * 0.11).astype(np.uint8)  # the first look finds nothing below 0.13
    blank = np.zeros_like(bright)
    none, (found,), (face,), nobody = detector.detect([blank, dark, bright, blank])
    assert none == nobody == []
    np.testing.assert_allclose(found.points_px, face.points_px, atol=8)


@pytest.mark.parametrize("near", ["Grace Hopper", "Eileen Collins"])
def test_the_largest_face_comes_first(near: str, detector: MTCNN, photos: dict[str, Image]) -> None:
    zoom = {"Grace Hopper": 0.4, "Eileen Collins": 0.7} | {near: 1.4}
    canvas = np.full((900, 1600, 3), 60, np.uint8)
    for left, (person, photo) in zip((0, 800), photos.items(), strict=True):
        scaled = cv2.resize(photo, None, fx=zoom[person], fy=zoom[person])
        canvas[: scaled.shape[0], left : left + scaled.shape[1]] = scaled
    (faces,) = detector.detect([canvas])
    sizes = [float(np.prod(face.size_wh_px)) for face in faces]
    assert len(faces) == 2
    assert sizes[0] > 1.5 * sizes[1]


def test_a_face_below_the_smallest_size_is_not_looked_for(photos: dict[str, Image]) -> None:
    photo = photos["Eileen Collins"]
    ((face,),) = MTCNN(min_face_px=40).detect([photo])
    assert MTCNN(min_face_px=2 * round(max(face.size_wh_px))).detect([photo]) == [[]]
    small = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert MTCNN(min_face_px=60).detect([small]) == [[]]
    ((found,),) = MTCNN(min_face_px=15).detect([small])
    np.testing.assert_allclose(found.points_px * 4, face.points_px, atol=12)


def test_higher_thresholds_find_no_more(photos: dict[str, Image]) -> None:
    photo = photos["Grace Hopper"]
    assert MTCNN(thresholds=Thresholds(output=1.0)).detect([photo]) == [[]]
    loose = MTCNN(thresholds=Thresholds(0.5, 0.5, 0.5)).detect([photo])[0]
    assert any(face.score > 0.99 for face in loose)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (39, 39), (40, 40), (41, 300), (480, 640)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_photo_has_no_face(size: tuple[int, int], value: int, detector: MTCNN) -> None:
    assert detector.detect([np.full((*size, 3), value, np.uint8)]) == [[]]


def test_noise_is_searched_without_fuss(detector: MTCNN) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 160, 160, 3), np.uint8)
    assert len(detector.detect(list(noise))) == 4


def test_no_photos_have_no_faces(detector: MTCNN) -> None:
    assert detector.detect([]) == []


def test_a_gray_photo_is_refused(detector: MTCNN) -> None:
    with pytest.raises(ImageError, match=r"got \(50, 60\) uint8"):
        detector.detect([np.zeros((50, 60, 3), np.uint8), np.zeros((50, 60), np.uint8)])


def test_faces_of_a_few_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="min_face_px is 11"):
        MTCNN(min_face_px=11)


# Large photos go through the proposal net in tiles


@pytest.mark.parametrize("size", [(12, 12), (267, 522), (268, 300), (511, 13), (600, 777)])
def test_tiles_have_the_windows_of_the_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    proposal = Session(build_proposal_net(), provider="cpu")
    in_tiles = mtcnn_module._scan(proposal, scaled, 0.1)
    monkeypatch.setattr(mtcnn_module, "_TILE_PX", 1000)
    whole = mtcnn_module._scan(proposal, scaled, 0.1)
    np.testing.assert_array_equal(in_tiles.owners, whole.owners)
    np.testing.assert_allclose(in_tiles.boxes, whole.boxes, atol=1e-5)
    np.testing.assert_allclose(in_tiles.scores, whole.scores, atol=1e-5)
    if max(size) > 256 + 12:
        assert whole.boxes.max() > 256 + 12  # in another tile than the first


def test_a_face_across_the_edges_of_tiles_is_found_as_in_the_whole(
    photos: dict[str, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = MTCNN(min_face_px=12)  # scaled by 1: the photos have several tiles
    many = list(photos.values())
    in_tiles = patient.detect(many)
    monkeypatch.setattr(mtcnn_module, "_TILE_PX", 10_000)
    assert_same_faces(in_tiles, patient.detect(many), 1e-3)


# Not getrusage: its peak starts at that of the process that started this one.
MEASURE_MEMORY = """
import re
from pathlib import Path
import numpy as np
from arcwise.detect.mtcnn import MTCNN
photo = np.full((3000, 4000, 3), 128, np.uint8)
detector = MTCNN(min_face_px=12, provider="cpu", threads=1)
detector.detect([photo[:100, :100]])
def peak():
    return int(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text()).group(1))
before = peak()
detector.detect([photo])
print((peak() - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_small_faces_in_a_photo_of_12_megapixels_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300e6  # 4 GB as a whole


# Networks that answer nonsense


class Nonsense:
    """A network that answers one output with the same row for all crops, or for some of them."""

    def __init__(self, real: Session, output: str, row: list[float], crops: slice) -> None:
        self._real, self._output, self._row, self._crops = real, output, row, crops

    def run(self, batch: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        answers = self._real.run(batch, outputs)
        answers[outputs.index(self._output)][self._crops] = self._row
        return answers


@pytest.mark.parametrize(
    ("network", "output", "row"),
    [
        ("_refine", "boxes", [np.nan] * 4),
        ("_refine", "boxes", [0, 0, np.inf, 0]),
        ("_refine", "boxes", [0, 0, -1, -1]),
        ("_refine", "scores", [np.nan] * 2),
        ("_output", "boxes", [np.nan] * 4),
        ("_output", "boxes", [0, -np.inf, 0, 0]),
        ("_output", "boxes", [0, 0, -1, 0]),
        ("_output", "boxes", [0, 0, 0, -3]),
        ("_output", "points", [0.5] * 10),
        ("_output", "points", [*np.linspace(0, 1, 9), np.nan]),
        ("_output", "scores", [np.nan] * 2),
    ],
)
def test_a_box_or_points_without_a_size_are_no_face(
    network: str, output: str, row: list[float], photos: dict[str, Image]
) -> None:
    detector = MTCNN()
    fake = Nonsense(getattr(detector, network), output, row, slice(None))
    setattr(detector, network, fake)
    assert detector.detect(list(photos.values())) == [[], []]


@pytest.mark.parametrize(("output", "row"), [("points", [0.5] * 10), ("boxes", [np.nan] * 4)])
def test_a_candidate_without_a_size_costs_no_other_photo_its_face(
    output: str, row: list[float], photos: dict[str, Image]
) -> None:
    detector = MTCNN()
    _, expected = detector.detect(list(photos.values()))
    fake = Nonsense(detector._output, output, row, slice(0, 1))
    setattr(detector, "_output", fake)  # noqa: B010 - it only runs like a session
    none, found = detector.detect(list(photos.values()))
    assert none == []  # the surest candidate was the only one of the first photo
    assert_same_faces([found], [expected], 1e-3)
    crops = align_faces(photos["Eileen Collins"], found[0].points_px[None])
    assert crops.shape == (1, 112, 112, 3)


# The table of detectors


def test_a_detector_is_built_by_its_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, gallery=tmp_path / "g.db", min_face_px=77, provider="cpu")
    detector = build_detector("mtcnn", settings)
    assert isinstance(detector, MTCNN)
    assert (detector.name, detector.min_face_px, detector.provider) == ("mtcnn", 77, "cpu")
    assert len(detector.digest) == 64
    assert "mtcnn" in DETECTORS


@pytest.mark.parametrize(("name", "hint"), [("mtcn", "did you mean mtcnn?"), ("xyz", "mtcnn")])
def test_an_unknown_detector_is_refused_with_a_proposal(
    name: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownModelError, match=name) as caught:
        build_detector(name, Settings(home=tmp_path, gallery=tmp_path / "g.db"))
    assert hint in caught.value.hint
    with pytest.raises(UnknownModelError, match=name):
        check_detector(name)


@pytest.mark.parametrize("there", [("cpu",), ("cpu", "cuda")], ids=["missing", "not starting"])
def test_a_provider_that_does_not_run_is_told_once(
    there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("arcwise.session.available_providers", lambda: there)
    runtime = import_runtime()
    load = runtime.InferenceSession
    monkeypatch.setattr(  # as a runtime built with CUDA does without a driver
        runtime, "InferenceSession", lambda model, options, providers: load(model, options)
    )
    with caplog.at_level(logging.WARNING):
        detector = MTCNN(provider="cuda")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cuda" in caplog.text
    assert detector.provider == "cpu"


def test_a_strict_detector_refuses_another_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arcwise.session.available_providers", lambda: ("cpu",))
    home = {"home": tmp_path, "gallery": tmp_path / "g.db"}
    with pytest.raises(SessionError, match="cuda"):
        build_detector("mtcnn", Settings(**home, provider="cuda", strict=True))


# Real photos

FACES_SEEN = {  # counted by eye
    "detection1.jpg": 1,
    "detection2.jpg": 1,
    "detection3.jpg": 1,
    "detection4.jpg": 3,
    "detection5.jpg": 3,
    "detection6.jpg": 2,
    "identification1.jpg": 4,
    "test-image-person-group.jpg": 2,
}


@pytest.mark.real
@pytest.mark.parametrize("name", FACES_SEEN)
def test_every_face_people_see_is_found_and_nothing_else(
    name: str, detector: MTCNN, real_data: Path
) -> None:
    (faces,) = detector.detect([read_image(real_data / "photos" / name)])
    assert len(faces) == FACES_SEEN[name]


@pytest.mark.real
def test_every_family_photo_has_one_face(detector: MTCNN, real_data: Path) -> None:
    names = sorted((real_data / "photos").glob("Family*.jpg"))
    found = detector.detect([read_image(name) for name in names])
    assert {name.name: len(faces) for name, faces in zip(names, found, strict=True)} == {
        name.name: 1 for name in names
    }
    assert len(names) == 16


@pytest.mark.real
def test_no_photo_of_a_sample_of_lfw_is_without_a_face(detector: MTCNN, real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "lfw" / "lfw-deepfunneled.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        sample = np.random.default_rng(0).choice(len(names), 200, replace=False)
        chosen = [names[i] for i in sample]
        found = detector.detect([read_image(archive.read(name)) for name in chosen])
    assert [name for name, faces in zip(chosen, found, strict=True) if not faces] == []
