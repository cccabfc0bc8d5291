"""Pixels in and out: whatever holds a photo becomes (H, W, 3) uint8 RGB; resize, hash, encode.

It does not know faces, nor how a file format stores pixels (decode.py and plain.py do). One of
the few importers of cv2; its BGR order never leaves this file. Source of the perceptual hash:
C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.2.1.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from arcwise.decode import HEAD_BYTES, decode_photo, pixels_of_pillow, recognize_format
from arcwise.errors import ImageError, InputError
from arcwise.files import translate_os_errors
from arcwise.plain import decode_plain
from arcwise.types import Image, check_image


class OpenFile(Protocol):
    """A file open for reading bytes, or whatever reads like one."""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, or all that are left."""
        ...


PhotoSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | OpenFile
    | PIL.Image.Image
    | NDArray[Any]
)
"""Whatever holds one photo: a path, the bytes of a file, an open file, a Pillow image, an array."""

MAX_PIXELS = 64_000_000
"""Largest photo decoded by default; the same as the default of ARCWISE_MAX_MEGAPIXELS."""

_MAX_FILE_BYTES = 1 << 30  # five times what 64 megapixels take without any compression
_FLOAT_SLACK = 1e-4  # resampling leaves values a little outside of 0..1


@dataclass(frozen=True, eq=False, slots=True)
class Letterboxed:
    """An image that was fitted into a canvas.

    Attributes:
        image: (H, W, 3) uint8 RGB, the photo at the top left, black elsewhere.
        scale: px of the canvas per px of the photo; divide by it to come back.
    """

    image: Image
    scale: float


def describe_source(source: PhotoSource) -> str:
    """The name of a photo in messages and results: its path as given, or what it is in <>."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    if isinstance(source, PIL.Image.Image):
        return "<image>"
    if isinstance(source, np.ndarray):
        return "<array>"
    name = getattr(source, "name", None)
    return f"<file {name}>" if isinstance(name, str) and name else "<file>"


def read_image(source: PhotoSource, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read one photo, upright.

    Args:
        source: a path ("~" is expanded); the bytes of a file; a file open for reading bytes, read
            from where it stands to its end; a Pillow image; or an array: (H, W), (H, W, 1),
            (H, W, 3) RGB or (H, W, 4) RGBA of uint8, uint16, bool, or floats in 0..1.
            Files are JPEG, PNG, WebP, BMP or TIFF.
        max_pixels: most pixels that are decoded, checked before decoding; not for arrays.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous; shares memory with a uint8 RGB array. The EXIF
        orientation is applied, transparency blended on white, of 16 bits the upper 8 remain.

    Raises:
        ImageError: it cannot be read; the message says what it is instead of a photo.
    """
    name = describe_source(source)
    if isinstance(source, np.ndarray):
        return _pixels_of_array(source)
    if isinstance(source, PIL.Image.Image):
        return pixels_of_pillow(source, name=name, max_pixels=max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif isinstance(source, str | os.PathLike):
        content = _read_path(source, name)
    elif hasattr(source, "read"):
        content = _read_open_file(source, name)
    else:
        raise ImageError(
            f"cannot read a photo from {type(source).__name__}: {source!r:.60}",
            hint="give a path, bytes, an open file, a Pillow image or an array",
        )
    return decode_photo(content, name=name, max_pixels=max_pixels)


def read_crop(content: bytes, *, name: str = "<bytes>") -> Image:
    """Read the file of one training crop: what `read_image` gives, sooner for plain JPEGs.

    Args:
        content: the whole file; any that `read_image` takes.
        name: of the crop, for messages.

    Returns:
        (H, W, 3) uint8 RGB, the pixels of `read_image`; see plain.py for the one condition.

    Raises:
        ImageError: it cannot be read; the message says what it is instead of a photo.
    """
    pixels = decode_plain(content)
    return decode_photo(content, name=name, max_pixels=MAX_PIXELS) if pixels is None else pixels


def _read_path(source: str | os.PathLike[str], name: str) -> bytes:
    if name.startswith(("http://", "https://")):
        raise ImageError(f"{name} is a web address, not a file", hint="download the photo first")
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - Path.expanduser fails for "~nobody"
    try:
        with translate_os_errors(path, doing="read"), path.open("rb") as file:
            return _read_file(file, name, size_bytes=os.fstat(file.fileno()).st_size)
    except ValueError as exc:
        raise ImageError(f"cannot read {name!r}: {exc}", hint="check the path") from exc
    except ImageError:
        raise
    except InputError as exc:
        raise ImageError(str(exc), hint=exc.hint) from exc


def _read_open_file(file: OpenFile, name: str) -> bytes:
    try:
        return _read_file(file, name)
    except (OSError, ValueError) as exc:
        raise ImageError(f"cannot read {name}: {exc}", hint='open it with mode "rb"') from exc


def _read_file(file: OpenFile, name: str, *, size_bytes: int = 0) -> bytes:
    head = file.read(HEAD_BYTES)
    if not isinstance(head, bytes):
        raise ImageError(f"{name} gives text, not bytes", hint='open it with mode "rb"')
    recognize_format(head, name=name)  # before a film of gigabytes is read to its end
    if size_bytes > _MAX_FILE_BYTES:
        raise ImageError(f"{name} has {size_bytes} bytes", hint="a photo has at most 1 GiB")
    content = head + file.read(_MAX_FILE_BYTES)  # a device has no size, and no end
    if len(content) > _MAX_FILE_BYTES:
        raise ImageError(f"{name} does not end", hint="a photo has at most 1 GiB")
    return content


def _pixels_of_array(array: NDArray[Any]) -> Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = "give (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA"
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "move the channels to the end: array.transpose(1, 2, 0)"
        if array.ndim == 4:
            hint = "give one photo at a time"
        raise ImageError(f"an array of shape {array.shape} is not a photo", hint=hint)
    if array.size == 0:
        raise ImageError(f"an array of shape {array.shape} has no pixels")
    pixels = _to_uint8(array)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
        return pixels_of_pillow(picture, name="<array>", max_pixels=pixels.size)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return np.ascontiguousarray(pixels)


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"an array of {array.dtype} is not a photo",
            hint="convert it: array.astype(numpy.uint8) if its values are 0..255",
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -_FLOAT_SLACK and high <= 1 + _FLOAT_SLACK):  # so written, NaN fails too
        raise ImageError(
            f"an array of {array.dtype} must hold values in 0..1, got {low:g}..{high:g}",
            hint="divide by 255, or convert it: array.astype(numpy.uint8)",
        )
    pixels: NDArray[np.uint8] = np.rint(np.clip(array, 0, 1) * np.float32(255)).astype(np.uint8)
    return pixels


def _check_size(size_wh_px: tuple[int, int]) -> None:
    if min(size_wh_px) < 1:
        raise InputError(f"size_wh_px must be at least 1x1, got {size_wh_px[0]}x{size_wh_px[1]}")


def pixel_digest(image: Image) -> str:
    """SHA-256 over shape and pixels, hex: equal exactly when the pixels are.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is not such an image.
    """
    check_image(image)
    digest = hashlib.sha256("x".join(map(str, image.shape)).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def perceptual_hash(image: Image) -> int:
    """64 bits that change little when a photo is scaled, compressed or brightened.

    The 8x8 lowest frequencies of a 32x32 gray version, each 1 where it is above their median;
    row by row, the first bit is the highest.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is not such an image.

    Source: the DCT hash of pHash (Zauner 2010, 3.2.1).
    """
    gray = luma(resize_image(image, (32, 32))).astype(np.float32)
    low = cv2.dct(gray)[:8, :8]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hash_difference_bits(a: int, b: int) -> int:
    """Bits in which two perceptual hashes differ, 0..64."""
    return (a ^ b).bit_count()


def resize_image(image: Image, size_wh_px: tuple[int, int]) -> Image:
    """Scale to a size: by area when both sides shrink, so that nothing aliases, else linear.

    Args:
        image: (H, W, 3) uint8 RGB.
        size_wh_px: width and height wanted; the aspect is not kept.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ImageError: it is not such an image.
        InputError: a side is shorter than 1 px.
    """
    check_image(image)
    _check_size(size_wh_px)
    height, width = image.shape[:2]
    shrinks = size_wh_px[0] <= width and size_wh_px[1] <= height
    return _scale(image, size_wh_px, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _scale(image: Image, size_wh_px: tuple[int, int], filter_: int) -> Image:
    return cast(Image, cv2.resize(image, size_wh_px, interpolation=filter_))


def letterbox(image: Image, size_wh_px: tuple[int, int]) -> Letterboxed:
    """Fit a photo into a canvas: its aspect kept, at the top left, black elsewhere.

    Args:
        image: (H, W, 3) uint8 RGB.
        size_wh_px: width and height of the canvas.

    Raises:
        ImageError: it is not such an image.
        InputError: a side is shorter than 1 px.

    Source: the input of SCRFD as InsightFace makes it (linear, sides cut to whole px, the scale
    is that of the height).
    """
    check_image(image)
    _check_size(size_wh_px)
    height, width = image.shape[:2]
    canvas_width, canvas_height = size_wh_px
    if height * canvas_width > canvas_height * width:
        new_height = canvas_height
        new_width = max(1, canvas_height * width // height)
    else:
        new_width = canvas_width
        new_height = max(1, canvas_width * height // width)
    canvas = np.zeros((canvas_height, canvas_width, 3), np.uint8)
    canvas[:new_height, :new_width] = _scale(image, (new_width, new_height), cv2.INTER_LINEAR)
    return Letterboxed(canvas, new_height / height)


def mirror_image(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap left and right.

    Args:
        images: (..., H, W, 3), one image or many.

    Returns:
        The same shape, C-contiguous.
    """
    return np.ascontiguousarray(images[..., ::-1, :])


def luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness of each pixel, 0.299 R + 0.587 G + 0.114 B.

    Args:
        images: (..., H, W, 3) uint8 RGB, one image or many.

    Returns:
        (..., H, W) uint8.

    Source: ITU-R BT.601.
    """
    rows = np.ascontiguousarray(images).reshape(-1, images.shape[-2], 3)
    gray = cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY)
    return cast(NDArray[np.uint8], gray.reshape(images.shape[:-1]))


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian; higher is sharper, 0 is flat.

    Args:
        gray: (H, W) uint8. Compare only images of one size and subject.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000).
    """
    return float(cv2.Laplacian(gray, cv2.CV_32F).var(dtype=np.float64))
