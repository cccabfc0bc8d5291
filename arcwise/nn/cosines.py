"""Cosines between embeddings and centers, for millions of centers: no normalized copy of them.

It does not know identities or losses. Half of the time of a margin softmax over many identities
goes into normalizing all centers and differentiating that; here a column of inner products is
divided by the length of its center instead, and backward works on some centers at a time, which
stay in the processor's cache meanwhile.

Source: the cosine and its derivative, (u - (u . w) w) / |w| for the unit vector w of a center.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

MIN_NORM = 1e-12  # as torch.nn.functional.normalize; a shorter vector has no direction

_PART_ROWS = {"cpu": 4096}  # centers of 512 numbers: 8 MB, the size of a cache
_PART_ROWS_DEVICE = 1 << 16  # 128 MB: enough for a GPU to be busy


def find_cosines(units: Tensor, centers: Tensor, *, n_spare: int = 0) -> Tensor:
    """Cosines of every embedding to every center.

    Args:
        units: (B, D) float32 or float64, of length 1 (or 0).
        centers: (S, D) of the same type and of any length; one shorter than 1e-12 has no
            direction: its cosines are 0 and it gets no gradient.
        n_spare: columns of 0 to add behind those of the centers, for the caller to write to.

    Returns:
        (B, S + n_spare). The gradient can be taken once, not twice.
    """
    cosines: Tensor = _Cosines.apply(units, centers, n_spare)  # type: ignore[no-untyped-call]
    return cosines


class _Cosines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, units: Tensor, centers: Tensor, n_spare: int) -> Tensor:
        norms = torch.linalg.vector_norm(centers, dim=1)
        inverse = torch.where(norms > MIN_NORM, 1 / norms.clamp_min(MIN_NORM), 0.0)
        ctx.save_for_backward(units, centers, inverse)
        if not n_spare:
            return torch.mm(units, centers.T).mul_(inverse)
        n = len(centers)
        cosines = units.new_empty(len(units), n + n_spare)
        cosines[:, n:] = 0
        torch.mm(units, centers.T, out=cosines[:, :n])
        cosines[:, :n] *= inverse
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        units, centers, inverse = ctx.saved_tensors
        for_units = torch.zeros_like(units) if ctx.needs_input_grad[0] else None
        for_centers = torch.empty_like(centers) if ctx.needs_input_grad[1] else None
        n_rows = min(_PART_ROWS.get(centers.device.type, _PART_ROWS_DEVICE), len(centers))
        products = centers.new_empty(n_rows, centers.shape[1])
        for start in range(0, len(centers), max(1, n_rows)):
            part = slice(start, min(start + n_rows, len(centers)))
            some, shorten = centers[part], inverse[part]
            scaled = upstream[:, part] * shorten  # of the inner products with whole centers
            if for_units is not None:
                for_units.addmm_(scaled, some)
            if for_centers is not None:
                found = for_centers[part]
                torch.mm(scaled.T, units, out=found)
                torch.mul(found, some, out=products[: len(some)])
                along = products[: len(some)].sum(dim=1).mul_(shorten).mul_(shorten)
                found.addcmul_(some, along[:, None], value=-1)
        return for_units, for_centers, None
