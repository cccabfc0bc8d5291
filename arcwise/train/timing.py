"""When a run logs, validates, saves and thaws, and at which rate it learns: all from the step.

Nothing is counted or remembered, so that a run that goes on is where it was.
"""

from __future__ import annotations

import math

from arcwise.train.config import TrainConfig
from arcwise.train.schedule import learning_rate_at, margin_strength_at


class Timing:
    """The steps of a run.

    Args:
        config: of the run.
        steps_per_epoch: of its photos.

    Attributes:
        n_steps: of the whole run.
        margin_steps: until the margin is whole.
        validate_every: steps.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        schedule = config.schedule
        self._schedule = schedule
        self._base = config.optimizer.learning_rate
        self._per_epoch = steps_per_epoch
        self.n_steps = max(1, round(schedule.epochs * steps_per_epoch))
        self._warmup_steps = min(self.n_steps, round(schedule.warmup_epochs * steps_per_epoch))
        self.margin_steps = round(config.head.margin_warmup_epochs * steps_per_epoch)
        self._frozen_steps = round(config.network.freeze_epochs * steps_per_epoch)
        self._milestones = [max(1, round(epoch * steps_per_epoch)) for epoch in schedule.milestones]
        self._log_every = config.log_every_steps
        # A checkpoint is written with a line for people, when no sum of it is pending.
        self._save_every = math.ceil(config.save_every_steps / self._log_every) * self._log_every
        self.validate_every = max(1, round(config.validate_every_epochs * steps_per_epoch))
        keep = config.keep_every_epochs
        self._keep_every = None if keep is None else max(1, round(keep * steps_per_epoch))

    def epoch_at(self, step: int) -> float:
        """Epochs that are done after so many steps."""
        return step / self._per_epoch

    def learning_rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        schedule = self._schedule
        return learning_rate_at(
            step,
            n_steps=self.n_steps,
            warmup_steps=self._warmup_steps,
            base=self._base,
            shape=schedule.shape,
            power=schedule.power,
            milestones=self._milestones,
            factor=schedule.factor,
        )

    def is_frozen(self, done: int) -> bool:
        """Whether the next step leaves the network as it is."""
        return done < self._frozen_steps

    def is_time_to_log(self, done: int) -> bool:
        """Whether the step just done ends a line for people."""
        return done % self._log_every == 0 or done == self.n_steps

    def is_time_to_validate(self, done: int) -> bool:
        """Whether to validate after the step just done."""
        return done % self.validate_every == 0 or done == self.n_steps

    def is_time_to_save(self, done: int) -> bool:
        """Whether to write the last checkpoint after the step just done."""
        return done % self._save_every == 0 or done == self.n_steps

    def is_time_to_keep(self, done: int) -> bool:
        """Whether to write a checkpoint that stays after the step just done."""
        return self._keep_every is not None and done % self._keep_every == 0

    def sketch(self, n_points: int) -> list[dict[str, float]]:
        """Epoch, rate and share of the margin at so many steps, the first and the last included."""
        last = self.n_steps - 1
        steps = sorted({round(i * last / max(1, n_points - 1)) for i in range(n_points)})
        return [
            {
                "epoch": self.epoch_at(step),
                "learning_rate": self.learning_rate_at(step),
                "margin_strength": margin_strength_at(step, self.margin_steps),
            }
            for step in steps
        ]
