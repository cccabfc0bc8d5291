"""A fused network answers as before, and only what can be folded exactly is folded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from arcwise.nn import build_backbone
from arcwise.nn.fuse import fuse_batch_norm

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def empty(name: str) -> nn.Module:
    """A backbone with zeros for weights: quicker made than with random ones."""
    with torch.device("meta"):
        network = build_backbone(name)
    network = network.to_empty(device="cpu")
    for values in (*network.parameters(), *network.buffers()):
        values.detach().zero_()
    return network


def like_trained(network: nn.Module) -> nn.Module:
    """Random weights and statistics, drawn so that the numbers stay near 1 through all layers."""
    torch.manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, Norm):
            if part.affine:
                nn.init.uniform_(part.weight, 0.3, 1)
                nn.init.normal_(part.bias, 0, 0.3)
            if part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_(0, 0.5)
                part.running_var.uniform_(0.5, 3)
    return network.eval()


def norms_of(network: nn.Module) -> list[str]:
    return [name for name, part in network.named_modules() if isinstance(part, Norm)]


@torch.no_grad()
def assert_same_answers(network: nn.Module, fused: nn.Module) -> None:
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    before, after = network(crops), fused(crops)
    assert before.isfinite().all()
    assert (after - before).norm() < 1e-4 * before.norm()


def patches(width: int = 8, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(3, width, 16, stride=16, bias=bias)


class Shortcut(nn.Module):
    """The convolution's output is normalized, and added again as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = patches(), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


class Inplace(nn.Module):
    """The convolution's output is changed before it is normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = patches(), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu_())


class Shared(nn.Module):
    """Two convolutions with one BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.norm = patches(), patches(), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.left(x)) - self.norm(self.right(x))


class Alias(nn.Module):
    """The BatchNorm has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.layers = nn.Sequential(patches(), self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layers[0](x))


class Both(nn.Module):
    """The convolution's output is an answer of the network too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = patches(), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        return self.norm(x), x


# The backbones


@pytest.mark.parametrize(
    ("name", "n_left"), [("iresnet18", 9), ("mobilefacenet", 0), ("compact", 0)]
)
def test_a_fused_backbone_gives_the_same_embeddings(name: str, n_left: int) -> None:
    network = like_trained(build_backbone(name, dimension=16))
    fused = fuse_batch_norm(network)
    assert len(norms_of(fused)) == n_left
    assert_same_answers(network, fused)


def test_iresnet50_keeps_one_batchnorm_before_each_block_and_one_after_the_last() -> None:
    """24 blocks and bn2, each before zero padding or a flattening: 25 of 79.

    Published fused weights keep 26, as their BatchNorm after the linear layer is not folded;
    here that layer takes over its 512 gains and 512 biases.
    """
    fused = fuse_batch_norm(empty("iresnet50"))
    blocks = [(1, 3), (2, 4), (3, 14), (4, 3)]
    assert norms_of(fused) == [
        *(f"layer{stage}.{i}.bn1" for stage, n in blocks for i in range(n)),
        "bn2",
    ]
    assert sum(weight.numel() for weight in fused.parameters()) == 43_578_176 - 2 * 512
    names = fused.state_dict().keys()
    assert {"conv1.weight", "conv1.bias", "layer1.0.downsample.0.bias", "fc.bias"} <= names
    assert not any(name.startswith(("bn1.", "features.")) for name in names)


# What is folded


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(patches(), nn.BatchNorm2d(8)),
        nn.Sequential(patches(bias=True), nn.BatchNorm2d(8)),
        nn.Sequential(patches(), nn.BatchNorm2d(8, affine=False)),
        nn.Sequential(patches(), nn.BatchNorm2d(8, eps=0.5)),
        nn.Sequential(patches(), nn.Dropout(), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(3, 12, 5, stride=3, padding=2, groups=3), nn.BatchNorm2d(12)),
        nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8)),
        nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(48, 8, False), nn.BatchNorm1d(8)),
    ],
    ids=["plain", "bias", "not affine", "eps", "dropout", "groups", "linear", "linear no bias"],
)
def test_a_batchnorm_that_alone_reads_a_layer_is_folded(network: nn.Module) -> None:
    network = like_trained(network)
    fused = fuse_batch_norm(network)
    assert norms_of(fused) == []
    assert_same_answers(network, fused)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, padding=1)),
        nn.Sequential(patches(), nn.ReLU(), nn.BatchNorm2d(8)),
        nn.Sequential(patches(), nn.BatchNorm2d(8, track_running_stats=False)),
        nn.Sequential(nn.Linear(112, 3), nn.Flatten(0, 1), nn.BatchNorm1d(112)),
        nn.Sequential(nn.Flatten(1, 2), nn.Linear(112, 3), nn.BatchNorm1d(336)),
        Shortcut(),
        Inplace(),
        Shared(),
        Alias(),
    ],
    ids=lambda network: type(network).__name__,
)
def test_a_batchnorm_that_cannot_be_folded_exactly_stays(network: nn.Module) -> None:
    network = like_trained(network)
    fused = fuse_batch_norm(network)
    assert norms_of(fused) == norms_of(network)
    assert_same_answers(network, fused)


def test_a_layer_whose_output_is_an_answer_too_stays_as_it_is() -> None:
    assert norms_of(fuse_batch_norm(Both())) == ["norm"]


# What is given back


def test_the_network_itself_is_not_changed() -> None:
    network = nn.Sequential(patches(), nn.BatchNorm2d(8))
    before = copy.deepcopy(network.state_dict())
    fuse_batch_norm(network)
    assert network.training
    assert all(weight.requires_grad for weight in network.parameters())
    torch.testing.assert_close(dict(network.state_dict()), dict(before), rtol=0, atol=0)
    assert not network[0]._forward_hooks


def test_the_fused_network_is_for_inference() -> None:
    fused = fuse_batch_norm(nn.Sequential(patches(), nn.BatchNorm2d(8), nn.Dropout()))
    assert not any(part.training for part in fused.modules())
    assert not any(weight.requires_grad for weight in fused.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in fused.modules())


def test_the_folding_itself_is_exact_in_float64() -> None:
    """Rounding of the folded weights is all that is lost: float64 weights lose nothing."""
    network = like_trained(nn.Sequential(patches(), nn.BatchNorm2d(8)))
    fused = fuse_batch_norm(network)
    conv, norm = network[0], network[1]  # type: ignore[index]
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    expected = (conv.weight.double() * gain.reshape(-1, 1, 1, 1)).float()
    torch.testing.assert_close(fused[0].weight, expected, rtol=1e-7, atol=0)  # type: ignore[index]
