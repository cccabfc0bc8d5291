"""What is done to one crop: each change is what its words say, and nothing else."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

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
from arcwise.errors import ImageError, InputError
from arcwise.image import luma, sharpness

RNG = np.random.default_rng(3)
GRAIN = RNG.integers(0, 256, (144, 144, 3), np.uint8)
FLAT = np.full((112, 112, 3), 128, np.uint8)

OPERATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "warp": lambda image: warp_crop(image, Placement(rotation_deg=5), size_px=image.shape[0]),
    "cut": lambda image: warp_crop(image, Placement(), size_px=image.shape[0]),
    "mirror": lambda image: warp_crop(image, Placement(mirror=True), size_px=image.shape[0]),
    "tone": lambda image: change_tone(image, Tone(contrast=1.2, brightness=9, red=1.1)),
    "colors": lambda image: change_tone(image, Tone(saturation=1.3, hue_deg=20)),
    "gray": remove_color,
    "blur": lambda image: blur_image(image, sigma_px=1),
    "low_resolution": lambda image: lower_resolution(image, side_px=12),
    "noise": lambda image: add_noise(image, sigma=8, seed=1),
    "jpeg": lambda image: compress_jpeg(image, quality=50),
    "erase": lambda image: erase_rectangle(
        image, Rectangle(left=3, top=4, right=9, bottom=8, level=7)
    ),
    "keep": lambda image: keep_rectangle(
        image, Rectangle(left=3, top=4, right=9, bottom=8, level=7)
    ),
}


def picture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth picture that is known between the pixels too; x and y in px."""
    planes = [np.sin(x / 17 + y / 31), np.cos(x * y / 2900 + 1), np.sin(y / 19 - x / 47)]
    return np.rint(127.5 + 120 * np.stack(planes, axis=-1)).astype(np.uint8)


def grid(side_px: int) -> list[np.ndarray]:
    return np.meshgrid(np.arange(side_px, dtype=np.float64), np.arange(side_px, dtype=np.float64))


def largest_gap(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


# ── every operation ──


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("side_px", [16, 31, 112])
def test_the_result_is_an_image_of_the_same_size_in_its_own_memory(name: str, side_px: int) -> None:
    image = GRAIN[:side_px, :side_px].copy()
    before = image.copy()
    result = OPERATIONS[name](image)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_part_of_a_larger_picture_is_taken_as_it_looks(name: str) -> None:
    part = GRAIN[20:80, 31:91]
    expected = OPERATIONS[name](part.copy())
    np.testing.assert_array_equal(OPERATIONS[name](part), expected)
    turned = np.ascontiguousarray(part[::-1, ::-1])[::-1, ::-1]
    np.testing.assert_array_equal(OPERATIONS[name](turned), expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_same_comes_out_each_time(name: str) -> None:
    np.testing.assert_array_equal(OPERATIONS[name](GRAIN), OPERATIONS[name](GRAIN))


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_no_rgb_image_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"got \(16, 16\) uint8"):
        OPERATIONS[name](np.zeros((16, 16), np.uint8))


# ── placement ──


@pytest.mark.parametrize("border_px", [0, 1, 16])
def test_a_face_that_stays_is_copied(border_px: int) -> None:
    side_px = 144 - 2 * border_px
    center = GRAIN[border_px : border_px + side_px, border_px : border_px + side_px]
    np.testing.assert_array_equal(warp_crop(GRAIN, Placement(), size_px=side_px), center)
    mirrored = warp_crop(GRAIN, Placement(mirror=True), size_px=side_px)
    np.testing.assert_array_equal(mirrored, center[:, ::-1])


@pytest.mark.parametrize(("x_px", "y_px"), [(3, 0), (0, -5), (-7, 16)])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_shift_by_whole_pixels_moves_them_right_and_down(
    x_px: int, y_px: int, mirror: bool
) -> None:
    placement = Placement(shift_x_px=x_px, shift_y_px=y_px, mirror=mirror)
    source = GRAIN[:, ::-1] if mirror else GRAIN
    expected = source[16 - y_px : 128 - y_px, 16 - x_px : 128 - x_px]
    np.testing.assert_array_equal(warp_crop(GRAIN, placement, size_px=112), expected)


@pytest.mark.parametrize(
    "placement",
    [
        Placement(scale=1.15),
        Placement(scale=0.87),
        Placement(rotation_deg=11),
        Placement(shear=0.12),
        Placement(shift_x_px=2.3, shift_y_px=-4.6),
        Placement(
            scale=1.08, rotation_deg=-9, shift_x_px=3.4, shift_y_px=1.2, shear=-0.1, mirror=True
        ),
    ],
    ids=["larger", "smaller", "turned", "sheared", "shifted", "all"],
)
def test_a_face_lies_where_the_words_say(placement: Placement) -> None:
    """Mirror, shear, turn, scale, shift, each written as in a textbook."""
    angle = math.radians(placement.rotation_deg)
    mirror = np.diag([-1.0 if placement.mirror else 1.0, 1.0])
    shear = np.array([[1, placement.shear], [0, 1]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    back = np.linalg.inv(placement.scale * turn @ shear @ mirror)
    x, y = grid(112)
    offsets = np.stack([x - 55.5 - placement.shift_x_px, y - 55.5 - placement.shift_y_px], axis=-1)
    places = offsets @ back.T + 71.5
    result = warp_crop(picture(*grid(144)), placement, size_px=112)
    inside = ((places > 0) & (places < 143)).all(axis=-1)
    assert inside.mean() > 0.98
    assert largest_gap(result[inside], picture(places[..., 0], places[..., 1])[inside]) <= 4


def test_positive_angles_turn_clockwise() -> None:
    image = np.zeros((113, 113, 3), np.uint8)
    image[5:25, 46:67] = 255  # above the middle
    turned = warp_crop(image, Placement(rotation_deg=90), size_px=113)
    assert turned[56, 98].min() == 255  # to the right of it


def test_the_border_shows_what_would_be_missing() -> None:
    photo = picture(*grid(144))
    moved = Placement(shift_x_px=10, rotation_deg=4)
    with_border = warp_crop(photo, moved, size_px=112)
    without = warp_crop(photo[16:-16, 16:-16], moved, size_px=112)
    np.testing.assert_array_equal(with_border[20:90, 20:90], without[20:90, 20:90])
    assert largest_gap(with_border[:, 0], without[:, 0]) > 20


def test_beyond_the_edge_its_pixels_go_on() -> None:
    image = GRAIN[:112, :112].copy()
    image[:, 0] = (0, 40, 80)
    result = warp_crop(image, Placement(shift_x_px=10), size_px=112)
    assert (result[:, :11] == (0, 40, 80)).all()


@pytest.mark.parametrize(
    ("shape", "size_px"), [((112, 112), 113), ((112, 112), 111), ((112, 110), 108), ((9, 9), 0)]
)
def test_a_crop_without_such_a_middle_is_refused(shape: tuple[int, int], size_px: int) -> None:
    with pytest.raises(InputError, match=f"{size_px}x{size_px} px out of .* {shape[1]}x{shape[0]}"):
        warp_crop(np.zeros((*shape, 3), np.uint8), Placement(), size_px=size_px)


@pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan])
def test_a_scale_must_be_above_0(scale: float) -> None:
    with pytest.raises(InputError, match=f"scale must be above 0, got {scale}"):
        Placement(scale=scale)


# ── tone ──


@pytest.mark.parametrize(
    "tone",
    [
        Tone(),
        Tone(contrast=1.8),
        Tone(contrast=0.4),
        Tone(contrast=0),
        Tone(brightness=54),
        Tone(brightness=-300),
        Tone(red=1.27, green=0.78, blue=1.1),
        Tone(contrast=1.3, brightness=-20, red=0.9, green=1.2, blue=0.8),
        Tone(contrast=90, brightness=1000, red=0.5, green=40, blue=3),
    ],
    ids=str,
)
def test_tone_is_contrast_about_the_mean_then_brightness_then_channels(tone: Tone) -> None:
    values = GRAIN.astype(np.float64)
    values = (values - values.mean()) * tone.contrast + values.mean() + tone.brightness
    values *= [tone.red, tone.green, tone.blue]
    expected = np.clip(values, 0, 255)
    assert np.abs(change_tone(GRAIN, tone) - expected).max() <= 1


def test_contrast_leaves_the_mean_of_a_dark_photo() -> None:
    dark = GRAIN // 4
    flat = change_tone(dark, Tone(contrast=0.5))
    assert flat.mean() == pytest.approx(dark.mean(), abs=0.5)
    assert flat.std() == pytest.approx(dark.std() / 2, rel=0.02)


@pytest.mark.parametrize("saturation", [0, 0.4, 1.7])
def test_saturation_is_contrast_about_the_luma_of_each_pixel(saturation: float) -> None:
    values = GRAIN.astype(np.float64)
    gray = values @ [[0.299], [0.587], [0.114]]
    expected = np.clip(gray + saturation * (values - gray), 0, 255)
    assert np.abs(change_tone(GRAIN, Tone(saturation=saturation)) - expected).max() <= 1


@pytest.mark.parametrize("hue_deg", [-90, -30, 30, 60, 180])
def test_a_turn_of_the_hue_keeps_luma_and_strength_of_colors(hue_deg: float) -> None:
    muted = (GRAIN // 8 + 112).astype(np.uint8)  # so that nothing is cut off
    turned = change_tone(muted, Tone(hue_deg=hue_deg))
    assert largest_gap(luma(turned), luma(muted)) <= 1
    axes = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # of YIQ, NTSC (1953)
    before, after = ((image.reshape(-1, 3) - 127.5) @ axes.T @ [1, 1j] for image in (muted, turned))
    strong = np.abs(before) > 5
    turns_deg = np.rad2deg(np.angle(before[strong] / after[strong]))
    assert np.abs((turns_deg - hue_deg + 180) % 360 - 180).max() < 12  # whole levels
    assert np.abs(np.abs(after) - np.abs(before)).max() < 1


def test_a_positive_turn_makes_red_yellow_and_grays_stay() -> None:
    red = np.full((4, 4, 3), (200, 60, 60), np.uint8)
    turned = change_tone(red, Tone(hue_deg=40))[0, 0] / 255
    assert 25 < 360 * colorsys.rgb_to_hsv(*turned)[0] < 60
    gray = np.repeat(GRAIN[..., :1], 3, axis=-1)
    assert largest_gap(change_tone(gray, Tone(hue_deg=77, saturation=2)), gray) <= 1


def test_channels_come_before_saturation_and_a_whole_turn_is_none() -> None:
    tinted = change_tone(GRAIN, Tone(red=0.5, contrast=0.5))
    wanted = change_tone(tinted, Tone(saturation=0.5))
    found = change_tone(GRAIN, Tone(red=0.5, contrast=0.5, saturation=0.5))
    assert largest_gap(found, wanted) <= 1
    assert Tone(hue_deg=360).is_neutral
    assert not Tone(hue_deg=1).is_neutral
    assert not Tone(saturation=1.01).is_neutral


def test_a_neutral_tone_is_known() -> None:
    assert Tone().is_neutral
    assert not Tone(brightness=1).is_neutral
    assert not Tone(blue=1.01).is_neutral


@pytest.mark.parametrize("factor", [-0.1, math.inf, math.nan])
@pytest.mark.parametrize("name", ["contrast", "red", "green", "blue", "saturation"])
def test_a_negative_factor_is_refused(name: str, factor: float) -> None:
    with pytest.raises(InputError, match=f"must be factors from 0, got .*{factor}"):
        Tone(**{name: factor})


# ── gray, blur, low resolution, noise, JPEG, erase ──


def test_gray_is_the_luma_three_times() -> None:
    gray = remove_color(GRAIN)
    np.testing.assert_array_equal(gray, np.repeat(luma(GRAIN)[..., None], 3, axis=-1))


@pytest.mark.parametrize("sigma_px", [0.5, 1.0, 1.5])
def test_blur_is_a_gaussian(sigma_px: float) -> None:
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, 16:] = 250
    weights = np.exp(-((np.arange(-16, 16) / sigma_px) ** 2) / 2)
    expected = 250 * np.cumsum(weights) / weights.sum()
    blurred = blur_image(edge, sigma_px=sigma_px)
    assert np.abs(blurred - expected[None, :, None]).max() <= 2


@pytest.mark.parametrize("sigma_px", [0, -1, math.nan])
def test_a_blur_needs_a_sigma(sigma_px: float) -> None:
    with pytest.raises(InputError, match=f"above 0, got {sigma_px}"):
        blur_image(FLAT, sigma_px=sigma_px)


def test_low_resolution_leaves_as_many_pixels_as_asked_for() -> None:
    low = lower_resolution(GRAIN[:112, :112], side_px=28)
    means = GRAIN[:112, :112].reshape(28, 4, 28, 4, 3).mean(axis=(1, 3))
    expected = cv2.resize(np.rint(means).astype(np.uint8), (112, 112))
    assert largest_gap(low, expected) <= 2
    assert sharpness(luma(low)) < sharpness(luma(GRAIN)) / 50


def test_low_resolution_of_the_own_size_changes_nothing() -> None:
    np.testing.assert_array_equal(lower_resolution(GRAIN, side_px=144), GRAIN)


@pytest.mark.parametrize("side_px", [0, 113])
def test_a_low_resolution_must_be_lower(side_px: int) -> None:
    with pytest.raises(InputError, match=rf"1\.\.112, got {side_px}"):
        lower_resolution(FLAT, side_px=side_px)


def test_noise_is_normal_and_each_value_has_its_own() -> None:
    noise = (add_noise(FLAT, sigma=8, seed=5).astype(int) - 128).reshape(-1, 3)
    assert noise.mean() == pytest.approx(0, abs=0.2)
    assert noise.std() == pytest.approx(8, rel=0.02)
    assert (np.abs(noise) <= 8).mean() == pytest.approx(0.712, abs=0.02)  # of 8.5 and below
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.04
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.04


def test_noise_follows_its_seed() -> None:
    first = add_noise(FLAT, sigma=8, seed=2**53 - 1)
    np.testing.assert_array_equal(add_noise(FLAT, sigma=8, seed=2**53 - 1), first)
    assert (add_noise(FLAT, sigma=8, seed=7) != first).mean() > 0.9


def test_noise_does_not_wrap_around() -> None:
    assert add_noise(np.full((64, 64, 3), 255, np.uint8), sigma=30, seed=1).min() > 150
    assert add_noise(np.zeros((64, 64, 3), np.uint8), sigma=30, seed=1).max() < 105
    assert set(np.unique(add_noise(FLAT, sigma=1e9, seed=1))) == {0, 255}


def test_no_noise_changes_nothing() -> None:
    np.testing.assert_array_equal(add_noise(GRAIN, sigma=0, seed=1), GRAIN)


@pytest.mark.parametrize(("sigma", "seed"), [(-1, 0), (math.nan, 0), (8, -1)])
def test_noise_refuses_negative_numbers(sigma: float, seed: int) -> None:
    with pytest.raises(InputError, match=f"got {sigma} and {seed}"):
        add_noise(FLAT, sigma=sigma, seed=seed)


def test_noise_leaves_the_generator_of_opencv_alone() -> None:
    cv2.setRNGSeed(5)
    expected = cv2.randn(np.zeros((4, 4), np.float32), 0, 1)
    cv2.setRNGSeed(5)
    add_noise(FLAT, sigma=8, seed=1)
    np.testing.assert_array_equal(cv2.randn(np.zeros((4, 4), np.float32), 0, 1), expected)


def test_jpeg_loses_more_at_lower_quality() -> None:
    image = picture(*grid(112))
    losses = [
        np.abs(compress_jpeg(image, quality=q).astype(int) - image).mean() for q in (95, 60, 10)
    ]
    assert losses == sorted(losses)
    assert losses[0] < 2 < losses[2]


def test_jpeg_keeps_the_order_of_the_channels() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert largest_gap(compress_jpeg(red, quality=90), red) <= 3


@pytest.mark.parametrize("quality", [0, 101])
def test_a_jpeg_has_a_quality_of_1_to_100(quality: int) -> None:
    with pytest.raises(InputError, match=rf"1\.\.100, got {quality}"):
        compress_jpeg(FLAT, quality=quality)


@pytest.mark.parametrize(
    ("box", "n_hidden"),
    [
        ((10, 20, 40, 25), 150),
        ((-10, -5, 4, 3), 12),
        ((100, 108, 140, 120), 48),
        ((-9, 5, -1, 9), 0),
        ((112, 0, 130, 20), 0),
        ((-50, -50, 500, 500), 112 * 112),
    ],
    ids=["inside", "over a corner", "over the other", "left of it", "right of it", "all"],
)
def test_only_the_rectangle_is_hidden_or_kept(
    box: tuple[int, int, int, int], n_hidden: int
) -> None:
    left, top, right, bottom = box
    rectangle = Rectangle(left=left, top=top, right=right, bottom=bottom, level=3)
    image = np.maximum(GRAIN[:112, :112], 10)
    changed = (erase_rectangle(image, rectangle) != image).all(axis=-1)
    y, x = np.indices((112, 112))
    expected = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    np.testing.assert_array_equal(changed, expected)
    assert changed.sum() == n_hidden
    assert (erase_rectangle(image, rectangle)[changed] == 3).all()
    kept = keep_rectangle(image, rectangle)
    np.testing.assert_array_equal(kept[expected], image[expected])
    assert (kept[~expected] == 3).all()


@pytest.mark.parametrize("level", [-1, 256])
def test_a_rectangle_has_a_level_of_0_to_255(level: int) -> None:
    with pytest.raises(InputError, match=rf"0\.\.255, got {level}"):
        Rectangle(left=0, top=0, right=1, bottom=1, level=level)
