"""Good faces pass, bad ones are refused, and the sentence says why."""

from __future__ import annotations

import dataclasses
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from arcwise.align import TEMPLATE_PX, align_faces
from arcwise.detect import MTCNN
from arcwise.errors import ImageError, InputError
from arcwise.image import luma, read_image, sharpness
from arcwise.quality import (
    ENROLL,
    IDENTIFY,
    QualityLimits,
    estimate_poses,
    find_faults,
    judge,
    measure_qualities,
    measure_quality,
)
from arcwise.types import Face, Quality

GOOD = Quality(
    size_px=120,
    sharpness=150,
    brightness=130,
    contrast=40,
    yaw_deg=-10,
    pitch_deg=5,
    roll_deg=2,
    inside=1.0,
)


def face_at(points: np.ndarray, *, size_px: float = 100) -> Face:
    left, top = points.mean(axis=0) - size_px / 2
    return Face(
        box_xyxy_px=np.array([left, top, left + size_px, top + size_px]),
        score=0.99,
        points_px=points,
    )


def photo_with_face(offset_xy: tuple[float, float] = (60, 60)) -> tuple[np.ndarray, Face]:
    """A lit, textured 240 px square with the five points of an upright face."""
    rng = np.random.default_rng(3)
    rough = rng.integers(70, 190, (60, 60, 3), dtype=np.uint8)
    photo = cv2.resize(rough, (240, 240), interpolation=cv2.INTER_CUBIC)
    return photo, face_at(TEMPLATE_PX + np.array(offset_xy))


def measure(photo: np.ndarray, face: Face) -> Quality:
    crop = align_faces(photo, face.points_px[None])[0]
    height, width = photo.shape[:2]
    return measure_quality(face, crop, image_size_wh_px=(width, height))


# ── pose: an independent generator, a perspective camera and Rodrigues vectors ──

# Distances in mm of an average adult head: eyes 63 apart, nose tip 40 ahead of them.
HEAD_MM = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 36, -40], [-26, 72.5, -8], [26, 72.5, -8]])


def shoot_head(*, yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """Five points of a head two meters away, turned, then tilted, then rolled."""
    turn = cv2.Rodrigues(np.array([0.0, -np.radians(yaw_deg), 0.0]))[0]
    tilt = cv2.Rodrigues(np.array([-np.radians(pitch_deg), 0.0, 0.0]))[0]
    roll = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(roll_deg)]))[0]
    camera = np.array([[2500.0, 0, 320], [0, 2500.0, 240], [0, 0, 1]])
    placed = np.array([10.0, -20.0, 2000.0])
    pixels, _ = cv2.projectPoints(HEAD_MM, roll @ tilt @ turn, placed, camera, None)
    return pixels.reshape(5, 2).astype(np.float32)


@pytest.mark.parametrize("yaw", [-50, -20, 0, 35, 60])
@pytest.mark.parametrize("pitch", [-25, 0, 20])
@pytest.mark.parametrize("roll", [-70, 0, 30])
def test_the_pose_of_a_turned_head_is_found(yaw: float, pitch: float, roll: float) -> None:
    points = shoot_head(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
    found = estimate_poses(points[None])[0]
    assert found == pytest.approx([yaw, pitch, roll], abs=6)


def test_the_template_is_frontal() -> None:
    assert estimate_poses(TEMPLATE_PX[None])[0] == pytest.approx([0, 0, 0], abs=0.2)


def test_a_nose_to_the_right_is_a_turn_to_the_right_and_a_nose_up_looks_up() -> None:
    turned, lifted = TEMPLATE_PX.copy(), TEMPLATE_PX.copy()
    turned[2, 0] += 8
    lifted[2, 1] -= 8
    poses = estimate_poses(np.stack([turned, lifted]))
    assert poses[0, 0] > 10
    assert poses[1, 1] > 10


@pytest.mark.parametrize("yaw", [-85, -65, 65, 85])
def test_a_profile_is_refused_for_enrolling(yaw: float) -> None:
    found = estimate_poses(shoot_head(yaw_deg=yaw, pitch_deg=0, roll_deg=0)[None])[0]
    turned = dataclasses.replace(GOOD, yaw_deg=float(found[0]))
    assert [fault.code for fault in find_faults(turned, ENROLL)] == ["turned"]


def test_points_on_a_line_have_some_pose() -> None:
    line = np.linspace((10, 10), (50, 90), 5, dtype=np.float32)
    assert np.isfinite(estimate_poses(line[None])).all()


def test_a_mirrored_face_has_the_opposite_yaw_and_roll() -> None:
    points = shoot_head(yaw_deg=25, pitch_deg=10, roll_deg=15)
    mirrored = points[[1, 0, 2, 4, 3]] * np.array([-1, 1], dtype=np.float32)
    yaw, pitch, roll = estimate_poses(points[None])[0]
    # Not exactly: the template itself leans by 0.3°.
    assert estimate_poses(mirrored[None])[0] == pytest.approx([-yaw, pitch, -roll], abs=0.8)


def test_the_pose_does_not_depend_on_place_or_size() -> None:
    points = shoot_head(yaw_deg=25, pitch_deg=10, roll_deg=15)
    assert estimate_poses(points[None]) == pytest.approx(
        estimate_poses(points[None] * 7 + 300), abs=0.05
    )


# ── what the photo cuts off ──


def test_a_face_in_the_middle_is_wholly_inside() -> None:
    photo, face = photo_with_face()
    assert measure(photo, face).inside == 1.0


@pytest.mark.parametrize(
    ("offset_xy", "share"),
    [
        ((-28, 60), 0.75),  # a quarter of the crop is left of the photo
        ((60, -56), 0.5),  # its upper half is above
        ((60 + 96, 60), 0.75),  # the photo ends at 240: a quarter is right of it
        ((-56, -56), 0.25),  # a corner
        ((-400, 60), 0.0),
    ],
)
def test_the_share_inside_the_photo_is_the_area(
    offset_xy: tuple[float, float], share: float
) -> None:
    photo, face = photo_with_face(offset_xy)
    assert measure(photo, face).inside == pytest.approx(share, abs=0.01)


def test_the_share_inside_agrees_with_an_exact_polygon_clip() -> None:
    rng = np.random.default_rng(7)
    frame = np.array([[-0.5, -0.5], [199.5, -0.5], [199.5, 149.5], [-0.5, 149.5]], np.float32)
    corners = np.array([[-0.5, -0.5], [111.5, -0.5], [111.5, 111.5], [-0.5, 111.5]])
    for _ in range(50):
        angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.2, 2)
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        turn, shift = np.array([[cos, -sin], [sin, cos]]), rng.uniform(-20, 180, 2)
        square = (corners @ turn.T + shift).astype(np.float32)
        common, _ = cv2.intersectConvexConvex(square, frame)
        face = face_at(TEMPLATE_PX @ turn.T + shift)
        quality = measure_quality(
            face, np.zeros((112, 112, 3), np.uint8), image_size_wh_px=(200, 150)
        )
        assert quality.inside == pytest.approx(common / (112 * scale) ** 2, abs=0.01)


# ── light and blur ──


def test_brightness_and_contrast_are_those_of_the_inner_crop() -> None:
    _, face = photo_with_face()
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[32:104, 24:56] = 100
    crop[32:104, 56:88] = 160
    quality = measure_quality(face, crop, image_size_wh_px=(240, 240))
    assert quality.brightness == pytest.approx(130)
    assert quality.contrast == pytest.approx(30)


def test_a_sharp_background_does_not_hide_a_blurred_face() -> None:
    photo, face = photo_with_face()
    crop = align_faces(photo, face.points_px[None])[0]
    blurred = cv2.GaussianBlur(crop, (0, 0), 4)
    framed = np.random.default_rng(0).integers(0, 256, crop.shape, dtype=np.uint8)
    framed[30:106, 22:90] = blurred[30:106, 22:90]
    plain = measure_quality(face, blurred, image_size_wh_px=(240, 240))
    before_noise = measure_quality(face, framed, image_size_wh_px=(240, 240))
    assert before_noise.sharpness == pytest.approx(plain.sharpness, rel=0.01)
    assert sharpness(luma(framed)) > 100 * plain.sharpness


def test_size_is_the_shorter_side_of_the_box() -> None:
    face = Face(box_xyxy_px=np.array([10, 10, 50, 70]), score=1, points_px=TEMPLATE_PX)
    crop = np.zeros((112, 112, 3), np.uint8)
    assert measure_quality(face, crop, image_size_wh_px=(240, 240)).size_px == 40


# ── reasons ──


def test_a_good_face_has_no_faults() -> None:
    assert find_faults(GOOD, ENROLL) == ()
    assert judge(GOOD, ENROLL).is_good


@pytest.mark.parametrize(
    ("code", "measure", "value", "text"),
    [
        ("small", "size_px", 22.0, "the face is 22 px across, at least 50 px are needed"),
        ("small", "size_px", 49.99, "the face is 49.9 px across, at least 50 px are needed"),
        (
            "blurred",
            "sharpness",
            8.31,
            "the face is blurred: its sharpness is 8.3, at least 20 is needed",
        ),
        (
            "dark",
            "brightness",
            13.0,
            "the face is too dark: its brightness is 13 of 255, at least 40 is needed",
        ),
        (
            "bright",
            "brightness",
            240.02,
            "the face is too bright: its brightness is 240.1 of 255, at most 210 is allowed",
        ),
        ("flat", "contrast", 5.0, "the face is flat: its contrast is 5, at least 12 is needed"),
        (
            "turned",
            "yaw_deg",
            -63.0,
            "the head is turned about 63° to the side, at most 45° is allowed",
        ),
        (
            "tilted",
            "pitch_deg",
            52.0,
            "the head is tilted about 52° up or down, at most 45° is allowed",
        ),
        ("rolled", "roll_deg", 95.0, "the head leans 95° to the shoulder, at most 60° is allowed"),
        (
            "cut_off",
            "inside",
            0.61,
            "only 61 % of the face is inside the photo, at least 85 % is needed",
        ),
    ],
)
def test_each_fault_has_its_code_and_its_sentence(
    code: str, measure: str, value: float, text: str
) -> None:
    faults = find_faults(dataclasses.replace(GOOD, **{measure: value}), ENROLL)
    assert [(fault.code, fault.text) for fault in faults] == [(code, text)]


def test_a_reason_holds_value_and_limit_in_the_unit_of_its_sentence() -> None:
    (fault,) = find_faults(dataclasses.replace(GOOD, inside=0.5), ENROLL)
    assert (fault.value, fault.limit) == (50.0, 85.0)


def test_all_faults_are_told_at_once() -> None:
    bad = dataclasses.replace(GOOD, size_px=20, brightness=5, yaw_deg=80)
    assert [fault.code for fault in find_faults(bad, ENROLL)] == ["small", "dark", "turned"]


def test_a_limit_itself_is_good_enough() -> None:
    edge = dataclasses.replace(
        GOOD,
        size_px=ENROLL.min_size_px,
        brightness=ENROLL.max_brightness,
        yaw_deg=-ENROLL.max_yaw_deg,
        inside=ENROLL.min_inside,
    )
    assert find_faults(edge, ENROLL) == ()


def test_judging_again_forgets_the_earlier_reasons() -> None:
    small = judge(dataclasses.replace(GOOD, size_px=30), ENROLL)
    assert not small.is_good
    assert judge(small, IDENTIFY).is_good


def test_what_identify_refuses_enroll_refuses_too() -> None:
    for field in dataclasses.fields(QualityLimits):
        strict, lax = getattr(ENROLL, field.name), getattr(IDENTIFY, field.name)
        assert strict >= lax if field.name.startswith("min_") else strict <= lax


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"min_size_px": -1}, "min_size_px"),
        ({"min_sharpness": float("nan")}, "min_sharpness"),
        ({"max_yaw_deg": float("inf")}, "max_yaw_deg"),
        ({"min_brightness": 211}, "no face could pass"),
        ({"min_inside": 1.5}, "min_inside"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataclasses.replace(ENROLL, **wrong)


# ── many faces, wrong input ──


def test_no_faces_give_no_qualities() -> None:
    assert measure_qualities([], np.empty((0, 112, 112, 3), np.uint8), (240, 240)) == []


def test_many_faces_are_measured_as_one_by_one() -> None:
    photo, first = photo_with_face()
    faces = [first, face_at(TEMPLATE_PX * 0.5 - 10, size_px=40)]
    crops = align_faces(photo, np.stack([face.points_px for face in faces]))
    alone = [
        measure_quality(face, crop, image_size_wh_px=(240, 240))
        for face, crop in zip(faces, crops, strict=True)
    ]
    assert measure_qualities(faces, crops, (240, 240)) == alone


def test_a_face_costs_less_than_a_millisecond() -> None:
    photo, face = photo_with_face()
    crops = np.repeat(align_faces(photo, face.points_px[None]), 64, axis=0)
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        measure_qualities([face] * 64, crops, (240, 240))  # 0.15 ms a face on two busy cores
        durations.append(time.perf_counter() - start)
    assert min(durations) / 64 < 1e-3


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 128, 128, 3), np.uint8),
        np.zeros((1, 112, 112), np.uint8),
        np.zeros((1, 112, 112, 3), np.float32),
    ],
)
def test_other_crops_are_refused(crops: np.ndarray) -> None:
    _, face = photo_with_face()
    with pytest.raises(ImageError, match="112"):
        measure_qualities([face], crops, (240, 240))


def test_faces_and_crops_must_be_as_many() -> None:
    _, face = photo_with_face()
    with pytest.raises(InputError, match="2 faces, but 1 crops"):
        measure_qualities([face, face], np.zeros((1, 112, 112, 3), np.uint8), (240, 240))


def test_a_photo_without_size_is_refused() -> None:
    _, face = photo_with_face()
    with pytest.raises(InputError, match=r"\(0, 240\)"):
        measure_quality(face, np.zeros((112, 112, 3), np.uint8), image_size_wh_px=(0, 240))


# ── real photos ──


@pytest.fixture(scope="module")
def real_faces(real_data: Path) -> list[tuple[np.ndarray, Face]]:
    """Photos of 64 people of LFW's third fold and the face in the middle of each."""
    lines = (real_data / "lfw" / "pairs_6000.txt").read_text().splitlines()[600:900]
    first_photos = {line.split("/")[0]: line.split()[0] for line in lines}
    names = list(first_photos.values())[:64]
    with zipfile.ZipFile(real_data / "lfw" / "lfw-deepfunneled.zip") as archive:
        photos = [read_image(archive.read(f"lfw-deepfunneled/{name}")) for name in names]
    found = MTCNN().detect(photos)
    middle = np.array([125.0, 125.0])

    def offset(face: Face) -> float:
        left_top, right_bottom = face.box_xyxy_px[:2], face.box_xyxy_px[2:]
        return float(np.linalg.norm((left_top + right_bottom) / 2 - middle))

    return [(photo, min(faces, key=offset)) for photo, faces in zip(photos, found, strict=True)]


def find_codes(photo: np.ndarray, face: Face, crop: np.ndarray) -> set[str]:
    height, width = photo.shape[:2]
    quality = measure_quality(face, crop, image_size_wh_px=(width, height))
    return {fault.code for fault in find_faults(quality, ENROLL)}


@pytest.mark.real
def test_photos_from_the_press_are_good_enough_to_enroll(
    real_faces: list[tuple[np.ndarray, Face]],
) -> None:
    for photo, face in real_faces:
        faults = find_faults(measure(photo, face), ENROLL)
        assert {fault.code for fault in faults} <= {"turned"}, [str(fault) for fault in faults]
        assert find_faults(measure(photo, face), IDENTIFY) == ()


@pytest.mark.real
@pytest.mark.parametrize(
    ("damage", "code", "least_share"),
    [
        (lambda crop: cv2.GaussianBlur(crop, (0, 0), 3), "blurred", 0.95),
        (lambda crop: np.rint(crop * 0.1).astype(np.uint8), "dark", 1.0),
        (lambda crop: np.minimum(crop * 4.0, 255).astype(np.uint8), "bright", 0.95),
        (lambda crop: (crop // 10 + 115).astype(np.uint8), "flat", 1.0),
    ],
    ids=["blurred by sigma 3", "a tenth of the light", "overexposed", "a tenth of the contrast"],
)
def test_a_damaged_face_is_refused_for_enrolling(
    real_faces: list[tuple[np.ndarray, Face]],
    damage: Callable[[np.ndarray], np.ndarray],
    code: str,
    least_share: float,
) -> None:
    refused = [
        code in find_codes(photo, face, damage(align_faces(photo, face.points_px[None])[0]))
        for photo, face in real_faces
    ]
    assert np.mean(refused) >= least_share


@pytest.mark.real
def test_a_face_of_20_px_is_refused_for_enrolling(
    real_faces: list[tuple[np.ndarray, Face]],
) -> None:
    for photo, face in real_faces:
        scale = 20 / min(face.size_wh_px)
        points = (face.points_px + 0.5) * scale - 0.5
        little = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = Face(box_xyxy_px=face.box_xyxy_px * scale, score=face.score, points_px=points)
        crop = align_faces(little, points[None].astype(np.float32))[0]
        assert "small" in find_codes(little, small, crop)
