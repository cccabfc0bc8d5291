"""AdaFace is the paper's, it knows the lengths of the past, and no batch turns it into NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.adaface import AdaFace
from arcwise.nn.head import MarginHead
from arcwise.nn.rule import Observed


def make_head(**options: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, 5, AdaFace(16, **options)).double()


def make_batch(n: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n, 8, generator=generator, dtype=torch.float64)
    x = x * torch.linspace(0.5, 40, n, dtype=torch.float64)[:, None]
    return x.requires_grad_(), torch.randint(0, 5, (n,), generator=generator)


def naive_loss(
    x: np.ndarray,
    weight: np.ndarray,
    labels: list[int],
    state: tuple[float, float],
    *,
    momentum: float = 0.99,
    strength: float = 1.0,
) -> tuple[float, tuple[float, float]]:
    """Loss and the mean and deviation of lengths after this batch, which it uses already."""
    lengths = [min(max(math.sqrt(sum(a * a for a in row)), 1e-3), 100.0) for row in x]
    mean = sum(lengths) / len(lengths)
    deviation = math.sqrt(sum((n - mean) ** 2 for n in lengths) / (len(lengths) - 1))
    mean = (1 - momentum) * mean + momentum * state[0]
    deviation = (1 - momentum) * deviation + momentum * state[1]
    losses = []
    for row, label, length in zip(x, labels, lengths, strict=True):
        z = min(max(0.333 * (length - mean) / (deviation + 1e-3), -1.0), 1.0)
        cosines = [row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in weight]
        g_angle, g_add = -0.4 * z * strength, (0.4 + 0.4 * z) * strength
        angle = min(max(math.acos(cosines[label]) + g_angle, 1e-3), math.pi - 1e-3)
        logits = [16 * c for c in cosines]
        logits[label] = 16 * (math.cos(angle) - g_add)
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    return sum(losses) / len(losses), (mean, deviation)


@pytest.mark.parametrize("momentum", [0.99, 0.5, 0.0])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_loss_and_lengths_equal_the_naive_loop_batch_after_batch(momentum: float, strength: float):
    head, (x, labels) = make_head(momentum=momentum), make_batch()
    with torch.no_grad():  # near its center and opposite of it, where angles stop
        x[7] = 800 * head.weight[labels[7]]
        x[0] = -8 * head.weight[labels[0]]
    state = (20.0, 100.0)
    numbers = x.detach().numpy(), head.weight.detach().numpy(), labels.tolist()
    for _ in range(3):
        expected, state = naive_loss(*numbers, state, momentum=momentum, strength=strength)
        result = head(x, labels, strength)
        allowed = 1e-12 if strength else 1e-6  # an angle that nothing is added to stops nowhere
        assert result.loss.item() == pytest.approx(expected, rel=allowed)
        assert result.details["norm_mean"].item() == pytest.approx(state[0], rel=1e-12)
        assert result.details["norm_deviation"].item() == pytest.approx(state[1], rel=1e-12)


def test_the_gradient_is_the_exact_one_of_margins_that_are_given():
    """Lengths pass none: gradcheck moves directions only, along which lengths stay."""
    head, (x, labels) = make_head(), make_batch()
    head.rule.deviation.fill_(10.0)
    head.eval()
    lengths = x.detach().norm(dim=1, keepdim=True)
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        held = lengths * torch.nn.functional.normalize(x)
        return torch.func.functional_call(head, {"weight": weight}, (held, labels)).loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))
    head(x, labels).loss.backward()
    assert x.grad is not None
    assert (x.grad * x).sum(dim=1).abs().max() < 1e-12


def test_a_batch_of_one_has_no_deviation_and_changes_the_mean_only():
    head, (x, labels) = make_head(), make_batch()
    result = head(x[:1], labels[:1])
    assert torch.isfinite(result.loss)
    length = x[0].norm().item()
    assert head.rule.mean.item() == pytest.approx(0.99 * 20 + 0.01 * length)
    assert head.rule.deviation.item() == 100
    some = torch.full_like(labels, -1)
    some[0] = labels[0]
    again = make_head()
    again(x, some)  # the same one among others that do not count
    assert again.rule.mean.item() == pytest.approx(head.rule.mean.item(), rel=1e-12)
    assert again.rule.deviation.item() == 100


def test_a_batch_of_which_none_counts_changes_nothing():
    head, (x, labels) = make_head(), make_batch()
    assert head(x, torch.full_like(labels, -1)).loss.item() == 0
    assert (head.rule.mean.item(), head.rule.deviation.item()) == (20, 100)


def test_equal_lengths_are_finite():
    head, (x, labels) = make_head(momentum=0.0), make_batch()
    same = (20 * torch.nn.functional.normalize(x.detach())).requires_grad_()
    loss = head(same, labels).loss  # the deviation is 0, but for rounding
    loss.backward()
    assert torch.isfinite(loss)
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_short_embeddings_get_arcface_and_long_ones_the_opposite():
    rule = AdaFace(16)
    rule.mean.fill_(20.0)
    rule.deviation.fill_(1.0)
    norms = torch.tensor([1.0, 20.0, 99.0])
    batch = Observed(torch.full((3,), 0.5), norms, torch.zeros(3, dtype=torch.int64), 1.0)
    psi = rule.find_psi(torch.full((3,), 0.5), norms, batch, torch.arange(3))
    angle = math.pi / 3
    expected = [math.cos(angle + 0.4), 0.5 - 0.4, math.cos(angle - 0.4) - 0.8]
    assert psi.tolist() == pytest.approx(expected, abs=1e-6)
    limit = rule.find_limit(batch)
    assert limit.tolist() == pytest.approx([math.pi - 0.4, math.pi, math.pi])


def test_lengths_are_remembered_in_training_only_and_after_a_stop():
    head, (x, labels) = make_head(), make_batch()
    for _ in range(3):
        head(x, labels)
    other = make_head()
    other.load_state_dict(head.state_dict())
    kept = head.rule.mean.clone()
    head.eval()
    head(x, labels)
    assert torch.equal(head.rule.mean, kept)
    head.train()
    assert torch.equal(other(x, labels).loss, head(x, labels).loss)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"margin": 1.6}, r"0\.\.pi/2 rad, got 1\.6"),
        ({"h": 0.0}, r"h must be above 0, got 0\.0"),
        ({"h": math.inf}, "got inf"),
        ({"momentum": -0.1}, r"0\.\.1, got -0\.1"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        AdaFace(16, **wrong)
    assert caught.value.hint
