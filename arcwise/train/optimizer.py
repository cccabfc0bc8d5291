"""The optimizer of the network: which weights decay, and which learn at another rate.

It does not know the head, whose rows have an optimizer of their own (train/rows.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from arcwise.train.sections import OptimizerSection

_MATRICES = {2, 4}  # dimensions of matrices and kernels; places and masks of a ViT have three


def build_optimizer(
    wanted: OptimizerSection, network: nn.Module, others: Iterable[nn.Module] = ()
) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW over all weights that learn.

    Args:
        wanted: which one; with decay_on="matrices" biases, BatchNorm and slopes do not decay.
        network: learns at network_rate times the rate of the rest.
        others: what learns beside it.

    Returns:
        An optimizer whose groups have a "factor", which `set_rate` multiplies the rate by.
    """
    groups: list[dict[str, Any]] = []
    for modules, factor in (((network,), wanted.network_rate), (tuple(others), 1.0)):
        learned = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decays in (True, False):
            chosen = [p for p in learned if _decays(p, wanted) is decays]
            if chosen:
                decay = wanted.weight_decay if decays else 0.0
                groups.append({"params": chosen, "weight_decay": decay, "factor": factor})
    if wanted.name == "adamw":
        return torch.optim.AdamW(groups, lr=wanted.learning_rate)
    if wanted.name == "adam":
        return torch.optim.Adam(groups, lr=wanted.learning_rate)
    nesterov = wanted.nesterov and wanted.momentum > 0
    return torch.optim.SGD(
        groups, lr=wanted.learning_rate, momentum=wanted.momentum, nesterov=nesterov
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _decays(parameter: nn.Parameter, wanted: OptimizerSection) -> bool:
    return wanted.decay_on == "all" or parameter.ndim in _MATRICES
