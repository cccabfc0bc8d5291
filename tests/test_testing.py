"""The fakes do what they say, and what is drawn is where the truth says it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arcwise.align import TEMPLATE_PX, align_faces
from arcwise.detect import MTCNN
from arcwise.encode import write_image
from arcwise.errors import ImageError, InputError
from arcwise.image import pixel_digest, read_image
from arcwise.quality import IDENTIFY, find_faults, measure_quality
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_person, draw_photo
from arcwise.types import Detector, Embedder, Face

PERSONS = range(10)
VARIATIONS = range(3)


def crop_of(photo: DrawnPhoto, number: int = 0) -> np.ndarray:
    crop: np.ndarray = align_faces(photo.image, photo.faces[number].points_px[None])[0]
    return crop


# ── drawn persons ──


def test_a_person_is_drawn_the_same_every_time() -> None:
    (first, first_points), (second, second_points) = draw_person(3), draw_person(3)
    assert (first == second).all()
    assert (first_points == second_points).all()


def test_drawing_uses_no_global_chance() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, _ = draw_person(3, variation=1)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(1)
    assert (draw_person(3, variation=1)[0] == first).all()


def test_other_persons_and_other_variations_look_different() -> None:
    pictures = [draw_person(p, variation=v)[0].tobytes() for p in PERSONS for v in VARIATIONS]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("size_px", [1, 56, 112, 250])
def test_a_person_is_drawn_in_any_size(size_px: int) -> None:
    image, points = draw_person(1, size_px=size_px)
    assert image.shape == (size_px, size_px, 3)
    assert image.dtype == np.uint8
    assert points.dtype == np.float32


def test_upright_points_lie_near_the_template_and_differ_from_person_to_person() -> None:
    offsets = np.stack([draw_person(p)[1] for p in range(50)]) - TEMPLATE_PX
    assert np.abs(offsets).max() < 4
    assert offsets[:, 0, 0].std() > 0.5


def test_points_scale_with_the_picture() -> None:
    (_, small), (_, large) = draw_person(4), draw_person(4, size_px=224)
    assert (large + 0.5) / 2 - 0.5 == pytest.approx(small, abs=1e-3)


def test_the_eyes_are_dark_where_the_points_are() -> None:
    for person in PERSONS:
        image, points = draw_person(person, size_px=448, variation=1)
        for x, y in np.rint(points[:2]).astype(int):
            pupil = image[y - 2 : y + 3, x - 2 : x + 3].mean()
            ring = np.hypot(*np.meshgrid(np.arange(448) - x, np.arange(448) - y))
            around = image[(ring > 16) & (ring < 28)].mean()
            assert pupil < 40 < around


# ── drawn photos ──


def test_a_photo_holds_its_persons_in_their_order() -> None:
    photo = draw_photo([5, 2, 8])
    lefts = [float(face.box_xyxy_px[0]) for face in photo.faces]
    assert lefts == sorted(lefts)
    height, width = photo.image.shape[:2]
    for face in photo.faces:
        assert face.box_xyxy_px.min() >= 0
        assert face.box_xyxy_px[2] <= width
        assert face.box_xyxy_px[3] <= height


def test_the_box_has_the_place_and_width_that_were_asked_for() -> None:
    photo = draw_photo(
        [1, 2], centers_xy_px=[(100, 90), (300, 150)], widths_px=[60, 120], size_wh_px=(450, 320)
    )
    assert photo.image.shape == (320, 450, 3)
    for face, center, width in zip(photo.faces, [(100, 90), (300, 150)], [60, 120], strict=True):
        assert face.size_wh_px[0] == pytest.approx(width, abs=0.01)
        middle = (face.box_xyxy_px[:2] + face.box_xyxy_px[2:]) / 2 - 0.5
        assert middle == pytest.approx(center, abs=0.01)


def test_the_box_bounds_the_oval_even_when_the_head_leans() -> None:
    # Seen from the truth alone: forehead and chin lie on the line through the box's middle.
    for variation in range(1, 6):
        face = draw_photo([3], variation=variation).faces[0]
        (left, top, right, bottom), points = face.box_xyxy_px, face.points_px
        assert left < points[:, 0].min()
        assert right > points[:, 0].max()
        assert top < points[:, 1].min()
        assert bottom > points[:, 1].max()
        eyes = points[1] - points[0]
        lean = math.degrees(math.atan2(eyes[1], eyes[0]))
        assert 0.5 < abs(lean) < 13


def test_a_face_may_be_cut_off_by_the_photo() -> None:
    photo = draw_photo([1], centers_xy_px=[(0, 100)], size_wh_px=(120, 200))
    assert photo.faces[0].box_xyxy_px[0] < 0
    quality = measure_quality(photo.faces[0], crop_of(photo), image_size_wh_px=(120, 200))
    assert quality.inside == pytest.approx(0.5, abs=0.05)


def test_a_person_outside_the_photo_leaves_it_empty() -> None:
    photo = draw_photo([1], centers_xy_px=[(5000, 60)], size_wh_px=(120, 120))
    assert (photo.image == draw_photo([], size_wh_px=(120, 120)).image).all()


def test_a_photo_of_nobody_has_no_faces() -> None:
    photo = draw_photo([])
    assert photo.faces == ()
    assert photo.image.size > 0


def test_an_upright_drawing_is_frontal_and_good_enough_to_identify() -> None:
    for person in PERSONS:
        photo = draw_photo([person])
        height, width = photo.image.shape[:2]
        quality = measure_quality(photo.faces[0], crop_of(photo), image_size_wh_px=(width, height))
        assert abs(quality.roll_deg) < 1
        assert abs(quality.yaw_deg) < 3
        assert find_faults(quality, IDENTIFY) == ()


def test_the_detector_that_comes_with_the_install_finds_the_drawn_faces() -> None:
    photos = [draw_photo([p], variation=p % 3) for p in PERSONS]
    for photo, found in zip(photos, MTCNN().detect([p.image for p in photos]), strict=True):
        (face,), (truth,) = found, photo.faces
        offset = np.abs(face.points_px - truth.points_px).max()
        assert offset < 0.08 * truth.size_wh_px[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"persons": [-1]}, "start at 0"),
        ({"persons": [1], "variation": -2}, "start at 0"),
        ({"persons": [1, 2], "widths_px": [50]}, "2 persons, but 2 centers and 1 widths"),
        ({"persons": [1], "centers_xy_px": []}, "1 persons, but 0 centers"),
        ({"persons": [1], "widths_px": [0]}, r"\[0\] px"),
        ({"persons": [1], "size_wh_px": (0, 9)}, r"\(0, 9\) px"),
    ],
)
def test_photos_that_cannot_be_drawn_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_photo(**arguments)  # type: ignore[arg-type]


def test_a_person_of_no_size_is_refused() -> None:
    with pytest.raises(InputError, match="size_px"):
        draw_person(1, size_px=0)


# ── the fake detector ──


def some_face(left: float) -> Face:
    box = np.array([left, 0, left + 50, 60])
    return Face(box_xyxy_px=box, score=0.9, points_px=TEMPLATE_PX / 2 + np.array([left, 0]))


def test_a_detector_finds_the_fixed_faces_in_every_photo() -> None:
    detector: Detector = FakeDetector([some_face(0), some_face(100)])
    photo = np.zeros((9, 9, 3), np.uint8)
    found = detector.detect([photo, photo])
    assert [[float(f.box_xyxy_px[0]) for f in faces] for faces in found] == [[0, 100], [0, 100]]


def test_a_detector_finds_in_each_photo_its_own_faces() -> None:
    dark, light = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    face = some_face(0)
    detector = FakeDetector({pixel_digest(dark): [face]})
    assert detector.detect([light, dark]) == [[], [face]]


def test_a_detector_knows_drawn_photos_even_from_a_file(tmp_path: object) -> None:
    photo = draw_photo([1, 2])
    path = write_image(f"{tmp_path}/party.png", photo.image)
    found = FakeDetector.knowing([photo]).detect([read_image(path)])
    assert found == [list(photo.faces)]


# ── the fake embedder ──


def embed_drawn(embedder: Embedder) -> np.ndarray:
    """(10 persons, 3 variations, D)."""
    assert embedder.crop_size_px == 112
    crops = np.stack([crop_of(draw_photo([p], variation=v)) for p in PERSONS for v in VARIATIONS])
    return embedder.embed(crops).vectors.reshape(len(PERSONS), len(VARIATIONS), -1)


def test_one_drawn_person_is_alike_and_two_are_not() -> None:
    vectors = embed_drawn(FakeEmbedder())
    similarities = np.einsum("pvd,qwd->pqvw", vectors, vectors)
    is_same = np.eye(len(PERSONS), dtype=bool)
    assert similarities[is_same].min() > 0.6
    assert similarities[~is_same].max() < 0.6
    assert np.median(similarities[~is_same]) < 0.2


def test_embeddings_have_norm_1_and_the_dimension_asked_for() -> None:
    embeddings = FakeEmbedder(dimension=24).embed(draw_person(1)[0][None])
    assert embeddings.vectors.shape == (1, 24)
    assert np.linalg.norm(embeddings.vectors[0]) == pytest.approx(1, abs=1e-6)


def test_an_embedding_does_not_depend_on_its_neighbors_or_on_the_light() -> None:
    crop, other = draw_person(1)[0], draw_person(2)[0]
    embedder = FakeEmbedder()
    alone, beside, darker = (
        embedder.embed(np.stack(crops)).vectors[0]
        for crops in ([crop], [crop, other], [(crop * 0.6).astype(np.uint8)])
    )
    assert beside == pytest.approx(alone, abs=1e-6)
    assert float(darker @ alone) > 0.9


def test_the_cosine_is_that_of_the_documented_kernel() -> None:
    crops = np.stack([draw_person(p, variation=v)[0] for p in range(6) for v in range(2)])
    inner = crops[:, 14:98, 14:98].astype(np.float64)
    cells = inner.reshape(12, 7, 12, 7, 12, 3).mean(axis=(2, 4))
    logs = np.log(cells + 8).reshape(12, -1)
    logs -= logs.mean(axis=1, keepdims=True)
    squares = ((logs[:, None] - logs[None]) ** 2).mean(axis=2)
    vectors = FakeEmbedder(dimension=4096).embed(crops).vectors
    assert vectors @ vectors.T == pytest.approx(np.exp(-squares / (2 * 0.12**2)), abs=0.08)


def test_embedders_of_two_dimensions_are_two_models() -> None:
    assert FakeEmbedder(64).digest == FakeEmbedder(64).digest
    assert FakeEmbedder(64).digest != FakeEmbedder(128).digest


def test_no_crops_give_no_embeddings() -> None:
    assert FakeEmbedder().embed(np.zeros((0, 112, 112, 3), np.uint8)).vectors.shape == (0, 64)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((1, 100, 100, 3), np.uint8),
        np.zeros((1, 112, 112, 3), np.float32),
    ],
)
def test_other_crops_are_refused_by_the_embedder(crops: np.ndarray) -> None:
    with pytest.raises(ImageError, match="multiple of 56"):
        FakeEmbedder().embed(crops)


def test_an_embedding_needs_a_dimension() -> None:
    with pytest.raises(InputError, match="dimension"):
        FakeEmbedder(dimension=0)
