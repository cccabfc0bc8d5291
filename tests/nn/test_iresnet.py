"""IResNet has the published weights by number, name and shape, and the published arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arcwise.errors import LearningError
from arcwise.nn.iresnet import BLOCKS, OUTPUTS, IResNet

Weights = dict[str, Tensor]
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def build_without_memory(depth: int) -> IResNet:
    with torch.device("meta"):
        return IResNet(depth)


def multiplications(network: nn.Module) -> float:
    """Of the convolutions and linear layers for one crop, by the shapes of what they give."""
    totals: list[float] = []

    def note(layer: nn.Module, inputs: object, output: Tensor) -> None:
        totals.append(layer.get_parameter("weight")[0].numel() * output.numel())

    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(note)
    network.eval()(torch.empty(1, 3, 112, 112))
    return sum(totals)


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(part, kind) for part in network.modules())


def published_names(n_blocks: tuple[int, ...]) -> Iterator[str]:
    def norm(name: str) -> Iterator[str]:
        yield from (f"{name}.{part}" for part in NORM)

    yield "conv1.weight"
    yield from norm("bn1")
    yield "prelu.weight"
    for stage, n in enumerate(n_blocks, start=1):
        for block in (f"layer{stage}.{i}" for i in range(n)):
            yield from norm(f"{block}.bn1")
            yield f"{block}.conv1.weight"
            yield from norm(f"{block}.bn2")
            yield f"{block}.prelu.weight"
            yield f"{block}.conv2.weight"
            yield from norm(f"{block}.bn3")
            if block.endswith(".0"):
                yield f"{block}.downsample.0.weight"
                yield from norm(f"{block}.downsample.1")
    yield from norm("bn2")
    yield from ("fc.weight", "fc.bias")
    yield from norm("features")


def naive_forward(x: Tensor, w: Weights, n_blocks: tuple[int, ...], *, output: str = "e") -> Tensor:
    """The forward pass from the weights `w` alone, by their published names."""

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, var = (
            w[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2)) for part in NORM[:4]
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta

    def bend(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * w[f"{name}.weight"].reshape(1, -1, 1, 1))

    x = bend(norm(torch.conv2d(x, w["conv1.weight"], padding=1), "bn1"), "prelu")
    for stage, n in enumerate(n_blocks, start=1):
        for i in range(n):
            name, stride, shortcut = f"layer{stage}.{i}", 1, x
            if i == 0:
                stride = 2
                shortcut = torch.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2)
                shortcut = norm(shortcut, f"{name}.downsample.1")
            inside = torch.conv2d(norm(x, f"{name}.bn1"), w[f"{name}.conv1.weight"], padding=1)
            inside = bend(norm(inside, f"{name}.bn2"), f"{name}.prelu")
            inside = torch.conv2d(inside, w[f"{name}.conv2.weight"], padding=1, stride=stride)
            inside = norm(inside, f"{name}.bn3")
            if f"{name}.se.fc1.weight" in w:
                squeezed = inside.mean((2, 3)) @ w[f"{name}.se.fc1.weight"].flatten(1).T
                said = squeezed.clamp(min=0) @ w[f"{name}.se.fc2.weight"].flatten(1).T
                inside = inside / (1 + torch.exp(-said[:, :, None, None]))
            x = inside + shortcut
    if output == "gdc":  # one weight for each place of a channel
        flat = norm((x * w["pool.0.weight"][:, 0]).sum((2, 3)), "pool.1")
        return norm(flat @ w["fc.weight"].T + w["fc.bias"], "features")
    x = norm(x, "bn2")
    if output == "gap":
        flat = bend(x, "pool.0").mean((2, 3))
        return norm(flat @ w["fc.weight"].T + w["fc.bias"], "features")
    fc = w["fc.weight"].reshape(-1, 512, 7, 7)  # column c * 49 + h * 7 + w
    return norm(torch.einsum("bchw,dchw->bd", x, fc) + w["fc.bias"], "features")


def like_trained(**options: Any) -> IResNet:
    """IResNet-18 with weights and statistics like those of a trained network, in eval mode."""
    torch.manual_seed(5)
    network = IResNet(18, dimension=8, **options)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.2, 0.5)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def small() -> IResNet:
    return like_trained()


# The published weights


@pytest.mark.parametrize(
    ("depth", "n_weights", "n_tensors", "n_convolutions", "n_prelus"),
    [  # counted on the published networks; reference: InsightFace's layout
        (18, 24_025_600, 187, 21, 9),
        (34, 34_139_328, 331, 37, 17),
        (50, 43_590_848, 475, 53, 25),
        (100, 65_156_160, 925, 103, 50),
        (200, 118_833_920, 1807, 201, 99),
    ],
)
def test_every_depth_has_as_many_weights_as_the_published_one(
    depth: int, n_weights: int, n_tensors: int, n_convolutions: int, n_prelus: int
) -> None:
    network = build_without_memory(depth)
    assert sum(weight.numel() for weight in network.parameters()) == n_weights
    assert len(network.state_dict()) == n_tensors
    assert count(network, nn.Conv2d) == n_convolutions
    assert count(network, nn.PReLU) == n_prelus


@pytest.mark.parametrize(("depth", "n_weights"), [(50, 43_813_568), (100, 65_528_384)])
def test_squeeze_and_excitation_has_as_many_weights_as_the_published_one(
    depth: int, n_weights: int
) -> None:
    """Counted on the published networks; reference: InsightFace's layout."""
    with torch.device("meta"):
        network = IResNet(depth, se=True)
    assert sum(weight.numel() for weight in network.parameters()) == n_weights


@pytest.mark.parametrize(
    ("output", "n_features", "n_pooling"),
    [("e", 512 * 49, 0), ("gap", 512, 512), ("gdc", 512, 512 * 49)],
)
def test_an_output_takes_as_many_features_as_it_leaves(
    output: str, n_features: int, n_pooling: int
) -> None:
    """The BatchNorm of 512 stands before two of them, and after the convolution of "gdc"."""
    with torch.device("meta"):
        plain, network = IResNet(18, dimension=64), IResNet(18, dimension=64, output=output)
    n_plain, n = (sum(w.numel() for w in net.parameters()) for net in (plain, network))
    assert n_plain - n == 64 * (512 * 49 - n_features) - n_pooling
    assert network.fc.in_features == n_features


def test_an_unknown_output_says_which_there_are() -> None:
    with pytest.raises(LearningError, match="no output of IResNet is called 'Z'") as caught:
        IResNet(18, output="Z")
    assert "e, gap, gdc" in caught.value.hint


@pytest.mark.parametrize("depth", [18, 50])
def test_the_weights_have_the_published_names_in_the_published_order(depth: int) -> None:
    assert list(build_without_memory(depth).state_dict()) == list(published_names(BLOCKS[depth]))


def test_the_weights_have_the_published_shapes() -> None:
    shapes = {name: tuple(w.shape) for name, w in build_without_memory(50).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 3, 3)
    assert shapes["prelu.weight"] == (64,)
    assert shapes["layer1.0.downsample.0.weight"] == (64, 64, 1, 1)
    assert shapes["layer4.0.bn1.weight"] == (256,)
    assert shapes["layer4.0.conv1.weight"] == (512, 256, 3, 3)
    assert shapes["layer4.0.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["fc.weight"] == (512, 25_088)
    assert shapes["features.running_var"] == (512,)


@pytest.mark.parametrize(
    ("depth", "n_giga"),
    [
        (18, 2.61),
        (50, 6.31),
        pytest.param(100, 12.09, marks=pytest.mark.slow),
        pytest.param(200, 23.4, marks=pytest.mark.slow),
    ],
)
def test_one_crop_takes_the_published_multiplications(depth: int, n_giga: float) -> None:
    with FakeTensorMode():
        n = multiplications(IResNet(depth))
    assert n / 1e9 == pytest.approx(n_giga, abs=0.02)


def test_the_table_of_depths_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        BLOCKS[50] = (1, 1, 1, 1)  # type: ignore[index]


def test_an_unknown_depth_says_which_there_are() -> None:
    with pytest.raises(LearningError, match="depth 51") as caught:
        IResNet(51)
    assert "18, 34, 50, 100, 200" in caught.value.hint


# The beginning of training


def test_the_scale_of_the_embedding_is_fixed_and_nothing_else() -> None:
    network = build_without_memory(18)
    fixed = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    assert fixed == ["features.weight"]


def test_the_weights_begin_as_published() -> None:
    torch.manual_seed(0)
    network = IResNet(18, dimension=8)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.std().item() == pytest.approx(0.1, rel=0.1)
            assert part.weight.mean().item() == pytest.approx(0, abs=0.01)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            assert (part.weight == 1).all()
            assert (part.bias == 0).all()
            assert (part.eps, part.momentum) == (1e-5, 0.1)
        if isinstance(part, nn.PReLU):
            assert (part.weight == 0.25).all()


def test_the_gradient_reaches_every_weight_that_learns() -> None:
    with FakeTensorMode():
        network = IResNet(18)
        network(torch.empty(2, 3, 112, 112)).sum().backward()
    assert [name for name, w in network.named_parameters() if w.grad is None] == ["features.weight"]


def test_dropout_lies_directly_before_the_linear_layer() -> None:
    kept: list[Tensor] = []
    with FakeTensorMode():
        network = IResNet(18, dropout=0.4)
        network.dropout.register_forward_hook(lambda module, x, y: kept.append(y))
        network.fc.register_forward_pre_hook(lambda module, x: kept.append(x[0]))
        network(torch.empty(2, 3, 112, 112))
    assert kept[0] is kept[1]
    assert kept[0].shape == (2, 25_088)


# Its arithmetic


@torch.no_grad()
def test_it_answers_as_the_plain_forward_from_the_published_names(small: IResNet) -> None:
    crops = torch.rand(1, 3, 112, 112) * 2 - 1
    expected = naive_forward(crops, small.state_dict(), BLOCKS[18])
    assert (small(crops) - expected).norm() < 1e-4 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("output", OUTPUTS)
def test_with_squeeze_and_excitation_and_any_output_it_answers_as_the_plain_forward(
    output: str,
) -> None:
    network = like_trained(se=True, output=output)
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    expected = naive_forward(crops, network.state_dict(), BLOCKS[18], output=output)
    assert (network(crops) - expected).norm() < 1e-4 * expected.norm()


@torch.no_grad()
def test_a_sum_stays_negative_where_it_is(small: IResNet) -> None:
    assert (small.layer1[0](torch.rand(1, 64, 8, 8)) < -0.5).any()
