"""Losses whose margin never changes: ArcFace, CosFace, SphereFace's factor, all three combined.

A margin may be the same for all identities or one per identity, larger for those with few photos.
It does not know how psi is computed (nn/margin.py does), nor where the numbers of photos come from.

Sources: Deng et al., ArcFace (2022); Wang et al., CosFace (2018); Liu et al., SphereFace (2017);
margins by number of photos after Ha et al., Google Landmark Recognition 2020 (arXiv 2010.05350),
as in mmpretrain.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin
from arcwise.nn.rule import Observed, Rule


class FixedMargin(Rule):
    """The combined margin of ArcFace: psi = cos(m1 theta + m2) - m3.

    Args:
        margin: the one of all identities.
        scale: s.
        margins_by_class: (C,) floating, of each identity its own in place of the margin's.
        in_place_of: which of the margin's numbers they stand for.

    Attributes:
        margins_by_class: (C,) float32 buffer, where there are such.

    Raises:
        LearningError: a scale that is not above 0, or margins of identities beyond 0..pi/2 (m2)
            or below 0 (m3).
    """

    margins_by_class: Tensor

    def __init__(
        self,
        margin: Margin,
        scale: float,
        *,
        margins_by_class: Tensor | None = None,
        in_place_of: Literal["m2", "m3"] = "m2",
    ) -> None:
        super().__init__(scale)
        self.margin = margin
        self.in_place_of = in_place_of
        if margins_by_class is not None:
            _check_margins(margins_by_class, math.pi / 2 if in_place_of == "m2" else math.inf)
            self.n_identities = len(margins_by_class)
            self.register_buffer("margins_by_class", margins_by_class.detach().float().clone())

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """As `Rule.find_psi`; see `apply_margin`."""
        own = self._own_margins(batch.labels[rows])
        if self.in_place_of == "m3":
            return apply_margin(cosines, self.margin, batch.strength, m3=own)
        return apply_margin(cosines, self.margin, batch.strength, m2=own)

    def find_limit(self, batch: Observed) -> Tensor | float:
        """As `Rule.find_limit`: where m1 theta + m2 reaches pi."""
        weak, own = self.margin.weaken(batch.strength), self._own_margins(batch.labels)
        if own is None or self.in_place_of == "m3":
            return weak.limit_rad
        return ((math.pi - batch.strength * own) / weak.m1).clamp_max(math.pi)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        own = "" if self.n_identities is None else f", {self.n_identities} margins of identities"
        return f"{self.margin}, scale={self.scale:g}{own}"

    def _own_margins(self, labels: Tensor) -> Tensor | None:
        """(n,) of the identities of some samples; of the first one where a sample has none."""
        return None if self.n_identities is None else self.margins_by_class[labels.clamp_min(0)]


def adaptive_margins(
    counts: Tensor, *, least: float = 0.05, most: float = 0.5, power: float = -0.25
) -> Tensor:
    """Margins that are the larger, the fewer photos an identity has.

    The numbers of photos are raised to a power and stretched linearly: the most frequent identity
    gets `least`, the rarest `most`; all get `most` where all have equally many.

    Args:
        counts: (C,) photos of each identity; 0 counts as 1.
        least: smallest margin; 0.05 as mmpretrain.
        most: largest margin; 0.5 as mmpretrain.
        power: below 0, and the farther below, the fewer get large margins; -0.25 as mmpretrain.

    Returns:
        (C,) float32, for `FixedMargin`.

    Raises:
        LearningError: no counts or negative ones, margins that are not 0 <= least <= most, or a
            power that is not below 0.
    """
    if counts.ndim != 1 or not len(counts) or bool((counts < 0).any()):
        raise LearningError(
            f"counts of photos of shape {tuple(counts.shape)}, or below 0",
            hint="give the number of photos of each identity, shape (C,)",
        )
    if not 0 <= least <= most < math.inf:
        raise LearningError(
            f"adaptive margins from {least} to {most}", hint="0 <= least <= most must hold"
        )
    if not -math.inf < power < 0:
        raise LearningError(
            f"the power of adaptive margins must be below 0, got {power}", hint="-0.25 is usual"
        )
    rarities = counts.double().clamp_min(1).pow(power)
    low, high = rarities.min(), rarities.max()
    shares = torch.where(high > low, (rarities - low) / (high - low), 1.0)
    return (least + (most - least) * shares).float()


def _check_margins(margins_by_class: Tensor, most: float) -> None:
    if margins_by_class.ndim != 1 or not len(margins_by_class):
        raise LearningError(
            f"margins of identities of shape {tuple(margins_by_class.shape)}",
            hint="give one per identity, shape (C,)",
        )
    is_right = (margins_by_class >= 0) & (margins_by_class <= most) & margins_by_class.isfinite()
    if not bool(is_right.all()):
        wrong = int((~is_right).nonzero()[0])
        raise LearningError(
            f"the margin of identity {wrong} is {float(margins_by_class[wrong]):g}",
            hint="of ArcFace it is in radians, 0..pi/2; of CosFace 0 or more",
        )
