"""A scale that finds its size, and says when nothing is left to scale."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import LearningError
from arcwise.train.precision import LossScale

STEPS = st.lists(st.booleans(), max_size=400)


def take(scale: LossScale, steps: list[bool]) -> list[float]:
    """The scale after each step."""
    values = []
    for is_finite in steps:
        scale.update(is_finite=is_finite)
        values.append(scale.value)
    return values


def is_broken(steps: list[bool]) -> bool:
    """Whether 25 steps in a row were not finite."""
    return "n" * 25 in "".join("y" if is_finite else "n" for is_finite in steps)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_precisions_are_never_scaled(precision: str) -> None:
    scale = LossScale.for_precision(precision)
    assert take(scale, [False] * 30 + [True] * 300) == [1.0] * 330


def test_float16_begins_as_torchs_scaler_does() -> None:
    assert LossScale.for_precision("float16").value == 2**16


def test_it_doubles_after_100_good_steps_in_a_row() -> None:
    scale = LossScale(1024.0)
    assert take(scale, [True] * 201) == [1024.0] * 99 + [2048.0] * 100 + [4096.0] * 2


def test_a_bad_step_halves_it_and_the_count_begins_again() -> None:
    scale = LossScale(1024.0)
    take(scale, [True] * 99)
    assert take(scale, [False] + [True] * 100) == [512.0] * 100 + [1024.0]


def test_25_bad_steps_in_a_row_are_a_broken_gradient() -> None:
    scale = LossScale()
    take(scale, [False] * 24 + [True] + [False] * 24)
    with pytest.raises(LearningError, match="25 steps in a row had gradients that are not finite"):
        scale.update(is_finite=False)


@given(STEPS.filter(lambda steps: not is_broken(steps)))
def test_it_stays_a_power_of_two_that_float32_holds(steps: list[bool]) -> None:
    """So that to multiply and to divide by it changes no digit."""
    for value in take(LossScale(), steps):
        assert math.frexp(value)[0] == 0.5
        assert 2**-14 <= value <= 2**24


def test_it_does_not_grow_or_fall_beyond_its_bounds() -> None:
    scale = LossScale()
    assert max(take(scale, [True] * 1000)) == 2**24
    assert min(take(scale, ([False] * 24 + [True]) * 3)) == 2**-14


@given(STEPS.filter(lambda steps: not is_broken(steps)), st.integers(0, 400))
def test_a_scale_that_goes_on_from_a_checkpoint_is_the_same(steps: list[bool], at: int) -> None:
    """Value and count, as a checkpoint keeps them, are all it knows."""
    whole, begun = LossScale(), LossScale()
    take(begun, steps[:at])
    resumed = LossScale(begun.value, int(float(begun.n_good)))
    take(resumed, steps[at:])
    take(whole, steps)
    assert resumed == whole
