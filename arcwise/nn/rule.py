"""What a loss does to cosines: the seam between the losses and the heads that hold the centers.

A rule knows cosines, lengths of embeddings and labels; it does not know embeddings, centers, nor
whether all centers lie here or a part of them on each of several ranks. So one rule serves the
plain head and Partial FC, with equal numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError

ELSEWHERE = -1
"""Label of a sample that does not count."""


@dataclass(frozen=True, eq=False, slots=True)
class Observed:
    """What a rule may know of the whole batch: without gradient, and the same on every rank.

    Attributes:
        cosines: (B,) to the true identity, in -1..1; 0 where a sample does not count. (Inner
            products, not held in any range, for a rule that is not angular.)
        norms: (B,) lengths of the raw embeddings.
        labels: (B,) int64, of all identities; -1: does not count.
        strength: share of the margin in force, 0..1, while it grows during warm-up.

    Raises:
        LearningError: a strength beyond 0..1.
    """

    cosines: Tensor
    norms: Tensor
    labels: Tensor
    strength: float

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise LearningError(
                f"the strength of a margin must lie in 0..1, got {self.strength}",
                hint="give the share of the warm-up that is done, at most 1",
            )

    @property
    def counts(self) -> Tensor:
        """(B,) bool: which samples count."""
        return self.labels != ELSEWHERE


class Rule(nn.Module):
    """From cosines to logits; this one is the normalized softmax, the others change parts of it.

    What a rule remembers between batches is in its buffers, and so in the checkpoint.

    Args:
        scale: s, what cosines are multiplied by.

    Attributes:
        is_angular: whether it takes cosines; otherwise inner products with a bias.
        has_penalty: whether `find_penalty` adds something to the loss.
        n_identities: C, where it knows something of each identity; None otherwise.

    Raises:
        LearningError: a scale that is not above 0.

    Source: Wang et al., NormFace (2017).
    """

    is_angular = True
    has_penalty = False
    n_identities: int | None = None

    def __init__(self, scale: float) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale > 0):
            raise LearningError(
                f"the scale must be above 0, got {scale}",
                hint="64 is the paper's; see docs/losses.md",
            )
        self.scale = float(scale)

    def observe(self, batch: Observed) -> None:
        """Take note of a batch of training, before its logits are made; not called otherwise."""

    def find_psi(self, cosines: Tensor, norms: Tensor, batch: Observed, rows: Tensor) -> Tensor:
        """What takes the place of the cosines to the true identities.

        Args:
            cosines: (n,) float32 or float64 with gradient; rounding may carry them beyond -1..1.
            norms: (n,) lengths of their raw embeddings, with gradient.
            batch: the whole batch.
            rows: (n,) int64, which samples of it the cosines belong to.
        """
        return cosines

    def change_others(self, cosines: Tensor, batch: Observed) -> Tensor:
        """The cosines to the other identities; columns of true identities are overwritten later.

        Args:
            cosines: (B, S) with gradient; may be changed in place.
            batch: the whole batch, row for row.
        """
        return cosines

    def find_scale(self, norms: Tensor) -> Tensor | float:
        """What cosines are multiplied by: one number, or (B, 1) for lengths with gradient (B,)."""
        return self.scale

    def find_penalty(self, norms: Tensor) -> Tensor | None:
        """() the mean of what is added to the loss of each sample, of lengths with gradient (n,).

        None, for nearly all rules, is nothing. The mean of no samples is 0.
        """
        return None

    def find_limit(self, batch: Observed) -> Tensor | float:
        """Angle, rad, beyond which the margin would carry past pi: one, or (B,) of them."""
        return math.pi

    def describe(self) -> dict[str, Tensor]:
        """() numbers the log should show, by name, such as what a rule has learned of lengths."""
        return {}


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where the true identities lie among the columns of some logits.

    Attributes:
        rows: (n,) int64 samples of the batch whose true identity is among the columns.
        columns: (n,) int64 which column it is.
    """

    rows: Tensor
    columns: Tensor


def make_logits(
    rule: Rule,
    cosines: Tensor,
    places: Places,
    *,
    batch: Observed,
    norms: Tensor,
    filter_above: float | None = None,
) -> Tensor:
    """Turn cosines into the logits of a cross-entropy.

    Args:
        rule: of the loss.
        cosines: (B, S) float32 or float64 with gradient; changed in place, as (B, S) is what
            fills the memory.
        places: of the true identities.
        batch: the whole batch.
        norms: (B,) lengths of the raw embeddings, with gradient.
        filter_above: other identities with a larger cosine count as orthogonal and get no
            gradient, since in noisy sets they are often the same person under another name;
            InsightFace's inter-class filtering.

    Returns:
        (B, S).
    """
    where = places.rows, places.columns
    psi = rule.find_psi(cosines[where], norms[places.rows], batch, places.rows)
    is_twin = None if filter_above is None else cosines.detach() > filter_above
    others = rule.change_others(cosines, batch)
    if is_twin is not None:
        others = others.masked_fill_(is_twin, 0.0)
    logits = others.index_put_(where, psi.to(others.dtype))
    return logits.mul_(rule.find_scale(norms))


def observe_batch(
    rule: Rule, cosines: Tensor, norms: Tensor, labels: Tensor, *, strength: float, learns: bool
) -> Observed:
    """What a rule may know of a batch, taken note of where it learns.

    Args:
        rule: of the loss.
        cosines: (B,) to the true identities, anything where a sample does not count.
        norms: (B,) lengths of the raw embeddings.
        labels: (B,) int64, -1 for what does not count.
        strength: of the margin.
        learns: whether this is training, and not validation.

    Raises:
        LearningError: a strength beyond 0..1.
    """
    known = torch.where(labels != ELSEWHERE, cosines.detach(), 0.0)
    if rule.is_angular:
        known = known.clamp(-1, 1)
    batch = Observed(known, norms.detach(), labels, strength)
    if learns:
        rule.observe(batch)
    return batch
