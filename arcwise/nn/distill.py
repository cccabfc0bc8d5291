"""What a small network learns from a larger one's embeddings: their directions, their relations.

It does not know where the targets come from; they get no gradient. A target that is not finite
makes the term not finite: leave such rows out before. Where student and targets have different
dimensions, the directions need a linear layer without bias between them (the caller's), the
relations do not. All arithmetic is float32 even under autocast.

Sources: Park et al., Relational Knowledge Distillation (2019), for matching relations between
samples instead of the samples; Tung & Mori, Similarity-Preserving Knowledge Distillation (2019),
eq. 4, for the mean square over the (B, B) similarities. Theirs are Gram matrices with rows of
norm 1; ours are cosines, as that is what embeddings are compared by.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.head import normalize_rows


def cosine_term(student: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine between each embedding and its target: 0 alike, 1 orthogonal, 2 opposite.

    Args:
        student: (B, D) floating, of any length; a zero embedding counts 1, without gradient.
        targets: (B, D) floating, of any length.

    Returns:
        () float32 (float64 for a float64 student).

    Raises:
        LearningError: other shapes, or an empty batch.
    """
    _check_rows(student, targets)
    if student.shape[1] != targets.shape[1]:
        raise LearningError(
            f"embeddings of {student.shape[1]} dimensions, targets of {targets.shape[1]}",
            hint="put a linear layer between them, or use relational_term",
        )
    with torch.autocast(student.device.type, enabled=False):
        units, aims = _normalize(student, targets)
        return 1 - (units * aims).sum(dim=1).mean()


def relational_term(student: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of the cosines among the student's and among the targets.

    Args:
        student: (B, D) floating, of any length.
        targets: (B, T) floating, of any length; T need not be D.

    Returns:
        () float32 (float64 for a float64 student): the mean over all B x B pairs, each row with
        itself (always 0, but for a zero row) included.

    Raises:
        LearningError: other shapes, or an empty batch.
    """
    _check_rows(student, targets)
    with torch.autocast(student.device.type, enabled=False):
        units, aims = _normalize(student, targets)
        return F.mse_loss(units @ units.T, aims @ aims.T)


def _normalize(student: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(student.dtype, torch.float32)
    return normalize_rows(student.to(dtype)), normalize_rows(targets.detach().to(dtype))


def _check_rows(student: Tensor, targets: Tensor) -> None:
    if student.ndim != 2 or targets.ndim != 2 or len(student) != len(targets) or not len(student):
        raise LearningError(
            f"embeddings of shape {tuple(student.shape)}, targets of {tuple(targets.shape)}",
            hint="give (B, D) embeddings and (B, T) targets of the same photos, at least one",
        )
