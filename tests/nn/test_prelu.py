"""PReLU answers as torch's own, and its gradient is that of the formula in any memory order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from arcwise.nn.prelu import PReLU

ORDERS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive_gradients(x: Tensor, slopes: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Value by value in float64: He et al. (2015), equation 8."""
    x, slopes, upstream = x.double(), slopes.double(), upstream.double()
    for_x, for_slopes = torch.zeros_like(x), torch.zeros_like(slopes)
    for index in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        place, channel = tuple(index), index[1] if len(slopes) > 1 else 0
        if x[place] > 0:
            for_x[place] = upstream[place]
        else:
            for_x[place] = slopes[channel] * upstream[place]
            for_slopes[channel] += x[place] * upstream[place]
    return for_x, for_slopes


def learn(layer: nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What it gives, and the gradients of input and slopes."""
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    slopes = next(layer.parameters())
    for_x, for_slopes = torch.autograd.grad(y, (x, slopes), upstream)
    return y, for_x, for_slopes


def with_slopes(n: int) -> PReLU:
    """One slope is negative and one beyond 1, so that signs tell nothing."""
    layer = PReLU(n)
    layer.weight.data = torch.linspace(-0.3, 1.4, n) if n > 1 else torch.tensor([-0.3])
    return layer


@pytest.mark.parametrize("n_slopes", [5, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_the_gradient_is_that_of_the_formula(order: str, n_slopes: int) -> None:
    layer = with_slopes(n_slopes)
    x = draw(3, 5, 4, 2).contiguous(memory_format=ORDERS[order])
    x[0, :, 0, 0] = 0  # where the formula takes the slope
    upstream = draw(3, 5, 4, 2, seed=1).contiguous(memory_format=ORDERS[order])
    _, for_x, for_slopes = learn(layer, x, upstream)
    expected_x, expected_slopes = naive_gradients(x, layer.weight.detach(), upstream)
    torch.testing.assert_close(for_x.double(), expected_x, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(for_slopes.double(), expected_slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_a_map_of_many_parts_learns_as_with_torch(order: str) -> None:
    """Of x to the last bit; of slopes up to the order of a sum of 37,632 values."""
    layer, plain = with_slopes(24), nn.PReLU(24)
    plain.load_state_dict(layer.state_dict())
    x = draw(12, 24, 56, 56).contiguous(memory_format=ORDERS[order])
    upstream = draw(12, 24, 56, 56, seed=1)
    found, expected = learn(layer, x, upstream), learn(plain, x, upstream)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[2], expected[2], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("order", ORDERS)
def test_the_gradient_lies_in_memory_as_the_input_does(order: str) -> None:
    x = draw(2, 8, 6, 6).contiguous(memory_format=ORDERS[order]).requires_grad_()
    other = next(kind for name, kind in ORDERS.items() if name != order)
    upstream = draw(2, 8, 6, 6, seed=1).contiguous(memory_format=other)
    (for_x,) = torch.autograd.grad(PReLU(8)(x), x, upstream)
    assert for_x.is_contiguous(memory_format=ORDERS[order])


def test_an_input_with_gaps_in_memory_is_taken() -> None:
    layer, x, upstream = with_slopes(4), draw(2, 8, 6, 6)[:, ::2, 1:5], draw(2, 4, 4, 6, seed=1)
    _, for_x, for_slopes = learn(layer, x, upstream)
    expected_x, expected_slopes = naive_gradients(x, layer.weight.detach(), upstream)
    torch.testing.assert_close(for_x.double(), expected_x, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(for_slopes.double(), expected_slopes, rtol=1e-5, atol=1e-6)


def test_gradcheck_agrees() -> None:
    layer = with_slopes(3).double()
    x = draw(2, 3, 3, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (x, layer.weight))


def test_an_empty_batch_learns_nothing() -> None:
    _, for_x, for_slopes = learn(with_slopes(3), draw(0, 3, 4, 4), draw(0, 3, 4, 4))
    assert for_x.shape == (0, 3, 4, 4)
    assert not for_slopes.any()


@pytest.mark.parametrize("order", ORDERS)
def test_under_autocast_it_keeps_the_type_of_the_map(order: str) -> None:
    layer = with_slopes(16)
    x = draw(2, 16, 28, 28).bfloat16().contiguous(memory_format=ORDERS[order])
    upstream = draw(2, 16, 28, 28, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y, for_x, for_slopes = learn(layer, x, upstream)
    assert (y.dtype, for_x.dtype, for_slopes.dtype) == (torch.bfloat16,) * 2 + (torch.float32,)
    x64 = x.double()
    expected = (x64.clamp_max(0) * upstream.double()).sum((0, 2, 3))
    assert (for_slopes - expected).norm() < 0.01 * expected.norm()


def test_a_gradient_that_is_not_finite_does_not_become_finite() -> None:
    upstream = draw(1, 2, 2, 2)
    upstream[0, 0, 0, 0] = torch.inf
    for sign in (1, -1):
        _, for_x, _ = learn(with_slopes(2), torch.full((1, 2, 2, 2), 1.0 * sign), upstream)
        assert not for_x[0, 0, 0, 0].isfinite()
        assert for_x[0, 1].isfinite().all()


def test_frozen_slopes_let_the_gradient_through() -> None:
    layer = PReLU(3).requires_grad_(requires_grad=False)
    x = torch.full((1, 3, 2, 2), -1.0, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert (x.grad == 0.25).all()
    assert layer.weight.grad is None


def test_vectors_go_the_way_of_torch() -> None:
    layer, x = with_slopes(4), draw(3, 4)
    _, for_x, for_slopes = learn(layer, x, torch.ones(3, 4))
    expected_x, expected_slopes = naive_gradients(x, layer.weight.detach(), torch.ones(3, 4))
    torch.testing.assert_close(for_x.double(), expected_x, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(for_slopes.double(), expected_slopes, rtol=1e-5, atol=1e-6)


def test_the_gradient_can_be_taken_once() -> None:
    x = draw(1, 2, 2, 2).requires_grad_()
    (for_x,) = torch.autograd.grad(PReLU(2)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        for_x.sum().backward()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's own exporter, 2.13
def test_a_layer_that_learns_is_exported_as_one_operator() -> None:
    layer = with_slopes(3)
    program = torch.onnx.export(layer.eval(), (draw(2, 3, 4, 4),), dynamo=True, verbose=False)
    assert program is not None
    assert [node.op_type for node in program.model_proto.graph.node] == ["PRelu"]
