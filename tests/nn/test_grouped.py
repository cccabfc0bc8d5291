"""A grouped convolution that learns in another way answers and learns as torch's own does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arcwise.nn.fuse import fuse_batch_norm
from arcwise.nn.grouped import GroupedConv2d

ORDERS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}

# in, out, kernel, groups, others: what the networks have, and what lies around it
COVERING: dict[str, tuple[int, int, int, int, dict[str, Any]]] = {
    "depth-wise": (6, 6, 7, 6, {}),
    "two of each": (6, 12, 7, 6, {}),
    "groups of two": (6, 9, 7, 3, {}),
    "one group": (6, 4, 7, 1, {}),
    "stride": (6, 6, 7, 6, {"stride": 7}),
}
OTHERS: dict[str, tuple[int, int, int, int, dict[str, Any]]] = {
    "bias": (6, 6, 7, 6, {"bias": True}),
    "padding": (6, 6, 7, 6, {"padding": 1}),
    "dilation": (6, 6, 3, 6, {"dilation": 3}),
    "smaller": (6, 6, 3, 6, {"stride": 2, "padding": 1}),
    "same": (6, 6, 3, 6, {"padding": "same"}),
}
EVERY = COVERING | OTHERS


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(kind: type[nn.Conv2d], case: str) -> nn.Conv2d:
    """Both kinds draw the same weights."""
    n_in, n_out, side, groups, others = EVERY[case]
    torch.manual_seed(3)
    return kind(n_in, n_out, side, groups=groups, **({"bias": False} | others))


def naive(maps: Tensor, weight: Tensor, groups: int) -> Tensor:
    """(B, O) in float64, output by output: each sees the channels of its group."""
    n_inside, n_each = weight.shape[1], len(weight) // groups
    outputs = torch.zeros(len(maps), len(weight), dtype=torch.float64)
    for o in range(len(weight)):
        first = o // n_each * n_inside
        seen = maps[:, first : first + n_inside].double()
        outputs[:, o] = (seen * weight[o].double()).sum((1, 2, 3))
    return outputs


def learn(layer: nn.Conv2d, maps: Tensor) -> list[Tensor]:
    """What it gives, and the gradients of input and weights."""
    maps = maps.detach().clone().requires_grad_()
    outputs = layer(maps)
    parts = torch.autograd.grad(outputs, (maps, *layer.parameters()), torch.sin(outputs.detach()))
    return [outputs, *parts]


@pytest.mark.parametrize("case", COVERING)
def test_a_kernel_over_the_whole_map_weighs_each_place(case: str) -> None:
    layer, maps = build(GroupedConv2d, case), draw(4, 6, 7, 7)
    expected = naive(maps, layer.weight.detach(), layer.groups)
    found = layer(maps)
    assert found.shape == (4, layer.out_channels, 1, 1)
    torch.testing.assert_close(found.flatten(1).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", EVERY)
def test_it_learns_as_the_convolution_of_torch_does(case: str, order: str) -> None:
    maps = draw(4, 6, 7, 7).contiguous(memory_format=ORDERS[order])
    found, expected = (learn(build(kind, case), maps) for kind in (GroupedConv2d, nn.Conv2d))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["two of each", "groups of two"])
def test_gradcheck_agrees(case: str) -> None:
    layer = build(GroupedConv2d, case).double()
    maps = draw(2, 6, 7, 7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda maps, _: layer(maps), (maps, layer.weight))


@pytest.mark.parametrize("case", EVERY)
def test_without_a_gradient_every_bit_is_that_of_torch(case: str) -> None:
    ours, theirs = build(GroupedConv2d, case), build(nn.Conv2d, case)
    maps = draw(2, 6, 7, 7)
    with torch.no_grad():
        assert torch.equal(ours(maps), theirs(maps))
    ours.requires_grad_(requires_grad=False)
    assert torch.equal(ours(maps), theirs(maps))


@pytest.mark.parametrize("case", EVERY)
def test_names_and_shapes_of_the_weights_are_those_of_torch(case: str) -> None:
    ours, theirs = (build(kind, case).state_dict() for kind in (GroupedConv2d, nn.Conv2d))
    assert [*ours] == [*theirs]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", EVERY)
def test_under_autocast_it_gives_the_same_type_and_no_worse_gradient(case: str, order: str) -> None:
    maps = draw(4, 6, 7, 7).contiguous(memory_format=ORDERS[order])
    exact = learn(build(nn.Conv2d, case), maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = learn(build(GroupedConv2d, case), maps)
        theirs = learn(build(nn.Conv2d, case), maps)
    assert [part.dtype for part in found] == [part.dtype for part in theirs]
    for ours, wanted in zip(found, exact, strict=True):
        assert (ours - wanted).norm() < 0.02 * wanted.norm()


def test_under_autocast_all_but_a_covering_kernel_is_computed_in_float32() -> None:
    """Weights that bfloat16 cannot hold still count."""
    layer = build(GroupedConv2d, "smaller")
    layer.weight.data.fill_(1 + 2**-12)
    maps = torch.ones(1, 6, 7, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(maps)
    assert outputs.dtype == torch.bfloat16
    (for_maps,) = torch.autograd.grad(outputs.float().sum(), maps)
    assert for_maps.max() > 4  # four windows over one place
    assert for_maps.dtype == torch.float32


def test_a_batchnorm_behind_it_is_folded_into_it() -> None:
    norm = nn.BatchNorm2d(6)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    network = nn.Sequential(GroupedConv2d(3, 6, 28, groups=3, bias=False), norm).eval()
    fused = fuse_batch_norm(network, crop_shape=(3, 28, 28))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fused.modules())
    crops = draw(2, 3, 28, 28)
    torch.testing.assert_close(fused(crops), network(crops), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's own exporter, 2.13
def test_a_layer_that_learns_is_exported_as_one_convolution() -> None:
    layer = build(GroupedConv2d, "two of each")
    program = torch.onnx.export(layer.eval(), (draw(2, 6, 7, 7),), dynamo=True, verbose=False)
    assert program is not None
    assert [node.op_type for node in program.model_proto.graph.node] == ["Conv"]
