"""Ranks as threads of this process: for what talks to other ranks and needs no process of its own.

Torch's seed is one for all of them, so whatever draws must be built before they start.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from arcwise.nn.collective import Ranks

_TIMEOUT = timedelta(seconds=30)
Found = TypeVar("Found")


def join_threads(size: int) -> list[Ranks]:
    """Ranks that hear each other over gloo; alone if there is one."""
    if size == 1:
        return [Ranks.alone()]
    store = dist.HashStore()

    def join(rank: int) -> Ranks:
        return Ranks(rank, size, dist.ProcessGroupGloo(store, rank, size, _TIMEOUT))

    return run_threads(size, join)


def name_ranks(size: int) -> list[Ranks]:
    """Ranks that never speak: to know who they are is enough."""
    if size == 1:
        return [Ranks.alone()]
    return [Ranks(r, size, dist.ProcessGroup(dist.HashStore(), r, size)) for r in range(size)]


def run_threads(size: int, work: Callable[[int], Found]) -> list[Found]:
    """What each of some ranks gives back, all at work at the same time."""
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, range(size)))
