"""The real command on one and two ranks: equal losses, and a checkpoint for any number.

The network runs without batch statistics, which each rank would take from its own part.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arcwise.train.checkpoint import load_checkpoint
from arcwise.train.log import RunLog

pytestmark = [pytest.mark.slow, pytest.mark.fault]

LAST = "checkpoints/last.safetensors"
SETTINGS = (
    "schedule.batch_size=8",
    "schedule.epochs=6",
    "schedule.warmup_epochs=0",
    "validate_every_epochs=6",
    "data.validation_share=0.3",
    "data.validation_photos=0.2",
    "network.dimension=16",
    "network.freeze_statistics=true",
    "optimizer.learning_rate=0.001",
    "average=0.9",
    "log_every_steps=1",
    "save_every_steps=3",
    "threads=1",
)


def find_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(n_ranks: int, folder: Path, crops: Path, *more: str) -> subprocess.Popen[str]:
    launch = [
        "torch.distributed.run",
        f"--nproc-per-node={n_ranks}",
        "--master-addr=127.0.0.1",
        f"--master-port={find_port()}",
        "-m",
    ]
    words = ["arcwise", "train", f"run={folder}", f"data.folder={crops}", *SETTINGS, *more]
    return subprocess.Popen(
        [sys.executable, "-m", *(launch if n_ranks > 1 else []), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def losses_of(folder: Path) -> list[float]:
    return [entry["loss"] for entry in RunLog(folder).read() if "loss" in entry]


def find_children(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def kill_all(process: subprocess.Popen[str]) -> None:
    """With the ranks, which torchrun starts in sessions of their own."""
    ranks = find_children(process)
    for pid in (process.pid, *ranks):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def wait_for_step(folder: Path, process: subprocess.Popen[str], step: int) -> None:
    path = folder / LAST
    while process.poll() is None:
        if path.exists() and load_checkpoint(path).step >= step:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.timeout(600)
def test_two_ranks_learn_what_one_does_and_a_checkpoint_fits_any_number(
    drawn_crops: Path, tmp_path: Path
) -> None:
    alone, two, mixed = tmp_path / "alone", tmp_path / "two", tmp_path / "mixed"
    finish(start(1, alone, drawn_crops))
    out = finish(start(2, two, drawn_crops))
    assert "2 ranks" in out
    assert out.count("next: arcwise export") == 1  # one rank speaks for all
    assert losses_of(two) == pytest.approx(losses_of(alone), rel=1e-4)
    shards = load_checkpoint(two / LAST).shards
    assert [shard["n_rows"] for shard in shards] == [3, 3]  # of 6 people
    best = [load_checkpoint(folder / LAST).best for folder in (alone, two)]
    assert best[0] is not None
    assert best[1] is not None
    assert best[1]["loss_with_margin"] == pytest.approx(best[0]["loss_with_margin"], rel=1e-3)
    # One rank begins, two go on, one ends it.
    for n_ranks, step in ((1, 3), (2, 6)):
        process = start(n_ranks, mixed, drawn_crops)
        wait_for_step(mixed, process, step)
        kill_all(process)
    finish(start(1, mixed, drawn_crops))
    assert losses_of(mixed) == pytest.approx(losses_of(alone), rel=1e-4)
    assert not list((mixed / "checkpoints").glob("last-*")), "shards of two ranks are taken away"


@pytest.mark.timeout(600)
def test_a_rank_that_dies_ends_the_run_and_leaves_the_checkpoint(
    drawn_crops: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(2, folder, drawn_crops, "schedule.epochs=200")
    wait_for_step(folder, process, 3)
    os.kill(find_children(process)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in err or "lost the others" in err
    assert load_checkpoint(folder / LAST).step >= 3
