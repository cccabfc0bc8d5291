"""Where the numbers of a run are shown while it goes on: TensorBoard and Weights & Biases.

It knows the entries of the log (train/log.py) and hands on their numbers, nothing else: no photos,
no embeddings, no names of people, and to Weights & Biases, which is on the internet, no paths of
the config. Both libraries are optional. What fails after the start is told once and then left out,
since no board is worth a training run.

Sources: the tags loss, learning_rate and time_for_end are those of InsightFace's arcface_torch for
TensorBoard, Loss/Step Loss, Process/Step and Process/Epoch those for Weights & Biases.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from arcwise.errors import ArcwiseError, LearningError
from arcwise.files import translate_os_errors

Entry = Mapping[str, Any]

_HOURS = 1 / 3600  # time_for_end is in hours, arcface_torch
_WANDB_TAGS = {"loss": "Loss/Step Loss", "step": "Process/Step", "epoch": "Process/Epoch"}
_PLACES = {  # keys of a config that hold paths
    "": {"run"},
    "data": {"folder", "pairs", "leave_out"},
    "network": {"weights"},
    "head": {"class_margins"},
    "distill": {"targets"},
}
_TROUBLE = (ArcwiseError, OSError, RuntimeError, ValueError)  # of disks, networks and queues

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the entries of a log."""

    def write(self, entry: Entry) -> None:
        """Show the numbers of one entry, which has a "step"."""

    def close(self) -> None:
        """Let go of files and connections."""


class CarefulSink:
    """A sink whose trouble never stops a run: it is told once, and nothing more is written.

    Args:
        sink: where entries go.
        name: what to call it in the warning.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink: Sink | None = sink
        self._name = name

    def write(self, entry: Entry) -> None:
        """Hand an entry on, as long as that works."""
        if self._sink is None:
            return
        try:
            self._sink.write(entry)
        except _TROUBLE as exc:
            self._give_up(exc)

    def close(self) -> None:
        """Close the sink, if it still works."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except _TROUBLE as exc:
            self._give_up(exc)

    def _give_up(self, exc: Exception) -> None:
        self._sink = None
        _log.warning("%s is left out from now on: %s", self._name, exc)


class TensorBoardSink:
    """Event files for TensorBoard, in a folder.

    A run that goes on does some steps again: what the files had from the first of them on is
    hidden.

    Args:
        folder: for them.

    Raises:
        LearningError: tensorboard is not installed.
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._library = _import("torch.utils.tensorboard", package="tensorboard", extra="train")
        self._folder = folder
        self._writer: Any = None
        with translate_os_errors(folder, doing="write"):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, entry: Entry) -> None:
        """Add every number of an entry, and see that it is in the file."""
        step = entry["step"]
        if self._writer is None:
            self._writer = self._library.SummaryWriter(str(self._folder), purge_step=step)
        for name, value in find_numbers(entry):
            if name == "remaining_s":
                self._writer.add_scalar("time_for_end", value * _HOURS, step)
            elif name != "step":
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbSink:
    """A run at Weights & Biases; who is logged in there, and how, is that library's affair.

    Args:
        folder: of the run; its name is the name there.
        project: where the run is shown.
        config: of the run; paths in it stay here.

    Raises:
        LearningError: wandb is not installed, or refuses.
    """

    def __init__(self, folder: Path, *, project: str, config: Mapping[str, Any]) -> None:
        self._library = _import("wandb", package="wandb", extra="wandb")
        settings = {"console": "off", "disable_git": True, "disable_code": True}
        try:
            self._run = self._library.init(
                project=project,
                name=folder.name,
                dir=str(folder),
                config=without_places(config),
                settings=settings,
            )
            self._run.define_metric("*", step_metric=_WANDB_TAGS["step"])
        except self._library.Error as exc:
            raise LearningError(f"wandb refuses: {exc}", hint="wandb login, or wandb=null") from exc

    def write(self, entry: Entry) -> None:
        """Send every number of an entry."""
        numbers = {_WANDB_TAGS.get(name, name): value for name, value in find_numbers(entry)}
        try:
            self._run.log(numbers)
        except self._library.Error as exc:
            raise LearningError(f"wandb: {exc}") from exc

    def close(self) -> None:
        """Say that the run has ended."""
        try:
            self._run.finish()
        except self._library.Error as exc:
            raise LearningError(f"wandb: {exc}") from exc


def open_sinks(
    folder: Path,
    *,
    tensorboard: bool,
    wandb: str | None,
    config: Mapping[str, Any],
) -> list[Sink]:
    """The boards that a run wants; none of them stops it later.

    Args:
        folder: of the run; event files go into its folder `tensorboard`.
        tensorboard: whether to write for TensorBoard.
        wandb: project at Weights & Biases; None: nothing is sent.
        config: of the run, as `TrainConfig.to_dict` gives it.

    Raises:
        LearningError: a library is missing, or a board cannot be opened.
        InputError: the folder cannot be written.
    """
    sinks: list[Sink] = []
    if tensorboard:
        board = TensorBoardSink(folder / "tensorboard")
        sinks.append(CarefulSink(board, "TensorBoard"))
    if wandb is not None:
        sent = WandbSink(folder, project=wandb, config=config)
        sinks.append(CarefulSink(sent, "Weights & Biases"))
    return sinks


def find_numbers(entry: Entry) -> Iterator[tuple[str, float]]:
    """Name and value of every number; those of a mapping as "validation/eer".

    Args:
        entry: of the log; words, None and lists in it are passed over.
    """
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", found) for inner, found in find_numbers(value))
        elif isinstance(value, int | float):
            yield name, value


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the paths in it, which may name people.

    Args:
        config: as `TrainConfig.to_dict` gives it.
    """
    found = {key: value for key, value in config.items() if key not in _PLACES[""]}
    for section, keys in _PLACES.items():
        if isinstance(found.get(section), Mapping):
            found[section] = {k: v for k, v in found[section].items() if k not in keys}
    return found


def _import(name: str, *, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise LearningError(
            f"{package} is not installed", hint=f"pip install 'arcwise[{extra}]'"
        ) from exc
