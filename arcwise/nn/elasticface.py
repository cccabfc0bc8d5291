"""ElasticFace: a margin drawn anew for every sample, so that classes need not be equally tight.

The draws hang on a seed and on the number of batches seen only: all ranks draw the same, and so
does a run that goes on after a stop. It does not know how psi is computed; nn/margin.py does.

Source: Boutros et al., ElasticFace (2022), eq. 5 to 8.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import BeyondPi, Margin, apply_margin
from arcwise.nn.rule import Observed, Rule

Kind = Literal["arc", "cos"]

_MARGINS: dict[Kind, float] = {"arc": 0.5, "cos": 0.35}  # means of the paper
_STRIDE = 2_654_435_761  # a prime: neighboring seeds share no batch for billions of steps


class ElasticFace(Rule):
    """ArcFace or CosFace with margins of a normal distribution; its mean when validating.

    Args:
        scale: s.
        margin: mean of the margins; 0.5 rad for arc and 0.35 for cos, the paper's, if None.
        kind: arc: added to the angle; cos: taken from the cosine.
        sigma: deviation of the margins; 0.05 in the paper. (ElasticFace+: 0.0175 and 0.02.)
        ranked: the larger of a batch's margins go to the samples farther from their center;
            ElasticFace+.
        beyond_pi: convention of arc, see `Margin`.
        seed: of the draws, a whole number of 0 or more.

    Attributes:
        n_drawn: () int64 buffer, batches of training seen.

    Raises:
        LearningError: a value out of range, or a scale that is not above 0.
    """

    n_drawn: Tensor

    def __init__(
        self,
        scale: float,
        *,
        margin: float | None = None,
        kind: Kind = "arc",
        sigma: float = 0.05,
        ranked: bool = False,
        beyond_pi: BeyondPi = "linear",
        seed: int = 0,
    ) -> None:
        super().__init__(scale)
        if kind not in _MARGINS:
            raise LearningError(
                f"no kind of the name {kind!r}", hint=f"use one of {', '.join(get_args(Kind))}"
            )
        if not 0 <= sigma < math.inf:
            raise LearningError(
                f"the deviation of margins must be 0 or more, got {sigma}",
                hint="0.05 is the paper's",
            )
        if seed != int(seed) or seed < 0:
            raise LearningError(
                f"the seed must be a whole number of 0 or more, got {seed}", hint="0 will do"
            )
        mean = _MARGINS[kind] if margin is None else margin
        is_arc = kind == "arc"
        self.margin = Margin(m2=mean, beyond_pi=beyond_pi) if is_arc else Margin(m3=mean)
        self.kind, self.sigma, self.ranked, self.seed = kind, float(sigma), ranked, int(seed)
        self.register_buffer("n_drawn", torch.zeros((), dtype=torch.int64))

    def observe(self, batch: Observed) -> None:
        """As `Rule.observe`: one batch more."""
        self.n_drawn += 1

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`."""
        if not self.training:
            return apply_margin(cosines, self.margin, batch.strength)
        drawn = self.draw_margins(batch)[rows]
        if self.kind == "arc":
            return apply_margin(cosines, self.margin, batch.strength, m2=drawn)
        return apply_margin(cosines, self.margin, batch.strength, m3=drawn)

    def draw_margins(self, batch: Observed) -> Tensor:
        """The margins of a batch: the same ones until the next batch is observed.

        On a GPU this waits for the device, since the number of batches seen lies there.

        Args:
            batch: the whole batch.

        Returns:
            (B,) float32, none below 0; for arc none above pi/2. Ranked, samples that do not
            count take none of the margins of the others.
        """
        mean = self.margin.m2 if self.kind == "arc" else self.margin.m3
        generator = torch.Generator().manual_seed(self.seed * _STRIDE + int(self.n_drawn))
        noise = torch.randn(len(batch.labels), generator=generator).to(batch.cosines.device)
        drawn = (mean + self.sigma * noise).clamp(0, math.pi / 2 if self.kind == "arc" else None)
        if not self.ranked:
            return drawn
        # The position in the sorted order, not the order itself: the published code mixes them up.
        nearness = torch.where(batch.counts, batch.cosines, math.inf)
        rank = nearness.argsort(stable=True).argsort()
        falling = torch.where(batch.counts, drawn, -1.0).sort(descending=True).values
        return falling[rank].clamp_min(0)

    def find_limit(self, batch: Observed) -> Tensor | float:
        """As `Rule.find_limit`: pi - m of each sample for arc, pi for cos."""
        if self.kind == "cos" or not self.training:
            return self.margin.weaken(batch.strength).limit_rad
        return math.pi - batch.strength * self.draw_margins(batch)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return (
            f"{self.margin}, sigma={self.sigma:g}, ranked={self.ranked}, scale={self.scale:g}, "
            f"seed={self.seed}"
        )
