"""The learning rate and the strength of the margin at any step, as closed formulas.

Nothing is counted or remembered: a run that goes on asks for the step it is at. It does not know
optimizers or epochs. Steps are counted from 0.

Sources: poly after InsightFace's polynomial schedule after a linear warm-up, but the first step of
its warm-up runs at the full rate, ours never does; cosine after Loshchilov and Hutter (2017),
without restarts; step as the drops of the ArcFace paper and torch's MultiStepLR; onecycle after
Smith and Topin, Super-Convergence (2018), in the form of fastai and torch's OneCycleLR.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from arcwise.errors import LearningError

Shape = Literal["cosine", "poly", "constant", "step", "onecycle"]

ONECYCLE_START = 1 / 25  # of the full rate, in the first step; fastai and torch
ONECYCLE_END = 1e-5  # of the full rate, in the last step; fastai, div_final
MILESTONE_BATCH = 512  # photos of a step that the milestones of the ArcFace paper count in


@dataclass(frozen=True, slots=True)
class _Moment:
    """A step of a schedule, and all that any shape wants to know of it."""

    step: int
    n_steps: int
    warmup_steps: int
    power: float
    milestones: tuple[float, ...]
    factor: float

    @property
    def done(self) -> float:
        """Share of the steps after the warm-up that are done; 1 where there are none."""
        if self.step == self.n_steps:
            return 1.0
        return (self.step - self.warmup_steps) / (self.n_steps - self.warmup_steps)


def _follow_cycle(at: _Moment) -> float:
    """Down by half a cosine, from the last step of the warm-up to the last step of all."""
    first, last = max(at.warmup_steps - 1, 0), at.n_steps - 1
    return _blend(1.0, ONECYCLE_END, min((at.step - first) / max(last - first, 1), 1.0))


SHAPES: dict[Shape, Callable[[_Moment], float]] = {
    "cosine": lambda at: 0.5 * (1 + math.cos(math.pi * at.done)),
    "poly": lambda at: math.pow(1 - at.done, at.power),
    "constant": lambda _: 1.0,
    "step": lambda at: math.pow(at.factor, bisect_right(at.milestones, at.step)),
    "onecycle": _follow_cycle,
}
"""Name to share of the full rate, at a step after the warm-up."""


def learning_rate_at(
    step: int,
    *,
    n_steps: int,
    warmup_steps: int,
    base: float,
    shape: Shape,
    power: float = 1.0,
    milestones: Sequence[float] = (),
    factor: float = 0.1,
) -> float:
    """The learning rate of one step.

    It rises in equal parts, base / warmup_steps in the first step to base in the last one of the
    warm-up; the step after that has the base rate too, and the shape begins:

    - cosine: half a cosine; poly: (1 - share done) ** power. Both come to 0 at n_steps, which is
      after the last step.
    - constant: stays.
    - step: times `factor` from each milestone on.
    - onecycle: half a cosine from base / 25 in the first step up to base in the last one of the
      warm-up (usually 30 % of all steps), and half a cosine down to base / 100,000 in the last
      step. The momentum stays as it is.

    Args:
        step: 0 (the first) to n_steps.
        n_steps: of the whole training, at least 1.
        warmup_steps: 0 to n_steps; 0 and 1 are both no warm-up.
        base: the full rate.
        shape: a name of `SHAPES`.
        power: of poly, above 0; 1 is InsightFace's.
        milestones: of step: steps from the start of the training, warm-up included, rising; one
            beyond n_steps is never reached.
        factor: of step, above 0 and at most 1.

    Raises:
        LearningError: an argument out of its range. A step beyond the last one is refused because
            it would learn nothing, at rate 0, without a word.
    """
    _check_course(step, n_steps, warmup_steps, base)
    _check_shape(shape, power, milestones, factor)
    at = _Moment(step, n_steps, warmup_steps, power, tuple(milestones), factor)
    if step >= warmup_steps:
        return base * SHAPES[shape](at)
    if shape == "onecycle":
        done = step / (warmup_steps - 1) if warmup_steps > 1 else 1.0
        return base * _blend(ONECYCLE_START, 1.0, done)
    return base * ((step + 1) / warmup_steps)


def scale_milestones(
    milestones: Sequence[float], *, batch_size: int, reference: int = MILESTONE_BATCH
) -> tuple[int, ...]:
    """Milestones of a recipe in steps, for another batch: after as many photos as there.

    Args:
        milestones: steps of batches of `reference` photos, such as 100,000, 140,000 and 160,000.
        batch_size: photos of one step here, on all devices.
        reference: photos of one step there.

    Raises:
        LearningError: a batch below 1.

    Source: the training notebook of the ONNX model zoo's ArcFace, 512 / batch_size.
    """
    if batch_size < 1 or reference < 1:
        raise LearningError(
            f"milestones of batches of {reference} for batches of {batch_size}",
            hint="a batch has at least 1 photo",
        )
    return tuple(round(milestone * reference / batch_size) for milestone in milestones)


def margin_strength_at(step: int, warmup_steps: int) -> float:
    """How much of the margin one step applies.

    Args:
        step: 0 or more.
        warmup_steps: steps until the margin is whole; 0: it is whole from the start.

    Returns:
        0 (no margin) in the first step, then in equal parts up to 1 from `warmup_steps` on.

    Raises:
        LearningError: a number below 0.
    """
    if step < 0 or warmup_steps < 0:
        raise LearningError(f"step {step} of a margin warm-up of {warmup_steps} steps")
    return 1.0 if step >= warmup_steps else step / warmup_steps


def _blend(start: float, end: float, done: float) -> float:
    """From start (0 done) to end (1 done) on half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


def _check_course(step: int, n_steps: int, warmup_steps: int, base: float) -> None:
    if n_steps < 1 or not 0 <= step <= n_steps:
        raise LearningError(
            f"step {step} of a schedule of {n_steps} steps",
            hint="the number of steps must be counted from the photos that are really read",
        )
    if not 0 <= warmup_steps <= n_steps:
        raise LearningError(
            f"a warm-up of {warmup_steps} steps in a schedule of {n_steps}",
            hint="make schedule.warmup_epochs shorter than schedule.epochs",
        )
    if not (math.isfinite(base) and base > 0):
        raise LearningError(f"the learning rate is {base}", hint="it must be above 0")


def _check_shape(shape: str, power: float, milestones: Sequence[float], factor: float) -> None:
    if shape not in SHAPES:
        raise LearningError(
            f"no schedule has the shape {shape!r}", hint=f"use one of {', '.join(SHAPES)}"
        )
    if not (math.isfinite(power) and power > 0):
        raise LearningError(f"the power of a schedule is {power}", hint="it must be above 0")
    if not 0 < factor <= 1:
        raise LearningError(
            f"the factor of a schedule is {factor}", hint="use one above 0, up to 1; 0.1 is usual"
        )
    is_rising = all(early < late for early, late in pairwise((0, *milestones, math.inf)))
    if not is_rising or (shape == "step" and not milestones):
        raise LearningError(
            f"the milestones of a schedule are {[*milestones]}",
            hint="give at least one, above 0 and rising, such as 20000 and 28000",
        )
