"""The learning rate and the margin of any step, from its number alone."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR

from arcwise.errors import LearningError
from arcwise.train.schedule import (
    ONECYCLE_END,
    ONECYCLE_START,
    SHAPES,
    Shape,
    learning_rate_at,
    margin_strength_at,
    scale_milestones,
)

FALLING = ["cosine", "poly"]


def rates(
    n_steps: int = 20,
    warmup_steps: int = 5,
    base: float = 0.1,
    shape: Any = "cosine",
    **options: Any,
) -> list[float]:
    course = {"n_steps": n_steps, "warmup_steps": warmup_steps, "base": base, "shape": shape}
    return [learning_rate_at(step, **course, **options) for step in range(n_steps + 1)]


def torch_rates(kind: Any, n_steps: int, **options: Any) -> list[float]:
    """What an optimizer runs at, step for step, under one of torch's own schedules."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = kind(optimizer, **options)
    found = []
    for _ in range(n_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


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


def test_the_series_that_insightface_prints_without_its_slip() -> None:
    # InsightFace's PolynomialLRWarmup, base 0.1, 3 of 10 steps: 0.1, 0.033, 0.067, 0.1, 0.086, ...
    # Its first step runs at the full rate by a slip, so that its warm-up lags a step behind.
    found = rates(10, 3, 0.1, "poly")
    assert found[:5] == pytest.approx([0.0333, 0.0667, 0.1, 0.1, 0.0857], abs=5e-5)


@given(st.integers(1, 200), st.floats(0.1, 5))
def test_poly_is_the_power_of_the_line(n_steps: int, power: float) -> None:
    line, curve = rates(n_steps, 0, 1.0, "poly"), rates(n_steps, 0, 1.0, "poly", power=power)
    assert curve == pytest.approx([share**power for share in line])


def test_a_power_of_2_falls_to_a_quarter_half_way() -> None:
    assert rates(20, 0, 1.0, "poly", power=2.0)[10] == 0.25  # poly_2 of CVLface


def test_drops_are_those_of_torch() -> None:
    # yakhyo/face-recognition: 0.1, MultiStep 10, 20, 25 of 30 epochs; here 1 epoch is 1 step.
    milestones = [10, 20, 25]
    wanted = torch_rates(MultiStepLR, 30, milestones=milestones, gamma=0.1)
    assert rates(30, 0, 0.1, "step", milestones=milestones)[:-1] == pytest.approx(wanted)


def test_drops_count_from_the_start_of_the_warm_up() -> None:
    # CVLface and AdaFace: 26 epochs, 0.1, drops after 12, 20 and 24; CVLface warms up for 1.
    per_epoch = 5
    found = rates(
        26 * per_epoch, per_epoch, 0.1, "step", milestones=[n * per_epoch for n in (12, 20, 24)]
    )
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    by_epoch = [found[epoch * per_epoch] for epoch in range(1, 26)]
    assert by_epoch == pytest.approx([0.1] * 11 + [0.01] * 8 + [1e-3] * 4 + [1e-4] * 2)
    assert found[12 * per_epoch - 1] == 0.1


def test_a_drop_beyond_the_end_is_never_reached() -> None:
    assert set(rates(10, 0, 0.1, "step", milestones=[99])) == {0.1}


def test_milestones_are_scaled_to_the_batch() -> None:
    # ONNX model zoo, train_arcface.ipynb: 100k, 140k, 160k at 512, times 512 / batch size.
    milestones = [100_000, 140_000, 160_000]
    assert scale_milestones(milestones, batch_size=256) == (200_000, 280_000, 320_000)
    assert scale_milestones(milestones, batch_size=512) == tuple(milestones)
    assert scale_milestones([8], batch_size=32, reference=64) == (16,)
    with pytest.raises(LearningError, match="batches of 0"):
        scale_milestones(milestones, batch_size=0)


@pytest.mark.parametrize(("n_steps", "warmup_steps"), [(20, 6), (100, 30), (7, 2), (10, 5)])
def test_one_cycle_is_that_of_torch(n_steps: int, warmup_steps: int) -> None:
    found = rates(n_steps, warmup_steps, 0.1, "onecycle")
    wanted = torch_rates(
        OneCycleLR,
        n_steps - 1,  # torch complains about a step after its last one
        max_lr=0.1,
        total_steps=n_steps,
        pct_start=warmup_steps / n_steps,
        div_factor=1 / ONECYCLE_START,
        final_div_factor=ONECYCLE_START / ONECYCLE_END,  # torch divides the first rate by it
    )
    assert found[: n_steps - 1] == pytest.approx(wanted, rel=1e-9)
    assert found[-2:] == pytest.approx([0.1 * ONECYCLE_END] * 2)


def test_one_cycle_rises_in_the_warm_up_and_falls_after_it() -> None:
    found = rates(20, 6, 1.0, "onecycle")
    assert found[0] == pytest.approx(ONECYCLE_START)
    assert found[5] == max(found) == 1
    assert found[:6] == sorted(found[:6])
    assert found[5:] == sorted(found[5:], reverse=True)


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_one_cycle_without_a_warm_up_only_falls(warmup_steps: int) -> None:
    found = rates(20, warmup_steps, 1.0, "onecycle")
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert rates(1, warmup_steps, 1.0, "onecycle") == pytest.approx([1, ONECYCLE_END])


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.sampled_from(get_args(Shape)),
)
def test_every_rate_of_every_shape_is_above_0_and_at_most_the_base(
    lengths: tuple[int, int], shape: str
) -> None:
    found = rates(*lengths, 0.1, shape, power=2.0, milestones=[3, 50.5])
    assert all(0 < rate <= 0.1 * (1 + 1e-12) for rate in found[:-1])
    assert found[-1] >= 0


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
        {"power": 0.0},
        {"power": math.inf},
        {"factor": 0.0},
        {"factor": 1.5},
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


@pytest.mark.parametrize("milestones", [[], [0, 5], [5, 5], [8, 5], [-1], [math.nan], [math.inf]])
def test_milestones_that_do_not_rise_are_refused(milestones: list[float]) -> None:
    with pytest.raises(LearningError, match="milestones of a schedule are") as caught:
        rates(shape="step", milestones=milestones)
    assert "rising" in caught.value.hint


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
