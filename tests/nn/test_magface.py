"""MagFace is the paper's, and the length of an embedding gets the whole gradient of the loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.head import MarginHead
from arcwise.nn.magface import MagFace
from arcwise.nn.rule import Observed


def make_head(**options: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, 5, MagFace(16, **options)).double()


def make_batch() -> tuple[Tensor, Tensor]:
    """Lengths from 2, too short, over 10 to 110, to 160, too long."""
    generator = torch.Generator().manual_seed(2)
    x = torch.nn.functional.normalize(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    lengths = torch.tensor([2.0, 12, 25, 47, 60, 81, 105, 160], dtype=torch.float64)
    x = (x * lengths[:, None]).requires_grad_()
    return x, torch.randint(0, 5, (8,), generator=generator)


def naive_loss(
    x: np.ndarray, weight: np.ndarray, labels: list[int], *, easy: bool = True, strength: float = 1
) -> float:
    losses = []
    for row, label in zip(x, labels, strict=True):
        length = math.sqrt(sum(v * v for v in row))
        a = min(max(length, 10.0), 110.0)
        m = strength * ((0.8 - 0.45) / (110 - 10) * (a - 10) + 0.45)
        cosines = [row @ w / length / np.linalg.norm(w) for w in weight]
        logits = [16 * c for c in cosines]
        theta = math.acos(cosines[label])
        if easy:
            psi = math.cos(theta + m) if cosines[label] > 0 else cosines[label]
        elif theta + m > math.pi:
            psi = cosines[label] - m * math.sin(m)
        else:
            psi = math.cos(theta + m)
        logits[label] = 16 * psi
        penalty = 35 * (a / 110**2 + 1 / a)
        losses.append(math.log(sum(math.exp(v) for v in logits)) - logits[label] + penalty)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("easy", [True, False])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_the_loss_equals_the_naive_loop(easy: bool, strength: float):
    head, (x, labels) = make_head(easy_margin=easy), make_batch()
    with torch.no_grad():
        x[3] = -47 * head.weight[labels[3]] / head.weight[labels[3]].norm() + 0.1 * x[3]
    numbers = x.detach().numpy(), head.weight.detach().numpy(), labels.tolist()
    expected = naive_loss(*numbers, easy=easy, strength=strength)
    assert head(x, labels, strength).loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("easy", [True, False])
def test_the_gradient_is_the_exact_one_for_lengths_too(easy: bool):
    head, (x, labels) = make_head(easy_margin=easy), make_batch()
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))


def test_the_length_gets_the_gradient_of_margin_and_penalty():
    """-sin(theta + m) m'(a) through psi, and lambda (1 / u^2 - 1 / a^2) through the penalty."""
    head, (x, labels) = make_head(easy_margin=False), make_batch()
    x, labels = x.detach()[2:3].requires_grad_(), labels[2:3]
    result = head(x, labels)
    result.loss.backward()
    assert x.grad is not None
    cosines = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(head.weight).T
    theta, a = cosines[0, labels[0]].acos().item(), 25.0
    m = 0.45 + 0.0035 * (a - 10)
    logits = 16 * cosines[0].detach()
    logits[labels[0]] = 16 * math.cos(theta + m)
    p = torch.softmax(logits, 0)[labels[0]].item()
    expected = (p - 1) * 16 * -math.sin(theta + m) * 0.0035 + 35 * (1 / 110**2 - 1 / a**2)
    along = (x.grad * x).sum().item() / a
    assert along == pytest.approx(expected, rel=1e-9)


def test_beyond_its_bounds_the_length_gets_no_gradient():
    head, (x, labels) = make_head(), make_batch()
    head(x, labels).loss.backward()
    assert x.grad is not None
    along = (x.grad * x).sum(dim=1).abs()
    assert along[[0, 7]].max() < 1e-12
    assert along[1:7].min() > 1e-6


def test_the_penalty_is_of_the_samples_that_count():
    head, (x, labels) = make_head(), make_batch()
    some = labels.clone()
    some[[1, 4]] = -1
    kept = some >= 0
    result = head(x, some)
    assert result.loss.item() == pytest.approx(head(x[kept], labels[kept]).loss.item(), rel=1e-12)
    result.loss.backward()
    assert x.grad is not None
    assert torch.equal(x.grad.abs().sum(dim=1) > 0, kept)
    none = head(x, torch.full_like(labels, -1))
    assert none.loss.item() == 0


def test_a_zero_embedding_is_finite_and_gets_no_gradient():
    head, (x, labels) = make_head(), make_batch()
    with torch.no_grad():
        x[2] = 0
    loss = head(x, labels).loss
    loss.backward()
    assert x.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()
    assert not x.grad[2].any()


def test_the_margin_grows_with_the_length():
    rule = MagFace(64)
    norms = torch.tensor([1.0, 10.0, 60.0, 110.0, 500.0])
    margins = rule.find_margins(norms)
    assert margins.tolist() == pytest.approx([0.45, 0.45, 0.625, 0.8, 0.8])
    batch = Observed(torch.zeros(5), norms, torch.zeros(5, dtype=torch.int64), 0.5)
    limit = rule.find_limit(batch)
    assert limit.tolist() == pytest.approx((math.pi - margins / 2).tolist())


def test_the_default_penalty_holds_lengths_between_the_bounds():
    """The bound of the paper's appendix, above which an optimal length lies within."""
    slope = (0.8 - 0.45) / (110 - 10)
    least = 64 * slope * 110**2 * 10**2 / (110**2 - 10**2)
    assert least == pytest.approx(22.59, abs=0.005)
    assert MagFace(64).penalty > least


def test_it_remembers_nothing():
    assert MagFace(64).state_dict() == {}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"least_margin": 0.9}, r"margins from 0\.9 to 0\.8 rad"),
        ({"most_margin": 1.6}, r"to 1\.6 rad"),
        ({"least_margin": -0.1}, r"from -0\.1"),
        ({"least_norm": 0.0}, r"lengths from 0\.0 to"),
        ({"least_norm": 110.0}, r"lengths from 110\.0 to 110\.0"),
        ({"most_norm": math.inf}, "to inf"),
        ({"penalty": -1.0}, r"0 or more, got -1\.0"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        MagFace(16, **wrong)
    assert caught.value.hint
