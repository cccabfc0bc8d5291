"""Is this face good enough, and if not, why: size, blur, light, pose, and what the photo cuts off.

It measures and holds the measures against limits; it does not decide what happens then, and it
does not know models or people. How the limits were found: docs/quality.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from arcwise.align import TEMPLATE_PX
from arcwise.errors import ImageError, InputError
from arcwise.geometry import fit_similarity, invert_similarity
from arcwise.image import luma, sharpness
from arcwise.types import Crops, Face, Floats, Image, Quality, Reason

_SIDE_PX = 112
# The skin between brows and chin. Hair, background and the black border of a face at the edge
# of the photo must not answer for the face.
_INNER = np.s_[32:104, 24:88]
# Cells per side of the grid that measures how much of the crop the photo covers: a straight cut
# parallel to a side is off by at most half a cell, 0.9 % of the crop.
_CELLS = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """What a face must have. Each limit itself is still good enough.

    Attributes:
        min_size_px: shorter side of the box, px of the original photo.
        min_sharpness: variance of the Laplacian.
        min_brightness, max_brightness: mean luma, 0..255.
        min_contrast: standard deviation of the luma.
        max_yaw_deg, max_pitch_deg, max_roll_deg: turned to either side; 180 never refuses.
        min_inside: share of the aligned crop inside the photo, 0..1.

    Raises:
        InputError: a limit is negative or not finite, or no face could ever pass.
    """

    min_size_px: float
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    min_contrast: float
    max_yaw_deg: float
    max_pitch_deg: float
    max_roll_deg: float
    min_inside: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise InputError(f"{field.name} must be a number from 0, got {value}")
        if self.min_brightness > self.max_brightness:
            raise InputError(
                f"min_brightness {self.min_brightness} is above max_brightness "
                f"{self.max_brightness}: no face could pass"
            )
        if self.min_inside > 1:
            raise InputError(f"min_inside is a share of at most 1, got {self.min_inside}")


# Sources of all numbers: the measurements in docs/quality.md.
ENROLL = QualityLimits(
    min_size_px=50,
    min_sharpness=20,
    min_brightness=40,
    max_brightness=210,
    min_contrast=12,
    max_yaw_deg=45,
    max_pitch_deg=45,
    max_roll_deg=60,
    min_inside=0.85,
)
"""For a face that will be remembered: strict, the next photo is only a moment away."""

IDENTIFY = QualityLimits(
    min_size_px=20,
    min_sharpness=4,
    min_brightness=10,
    max_brightness=250,
    min_contrast=3,
    max_yaw_deg=75,
    max_pitch_deg=70,
    max_roll_deg=180,
    min_inside=0.5,
)
"""For a face to be named: lax, refuses only where a decision would be worthless."""


@dataclass(frozen=True, slots=True)
class _Check:
    """One line of the table of faults: which measure against which limit, and the sentence."""

    code: str
    measure: str
    limit: str
    sentence: str
    factor: float = 1.0  # from the unit of the measure to the unit of the sentence

    def find_fault(self, quality: Quality, limits: QualityLimits) -> Reason | None:
        """The reason, or None when the measure keeps the limit."""
        value = abs(getattr(quality, self.measure)) * self.factor
        limit = getattr(limits, self.limit) * self.factor
        is_least = self.limit.startswith("min_")
        if value >= limit if is_least else value <= limit:
            return None
        # Rounded away from the limit: "50 px, at least 50 px are needed" would be absurd.
        shown = (math.floor if is_least else math.ceil)(value * 10) / 10
        text = self.sentence.format(value=f"{shown:g}", limit=f"{limit:g}")
        return Reason(code=self.code, text=text, value=value, limit=limit)


_CHECKS = (
    _Check(
        "small",
        "size_px",
        "min_size_px",
        "the face is {value} px across, at least {limit} px are needed",
    ),
    _Check(
        "blurred",
        "sharpness",
        "min_sharpness",
        "the face is blurred: its sharpness is {value}, at least {limit} is needed",
    ),
    _Check(
        "dark",
        "brightness",
        "min_brightness",
        "the face is too dark: its brightness is {value} of 255, at least {limit} is needed",
    ),
    _Check(
        "bright",
        "brightness",
        "max_brightness",
        "the face is too bright: its brightness is {value} of 255, at most {limit} is allowed",
    ),
    _Check(
        "flat",
        "contrast",
        "min_contrast",
        "the face is flat: its contrast is {value}, at least {limit} is needed",
    ),
    _Check(
        "turned",
        "yaw_deg",
        "max_yaw_deg",
        "the head is turned about {value}° to the side, at most {limit}° is allowed",
    ),
    _Check(
        "tilted",
        "pitch_deg",
        "max_pitch_deg",
        "the head is tilted about {value}° up or down, at most {limit}° is allowed",
    ),
    _Check(
        "rolled",
        "roll_deg",
        "max_roll_deg",
        "the head leans {value}° to the shoulder, at most {limit}° is allowed",
    ),
    _Check(
        "cut_off",
        "inside",
        "min_inside",
        "only {value} % of the face is inside the photo, at least {limit} % is needed",
        factor=100.0,
    ),
)


def _build_head() -> Floats:
    # x and y: the ArcFace template, so that a face on the template is frontal by definition.
    # z (away from the viewer), in spans from eye to eye: MediaPipe's canonical face model
    # (Apache-2.0), vertices 33, 133, 362, 263 for the eyes, 1 for the nose, 61 and 291 for the
    # mouth. LFW agrees: how fast the eyes close up as the nose wanders sideways puts the nose
    # 0.62 to 0.65 ahead of the line from eyes to mouth, this model 0.57 (docs/quality.md).
    eye_span = float(np.linalg.norm(TEMPLATE_PX[1] - TEMPLATE_PX[0]))
    depths = np.array([[0.0], [0.0], [-0.636], [-0.130], [-0.130]]) * eye_span
    head = np.hstack([TEMPLATE_PX, depths])
    centered: Floats = (head - head.mean(axis=0)).astype(np.float32)
    return centered


_HEAD = _build_head()


def estimate_poses(points: Floats) -> Floats:
    """How heads are turned, from their five points. Rough: see below.

    Args:
        points: (N, 5, 2) px; order in docs/conventions.md.

    Returns:
        (N, 3) float32 degrees, as the viewer sees it: yaw, positive when the face looks to the
        right; pitch, positive when it looks up; roll, positive when it leans clockwise. The
        head is first turned, then tilted, then rolled. Frontal is (0, 0, 0).

    A generic head is fitted by least squares as an affine camera sees it (five points, closed
    form), and the nearest rotation is taken. Real heads differ: expect 5° of error in yaw
    (somebody with a long nose seems to turn further), 2° in roll, and 10° in pitch, up to 25°
    for a long nose or a broad smile. Beyond 60° most detectors themselves guess the points.

    Source: weak-perspective pose, Horaud et al. (1997), "Object pose: the link between weak
    perspective, paraperspective, and full perspective"; nearest rotation by singular values.
    """
    centered = points.astype(np.float64) - points.mean(axis=1, keepdims=True, dtype=np.float64)
    cameras = centered.transpose(0, 2, 1) @ np.linalg.pinv(_HEAD).T  # (N, 2, 3)
    left, _, right = np.linalg.svd(cameras, full_matrices=False)
    rows = left @ right
    x_row, y_row = rows[:, 0], rows[:, 1]
    z_row = np.cross(x_row, y_row)
    yaws = np.arctan2(z_row[:, 0], z_row[:, 2])
    pitches = np.arcsin(np.clip(-z_row[:, 1], -1, 1))
    rolls = np.arctan2(-x_row[:, 1], y_row[:, 1])
    poses: Floats = np.degrees(np.stack([yaws, pitches, rolls], axis=1)).astype(np.float32)
    return poses


def measure_qualities(
    faces: Sequence[Face], crops: Crops, image_size_wh_px: tuple[int, int]
) -> list[Quality]:
    """Measure faces of one photo.

    Args:
        faces: N faces.
        crops: (N, 112, 112, 3) uint8 RGB, the same faces, aligned.
        image_size_wh_px: width and height of the photo.

    Returns:
        One quality per face, without reasons; `judge` adds them. Sharpness, brightness and
        contrast are those of the inner part of the crop (rows 32 to 103, columns 24 to 87).

    Raises:
        ImageError: the crops are not (N, 112, 112, 3) uint8.
        InputError: not one crop per face, or the photo has no size.
    """
    if crops.shape[1:] != (_SIDE_PX, _SIDE_PX, 3) or crops.dtype != np.uint8:
        raise ImageError(
            f"quality is measured on (N, 112, 112, 3) uint8 RGB crops, got {crops.shape} "
            f"{crops.dtype}",
            hint="align with size_px=112; the limits are in its pixels",
        )
    if len(faces) != len(crops):
        raise InputError(f"{len(faces)} faces, but {len(crops)} crops")
    if min(image_size_wh_px) < 1:
        raise InputError(f"image_size_wh_px must be positive, got {image_size_wh_px}")
    if not faces:
        return []
    points = np.stack([face.points_px for face in faces])
    poses = estimate_poses(points)
    insides = _measure_insides(points, image_size_wh_px)
    grays = np.ascontiguousarray(luma(crops)[:, *_INNER])
    lights = grays.reshape(len(faces), -1)
    return [
        Quality(
            size_px=min(face.size_wh_px),
            sharpness=sharpness(gray),
            brightness=float(brightness),
            contrast=float(contrast),
            yaw_deg=float(pose[0]),
            pitch_deg=float(pose[1]),
            roll_deg=float(pose[2]),
            inside=float(inside),
        )
        for face, gray, brightness, contrast, pose, inside in zip(
            faces, grays, lights.mean(axis=1), lights.std(axis=1), poses, insides, strict=True
        )
    ]


def measure_quality(face: Face, crop: Image, *, image_size_wh_px: tuple[int, int]) -> Quality:
    """Measure one face; see `measure_qualities`.

    Args:
        face: where it is in the photo.
        crop: (112, 112, 3) uint8 RGB, the face aligned.
        image_size_wh_px: width and height of the photo.

    Returns:
        The measures, without reasons.

    Raises:
        ImageError: the crop is not (112, 112, 3) uint8.
        InputError: the photo has no size.
    """
    return measure_qualities([face], crop[None], image_size_wh_px)[0]


def _measure_insides(points: Floats, image_size_wh_px: tuple[int, int]) -> Floats:
    to_photo = invert_similarity(fit_similarity(points, TEMPLATE_PX))
    # Centers of the cells. A pixel reaches half a pixel around its center, a whole number.
    steps = (np.arange(_CELLS, dtype=np.float32) + 0.5) * (_SIDE_PX / _CELLS) - 0.5
    covered = np.ones((len(points), _CELLS, _CELLS), dtype=np.bool_)
    for axis, side in enumerate(image_size_wh_px):
        along_x, along_y, shift = np.moveaxis(to_photo[:, axis], 1, 0)[:, :, None]
        by_column = along_x * steps
        by_row = along_y * steps + shift
        places = by_row[:, :, None] + by_column[:, None, :]
        covered &= (places >= -0.5) & (places <= side - 0.5)
    shares: Floats = covered.mean(axis=(1, 2), dtype=np.float32)
    return shares


def find_faults(quality: Quality, limits: QualityLimits) -> tuple[Reason, ...]:
    """Everything that is wrong with a face.

    Args:
        quality: what was measured.
        limits: ENROLL, IDENTIFY or your own.

    Returns:
        One reason per broken limit, in the order of the table in docs/quality.md; empty when
        the face is good enough.
    """
    found = (check.find_fault(quality, limits) for check in _CHECKS)
    return tuple(reason for reason in found if reason is not None)


def judge(quality: Quality, limits: QualityLimits) -> Quality:
    """The same measures with the reasons of `find_faults`; earlier reasons are dropped."""
    return replace(quality, reasons=find_faults(quality, limits))
