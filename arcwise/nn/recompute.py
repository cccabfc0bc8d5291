"""Less memory for more time: what a block computes is computed again when its gradient is needed.

A network has it as the attribute `recompute`, which whoever trains it switches on:
`network.recompute = True`. Gradients, running statistics, dropout and autocast are as without;
then only what goes into each block is kept between the two passes.

It does not know which networks there are. Source: Chen et al. (2016), "Training Deep Nets with
Sublinear Memory Cost", by torch.utils.checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *, recompute: bool) -> Tensor:
    """Run blocks one after the other.

    Args:
        blocks: each takes what the one before gave.
        x: what the first takes.
        recompute: keep only what goes into each block, where a gradient may be asked for.

    Returns:
        What the last one gives.
    """
    for block in blocks:
        x = _run_twice(block, x) if recompute and torch.is_grad_enabled() else block(x)
    return x


def _run_twice(block: nn.Module, x: Tensor) -> Tensor:
    """Now, and again for the gradient."""
    if torch.compiler.is_compiling():  # a compiled graph writes statistics once by itself
        return checkpoint(block, x, use_reentrant=False)  # type: ignore[no-any-return]
    contexts = partial(_choose_contexts, block)
    return checkpoint(block, x, use_reentrant=False, context_fn=contexts)  # type: ignore[no-any-return]


def _choose_contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first pass and the one for the gradient."""
    return nullcontext(), _hold_statistics(block)


@contextmanager
def _hold_statistics(block: nn.Module) -> Iterator[None]:
    """A batch moves the running statistics of a BatchNorm once, however often it is computed."""
    norms = [part for part in block.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, n_batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, n_batches
