"""The pixels of a plain JPEG in little more than half the time of decode.py, which reads the rest.

Plain is how training crops are stored: upright color of 8 bits for each channel, baseline or
progressive, without EXIF, profiles or a second picture, and whole. It refuses nothing: a file that
is not plain for sure is left to decode.py, so that neither takes what the other would not. One of
the few importers of cv2. Source: ITU-T T.81, annex B, for markers and segments.
"""

from __future__ import annotations

import re
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
_BETWEEN_SCANS = {0xFFC4, 0xFFDA}
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # after coded pixels, where 0 follows an FF

_IS_RGB_KNOWN = hasattr(cv2, "IMREAD_COLOR_RGB")  # since OpenCV 4.11
_COLOR = cv2.IMREAD_COLOR_RGB if _IS_RGB_KNOWN else cv2.IMREAD_COLOR


def decode_plain(content: bytes) -> Image | None:
    """Decode a plain JPEG.

    Args:
        content: the whole file.

    Returns:
        (H, W, 3) uint8 RGB: the pixels that `decode_photo` gives, bit for bit where OpenCV and
        Pillow both have libjpeg-turbo in them, as their wheels do. None for a file that is not
        plain, not whole, or cannot be decoded.
    """
    size_wh_px = _find_size(content)
    if size_wh_px is None:
        return None
    try:
        pixels = cv2.imdecode(
            np.frombuffer(content, np.uint8), _COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return None
    if pixels is None or pixels.shape != (size_wh_px[1], size_wh_px[0], 3):
        return None
    return np.asarray(pixels if _IS_RGB_KNOWN else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _find_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a plain JPEG, px; None for anything else.

    A file that was cut off has no end marker, for which old versions of OpenCV would make up gray
    pixels; and none that is whole has an unexpected marker among its coded pixels, after which
    OpenCV guesses and Pillow gives up.
    """
    if not (content.startswith(_START) and content.endswith(_END)):
        return None
    at = content.find(_SCAN)
    size_wh_px = _read_head(content[:at])
    if size_wh_px is None or at < 0:
        return None
    while at + _SEGMENT.size <= len(content):
        marker, length = _SEGMENT.unpack_from(content, at)
        if marker not in _BETWEEN_SCANS:
            return None
        at += 2 + length
        if marker == 0xFFDA:
            found = _NEXT_MARKER.search(content, at)
            if found is None:
                return None
            at = found.start()
    return size_wh_px if at == len(content) - len(_END) else None


@lru_cache(maxsize=64)  # files of one size and quality begin with the same bytes
def _read_head(head: bytes) -> tuple[int, int] | None:
    """Width and height, px, from what stands before the first scan, if all of it is plain."""
    size_wh_px = None
    at = len(_START)
    while at + _SEGMENT.size <= len(head):
        marker, length = _SEGMENT.unpack_from(head, at)
        if marker in _FRAMES and length >= 2 + _FRAME.size and at + 2 + length <= len(head):
            bits, height, width, channels = _FRAME.unpack_from(head, at + _SEGMENT.size)
            if (bits, channels) != (8, 3) or not 0 < width * height <= _MOST_PIXELS:
                return None
            size_wh_px = width, height
        elif marker not in _HARMLESS:
            return None
        at += 2 + length
    return size_wh_px if at == len(head) else None
