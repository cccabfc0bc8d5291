"""Plain JPEGs come out with the same pixels as from decode.py; everything else is left to it."""

from __future__ import annotations

import functools
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from arcwise import plain
from arcwise.decode import decode_photo
from arcwise.encode import encode_image
from arcwise.errors import ImageError
from arcwise.plain import decode_plain
from arcwise.testing import draw_person

END, FRAME = b"\xff\xd9", b"\xff\xc0\x00\x11"
SAMPLINGS = {
    name: (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}"))
    for name in ("411", "420", "422", "440", "444")
}
KINDS = {
    **SAMPLINGS,
    "low": (cv2.IMWRITE_JPEG_QUALITY, 20),
    "best": (cv2.IMWRITE_JPEG_QUALITY, 100),
    "optimized": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
}


def decode(content: bytes) -> np.ndarray | None:
    """What decode.py makes of it, None where it refuses."""
    try:
        return decode_photo(content, name="crop", max_pixels=1 << 26)
    except ImageError:
        return None


@functools.cache
def encode(kind: str, side_px: int = 144) -> bytes:
    crop, _ = draw_person(3, variation=1, size_px=side_px)
    return bytes(cv2.imencode(".jpg", crop[:, :, ::-1], KINDS[kind])[1])


def encode_by_pillow(mode: str = "RGB", side_px: int = 48, **options: Any) -> bytes:
    buffer = io.BytesIO()
    crop = PIL.Image.fromarray(draw_person(3, variation=1, size_px=side_px)[0])
    crop.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def exif_of(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    return exif


# What is plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side_px", [144, 113])
def test_plain_files_give_the_same_pixels(kind: str, side_px: int) -> None:
    pixels = decode_plain(encode(kind, side_px))
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, decode(encode(kind, side_px)))


def test_the_crops_that_prepare_writes_are_plain() -> None:
    for number in range(20):
        crop, _ = draw_person(number, variation=number, size_px=144)
        content = encode_image(crop, suffix=".jpg", quality=95)
        np.testing.assert_array_equal(decode_plain(content), decode(content))


def test_a_comment_and_files_of_pillow_are_plain() -> None:
    content = encode_by_pillow(comment=b"crop 7", quality=90)
    np.testing.assert_array_equal(decode_plain(content), decode(content))


def test_an_opencv_that_cannot_decode_to_rgb_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "_KNOWS_RGB", False)  # before 4.11
    monkeypatch.setattr(plain, "_MODE", cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(decode_plain(encode("420")), decode(encode("420")))


def test_many_threads_decode_at_once() -> None:
    wanted = decode(encode("420"))
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(decode_plain, [encode("420")] * 100):
            np.testing.assert_array_equal(pixels, wanted)


# What is left to decode.py


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff\xda\xff\xd9",
        b"no picture",
        encode_image(np.zeros((9, 9, 3), np.uint8), suffix=".png"),
        encode_image(np.zeros((9, 9, 3), np.uint8), suffix=".webp"),
        encode_by_pillow("L"),
        encode_by_pillow("CMYK"),
        encode_by_pillow(exif=exif_of(6)),
        encode_by_pillow(icc_profile=b"a profile"),
        encode_by_pillow() + b"\0",
        encode_by_pillow().replace(FRAME + b"\x08", FRAME + b"\x0c"),
        encode_by_pillow().replace(FRAME + b"\x08\x00\x30", FRAME + b"\x08\xff\xff"),
    ],
    ids=[
        "empty", "no frame", "text", "png", "webp", "gray", "cmyk", "exif", "profile",
        "more after the end", "12 bits", "large",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left(content: bytes) -> None:
    assert decode_plain(content) is None


def test_a_crop_that_ends_gray_is_read_twice_rather_than_trusted() -> None:
    content = encode_image(np.full((16, 16, 3), 128, np.uint8), suffix=".jpg")
    assert decode_plain(content) is None
    np.testing.assert_array_equal(decode(content), np.full((16, 16, 3), 128))


# Damage


@pytest.mark.parametrize("kind", ["420", "progressive"])
def test_a_file_that_was_cut_off_anywhere_is_left(kind: str) -> None:
    content = encode(kind, 48)
    assert [n for n in range(len(content)) if decode_plain(content[:n]) is not None] == []


@pytest.mark.parametrize("kind", ["420", "444", "progressive", "restarts", "optimized"])
def test_damage_that_decode_refuses_is_taken_in_the_last_block_at_most(kind: str) -> None:
    content = encode(kind, 48)
    whole = decode_plain(content)
    assert whole is not None
    rng = np.random.default_rng(0)
    n_taken = 0
    for at in rng.integers(0, len(content) - len(END), 500).tolist():
        damaged = bytearray(content)
        damaged[at] = rng.choice([0, 0xD0, 0xFF, rng.integers(256)])
        pixels, wanted = decode_plain(bytes(damaged)), decode(bytes(damaged))
        if pixels is None:
            continue
        n_taken += 1
        if wanted is not None:
            np.testing.assert_array_equal(pixels, wanted)
        else:
            rows, columns = np.nonzero((pixels != whole).any(axis=2))
            assert min(rows, default=48) >= 31  # 16 px, and one that its colors reach over
            assert min(columns, default=48) >= 31
    assert 0 < n_taken < 500, "some is not seen by either, some is left"


@pytest.mark.parametrize("kind", ["420", "progressive"])
def test_a_part_that_is_missing_or_zero_comes_out_as_from_decode(kind: str) -> None:
    content = encode(kind)
    for at in range(700, len(content) - 300, 97):
        for damaged in (
            content[:at] + content[at + 200 :],
            content[:at] + bytes(200) + content[at + 200 :],
            content[:at] + END,
        ):
            pixels = decode_plain(damaged)
            if pixels is not None:
                np.testing.assert_array_equal(pixels, decode(damaged))
