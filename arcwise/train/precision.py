"""The scale that keeps small float16 gradients from becoming zero, and what to do when it is lost.

It does not know networks. bfloat16 and float32 need no scale: theirs is always 1.

Source: Micikevicius et al., Mixed Precision Training (2018); it doubles after 100 good steps as in
InsightFace's trainer, and halves after each bad one.
"""

from __future__ import annotations

from dataclasses import dataclass

from arcwise.errors import LearningError

_GROWS_AFTER = 100  # good steps; InsightFace, arcface_torch
_FIRST = 65536.0  # torch.amp.GradScaler
_MOST = 2.0**24
_LEAST = 2.0**-14  # float16's smallest normal number: nothing is left to scale below it
_MOST_SKIPPED = 25  # steps in a row; from 65,536 that is a scale of 0.002


@dataclass(slots=True)
class LossScale:
    """A scale that finds its size.

    Attributes:
        value: what the loss is multiplied by, and the gradient divided by again.
        n_good: steps since it changed, or below 0 the steps that were skipped in a row.
        is_on: whether it changes at all; otherwise it stays 1.
    """

    value: float = _FIRST
    n_good: int = 0
    is_on: bool = True

    @classmethod
    def for_precision(cls, precision: str) -> LossScale:
        """The scale at the start of a run."""
        return cls() if precision == "float16" else cls(1.0, 0, is_on=False)

    def update(self, *, is_finite: bool) -> None:
        """Take note of a step whose gradient was finite, or was not and changed nothing.

        Raises:
            LearningError: 25 steps in a row were skipped: the gradient itself is broken.
        """
        if not self.is_on:
            return
        if is_finite:
            self.n_good = max(self.n_good, 0) + 1
            if self.n_good == _GROWS_AFTER:
                self.value, self.n_good = min(2 * self.value, _MOST), 0
            return
        self.value, self.n_good = max(self.value / 2, _LEAST), min(self.n_good, 0) - 1
        if -self.n_good >= _MOST_SKIPPED:
            raise LearningError(
                f"{-self.n_good} steps in a row had gradients that are not finite in float16, down "
                f"to a loss scale of {self.value:g}",
                hint="precision=bfloat16 or float32 shows where they come from; a lower "
                "optimizer.learning_rate often helps",
            )
