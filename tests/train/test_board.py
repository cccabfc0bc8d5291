"""Boards get the numbers of a log, nothing else, and never stop a run."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arcwise.errors import InputError, LearningError
from arcwise.train.board import (
    CarefulSink,
    TensorBoardSink,
    find_numbers,
    open_sinks,
    without_places,
)

STEP: dict[str, Any] = {
    "step": 10,
    "epoch": 0.5,
    "loss": 12.5,
    "arcface": 12.0,
    "learning_rate": 0.1,
    "remaining_s": 7200,
    "precision": "float32",
    "scale": None,
}
VALIDATION: dict[str, Any] = {"step": 20, "epoch": 1.0, "validation": {"eer": 0.25, "tar": None}}


class FailingSink:
    """Works for some entries, then never again."""

    def __init__(self, n_good: int, trouble: Exception) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self.n_asked = 0
        self._n_good = n_good
        self._trouble = trouble

    def write(self, entry: Mapping[str, Any]) -> None:
        self.n_asked += 1
        if len(self.entries) == self._n_good:
            raise self._trouble
        self.entries.append(entry)

    def close(self) -> None:
        raise self._trouble


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself finds in the event files of a folder."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_numbers_of_an_entry_are_found_and_words_are_not() -> None:
    assert dict(find_numbers(STEP)) == {
        "step": 10,
        "epoch": 0.5,
        "loss": 12.5,
        "arcface": 12.0,
        "learning_rate": 0.1,
        "remaining_s": 7200,
    }


def test_measures_of_a_validation_carry_its_name() -> None:
    assert dict(find_numbers(VALIDATION))["validation/eer"] == 0.25
    assert "validation/tar" not in dict(find_numbers(VALIDATION))


def test_lists_such_as_embeddings_are_passed_over() -> None:
    assert dict(find_numbers({"step": 1, "embedding": [0.1, 0.2]})) == {"step": 1}


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (sink,) = open_sinks(tmp_path, tensorboard=True, wandb=None, config={})
    sink.write(STEP)
    sink.write(VALIDATION)
    sink.close()
    assert read_scalars(tmp_path / "tensorboard") == {
        "loss": [(10, 12.5)],
        "arcface": [(10, 12.0)],
        "learning_rate": [(10, pytest.approx(0.1))],
        "time_for_end": [(10, 2.0)],  # hours, arcface_torch
        "epoch": [(10, 0.5), (20, 1.0)],
        "validation/eer": [(20, 0.25)],
    }


def test_an_entry_is_in_the_file_at_once(tmp_path: Path) -> None:
    """Whoever looks while training goes on sees it, and so does who looks after a power cut."""
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path)
    sink.write(STEP)
    assert read_scalars(tmp_path)["loss"] == [(10, 12.5)]
    sink.close()


def test_a_run_that_goes_on_hides_the_steps_that_are_done_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps, loss in (((1, 2, 3), 3.0), ((2, 3), 1.0)):  # killed after step 3; saved after 1
        sink = TensorBoardSink(tmp_path)
        for step in steps:
            sink.write({"step": step, "loss": loss})
        sink.close()
    assert read_scalars(tmp_path)["loss"] == [(1, 3.0), (2, 1.0), (3, 1.0)]


def test_no_board_is_opened_unless_asked_for(tmp_path: Path) -> None:
    assert open_sinks(tmp_path, tensorboard=False, wandb=None, config={}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_is_named_with_the_command(tmp_path: Path) -> None:
    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    with pytest.raises(LearningError, match="wandb is not installed") as caught:
        open_sinks(tmp_path, tensorboard=False, wandb="faces", config={})
    assert caught.value.hint == "pip install 'arcwise[wandb]'"


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(InputError, match="tensorboard"):
        open_sinks(tmp_path, tensorboard=True, wandb=None, config={})


@pytest.mark.parametrize(
    "trouble", [OSError("no space left"), RuntimeError("queue closed"), LearningError("offline")]
)
def test_a_sink_that_fails_is_left_out_with_one_warning(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    inner = FailingSink(1, trouble)
    sink = CarefulSink(inner, "the board")
    with caplog.at_level(logging.WARNING):
        for step in range(4):
            sink.write({"step": step})
        sink.close()
    assert inner.n_asked == 2, "the failed one was the last"
    assert [record.message for record in caplog.records] == [
        f"the board is left out from now on: {trouble}"
    ]


def test_trouble_while_closing_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    sink = CarefulSink(FailingSink(9, OSError("gone")), "the board")
    with caplog.at_level(logging.WARNING):
        sink.close()
        sink.close()
    assert len(caplog.records) == 1


def test_our_own_mistakes_are_not_hidden() -> None:
    sink = CarefulSink(FailingSink(0, TypeError("a bug")), "the board")
    with pytest.raises(TypeError, match="a bug"):
        sink.write({"step": 1})


def test_paths_of_a_config_stay_here() -> None:
    config = {
        "run": "runs/ann",
        "seed": 1,
        "data": {"folder": "/home/ann/people", "pairs": None, "min_photos": 2},
        "network": {"name": "compact", "weights": "/home/ann/x.safetensors"},
        "head": {"loss": "arcface", "class_margins": "/home/ann/margins.txt"},
        "distill": None,
    }
    assert without_places(config) == {
        "seed": 1,
        "data": {"min_photos": 2},
        "network": {"name": "compact"},
        "head": {"loss": "arcface"},
        "distill": None,
    }


class DrawnWandb(ModuleType):
    """What of the library's face is used, as its documentation has it; it sends nothing."""

    class Error(Exception):
        """Of the library."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.asked: dict[str, Any] = {}
        self.sent: list[dict[str, float]] = []
        self.is_offline = self.is_finished = False

    def init(self, **asked: Any) -> DrawnWandb:
        if self.is_offline:
            raise self.Error("no network")
        self.asked = asked
        return self

    def define_metric(self, name: str, *, step_metric: str) -> None:
        self.asked[name] = step_metric

    def log(self, numbers: dict[str, float]) -> None:
        if self.is_offline:
            raise self.Error("no network")
        self.sent.append(numbers)

    def finish(self) -> None:
        self.is_finished = True


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> DrawnWandb:
    found = DrawnWandb()
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


def test_weights_and_biases_gets_numbers_under_its_names(
    library: DrawnWandb, tmp_path: Path
) -> None:
    config = {"run": str(tmp_path), "seed": 1}
    (sink,) = open_sinks(tmp_path, tensorboard=False, wandb="faces", config=config)
    sink.write({"step": 3, "epoch": 0.5, "loss": 2.0, "validation": {"eer": 0.1}})
    sink.close()
    assert library.asked["project"] == "faces"
    assert library.asked["config"] == {"seed": 1}
    assert library.asked["*"] == "Process/Step"
    assert library.sent == [
        {"Process/Step": 3, "Process/Epoch": 0.5, "Loss/Step Loss": 2.0, "validation/eer": 0.1}
    ]
    assert library.is_finished


def test_weights_and_biases_that_goes_away_is_left_out(
    library: DrawnWandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (sink,) = open_sinks(tmp_path, tensorboard=False, wandb="faces", config={})
    library.is_offline = True
    sink.write({"step": 1})
    sink.write({"step": 2})
    assert [record.message for record in caplog.records] == [
        "Weights & Biases is left out from now on: wandb: no network"
    ]


def test_weights_and_biases_that_refuses_is_an_error_at_the_start(
    library: DrawnWandb, tmp_path: Path
) -> None:
    library.is_offline = True
    with pytest.raises(LearningError, match="wandb refuses: no network"):
        open_sinks(tmp_path, tensorboard=False, wandb="faces", config={})
