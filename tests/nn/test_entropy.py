"""The cross-entropy of each sample is torch's, and so is its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from arcwise.nn.collective import ALONE
from arcwise.nn.entropy import find_losses


def make_logits(n_columns: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = 10 * torch.randn(7, n_columns, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, n_columns, (7,), generator=generator)


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_losses_and_gradients_are_those_of_torch(dtype: torch.dtype, allowed: float):
    logits, columns = make_logits()
    weights = torch.linspace(0.2, 3, 7, dtype=dtype)
    theirs, ours = (logits.to(dtype, copy=True).requires_grad_() for _ in range(2))
    expected = F.cross_entropy(theirs, columns, reduction="none")
    found = find_losses(ours * 1, columns, torch.ones(7, dtype=torch.bool), ALONE)
    torch.testing.assert_close(found, expected, rtol=allowed, atol=allowed)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=10 * allowed, atol=allowed)


def test_spare_columns_change_nothing_and_get_no_gradient():
    logits, columns = make_logits()
    wide = F.pad(logits, (0, 3), value=1e6).requires_grad_()
    is_here = torch.ones(7, dtype=torch.bool)
    plain = find_losses(logits.clone(), columns, is_here, ALONE)
    found = find_losses(wide * 1, columns, is_here, ALONE, n_spare=3)
    torch.testing.assert_close(found, plain)
    found.sum().backward()
    assert wide.grad is not None
    assert not wide.grad[:, 5:].any()


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_logits_of_any_size_are_finite(size: float):
    logits = torch.tensor([[size, -size, 0.0], [-size, -size, -size]], requires_grad=True)
    columns, is_here = torch.tensor([1, 2]), torch.ones(2, dtype=torch.bool)
    losses = find_losses(logits / 2, columns, is_here, ALONE)
    assert losses.tolist() == pytest.approx([size, torch.tensor(3.0).log().item()])
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_samples_without_any_identity_are_finite():
    spare = torch.zeros(2, 8, requires_grad=True)
    nobody = torch.zeros(2, dtype=torch.bool)
    losses = find_losses(spare * 1, torch.zeros(2, dtype=torch.int64), nobody, ALONE, n_spare=8)
    torch.where(nobody, losses, 0.0).sum().backward()
    assert losses.isfinite().all()
    assert spare.grad is not None
    assert not spare.grad.any()


def test_logits_that_are_not_a_number_are_not_hidden():
    logits, columns = make_logits()
    logits[2, 3] = torch.nan
    losses = find_losses(logits, columns, torch.ones(7, dtype=torch.bool), ALONE)
    assert losses.isnan().tolist() == [row == 2 for row in range(7)]


def test_a_second_backward_pass_is_refused():
    """It would give wrong numbers: the first one overwrote what forward kept."""
    logits, columns = make_logits()
    losses = find_losses(logits.requires_grad_() * 1, columns, torch.ones(7).bool(), ALONE)
    losses.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        losses.sum().backward()


def test_forward_and_backward_keep_to_the_memory_of_the_logits():
    logits = torch.randn(7, 5).requires_grad_()
    given = logits * 1
    place = given.data_ptr()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor
    ):
        losses = find_losses(given, torch.zeros(7).long(), torch.ones(7).bool(), ALONE)
    assert place in kept
    (gradient,) = torch.autograd.grad(losses.sum(), given)
    assert gradient.data_ptr() == place


def test_nothing_waits_for_the_device():
    """A meta tensor has no values: whatever asks for one raises."""
    logits = torch.zeros(7, 5, device="meta", requires_grad=True)
    columns = torch.zeros(7, dtype=torch.int64, device="meta")
    is_here = torch.ones(7, dtype=torch.bool, device="meta")
    find_losses(logits * 1, columns, is_here, ALONE, n_spare=1).sum().backward()
    assert logits.grad is not None
