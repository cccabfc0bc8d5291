"""The plain softmax: inner products of raw embeddings and weights, with a bias and no margin.

It does not know angles; the head hands it inner products, and keeps the bias of an identity as
one more number of its center, beside an embedding that ends in 1. For comparison: its embeddings
separate the people it saw, and need not compare well by cosine.

Source: the softmax of Deng et al., ArcFace (2022), eq. 1.
"""

from __future__ import annotations

from torch import Tensor

from arcwise.nn.rule import Rule


class Softmax(Rule):
    """Logits x W_j + b_j, as they are: there is no scale and no margin to warm up."""

    is_angular = False

    def __init__(self) -> None:
        super().__init__(1.0)

    def find_scale(self, norms: Tensor) -> float:
        """As `Rule.find_scale`: inner products stay as they are."""
        return 1.0
