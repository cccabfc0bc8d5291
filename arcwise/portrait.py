"""How a drawn person looks, how they were met, and how that is painted.

Pure arithmetic on float32 canvases (H, W, 3), 0..255 RGB. It does not know faces, photos or
tests: `arcwise.testing` places the heads and tells the truth about them. All lengths are in px
of the ArcFace template on 112 px.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arcwise.align import TEMPLATE_PX
from arcwise.geometry import apply_transforms, invert_similarity
from arcwise.types import Floats

RGB = tuple[float, float, float]

_SKINS: tuple[RGB, ...] = (
    (244, 208, 184),
    (228, 180, 146),
    (202, 148, 112),
    (160, 108, 78),
    (112, 72, 52),
)
_EYES: tuple[RGB, ...] = ((62, 38, 22), (58, 92, 130), (74, 104, 62), (96, 70, 34))


@dataclass(frozen=True, slots=True)
class Look:
    """What stays the same from photo to photo."""

    skin: RGB
    hair: RGB
    eye: RGB
    lip: RGB
    shirt: RGB
    backdrop: RGB
    half_width: float
    half_height: float
    hairline: float
    parting: float
    brow: float
    beard: float
    has_glasses: bool
    has_long_hair: bool
    shifts: tuple[tuple[float, float], ...]  # of the five points against the template

    @property
    def middle(self) -> tuple[float, float]:
        """Of the oval of the face."""
        return 56.0, 68.0

    def points(self, moment: Moment) -> Floats:
        """(5, 2) where the points lie when the head is upright."""
        turn = np.array([[0.0], [0.0], [1.0], [0.5], [0.5]]) * [moment.turn, 0.0]
        drawn: Floats = (TEMPLATE_PX + np.array(self.shifts) + turn).astype(np.float32)
        return drawn

    @classmethod
    def of(cls, seed: int) -> Look:
        """Who a seed stands for. Hair may have any color: it tells people apart from afar."""
        rng = np.random.default_rng([1, seed])
        eyes, mouth = rng.uniform(-2.5, 2.5), rng.uniform(-3, 3)
        eye_y, nose_y, mouth_y = rng.uniform(-1.5, 1.5, 3).tolist()
        skin = _mix(_SKINS, rng)
        return cls(
            skin=skin,
            hair=_paint_of(rng, saturation=(0.1, 0.85), brightness=(0.1, 0.9)),
            eye=_EYES[rng.integers(len(_EYES))],
            lip=(0.55 * skin[0] + 70, 0.45 * skin[1] + 18, 0.45 * skin[2] + 24),
            shirt=_paint_of(rng, saturation=(0.2, 0.8), brightness=(0.2, 0.9)),
            backdrop=_paint_of(rng, saturation=(0.05, 0.5), brightness=(0.4, 0.9)),
            half_width=rng.uniform(37, 42),
            half_height=rng.uniform(49, 54),
            hairline=rng.uniform(24, 41),
            parting=rng.uniform(-0.35, 0.35),
            brow=rng.uniform(1.2, 2.8),
            beard=float(rng.choice([0.0, 0.0, 0.5, 0.9])),
            has_glasses=bool(rng.random() < 0.25),
            has_long_hair=bool(rng.random() < 0.4),
            shifts=(
                (-eyes, eye_y),
                (eyes, eye_y),
                (0.0, nose_y),
                (-mouth, mouth_y),
                (mouth, mouth_y),
            ),
        )


def _mix(colors: Sequence[RGB], rng: np.random.Generator) -> RGB:
    """A color between two neighbors of a list."""
    place = rng.uniform(0, len(colors) - 1)
    share, first = math.modf(place)
    pairs = zip(colors[int(first)], colors[int(first) + 1], strict=True)
    red, green, blue = (a * (1 - share) + b * share for a, b in pairs)
    return red, green, blue


def _paint_of(
    rng: np.random.Generator, *, saturation: tuple[float, float], brightness: tuple[float, float]
) -> RGB:
    """A color of any hue."""
    hue, strength, value = rng.random(), rng.uniform(*saturation), rng.uniform(*brightness)
    red, green, blue = colorsys.hsv_to_rgb(hue, strength, value)
    return 255 * red, 255 * green, 255 * blue


@dataclass(frozen=True, slots=True)
class Moment:
    """What differs from photo to photo."""

    lean_rad: float
    turn: float
    smile: float
    gain: float
    side_light: float
    grain: float
    seed: tuple[int, int]

    @classmethod
    def of(cls, seed: int, variation: int) -> Moment:
        """One meeting with one person; 0 is upright, in even light, without grain."""
        rng = np.random.default_rng([2, seed, variation])
        if variation == 0:
            return cls(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, (seed, 0))
        return cls(
            lean_rad=math.radians(rng.uniform(-12, 12)),
            turn=rng.uniform(-2.5, 2.5),
            smile=rng.uniform(0.3, 2.0),
            gain=rng.uniform(0.75, 1.15),
            side_light=rng.uniform(-0.15, 0.15),
            grain=rng.uniform(1, 4),
            seed=(seed, variation),
        )


# ── painting: ovals and soft spots on a grid of template coordinates ──


class Brush:
    """A part of a canvas, and where on the template its pixels lie.

    Args:
        canvas: (H, W, 3) float32 RGB; painted on in place.
        place: (2, 3) from px of the template to px of the canvas.
        frame: left, top, right, bottom of the part that is painted, px of the template.
    """

    def __init__(self, canvas: Floats, place: Floats, frame: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = frame
        outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        corners = apply_transforms(place[None], outline[None])[0]
        first = np.clip(np.floor(corners.min(axis=0)), 0, canvas.shape[1::-1]).astype(int)
        last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, canvas.shape[1::-1]).astype(int)
        self._canvas, self._place = canvas, place
        self._area = canvas[first[1] : last[1], first[0] : last[0]]
        x = np.arange(first[0], last[0], dtype=np.float32)
        y = np.arange(first[1], last[1], dtype=np.float32)[:, None]
        (a, b, shift_u), (c, d, shift_v) = invert_similarity(place[None])[0]
        self.u, self.v = a * x + b * y + shift_u, c * x + d * y + shift_v
        self._scale = math.hypot(float(place[0, 0]), float(place[1, 0]))

    def near(self, at: Sequence[float], radius: int) -> Brush:
        """The same canvas around one place only: small things need few pixels."""
        u, v = round(at[0]), round(at[1])
        frame = u - radius, v - radius, u + radius, v + radius
        return Brush(self._canvas, self._place, frame)

    def reach(self, u: float, v: float, a: float, b: float) -> Floats:
        """1 on the rim of an oval around (u, v), 0 in its middle."""
        rim: Floats = np.hypot((self.u - u) / a, (self.v - v) / b)
        return rim

    def oval(self, u: float, v: float, a: float, b: float) -> Floats:
        """How much of each pixel an oval covers; its edge is one pixel soft."""
        edge = (1 - self.reach(u, v, a, b)) * min(a, b) * self._scale + 0.5
        covered: Floats = np.clip(edge, 0, 1)
        return covered

    def spot(self, u: float, v: float, a: float, b: float) -> Floats:
        """A soft spot without edge."""
        soft: Floats = np.exp(-(self.reach(u, v, a, b) ** 2))
        return soft

    def fill(self, share: Floats, color: RGB) -> None:
        """Lay a color over the picture."""
        self._area += share[:, :, None] * (np.array(color, np.float32) - self._area)

    def shade(self, share: Floats, factor: float) -> None:
        """Darken (factor below 1) or lighten."""
        self._area *= 1 + share[:, :, None] * (factor - 1)


def paint_head(canvas: Floats, look: Look, moment: Moment, place: Floats) -> None:
    """Paint head and shoulders.

    Args:
        canvas: (H, W, 3) float32 RGB; painted on in place.
        look: who.
        moment: how they were met.
        place: (2, 3) from px of the template to px of the canvas.
    """
    brush = Brush(canvas, place, (-24, -24, 136, 210))
    hair = _paint_behind(brush, look)
    _paint_skin(brush, look, moment, hair)
    points = look.points(moment)
    eyes, nose, mouth = points[:2].tolist(), points[2].tolist(), points[3:]
    for side, eye in zip((-1, 1), eyes, strict=True):
        _paint_eye(brush.near(eye, 26), look, eye, side)
    _paint_nose(brush.near(nose, 34), nose, root_v=(eyes[0][1] + eyes[1][1]) / 2)
    _paint_mouth(brush.near(mouth.mean(axis=0).tolist(), 30), look, mouth, moment.smile)


def _paint_behind(brush: Brush, look: Look) -> Floats:
    """Hair, shoulders and neck; returns how much of each pixel the cap of hair covers."""
    u, v = look.middle
    wide, high = look.half_width, look.half_height
    if look.has_long_hair:
        brush.fill(brush.oval(u, v + 4, wide + 9, high + 8), look.hair)
    brush.fill(brush.oval(u, 196, 78, 66), look.shirt)
    neck = brush.oval(u, 122, 0.52 * wide, 34)
    brush.fill(neck, look.skin)
    brush.shade(neck, 0.72)
    hair = brush.oval(u, v - 12, wide + 6, high + 2)
    brush.fill(hair, look.hair)
    return hair


def _paint_skin(brush: Brush, look: Look, moment: Moment, hair: Floats) -> None:
    """Ears and face, with the light on them; beard and fringe."""
    u, v = look.middle
    wide, high = look.half_width, look.half_height
    if not look.has_long_hair:
        for side in (-1, 1):
            brush.fill(brush.oval(u + side * wide, v - 2, 6, 11), look.skin)
            brush.shade(brush.spot(u + side * wide, v - 2, 4, 8), 0.8)
    face = brush.oval(u, v, wide, high)
    brush.fill(face, look.skin)
    # Round: darker toward the rim, and on the side away from the light.
    brush.shade(face * np.clip(brush.reach(u, v, wide, high), 0, 1) ** 4, 0.72)
    across = np.clip((brush.u - u) / wide, -1, 1)
    brush.shade(face * (0.5 + 0.5 * across), 1 + moment.side_light)
    jaw = face * np.clip((brush.v - 84) / 10, 0, 1)
    brush.fill(jaw * look.beard, look.hair)
    fringe = look.hairline + look.parting * (brush.u - u) + 0.006 * (brush.u - u) ** 2
    brush.fill(hair * np.clip(fringe - brush.v, 0, 1), look.hair)


def _paint_eye(brush: Brush, look: Look, at: list[float], side: int) -> None:
    u, v = at
    brush.shade(brush.spot(u, v - 1, 10, 6.5), 0.72)
    brush.fill(brush.oval(u, v, 6.6, 3.2), (236, 232, 228))
    brush.fill(brush.oval(u, v - 0.2, 3.1, 3.1), look.eye)
    brush.fill(brush.oval(u, v - 0.2, 1.5, 1.5), (10, 8, 8))
    brush.fill(brush.oval(u + 1, v - 1.2, 0.7, 0.7), (250, 250, 250))
    # The lid: a dark crescent, an oval less the same oval further down.
    lid = brush.oval(u, v - 0.6, 7.4, 3.9) * (1 - brush.oval(u, v + 0.6, 7.2, 3.7))
    brush.fill(lid * (brush.v < v), (34, 24, 22))
    lift = 0.10 * (brush.u - u) * side
    brow = np.hypot((brush.u - u - side) / 9.5, (brush.v - v + 9.5 - lift) / look.brow)
    brush.fill(np.clip((1.15 - brow) * 3, 0, 1), look.hair)
    if look.has_glasses:
        ring = np.abs(brush.reach(u, v, 11.5, 9.5) - 1)
        brush.fill(np.clip(1.6 - ring * 14, 0, 1), (24, 24, 28))


def _paint_nose(brush: Brush, tip: list[float], *, root_v: float) -> None:
    u, v = tip
    middle_v = (root_v + v) / 2
    for side, factor in ((-1, 0.84), (1, 0.78)):
        brush.shade(brush.spot(u + side * 6.5, middle_v + 3, 3, 10), factor)
        brush.shade(brush.spot(u + side * 7.5, v + 2, 3.2, 3.2), 0.8)
        brush.shade(brush.spot(u + side * 4, v + 5.4, 2.6, 1.5), 0.35)
    brush.shade(brush.spot(u, v + 7.5, 8, 2.6), 0.76)
    brush.shade(brush.spot(u, middle_v, 2.6, 11), 1.10)
    brush.shade(brush.spot(u, v - 0.5, 3.6, 3.2), 1.14)


def _paint_mouth(brush: Brush, look: Look, corners: Floats, smile: float) -> None:
    (left_u, left_v), (right_u, right_v) = corners.tolist()
    u, v, half = (left_u + right_u) / 2, (left_v + right_v) / 2, (right_u - left_u) / 2
    # The line between the lips: through both corners, lower in the middle.
    line = v + smile * 1.6 * (1 - ((brush.u - u) / half) ** 2)
    above, below = line - brush.v, brush.v - line
    width = np.clip(1 - ((brush.u - u) / half) ** 2, 0, 1)
    brush.fill(np.clip(3.4 * width - above, 0, 1) * (above >= 0), look.lip)
    brush.fill(np.clip(4.6 * width - below, 0, 1) * (below >= 0), look.lip)
    brush.shade(brush.spot(u, v + smile + 1.5, 8, 2), 1.12)
    brush.fill(np.clip(1.1 * width**0.5 - np.abs(below), 0, 1), (70, 26, 28))
    brush.shade(brush.spot(u, v + 10, 9, 2.4), 0.82)
    for corner_u, corner_v in corners.tolist():
        brush.shade(brush.spot(corner_u, corner_v, 2, 1.8), 0.6)
