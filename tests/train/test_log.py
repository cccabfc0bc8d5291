"""The log is one JSON line for each step, the curves a picture, and neither holds a face."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arcwise import __version__
from arcwise.errors import InputError, LearningError
from arcwise.train.log import RunLog, describe_environment, format_line


def step_line(step: int, **more: Any) -> dict[str, Any]:
    return {
        "step": step,
        "epoch": step / 100,
        "loss": 12.3 - step / 100,
        "arcface": 9.1,
        "cosine": 0.42,
        "learning_rate": 0.048,
        "images_per_s": 212.3,
        "remaining_s": 3720.0,
    } | more


# Lines


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run")
    entries = [
        step_line(10),
        {"step": 20, "validation": {"eer": 0.1}, "note": "müde\n", "ok": True},
    ]
    for entry in entries:
        log.append(entry)
    assert log.read() == entries
    assert RunLog(tmp_path / "run").read() == entries


def test_every_line_is_on_disk_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for n_lines in (1, 2, 3):
        log.append({"step": n_lines})
        assert log.path.read_text("utf-8").count("\n") == n_lines


def test_what_is_not_finite_becomes_null_and_the_line_stays_json(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.append({"step": 1, "loss": math.nan, "arcface": math.inf, "deep": {"cosine": -math.inf}})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = log.path.read_text("utf-8")
    assert json.loads(text, parse_constant=refuse)["deep"] == {"cosine": None}
    assert log.read() == [{"step": 1, "loss": None, "arcface": None, "deep": {"cosine": None}}]


@pytest.mark.parametrize(
    "value", [[0.1, 0.2], np.zeros(3), torch.zeros(3), torch.tensor(1.0), b"jpeg", {"deep": [1]}]
)
def test_images_and_vectors_are_refused(tmp_path: Path, value: object) -> None:
    log = RunLog(tmp_path)
    with pytest.raises(LearningError, match="numbers and words") as caught:
        log.append({"step": 1, "value": value})
    assert "never images" in caught.value.hint
    assert log.read() == []


@pytest.mark.parametrize("entry", [{}, {"step": None}, {"step": 1.5}])
def test_a_line_without_a_step_is_refused(tmp_path: Path, entry: Mapping[str, Any]) -> None:
    with pytest.raises(LearningError, match="needs a step"):
        RunLog(tmp_path).append(entry)


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*log\.jsonl"):
        RunLog(tmp_path / "file").append({"step": 1})


# Going on


def test_later_lines_are_cut_off_to_be_written_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (10, 20, 20, 30):
        log.append({"step": step})
    assert log.resume_at(20) == [{"step": 10}, {"step": 20}, {"step": 20}]
    log.append({"step": 25})
    assert [entry["step"] for entry in log.read()] == [10, 20, 20, 25]
    assert [item.name for item in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_new_run_starts_with_an_empty_log(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    assert log.resume_at(0) == []
    log.append({"step": 10})
    assert log.resume_at(0) == []
    assert log.read() == []


@given(st.integers(0, 40))
def test_a_line_cut_off_by_a_crash_is_left_out_and_written_over(
    tmp_path_factory: pytest.TempPathFactory, n_bytes: int
) -> None:
    log = RunLog(tmp_path_factory.mktemp("run"))
    log.append({"step": 10, "note": "ä"})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + '{"step": 20, "note": "ä", "loss": 1}'.encode()[:n_bytes])
    is_whole = n_bytes >= 37
    assert len(log.read()) == (2 if is_whole else 1)
    log.resume_at(15)
    log.append({"step": 20})
    assert [entry["step"] for entry in log.read()] == [10, 20]


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"loss": 1}', ""])
def test_a_broken_line_in_the_middle_is_told(tmp_path: Path, line: str) -> None:
    log = RunLog(tmp_path)
    log.path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n', "utf-8")
    with pytest.raises(LearningError, match=r"line 2 of .*log\.jsonl") as caught:
        log.read()
    assert caught.value.hint


# For people


def test_a_step_is_one_readable_line() -> None:
    entry = step_line(500) | {"epoch": 3.2, "loss": 12.31}
    assert format_line(entry) == (
        "epoch 3.20  step 500  loss 12.31 (arcface 9.1, cosine 0.42)  lr 0.048  "
        "212 img/s  1 h 02 min left"
    )


def test_a_validation_is_one_readable_line() -> None:
    entry = {"step": 480, "epoch": 3.0, "validation": {"eer": 0.0712, "tar": None, "n_genuine": 9}}
    assert format_line(entry) == "epoch 3.00  step 480  eer 0.0712  n_genuine 9"


def test_what_is_not_there_is_left_out() -> None:
    assert format_line({"step": 5}) == "step 5"
    assert format_line({"step": 5, "loss": 2.0}) == "step 5  loss 2"


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_loss_that_is_not_finite_is_said(value: float | None) -> None:
    assert format_line({"step": 5, "loss": value}) == "step 5  loss not finite"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s left"),
        (59.4, "59 s left"),
        (59.9, "1 min left"),
        (60, "1 min left"),
        (3569, "59 min left"),
        (3599, "1 h 00 min left"),
        (3720, "1 h 02 min left"),
        (86_399, "1 d 00 h left"),
        (200_000, "2 d 07 h left"),
    ],
)
def test_durations_are_told_in_two_units_at_most(seconds: float, words: str) -> None:
    assert format_line({"step": 1, "remaining_s": seconds}) == f"step 1  {words}"


# The environment


def test_the_environment_names_versions_and_the_processor() -> None:
    found = describe_environment(torch.device("cpu"))
    assert found["arcwise"] == __version__
    assert found["torch"] == torch.__version__
    assert found["cv2"] != "unknown"
    assert found["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found


def test_the_environment_names_no_host_user_or_folder() -> None:
    found = describe_environment(torch.device("cpu"))
    assert sorted(found) == [
        "arcwise",
        "cpu_capability",
        "cuda",
        "cv2",
        "device",
        "gpu",
        "machine",
        "numpy",
        "python",
        "system",
        "threads",
        "torch",
    ]
    assert not any("/" in str(value) or "\\" in str(value) for value in found.values())
