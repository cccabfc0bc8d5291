"""CurricularFace is the paper's, and its t goes on after a stop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.curricularface import CurricularFace
from arcwise.nn.head import MarginHead
from arcwise.nn.rule import Observed


def make_head(**options: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(4, 5, CurricularFace(16, **options)).double()


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = 3 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.randint(0, 5, (8,), generator=generator)


def naive_loss(
    x: np.ndarray, weight: np.ndarray, labels: list[int], *, t: float, m: float = 0.5
) -> tuple[float, float]:
    """Loss and the t after this batch; the t of this batch is used, as in the published code."""
    all_cosines = [[row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in weight] for row in x]
    t = 0.01 * sum(c[y] for c, y in zip(all_cosines, labels, strict=True)) / len(x) + 0.99 * t
    losses, n_hard = [], 0
    for cosines, label in zip(all_cosines, labels, strict=True):
        theta = math.acos(cosines[label])
        logits = []
        for j, cosine in enumerate(cosines):
            if j == label and theta + m > math.pi:
                logits.append(16 * (cosine - m * math.sin(m)))
            elif j == label:
                logits.append(16 * math.cos(theta + m))
            elif cosine > math.cos(theta + m):
                n_hard += 1
                logits.append(16 * cosine * (t + cosine))
            else:
                logits.append(16 * cosine)
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    assert 0 < n_hard < len(x) * (len(weight) - 1)
    return sum(losses) / len(losses), t


def test_loss_and_t_equal_the_naive_loop_batch_after_batch():
    head, (x, labels) = make_head(), make_batch()
    with torch.no_grad():
        head.weight[: len(x)] += 0.01 * x[:5]
    expected_t = 0.0
    for _ in range(4):
        numbers = x.detach().numpy(), head.weight.detach().numpy(), labels.tolist()
        expected, expected_t = naive_loss(*numbers, t=expected_t)
        result = head(x, labels)
        assert result.loss.item() == pytest.approx(expected, rel=1e-12)
        assert result.details["t"].item() == pytest.approx(expected_t, rel=1e-12)
        labels = labels.roll(1)


def test_the_gradient_is_the_exact_one_of_a_given_t():
    head, (x, labels) = make_head(), make_batch()
    head.rule.t.fill_(0.3)
    head.eval()
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))


def test_t_counts_the_samples_that_count_and_training_only():
    head, (x, labels) = make_head(), make_batch()
    some = labels.clone()
    some[[0, 3]] = -1
    head(x, some)
    alone = make_head()
    alone(x[some >= 0], labels[some >= 0])
    assert head.rule.t.item() == pytest.approx(alone.rule.t.item(), rel=1e-12)
    kept = head.rule.t.clone()
    head(x, torch.full_like(labels, -1))
    head.eval()
    head(x, labels)
    assert torch.equal(head.rule.t, kept)


def test_a_run_that_goes_on_has_the_same_next_loss():
    head, (x, labels) = make_head(momentum=0.5), make_batch()
    for _ in range(3):
        head(x, labels)
    other = make_head(momentum=0.5)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(x, labels).loss, head(x, labels).loss)


def test_strength_grows_the_factor_of_hard_identities_from_1():
    rule = CurricularFace(16)
    rule.t.fill_(0.1)
    cosines = torch.tensor([[0.5, 0.6, -0.9]])
    for strength, second in ((0.0, 0.6), (0.5, 0.51), (1.0, 0.42)):
        batch = Observed(torch.tensor([0.5]), torch.ones(1), torch.tensor([0]), strength)
        found = rule.change_others(cosines.clone(), batch)
        assert found[0, 1:].tolist() == pytest.approx([second, -0.9])
        assert rule.find_limit(batch) == pytest.approx(math.pi - 0.5 * strength)


def test_where_psi_falls_back_hardness_is_still_the_bare_formula():
    """As in the published code: cos(theta + m), though psi is the line below it."""
    rule = CurricularFace(16)
    batch = Observed(torch.tensor([-0.95]), torch.ones(1), torch.tensor([0]), 1.0)
    threshold = math.cos(math.acos(-0.95) + 0.5)  # -0.983; psi is -1.190
    cosines = torch.tensor([[-0.95, threshold + 1e-3, threshold - 1e-3]])
    found = rule.change_others(cosines.clone(), batch)
    assert found[0, 1].item() == pytest.approx((threshold + 1e-3) ** 2, rel=1e-5)
    assert found[0, 2].item() == pytest.approx(threshold - 1e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"margin": 28.6}, r"0\.\.pi/2 rad, got 28\.6"),
        ({"momentum": 1.5}, r"0\.\.1, got 1\.5"),
        ({"momentum": math.nan}, "got nan"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        CurricularFace(16, **wrong)
    assert caught.value.hint
