"""The plain softmax is a linear layer with a bias."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.nn.head import MarginHead
from arcwise.nn.softmax import Softmax


def make_head(subcenters: int = 1) -> MarginHead:
    torch.manual_seed(1)
    head = MarginHead(8, 5, Softmax(), subcenters=subcenters).double()
    with torch.no_grad():
        head.weight *= 30
    return head


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.randint(0, 5, (6,), generator=generator)


def test_the_loss_equals_the_naive_loop():
    head, (x, labels) = make_head(), make_batch()
    losses = []
    for row, label in zip(x.tolist(), labels.tolist(), strict=True):
        logits = [
            sum(a * b for a, b in zip(row, center[:-1], strict=True)) + center[-1]
            for center in head.weight.tolist()
        ]
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    assert head(x, labels).loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_it_is_torchs_linear_layer_with_its_bias_as_the_last_column():
    head, (x, labels) = make_head(), make_batch()
    assert head.weight.shape == (5, 9)
    theirs = F.cross_entropy(F.linear(x, head.weight[:, :8], head.weight[:, 8]), labels)
    for found in zip(
        torch.autograd.grad(theirs, (x, head.weight)),
        torch.autograd.grad(head(x, labels).loss, (x, head.weight)),
        strict=True,
    ):
        torch.testing.assert_close(*found)


def test_lengths_count_and_the_strength_of_a_margin_does_not():
    head, (x, labels) = make_head(), make_batch()
    assert head(2 * x, labels).loss != head(x, labels).loss
    assert torch.equal(head(x, labels, 0.0).loss, head(x, labels).loss)


def test_there_is_no_angle_to_report():
    head, (x, labels) = make_head(), make_batch()
    result = head(10 * x, labels)  # inner products far beyond 1
    assert result.target_angle_rad.item() == result.share_beyond_pi.item() == 0
    assert result.mean_norm.item() == pytest.approx(10 * x.norm(dim=1).mean().item())
    with torch.no_grad():
        head.weight[2, -1] = 1e4  # a bias alone decides
    assert head(x, torch.full((6,), 2)).accuracy.item() == 1
    assert head(x, torch.full((6,), 1)).accuracy.item() == 0


def test_a_zero_embedding_learns_from_the_bias_and_is_finite():
    head, (x, labels) = make_head(), make_batch()
    with torch.no_grad():
        x[3] = 0
    loss = head(x, labels).loss
    loss.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(loss)


def test_of_several_centers_the_one_with_the_largest_logit_counts():
    head, (x, labels) = make_head(subcenters=3), make_batch()
    each = F.linear(x, head.weight[:, :8], head.weight[:, 8])
    expected = F.cross_entropy(each.view(6, 5, 3).amax(dim=2), labels)
    assert head(x, labels).loss.item() == pytest.approx(expected.item(), rel=1e-12)
