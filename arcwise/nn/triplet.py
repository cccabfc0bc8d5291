"""Triplet loss: an anchor should be nearer to its own person's photos than to anybody else's.

The triplets are picked within the batch, which must hold several photos of each person
(`PKSampler` of data/sampler.py). It does not know centers or the number of identities. All
arithmetic is float32 even under autocast.

Sources: Schroff et al., FaceNet (2015), for the loss on squared gaps of unit vectors, margin 0.2,
and semi-hard negatives; Hermans et al., In Defense of the Triplet Loss (2017), for hard (their
batch hard) and all (batch all, averaged over what is not 0); Deng et al., ArcFace (2022), for the
angular form, margin 0.35 rad.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.collective import ALONE, Ranks, gather_rows, gather_values
from arcwise.nn.head import normalize_rows
from arcwise.nn.rule import ELSEWHERE

Mining = Literal["hard", "semihard", "all"]
Form = Literal["squared", "angular"]


@dataclass(frozen=True, eq=False, slots=True)
class TripletResult:
    """The loss of one batch, and what it says about the training; all but the loss detached.

    Attributes:
        loss: () mean over the triplets that were picked; of "all", over those above 0. 0, with a
            gradient of zeros, when there is no triplet.
        n_triplets: how many were picked.
        share_active: () share of them that violate the margin: that the network learns from.
        positive_gap: () mean gap between anchor and positive of them: squared Euclidean, 0..4, or
            rad.
        negative_gap: () mean gap between anchor and negative.
    """

    loss: Tensor
    n_triplets: int
    share_active: Tensor
    positive_gap: Tensor
    negative_gap: Tensor


class TripletLoss(nn.Module):
    """Triplet loss with online mining.

    Args:
        margin: by how much the negative must be farther away than the positive; 0.2 suits the
            squared form, 0.35 the angular one.
        mining: which triplets of a batch count:
            "hard": for each anchor its farthest positive and its nearest negative;
            "semihard": for each anchor and positive the nearest negative that is farther away
            than the positive, by less than the margin; where there is none, the nearest of all;
            "all": every one.
        form: of gaps between embeddings of length 1: "squared", Euclidean, 2 - 2 cos;
            "angular", rad.
        ranks: whose samples together are the batch; one process by default.

    Raises:
        LearningError: a margin that is not above 0 or larger than any gap, a mining or form that
            does not exist.
    """

    def __init__(
        self,
        margin: float = 0.2,
        *,
        mining: Mining = "semihard",
        form: Form = "squared",
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        for kind, name, table in (("mining", mining, MININGS), ("form", form, FORMS)):
            if name not in table:
                raise LearningError(
                    f"no {kind} of triplets is called {name!r}",
                    hint=f"use one of {', '.join(table)}",
                )
        most = FORMS[form].most
        if not 0 < margin <= most:
            raise LearningError(
                f"the margin of a triplet loss is {margin}",
                hint=f"it must be above 0 and at most {most:g}, the largest gap there is; 0.2 is "
                "usual, 0.35 rad for the angular form",
            )
        self.margin = float(margin)
        self.mining: Mining = mining
        self.form: Form = form
        self._ranks = ranks

    def forward(self, embeddings: Tensor, labels: Tensor) -> TripletResult:
        """The loss of one batch; on several ranks all must call this, with equally many samples.

        Args:
            embeddings: (B, D) floating, raw: not normalized. A zero embedding counts as
                orthogonal to every other and gets no gradient.
            labels: (B,) int64, the identities; -1: the sample does not count.

        Returns:
            The loss, float32 (float64 when embeddings are), equal on every rank.

        Raises:
            LearningError: an empty batch, labels of another shape or not int64, a lost rank.
        """
        _check_batch(embeddings, labels)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        with torch.autocast(embeddings.device.type, enabled=False):
            units = normalize_rows(gather_rows(embeddings.to(dtype), self._ranks))
            labels = gather_values(labels, self._ranks)
            gaps = FORMS[self.form].measure(units @ units.T)
            with torch.no_grad():
                is_same = labels[:, None] == labels
                counts = (labels != ELSEWHERE)[:, None] & (labels != ELSEWHERE)
                is_positive = (is_same & counts).fill_diagonal_(fill_value=False)
                picked = MININGS[self.mining](gaps, is_positive, ~is_same & counts, self.margin)
            positive = gaps[picked.anchors, picked.positives]
            negative = gaps[picked.anchors, picked.negatives]
            losses = F.relu(positive - negative + self.margin)
            is_active = (losses > 0).to(losses.dtype)
            n_triplets = max(len(losses), 1)
            n_counted = is_active.sum().clamp_min(1) if self.mining == "all" else n_triplets
            return TripletResult(
                losses.sum() / n_counted,
                len(losses),
                *(one.detach().sum() / n_triplets for one in (is_active, positive, negative)),
            )

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"margin={self.margin:g}, mining={self.mining}, form={self.form}"


class Triplets(NamedTuple):
    """(T,) int64 each: positions in the batch."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


def pick_hard(gaps: Tensor, is_positive: Tensor, is_negative: Tensor, _: float) -> Triplets:
    """For each anchor its farthest positive and its nearest negative.

    Args:
        gaps: (B, B).
        is_positive: (B, B) bool: whether a column is another photo of the row's person.
        is_negative: (B, B) bool: whether it shows somebody else.
    """
    anchors = (is_positive.any(dim=1) & is_negative.any(dim=1)).nonzero().squeeze(1)
    farthest = gaps.masked_fill(~is_positive, -math.inf)[anchors].argmax(dim=1)
    nearest = gaps.masked_fill(~is_negative, math.inf)[anchors].argmin(dim=1)
    return Triplets(anchors, farthest, nearest)


def pick_semihard(
    gaps: Tensor, is_positive: Tensor, is_negative: Tensor, margin: float
) -> Triplets:
    """For each anchor and positive the nearest negative in the margin behind the positive.

    Where none lies there, the nearest of all; arguments as those of `pick_hard`.
    """
    pairs = is_positive & is_negative.any(dim=1, keepdim=True)
    anchors, positives = pairs.nonzero(as_tuple=True)
    gap = gaps[anchors, positives, None]
    others = gaps[anchors].masked_fill_(~is_negative[anchors], math.inf)
    is_semihard = (others > gap) & (others < gap + margin)
    has_any = is_semihard.any(dim=1, keepdim=True)
    nearest = others.masked_fill_(has_any & ~is_semihard, math.inf).argmin(dim=1)
    return Triplets(anchors, positives, nearest)


def pick_all(_: Tensor, is_positive: Tensor, is_negative: Tensor, __: float) -> Triplets:
    """Every anchor with every positive and every negative of it; see `pick_hard`."""
    anchors, positives = is_positive.nonzero(as_tuple=True)
    rows, negatives = is_negative[anchors].nonzero(as_tuple=True)
    return Triplets(anchors[rows], positives[rows], negatives)


MININGS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Triplets]] = {
    "hard": pick_hard,
    "semihard": pick_semihard,
    "all": pick_all,
}
"""Name to what picks triplets by gaps, positives, negatives and margin."""


def _measure_angles(cosines: Tensor) -> Tensor:
    # At 0 and 180 degrees the derivative is infinite; rounding hides the angle there anyway.
    edge = 8 * torch.finfo(cosines.dtype).eps
    return cosines.clamp(-1 + edge, 1 - edge).acos()


class _Form(NamedTuple):
    measure: Callable[[Tensor], Tensor]
    most: float


FORMS: dict[str, _Form] = {
    "squared": _Form(lambda cosines: 2 - 2 * cosines, 4.0),
    "angular": _Form(_measure_angles, math.pi),
}
"""Name to the gap that a cosine means, and the largest there is."""


def _check_batch(embeddings: Tensor, labels: Tensor) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
        raise LearningError(
            f"embeddings of shape {tuple(embeddings.shape)}, labels of {tuple(labels.shape)}",
            hint="give (B, D) embeddings, at least one, and a label for each, shape (B,)",
        )
    if labels.dtype != torch.int64:
        raise LearningError(
            f"labels are {str(labels.dtype).removeprefix('torch.')}, they must be int64",
            hint="floating labels lose identities: keep int64 from the first list to the loss",
        )
