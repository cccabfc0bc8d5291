"""MagFace: the margin grows with the length of an embedding, and long embeddings are rewarded.

Good photos are pulled to their center, as they can bear the margin; bad ones stay short. So the
length of an embedding tells the quality of its photo. It does not know how psi is computed
(nn/margin.py does), but here psi passes a gradient to the length as well.

Source: Meng et al., MagFace (2021), eq. 2 and 3; bounds of the length as in its code.
"""

from __future__ import annotations

import math

from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin
from arcwise.nn.rule import Observed, Rule


class MagFace(Rule):
    """ArcFace with m(a), linear in the length a, and penalty * mean(a / most_norm^2 + 1 / a).

    a is |x| held in least_norm..most_norm. Beyond these bounds neither margin nor penalty pass a
    gradient to the length, as in the published code.

    Args:
        scale: s.
        least_margin: m at the least length, rad.
        most_margin: m at the greatest length, rad.
        least_norm: least length.
        most_norm: greatest length.
        penalty: lambda_g. For the length to settle between the bounds it must be at least
            s K u^2 l^2 / (u^2 - l^2) for a margin of slope K and bounds l and u: 22.6 here.
        easy_margin: only angles below 90 degrees get the margin, as in the published code;
            otherwise all, linear beyond pi.

    Raises:
        LearningError: margins not in 0..pi/2 or lengths not above 0, in a wrong order, a penalty
            below 0, or a scale that is not above 0.
    """

    has_penalty = True

    def __init__(
        self,
        scale: float,
        *,
        least_margin: float = 0.45,
        most_margin: float = 0.8,
        least_norm: float = 10.0,
        most_norm: float = 110.0,
        penalty: float = 35.0,
        easy_margin: bool = True,
    ) -> None:
        super().__init__(scale)
        if not 0 <= least_margin <= most_margin <= math.pi / 2:
            raise LearningError(
                f"margins from {least_margin} to {most_margin} rad",
                hint="0 <= least_margin <= most_margin <= pi/2; 0.45 and 0.8 are the paper's",
            )
        if not 0 < least_norm < most_norm < math.inf:
            raise LearningError(
                f"lengths from {least_norm} to {most_norm}",
                hint="0 < least_norm < most_norm; 10 and 110 are the paper's",
            )
        if not 0 <= penalty < math.inf:
            raise LearningError(
                f"the penalty must be 0 or more, got {penalty}", hint="35 is the paper's"
            )
        self.margins, self.bounds = (least_margin, most_margin), (least_norm, most_norm)
        self.penalty = float(penalty)
        self.convention = Margin(easy_margin=easy_margin)

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`; the gradient reaches the lengths through the margin."""
        return apply_margin(cosines, self.convention, batch.strength, m2=self.find_margins(norms))

    def find_margins(self, norms: Tensor) -> Tensor:
        """m(a), rad, with gradient.

        Args:
            norms: (n,) lengths of raw embeddings.

        Returns:
            (n,) in least_margin..most_margin.
        """
        (low, high), (short, long) = self.margins, self.bounds
        return low + (high - low) / (long - short) * (norms.clamp(short, long) - short)

    def find_penalty(self, norms: Tensor) -> Tensor:
        """As `Rule.find_penalty`: the whole of it, while the margin warms up, too."""
        lengths = norms.clamp(*self.bounds)
        each = lengths / self.bounds[1] ** 2 + 1 / lengths
        return self.penalty * each.sum() / max(1, len(norms))

    def find_limit(self, batch: Observed) -> Tensor:
        """As `Rule.find_limit`: pi - m(a)."""
        return math.pi - batch.strength * self.find_margins(batch.norms)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return (
            f"margins={self.margins}, norms={self.bounds}, penalty={self.penalty:g}, "
            f"easy_margin={self.convention.easy_margin}, scale={self.scale:g}"
        )
