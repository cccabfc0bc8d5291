"""Bytes of photo files become upright pixels or an ImageError; nothing else, no warnings."""

from __future__ import annotations

import functools
import io
import struct
import threading
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.decode import decode_photo, recognize_format
from arcwise.errors import ImageError

LIMIT = 64_000_000
ORIENTATION = 274


def decode(content: bytes, max_pixels: int = LIMIT) -> np.ndarray:
    return decode_photo(content, name="photo", max_pixels=max_pixels)


def decode_or_none(content: bytes) -> np.ndarray | None:
    try:
        return decode(content)
    except ImageError:
        return None


@functools.cache
def scene() -> PIL.Image.Image:
    """40x30, smooth, with four corners that differ."""
    colors = np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8)
    return PIL.Image.fromarray(cv2.resize(colors, (40, 30)))


def encode(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif_of(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    exif[271] = "the maker of the camera"
    exif.get_ifd(34665)[36867] = "2024:01:01 00:00:00"
    return exif


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    )
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_lossless_files_give_their_pixels_back(kind: str, options: dict[str, Any]) -> None:
    pixels = decode(encode(scene(), kind, **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, np.asarray(scene()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_files_give_about_their_pixels_back(kind: str) -> None:
    difference = np.abs(decode(encode(scene(), kind, quality=95)).astype(int) - scene())
    assert difference.mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(kind: str, orientation: int) -> None:
    upright = np.asarray(scene())
    turned = {  # EXIF 2.32, 4.6.4: where row 0 and column 0 of the stored pixels lie in the scene
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    stored = PIL.Image.fromarray(np.ascontiguousarray(turned))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    pixels = decode(encode(stored, kind, exif=exif_of(orientation), **options))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 2


def test_the_orientation_of_big_endian_exif_is_read() -> None:
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHxxI", 8, 1, ORIENTATION, 3, 1, 6, 0)
    assert decode(encode(scene(), "JPEG", exif=exif)).shape == (40, 30, 3)


def test_transparent_pixels_are_blended_on_white() -> None:
    alpha = PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    alpha.putpixel((1, 0), (0, 0, 0, 128))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        pixels = decode(encode(alpha, kind, **options))
        assert pixels[0].tolist() == [[255] * 3, [127] * 3], kind


def test_a_transparent_color_of_a_palette_becomes_white() -> None:
    picture = PIL.Image.new("P", (2, 1), 0)
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.putpixel((1, 0), 1)
    pixels = decode(encode(picture, "PNG", transparency=1))
    assert pixels[0].tolist() == [[200, 0, 0], [255, 255, 255]]
    pixels = decode(encode(picture, "PNG", transparency=bytes([255, 0])))
    assert pixels[0].tolist() == [[200, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_16_bits_the_upper_eight_remain(suffix: str, channels: int) -> None:
    high = np.asarray(scene())[:, :, ::-1][:, :, :channels]
    if channels == 4:
        high = np.dstack([high, np.full(high.shape[:2], 255, np.uint8)])
    stored = high.astype(np.uint16) * 256 + 77
    if channels == 4:
        stored = np.dstack([stored[:, :, :3], np.full(high.shape[:2], 65535, np.uint16)])
    pixels = decode(cv2.imencode(suffix, stored)[1].tobytes())
    wanted = high[:, :, :1].repeat(3, axis=2) if channels == 1 else high[:, :, 2::-1]
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("P", "BMP"), ("1", "PNG"),
     ("1", "BMP"), ("1", "TIFF"), ("LA", "PNG"), ("L", "TIFF")],
)  # fmt: skip
def test_other_color_modes_become_rgb(mode: str, kind: str) -> None:
    picture = scene().convert(mode)
    pixels = decode(encode(picture, kind))
    assert pixels.shape == (30, 40, 3)
    assert np.abs(pixels.astype(int) - np.asarray(picture.convert("RGB"))).mean() < 4


def test_an_mpo_file_of_a_phone_is_its_first_picture() -> None:
    other = PIL.Image.new("RGB", scene().size)
    content = encode(scene(), "MPO", save_all=True, append_images=[other])
    np.testing.assert_array_equal(decode(content), decode(encode(scene(), "MPO")))


@pytest.mark.parametrize(
    ("kind", "what"),
    [("PNG", "an animated PNG"), ("WEBP", "an animated WebP"), ("TIFF", "a TIFF of several pages")],
)
def test_files_of_several_pictures_are_refused(kind: str, what: str) -> None:
    black = PIL.Image.new("RGB", scene().size)
    content = encode(scene(), kind, save_all=True, append_images=[black])
    with pytest.raises(ImageError, match=what) as caught:
        decode(content)
    assert "extract the frame" in caught.value.hint


def test_a_camera_raw_file_is_not_taken_for_its_preview() -> None:
    content = encode(scene(), "TIFF", tiffinfo={254: 1})
    with pytest.raises(ImageError, match="camera raw"):
        decode(content)


@pytest.mark.parametrize("side_px", [8001, 9500, 20_000, 60_000])
def test_too_many_pixels_are_refused_before_decoding(side_px: int) -> None:
    with pytest.raises(ImageError, match=rf"{side_px}x{side_px} pixels .* megapixels") as caught:
        decode(png_header(side_px, side_px))
    assert "ARCWISE_MAX_MEGAPIXELS" in caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_the_limit_counts_every_pixel(kind: str) -> None:
    content = encode(scene(), kind)
    assert decode(content, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(ImageError, match="40x30"):
        decode(content, max_pixels=1199)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_raised_limit_does_not_warn_above_that_of_pillow(kind: str) -> None:
    content = encode(PIL.Image.new("L", (9500, 9500)), kind, compression="tiff_lzw")
    if kind == "PNG":
        assert decode(content, max_pixels=100_000_000).shape == (9500, 9500, 3)
    else:
        with pytest.raises(ImageError, match=r"9500x9500 .* 89\.48 megapixels"):
            decode(content, max_pixels=100_000_000)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"\0\0\0\x18ftypheic" + bytes(9), "a HEIC picture"),
        (b"\0\0\0\x1cftypavif" + bytes(9), "an AVIF picture"),
        (b"\0\0\0\x20ftypisom" + bytes(9), "a video"),
        (b"%PDF-1.7", "a PDF document"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "an SVG drawing"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>404", "a web page"),
        (b"PK\x03\x04" + bytes(9), "a zip archive"),
        (b"II+\0\x08\0\0\0", "a BigTIFF picture"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"hello, world", "not a photo"),
    ],
)
def test_other_files_are_called_by_their_name(head: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=f"photo is {what}") as caught:
        recognize_format(head, name="photo")
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_half_a_file_is_refused_with_its_cause(kind: str) -> None:
    content = encode(scene(), kind)
    with pytest.raises(ImageError, match="photo is not a readable") as caught:
        decode(content[: len(content) // 2])
    assert caught.value.__cause__ is not None
    assert "incomplete" in caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_spoil_the_photo(kind: str) -> None:
    entry = struct.pack("<HHII", 270, 2, 1 << 20, 1 << 20)  # a text of a megabyte, far outside
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry + entry[:5]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pixels = decode(encode(scene(), kind, exif=exif))
    assert pixels.shape == (30, 40, 3)
    assert not seen


def test_odd_tags_of_a_tiff_do_not_spoil_the_photo() -> None:
    plain = encode(scene(), "TIFF", tiffinfo={270: "a description of the photo"})
    (start,) = struct.unpack_from("<I", plain, 4)
    at = plain.index(struct.pack("<HH", 270, 2), start)
    odd = plain[: at + 4] + struct.pack("<II", 1 << 30, 1 << 30) + plain[at + 12 :]
    np.testing.assert_array_equal(decode(odd), np.asarray(scene()))


def test_a_tiff_whose_pixel_tags_lead_out_of_the_file_is_refused() -> None:
    plain = encode(scene(), "TIFF")
    (start,) = struct.unpack_from("<I", plain, 4)
    at = plain.index(struct.pack("<HH", 258, 3), start)  # BitsPerSample, three values
    odd = plain[: at + 8] + struct.pack("<I", 1 << 30) + plain[at + 12 :]
    with pytest.raises(ImageError, match="tag 258"):
        decode(odd)


def test_pixels_that_are_no_color_are_refused() -> None:
    depth = PIL.Image.fromarray(np.ones((4, 4), np.float32))
    with pytest.raises(ImageError, match="'F'"):
        decode(encode(depth, "TIFF"))


@functools.cache
def samples() -> list[bytes]:
    black = PIL.Image.new("RGB", scene().size)
    exif = exif_of(6)
    return [
        encode(scene(), "JPEG", exif=exif),
        encode(scene(), "JPEG", exif=exif, progressive=True),
        encode(scene().convert("CMYK"), "JPEG"),
        encode(scene(), "MPO", save_all=True, append_images=[black], exif=exif),
        encode(scene(), "PNG", exif=exif),
        encode(scene().convert("P"), "PNG", transparency=3),
        encode(scene(), "PNG", save_all=True, append_images=[black]),
        cv2.imencode(".png", np.asarray(scene()).astype(np.uint16) * 257)[1].tobytes(),
        encode(scene(), "WEBP", exif=exif),
        encode(scene().convert("RGBA"), "WEBP", lossless=True),
        encode(scene(), "WEBP", save_all=True, append_images=[black]),
        encode(scene(), "BMP"),
        encode(scene().convert("P"), "BMP"),
        encode(scene(), "TIFF", exif=exif),
        encode(scene().convert("P"), "TIFF"),
        encode(scene(), "TIFF", compression="tiff_lzw", exif=exif),
        encode(scene(), "TIFF", compression="jpeg"),
        encode(scene().convert("1"), "TIFF", compression="group4"),
    ]


places = st.one_of(st.integers(0, 400), st.integers(0, 4000))
flips = st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)


@settings(max_examples=1000, deadline=None)
@given(number=st.integers(0, 17), flips=flips, end=st.none() | st.integers(0, 4000))
def test_damaged_files_give_a_photo_or_an_image_error_and_no_warning(
    number: int, flips: list[tuple[int, int]], end: int | None
) -> None:
    content = bytearray(samples()[number])
    for place, value in flips:
        content[place % len(content)] = value
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pixels = decode_or_none(bytes(content[:end]))
    assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2:] == (3,))
    assert not seen, [str(warning.message) for warning in seen]


@given(st.binary(max_size=200))
def test_any_bytes_give_an_image_error(content: bytes) -> None:
    with pytest.raises(ImageError):
        decode(content)


def test_many_threads_decode_at_once() -> None:
    wanted = [decode(content) for content in samples()[:6]]
    failures: list[int] = []

    def work() -> None:
        for _ in range(20):
            for i, pixels in enumerate(wanted):
                if not np.array_equal(decode(samples()[i]), pixels):
                    failures.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
