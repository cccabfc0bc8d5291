"""The focal factor: samples the network already gets right count less.

It does not know logits; the probability of the true identity is read from the cross-entropy,
p = exp(-loss).

Source: Lin et al., Focal Loss (2017), eq. 4.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from arcwise.errors import LearningError

Form = Literal["per_sample", "batch_mean"]


def focus(
    losses: Tensor, gamma: float, form: Form = "per_sample", *, counts: Tensor | None = None
) -> Tensor:
    """Multiply cross-entropies by (1 - p)^gamma.

    Args:
        losses: (B,) cross-entropies, 0 or more.
        gamma: 0 (nothing changes) or more; 2 in the paper.
        form: per_sample, as the paper: each sample by its own p; batch_mean: all by the p of
            their mean, exp(-mean), as widespread ArcFace code has it.
        counts: (B,) bool, which samples make the mean of batch_mean; all, if None.

    Returns:
        (B,), with gradient through the factor, too.

    Raises:
        LearningError: a gamma below 0, or an unknown form.
    """
    check_focus(gamma, form)
    of_factor = losses
    if form == "batch_mean":
        counted = torch.ones_like(losses) if counts is None else counts.to(losses.dtype)
        of_factor = (losses * counted).sum() / counted.sum().clamp_min(1)
    # A factor of exactly 0 has no finite slope where gamma is below 1.
    misses = (-torch.expm1(-of_factor)).clamp_min(torch.finfo(losses.dtype).tiny)
    return misses.pow(gamma) * losses


def check_focus(gamma: float, form: str) -> None:
    """Refuse what `focus` would refuse.

    Raises:
        LearningError: a gamma below 0, or an unknown form.
    """
    if not 0 <= gamma < math.inf:
        raise LearningError(
            f"gamma of the focal loss must be 0 or more, got {gamma}", hint="2 is the paper's"
        )
    if form not in get_args(Form):
        raise LearningError(
            f"no form of the focal loss of the name {form!r}",
            hint=f"use one of {', '.join(get_args(Form))}",
        )
