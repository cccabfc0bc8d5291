"""Pixels become photo files, whole or not at all.

The counterpart of decode.py. It does not read photos.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from arcwise.errors import ImageError, InputError
from arcwise.files import write_atomically
from arcwise.types import Image, check_image

_ANY_SIDE = 1 << 20  # cv2 writes no longer side: CV_IO_MAX_IMAGE_WIDTH
_ENCODINGS: dict[str, tuple[int | None, int]] = {
    # suffix: the option that takes the quality, the longest side the format can hold
    ".bmp": (None, _ANY_SIDE),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 65_500),  # JPEG_MAX_DIMENSION of libjpeg
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 65_500),
    ".png": (None, 1_000_000),  # PNG_USER_WIDTH_MAX of libpng
    ".tif": (None, _ANY_SIDE),
    ".tiff": (None, _ANY_SIDE),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 16_383),  # WEBP_MAX_DIMENSION of libwebp
}
PICTURE_SUFFIXES = tuple(_ENCODINGS)
"""What `write_image` can write."""


def encode_image(image: Image, *, suffix: str = ".jpg", quality: int = 92) -> bytes:
    """Make a photo file of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        suffix: .jpg, .png, .webp, .bmp, .tif or .tiff; decides the format.
        quality: 1..100, for JPEG and WebP; the other formats lose nothing.

    Raises:
        ImageError: it is not such an image, or the format cannot hold its size.
        InputError: the suffix or the quality is none that works.
    """
    check_image(image)
    encoding = _ENCODINGS.get(suffix.lower())
    if encoding is None:
        raise InputError(
            f"cannot write a photo as {suffix!r}", hint=f"use one of {', '.join(_ENCODINGS)}"
        )
    if not 1 <= quality <= 100:
        raise InputError(f"quality must lie in 1..100, got {quality}")
    quality_option, longest_side_px = encoding
    height, width = image.shape[:2]
    options = [] if quality_option is None else [quality_option, quality]
    fits = max(height, width) <= longest_side_px
    is_encoded, content = cv2.imencode(suffix, image[:, :, ::-1], options) if fits else (False, b"")
    if not is_encoded:
        raise ImageError(
            f"{suffix} cannot hold an image of {width}x{height}",
            hint="make it smaller, or write it as .png",
        )
    return bytes(content)


def write_image(path: str | os.PathLike[str], image: Image) -> Path:
    """Write an image to a file, whole or not at all; the suffix decides the format.

    Args:
        path: where to; missing folders are made.
        image: (H, W, 3) uint8 RGB.

    Returns:
        The path.

    Raises:
        ImageError: it is not such an image, or the format cannot hold its size.
        InputError: the suffix is none that works, or the place cannot be written.
    """
    path = Path(path)
    return write_atomically(path, encode_image(image, suffix=path.suffix))
