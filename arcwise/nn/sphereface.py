"""A-Softmax: the first angular margin, a factor of the angle, reached by annealing.

Embeddings are not normalized: an embedding's own length is what its cosines are multiplied by.
(The factor on normalized embeddings, as the ArcFace paper compares it, is `sphereface` of
nn/losses.py.) It does not know how psi is computed; nn/margin.py does.

Source: Liu et al., SphereFace (2017), eq. 7 and the annealing of its Caffe code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin
from arcwise.nn.rule import Observed, Rule


class ASoftmax(Rule):
    """Target |x| (cos theta + (psi - cos theta) / (1 + lambda)), psi = (-1)^k cos(m theta) - 2 k.

    lambda = max(least, start / (1 + decay it)) falls with the batches seen, `it`, so that the
    margin grows; what is left of it at the end, 1 / (1 + least), is one sixth by default.

    Args:
        margin: m, factor of the angle; 4 in the paper, any number from 1 on.
        start: lambda at the beginning; 1000 as the published code.
        least: lambda at the end; 5 as the published code.
        decay: how fast it falls; 0.12 as the published code.

    Attributes:
        it: () int64 buffer, batches of training seen.

    Raises:
        LearningError: m below 1, or a lambda or its decay below 0.
    """

    it: Tensor

    def __init__(
        self, *, margin: float = 4.0, start: float = 1000.0, least: float = 5.0, decay: float = 0.12
    ) -> None:
        super().__init__(1.0)
        if not 1 <= margin < math.inf:
            raise LearningError(
                f"A-Softmax takes a factor of the angle of 1 or more, got {margin}",
                hint="4 is the paper's",
            )
        if not all(0 <= value < math.inf for value in (start, least, decay)):
            raise LearningError(
                f"the annealing of A-Softmax needs numbers of 0 or more, got start {start}, "
                f"least {least}, decay {decay}",
                hint="1000, 5 and 0.12 are those of the published code",
            )
        self.margin = Margin(margin, beyond_pi="extend")
        self.start, self.least, self.decay = float(start), float(least), float(decay)
        self.register_buffer("it", torch.zeros((), dtype=torch.int64))

    def observe(self, batch: Observed) -> None:
        """As `Rule.observe`: one batch more."""
        self.it += 1

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`."""
        bare = apply_margin(cosines, Margin())
        share = (batch.strength / (1 + self._find_lambda())).to(cosines.dtype)
        return bare + share * (apply_margin(cosines, self.margin) - bare)

    def find_scale(self, norms: Tensor) -> Tensor:
        """As `Rule.find_scale`: the length of each embedding itself."""
        return norms[:, None]

    def find_limit(self, batch: Observed) -> float:
        """As `Rule.find_limit`: pi / m."""
        return self.margin.limit_rad

    def describe(self) -> dict[str, Tensor]:
        """lambda: how much the bare cosine weighs against psi."""
        return {"lambda": self._find_lambda()}

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"{self.margin}, start={self.start:g}, least={self.least:g}, decay={self.decay:g}"

    def _find_lambda(self) -> Tensor:
        return (self.start / (1 + self.decay * self.it.double())).clamp_min(self.least)
