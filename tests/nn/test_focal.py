"""The focal factor is the paper's or that of the batch's mean, and finite where no loss is left."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.focal import focus

LOSSES = [0.001, 0.3, 1.0, 4.5, 30.0]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_each_sample_counts_by_its_own_probability(gamma: float):
    found = focus(torch.tensor(LOSSES, dtype=torch.float64), gamma)
    expected = [(1 - math.exp(-loss)) ** gamma * loss for loss in LOSSES]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_or_all_count_by_the_probability_of_their_mean(gamma: float):
    losses = torch.tensor(LOSSES, dtype=torch.float64)
    mean = sum(LOSSES) / len(LOSSES)
    found = focus(losses, gamma, "batch_mean")
    assert found.mean().item() == pytest.approx((1 - math.exp(-mean)) ** gamma * mean)
    assert (found / losses).std() < 1e-12
    counts = torch.tensor([True, True, False, True, False])
    mean = (LOSSES[0] + LOSSES[1] + LOSSES[3]) / 3
    some = focus(losses * counts, gamma, "batch_mean", counts=counts)
    assert some.sum().item() / 3 == pytest.approx((1 - math.exp(-mean)) ** gamma * mean)


@pytest.mark.parametrize("form", ["per_sample", "batch_mean"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_gradient_goes_through_the_factor(form: Any, gamma: float):
    losses = torch.tensor(LOSSES[1:], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: focus(x, gamma, form), losses)


@pytest.mark.parametrize("form", ["per_sample", "batch_mean"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_loss_of_0_is_finite(form: Any, gamma: float, dtype: torch.dtype):
    for values in ([0.0, 0.0], [0.0, 3.0], [1e-30, 100.0], []):
        losses = torch.tensor(values, dtype=dtype, requires_grad=True)
        found = focus(losses, gamma, form)
        found.sum().backward()
        assert losses.grad is not None
        assert torch.isfinite(found).all()
        assert torch.isfinite(losses.grad).all()


def test_small_losses_keep_their_digits():
    """1 - exp(-1e-6) would have two digits left in float32."""
    assert focus(torch.tensor([1e-6]), 1.0).item() == pytest.approx(1e-12, rel=1e-5)


@pytest.mark.parametrize(
    ("gamma", "form", "words"),
    [
        (-1.0, "per_sample", r"0 or more, got -1\.0"),
        (math.nan, "per_sample", "got nan"),
        (2.0, "mean", "no form of the focal loss of the name 'mean'"),
    ],
)
def test_what_makes_no_factor_is_refused(gamma: float, form: Any, words: str):
    with pytest.raises(LearningError, match=words) as caught:
        focus(torch.ones(2), gamma, form)
    assert caught.value.hint
