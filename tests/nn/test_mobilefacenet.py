"""MobileFaceNet has the published weights by number, name and shape, and its arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arcwise.errors import LearningError
from arcwise.nn.mobilefacenet import MobileFaceNet

PUBLISHED = {"scale": 2, "blocks": (1, 4, 6, 2)}
LARGE = {"scale": 4, "blocks": (2, 8, 12, 4)}
ORIGINAL = {"scale": 1, "blocks": (1, 4, 6, 2)}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def build_without_memory(**shape: object) -> MobileFaceNet:
    with torch.device("meta"):
        return MobileFaceNet(**shape)  # type: ignore[arg-type]


def multiplications(network: nn.Module) -> float:
    """Of the convolutions and the linear layer for one crop, by the shapes of what they give."""
    totals: list[float] = []

    def note(layer: nn.Module, inputs: object, output: Tensor) -> None:
        totals.append(layer.get_parameter("weight")[0].numel() * output.numel())

    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(note)
    network.eval()(torch.empty(1, 3, 112, 112))
    return sum(totals)


def naive_forward(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """The forward pass from the weights `w` of blocks (1, n, n, n), by their names."""

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, var = (
            w[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2)) for part in NORM[:4]
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta

    def unit(x: Tensor, name: str, stride: int = 1, padding: int | None = None) -> Tensor:
        kernel = w[f"{name}.layers.0.weight"]
        padding = kernel.shape[-1] // 2 if padding is None else padding
        groups = x.shape[1] // kernel.shape[1]
        x = torch.conv2d(x, kernel, stride=stride, padding=padding, groups=groups)
        x = norm(x, f"{name}.layers.1")
        slope = w.get(f"{name}.layers.2.weight")
        return x if slope is None else torch.where(x > 0, x, x * slope.reshape(1, -1, 1, 1))

    def bottleneck(x: Tensor, name: str, stride: int = 1) -> Tensor:
        wide = unit(x, f"{name}.layers.0")
        return unit(unit(wide, f"{name}.layers.1", stride), f"{name}.layers.2")

    def residuals(x: Tensor, name: str) -> Tensor:
        i = 0
        while f"{name}.layers.{i}.layers.0.layers.0.weight" in w:
            x = x + bottleneck(x, f"{name}.layers.{i}")
            i += 1
        return x

    x = unit(unit(x, "layers.0", 2), "layers.1")
    for down, flat in ((2, 3), (4, 5), (6, 7)):
        x = residuals(bottleneck(x, f"layers.{down}", 2), f"layers.{flat}")
    x = unit(unit(x, "conv_sep"), "features.layers.0", padding=0)
    return norm(x.flatten(1) @ w["features.layers.2.weight"].T, "features.layers.3")


@pytest.fixture
def small() -> MobileFaceNet:
    """The paper's widths, with statistics like those of a trained network, in eval mode."""
    torch.manual_seed(5)
    network = MobileFaceNet(dimension=8, **ORIGINAL)  # type: ignore[arg-type]
    for part in network.modules():
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


# The published weights


@pytest.mark.parametrize(
    ("shape", "n_weights", "n_mega"),
    [  # counted on the published networks
        (PUBLISHED, 2_059_520, 437.5),
        (LARGE, 6_314_880, 1816),
        (ORIGINAL, 1_200_512, 221.2),
    ],
    ids=["mbf", "mbf_large", "paper"],
)
def test_it_has_the_published_weights_and_multiplications(
    shape: dict[str, object], n_weights: int, n_mega: float
) -> None:
    with FakeTensorMode():
        network = MobileFaceNet(**shape)  # type: ignore[arg-type]
        n = multiplications(network)
    assert sum(weight.numel() for weight in network.parameters()) == n_weights
    assert n / 1e6 == pytest.approx(n_mega, rel=5e-4)


def test_the_published_one_is_what_is_built_when_nothing_is_said() -> None:
    default, published = build_without_memory(), build_without_memory(dimension=512, **PUBLISHED)
    assert [(name, w.shape) for name, w in default.state_dict().items()] == [
        (name, w.shape) for name, w in published.state_dict().items()
    ]


def test_the_weights_have_the_published_names() -> None:
    shapes = {name: tuple(w.shape) for name, w in build_without_memory().state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {"layers", "conv_sep", "features"}
    assert {name.split(".")[1] for name in shapes if name.startswith("layers")} == set("01234567")
    assert [name for name in shapes if name.startswith("conv_sep")] == [
        "conv_sep.layers.0.weight",
        *(f"conv_sep.layers.1.{part}" for part in NORM),
        "conv_sep.layers.2.weight",
    ]
    assert [name for name in shapes if name.startswith("features")] == [
        "features.layers.0.layers.0.weight",
        *(f"features.layers.0.layers.1.{part}" for part in NORM),
        "features.layers.2.weight",
        *(f"features.layers.3.{part}" for part in NORM),
    ]


def test_the_weights_have_the_published_shapes() -> None:
    shapes = {name: tuple(w.shape) for name, w in build_without_memory().state_dict().items()}
    assert shapes["layers.0.layers.0.weight"] == (128, 3, 3, 3)
    assert shapes["layers.1.layers.0.weight"] == (128, 2, 3, 3)  # 64 groups
    assert shapes["layers.2.layers.1.layers.0.weight"] == (128, 1, 3, 3)
    assert shapes["layers.3.layers.3.layers.2.layers.0.weight"] == (128, 128, 1, 1)
    assert shapes["layers.4.layers.2.layers.0.weight"] == (256, 256, 1, 1)
    assert shapes["layers.6.layers.0.layers.0.weight"] == (512, 256, 1, 1)
    assert shapes["layers.7.layers.1.layers.1.layers.0.weight"] == (256, 1, 3, 3)
    assert shapes["conv_sep.layers.0.weight"] == (512, 256, 1, 1)
    assert shapes["features.layers.0.layers.0.weight"] == (512, 1, 7, 7)
    assert shapes["features.layers.2.weight"] == (512, 512)


@pytest.mark.parametrize("shape", [{"scale": 0}, {"blocks": (1, 4, 0, 2)}])
def test_a_shape_without_layers_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(LearningError, match=r"scale . and blocks"):
        build_without_memory(**shape)


# The beginning of training


def test_the_weights_begin_as_wide_as_their_fan_out_asks() -> None:
    torch.manual_seed(0)
    network = MobileFaceNet()
    for name, n_fan_out in [("conv_sep.layers.0", 512), ("layers.0.layers.0", 128 * 9)]:
        std = network.get_parameter(f"{name}.weight").std().item()
        assert std == pytest.approx((2 / n_fan_out) ** 0.5, rel=0.05)


def test_the_gradient_reaches_every_weight() -> None:
    with FakeTensorMode():
        network = MobileFaceNet()
        network(torch.empty(2, 3, 112, 112)).sum().backward()
    assert [name for name, w in network.named_parameters() if w.grad is None] == []


def test_dropout_leaves_features_out_before_the_linear_layer_while_training() -> None:
    torch.manual_seed(0)
    network = MobileFaceNet(dimension=8, dropout=0.4, **ORIGINAL)  # type: ignore[arg-type]
    seen: list[Tensor] = []
    linear = network.get_submodule("features.layers.2")
    linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.features(torch.rand(2, 512, 7, 7))
    network.features.eval()(torch.rand(2, 512, 7, 7))
    shares = [(x == 0).float().mean().item() for x in seen]
    assert shares == [pytest.approx(0.4, abs=0.06), 0]


# Its arithmetic


@torch.no_grad()
def test_it_answers_as_the_plain_forward_from_the_published_names(small: MobileFaceNet) -> None:
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    expected = naive_forward(crops, small.state_dict())
    assert (small(crops) - expected).norm() < 1e-4 * expected.norm()
