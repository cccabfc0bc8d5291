"""The pixels of a plain JPEG in little more than half the time of decode.py, which reads the rest.

Plain is how training crops are stored: upright color of 8 bits for each channel, baseline or
progressive, without EXIF, profiles or a second picture, and whole. It refuses nothing: a file that
is not plain for sure is left to decode.py, which takes it or says what is wrong with it. One of the
few importers of cv2. Source: ITU-T T.81, annex B, for markers and segments.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import cv2
import numpy as np

from arcwise.types import Image

_MOST_PIXELS = 1 << 20  # far more than a crop has; photos are left to what knows their limits

_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_SEGMENT = struct.Struct(">HH")  # marker, bytes from the second word on
_FRAME = struct.Struct(">BHHB")  # bits, height, width, channels
_FRAMES = {0xFFC0, 0xFFC1, 0xFFC2}  # baseline, extended, progressive
_HARMLESS = {0xFFC4, 0xFFDB, 0xFFDD, 0xFFE0, 0xFFFE}  # tables, restarts, JFIF, a comment
_UNKNOWN = [128, 128, 128]  # RGB of what libjpeg found no bits for

_KNOWS_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")  # since OpenCV 4.11
_COLOR = cv2.IMREAD_COLOR_RGB if _KNOWS_RGB else cv2.IMREAD_COLOR
_MODE = _COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_plain(content: bytes) -> Image | None:
    """Decode a plain JPEG.

    A file that was cut off has no end marker; old versions of OpenCV would show its rest gray.
    Damage that stops the decoder makes the rest gray, too. decode.py refuses some of that, so a
    file whose last pixel has this gray is left to it; what it would refuse in the very last block
    of pixels is taken. Other damage goes unnoticed in both and makes the same wrong pixels.

    Args:
        content: the whole file.

    Returns:
        (H, W, 3) uint8 RGB: the pixels that `decode_photo` gives, bit for bit where OpenCV and
        Pillow both have libjpeg-turbo in them, as their wheels do. None for a file that is not
        plain, not whole, or cannot be decoded.
    """
    size_hw_px = _find_size(content)
    if size_hw_px is None:
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _MODE)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != size_hw_px or pixels[-1, -1].tolist() == _UNKNOWN:
        return None
    return np.asarray(pixels if _KNOWS_RGB else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _find_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of a plain JPEG, px; None for anything else."""
    at = content.find(_SCAN)
    if at < 0 or not content.endswith(_END):
        return None
    return _read_head(content[:at])


@lru_cache(maxsize=64)  # files of one size and quality begin with the same bytes
def _read_head(head: bytes) -> tuple[int, int] | None:
    """Height and width, px, from what stands before the first scan, if all of it is plain."""
    if not head.startswith(_START):
        return None
    size_hw_px = None
    at = len(_START)
    while at + _SEGMENT.size <= len(head):
        marker, length = _SEGMENT.unpack_from(head, at)
        if marker in _FRAMES and at + _SEGMENT.size + _FRAME.size <= len(head):
            bits, height, width, channels = _FRAME.unpack_from(head, at + _SEGMENT.size)
            if (bits, channels) != (8, 3) or not 0 < width * height <= _MOST_PIXELS:
                return None
            size_hw_px = height, width
        elif marker not in _HARMLESS:
            return None
        at += 2 + length
    return size_hw_px if at == len(head) else None
