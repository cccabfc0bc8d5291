"""A-Softmax is the paper's, its annealing goes on after a stop, and lengths carry a gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.head import MarginHead
from arcwise.nn.rule import Observed
from arcwise.nn.sphereface import ASoftmax


def make_head(**options: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, 5, ASoftmax(**options)).double()


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = 2 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.randint(0, 5, (6,), generator=generator)


CHEBYSHEV = {
    1: lambda c: c,
    2: lambda c: 2 * c**2 - 1,
    3: lambda c: 4 * c**3 - 3 * c,
    4: lambda c: 8 * c**4 - 8 * c**2 + 1,
}


def naive_loss(
    x: np.ndarray, weight: np.ndarray, labels: list[int], *, m: int, lam: float
) -> float:
    """|x| (lam cos theta + psi) / (1 + lam) with cos(m theta) as a polynomial, as the paper."""
    losses = []
    for row, label in zip(x, labels, strict=True):
        length = math.sqrt(sum(a * a for a in row))
        cosines = [row @ w / length / np.linalg.norm(w) for w in weight]
        k = math.floor(m * math.acos(cosines[label]) / math.pi)
        psi = (-1) ** k * CHEBYSHEV[m](cosines[label]) - 2 * k
        logits = [length * c for c in cosines]
        logits[label] = length * (lam * cosines[label] + psi) / (1 + lam)
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_loss_equals_the_naive_loop_while_the_margin_grows(m: int):
    head, (x, labels) = make_head(margin=m), make_batch()
    numbers = x.detach().numpy(), head.weight.detach().numpy(), labels.tolist()
    for it in range(1, 6):
        lam = max(5.0, 1000 / (1 + 0.12 * it))
        result = head(x, labels)
        assert result.loss.item() == pytest.approx(naive_loss(*numbers, m=m, lam=lam), rel=1e-12)
        assert result.details["lambda"].item() == pytest.approx(lam)
    head.rule.it.fill_(10**6)
    assert head(x, labels).loss.item() == pytest.approx(
        naive_loss(*numbers, m=m, lam=5.0), rel=1e-12
    )


def test_the_gradient_is_the_exact_one_for_lengths_too():
    head, (x, labels) = make_head(least=0.5, start=0.5), make_batch()
    head.eval()  # the margin does not grow meanwhile
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))
    head(x, labels).loss.backward()
    assert x.grad is not None
    assert (x.grad * x).sum(dim=1).abs().max() > 1e-3  # along the embedding itself


def test_the_margin_grows_with_batches_of_training_only():
    head, (x, labels) = make_head(), make_batch()
    head(x, labels)
    assert head.rule.it.item() == 1
    head.eval()
    first, second = head(x, labels), head(x, labels)
    assert head.rule.it.item() == 1
    assert torch.equal(first.loss, second.loss)


def test_a_run_that_goes_on_has_the_same_next_loss():
    head, (x, labels) = make_head(), make_batch()
    for _ in range(20):
        head(x, labels)
    other = make_head()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(x, labels).loss, head(x, labels).loss)


def test_strength_weighs_the_margin_against_the_bare_cosine():
    rule = ASoftmax(least=0, start=0)
    cosine = torch.tensor([0.5], dtype=torch.float64)
    for strength, psi in ((0.0, 0.5), (0.5, -0.5), (1.0, -1.5)):
        batch = Observed(cosine, torch.ones(1), torch.zeros(1, dtype=torch.int64), strength)
        found = rule.find_psi(cosine, torch.ones(1), batch, torch.tensor([0]))
        assert found.item() == pytest.approx(psi)
        assert rule.find_limit(batch) == math.pi / 4


def test_a_zero_embedding_is_finite_and_gets_no_gradient():
    head, (x, labels) = make_head(), make_batch()
    with torch.no_grad():
        x[3] = 0
    loss = head(x, labels).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert not x.grad[3].any()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"margin": 0.5}, r"1 or more, got 0\.5"),
        ({"margin": math.inf}, "1 or more, got inf"),
        ({"start": -1.0}, r"start -1\.0"),
        ({"least": math.nan}, "least nan"),
        ({"decay": -0.1}, r"decay -0\.1"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        ASoftmax(**wrong)
    assert caught.value.hint
