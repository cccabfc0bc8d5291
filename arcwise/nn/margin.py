"""The margin of an angular-margin softmax: what takes the place of the true identity's cosine.

It does not know embeddings, identities or the loss (nn/head.py does). Value and slope are both
written out, so that backward differentiates no root, arc cosine or branch: those are what turns
to NaN at cosines of 1 and -1.

Sources: Deng et al., ArcFace (2022), the combined margin cos(m1 theta + m2) - m3; Wang et al.,
CosFace (2018); Liu et al., SphereFace (2017). Conventions beyond pi and the straight-through
gradient: the training code of InsightFace, MagFace, CurricularFace and AdaFace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from arcwise.errors import LearningError

BeyondPi = Literal["linear", "none", "clip", "extend"]
"""What psi is where m1 theta + m2 > pi and the cosine would rise again; see docs/losses.md."""
Gradient = Literal["exact", "straight_through"]

_CLIP_RAD = 1e-3  # AdaFace's code: angles end this far before pi
_GUARD_EPS = 8  # machine epsilons from 1: nearer, rounding hides the angle (0.08 deg in float32)


@dataclass(frozen=True, slots=True)
class Margin:
    """psi(theta) = cos(m1 theta + m2) - m3 for the angle theta to the true identity.

    Attributes:
        m1: factor of the angle, above 0; SphereFace.
        m2: added to the angle, rad, 0..pi/2; ArcFace.
        m3: taken from the cosine, 0 or more; CosFace.
        easy_margin: only angles below 90 degrees get the margin, the others keep their cosine.
            Needs m1 = 1 and m3 = 0.
        beyond_pi: linear (psi = cos theta - m2 sin m2 - m3), none (the bare formula), clip (the
            angle stops just before pi, without gradient) or extend (the formula folded down, so
            that psi falls on without a jump). linear and clip need m1 = 1. Where m1 = 1 and
            m2 = 0 nothing lies beyond pi and all four are one.
        gradient: exact, or straight_through: psi's value with the gradient of the bare cosine.

    Raises:
        LearningError: a value out of range, or a combination no convention defines.
    """

    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0
    easy_margin: bool = False
    beyond_pi: BeyondPi = "linear"
    gradient: Gradient = "exact"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.m1) and self.m1 > 0):
            raise LearningError(f"m1 must be above 0, got {self.m1}", hint="1 leaves the angle")
        if not 0 <= self.m2 <= math.pi / 2:
            raise LearningError(
                f"m2 must lie in 0..pi/2 rad, got {self.m2}",
                hint="m2 is in radians: 0.5 is 28.6 degrees",
            )
        if not (math.isfinite(self.m3) and self.m3 >= 0):
            raise LearningError(f"m3 must be 0 or more, got {self.m3}", hint="CosFace takes 0.4")
        for name, value, choices in (
            ("beyond_pi", self.beyond_pi, get_args(BeyondPi)),
            ("gradient", self.gradient, get_args(Gradient)),
        ):
            if value not in choices:
                raise LearningError(
                    f"no {name} of the name {value!r}", hint=f"use one of {', '.join(choices)}"
                )
        if self.beyond_pi in {"linear", "clip"} and self.m1 != 1:
            raise LearningError(
                f"beyond_pi={self.beyond_pi!r} is not defined for m1 = {self.m1}",
                hint='use beyond_pi="extend", or "none" for the bare formula',
            )
        if self.easy_margin and (self.m1 != 1 or self.m3 != 0):
            raise LearningError(
                f"easy_margin is not defined for m1 = {self.m1}, m3 = {self.m3}",
                hint="easy_margin goes with ArcFace: m1 = 1, m3 = 0",
            )

    @property
    def limit_rad(self) -> float:
        """The angle at which m1 theta + m2 reaches pi, at most pi."""
        return min(math.pi, (math.pi - self.m2) / self.m1)

    def weaken(self, strength: float) -> Margin:
        """The same margin with m2, m3 and m1 - 1 multiplied by `strength`.

        Args:
            strength: 0 (no margin) to 1 (this one), for a margin that grows during warm-up.

        Raises:
            LearningError: not in 0..1.
        """
        if not 0 <= strength <= 1:
            raise LearningError(
                f"the strength of a margin must lie in 0..1, got {strength}",
                hint="give the share of the warm-up that is done, at most 1",
            )
        if strength == 1:
            return self
        return replace(
            self, m1=1 + strength * (self.m1 - 1), m2=strength * self.m2, m3=strength * self.m3
        )


def arcface(m: float = 0.5) -> Margin:
    """ArcFace: `m` rad are added to the angle. Source: Deng et al. (2019), m = 0.5."""
    return Margin(m2=m)


def cosface(m: float = 0.4) -> Margin:
    """CosFace: `m` is taken from the cosine. Source: Wang et al. (2018); 0.4 as InsightFace."""
    return Margin(m3=m)


def apply_margin(
    target_cosine: Tensor,
    margin: Margin,
    strength: float = 1.0,
    *,
    m2: Tensor | None = None,
    m3: Tensor | None = None,
) -> Tensor:
    """Replace the cosines to the true identities by psi.

    Args:
        target_cosine: (B,) floating, cosine to the true identity; rounding may carry it beyond
            -1..1, where it is taken for -1 or 1.
        margin: what to apply.
        strength: 0 (no margin: psi is the cosine) to 1, see `Margin.weaken`.
        m2: (B,) rad, one per sample in place of the margin's, weakened alike. They must lie in
            0..pi/2, which is not looked at; with beyond_pi="clip" in -pi/2..pi/2, where the angle
            that gets smaller stops just after 0.
        m3: (B,) likewise.

    Returns:
        (B,) float32 (float64 for float64). Value and gradient are finite for every cosine in
        -1..1. The gradient, of `m2` and `m3` too, is the exact one; only that of the cosine is,
        within 8 machine epsilons of 1 and -1, where rounding hides the angle, that of the last
        cosine before (0.08 degrees away in float32). So the gradient with respect to an embedding
        of length n keeps its true bound, m1 / n, to within rounding. It can be taken once, not
        twice.

    Raises:
        LearningError: cosines that are not floating, or a strength beyond 0..1.
    """
    if not target_cosine.is_floating_point():
        raise LearningError(
            f"cosines are {target_cosine.dtype}, not floating",
            hint="the cosines come first, then the margin",
        )
    cosine = target_cosine.to(torch.promote_types(target_cosine.dtype, torch.float32))
    each = [None if m is None else strength * m.to(cosine.dtype) for m in (m2, m3)]
    psi: Tensor = _Psi.apply(cosine, margin.weaken(strength), *each)  # type: ignore[no-untyped-call]
    return psi


class _Psi(torch.autograd.Function):
    """psi with its slopes as the derivatives."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, cosine: Tensor, margin: Margin, m2: Tensor | None, m3: Tensor | None
    ) -> Tensor:
        value, slope, slope_m2 = _evaluate_psi(cosine, margin, margin.m2 if m2 is None else m2)
        slope_m3 = torch.full_like(slope, -1.0)
        if margin.gradient == "straight_through":
            slope, slope_m2, slope_m3 = torch.ones_like(slope), 0 * slope_m2, 0 * slope_m3
        ctx.save_for_backward(slope, slope_m2, slope_m3)
        return value - (margin.m3 if m3 is None else m3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        slope, slope_m2, slope_m3 = ctx.saved_tensors
        needs_cosine, _, needs_m2, needs_m3 = ctx.needs_input_grad
        return (
            upstream * slope if needs_cosine else None,
            None,
            upstream * slope_m2 if needs_m2 else None,
            upstream * slope_m3 if needs_m3 else None,
        )


class _Turned(NamedTuple):
    """(B,) psi + m3, how fast it falls with the angle, and how fast with m2."""

    value: Tensor
    fall: Tensor
    fall_m2: Tensor


def _evaluate_psi(
    cosine: Tensor, margin: Margin, m2: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) psi + m3, d psi / d cosine and d psi / d m2."""
    cosine = cosine.clamp(-1, 1)
    if margin.m1 == 1 and not isinstance(m2, Tensor) and m2 == 0:  # CosFace, or no margin: a shift
        return cosine, torch.ones_like(cosine), -_sine(cosine)
    inner = 1 - _GUARD_EPS * torch.finfo(cosine.dtype).eps
    guarded = cosine.clamp(-inner, inner)
    turned = _turn(cosine, margin, m2)
    slope = _turn(guarded, margin, m2).fall / _sine(guarded)  # d theta / d cosine = -1 / sin theta
    return turned.value, slope, -turned.fall_m2


def _turn(cosine: Tensor, margin: Margin, m2: float | Tensor) -> _Turned:
    """By the margin's convention beyond pi, and at obtuse angles where the margin is easy."""
    turned = _CONVENTIONS[margin.beyond_pi](cosine, margin.m1, m2)
    if not margin.easy_margin:
        return turned
    return _choose(cosine > 0, turned, _Turned(cosine, _sine(cosine), torch.zeros_like(cosine)))


def _turn_freely(cosine: Tensor, m1: float, m2: float | Tensor) -> _Turned:
    """The cosine of phi = m1 theta + m2, wherever phi is."""
    if m1 != 1:
        phi_rad = _turned_angle(cosine, m1, m2)
        return _Turned(phi_rad.cos(), m1 * phi_rad.sin(), phi_rad.sin())
    along, across = _cos_and_sin(m2)
    sine = _sine(cosine)  # by the addition theorem: no angle, no digits lost
    fall = sine * along + cosine * across
    return _Turned(cosine * along - sine * across, fall, fall)


def _turn_then_line(cosine: Tensor, m1: float, m2: float | Tensor) -> _Turned:
    """The cosine less a constant where phi > pi: of slope 1, after a jump down."""
    along, across = _cos_and_sin(m2)
    fall_m2 = torch.ones_like(cosine) * (across + m2 * along)
    line = _Turned(cosine - m2 * across, _sine(cosine), fall_m2)
    return _choose(cosine > -along, _turn_freely(cosine, m1, m2), line)


def _turn_then_stop(cosine: Tensor, m1: float, m2: float | Tensor) -> _Turned:
    """No further than just before pi, or just after 0, and no gradient from there on."""
    phi_rad = _turned_angle(cosine, m1, m2)
    nothing = torch.zeros_like(cosine)
    turned = _turn_freely(cosine, m1, m2)
    end = _Turned(nothing - math.cos(_CLIP_RAD), nothing, nothing)
    start = _Turned(nothing + math.cos(_CLIP_RAD), nothing, nothing)
    turned = _choose((phi_rad >= math.pi - _CLIP_RAD) & (m2 > 0), end, turned)
    return _choose((phi_rad < _CLIP_RAD) & (m2 < 0), start, turned)


def _turn_and_fold(cosine: Tensor, m1: float, m2: float | Tensor) -> _Turned:
    """(-1)^k cos phi - 2 k with k = floor(phi / pi): A-Softmax's psi, for any m1 and m2."""
    turned = _turn_freely(cosine, m1, m2)
    n_folds = torch.floor(_turned_angle(cosine, m1, m2) / math.pi)
    sign = 1 - 2 * (n_folds % 2)
    return _Turned(sign * turned.value - 2 * n_folds, sign * turned.fall, sign * turned.fall_m2)


_CONVENTIONS: dict[str, Callable[[Tensor, float, float | Tensor], _Turned]] = {
    "linear": _turn_then_line,
    "none": _turn_freely,
    "clip": _turn_then_stop,
    "extend": _turn_and_fold,
}


def _choose(where: Tensor, first: _Turned, second: _Turned) -> _Turned:
    return _Turned(*(torch.where(where, a, b) for a, b in zip(first, second, strict=True)))


def _turned_angle(cosine: Tensor, m1: float, m2: float | Tensor) -> Tensor:
    """m1 theta + m2, rad."""
    return m1 * torch.atan2(_sine(cosine), cosine) + m2


def _cos_and_sin(angle_rad: float | Tensor) -> tuple[Any, Any]:
    if isinstance(angle_rad, Tensor):
        return angle_rad.cos(), angle_rad.sin()
    return math.cos(angle_rad), math.sin(angle_rad)


def _sine(cosine: Tensor) -> Tensor:
    return ((1 - cosine) * (1 + cosine)).sqrt()  # 1 - c^2 would lose half the digits near 1
