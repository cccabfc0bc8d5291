"""Cosines and their gradient are those of normalized copies, without the copies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from arcwise.nn import cosines as module
from arcwise.nn.cosines import find_cosines


def make_rows(n_centers: int = 11, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    units = torch.nn.functional.normalize(torch.randn(6, 4, generator=generator))
    centers = 0.01 * torch.randn(n_centers, 4, generator=generator)
    return units.to(dtype).requires_grad_(), centers.to(dtype).requires_grad_()


@pytest.mark.parametrize("n_spare", [0, 3])
@pytest.mark.parametrize("n_rows", [2, 11, 4096])
def test_the_gradient_is_exact_in_parts_of_any_size(
    monkeypatch: pytest.MonkeyPatch, n_rows: int, n_spare: int
):
    monkeypatch.setitem(module._PART_ROWS, "cpu", n_rows)
    units, centers = make_rows()
    assert torch.autograd.gradcheck(lambda u, w: find_cosines(u, w, n_spare=n_spare), make_rows())
    expected = units @ torch.nn.functional.normalize(centers).T
    found = find_cosines(units, centers, n_spare=n_spare)
    torch.testing.assert_close(found[:, :11], expected)
    assert not found[:, 11:].any()


def test_float32_keeps_its_digits():
    narrow, wide = make_rows(dtype=torch.float32), make_rows()
    upstream = torch.randn(6, 11, generator=torch.Generator().manual_seed(2))
    find_cosines(*narrow).backward(upstream)
    find_cosines(*wide).backward(upstream.double())
    for some, exact in zip(narrow, wide, strict=True):
        assert exact.grad is not None
        atol = 1e-6 * float(exact.grad.abs().max())
        torch.testing.assert_close(some.grad.double(), exact.grad, rtol=1e-5, atol=atol)


def test_a_center_of_no_length_has_no_direction_and_gets_no_gradient():
    units, centers = make_rows()
    with torch.no_grad():
        centers[3] = 0
    found = find_cosines(units, centers)
    found.sum().backward()
    assert not found[:, 3].any()
    assert centers.grad is not None
    assert not centers.grad[3].any()
    assert centers.grad.isfinite().all()


def test_no_centers_have_no_cosines():
    units, _ = make_rows()
    found = find_cosines(units, torch.zeros(0, 4, dtype=torch.float64), n_spare=8)
    assert found.shape == (6, 8)
    found.sum().backward()
    assert units.grad is not None
    assert not units.grad.any()


def test_what_needs_no_gradient_gets_none():
    units, centers = make_rows()
    find_cosines(units.detach(), centers).sum().backward()
    assert units.grad is None
    assert centers.grad is not None
    centers.grad = None
    find_cosines(units, centers.detach()).sum().backward()
    assert units.grad is not None
    assert centers.grad is None


def test_no_normalized_copy_of_the_centers_is_kept():
    units, centers = make_rows()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        find_cosines(units, centers)
    large = [tensor for tensor in kept if tensor.numel() >= centers.numel()]
    assert [tensor.data_ptr() for tensor in large] == [centers.data_ptr()]
