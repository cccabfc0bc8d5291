"""Processes that torchrun starts find each other; a process of its own trains alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.collective import ALONE, Ranks, translate_lost_rank
from arcwise.train.ranks import _take_gpu, close_ranks, open_ranks
from tests.contracts.source import ROOT

CPU = torch.device("cpu")
TIMEOUT_S = 120


def test_without_torchrun_a_process_is_alone():
    ranks = open_ranks(CPU)
    assert ranks is ALONE
    close_ranks(ranks)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_torchrun_joins_two_processes(tmp_path: Path):
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 -m tests.ranks.join"
    started = subprocess.Popen(
        [sys.executable, *torchrun.split(), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = started.communicate(timeout=TIMEOUT_S)
    finally:
        started.terminate()  # torchrun ends its processes
        started.wait()
    assert started.returncode == 0, said
    for rank in (0, 1):
        words = (tmp_path / f"{rank}.txt").read_text(encoding="utf-8")
        assert words == f"{rank} of 2: [2.0, 11.0], False"


def test_a_launch_without_its_variables_is_explained(monkeypatch: pytest.MonkeyPatch):
    """As in a shell that kept one of torchrun's variables and not the others."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "left over")
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LearningError, match="the ranks cannot be joined") as caught:
        open_ranks(CPU)
    assert "torchrun" in caught.value.hint


def test_more_processes_than_gpus_are_refused():
    with pytest.raises(LearningError, match="process 2 of this machine has no GPU: there are 2"):
        _take_gpu(2, 2)


def two_ranks() -> Ranks:
    """Of a group that is never spoken to."""
    return Ranks(1, 2, torch.distributed.ProcessGroup(torch.distributed.HashStore(), 1, 2))


@pytest.mark.parametrize(
    "lost",
    [
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1.\nmore"),
    ],
)
def test_a_lost_rank_is_explained(lost: RuntimeError):
    with (
        pytest.raises(LearningError, match="rank 1 of 2 lost the others: ") as caught,
        translate_lost_rank(two_ranks()),
    ):
        raise lost
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is lost


def test_other_failures_are_not_blamed_on_ranks():
    with pytest.raises(RuntimeError, match="shapes"), translate_lost_rank(two_ranks()):
        raise RuntimeError("shapes do not fit")
