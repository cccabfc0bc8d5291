"""What a camera does to a face: move, light, blur, coarsen, noise, compress, hide. Nothing random.

One crop in, one crop out, uint8 all along. It does not know how strong a change should be nor how
often it is made: data/augment.py draws that. Random numbers come from the seed given alone; cv2's
own generator and settings are left as they are. One of the few importers of cv2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import cast

import cv2
import numpy as np

from arcwise.errors import InputError
from arcwise.types import Floats, Image, check_image

_YIQ = np.array(  # rows: luma and two color axes of RGB; NTSC (1953)
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How the face lies in the crop, as the viewer sees it; the default leaves it where it is.

    In this order, all about the middle of the crop: mirrored, sheared, turned, scaled, shifted.

    Attributes:
        scale: above 1 is larger.
        rotation_deg: positive is clockwise.
        shift_x_px, shift_y_px: to the right and down.
        shear: px to the right for each px down.
        mirror: left and right swapped.

    Raises:
        InputError: a scale that is not above 0.
    """

    scale: float = 1.0
    rotation_deg: float = 0.0
    shift_x_px: float = 0.0
    shift_y_px: float = 0.0
    shear: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError(f"scale must be above 0, got {self.scale}")

    @property
    def is_still(self) -> bool:
        """Nothing moves; the crop may be mirrored."""
        moves = self.rotation_deg, self.shift_x_px, self.shift_y_px, self.shear
        return self.scale == 1 and not any(moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """Light and color; the default changes nothing.

    Attributes:
        contrast: factor of the differences from the mean of the crop.
        brightness: levels that are added.
        red, green, blue: factor of each channel, after the two above.
        saturation: factor of the differences from the luma, after all of these.
        hue_deg: turn of the colors, from red towards yellow; last.

    Raises:
        InputError: a factor below 0.
    """

    contrast: float = 1.0
    brightness: float = 0.0
    red: float = 1.0
    green: float = 1.0
    blue: float = 1.0
    saturation: float = 1.0
    hue_deg: float = 0.0

    def __post_init__(self) -> None:
        factors = self.contrast, self.red, self.green, self.blue, self.saturation
        if not all(0 <= factor < math.inf for factor in factors):
            raise InputError(
                "contrast, red, green, blue and saturation must be factors from 0, got "
                + ", ".join(str(factor) for factor in factors)
            )

    @property
    def is_neutral(self) -> bool:
        """No pixel changes."""
        factors = self.contrast, self.red, self.green, self.blue, self.saturation
        return set(factors) == {1} and self.brightness == 0 and not self.turns_colors

    @property
    def turns_colors(self) -> bool:
        """Whether channels are mixed."""
        return self.saturation != 1 or self.hue_deg % 360 != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A part of the crop that is hidden, or all that is left of it.

    Attributes:
        left, top, right, bottom: px; right and bottom not included; may reach over the edge.
        level: gray value of what is filled, 0..255.

    Raises:
        InputError: a level outside of 0..255.
    """

    left: int
    top: int
    right: int
    bottom: int
    level: int

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 255:
            raise InputError(f"level must lie in 0..255, got {self.level}")


def warp_crop(crop: Image, placement: Placement, *, size_px: int) -> Image:
    """Move the face and cut the border, in one interpolation (linear).

    Beyond the edge of the crop its outermost pixels go on: where the photo had ended, that is the
    black every aligned crop has there; where it went on, no black wedge is invented.

    Args:
        crop: (S, S, 3) uint8 RGB; not changed.
        placement: how the face shall lie; one that moves nothing copies the pixels.
        size_px: side of the result, at most S; its middle is the middle of the crop.

    Returns:
        (size_px, size_px, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: not square, smaller than the result, or not an even number of px larger.
    """
    side_px = check_image(crop).shape[0]
    border_px, is_odd = divmod(side_px - size_px, 2)
    if crop.shape[1] != side_px or size_px < 1 or border_px < 0 or is_odd:
        raise InputError(
            f"cannot cut {size_px}x{size_px} px out of the middle of a crop of "
            f"{crop.shape[1]}x{side_px}",
            hint="give a square crop with the same border on all sides",
        )
    if placement.is_still:
        end_px = border_px + size_px
        center = crop[border_px:end_px, border_px:end_px]
        return cast(Image, cv2.flip(center, 1)) if placement.mirror else center.copy()
    # The same numbers as from three channels, in half the time: OpenCV reads a pixel at once.
    warped = cv2.warpAffine(
        cv2.cvtColor(crop, cv2.COLOR_RGB2RGBA),
        _crop_from_result(placement, border_px, size_px),
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cast(Image, cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB))


def _crop_from_result(placement: Placement, border_px: int, size_px: int) -> Floats:
    """(2, 3): the place in the crop of each pixel of the result."""
    angle_rad = math.radians(placement.rotation_deg)
    cos, sin = math.cos(angle_rad) / placement.scale, math.sin(angle_rad) / placement.scale
    # Mirror · unshear · turn back / scale: the inverse of what happens to the face.
    xx, xy = cos + placement.shear * sin, sin - placement.shear * cos
    yx, yy = -sin, cos
    if placement.mirror:
        xx, xy = -xx, -xy
    middle = (size_px - 1) / 2
    x, y = middle + placement.shift_x_px, middle + placement.shift_y_px
    to_x, to_y = middle + border_px - xx * x - xy * y, middle + border_px - yx * x - yy * y
    return np.array([[xx, xy, to_x], [yx, yy, to_y]], np.float32)


def change_tone(image: Image, tone: Tone) -> Image:
    """Contrast about the mean of the image, brightness, a factor for each channel, saturation, hue.

    All in one linear map, so that only the result is rounded and cut to 0..255: cv2.transform,
    eight times as fast as a table of 256 levels for each channel. A turn of the hue keeps the luma
    and leaves grays alone: it turns the two color axes of YIQ, as old television sets did.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        tone: what changes.

    Returns:
        (H, W, 3) uint8 RGB; within one level of the exact result.

    Raises:
        ImageError: not an RGB image.
    """
    mean = sum(cv2.mean(check_image(image))[:3]) / 3
    factors = np.array([tone.red, tone.green, tone.blue])
    matrix = np.zeros((3, 4), np.float32)
    matrix[[0, 1, 2], [0, 1, 2]] = factors * tone.contrast
    matrix[:, 3] = factors * (mean * (1 - tone.contrast) + tone.brightness)
    if tone.turns_colors:
        matrix = (_mix_colors(tone) @ matrix).astype(np.float32)
    return cast(Image, cv2.transform(image, matrix))


def _mix_colors(tone: Tone) -> Floats:
    """(3, 3): saturation and hue, in RGB."""
    angle_rad = math.radians(-tone.hue_deg)  # in YIQ red lies counterclockwise of yellow
    cos, sin = math.cos(angle_rad) * tone.saturation, math.sin(angle_rad) * tone.saturation
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    mixed: Floats = np.linalg.solve(_YIQ, turn @ _YIQ)
    return mixed


def remove_color(image: Image) -> Image:
    """All channels become the luma, 0.299 R + 0.587 G + 0.114 B.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.

    Returns:
        (H, W, 3) uint8, three equal channels.

    Raises:
        ImageError: not an RGB image.

    Source: ITU-R BT.601.
    """
    gray = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2GRAY)
    return cast(Image, cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))


def blur_image(image: Image, *, sigma_px: float) -> Image:
    """A lens out of focus: a Gaussian.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        sigma_px: its standard deviation.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: a sigma that is not above 0.
    """
    if not 0 < sigma_px < math.inf:
        raise InputError(f"sigma_px must be above 0, got {sigma_px}")
    return cast(Image, cv2.GaussianBlur(check_image(image), (0, 0), sigma_px))


def lower_resolution(image: Image, *, side_px: int) -> Image:
    """A face far away: scaled down by area, and up again linearly.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        side_px: side of the small version.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: a side that is shorter than 1 px or longer than the image's.
    """
    height, width = check_image(image).shape[:2]
    if not 1 <= side_px <= min(height, width):
        raise InputError(f"side_px must lie in 1..{min(height, width)}, got {side_px}")
    small = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def add_noise(image: Image, *, sigma: float, seed: int) -> Image:
    """A sensor in the dark: normal noise in whole levels, each value on its own.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        sigma: its standard deviation, levels; nothing is further off than 2.9 sigma.
        seed: the same gives the same noise.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: a negative sigma or seed.
    """
    if not (0 <= sigma < math.inf and seed >= 0):
        raise InputError(f"sigma and seed must not be negative, got {sigma} and {seed}")
    n_values = check_image(image).size
    words = np.random.SFC64(seed).random_raw(-(-n_values // 8)).astype("<u8", copy=False)
    uniform = words.view(np.uint8)[:n_values].reshape(image.shape)
    table = np.clip(np.rint(_normal_quantiles() * sigma), -255, 255).astype(np.int16)
    return cast(Image, cv2.add(image, cv2.LUT(uniform, table[None]), dtype=cv2.CV_8U))


@cache
def _normal_quantiles() -> Floats:
    """(256,) the standard normal numbers that equally likely bytes stand for; variance 1."""
    values = [NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)]
    quantiles = np.array(values, np.float32)
    quantiles /= quantiles.std()
    quantiles.setflags(write=False)
    return quantiles


def compress_jpeg(image: Image, *, quality: int) -> Image:
    """Write it as a JPEG, read it back.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        quality: 1..100.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: a quality outside of 1..100.
    """
    if not 1 <= quality <= 100:
        raise InputError(f"quality must lie in 1..100, got {quality}")
    bgr = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    again = cast(Image, cv2.imdecode(content, cv2.IMREAD_COLOR))
    return cast(Image, cv2.cvtColor(again, cv2.COLOR_BGR2RGB))


def erase_rectangle(image: Image, rectangle: Rectangle) -> Image:
    """Something before the face: one gray level fills a part; what reaches over the edge is cut.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        rectangle: the part and its level.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.

    Source: Zhong et al., "Random Erasing Data Augmentation" (2017).
    """
    left, top = max(rectangle.left, 0), max(rectangle.top, 0)
    right, bottom = max(rectangle.right, 0), max(rectangle.bottom, 0)
    erased = check_image(image).copy()
    erased[top:bottom, left:right] = rectangle.level
    return erased


def keep_rectangle(image: Image, rectangle: Rectangle) -> Image:
    """The end of the photo: all but a part is filled with one level.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        rectangle: the part that is left, where it is, and the level around it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.

    Source: the crop of the training code of Kim et al., AdaFace (2022), which fills with black.
    """
    left, top = max(rectangle.left, 0), max(rectangle.top, 0)
    right, bottom = max(rectangle.right, 0), max(rectangle.bottom, 0)
    kept = np.full_like(check_image(image), rectangle.level)
    kept[top:bottom, left:right] = image[top:bottom, left:right]
    return kept
