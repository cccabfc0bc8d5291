"""The learning rate and the margin of any step, from its number alone."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import LearningError
from arcwise.train.schedule import SHAPES, Shape, learning_rate_at, margin_strength_at

FALLING = ["cosine", "poly"]


def rates(
    n_steps: int = 20, warmup_steps: int = 5, base: float = 0.1, shape: Any = "cosine"
) -> list[float]:
    return [
        learning_rate_at(step, n_steps=n_steps, warmup_steps=warmup_steps, base=base, shape=shape)
        for step in range(n_steps + 1)
    ]


def test_the_warm_up_rises_in_equal_parts_to_the_full_rate() -> None:
    assert rates()[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_a_warm_up_of_one_step_is_none(warmup_steps: int) -> None:
    assert rates(warmup_steps=warmup_steps)[0] == 0.1


def test_poly_is_a_straight_line() -> None:
    # InsightFace: base * (1 - (it - warm) / (total - warm)), its first warm-up step excepted.
    assert rates(10, 2, 1.0, "poly") == pytest.approx(
        [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]
    )


def test_cosine_is_at_half_the_rate_half_way() -> None:
    found = rates(20, 0, 1.0, "cosine")
    assert found[10] == pytest.approx(0.5)
    assert found[5] == pytest.approx(0.5 * (1 + math.sqrt(0.5)))


def test_constant_stays() -> None:
    assert set(rates(20, 0, 0.3, "constant")) == {0.3}


def test_a_warm_up_may_be_all_there_is() -> None:
    assert rates(4, 4, 1.0, "poly") == [0.25, 0.5, 0.75, 1.0, 0.0]


@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.floats(1e-6, 10),
    st.sampled_from(FALLING),
)
def test_the_rate_rises_once_falls_once_and_is_never_0_while_training(
    lengths: tuple[int, int], base: float, shape: str
) -> None:
    n_steps, warmup_steps = lengths
    found = rates(n_steps, warmup_steps, base, shape)
    rising, falling = found[:warmup_steps], found[warmup_steps:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert all(0 < rate <= base for rate in found[:-1])
    assert found[-1] == 0
    if warmup_steps > 1:
        assert found[0] == pytest.approx(base / warmup_steps)
    if warmup_steps > 0:
        assert found[warmup_steps - 1] == base
    if warmup_steps < n_steps:
        assert found[warmup_steps] == base


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": 11},
        {"n_steps": 0, "step": 0},
        {"warmup_steps": -1},
        {"warmup_steps": 11},
        {"base": 0.0},
        {"base": math.nan},
        {"shape": "stairs"},
    ],
)
def test_what_is_out_of_range_is_refused_with_a_hint(wrong: dict[str, Any]) -> None:
    right = {"step": 3, "n_steps": 10, "warmup_steps": 2, "base": 0.1, "shape": "cosine"} | wrong
    with pytest.raises(LearningError, match=str(next(iter(wrong.values())))) as caught:
        learning_rate_at(right.pop("step"), **right)
    assert caught.value.hint


def test_a_step_after_the_end_is_refused_instead_of_learning_nothing() -> None:
    with pytest.raises(LearningError, match="step 11 of a schedule of 10 steps"):
        learning_rate_at(11, n_steps=10, warmup_steps=0, base=0.1, shape="cosine")


def test_every_shape_has_a_formula() -> None:
    assert set(SHAPES) == set(get_args(Shape))


def test_the_margin_grows_from_nothing_to_all_and_stays() -> None:
    found = [margin_strength_at(step, 4) for step in range(7)]
    assert found == [0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_a_margin_without_warm_up_is_whole_at_once() -> None:
    assert margin_strength_at(0, 0) == 1


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_strength_of_a_margin_is_a_share(step: int, warmup_steps: int) -> None:
    assert 0 <= margin_strength_at(step, warmup_steps) <= 1
    assert margin_strength_at(step, warmup_steps) <= margin_strength_at(step + 1, warmup_steps)


@pytest.mark.parametrize(("step", "warmup_steps"), [(-1, 3), (0, -3)])
def test_a_negative_step_of_a_margin_is_refused(step: int, warmup_steps: int) -> None:
    with pytest.raises(LearningError, match="margin warm-up"):
        margin_strength_at(step, warmup_steps)
