"""Random changes of a training crop: how strong, how often, drawn from a seed. numpy and pixels.

It does not know people, files or batches. All random numbers of a crop are drawn first, in one
fixed order and always as many, and applied afterwards: so switching one change off, or on, alters
nothing else, neither in this crop nor in the next one from the same generator. Source of the
strengths: a trial on aligned LFW crops, see docs/augmentation.md; the window of `crop`: the
training code of Kim et al., AdaFace (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

import numpy as np

from arcwise.distort import (
    Placement,
    Rectangle,
    Tone,
    add_noise,
    blur_image,
    change_tone,
    compress_jpeg,
    erase_rectangle,
    keep_rectangle,
    lower_resolution,
    remove_color,
    warp_crop,
)
from arcwise.errors import InputError, LearningError
from arcwise.types import Image, check_image

MOST: dict[str, float] = {
    "scale": 1,
    "rotation_deg": 180,
    "shift_px": 112,
    "shear": 1,
    "contrast": 2,
    "brightness": 255,
    "color": 2,
    "saturation": 2,
    "hue_deg": 180,
}
"""Upper limit of each strength; only stops slips of the keyboard. All others are probabilities."""

# No normal draw is further off. One crop in forty would have such a draw, and among millions some
# would show nothing that can be recognized.
_MOST_SIGMA = 3.0
_SHEAR_SHARE = 0.3  # of the crops are sheared at all
_NOISE_SIGMA = 8.0  # levels
_BLUR_SIGMA_PX = 0.5, 1.5  # docs/quality.md: 98 of 100 faces are recognized at 1.5
_LOW_RESOLUTION_PX = 24, 80  # side; docs/quality.md: 97 of 100 are recognized at 25
_JPEG_QUALITY = 30, 90
_ERASE_PX = 15, 55  # each side, on its own
_CROP_AREA = 0.2, 1.0  # AdaFace, as is the next line
_CROP_RATIO = math.log(3 / 4), math.log(4 / 3)  # width to height
_SIDE_PX = 112  # of the crop that every length in px is meant for


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How strongly and how often training crops are changed; 0 switches a change off.

    Lengths in px are those of a crop of 112 px; they grow with the crop. No normal draw is
    further off than 3 sigma.

    Attributes:
        mirror: probability.
        scale: sigma of the logarithm of the factor.
        rotation_deg: sigma.
        shift_px: sigma, along x and along y.
        shear: sigma, px per px; of 30 % of the crops.
        contrast: sigma of the logarithm of the factor.
        brightness: sigma, levels.
        color: sigma of the logarithm of the factor of each channel.
        saturation: sigma of the logarithm of the factor.
        hue_deg: sigma of the turn of the colors.
        gray: probability that the color is taken away.
        blur: probability of a Gaussian of sigma 0.5..1.5 px.
        low_resolution: probability of being scaled down to a side of 24..80 px and up again.
        noise: probability of normal noise of sigma 8 levels.
        jpeg: probability of a JPEG of quality 30..90.
        erase: probability that a rectangle of 15..55 px sides is filled with one gray level; it
            may reach over the edge.
        crop: probability that only a window of 20 to 100 % of the area is left, where it is, and
            the rest is black.

    Raises:
        LearningError: a probability outside of 0..1, or a strength that is negative or absurd.
    """

    mirror: float = 0.5
    scale: float = 0.06
    rotation_deg: float = 6.0
    shift_px: float = 2.5
    shear: float = 0.06
    contrast: float = 0.2
    brightness: float = 18.0
    color: float = 0.08
    saturation: float = 0.0
    hue_deg: float = 0.0
    gray: float = 0.15
    blur: float = 0.1
    low_resolution: float = 0.2
    noise: float = 0.1
    jpeg: float = 0.1
    erase: float = 0.5
    crop: float = 0.0

    def __post_init__(self) -> None:
        for part in fields(self):
            value: Any = getattr(self, part.name)
            most = MOST.get(part.name, 1)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_number and 0 <= value <= most):
                noun = "strength" if part.name in MOST else "probability"
                raise LearningError(
                    f"augmentation.{part.name} is {value!r}",
                    hint=f"use a {noun} from 0 to {most:g}",
                )

    @classmethod
    def none(cls) -> Augmentation:
        """No change at all: every field is 0."""
        return cls(**{part.name: 0.0 for part in fields(cls)})

    def draw(self, rng: np.random.Generator, *, size_px: int = _SIDE_PX) -> Distortion:
        """Decide what is done to the next crop.

        Args:
            rng: advanced equally far, whatever the strengths are.
            size_px: side of the crop; lengths in px grow with it.
        """
        normals = rng.standard_normal(12).clip(-_MOST_SIGMA, _MOST_SIGMA).tolist()
        scale, rotation, shift_x, shift_y, shear, *tones = normals
        uniforms = rng.random(22).tolist()
        mirrored, sheared, gray, blurred, blur, lowered, side, *uniforms = uniforms
        noisy, noise, compressed, quality, hidden, *uniforms = uniforms
        *rectangle, cropped, area, ratio, left, top = uniforms
        unit_px = size_px / _SIDE_PX
        return Distortion(
            placement=Placement(
                scale=math.exp(self.scale * scale),
                rotation_deg=self.rotation_deg * rotation,
                shift_x_px=self.shift_px * shift_x * unit_px,
                shift_y_px=self.shift_px * shift_y * unit_px,
                shear=self.shear * shear if sheared < _SHEAR_SHARE else 0.0,
                mirror=mirrored < self.mirror,
            ),
            tone=self._choose_tone(*tones),
            is_gray=gray < self.gray,
            blur_sigma_px=_between(_BLUR_SIGMA_PX, blur) * unit_px if blurred < self.blur else None,
            low_resolution_px=(
                max(1, round(_between(_LOW_RESOLUTION_PX, side) * unit_px))
                if lowered < self.low_resolution
                else None
            ),
            noise_seed=int(noise * 2**53) if noisy < self.noise else None,  # all its bits
            jpeg_quality=(
                round(_between(_JPEG_QUALITY, quality)) if compressed < self.jpeg else None
            ),
            hidden=_place_rectangle(rectangle, size_px) if hidden < self.erase else None,
            window=(
                _place_window((area, ratio, left, top), size_px) if cropped < self.crop else None
            ),
        )

    def _choose_tone(self, contrast: float, brightness: float, *colors: float) -> Tone:
        """Of seven normal numbers: contrast, brightness, three channels, saturation, hue."""
        red, green, blue = (math.exp(self.color * value) for value in colors[:3])
        return Tone(
            contrast=math.exp(self.contrast * contrast),
            brightness=self.brightness * brightness,
            red=red,
            green=green,
            blue=blue,
            saturation=math.exp(self.saturation * colors[3]),
            hue_deg=self.hue_deg * colors[4],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """What is done to one crop, in this order; the default changes nothing.

    Light, lens, sensor and file act in this order on a photo. What is hidden comes after all of
    them: nothing of it may remain. Last comes the end of the photo, which the aligner makes black.

    Attributes:
        placement: how the face lies.
        tone: light and color.
        is_gray: the color is taken away.
        blur_sigma_px: of a Gaussian; None leaves the crop as it is, here and below.
        low_resolution_px: side to which it is scaled down, and up again.
        noise_seed: of normal noise of sigma 8 levels.
        jpeg_quality: of the JPEG it goes through.
        hidden: the part that is filled with one gray level.
        window: the part that is left; the rest is black.
    """

    placement: Placement = field(default_factory=Placement)
    tone: Tone = field(default_factory=Tone)
    is_gray: bool = False
    blur_sigma_px: float | None = None
    low_resolution_px: int | None = None
    noise_seed: int | None = None
    jpeg_quality: int | None = None
    hidden: Rectangle | None = None
    window: Rectangle | None = None

    def apply(self, crop: Image, *, size_px: int = _SIDE_PX) -> Image:
        """Cut the middle out of a crop with a border, and change it.

        Args:
            crop: (S, S, 3) uint8 RGB; not changed.
            size_px: side of the result, an even number of px less than S.

        Returns:
            (size_px, size_px, 3) uint8 RGB, C-contiguous, its own memory.

        Raises:
            ImageError: not an RGB image.
            InputError: not square, or smaller than the result.
        """
        image = warp_crop(crop, self.placement, size_px=size_px)
        if not self.tone.is_neutral:
            image = change_tone(image, self.tone)
        if self.is_gray:
            image = remove_color(image)
        if self.blur_sigma_px is not None:
            image = blur_image(image, sigma_px=self.blur_sigma_px)
        if self.low_resolution_px is not None:
            image = lower_resolution(image, side_px=self.low_resolution_px)
        if self.noise_seed is not None:
            image = add_noise(image, sigma=_NOISE_SIGMA, seed=self.noise_seed)
        if self.jpeg_quality is not None:
            image = compress_jpeg(image, quality=self.jpeg_quality)
        if self.hidden is not None:
            image = erase_rectangle(image, self.hidden)
        if self.window is not None:
            image = keep_rectangle(image, self.window)
        return image


def augment(
    crop: Image,
    *,
    border_px: int,
    size_px: int = _SIDE_PX,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Image:
    """Change one training crop at random, and cut its border.

    Args:
        crop: (size_px + 2·border_px, the same, 3) uint8 RGB, aligned; not changed.
        border_px: how much more than the template the crop shows on each side; with 0, whatever
            moves shows repeated pixels of the edge.
        size_px: side of the result.
        augmentation: how strongly and how often.
        rng: the same state gives the same bytes.

    Returns:
        (size_px, size_px, 3) uint8 RGB, its own memory. With `Augmentation.none()` exactly the
        middle of the crop.

    Raises:
        ImageError: not an RGB image.
        InputError: its size is another one.
    """
    side_px = size_px + 2 * border_px
    if check_image(crop).shape[:2] != (side_px, side_px) or border_px < 0:
        raise InputError(
            f"a crop of {size_px} px with a border of {border_px} px is "
            f"{side_px}x{side_px}, got {crop.shape[1]}x{crop.shape[0]}",
            hint="use the size and border that the crops were prepared with",
        )
    return augmentation.draw(rng, size_px=size_px).apply(crop, size_px=size_px)


def _between(limits: tuple[float, float], uniform: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * uniform


def _place_window(uniforms: tuple[float, float, float, float], size_px: int) -> Rectangle:
    """20 to 100 % of the area, 3:4 to 4:3, anywhere inside; a side is at most the crop's."""
    area, ratio, x, y = uniforms
    side_px = size_px * math.sqrt(_between(_CROP_AREA, area))
    stretch = math.exp(_between(_CROP_RATIO, ratio) / 2)
    width_px, height_px = (
        min(max(1, round(side)), size_px) for side in (side_px * stretch, side_px / stretch)
    )
    left = int(x * (size_px - width_px + 1))
    top = int(y * (size_px - height_px + 1))
    return Rectangle(left=left, top=top, right=left + width_px, bottom=top + height_px, level=0)


def _place_rectangle(uniforms: list[float], size_px: int) -> Rectangle:
    """Sides of 15..55 px, its middle anywhere in the crop, any gray level; of five numbers."""
    width, height, x, y, level = uniforms
    width_px, height_px = (
        max(1, round(_between(_ERASE_PX, side) * size_px / _SIDE_PX)) for side in (width, height)
    )
    left, top = round(x * size_px - width_px / 2), round(y * size_px - height_px / 2)
    return Rectangle(
        left=left,
        top=top,
        right=left + width_px,
        bottom=top + height_px,
        level=int(level * 256),
    )
