"""Psi is the paper's, its gradient is psi's, and neither is ever lost at a corner."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import BeyondPi, Gradient, Margin, apply_margin, arcface, cosface

ARCFACES = [Margin(m2=0.5, beyond_pi=name) for name in ("linear", "none", "clip", "extend")]
CM1 = Margin(1, 0.3, 0.2)
CM2 = Margin(0.9, 0.4, 0.15, beyond_pi="extend")
SPHEREFACE = Margin(1.35, beyond_pi="extend")
A_SOFTMAX = Margin(4, beyond_pi="extend")
EASY = Margin(m2=0.5, easy_margin=True)
BARE_A_SOFTMAX = Margin(4, beyond_pi="none")
ALL = [*ARCFACES, CM1, CM2, SPHEREFACE, A_SOFTMAX, EASY, BARE_A_SOFTMAX, cosface(), Margin()]
CORNERS = [-1.0, -1 + 2**-24, -1 + 2**-23, -0.5, -0.0, 0.0, 0.5, 1 - 2**-23, 1 - 2**-24, 1.0]


def naive_psi(cosine: float, margin: Margin) -> float:
    """One cosine at a time, by its angle, in float64: the formulae as the papers print them."""
    theta = math.acos(cosine)
    phi = margin.m1 * theta + margin.m2
    if margin.easy_margin and cosine <= 0:
        return cosine
    if (margin.m1, margin.m2) == (1, 0):
        return math.cos(theta) - margin.m3
    if margin.beyond_pi == "linear" and theta >= math.pi - margin.m2:
        return cosine - margin.m2 * math.sin(math.pi - margin.m2) - margin.m3
    if margin.beyond_pi == "clip":
        phi = min(phi, math.pi - 1e-3)
    if margin.beyond_pi == "extend":
        k = math.floor(phi / math.pi)
        return (-1) ** k * math.cos(phi) - 2 * k - margin.m3
    return math.cos(phi) - margin.m3


def naive_slope(cosine: float, margin: Margin) -> float:
    """d psi / d cosine = -(d psi / d theta) / sin theta, branch by branch."""
    theta = math.acos(cosine)
    phi = margin.m1 * theta + margin.m2
    if (margin.m1, margin.m2) == (1, 0) or (margin.easy_margin and cosine <= 0):
        return 1.0
    if margin.beyond_pi == "linear" and theta >= math.pi - margin.m2:
        return 1.0
    if margin.beyond_pi == "clip" and phi > math.pi - 1e-3:
        return 0.0
    sign = (-1) ** math.floor(phi / math.pi) if margin.beyond_pi == "extend" else 1
    return sign * margin.m1 * math.sin(phi) / math.sin(theta)


def cosines(dtype: torch.dtype = torch.float64) -> Tensor:
    """A dense grid of angles, denser at both ends, without the ends themselves."""
    near = np.geomspace(2e-3, 0.1, 100)
    angles = np.concatenate((near, np.linspace(0.1, math.pi - 0.1, 1001), math.pi - near))
    return torch.tensor(np.cos(angles), dtype=dtype)


def slope_of(cosine: Tensor, margin: Margin) -> Tensor:
    leaf = cosine.clone().requires_grad_()
    apply_margin(leaf, margin).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("margin", ALL, ids=repr)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_psi_equals_the_naive_loop(margin: Margin, dtype: torch.dtype, allowed: float):
    grid = torch.cat((cosines(dtype), torch.tensor(CORNERS, dtype=dtype)))
    expected = [naive_psi(c, margin) for c in grid.tolist()]
    np.testing.assert_allclose(apply_margin(grid, margin), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("margin", ALL, ids=repr)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_gradient_equals_the_naive_derivative(
    margin: Margin, dtype: torch.dtype, allowed: float
):
    grid = cosines(dtype)
    expected = [naive_slope(c, margin) for c in grid.tolist()]
    if margin.m1 != 1:
        allowed *= 100  # the angle itself is needed, and near pi it is rounded coarsely
    np.testing.assert_allclose(slope_of(grid, margin), expected, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_the_gradient_is_that_of_the_value(margin: Margin):
    inside = torch.linspace(-0.995, 0.995, 41, dtype=torch.float64)
    jumps = torch.tensor([-math.cos(margin.m2), math.cos(margin.limit_rad - 1e-3), 0.0])
    smooth = inside[((inside[:, None] - jumps).abs() > 1e-4).all(dim=1)].requires_grad_()
    assert len(smooth) > 35
    assert torch.autograd.gradcheck(lambda c: apply_margin(c, margin), smooth)


@pytest.mark.parametrize("margin", [replace(m, gradient="straight_through") for m in ALL], ids=repr)
def test_straight_through_keeps_the_value_and_passes_the_gradient_as_it_is(margin: Margin):
    grid = torch.cat((cosines(torch.float32), torch.tensor(CORNERS)))
    exact = apply_margin(grid, replace(margin, gradient="exact"))
    assert torch.equal(apply_margin(grid, margin), exact)
    assert torch.equal(slope_of(grid, margin), torch.ones_like(grid))


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_value_and_gradient_are_finite_at_every_corner(margin: Margin):
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        eps = torch.finfo(dtype).eps
        ends = [1.0, 1 - eps / 2, 1 - eps, 1 - 7 * eps, 1 - 9 * eps, 1 - 100 * eps]
        corners = torch.tensor([*ends, *(-c for c in ends), 0.0, *CORNERS], dtype=dtype)
        assert torch.isfinite(apply_margin(corners, margin)).all()
        assert torch.isfinite(slope_of(corners, margin)).all()


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_a_cosine_carried_beyond_one_by_rounding_is_taken_for_one(margin: Margin):
    beyond = torch.tensor([1 + 2**-23, 1 + 1e-5, -1 - 2**-23, -1 - 1e-5])
    ends = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert torch.equal(apply_margin(beyond, margin), apply_margin(ends, margin))
    assert torch.equal(slope_of(beyond, margin), slope_of(ends, margin))


def test_without_a_guard_the_usual_formulae_lose_their_gradient_at_one():
    """Why value and slope are written out: what autograd makes of the textbook's lines."""
    by_root = torch.ones(1, requires_grad=True)
    (by_root * math.cos(0.5) - (1 - by_root**2).sqrt() * math.sin(0.5)).sum().backward()
    by_angle = torch.ones(1, requires_grad=True)
    (by_angle.acos() + 0.5).cos().sum().backward()
    for leaf in (by_root, by_angle):
        assert leaf.grad is not None
        assert not torch.isfinite(leaf.grad).any()
    assert torch.isnan(torch.tensor([1 + 2**-23]).acos()).all()
    assert torch.isfinite(slope_of(torch.ones(1), arcface())).all()


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_the_gradient_of_an_embedding_keeps_its_bound_at_every_angle(margin: Margin):
    """|d psi / d x| = |d psi / d theta| / |x| <= m1 / |x|, however steep psi is in the cosine."""
    rng = np.random.default_rng(5)
    center, other = np.linalg.qr(rng.normal(size=(512, 2)))[0].T
    near = np.array([0.0, 1e-6, 1e-4, 5e-4, 1.2e-3, 1.5e-3, 0.01, 0.5])
    angles = np.concatenate((near, [math.pi / 2], math.pi - near))[:, None]
    towards = 20 * (np.cos(angles) * center + np.sin(angles) * other)
    embeddings = torch.tensor(towards, dtype=torch.float32, requires_grad=True)
    units = torch.nn.functional.normalize(embeddings)
    apply_margin(units @ torch.tensor(center).float(), margin).sum().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.norm(dim=1).max() <= 1.1 * max(margin.m1, 1) / 20


def test_half_precision_is_widened_to_float32():
    for dtype in (torch.float16, torch.bfloat16):
        half = torch.tensor([0.5], dtype=dtype, requires_grad=True)
        psi = apply_margin(half, arcface())
        assert psi.dtype == torch.float32
        assert psi.item() == pytest.approx(math.cos(math.pi / 3 + 0.5), abs=1e-6)
        psi.sum().backward()
        assert half.grad is not None
        assert half.grad.dtype == dtype


def test_a_second_derivative_is_refused_not_wrong():
    cosine = torch.tensor([0.5], requires_grad=True)
    squared = apply_margin(cosine, arcface()).square().sum()
    (slope,) = torch.autograd.grad(squared, cosine, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_cosines_of_whole_numbers_are_refused():
    with pytest.raises(LearningError, match=r"cosines are torch\.int64"):
        apply_margin(torch.tensor([1]), arcface())


# ── beyond pi ──


def test_linear_jumps_down_where_the_angle_passes_pi_and_falls_on_as_the_cosine_does():
    switch = math.cos(math.pi - 0.5)
    near = torch.tensor([switch + 1e-9, switch - 1e-9], dtype=torch.float64)
    before, after = apply_margin(near, arcface()).tolist()
    assert before == pytest.approx(-1, abs=1e-9)
    assert after == pytest.approx(switch - 0.5 * math.sin(0.5), abs=1e-8)
    assert after == pytest.approx(-1.1173, abs=1e-4)
    assert slope_of(near[1:], arcface()).item() == 1


def test_none_rises_again_where_linear_and_extend_fall_and_clip_stays():
    far = torch.linspace(-1, -0.9, 11, dtype=torch.float64)  # from the opposite towards the center
    linear, none, clip, extend = (apply_margin(far, margin).diff() for margin in ARCFACES)
    assert (none < 0).all()
    assert (linear > 0).all()
    assert (extend > 0).all()
    assert (clip == 0).all()


def test_clip_gives_no_gradient_beyond_pi():
    assert torch.equal(slope_of(torch.tensor([-0.95, -1.0]), ARCFACES[2]), torch.zeros(2))


def test_the_conventions_agree_before_pi():
    cosine = cosines()[cosines() > math.cos(math.pi - 0.5 - 1e-3)]
    first, *others = (apply_margin(cosine, margin) for margin in ARCFACES)
    for other in others:
        assert torch.equal(first, other)


def test_easy_margin_leaves_obtuse_angles_alone():
    cosine = torch.tensor([-1.0, -0.3, 0.0, 0.3])
    psi = apply_margin(cosine, EASY)
    assert torch.equal(psi[:3], cosine[:3])
    assert psi[3] == apply_margin(cosine, arcface())[3]
    assert torch.equal(slope_of(cosine, EASY)[:3], torch.ones(3))


MARGINS_OF_ANY_KIND = st.builds(
    Margin,
    m1=st.floats(0.5, 5),
    m2=st.floats(0, math.pi / 2),
    m3=st.floats(0, 1),
    beyond_pi=st.just("extend"),
)


@given(MARGINS_OF_ANY_KIND, st.floats(0, math.pi - 2e-3), st.floats(1e-3, math.pi))
def test_extend_falls_strictly_with_the_angle(margin: Margin, angle: float, step: float):
    angles = torch.tensor([angle, min(angle + step, math.pi)], dtype=torch.float64)
    nearer, farther = apply_margin(angles.cos(), margin).tolist()
    assert nearer > farther


@given(MARGINS_OF_ANY_KIND)
def test_extend_has_no_jump(margin: Margin):
    angles = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    steps = apply_margin(angles.cos(), margin).diff().abs()
    assert steps.max() <= margin.m1 * math.pi / 1000 + 1e-6


@given(MARGINS_OF_ANY_KIND, st.floats(-1, 1))
def test_extend_never_pushes_away_from_the_center(margin: Margin, cosine: float):
    assert slope_of(torch.tensor([cosine]), margin).item() >= -1e-3


@given(st.floats(0, math.pi / 2), st.floats(0, math.pi), st.floats(0, math.pi))
def test_linear_never_rises_with_the_angle(m: float, angle: float, other: float):
    angles = torch.tensor(sorted((angle, other)), dtype=torch.float64)
    nearer, farther = apply_margin(angles.cos(), arcface(m)).tolist()
    assert nearer >= farther - 1e-12


@given(st.sampled_from(ALL), st.floats(0, 1), st.floats(-1, 1))
def test_a_margin_never_helps_the_true_identity(margin: Margin, strength: float, cosine: float):
    if margin.beyond_pi not in {"none", "clip"}:
        psi = apply_margin(torch.tensor([cosine], dtype=torch.float64), margin, strength)
        assert psi.item() <= cosine + 1e-12


# ── a margin for each sample ──


@pytest.mark.parametrize("margin", ALL, ids=repr)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_each_sample_gets_its_own_margin(margin: Margin, dtype: torch.dtype, allowed: float):
    grid = torch.cat((cosines(dtype), torch.tensor(CORNERS, dtype=dtype)))
    rng = np.random.default_rng(3)
    m2 = torch.tensor(rng.uniform(0, 1.5, len(grid)), dtype=dtype)
    m3 = torch.tensor(rng.uniform(0, 0.5, len(grid)), dtype=dtype)
    psi = apply_margin(grid, replace(margin, m2=0.1), m2=m2)
    both = apply_margin(grid, replace(margin, easy_margin=False), m2=m2, m3=m3)
    for c, a, b, one, two in zip(*(t.tolist() for t in (grid, m2, m3, psi, both)), strict=True):
        assert one == pytest.approx(naive_psi(c, replace(margin, m2=a)), abs=allowed)
        expected = naive_psi(c, replace(margin, m2=a, m3=b, easy_margin=False))
        assert two == pytest.approx(expected, abs=allowed)


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_equal_margins_of_all_samples_are_the_margin(margin: Margin):
    grid = torch.cat((cosines(), torch.tensor(CORNERS, dtype=torch.float64)))
    m2, m3 = torch.full_like(grid, margin.m2), torch.full_like(grid, margin.m3)
    for strength in (1.0, 0.3, 0.0):
        leaf, other = grid.clone().requires_grad_(), grid.clone().requires_grad_()
        whole = apply_margin(leaf, margin, strength)
        each = apply_margin(other, margin, strength, m2=m2, m3=m3)
        torch.testing.assert_close(each, whole, rtol=0, atol=1e-12)
        whole.sum().backward()
        each.sum().backward()
        torch.testing.assert_close(other.grad, leaf.grad, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_the_gradient_of_a_margin_is_that_of_the_value(margin: Margin):
    """Away from the jumps of the value and of the slope, where there is no derivative."""
    rng = np.random.default_rng(6)
    cosine = torch.tensor(rng.uniform(-0.95, 0.95, 60))
    m2, m3 = torch.tensor(rng.uniform(0.05, 1.5, 60)), torch.tensor(rng.uniform(0.05, 0.5, 60))
    phi = margin.m1 * cosine.acos() + m2
    near = ((phi / math.pi - (phi / math.pi).round()).abs() < 1e-3) | (cosine.abs() < 1e-3)
    leaves = [t[~near].clone().requires_grad_() for t in (cosine, m2, m3)]
    assert len(leaves[0]) > 50

    def find_psi(c: Tensor, m2: Tensor, m3: Tensor) -> Tensor:
        return apply_margin(c, margin, 0.7, m2=m2, m3=m3)

    weak = margin.weaken(0.7)
    phi = weak.m1 * leaves[0].acos() + 0.7 * leaves[1]
    assert ((phi / math.pi - (phi / math.pi).round()).abs() > 1e-4).all()
    assert torch.autograd.gradcheck(find_psi, leaves)


def test_straight_through_gives_margins_no_gradient():
    margin = Margin(m2=0.5, gradient="straight_through")
    leaves = [torch.tensor([0.5], requires_grad=True) for _ in range(3)]
    apply_margin(leaves[0], margin, m2=leaves[1], m3=leaves[2]).sum().backward()
    assert [float(leaf.grad) for leaf in leaves if leaf.grad is not None] == [1, 0, 0]


def test_a_margin_that_makes_the_angle_smaller_stops_just_after_0():
    cosine = torch.tensor([0.3, 0.9, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    m2 = torch.tensor([-0.4, -0.5, -0.4, 0.0], dtype=torch.float64, requires_grad=True)
    psi = apply_margin(cosine, Margin(beyond_pi="clip"), m2=m2)
    angle = math.acos(0.3)
    expected = [math.cos(angle - 0.4), math.cos(1e-3), math.cos(1e-3), 1.0]
    assert psi.tolist() == pytest.approx(expected, abs=1e-15)
    psi.sum().backward()
    assert cosine.grad is not None
    assert m2.grad is not None
    assert cosine.grad[0].item() == pytest.approx(math.sin(angle - 0.4) / math.sin(angle))
    assert m2.grad[0].item() == pytest.approx(-math.sin(angle - 0.4))
    assert cosine.grad[1:].tolist() == pytest.approx([0, 0, 1], abs=1e-7)
    assert m2.grad[1:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_margins_of_samples_are_finite_at_every_corner(margin: Margin):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        corners = torch.tensor(CORNERS, dtype=dtype)
        for m2 in (0.0, 1e-9, 0.5, math.pi / 2):
            leaves = [corners.clone().requires_grad_(), torch.full_like(corners, m2)]
            leaves[1].requires_grad_()
            psi = apply_margin(leaves[0], margin, m2=leaves[1])
            psi.sum().backward()
            assert torch.isfinite(psi).all()
            assert all(torch.isfinite(t.grad).all() for t in leaves if t.grad is not None)


# ── strength ──


@pytest.mark.parametrize("margin", ALL, ids=repr)
def test_strength_0_is_no_margin_and_strength_1_the_whole(margin: Margin):
    grid = torch.cat((cosines(), torch.tensor(CORNERS, dtype=torch.float64)))
    assert torch.equal(apply_margin(grid, margin, 0.0), grid)
    assert torch.equal(apply_margin(grid, margin, 1.0), apply_margin(grid, margin))
    assert margin.weaken(1.0) == margin


def test_strength_scales_all_three_margins_and_nothing_else():
    half = Margin(4, 0.4, 0.2, beyond_pi="extend", gradient="straight_through").weaken(0.5)
    assert half == Margin(2.5, 0.2, 0.1, beyond_pi="extend", gradient="straight_through")
    grid = cosines()
    assert torch.equal(apply_margin(grid, CM1, 0.5), apply_margin(grid, Margin(1, 0.15, 0.1)))


@pytest.mark.parametrize("strength", [-0.1, 1.0001, math.nan])
def test_a_strength_beyond_0_to_1_is_refused(strength: float):
    with pytest.raises(LearningError, match=f"got {strength}"):
        apply_margin(torch.tensor([0.5]), arcface(), strength)


# ── what a margin may be ──


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"m1": 0.0}, "m1 must be above 0, got 0.0"),
        ({"m1": math.inf}, "m1 must be above 0, got inf"),
        ({"m2": 28.6}, r"m2 must lie in 0\.\.pi/2 rad, got 28\.6"),
        ({"m2": -0.1}, r"m2 must lie in 0\.\.pi/2 rad, got -0\.1"),
        ({"m2": math.nan}, "got nan"),
        ({"m3": -0.4}, r"m3 must be 0 or more, got -0\.4"),
        ({"m3": math.inf}, "m3 must be 0 or more, got inf"),
        ({"beyond_pi": "linaer"}, "no beyond_pi of the name 'linaer'"),
        ({"gradient": "none"}, "no gradient of the name 'none'"),
        ({"m1": 1.35}, r"beyond_pi='linear' is not defined for m1 = 1\.35"),
        ({"m1": 0.9, "beyond_pi": "clip"}, r"beyond_pi='clip' is not defined for m1 = 0\.9"),
        ({"m3": 0.2, "easy_margin": True}, r"easy_margin is not defined for m1 = 1\.0, m3 = 0\.2"),
        (
            {"m1": 2, "beyond_pi": "none", "easy_margin": True},
            "easy_margin is not defined for m1 = 2",
        ),
    ],
)
def test_a_margin_no_convention_defines_is_refused(wrong: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        Margin(**wrong)
    assert caught.value.hint


def test_the_limit_is_the_angle_that_reaches_pi_with_its_margin():
    assert arcface().limit_rad == math.pi - 0.5
    assert A_SOFTMAX.limit_rad == math.pi / 4
    assert cosface().limit_rad == Margin(0.5, beyond_pi="none").limit_rad == math.pi


def test_arcface_adds_to_the_angle_and_cosface_takes_from_the_cosine():
    assert arcface() == Margin(m2=0.5)
    assert cosface() == Margin(m3=0.4)
    assert (arcface(0.3).m2, cosface(0.35).m3) == (0.3, 0.35)


def test_the_page_names_every_convention():
    page = Path(__file__).parents[2].joinpath("docs", "losses.md").read_text(encoding="utf-8")
    words = [*(field.name for field in fields(Margin)), *get_args(BeyondPi), *get_args(Gradient)]
    assert [word for word in words if word not in page] == []
