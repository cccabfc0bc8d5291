"""The real command in a process of its own: what it prints, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from arcwise.cli.run import run as run_command
from arcwise.train.log import RunLog

SETTINGS = (
    "schedule.batch_size=4",
    "schedule.epochs=3",
    "schedule.warmup_epochs=0",
    "validate_every_epochs=3",
    "data.validation_share=0.5",
    "network.dimension=16",
    "average=0.9",
    "log_every_steps=1",
    "save_every_steps=5",
    "threads=1",
)


def words(folder: Path, crops: Path, *more: str) -> list[str]:
    return ["train", f"run={folder}", f"data.folder={crops}", *SETTINGS, *more]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "arcwise", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_losses(folder: Path) -> list[dict[str, Any]]:
    dropped = {"images_per_s", "remaining_s"}
    return [{k: v for k, v in e.items() if k not in dropped} for e in RunLog(folder).read()]


def wait_for_line(folder: Path, process: subprocess.Popen[str], step: int) -> None:
    log = RunLog(folder)
    while process.poll() is None and not any(e["step"] >= step for e in log.read()):
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


@pytest.mark.fault
@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch_loses_no_loss(drawn_crops: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(words(whole, drawn_crops))
    process.communicate()
    assert process.returncode == 0
    for step in (7, 13):  # between two checkpoints, in the first epoch and in the second
        process = start(words(killed, drawn_crops))
        wait_for_line(killed, process, step)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(words(killed, drawn_crops))
    out, _ = process.communicate()
    assert process.returncode == 0
    assert not list(killed.rglob("*.part")), "what a kill cut off is taken away"
    assert "going on at step 10 of 18" in out or "going on at step 15 of 18" in out
    assert read_losses(killed) == read_losses(whole)


@pytest.mark.fault
@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(drawn_crops: Path, tmp_path: Path) -> None:
    process = start(words(tmp_path / "run", drawn_crops))
    wait_for_line(tmp_path / "run", process, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from it" in err
    assert "Traceback" not in err
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.slow
def test_a_run_ends_with_the_next_command(
    drawn_crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run_command(words(folder, drawn_crops, "schedule.epochs=1")) == 0
    out = capsys.readouterr().out
    assert "validation: EER" in out
    assert f"next: arcwise export {folder}" in out
    assert run_command([*words(folder, drawn_crops, "schedule.epochs=1"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["step"] == 6
    assert 0 <= printed["best"]["eer"] <= 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "schedule.epoch=3"], 2, "did you mean schedule.epochs?"),
        (["train", "a.yaml", "b.yaml"], 2, "several recipes are named: a.yaml, b.yaml"),
        (["train", "missing.yaml"], 3, "cannot read missing.yaml"),
        (["train", "run=x", "data.folder=nowhere"], 3, "nowhere"),
        (["train", "run=x"], 2, "data"),
    ],
)
def test_a_slip_is_told_in_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_plan_tells_memory_and_allocates_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", f"run={tmp_path / 'r'}", "data.folder=nowhere", "--plan"]
    arguments += ["--identities", "10000000", "--ranks", "4", "--memory", "2"]
    assert run_command(arguments) == 0
    out = capsys.readouterr().out
    assert "it does not fit" in out
    assert run_command([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["n_head_weights"] == 128 * 10_000_000
    assert not (tmp_path / "r").exists()


def test_a_plan_counts_the_people_of_the_data(
    drawn_crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*words(tmp_path / "r", drawn_crops), "--plan"]) == 0
    assert "head of 4 people" in capsys.readouterr().out


def test_a_schedule_is_drawn_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "rate.png"
    arguments = ["train", "run=r", "data.folder=nowhere", "schedule.shape=step"]
    arguments += ["schedule.milestones=[5, 15]", "schedule.warmup_epochs=0"]
    assert run_command([*arguments, "--schedule-preview", str(place), "--json"]) == 0
    printed = capsys.readouterr()
    assert "an epoch is taken for 1000 steps" in printed.err
    rows = json.loads(printed.out)["schedule"]
    assert rows[0]["learning_rate"] == 0.05
    assert rows[-1]["learning_rate"] == pytest.approx(0.0005)
    assert place.read_bytes()[:4] == b"\x89PNG"


def test_config_yaml_of_the_folder_is_taken_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("run: r\ndata: {folder: nowhere}\n")
    assert run_command(["train"]) == 3
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_a_polite_kill_saves_as_ctrl_c_does(drawn_crops: Path, tmp_path: Path) -> None:
    process = start(words(tmp_path / "run", drawn_crops, "schedule.epochs=50"))
    wait_for_line(tmp_path / "run", process, 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from it" in err
