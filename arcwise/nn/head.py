"""The head of training: one center per identity, cosines, a rule, cross-entropy.

It does not know photos, backbones or the optimizer, and is not part of the model that is used
later; it does not know margins either: a rule does (nn/losses.py has them by name). All arithmetic
is float32 even under autocast: in half precision a cosine near 1 tells angles apart to 2 to 5
degrees only. (The TF32 mode of a GPU and `set_float32_matmul_precision` are the caller's and would
blur the cosines; leave them off.)

Sources: Deng et al., ArcFace (2022); Deng et al., Sub-center ArcFace (2020); labels of -1 for
identities that live elsewhere as in InsightFace's training code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.cosines import MIN_NORM, find_cosines
from arcwise.nn.focal import Form, check_focus, focus
from arcwise.nn.rule import ELSEWHERE, Observed, Places, Rule, make_logits, observe_batch

INITIAL_STD = 0.01  # of the centers; InsightFace, arcface_torch


@dataclass(frozen=True, eq=False, slots=True)
class HeadResult:
    """The loss of one batch, and what it says about the training.

    All but the loss are detached. Means are over the samples that count, and 0 when none does.

    Attributes:
        loss: () mean cross-entropy, focused where the head does, and the rule's penalty.
        target_angle_rad: () mean angle to the true identity's center, rad: about pi / 2 at the
            start, falling. 0 for a rule that is not angular.
        share_beyond_pi: () share of samples whose angle with its margin is beyond pi, where a
            convention rules (`Rule.find_limit`): about 0 in a healthy run.
        mean_norm: () mean length of the raw embeddings, of all samples.
        accuracy: () share of samples whose true identity is the nearest, without any margin.
        details: () of what the rule knows by name, `Rule.describe`.
    """

    loss: Tensor
    target_angle_rad: Tensor
    share_beyond_pi: Tensor
    mean_norm: Tensor
    accuracy: Tensor
    details: dict[str, Tensor]


class MarginHead(nn.Module):
    """Softmax over all identities, with the margin of a rule.

    Args:
        dimension: D, length of the embeddings.
        n_identities: C, how many identities there are; 1 works (the loss is 0).
        rule: of the loss; see `build_rule`.
        subcenters: K, centers of each identity; the nearest one counts.
        filter_above: other identities with a larger cosine count as orthogonal, see
            `make_logits`; None: all count.
        focal_gamma: exponent of the focal factor, see `focus`; None: there is none.
        focal_form: of the focal factor.

    Attributes:
        weight: (C K, D) the centers, those of an identity side by side, not normalized; normal
            with deviation 0.01. (C K, D + 1) for a rule that is not angular: the bias comes last.

    Raises:
        LearningError: a size below 1, an option out of range, or a rule made for another number
            of identities.
    """

    def __init__(
        self,
        dimension: int,
        n_identities: int,
        rule: Rule,
        *,
        subcenters: int = 1,
        filter_above: float | None = None,
        focal_gamma: float | None = None,
        focal_form: Form = "per_sample",
    ) -> None:
        super().__init__()
        check_size(dimension, n_identities, subcenters)
        check_rule(rule, n_identities, filter_above)
        check_focus(focal_gamma or 0, focal_form)
        self.dimension = dimension
        self.n_identities = n_identities
        self.rule = rule
        self.subcenters = subcenters
        self.filter_above = filter_above
        self.focal_gamma = focal_gamma
        self.focal_form = focal_form
        n_columns = dimension if rule.is_angular else dimension + 1
        self.weight = nn.Parameter(torch.empty(n_identities * subcenters, n_columns))
        nn.init.normal_(self.weight, std=INITIAL_STD)

    def forward(self, embeddings: Tensor, labels: Tensor, strength: float = 1.0) -> HeadResult:
        """The loss of one batch; in training mode, the rule takes note of it.

        Args:
            embeddings: (B, D) floating, raw: not normalized. A zero embedding counts as
                orthogonal to every center and gets no gradient (of an angular rule).
            labels: (B,) int64 in 0..C-1, or -1: the sample's identity lives elsewhere; it does
                not count: not in the mean, no gradient.
            strength: of the margin, 0..1, see `Margin.weaken`.

        Returns:
            The loss, float32 (float64 when head or embeddings are), and its diagnostics.

        Raises:
            LearningError: embeddings or labels of another shape, labels that are not int64, a
                strength beyond 0..1, and, on the CPU, a label out of range. On a GPU the range
                is not looked at, as that would wait for the device; a wrong label there ends in
                a device-side assertion of torch.
        """
        check_batch(embeddings, labels, self.dimension, self.n_identities)
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        dtype = torch.promote_types(embeddings.dtype, dtype)
        with torch.autocast(embeddings.device.type, enabled=False):
            raw = embeddings.to(dtype)
            norms = torch.linalg.vector_norm(raw, dim=1)
            cosines = self._find_cosines(raw)
            # Rows that do not count are ignored by the cross-entropy.
            places = Places(torch.arange(len(raw), device=raw.device), labels.clamp_min(0))
            targets = cosines.detach()[places.rows, places.columns]
            batch = observe_batch(
                self.rule, targets, norms, labels, strength=strength, learns=self.training
            )
            nearest = cosines.detach().amax(dim=1)
            is_right = (targets >= nearest) & (batch.norms > MIN_NORM)  # 0 is as near to all
            # In place, as backward needs no cosines: (B, C) is what fills the memory.
            logits = make_logits(
                self.rule,
                cosines,
                places,
                batch=batch,
                norms=norms,
                filter_above=self.filter_above,
            )
            losses = F.cross_entropy(logits, labels, ignore_index=ELSEWHERE, reduction="none")
            if self.focal_gamma is not None:
                losses = focus(losses, self.focal_gamma, self.focal_form, counts=batch.counts)
            loss = losses.sum() / batch.counts.sum().clamp_min(1)
            if self.rule.has_penalty:  # to choose samples waits for the device
                penalty = self.rule.find_penalty(norms[batch.counts])
                loss = loss if penalty is None else loss + penalty
            return diagnose(loss, self.rule, batch, is_right)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"{self.dimension}, {self.n_identities}, subcenters={self.subcenters}"

    def _find_cosines(self, raw: Tensor) -> Tensor:
        """(B, C), or inner products for a rule that is not angular."""
        weight = self.weight.to(raw.dtype)
        if self.rule.is_angular:
            cosines = find_cosines(normalize_rows(raw), weight)
        else:
            cosines = F.linear(raw, weight[:, :-1], weight[:, -1])
        if self.subcenters == 1:
            return cosines
        each = cosines.view(len(raw), self.n_identities, self.subcenters)
        return each.max(dim=2).values  # of equal ones one alone learns, so that they part


def diagnose(loss: Tensor, rule: Rule, batch: Observed, is_right: Tensor) -> HeadResult:
    """A loss with what a batch says about the training: without a gradient, without a sync.

    Args:
        loss: ().
        rule: of the loss.
        batch: what the rule saw.
        is_right: (B,) bool, whether the true identity is the nearest.
    """
    counts = batch.counts
    n_counted = counts.sum().clamp_min(1)
    angles_rad = batch.cosines.acos() if rule.is_angular else torch.zeros_like(batch.cosines)
    return HeadResult(
        loss,
        torch.where(counts, angles_rad, 0.0).sum() / n_counted,
        ((angles_rad > rule.find_limit(batch)) & counts).sum() / n_counted,
        batch.norms.sum() / max(1, len(counts)),
        (is_right & counts).sum() / n_counted,
        rule.describe(),
    )


def check_size(dimension: int, n_identities: int, subcenters: int = 1) -> None:
    """Refuse a head of nothing.

    Raises:
        LearningError: a size below 1.
    """
    if dimension < 1 or n_identities < 1 or subcenters < 1:
        raise LearningError(
            f"a head of {n_identities} identities and {dimension} dimensions, "
            f"{subcenters} centers each",
            hint="at least 1 of each is needed",
        )


def check_rule(rule: Rule, n_identities: int, filter_above: float | None) -> None:
    """Refuse a rule that does not go with a head.

    Raises:
        LearningError: the rule was made for another number of identities, or the filter is not
            in 0..1 or goes with inner products.
    """
    if rule.n_identities not in {None, n_identities}:
        raise LearningError(
            f"a rule with margins of {rule.n_identities} identities, a head of {n_identities}",
            hint="give one margin per identity, in the order of the labels",
        )
    if filter_above is not None and not (rule.is_angular and 0 <= filter_above <= 1):
        raise LearningError(
            f"other identities cannot be left out above {filter_above} with {type(rule).__name__}",
            hint="it is a cosine in 0..1, such as 0.4, for losses that know cosines",
        )


def check_batch(embeddings: Tensor, labels: Tensor, dimension: int, n_identities: int) -> None:
    """Refuse a batch that no head takes; `MarginHead.forward` says which.

    Raises:
        LearningError: shapes, labels that are not int64 or, on the CPU, out of range.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension:
        raise LearningError(
            f"embeddings of shape {tuple(embeddings.shape)}, the head takes (B, {dimension})",
            hint="the dimension of backbone and head must be one",
        )
    if labels.shape != embeddings.shape[:1]:
        raise LearningError(
            f"labels of shape {tuple(labels.shape)} for {len(embeddings)} embeddings",
            hint="give one label per embedding, shape (B,)",
        )
    check_labels(labels, n_identities)


def check_labels(labels: Tensor, n_identities: int) -> None:
    """Refuse labels that no head takes.

    Raises:
        LearningError: they are not int64 or, on the CPU, out of range.
    """
    if labels.dtype != torch.int64:
        raise LearningError(
            f"labels are {str(labels.dtype).removeprefix('torch.')}, they must be int64",
            hint="floating labels lose identities (float16 ends at 65,504): keep int64 from "
            "the first list to the loss",
        )
    if labels.device.type != "cpu" or not len(labels):
        return
    least, greatest = int(labels.min()), int(labels.max())
    if least < ELSEWHERE or greatest >= n_identities:
        wrong = least if least < ELSEWHERE else greatest
        raise LearningError(
            f"label {wrong} for a head of {n_identities} identities",
            hint=f"labels go from 0 to {n_identities - 1}; -1 is an identity elsewhere",
        )


def normalize_rows(rows: Tensor) -> Tensor:
    """Rows of length 1.

    Args:
        rows: (B, D) float32 or float64.

    Returns:
        (B, D); a row shorter than 1e-12 becomes 0 and passes no gradient. (torch's `normalize`
        would pass it 1e12 times the gradient, which ruins a network at one dead embedding.)
    """
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    inverse = torch.where(norms > MIN_NORM, 1 / norms.clamp_min(MIN_NORM), 0.0)
    return rows * inverse
