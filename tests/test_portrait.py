"""The brush paints where it should, and a look makes a person."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arcwise.portrait import Brush, Look, Moment, paint_head

UPRIGHT = np.array([[1, 0, 40], [0, 1, 30]], np.float32)


def paint(place: np.ndarray, *, seed: int = 3) -> np.ndarray:
    canvas = np.full((300, 260, 3), 200, np.float32)
    paint_head(canvas, Look.of(seed), Moment.of(seed, 0), place)
    return canvas


@pytest.mark.parametrize("turn_deg", [0, 30, 135])
@pytest.mark.parametrize("scale", [0.7, 2.0])
def test_an_oval_covers_its_area_at_any_scale_and_turn(turn_deg: float, scale: float) -> None:
    cos, sin = (f(math.radians(turn_deg)) * scale for f in (math.cos, math.sin))
    place = np.array([[cos, -sin, 150], [sin, cos, 150]], np.float32)
    brush = Brush(np.zeros((300, 300, 3), np.float32), place, (-60, -60, 60, 60))
    assert brush.oval(5, -8, 20, 12).sum() == pytest.approx(math.pi * 20 * 12 * scale**2, rel=0.01)


def test_a_small_brush_paints_the_same_as_a_large_one() -> None:
    small, large = np.zeros((2, 200, 200, 3), np.float32)
    brush = Brush(large, UPRIGHT, (-20, -20, 132, 160))
    brush.fill(brush.oval(56, 70, 9, 6), (250, 10, 10))
    near = Brush(small, UPRIGHT, (-20, -20, 132, 160)).near((56, 70), 15)
    near.fill(near.oval(56, 70, 9, 6), (250, 10, 10))
    assert (small == large).all()


def test_a_head_that_moves_by_whole_pixels_is_the_same_picture() -> None:
    shifted = UPRIGHT + np.array([[0, 0, 7], [0, 0, 11]], np.float32)
    there = paint(shifted)
    assert paint(UPRIGHT)[:-11, :-7] == pytest.approx(there[11:, 7:], abs=0.01)


def test_a_head_stays_in_the_range_of_colors() -> None:
    for seed in range(20):
        painted = paint(UPRIGHT, seed=seed)
        assert painted.min() >= 0
        assert painted.max() < 300  # highlights are clipped when the picture is finished


def test_the_neutral_moment_changes_nothing() -> None:
    moment = Moment.of(5, 0)
    assert (moment.lean_rad, moment.turn, moment.gain, moment.side_light) == (0, 0, 1, 0)


def test_looks_differ_in_more_than_color() -> None:
    looks = [Look.of(seed) for seed in range(40)]
    assert {look.has_glasses for look in looks} == {False, True}
    assert {look.has_long_hair for look in looks} == {False, True}
    assert len({round(look.hairline, 3) for look in looks}) == 40
