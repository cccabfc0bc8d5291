"""Where a number went wrong: the layer that first gave something that is not finite.

It does not decide what to do then, and it does not change a network.

The first loss of a new head is known beforehand (`find_first_doubt`): a loss that is far off says
that labels or embeddings are not what they should be, hours before the curve does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arcwise.data.loader import Batch
from arcwise.files import write_atomically
from arcwise.nn.rule import ELSEWHERE

_SHARE = 0.1  # of the expected loss that it may be off beside chance
_SIGMAS = 6.0
_SLACK = 0.5
_SEVERAL = 16  # photos that, of two people, show one alone once in 30,000 batches


def find_broken_layer(network: nn.Module, crops: Tensor) -> str | None:
    """The first layer whose output is not finite, in the order in which they run.

    Args:
        network: in the mode and precision it failed in; run once more, without gradient. The
            statistics of its BatchNorm layers are put back afterwards.
        crops: (B, C, H, W) of the batch.

    Returns:
        Its name, such as layer3.2.conv1; None when all outputs are finite.
    """
    broken: list[str] = []

    def look(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not broken and not output.isfinite().all():
                broken.append(name)

        return hook

    kept = {name: value.clone() for name, value in network.named_buffers()}
    handles = [
        module.register_forward_hook(look(name))
        for name, module in network.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.no_grad():
            network(crops)
    finally:
        for handle in handles:
            handle.remove()
        for name, value in network.named_buffers():
            value.copy_(kept[name])
    return broken[0] if broken else None


def find_broken_gradient(network: nn.Module) -> str | None:
    """The last weight, in the order they are listed, whose gradient is not finite.

    Backward runs from the end to the start, so it is the first that went wrong.
    """
    broken = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    return broken[-1] if broken else None


def save_batch(path: Path, parts: Sequence[Batch]) -> None:
    """Keep what a step learned from, to look at it or to try the step again.

    The file is a numpy archive (.npz) of crops (B, C, H, W) float32, labels and rows (B,) int64,
    readable by its owner alone: it holds photos of people.

    Raises:
        InputError: it cannot be written.
    """
    buffer = BytesIO()
    np.savez_compressed(
        buffer,
        crops=np.concatenate([part.crops.numpy() for part in parts]),
        labels=np.concatenate([part.labels.numpy() for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
    )
    write_atomically(path, buffer.getvalue(), private=True)


def find_first_doubt(
    loss: float, expected: float, *, scale: float, dimension: int, labels: Tensor
) -> str | None:
    """What is wrong with the first loss of a new head, in a sentence; None: nothing.

    Args:
        loss: mean cross-entropy of the first batch.
        expected: as `expected_first_loss` finds it.
        scale: s.
        dimension: D.
        labels: (B,) of the batch.
    """
    counted = labels[labels != ELSEWHERE]
    n_different = len(torch.unique(counted))
    if n_different == 1 and len(counted) >= _SEVERAL:
        return f"all {len(counted)} photos of the first batch have one label. Are they shuffled?"
    # Embeddings of a new network point one way, so chance strikes once for each identity.
    allowed = _SIGMAS * scale / math.sqrt(dimension * max(1, n_different))
    allowed += _SHARE * expected + _SLACK
    # The mean of a logarithm lies below that of the mean, the farther the fewer identities.
    below = min(scale**2 / (2 * dimension), scale)
    if math.isfinite(loss) and expected - allowed - below <= loss <= expected + allowed:
        return None
    found = f"the first loss is {loss:.4g}, a new head should show about {expected:.4g}"
    if loss < expected:
        return (
            f"{found}: lower means that the answer is known already. Are the labels read from "
            "what the network sees, is one person most of the batch, or is the head not new?"
        )
    return (
        f"{found}: higher means that labels never match the centers. Are labels int64, without "
        "gaps, and of the list the head was made for?"
    )
