"""The training loop: one function, in order of time, that goes on where it was cut off.

It does not know how data is found, what a loss is or how a line looks; the modules beside it do.
What a step does depends on the configuration and the number of the step alone, and a checkpoint
holds all that steps change, so that a run which was killed ends with the same losses as one which
was not (on the same kind of machine and the same number of threads).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arcwise.data.manifest import lock_folder
from arcwise.files import translate_os_errors
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.material import Material, open_material
from arcwise.train.run import Run

LOCK_NAME = ".train.lock"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        folder: of the run.
        step, n_steps: where it stands, and where it ends.
        best: the best validation: step, epoch, eer, tar and numbers of pairs; None without.
    """

    folder: Path
    step: int
    n_steps: int
    best: dict[str, Any] | None

    @property
    def is_complete(self) -> bool:
        """Whether it reached the end; not when it was asked to stop."""
        return self.step == self.n_steps


def train(
    config: TrainConfig,
    *,
    report: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train a network, or go on with a run that was cut off.

    Args:
        config: of the run; when its folder holds a checkpoint, the run goes on from there.
        report: gets one line of text at a time, for people.
        should_stop: asked after each step; once it says so, the run saves and ends with the next
            line of its log.

    Returns:
        How it ended.

    Raises:
        DatasetError: the data is not what it should be.
        CheckpointError: the folder holds a run of another configuration or other people.
        LearningError: a loss is not finite; RUN/not_finite.json names the photos.
        InputError: something cannot be read or written (the last checkpoint stays whole), or
            another process trains in the folder.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    material = open_material(config)
    n_targets = material.n_targets
    learner = Learner(config, n_people=material.n_people, n_targets=n_targets, device=device)
    run = Run(config, material, learner)
    with translate_os_errors(config.run, doing="write"):
        config.run.mkdir(parents=True, exist_ok=True)
    with lock_folder(config.run, name=LOCK_NAME, doing="training in"):
        _run_steps(run, material, report, should_stop)
        result = RunResult(run.folder, run.done, run.n_steps, run.best)
        if result.is_complete:
            run.finish(report)
    return result


def _run_steps(
    run: Run, material: Material, report: Callable[[str], None], should_stop: Callable[[], bool]
) -> None:
    """Every step that is left, in order of time."""
    run.begin()
    for line in run.describe():
        report(line)
    is_asked = False
    for batch in material.loader.batches(run.done, run.n_steps):
        run.step(batch)
        is_asked = is_asked or should_stop()
        if run.is_time_to_log:
            report(run.write_line())
        if run.is_time_to_validate:
            report(run.validate())
        if run.is_time_to_save or (is_asked and run.is_time_to_log):
            run.save()
        if is_asked and run.is_time_to_log:
            break
