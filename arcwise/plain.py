"""The pixels of a plain JPEG at half the cost of decode.py, which reads all the others.

Plain is how training crops are stored: upright color of 8 bits for each channel, baseline or
progressive, without EXIF, profiles or a second picture, up to its end marker. It tells no file
apart from another and refuses none: what is not plain for sure, it leaves to decode.py. One of the
few importers of cv2. Source: ITU-T T.81, annex B, for markers and segments.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from arcwise.types import Image

_MOST_PIXELS = 1 << 20  # of a crop; what is larger may be a photo, and has limits of its own

_MARKER = struct.Struct(">HH")  # of a segment: what it is, and its length from there on
_FRAME = struct.Struct(">BHHB")  # bits, height, width, channels
_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = {0xFFC0, 0xFFC1, 0xFFC2}  # baseline, extended, progressive; Huffman codes
_SCAN = 0xFFDA
_HARMLESS = {0xFFC4, 0xFFDB, 0xFFDD, 0xFFE0, 0xFFFE}  # tables, restarts, JFIF, a comment

_MODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_plain(content: bytes) -> Image | None:
    """Decode a plain JPEG.

    Args:
        content: the whole file.

    Returns:
        (H, W, 3) uint8 RGB, the same pixels as of `decode_photo` where OpenCV and Pillow are built
        with libjpeg-turbo, as their wheels are. None for a file that is not plain, ends too early
        or cannot be decoded. Like `decode_photo` it does not notice bits that changed between the
        header and the end marker: the pixels after them are wrong, or gray.
    """
    size_wh_px = _find_size(content)
    if size_wh_px is None:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), _MODE)
    except cv2.error:
        return None
    if bgr is None or bgr.shape != (size_wh_px[1], size_wh_px[0], 3):
        return None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _find_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a plain JPEG, px; None for anything else.

    Coded pixels never hold an end marker, so a file that was cut off does not end in one. Old
    versions of OpenCV would show gray where the rest was.
    """
    if not (content.startswith(_START) and content.endswith(_END)):
        return None
    size_wh_px = None
    at, end = len(_START), len(content) - _MARKER.size
    while at <= end:
        marker, length = _MARKER.unpack_from(content, at)
        if marker == _SCAN:
            return size_wh_px
        if marker in _FRAMES and at + _FRAME.size <= end:
            bits, height, width, channels = _FRAME.unpack_from(content, at + _MARKER.size)
            if (bits, channels) != (8, 3) or not 0 < width * height <= _MOST_PIXELS:
                return None
            size_wh_px = width, height
        elif marker not in _HARMLESS:
            return None
        at += 2 + length
    return None
