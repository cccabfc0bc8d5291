"""Softmax cross-entropy over identities that lie on several ranks: no rank sees all logits.

It does not know margins, centers or samples that do not count. Three numbers per sample go
between the ranks: the greatest logit, the sum of the exponentials and the true identity's logit.

Source: An et al., Partial FC (2022), and the model-parallel softmax of InsightFace, restated so
that each sample keeps its own loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from arcwise.nn.collective import Ranks, max_over, sum_over


def find_losses(
    logits: Tensor, columns: Tensor, is_here: Tensor, ranks: Ranks, *, n_spare: int = 0
) -> Tensor:
    """-log softmax of each sample at its true identity.

    Args:
        logits: (B, S + n_spare) float32 or float64, of the identities on this rank; overwritten,
            as they are what fills the memory.
        columns: (B,) int64 where a sample's true identity is among them; any column where it is
            not.
        is_here: (B,) bool whether it is; on one rank at most.
        ranks: who holds the other identities; all must call this with the same samples.
        n_spare: columns at the end that stand for nobody; they get no gradient.

    Returns:
        (B,) equal on every rank; of no use for a sample whose true identity is on no rank, or that
        has no finite logit on any, but finite. Backward gives each rank the gradient of its own
        logits, and speaks to no other rank; it can be taken once, as it overwrites what forward
        kept.

    Raises:
        LearningError: a rank was lost.
    """
    losses: Tensor = _Entropy.apply(  # type: ignore[no-untyped-call]
        logits, columns, is_here, ranks, n_spare
    )
    return losses


class _Entropy(torch.autograd.Function):
    """The gradient of a loss is softmax - onehot."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        columns: Tensor,
        is_here: Tensor,
        ranks: Ranks,
        n_spare: int,
    ) -> Tensor:
        rows = torch.arange(len(logits), device=logits.device)
        targets = torch.where(is_here, logits[rows, columns], 0.0)
        if n_spare:
            logits[:, -n_spare:] = -torch.inf
        least = torch.finfo(logits.dtype).min  # instead of -inf, where a rank has no identity
        greatest = max_over(logits.amax(dim=1).clamp_min_(least), ranks)
        logits.sub_(greatest[:, None]).exp_()
        totals, targets = sum_over(torch.stack((logits.sum(dim=1), targets)), ranks)
        totals = totals.clamp_min(1.0)  # the greatest logit's alone is 1; 0 only without any
        ctx.save_for_backward(logits, totals, rows, columns, is_here)
        losses: Tensor = totals.log() - (targets - greatest)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradient, totals, rows, columns, is_here = ctx.saved_tensors
        gradient.mul_((upstream / totals)[:, None])
        at_target = gradient[rows, columns] - torch.where(is_here, upstream, 0.0)
        gradient.index_put_((rows, columns), at_target)
        return gradient, None, None, None, None
