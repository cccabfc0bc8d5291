"""The bytes of a photo file become pixels, upright, or a refusal that says what the file is.

It does not know paths, file objects or arrays (image.py does) and does not apply color profiles.

Pillow's decoders are called directly, not through `PIL.Image.open`: that one warns about large
photos and damaged EXIF, and a warning can only be silenced for all threads at once. So the limit
is checked here, between header and pixels, and EXIF is read here. Sources: EXIF 2.32 and TIFF 6.0
for directories and orientation, the PNG specification (third edition) for chunks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np
import PIL.Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from arcwise.errors import ImageError
from arcwise.types import Image

HEAD_BYTES = 1024
"""As much of a file as `recognize_format` needs."""

_CONVERT = "convert it to JPEG or PNG first"
_ONE_FRAME = "extract the frame you need and save it as JPEG or PNG"
_SMALLER = "make it smaller, or raise ARCWISE_MAX_MEGAPIXELS"
_COPY_AGAIN = "the file is incomplete, damaged or of a rare kind: copy or export it again"

_OTHER_FORMATS: tuple[tuple[int, bytes, str, str], ...] = (
    # offset, magic bytes, what it is, what to try
    (0, b"GIF8", "a GIF", _ONE_FRAME),
    (4, b"ftypavi", "an AVIF picture", _CONVERT),
    (4, b"ftyphei", "a HEIC picture", _CONVERT),
    (4, b"ftyphev", "a HEIC picture", _CONVERT),
    (4, b"ftypmif1", "a HEIC picture", _CONVERT),
    (4, b"ftypmsf1", "a HEIC picture", _CONVERT),
    (4, b"ftyp", "a video", _ONE_FRAME),
    (0, b"\x1aE\xdf\xa3", "a video", _ONE_FRAME),
    (8, b"AVI ", "a video", _ONE_FRAME),
    (0, b"%PDF", "a PDF document", _CONVERT),
    (0, b"8BPS", "a Photoshop document", _CONVERT),
    (0, b"\x00\x00\x01\x00", "an icon", _CONVERT),
    (0, b"\x00\x00\x00\x0cjP", "a JPEG 2000 picture", _CONVERT),
    (0, b"\x00\x00\x00\x0cJXL", "a JPEG XL picture", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"II+\x00", "a BigTIFF picture", _CONVERT),
    (0, b"MM\x00+", "a BigTIFF picture", _CONVERT),
    (0, b"PK\x03\x04", "a zip archive", "unpack it first"),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the real file: git lfs pull"),
)
_OTHER_TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "a web page", "the download gave a page instead of the photo"),
    (b"<html", "a web page", "the download gave a page instead of the photo"),
    (b"<svg", "an SVG drawing", _CONVERT),
)

_PILLOW_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""All that Pillow raises on damaged files; found by the fuzz tests, then by reading it."""

_COLOR_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"}
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the photo upright; 1 and anything unknown is upright."""

_NEW_SUBFILE_TYPE, _ORIENTATION, _DNG_VERSION = 254, 274, 50706
_TIFF_SINGLES = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332}
_TIFF_LISTS = {258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532}
"""The TIFF tags that tell how pixels are stored, with one value and with several."""
_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


class _JpegFile(JpegImageFile):
    """A JPEG whose EXIF is not searched for a resolution: damaged EXIF would warn.

    Also the first picture of an MPO file, as some phones write them.
    """

    def _read_dpi_from_exif(self) -> None:
        pass


_OPENERS: dict[str, Callable[[BinaryIO], ImageFile]] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}


def recognize_format(head: bytes, *, name: str) -> str:
    """Tell the format of a photo by its first bytes.

    Args:
        head: the first HEAD_BYTES of the file, or all of it.
        name: of the photo, for messages.

    Returns:
        JPEG, PNG, WebP, BMP or TIFF.

    Raises:
        ImageError: it is empty, of another format (named where its bytes tell), or no photo.
    """
    if not head:
        raise ImageError(f"{name} is empty (0 bytes)", hint=_COPY_AGAIN)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return "TIFF"
    for offset, magic, what, hint in _OTHER_FORMATS:
        if head.startswith(magic, offset):
            raise ImageError(f"{name} is {what}, which is not supported", hint=hint)
    text = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, what, hint in _OTHER_TEXTS:
        if text.startswith(b"<") and magic in text:
            raise ImageError(f"{name} is {what}, not a photo", hint=hint)
    raise ImageError(
        f"{name} is not a photo: it starts with {head[:8]!r}",
        hint="photos are JPEG, PNG, WebP, BMP or TIFF files",
    )


def decode_photo(content: bytes, *, name: str, max_pixels: int) -> Image:
    """Decode a JPEG, PNG, WebP, BMP or TIFF file.

    Args:
        content: the whole file.
        name: of the photo, for messages.
        max_pixels: most pixels that are decoded; checked before decoding.

    Returns:
        (H, W, 3) uint8 RGB, upright. Transparent pixels are blended on white; of 16 bits the
        upper 8 remain.

    Raises:
        ImageError: no photo, animated or of several pages, too large, incomplete or damaged.
    """
    kind = recognize_format(content, name=name)
    limit, hint = max_pixels, _SMALLER
    orientation = None
    with _translate_errors(name, kind):
        if kind == "PNG" and _count_frames_of_png(content) != 1:
            raise _several_pictures(name, "an animated PNG")
        if kind == "TIFF":
            content, orientation = _keep_pixels_of_tiff(content, name)
            own_limit = PIL.Image.MAX_IMAGE_PIXELS  # above it Pillow warns, but for TIFF alone
            if own_limit is not None and own_limit < limit:
                limit, hint = own_limit, "make it smaller, or save it as PNG"
        with _OPENERS[kind](BytesIO(content)) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise _several_pictures(name, f"an animated {kind}")
            _check_size(picture.size, limit, name, hint)
            picture.load()
            if orientation is None:  # a PNG may tell after its pixels
                orientation = _read_orientation(picture.info.get("exif"))
            return _to_pixels(picture, orientation, name)


def pixels_of_pillow(picture: PIL.Image.Image, *, name: str, max_pixels: int) -> Image:
    """Decode a Pillow image, or its current frame, as `decode_photo` does a file.

    Raises:
        ImageError: it is too large, its file is damaged, or its mode holds no color or gray.
    """
    _check_size(picture.size, max_pixels, name, _SMALLER)
    with _translate_errors(name, picture.format or "picture"):
        picture.load()
        return _to_pixels(picture, _read_orientation(picture.info.get("exif")), name)


def _to_pixels(picture: PIL.Image.Image, orientation: int, name: str) -> Image:
    if picture.mode.startswith("I;16"):
        picture = PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode not in _COLOR_MODES:
        raise ImageError(
            f"{name} stores its pixels as {picture.mode!r}, which is neither color nor gray",
            hint="save it with 8 or 16 bits per channel, as RGB or gray",
        )
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = PIL.Image.new("RGB", over.size, "white")
        picture.paste(over, mask=over)
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    return np.array(picture, dtype=np.uint8)


@contextmanager
def _translate_errors(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except PIL.Image.DecompressionBombError as exc:  # by WebP alone, and far above our limit
        raise ImageError(f"{name} is too large to decode: {exc}", hint="make it smaller") from exc
    except _PILLOW_ERRORS as exc:
        what = str(exc) or type(exc).__name__
        raise ImageError(f"{name} is not a readable {kind}: {what}", hint=_COPY_AGAIN) from exc


def _several_pictures(name: str, what: str) -> ImageError:
    return ImageError(f"{name} is {what}: it holds several pictures", hint=_ONE_FRAME)


def _check_size(size_wh_px: tuple[int, int], max_pixels: int, name: str, hint: str) -> None:
    width, height = size_wh_px
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels: {width}x{height}", hint=_COPY_AGAIN)
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} pixels ({width * height / 1e6:.1f} megapixels), "
            f"more than the limit of {max_pixels / 1e6:.4g} megapixels",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class _Directory:
    """The first directory of a TIFF file or of an EXIF block: tag -> its 12 bytes."""

    byte_order: str
    entries: dict[int, bytes]
    next_offset: int

    def number(self, tag: int, default: int) -> int:
        """The value of a tag that holds one SHORT or LONG."""
        entry = self.entries.get(tag, b"")
        layout = {3: "H", 4: "I"}.get(self._kind_and_count(entry)[0]) if entry else None
        if layout is None:
            return default
        return int(struct.unpack_from(self.byte_order + layout, entry, 8)[0])

    def size_bytes(self, tag: int, *, is_list: bool, n_bytes: int) -> int:
        """Bytes that the values of a tag take; ValueError when they cannot be right."""
        kind, count = self._kind_and_count(self.entries[tag])
        size = _TIFF_TYPE_BYTES.get(kind, 0) * count
        (offset,) = struct.unpack_from(self.byte_order + "I", self.entries[tag], 8)
        is_inside = size <= 4 or offset + size <= n_bytes
        if size == 0 or not is_inside or (count > 1 and not is_list):
            raise ValueError(f"tag {tag} has type {kind}, {count} values, offset {offset}")
        return size

    def _kind_and_count(self, entry: bytes) -> tuple[int, int]:
        kind, count = struct.unpack_from(self.byte_order + "HI", entry, 2)
        return kind, count


def _read_directory(block: bytes) -> _Directory:
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (start,) = struct.unpack_from(order + "I", block, 4)
    (n_entries,) = struct.unpack_from(order + "H", block, start)
    end = start + 2 + 12 * n_entries
    entries: dict[int, bytes] = {}
    for at in range(start + 2, end, 12):
        (tag,) = struct.unpack_from(order + "H10x", block, at)
        entries.setdefault(tag, block[at : at + 12])
    # Some writers forget the last four bytes when no directory follows.
    following = struct.unpack_from(order + "I", block, end)[0] if end + 4 <= len(block) else 0
    return _Directory(order, entries, following)


def _read_orientation(exif: bytes | None) -> int:
    """EXIF orientation 1..8; damaged EXIF says nothing about the photo, so it counts as none."""
    block = (exif or b"").removeprefix(b"Exif\x00\x00")
    try:
        return _read_directory(block).number(_ORIENTATION, 1)
    except (KeyError, struct.error):
        return 1


def _keep_pixels_of_tiff(content: bytes, name: str) -> tuple[bytes, int]:
    """The same TIFF with a new directory that holds nothing but what tells its pixels.

    Other tags are no part of the photo, and Pillow warns when one of them is odd.

    Returns:
        The file and its orientation, which it no longer holds.
    """
    directory = _read_directory(content)
    if _DNG_VERSION in directory.entries or directory.number(_NEW_SUBFILE_TYPE, 0) & 1:
        raise ImageError(f"{name} is a camera raw file, which is not supported", hint=_CONVERT)
    if directory.next_offset:
        raise _several_pictures(name, "a TIFF of several pages")
    kept = [tag for tag in directory.entries if tag in _TIFF_SINGLES | _TIFF_LISTS]
    sizes = [
        directory.size_bytes(tag, is_list=tag in _TIFF_LISTS, n_bytes=len(content)) for tag in kept
    ]
    if sum(sizes) > len(content):
        raise ValueError(f"its tags take {sum(sizes)} bytes of {len(content)}")
    order = directory.byte_order
    head = content[:4] + struct.pack(order + "I", len(content))
    entries = b"".join(directory.entries[tag] for tag in kept)
    directory_bytes = struct.pack(order + "H", len(kept)) + entries + bytes(4)
    return head + content[8:] + directory_bytes, directory.number(_ORIENTATION, 1)


def _count_frames_of_png(content: bytes) -> int:
    """Frames of an animated PNG, 1 for a plain one, 0 when its animation chunks contradict."""
    counts = []
    at = 8
    while at + 12 <= len(content):
        length, chunk = struct.unpack_from(">I4s", content, at)
        if chunk == b"acTL":
            counts.append(struct.unpack_from(">I", content, at + 8)[0])
        at += 12 + length
    if not counts:
        return 1
    return int(counts[0]) if len(counts) == 1 else 0
