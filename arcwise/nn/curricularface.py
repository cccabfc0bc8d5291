"""CurricularFace: other identities that are nearer than the true one count more as time goes on.

It does not know epochs: how far training has come is seen by how near embeddings are to their
centers, t. It does not know how psi is computed; nn/margin.py does.

Source: Huang et al., CurricularFace (2020), eq. 5 to 10.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin
from arcwise.nn.rule import Observed, Rule


class CurricularFace(Rule):
    """ArcFace, and hard other identities: c_j (t + c_j) in place of c_j > cos(theta_y + m).

    Args:
        scale: s.
        margin: m, rad.
        momentum: of t: t <- momentum t + (1 - momentum) mean cos theta_y; 0.99 in the paper.

    Attributes:
        t: () buffer, the moving mean of the cosine to the true identity; 0 at first.

    Raises:
        LearningError: a margin beyond 0..pi/2 rad, a momentum beyond 0..1, or a scale that is not
            above 0.
    """

    t: Tensor

    def __init__(self, scale: float, *, margin: float = 0.5, momentum: float = 0.99) -> None:
        super().__init__(scale)
        if not 0 <= momentum <= 1:
            raise LearningError(
                f"the momentum of t must lie in 0..1, got {momentum}", hint="0.99 is the paper's"
            )
        self.margin = Margin(m2=margin)
        self._hardness = Margin(m2=margin, beyond_pi="none")  # the formula, where psi falls back
        self.momentum = float(momentum)
        self.register_buffer("t", torch.zeros(()))

    def observe(self, batch: Observed) -> None:
        """As `Rule.observe`: t follows the mean cosine of the samples that count."""
        n_counted = batch.counts.sum()
        mean = batch.cosines.sum() / n_counted.clamp_min(1)  # 0 where a sample does not count
        moved = torch.lerp(mean.to(self.t.dtype), self.t, self.momentum)
        self.t.copy_(torch.where(n_counted > 0, moved, self.t))

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`: ArcFace."""
        return apply_margin(cosines, self.margin, batch.strength)

    def change_others(self, cosines: Tensor, batch: Observed) -> Tensor:
        """As `Rule.change_others`; strength is how far from 1 the factor of a hard one gets."""
        hardness = apply_margin(batch.cosines, self._hardness, batch.strength)[:, None]
        given = cosines, hardness, self.t, batch.strength
        changed: Tensor = _Changed.apply(*given)  # type: ignore[no-untyped-call]
        return changed

    def find_limit(self, batch: Observed) -> float:
        """As `Rule.find_limit`: pi - m."""
        return self.margin.weaken(batch.strength).limit_rad

    def describe(self) -> dict[str, Tensor]:
        """t: about 0 at the start, rising with the mean cosine to the true identity."""
        return {"t": self.t.clone()}

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"margin={self.margin.m2:g}, scale={self.scale:g}, momentum={self.momentum:g}"


class _Changed(torch.autograd.Function):
    """c (1 + strength (t + c - 1)) where c is hard: one (B, S) is kept, not autograd's four."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, cosines: Tensor, hardness: Tensor, t: Tensor, strength: float
    ) -> Tensor:
        hard = cosines > hardness
        factors = 1 + strength * (t + cosines - 1)
        ctx.save_for_backward(torch.where(hard, factors + strength * cosines, 1.0))
        return torch.where(hard, factors * cosines, cosines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return upstream * slopes, None, None, None
