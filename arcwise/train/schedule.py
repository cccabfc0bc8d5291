"""The learning rate and the strength of the margin at any step, as closed formulas.

Nothing is counted or remembered: a run that goes on asks for the step it is at. It does not know
optimizers or epochs. Steps are counted from 0.

Sources: linear decay after a linear warm-up as InsightFace's polynomial schedule of power 1, but
the first step of its warm-up runs at the full rate, ours never does; cosine after Loshchilov and
Hutter (2017), without restarts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from arcwise.errors import LearningError

Shape = Literal["cosine", "poly", "constant"]

SHAPES: dict[Shape, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done: 1 - done,
    "constant": lambda _: 1.0,
}
"""Name to share of the full rate, given the share of the steps after the warm-up that are done."""


def learning_rate_at(
    step: int, *, n_steps: int, warmup_steps: int, base: float, shape: Shape
) -> float:
    """The learning rate of one step.

    It rises in equal parts, base / warmup_steps in the first step to base in the last one of the
    warm-up; the step after that has the base rate too, and the shape begins. "cosine" and "poly"
    (power 1) come to 0 at n_steps, which is after the last step.

    Args:
        step: 0 (the first) to n_steps.
        n_steps: of the whole training, at least 1.
        warmup_steps: 0 to n_steps; 0 and 1 are both no warm-up.
        base: the full rate.
        shape: a name of `SHAPES`.

    Raises:
        LearningError: an argument out of its range. A step beyond the last one is refused because
            it would learn nothing, at rate 0, without a word.
    """
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
    if shape not in SHAPES:
        raise LearningError(
            f"no schedule has the shape {shape!r}", hint=f"use one of {', '.join(SHAPES)}"
        )
    if step < warmup_steps:
        return base * ((step + 1) / warmup_steps)
    if step == n_steps:  # also where the warm-up is all there is
        return base * SHAPES[shape](1.0)
    return base * SHAPES[shape]((step - warmup_steps) / (n_steps - warmup_steps))


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
