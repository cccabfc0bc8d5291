"""The training loop: one function, in order of time, that goes on where it was cut off.

It does not know how data is found, what a loss is or how a line looks; the modules beside it do.
What a step does depends on the configuration and the number of the step alone, and a checkpoint
holds all that steps change, so that a run which was killed ends with the same losses as one which
was not (on the same kind of machine and the same number of threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arcwise.data.manifest import lock_folder
from arcwise.errors import LearningError
from arcwise.files import translate_os_errors
from arcwise.nn.collective import Ranks, any_rank, translate_lost_rank
from arcwise.train.board import open_sinks
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.material import Material, open_material
from arcwise.train.ranks import close_ranks, open_ranks
from arcwise.train.run import Run

LOCK_NAME = ".train.lock"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        folder: of the run.
        step, n_steps: where it stands, and where it ends.
        n_people: C, who is learned.
        best: the best validation: step, epoch, eer, tar and numbers of pairs; None without.
        is_complete: whether it reached the end, or stopped improving; not when it was asked to
            stop.
        is_first: whether this process is the one of several ranks that speaks for all.
    """

    folder: Path
    step: int
    n_steps: int
    n_people: int
    best: dict[str, Any] | None
    is_complete: bool
    is_first: bool = True


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
        should_stop: asked after each step; once it says so, the run saves and ends.

    Returns:
        How it ended.

    Raises:
        DatasetError: the data is not what it should be.
        CheckpointError: the folder holds a run of another configuration or other people.
        NotFiniteError: a loss is not finite; RUN/not_finite.json names the photos.
        LearningError: the configuration makes no network, or a rank was lost.
        InputError: something cannot be read or written (the last checkpoint stays whole), or
            another process trains in the folder.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    ranks = open_ranks(device)
    try:
        with _lock(config.run, ranks), _keep_deterministic(config.deterministic):
            return _train(config, device, ranks, report, should_stop)
    finally:
        close_ranks(ranks)


@contextmanager
def _keep_deterministic(wanted: bool) -> Iterator[None]:
    """A mode of all of torch, which is the caller's again afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def choose_device(wanted: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one.

    Raises:
        LearningError: cuda is asked for, and torch sees none.
    """
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise LearningError(
            "device is cuda, but torch sees no GPU",
            hint="install torch for CUDA and a driver, or set device=cpu",
        )
    return torch.device("cuda" if has_cuda and wanted != "cpu" else "cpu")


@contextmanager
def _lock(folder: Path, ranks: Ranks) -> Iterator[None]:
    """One run at a time in a folder; of several ranks the first one holds the lock."""
    with translate_os_errors(folder, doing="write"):
        folder.mkdir(parents=True, exist_ok=True)
    if not ranks.is_first:
        yield
        return
    with lock_folder(folder, name=LOCK_NAME, doing="training in"):
        yield


def _train(
    config: TrainConfig,
    device: torch.device,
    ranks: Ranks,
    report: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> RunResult:
    material = open_material(config, ranks)
    learner = Learner(
        config,
        n_people=material.n_people,
        n_targets=material.n_targets,
        device=device,
        ranks=ranks,
        class_margins=material.class_margins,
    )
    tell = report if ranks.is_first else lambda _: None
    sinks = (
        open_sinks(
            config.run,
            tensorboard=config.tensorboard,
            wandb=config.wandb,
            config=config.to_dict(),
        )
        if ranks.is_first
        else []
    )
    run = Run(config, material, learner, sinks=sinks)
    try:
        with translate_lost_rank(ranks):
            _run_steps(run, material, tell, should_stop, ranks)
            if run.is_over:
                run.finish(tell)
    finally:
        for sink in sinks:
            sink.close()
    return RunResult(
        run.folder,
        run.done,
        run.timing.n_steps,
        material.n_people,
        run.best,
        run.is_over,
        ranks.is_first,
    )


def _run_steps(
    run: Run,
    material: Material,
    report: Callable[[str], None],
    should_stop: Callable[[], bool],
    ranks: Ranks,
) -> None:
    """Every step that is left, in order of time."""
    run.begin()
    for line in run.describe():
        report(line)
    if run.is_over:
        return
    for parts in material.loader.batches(run.done, run.timing.n_steps):
        doubt = run.step(parts)
        if doubt is not None:
            report(f"warning: {doubt}")
        is_asked = any_rank(should_stop(), ranks)
        if run.is_time_to_log or is_asked:
            report(run.write_line())
        if run.is_time_to_validate:
            report(run.validate())
        run.keep()
        if run.is_time_to_save or is_asked:
            run.save()
        if run.has_stalled:
            report(f"validation has not improved since epoch {run.best_epoch:g}: done")
        if run.has_stalled or is_asked:
            break
