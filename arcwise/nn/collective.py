"""What several processes that train one network tell each other, each of them a rank.

It does not know what the tensors mean, nor how the processes were started (train/ranks.py opens
and closes the group). With one rank nothing is sent: everything here gives back what it was given.

Source: collective operations as torch.distributed names them; the gradient of a gather after
InsightFace's Partial FC (An et al., 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from arcwise.errors import LearningError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which process this is, of how many.

    Attributes:
        rank: 0 to size - 1.
        size: W, how many processes train together.
        group: what they talk through; None with one process.

    Raises:
        LearningError: a rank beyond the size, or several ranks without a group.
    """

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise LearningError(
                f"rank {self.rank} of {self.size}", hint="ranks go from 0 to their number less 1"
            )
        if self.size > 1 and self.group is None:
            raise LearningError(
                f"{self.size} ranks without a group to talk through",
                hint="arcwise.train.ranks.open_ranks makes one",
            )

    @classmethod
    def alone(cls) -> Ranks:
        """One process, and nobody to talk to."""
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and lines."""
        return self.rank == 0


ALONE = Ranks.alone()


@contextmanager
def translate_lost_rank(ranks: Ranks) -> Iterator[None]:
    """Say in our words that the ranks lost each other.

    To be put around what talks to other ranks without this module, such as the backward pass of
    a data-parallel network.

    Raises:
        LearningError: torch's communication failed: a rank ended, hangs, or was given another
            batch.
    """
    try:
        yield
    except RuntimeError as exc:
        # gloo raises it bare, and names itself only in the text; NCCL a kind of it.
        is_lost = isinstance(exc, dist.DistError) or "gloo" in str(exc)
        if ranks.size == 1 or not is_lost:
            raise
        first_line = str(exc).strip().partition("\n")[0]
        raise LearningError(
            f"rank {ranks.rank} of {ranks.size} lost the others: {first_line}",
            hint="look at the messages of the other ranks for the first that failed, then start "
            "all of them again: the run goes on from its last checkpoint",
        ) from exc


@torch.no_grad()
def sum_over(tensor: Tensor, ranks: Ranks) -> Tensor:
    """Add up a tensor over all ranks, in place, without gradient.

    Args:
        tensor: of the same shape and type on every rank.
        ranks: who takes part: all must call this.

    Returns:
        `tensor`, equal to the last bit on every rank.

    Raises:
        LearningError: a rank was lost.
    """
    return _reduce(tensor, ranks, is_sum=True)


@torch.no_grad()
def max_over(tensor: Tensor, ranks: Ranks) -> Tensor:
    """Take the largest of each element over all ranks; otherwise as `sum_over`."""
    return _reduce(tensor, ranks, is_sum=False)


def any_rank(flag: bool, ranks: Ranks) -> bool:
    """Whether any rank says yes, such as one that was asked to stop; all must call this.

    Raises:
        LearningError: a rank was lost.
    """
    return bool(max_over(torch.tensor(int(flag)), ranks)) if ranks.size > 1 else flag


def gather_values(tensor: Tensor, ranks: Ranks) -> Tensor:
    """The tensors of all ranks one after the other, without gradient.

    Args:
        tensor: (n, ...) of the same shape and type on every rank.
        ranks: who takes part: all must call this.

    Returns:
        (W n, ...), those of rank 0 first.

    Raises:
        LearningError: a rank was lost.
    """
    values = tensor.detach()
    if ranks.size == 1:
        return values
    gathered = values.new_empty((ranks.size * len(values), *values.shape[1:]))
    with translate_lost_rank(ranks):
        places = list(gathered.view(ranks.size, *values.shape))
        dist.all_gather(places, values.contiguous(), group=ranks.group)
    return gathered


def gather_rows(rows: Tensor, ranks: Ranks, *, is_part: bool = False) -> Tensor:
    """The rows of all ranks one after the other, with gradient.

    Backward adds up what every rank found for the rows of this one. A data-parallel network
    divides gradients by W afterwards. That is right for a loss that every rank computes whole
    from all rows, since the sum then holds it W times; where each rank computes a part of one
    loss, as the ranks of Partial FC do, the sum is multiplied by W here.

    Args:
        rows: (n, D) floating, of the same shape and type on every rank.
        ranks: who takes part: all must call this, and all must go backward through it.
        is_part: whether the gradients of each rank are of a part of the loss.

    Returns:
        (W n, D), those of rank 0 first.

    Raises:
        LearningError: a rank was lost.
    """
    if ranks.size == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, ranks, is_part)  # type: ignore[no-untyped-call]
    return gathered


def check_even(n_samples: int, ranks: Ranks) -> None:
    """See to it that all ranks bring equally large batches; all must call this.

    Nothing waits for the device: the numbers go from processor to processor.

    Raises:
        LearningError: they do not, on every rank alike; or a rank was lost.
    """
    if ranks.size == 1:
        return
    sizes = gather_values(torch.tensor([n_samples]), ranks).tolist()
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{size} on rank {rank}" for rank, size in enumerate(sizes[:8]))
        raise LearningError(
            f"the ranks bring batches of different sizes: {listed}",
            hint="give every rank the same number of samples in every step: leave out the last, "
            "smaller batch of an epoch",
        )


def _reduce(tensor: Tensor, ranks: Ranks, *, is_sum: bool) -> Tensor:
    if ranks.size > 1:
        how = dist.ReduceOp.SUM if is_sum else dist.ReduceOp.MAX
        with translate_lost_rank(ranks):
            dist.all_reduce(tensor, op=how, group=ranks.group)
    return tensor


class _Gather(torch.autograd.Function):
    """All-gather whose derivative is the sum over ranks of each rank's slice."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, ranks: Ranks, is_part: bool) -> Tensor:
        kept: Any = ctx
        kept.ranks, kept.n_rows, kept.factor = ranks, len(rows), ranks.size if is_part else 1
        return gather_values(rows, ranks)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        # A copy, as upstream may belong to others. Sent whole: not every backend can scatter, and
        # (B, D) is small.
        total = sum_over(upstream.clone(memory_format=torch.contiguous_format), ctx.ranks)
        own = total[ctx.ranks.rank * ctx.n_rows :][: ctx.n_rows]
        return own * ctx.factor, None, None
