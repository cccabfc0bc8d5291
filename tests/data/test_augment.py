"""Random changes: seeded, as strong and as frequent as asked for, independent of each other."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.align import align_faces
from arcwise.data.augment import MOST, Augmentation, Distortion, augment
from arcwise.distort import Tone
from arcwise.errors import ImageError, InputError, LearningError
from arcwise.image import read_image

CROP = np.random.default_rng(7).integers(0, 256, (144, 144, 3), np.uint8)
CENTER = CROP[16:-16, 16:-16]
NONE = Augmentation.none()
NAMES = [field.name for field in fields(Augmentation)]
PROBABILITIES = [name for name in NAMES if name not in MOST]
ALWAYS = Augmentation(**dict.fromkeys(PROBABILITIES, 1.0))
N_DRAWS = 3000

# What of a draw belongs to each field.
PARTS: dict[str, Callable[[Distortion], object]] = {
    "mirror": lambda drawn: drawn.placement.mirror,
    "scale": lambda drawn: drawn.placement.scale,
    "rotation_deg": lambda drawn: drawn.placement.rotation_deg,
    "shift_px": lambda drawn: (drawn.placement.shift_x_px, drawn.placement.shift_y_px),
    "shear": lambda drawn: drawn.placement.shear,
    "contrast": lambda drawn: drawn.tone.contrast,
    "brightness": lambda drawn: drawn.tone.brightness,
    "color": lambda drawn: (drawn.tone.red, drawn.tone.green, drawn.tone.blue),
    "saturation": lambda drawn: drawn.tone.saturation,
    "hue_deg": lambda drawn: drawn.tone.hue_deg,
    "gray": lambda drawn: drawn.is_gray,
    "blur": lambda drawn: drawn.blur_sigma_px,
    "low_resolution": lambda drawn: drawn.low_resolution_px,
    "noise": lambda drawn: drawn.noise_seed,
    "jpeg": lambda drawn: drawn.jpeg_quality,
    "erase": lambda drawn: drawn.hidden,
    "crop": lambda drawn: drawn.window,
}
# The defaults, with what they leave out as well.
FULL = Augmentation(saturation=0.2, hue_deg=8, crop=0.2)


@cache
def draws(augmentation: Augmentation, n: int = N_DRAWS, *, seed: int = 11) -> list[Distortion]:
    """Of one generator, one after the other, as the crops of a batch."""
    rng = np.random.default_rng(seed)
    return [augmentation.draw(rng) for _ in range(n)]


def augmented(augmentation: Augmentation, *, seed: int = 0, crop: np.ndarray = CROP) -> np.ndarray:
    rng = np.random.default_rng(seed)
    border_px = (crop.shape[0] - 112) // 2
    return augment(crop, border_px=border_px, augmentation=augmentation, rng=rng)


# ── what comes out ──


@pytest.mark.parametrize(("border_px", "size_px"), [(16, 112), (0, 144), (24, 96)])
def test_no_augmentation_is_exactly_the_middle(border_px: int, size_px: int) -> None:
    result = augment(
        CROP,
        border_px=border_px,
        size_px=size_px,
        augmentation=NONE,
        rng=np.random.default_rng(1),
    )
    end_px = border_px + size_px
    np.testing.assert_array_equal(result, CROP[border_px:end_px, border_px:end_px])
    assert not np.shares_memory(result, CROP)


def test_a_mirror_alone_mirrors_exactly() -> None:
    result = augmented(replace(NONE, mirror=1))
    np.testing.assert_array_equal(result, CENTER[:, ::-1])


def test_the_middle_is_the_crop_that_serving_sees(portraits: dict[str, Path]) -> None:
    photo = read_image(portraits["Eileen Collins"])
    points = np.array([[[204, 101], [247, 103], [225, 127], [204, 141], [244, 141]]], np.float32)
    prepared = align_faces(photo, points, border_px=16)[0]
    np.testing.assert_array_equal(augmented(NONE, crop=prepared), align_faces(photo, points)[0])


def test_the_same_state_gives_the_same_bytes() -> None:
    first, again = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(20):
        results = [
            augment(CROP, border_px=16, augmentation=Augmentation(), rng=rng)
            for rng in (first, again)
        ]
        np.testing.assert_array_equal(*results)
    assert first.bit_generator.state == again.bit_generator.state


def test_crops_of_one_generator_differ() -> None:
    rng = np.random.default_rng(5)
    results = [
        augment(CROP, border_px=16, augmentation=Augmentation(), rng=rng).tobytes()
        for _ in range(20)
    ]
    assert len(set(results)) == 20


@pytest.mark.parametrize("name", NAMES)
def test_a_change_alone_changes_something(name: str) -> None:
    only = replace(NONE, **{name: 1 if name in PROBABILITIES else getattr(FULL, name)})
    n_changed = sum((augmented(only, seed=seed) != CENTER).any() for seed in range(12))
    assert n_changed >= (1 if name == "shear" else 10)  # a draw may be next to nothing


def test_the_crop_itself_is_not_changed() -> None:
    crop = CROP.copy()
    crop.setflags(write=False)
    for seed in range(30):
        augmented(Augmentation(), seed=seed, crop=crop)
    np.testing.assert_array_equal(crop, CROP)


def test_without_a_border_shifts_show_repeated_pixels_of_the_edge() -> None:
    only = replace(NONE, shift_px=30)
    drawn = next(one for one in draws(only, 50) if one.placement.shift_x_px > 20)
    result = drawn.apply(CENTER)
    assert (np.ptp(result[:, :20].astype(int), axis=1) == 0).all()


@given(
    strengths=st.fixed_dictionaries({name: st.floats(0, MOST.get(name, 1)) for name in NAMES}),
    size_px=st.integers(1, 40),
    border_px=st.integers(0, 9),
    seed=st.integers(0, 2**32),
)
def test_no_strength_fails(
    strengths: dict[str, float], size_px: int, border_px: int, seed: int
) -> None:
    side_px = size_px + 2 * border_px
    result = augment(
        CROP[:side_px, :side_px],
        border_px=border_px,
        size_px=size_px,
        augmentation=Augmentation(**strengths),
        rng=np.random.default_rng(seed),
    )
    assert (result.shape, result.dtype) == ((size_px, size_px, 3), np.uint8)
    assert result.flags.c_contiguous


# ── what is drawn ──


@pytest.mark.parametrize("name", NAMES)
def test_switching_one_change_off_changes_no_other_draw(name: str) -> None:
    """Neither in the same crop nor in the next ones."""
    before = draws(FULL, 60)
    after = draws(replace(FULL, **{name: 0}), 60)
    for other, part in PARTS.items():
        same = [part(one) == part(two) for one, two in zip(before, after, strict=True)]
        assert all(same) == (other != name), other


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("probability", [0, 0.1, 0.5, 1])
def test_a_change_happens_as_often_as_asked_for(name: str, probability: float) -> None:
    asked = Augmentation(**dict.fromkeys(PROBABILITIES, probability))
    happened = [PARTS[name](drawn) not in (None, False) for drawn in draws(asked)]
    error = 4 * math.sqrt(probability * (1 - probability) / N_DRAWS)
    assert np.mean(happened) == pytest.approx(probability, abs=error)


def test_of_the_crops_30_percent_are_sheared() -> None:
    shears = np.array([drawn.placement.shear for drawn in draws(Augmentation())])
    assert (shears != 0).mean() == pytest.approx(0.3, abs=0.03)
    assert shears[shears != 0].std() == pytest.approx(0.06, rel=0.07)


@pytest.mark.parametrize(
    ("name", "is_factor"),
    [
        ("scale", True),
        ("rotation_deg", False),
        ("shift_px", False),
        ("contrast", True),
        ("brightness", False),
        ("color", True),
        ("saturation", True),
        ("hue_deg", False),
    ],
)
def test_a_sigma_is_that_of_the_draws_none_beyond_3(name: str, is_factor: bool) -> None:
    sigma = getattr(FULL, name)
    values = np.array([PARTS[name](drawn) for drawn in draws(FULL)], float)
    values = np.log(values) if is_factor else values
    assert values.std(axis=0) == pytest.approx(sigma, rel=0.06)
    assert values.mean(axis=0) == pytest.approx(0, abs=0.08 * sigma)
    assert 2.9 * sigma < np.abs(values).max() <= 3 * sigma * (1 + 1e-9)


def test_what_is_drawn_fills_the_documented_ranges() -> None:
    always = draws(ALWAYS)
    hidden = [drawn.hidden for drawn in always if drawn.hidden]
    windows = [drawn.window for drawn in always if drawn.window]
    sides = [(one.right - one.left, one.bottom - one.top) for one in windows]
    inner = [side for side in sides if max(side) < 112]  # others are cut at the edge
    ranges = {
        "blur": ([drawn.blur_sigma_px for drawn in always], 0.5, 1.5),
        "low_resolution": ([drawn.low_resolution_px for drawn in always], 24, 80),
        "jpeg": ([drawn.jpeg_quality for drawn in always], 30, 90),
        "width": ([one.right - one.left for one in hidden], 15, 55),
        "height": ([one.bottom - one.top for one in hidden], 15, 55),
        "level": ([one.level for one in hidden], 0, 255),
        "x": ([(one.left + one.right) / 2 for one in hidden], 0, 112),
        "y": ([(one.top + one.bottom) / 2 for one in hidden], 0, 112),
    }
    for name, (values, least, most) in ranges.items():
        assert min(values) == pytest.approx(least, abs=0.01 * (most - least)), name
        assert max(values) == pytest.approx(most, abs=0.01 * (most - least)), name
        assert np.mean(values) == pytest.approx((least + most) / 2, rel=0.05), name
    areas = [width * height / 112**2 for width, height in sides]
    ratios = [width / height for width, height in inner]
    assert (min(areas), max(areas)) == pytest.approx((0.2, 1), abs=0.01)  # AdaFace
    assert (min(ratios), max(ratios)) == pytest.approx((3 / 4, 4 / 3), abs=0.02)  # AdaFace
    assert np.median(np.log(ratios)) == pytest.approx(0, abs=0.02)


def test_a_window_lies_inside_and_reaches_every_edge() -> None:
    for size_px in (112, 5, 1):
        rng = np.random.default_rng(1)
        windows = [ALWAYS.draw(rng, size_px=size_px).window for _ in range(300)]
        assert min(one.left for one in windows) == min(one.top for one in windows) == 0
        assert max(one.right for one in windows) == max(one.bottom for one in windows) == size_px
        assert all(0 <= one.left < one.right <= size_px for one in windows)
        assert all(0 <= one.top < one.bottom <= size_px for one in windows)


def test_a_window_keeps_the_face_in_its_place_and_makes_the_rest_black() -> None:
    bright = np.maximum(CROP, 1)
    only = replace(NONE, crop=1)
    for seed in range(10):
        box = only.draw(np.random.default_rng(seed)).window
        wanted = np.zeros((112, 112, 3), np.uint8)
        inside = np.s_[box.top : box.bottom, box.left : box.right]
        wanted[inside] = bright[16:-16, 16:-16][inside]
        np.testing.assert_array_equal(augmented(only, seed=seed, crop=bright), wanted)


def test_each_noise_is_another() -> None:
    seeds = [drawn.noise_seed for drawn in draws(ALWAYS)]
    assert len(set(seeds)) == N_DRAWS


def test_lengths_grow_with_the_crop() -> None:
    small, large = (ALWAYS.draw(np.random.default_rng(2), size_px=size) for size in (112, 336))
    assert large.placement.shift_x_px == pytest.approx(3 * small.placement.shift_x_px)
    assert large.blur_sigma_px == pytest.approx(3 * small.blur_sigma_px)
    assert large.low_resolution_px == pytest.approx(3 * small.low_resolution_px, abs=2)
    assert large.hidden.left == pytest.approx(3 * small.hidden.left, abs=5)
    assert large.hidden.right == pytest.approx(3 * small.hidden.right, abs=5)
    assert large.placement.scale == small.placement.scale


def test_a_drawn_distortion_can_be_applied_again() -> None:
    for drawn in draws(Augmentation(), 20):
        np.testing.assert_array_equal(drawn.apply(CROP), drawn.apply(CROP))


def test_changes_are_made_in_the_order_of_the_fields() -> None:
    """Gray after a tint is gray; what is hidden is of one level; beyond the window all is black."""
    tinted = Distortion(tone=Tone(red=2), is_gray=True).apply(CROP)
    assert (np.ptp(tinted, axis=-1) == 0).all()
    for drawn in draws(ALWAYS, 20):
        box, image = drawn.hidden, drawn.apply(CROP)
        left, top = max(box.left, drawn.window.left), max(box.top, drawn.window.top)
        right, bottom = min(box.right, drawn.window.right), min(box.bottom, drawn.window.bottom)
        assert (image[top : max(bottom, top), left : max(right, left)] == box.level).all()
        assert not image[drawn.window.bottom :].any()
        assert not image[:, : drawn.window.left].any()


def test_saturation_hue_and_crop_are_off_by_default() -> None:
    for drawn in draws(Augmentation(), 100):
        assert (drawn.tone.saturation, drawn.tone.hue_deg, drawn.window) == (1, 0, None)


# ── what is refused ──


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, 256, "0.5", None, True])
def test_a_strength_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(LearningError, match=rf"augmentation\.{name} is {value!r}") as caught:
        Augmentation(**{name: value})
    noun = "probability from 0 to 1" if name in PROBABILITIES else "strength from 0 to"
    assert noun in caught.value.hint


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_probability_is_at_most_1(name: str) -> None:
    assert getattr(Augmentation(**{name: 1}), name) == 1
    with pytest.raises(LearningError, match=f"{name} is 1.01"):
        Augmentation(**{name: 1.01})


def test_an_augmentation_is_frozen_and_travels_to_other_processes() -> None:
    augmentation = Augmentation(erase=0.25)
    with pytest.raises(FrozenInstanceError):
        augmentation.erase = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation


@pytest.mark.parametrize(
    ("shape", "border_px"), [((144, 144), 0), ((112, 112), 16), ((144, 112), 16), ((110, 110), -1)]
)
def test_a_crop_of_another_size_is_refused(shape: tuple[int, int], border_px: int) -> None:
    crop = np.zeros((*shape, 3), np.uint8)
    with pytest.raises(InputError, match=f"got {shape[1]}x{shape[0]}") as caught:
        augment(crop, border_px=border_px, augmentation=NONE, rng=np.random.default_rng())
    assert "prepared" in caught.value.hint


def test_a_crop_that_is_no_rgb_image_is_refused() -> None:
    with pytest.raises(ImageError, match="float32"):
        augment(
            np.zeros((112, 112, 3), np.float32),
            border_px=0,
            augmentation=NONE,
            rng=np.random.default_rng(),
        )
