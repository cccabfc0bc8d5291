"""ResNetFace has the tutorial's weights by number, name and shape, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.resnet_face import BLOCKS, ResNetFace

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def published_names(n_blocks: tuple[int, ...], *, se: bool) -> Iterator[str]:
    def norm(name: str) -> Iterator[str]:
        yield from (f"{name}.{part}" for part in NORM)

    yield "conv1.weight"
    yield from norm("bn1")
    yield "prelu.weight"
    for stage, n in enumerate(n_blocks, start=1):
        for block in (f"layer{stage}.{i}" for i in range(n)):
            yield from norm(f"{block}.bn0")
            yield f"{block}.conv1.weight"
            yield from norm(f"{block}.bn1")
            yield f"{block}.prelu.weight"
            yield f"{block}.conv2.weight"
            yield from norm(f"{block}.bn2")
            if se:
                yield from (f"{block}.se.fc.0.weight", f"{block}.se.fc.0.bias")
                yield f"{block}.se.fc.1.weight"
                yield from (f"{block}.se.fc.2.weight", f"{block}.se.fc.2.bias")
            if stage > 1 and block.endswith(".0"):
                yield f"{block}.downsample.0.weight"
                yield from norm(f"{block}.downsample.1")
    yield from norm("bn4")
    yield from ("fc5.weight", "fc5.bias")
    yield from norm("bn5")


def naive_forward(x: Tensor, w: dict[str, Tensor], n_blocks: tuple[int, ...]) -> Tensor:
    """The forward pass from the weights `w` alone, by their published names."""

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, var = (
            w[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2)) for part in NORM[:4]
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta

    def bend(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * w[f"{name}.weight"])  # one slope for all channels

    def weigh(x: Tensor, name: str) -> Tensor:
        if f"{name}.0.weight" not in w:
            return x
        inside = x.mean((2, 3)) @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]
        said = bend(inside, f"{name}.1") @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]
        return x / (1 + torch.exp(-said[:, :, None, None]))

    x = bend(norm(torch.conv2d(x, w["conv1.weight"], padding=1), "bn1"), "prelu")
    x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    for stage, n in enumerate(n_blocks, start=1):
        for i in range(n):
            name, stride, shortcut = f"layer{stage}.{i}", 1, x
            if i == 0 and stage > 1:
                stride = 2
                shortcut = torch.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2)
                shortcut = norm(shortcut, f"{name}.downsample.1")
            inside = torch.conv2d(norm(x, f"{name}.bn0"), w[f"{name}.conv1.weight"], padding=1)
            inside = bend(norm(inside, f"{name}.bn1"), f"{name}.prelu")
            inside = torch.conv2d(inside, w[f"{name}.conv2.weight"], padding=1, stride=stride)
            inside = weigh(norm(inside, f"{name}.bn2"), f"{name}.se.fc")
            x = bend(inside + shortcut, f"{name}.prelu")
    flat = norm(x, "bn4").flatten(1)
    return norm(flat @ w["fc5.weight"].T + w["fc5.bias"], "bn5")


@cache
def small(*, se: bool) -> ResNetFace:
    """Depth 18 with weights and statistics like those of a trained network, in eval mode."""
    torch.manual_seed(5)
    network = ResNetFace(18, dimension=8, se=se)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.2, 0.5)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.weight, 0.3, 1)
            nn.init.normal_(part.bias, 0, 0.3)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def test_depth_18_has_as_many_weights_as_the_published_one() -> None:
    with torch.device("meta"):
        network = ResNetFace(18)
    n = sum(weight.numel() for weight in network.parameters())
    assert n == 25_627_081  # arcface-pytorch, resnet_face18(use_se=False)
    assert f"{n * 4 / (1 << 20):.2f}" == "97.76"  # MiB, as its file


@pytest.mark.parametrize("se", [False, True])
@pytest.mark.parametrize("depth", BLOCKS)
def test_the_weights_have_the_published_names(depth: int, se: bool) -> None:
    with torch.device("meta"):
        network = ResNetFace(depth, se=se)
    assert list(network.state_dict()) == list(published_names(BLOCKS[depth], se=se))


def test_the_weights_have_the_published_shapes() -> None:
    with torch.device("meta"):
        network = ResNetFace(18, se=True)
    shapes = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 1, 3, 3)
    assert shapes["prelu.weight"] == (1,)
    assert shapes["layer4.0.bn0.weight"] == (256,)
    assert shapes["layer4.0.conv1.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.0.conv2.weight"] == (512, 256, 3, 3)
    assert shapes["layer4.0.se.fc.0.weight"] == (32, 512)
    assert shapes["fc5.weight"] == (512, 512 * 8 * 8)


def test_an_unknown_depth_says_which_there_are() -> None:
    with pytest.raises(LearningError, match="depth 101") as caught:
        ResNetFace(101)
    assert "18, 34, 50" in caught.value.hint


def test_the_weights_begin_as_the_tutorial_has_them() -> None:
    torch.manual_seed(0)
    network = ResNetFace(18, dimension=64, se=True)
    for name, n_in_and_out in [("layer1.0.conv1", 2 * 64 * 9), ("fc5", 512 * 64 + 64)]:
        std = network.get_parameter(f"{name}.weight").std().item()
        assert std == pytest.approx((2 / n_in_and_out) ** 0.5, rel=0.05)
    biases = [part.bias for part in network.modules() if isinstance(part, nn.Linear)]
    assert all((bias == 0).all() for bias in biases)
    assert (network.prelu.weight == 0.25).all()


@torch.no_grad()
@pytest.mark.parametrize("se", [False, True])
def test_it_answers_as_the_plain_forward_from_the_published_names(se: bool) -> None:
    crops = torch.rand(1, 1, 128, 128) * 2 - 1
    expected = naive_forward(crops, small(se=se).state_dict(), BLOCKS[18])
    assert (small(se=se)(crops) - expected).norm() < 1e-4 * expected.norm()


@torch.no_grad()
def test_the_slope_of_a_block_bends_its_sum_too() -> None:
    block = small(se=False).layer1[0]
    given = block(torch.randn(1, 64, 8, 8))
    block.prelu.weight.zero_()
    assert (given < 0).any()
    assert not (block(torch.randn(1, 64, 8, 8)) < 0).any()
