"""The head of training: one center per identity, cosines, margin, cross-entropy.

It does not know photos, backbones or the optimizer, and is not part of the model that is used
later. All arithmetic is float32 even under autocast: in half precision a cosine near 1 tells
angles apart to 2 to 5 degrees only. (The TF32 mode of a GPU and `set_float32_matmul_precision`
are the caller's and would blur the cosines; leave them off.)

Sources: Deng et al., ArcFace (2022); labels of -1 for identities that live elsewhere as in
InsightFace's training code; the automatic scale of Zhang et al., AdaCos (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.margin import Margin, apply_margin

ELSEWHERE = -1
"""Label of a sample whose identity is not among the centers of this head."""

_MIN_NORM = 1e-12  # as torch.nn.functional.normalize; a shorter vector has no direction
_INITIAL_STD = 0.01  # of the centers; InsightFace, arcface_torch


@dataclass(frozen=True, eq=False, slots=True)
class HeadResult:
    """The loss of one batch, and what it says about the training.

    Attributes:
        loss: () mean cross-entropy over the samples that count; 0 when none does.
        target_angle_rad: () mean angle to the true identity's center, rad: about pi / 2 at the
            start, falling; detached, as are the two below. 0 when no sample counts.
        share_beyond_pi: () share of these samples whose angle with its margin is beyond pi, where
            `Margin.beyond_pi` rules: about 0 in a healthy run.
        mean_norm: () mean length of the raw embeddings, of all samples.
    """

    loss: Tensor
    target_angle_rad: Tensor
    share_beyond_pi: Tensor
    mean_norm: Tensor


class MarginHead(nn.Module):
    """Margin softmax over all identities.

    Args:
        dimension: D, length of the embeddings.
        n_identities: C, how many identities there are; 1 works (the loss is 0).
        margin: what takes the place of the true identity's cosine.
        scale: s, what the cosines are multiplied by; 64 in the paper, see `automatic_scale`.

    Attributes:
        weight: (C, D), a center per identity, not normalized; normal with deviation 0.01.

    Raises:
        LearningError: a dimension or a number of identities below 1, or a scale that is not
            above 0.
    """

    def __init__(self, dimension: int, n_identities: int, *, margin: Margin, scale: float) -> None:
        super().__init__()
        _check_size(dimension, n_identities, scale)
        self.dimension = dimension
        self.n_identities = n_identities
        self.margin = margin
        self.scale = float(scale)
        self.weight = nn.Parameter(torch.empty(n_identities, dimension))
        nn.init.normal_(self.weight, std=_INITIAL_STD)

    def forward(self, embeddings: Tensor, labels: Tensor, strength: float = 1.0) -> HeadResult:
        """The loss of one batch.

        Args:
            embeddings: (B, D) floating, raw: not normalized. A zero embedding counts as
                orthogonal to every center and gets no gradient.
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
        self._check_batch(embeddings, labels)
        margin = self.margin.weaken(strength)
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        dtype = torch.promote_types(embeddings.dtype, dtype)
        with torch.autocast(embeddings.device.type, enabled=False):
            raw = embeddings.to(dtype)
            units, centers = normalize_rows(raw), normalize_rows(self.weight.to(dtype))
            cosines = F.linear(units, centers)
            counts = labels != ELSEWHERE
            places = torch.arange(len(labels), device=labels.device), labels.clamp_min(0)
            targets = cosines[places]
            psi = apply_margin(targets, margin)  # rows that do not count are ignored below
            # In place, as backward needs no cosines: (B, C) is what fills the memory. Only the
            # targets are held in -1..1; in the other logits 1e-7 beyond it does no harm.
            logits = cosines.index_put_(places, psi).mul_(self.scale)
            total = F.cross_entropy(logits, labels, ignore_index=ELSEWHERE, reduction="sum")
            n_counted = counts.sum().clamp_min(1)
            return HeadResult(
                total / n_counted, *_diagnose(targets.detach(), raw.detach(), counts, margin)
            )

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"{self.dimension}, {self.n_identities}, margin={self.margin}, scale={self.scale:g}"

    def _check_batch(self, embeddings: Tensor, labels: Tensor) -> None:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise LearningError(
                f"embeddings of shape {tuple(embeddings.shape)}, the head takes "
                f"(B, {self.dimension})",
                hint="the dimension of backbone and head must be one",
            )
        if labels.dtype != torch.int64:
            raise LearningError(
                f"labels are {str(labels.dtype).removeprefix('torch.')}, they must be int64",
                hint="floating labels lose identities (float16 ends at 65,504): keep int64 from "
                "the first list to the loss",
            )
        if labels.shape != embeddings.shape[:1]:
            raise LearningError(
                f"labels of shape {tuple(labels.shape)} for {len(embeddings)} embeddings",
                hint="give one label per embedding, shape (B,)",
            )
        if labels.device.type != "cpu" or not len(labels):
            return
        least, greatest = int(labels.min()), int(labels.max())
        if least < ELSEWHERE or greatest >= self.n_identities:
            wrong = least if least < ELSEWHERE else greatest
            raise LearningError(
                f"label {wrong} for a head of {self.n_identities} identities",
                hint=f"labels go from 0 to {self.n_identities - 1}; -1 is an identity elsewhere",
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
    inverse = torch.where(norms > _MIN_NORM, 1 / norms.clamp_min(_MIN_NORM), 0.0)
    return rows * inverse


def automatic_scale(n_identities: int) -> float:
    """The scale that suits a number of identities, sqrt(2) ln(C - 1), at least 2.

    100 identities get 6.5, 10,000 get 13.0; with few, the usual 64 learns slowly.

    Raises:
        LearningError: fewer than 1 identity.

    Source: Zhang et al., AdaCos (2019), the fixed scale.
    """
    if n_identities < 1:
        raise LearningError(f"a head of {n_identities} identities", hint="at least 1 is needed")
    return max(2.0, math.sqrt(2) * math.log(max(1, n_identities - 1)))


def expected_first_loss(n_identities: int, margin: Margin, scale: float, dimension: int) -> float:
    """The loss a new head should show at the first step, to tell wrong labels from right ones.

    At the start every angle is about 90 degrees, and the other cosines are spread by 1 / sqrt(D):
    the loss is ln(1 + (C - 1) exp(s^2 / 2D - s psi(90 degrees))), which for many identities is
    ln C + s sin m + s^2 / 2D with ArcFace and ln C + s m + s^2 / 2D with CosFace. With few
    identities and a large scale the true mean is a little lower: by 0.6 for 100 of scale 64.

    Args:
        n_identities: C.
        margin: the one of the first step: weakened, when it grows (`Margin.weaken`).
        scale: s.
        dimension: D.

    Raises:
        LearningError: as `MarginHead`.
    """
    _check_size(dimension, n_identities, scale)
    if n_identities == 1:
        return 0.0
    psi = float(apply_margin(torch.zeros(1, dtype=torch.float64), margin))
    others = math.log(n_identities - 1) + scale**2 / (2 * dimension)
    ahead = others - scale * psi
    return max(ahead, 0.0) + math.log1p(math.exp(-abs(ahead)))


def _diagnose(
    targets: Tensor, raw: Tensor, counts: Tensor, margin: Margin
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean target angle, share beyond pi, mean norm: without gradient, without a sync."""
    angles_rad = targets.clamp(-1, 1).acos()
    n_counted = counts.sum().clamp_min(1)
    mean_angle_rad = torch.where(counts, angles_rad, 0.0).sum() / n_counted
    share = ((angles_rad > margin.limit_rad) & counts).sum() / n_counted
    norms = torch.linalg.vector_norm(raw, dim=1)
    return mean_angle_rad, share, norms.sum() / max(1, len(raw))


def _check_size(dimension: int, n_identities: int, scale: float) -> None:
    if dimension < 1 or n_identities < 1:
        raise LearningError(
            f"a head of {n_identities} identities and {dimension} dimensions",
            hint="at least 1 of each is needed",
        )
    if not (math.isfinite(scale) and scale > 0):
        raise LearningError(
            f"the scale must be above 0, got {scale}", hint="64 is the paper's; see docs/losses.md"
        )
