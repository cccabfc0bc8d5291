"""Join the processes that train together, and leave them.

It does not start processes: `torchrun` does, and tells each its rank through the environment,
which torch reads itself. Without it a process trains alone, with the same arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta

import torch
import torch.distributed as dist

from arcwise.errors import LearningError
from arcwise.nn.collective import ALONE, Ranks, gather_values

_TIMEOUT_S = 1800  # for one message: a rank that saves or validates alone may take minutes


def open_ranks(device: torch.device, *, timeout_s: float = _TIMEOUT_S) -> Ranks:
    """Join the other processes of this run.

    Args:
        device: where training runs. On "cuda" each process takes the GPU of its number on its
            machine, which is then torch's current one.
        timeout_s: how long a rank waits for the others before it counts them as lost.

    Returns:
        Who this is among them; alone when `torchrun` did not start this process. Close it with
        `close_ranks`.

    Raises:
        LearningError: the others cannot be reached, this torch cannot train on several ranks, or
            the machine has fewer GPUs than processes.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return ALONE
    backend = "gloo"
    if device.type == "cuda":
        _take_gpu(dist.get_node_local_rank(), torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"  # sizes and flags go from processor to processor
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    except (RuntimeError, ValueError) as exc:  # no network, no backend; a variable is missing
        first_line = str(exc).strip().partition("\n")[0]
        raise LearningError(
            f"the ranks cannot be joined: {first_line}",
            hint="start all of them with torchrun --nproc-per-node=N -m arcwise train …, and let "
            "--rdzv-endpoint name a machine and port that all can reach",
        ) from exc
    return Ranks(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)


def check_agreement(ranks: Ranks, facts: Mapping[str, str]) -> None:
    """See to it that all ranks are about to do the same; all must call this.

    Args:
        ranks: who takes part.
        facts: what must be equal, by what to call it; as many on every rank.

    Raises:
        LearningError: a rank differs, on every rank alike.
    """
    if ranks.size == 1:
        return
    digests = [
        hashlib.sha256(fact.encode(errors="surrogateescape")).digest() for fact in facts.values()
    ]
    own = torch.tensor([[int.from_bytes(digest[:7], "big") for digest in digests]])
    everybody = gather_values(own, ranks)
    for name, column in zip(facts, everybody.T, strict=True):
        others = torch.nonzero(column != column[0])
        if len(others):
            raise LearningError(
                f"rank {int(others[0])} differs from rank 0 in {name}",
                hint="all ranks need the same command and data, and a run folder that all of "
                "them see",
            )


def close_ranks(ranks: Ranks) -> None:
    """Leave the group, if there is one; also after a failure, when the others are gone."""
    if ranks.group is not None and dist.is_initialized():
        dist.destroy_process_group(ranks.group)


def _take_gpu(number: int, n_gpus: int) -> None:
    if number >= n_gpus:
        raise LearningError(
            f"process {number} of this machine has no GPU: there are {n_gpus}",
            hint=f"torchrun --nproc-per-node={max(1, n_gpus)}, or train with device=cpu",
        )
    torch.cuda.set_device(number)
