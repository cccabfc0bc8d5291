"""AdaFace: the margin follows the quality of a photo, which the length of its embedding tells.

It does not know images: a short embedding, compared with the recent ones, is a photo of low
quality. Lengths get no gradient. It does not know how psi is computed; nn/margin.py does.

Source: Kim et al., AdaFace (2022), eq. 9 to 15; bounds of lengths and angles as its code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin
from arcwise.nn.rule import Observed, Rule

_NORM_BOUNDS = (1e-3, 100.0)  # of lengths; AdaFace's code
_EPS = 1e-3  # added to the deviation of lengths; AdaFace's code


class AdaFace(Rule):
    """psi = cos(theta - m z) - (m + m z), z = h (|x| - mean) / (deviation + 0.001) in -1..1.

    z = -1 (low quality) is ArcFace, 0 CosFace; at 1 the angle gets smaller and more is taken from
    the cosine. The angle stays 0.001 away from 0 and from pi.

    Args:
        scale: s.
        margin: m.
        h: how many deviations of the length make z; 0.333 in the paper, 3 of them.
        momentum: of mean and deviation; 0.99 in the paper.

    Attributes:
        mean: () buffer, moving mean of the lengths, at first 20 as in the published code.
        deviation: () buffer, moving standard deviation of the lengths, at first 100.

    Raises:
        LearningError: a margin beyond 0..pi/2, h not above 0, a momentum beyond 0..1, or a scale
            that is not above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, scale: float, *, margin: float = 0.4, h: float = 0.333, momentum: float = 0.99
    ) -> None:
        super().__init__(scale)
        if not 0 < h < math.inf:
            raise LearningError(f"h must be above 0, got {h}", hint="0.333 is the paper's")
        if not 0 <= momentum <= 1:
            raise LearningError(
                f"the momentum of the lengths must lie in 0..1, got {momentum}",
                hint="0.99 is the paper's",
            )
        self.margin = Margin(m2=margin, beyond_pi="clip").m2
        self.h, self.momentum = float(h), float(momentum)
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def observe(self, batch: Observed) -> None:
        """As `Rule.observe`: mean and deviation follow the lengths of the samples that count.

        One length alone has no deviation and changes the mean only.
        """
        counts, norms = batch.counts, batch.norms.clamp(*_NORM_BOUNDS)
        n_counted = counts.sum()
        mean = torch.where(counts, norms, 0.0).sum() / n_counted.clamp_min(1)
        squares = torch.where(counts, (norms - mean).square(), 0.0).sum()
        deviation = (squares / (n_counted - 1).clamp_min(1)).sqrt()
        self._follow(self.mean, mean, n_counted > 0)
        self._follow(self.deviation, deviation, n_counted > 1)

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`."""
        quality = self._find_quality(batch.norms[rows])
        m2, m3 = -self.margin * quality, self.margin * (1 + quality)
        return apply_margin(cosines, _CLIPPED, batch.strength, m2=m2, m3=m3)

    def find_limit(self, batch: Observed) -> Tensor:
        """As `Rule.find_limit`: pi + m z where z is below 0, else pi."""
        quality = self._find_quality(batch.norms)
        return math.pi + batch.strength * self.margin * quality.clamp_max(0)

    def describe(self) -> dict[str, Tensor]:
        """The moving mean and deviation of the lengths."""
        return {"norm_mean": self.mean.clone(), "norm_deviation": self.deviation.clone()}

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return (
            f"margin={self.margin:g}, scale={self.scale:g}, h={self.h:g}, "
            f"momentum={self.momentum:g}"
        )

    def _find_quality(self, norms: Tensor) -> Tensor:
        """(n,) z."""
        apart = norms.clamp(*_NORM_BOUNDS) - self.mean
        return (self.h * apart / (self.deviation + _EPS)).clamp(-1, 1)

    def _follow(self, kept: Tensor, seen: Tensor, is_known: Tensor) -> None:
        moved = torch.lerp(seen.to(kept.dtype), kept, self.momentum)
        kept.copy_(torch.where(is_known, moved, kept))


_CLIPPED = Margin(beyond_pi="clip")
