"""Start ranks, once for all tests of a session, and end them whatever happens."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.contracts.source import ROOT

_TIMEOUT_S = 120


@cache
def run_ranks(size: int) -> list[dict[str, Any]]:
    """What each of some real processes found, see `tests.ranks.work.work`.

    Four ranks go on with the runs that two have begun.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if size == 4:
            stopped = [found["stopped"] for found in run_ranks(2)]
            began = {name: [part[name] for part in stopped] for name in stopped[0]}
            torch.save(began, folder / "began.pt")
        command = [sys.executable, "-W", "error", "-m", "tests.ranks.work"]
        processes = [
            subprocess.Popen(
                [*command, str(rank), str(size), place],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        try:
            said = [process.communicate(timeout=_TIMEOUT_S)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        assert all(process.returncode == 0 for process in processes), "\n".join(said)
        return [torch.load(folder / f"result-{rank}.pt") for rank in range(size)]
