"""Fakes and drawn faces, for our tests and for yours: no model, no photo of anybody, no chance.

`draw_person` and `draw_photo` paint faces whose look depends on a number, with exact ground
truth. `FakeDetector` and `FakeEmbedder` stand where a detector and an embedder stand. It does
not claim that a drawing behaves as a photo: accuracy is measured on photos.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import ImageError, InputError
from arcwise.geometry import apply_transforms
from arcwise.image import pixel_digest
from arcwise.portrait import Look, Moment, paint_head
from arcwise.types import Crops, Embeddings, Face, Floats, Image

# ── fakes ──


class FakeDetector:
    """Finds what it was told to find.

    Args:
        faces: either the faces of every photo, or for each photo, by `pixel_digest`, its own;
            in a photo that was not named it finds nobody.
    """

    name = "fake-detector"
    digest = hashlib.sha256(b"fake-detector").hexdigest()

    def __init__(self, faces: Sequence[Face] | Mapping[str, Sequence[Face]]) -> None:
        self._faces = faces

    @classmethod
    def knowing(cls, photos: Iterable[DrawnPhoto]) -> FakeDetector:
        """A detector that finds the drawn faces of these photos.

        A photo is known by its pixels: a copy saved as PNG is found again, a JPEG is not.
        """
        return cls({pixel_digest(photo.image): photo.faces for photo in photos})

    def detect(self, images: list[Image]) -> list[list[Face]]:
        """The faces of each photo, as they were given."""
        if isinstance(self._faces, Mapping):
            return [list(self._faces.get(pixel_digest(image), ())) for image in images]
        return [list(self._faces) for _ in images]


# The cells that FakeEmbedder sees: the inner three quarters of a crop, as 7x7 mean colors.
_CELLS = 7
_LOG_OFFSET = 8.0  # of 255: grain in the dark is no difference
_KERNEL_WIDTH = 0.12  # between one drawn person's photos (0.05) and two persons (0.35)


class FakeEmbedder:
    """Embeds a crop by how it looks from afar, without a model.

    The inner three quarters of the crop are reduced to 7x7 mean colors; of their logarithms the
    mean is taken away (so that twice the light is no difference); random Fourier features, the
    same in every process, map the rest. The cosine of two embeddings is then about
    exp(-d²/2w²), where d is the root mean square difference of the logarithms and w = 0.12:
    1 for equal crops, near 0 for crops that look different. Crops of one drawn person are alike
    and those of two are not; it cannot recognize anybody in a photo.

    Args:
        dimension: length of the embeddings; with fewer, the cosine is rougher (1/sqrt of it).

    Raises:
        InputError: the dimension is not positive.

    Source: Rahimi and Recht (2007), "Random features for large-scale kernel machines".
    """

    name = "fake-embedder"
    crop_size_px = 112

    def __init__(self, dimension: int = 64) -> None:
        if dimension < 1:
            raise InputError(f"dimension must be at least 1, got {dimension}")
        self._dimension = dimension
        rng = np.random.default_rng(112)
        n_colors = _CELLS * _CELLS * 3
        width = _KERNEL_WIDTH * math.sqrt(n_colors)
        self._projection = rng.normal(0, 1 / width, (n_colors, dimension)).astype(np.float32)
        self._phases = rng.uniform(0, 2 * math.pi, dimension).astype(np.float32)

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return self._dimension

    @property
    def digest(self) -> str:
        """Another dimension is another model."""
        return hashlib.sha256(f"fake-embedder {self._dimension}".encode()).hexdigest()

    def embed(self, crops: Crops) -> Embeddings:
        """Embed aligned crops.

        Args:
            crops: (N, S, S, 3) uint8 RGB, S a multiple of 56.

        Raises:
            ImageError: they have another shape or type.
        """
        side = crops.shape[1] if crops.ndim == 4 else 0
        if crops.shape[1:] != (side, side, 3) or side % 56 or crops.dtype != np.uint8:
            raise ImageError(
                "the fake embedder needs (N, S, S, 3) uint8 crops with S a multiple of 56, "
                f"got {crops.shape} {crops.dtype}"
            )
        inner = crops[:, side // 8 : -side // 8, side // 8 : -side // 8]
        cell_px = inner.shape[1] // _CELLS
        cells = inner.reshape(-1, _CELLS, cell_px, _CELLS, cell_px, 3)
        means = cells.mean(axis=(2, 4), dtype=np.float32)
        logs = np.log(means + _LOG_OFFSET).reshape(len(crops), _CELLS * _CELLS * 3)
        logs -= logs.mean(axis=1, keepdims=True)
        return Embeddings.from_raw(np.cos(logs @ self._projection + self._phases))


# ── drawn faces ──


@dataclass(frozen=True, eq=False, slots=True)
class DrawnPhoto:
    """A drawn photo and what is true about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        faces: who was asked for, in that order. The box bounds the oval of the face, the points
            are where they were drawn, the score is 1.
    """

    image: Image
    faces: tuple[Face, ...]


def draw_person(
    seed: int, *, size_px: int = 112, variation: int = 0
) -> tuple[Image, NDArray[np.float32]]:
    """Draw the face of one person, in the frame of an aligned crop.

    Args:
        seed: who it is, from 0: skin, hair, eyes, proportions, sometimes glasses or a beard.
        size_px: side of the picture.
        variation: which picture of this person, from 0: light, lean of the head, mouth, gaze
            and grain. 0 is upright in even light.

    Returns:
        (size_px, size_px, 3) uint8 RGB and the five points, (5, 2) float32 px. Upright they lie
        within 4 px (of 112) of the ArcFace template.

    Raises:
        InputError: a negative seed or variation, or no size.
    """
    _check_seeds([seed], variation)
    if size_px < 1:
        raise InputError(f"size_px must be at least 1, got {size_px}")
    look, moment = Look.of(seed), Moment.of(seed, variation)
    canvas = np.full((size_px, size_px, 3), look.backdrop, dtype=np.float32)
    # Pixel centers: the middle of the template's frame is 55.5, of ours (size_px - 1) / 2.
    place = _place_head((size_px - 1) / 2, (size_px - 1) / 2, size_px / 112, moment, (55.5, 55.5))
    paint_head(canvas, look, moment, place)
    return _finish(canvas, moment), apply_transforms(place[None], look.points(moment)[None])[0]


def draw_photo(
    persons: Sequence[int],
    *,
    centers_xy_px: Sequence[tuple[float, float]] | None = None,
    widths_px: Sequence[float] | None = None,
    size_wh_px: tuple[int, int] | None = None,
    variation: int = 0,
) -> DrawnPhoto:
    """Draw several people into one photo.

    Args:
        persons: the seed of each, see `draw_person`; those named later stand in front.
        centers_xy_px: middle of each face; in a row by default.
        widths_px: width of each face (upright); 96 by default.
        size_wh_px: width and height of the photo; by default it holds the row.
        variation: which photo of these people, from 0.

    Raises:
        InputError: a negative seed or variation, not one center or width per person, or a
            photo or face without size.
    """
    _check_seeds(persons, variation)
    widths = [96.0] * len(persons) if widths_px is None else list(widths_px)
    step = 1.9 * max(widths, default=96.0)
    centers = (
        [(step * (i + 0.5), 0.6 * step) for i in range(len(persons))]
        if centers_xy_px is None
        else list(centers_xy_px)
    )
    if not len(persons) == len(centers) == len(widths):
        raise InputError(
            f"{len(persons)} persons, but {len(centers)} centers and {len(widths)} widths"
        )
    size_wh = size_wh_px or (math.ceil(step * max(len(persons), 1)), math.ceil(1.25 * step))
    if min(size_wh) < 1 or min(widths, default=1) <= 0:
        raise InputError(f"cannot draw faces of {widths} px into a photo of {size_wh} px")
    scene = Moment.of(0, variation)
    canvas = _draw_room(size_wh, variation)
    faces = []
    for seed, (x, y), width in zip(persons, centers, widths, strict=True):
        look, moment = Look.of(seed), Moment.of(seed, variation)
        place = _place_head(x, y, width / (2 * look.half_width), moment, look.middle)
        paint_head(canvas, look, moment, place)
        faces.append(_truth(look, moment, place))
    return DrawnPhoto(_finish(canvas, scene), tuple(faces))


def _check_seeds(persons: Sequence[int], variation: int) -> None:
    if min([*persons, variation]) < 0:
        raise InputError(f"seeds and variations start at 0, got {[*persons, variation]}")


def _place_head(
    x: float, y: float, scale: float, moment: Moment, middle: tuple[float, float]
) -> Floats:
    """(2, 3) from template px to photo px: `middle` comes to (x, y)."""
    cos = math.cos(moment.lean_rad) * scale
    sin = math.sin(moment.lean_rad) * scale
    u, v = middle
    return np.array(
        [[cos, -sin, x - cos * u + sin * v], [sin, cos, y - sin * u - cos * v]], np.float32
    )


def _truth(look: Look, moment: Moment, place: Floats) -> Face:
    (cos, _, _), (sin, _, _) = np.abs(place)
    middle = apply_transforms(place[None], np.array([[look.middle]], np.float32))[0, 0]
    # The box around a turned oval.
    reach = np.hypot(
        np.array([cos, sin]) * look.half_width, np.array([sin, cos]) * look.half_height
    )
    points = apply_transforms(place[None], look.points(moment)[None])[0]
    # Edges of pixels: a center is half a pixel from its left edge.
    box = np.concatenate([middle - reach, middle + reach]) + 0.5
    return Face(box_xyxy_px=box.astype(np.float32), score=1.0, points_px=points)


def _draw_room(size_wh_px: tuple[int, int], variation: int) -> Floats:
    """A wall with soft light."""
    width, height = size_wh_px
    rng = np.random.default_rng([3, variation])
    wall = rng.uniform(120, 210, 3).astype(np.float32)
    down = np.linspace(1.1, 0.8, height, dtype=np.float32)[:, None, None]
    across = np.linspace(0.95, 1.05, width, dtype=np.float32)[None, :, None]
    room: Floats = wall * down * across
    return room


def _finish(canvas: Floats, moment: Moment) -> Image:
    rng = np.random.default_rng([4, *moment.seed])
    grain = moment.grain * rng.standard_normal(canvas.shape, dtype=np.float32)
    finished: Image = np.clip(np.rint(canvas * moment.gain + grain), 0, 255).astype(np.uint8)
    return finished
