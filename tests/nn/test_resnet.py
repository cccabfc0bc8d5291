"""ResNet-50 has the published weights by number, name and shape, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn import build_backbone
from arcwise.nn.resnet import ResNet50

pytestmark = pytest.mark.slow

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
N_BLOCKS = (3, 4, 6, 3)


def published_names() -> Iterator[str]:
    """Of torchvision's resnet50, without fc."""

    def pair(convolution: str, norm: str) -> Iterator[str]:
        yield f"{convolution}.weight"
        yield from (f"{norm}.{part}" for part in NORM)

    yield from pair("conv1", "bn1")
    for stage, n in enumerate(N_BLOCKS, start=1):
        for block in (f"layer{stage}.{i}" for i in range(n)):
            for i in (1, 2, 3):
                yield from pair(f"{block}.conv{i}", f"{block}.bn{i}")
            if block.endswith(".0"):
                yield from pair(f"{block}.downsample.0", f"{block}.downsample.1")


def naive_forward(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """The 2,048 means from the weights `w` alone, by their published names."""

    def unit(x: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        kernel = w[f"{convolution}.weight"]
        x = torch.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        gamma, beta, mean, var = (w[f"{norm}.{part}"][:, None, None] for part in NORM[:4])
        return (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta

    x = unit(x, "conv1", "bn1", 2).clamp(min=0)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-torch.inf)
    x = padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    for stage, n in enumerate(N_BLOCKS, start=1):
        for i in range(n):
            name = f"layer{stage}.{i}"
            stride = 2 if i == 0 and stage > 1 else 1
            shortcut = x
            if i == 0:
                shortcut = unit(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            inside = unit(x, f"{name}.conv1", f"{name}.bn1").clamp(min=0)
            inside = unit(inside, f"{name}.conv2", f"{name}.bn2", stride).clamp(min=0)
            x = (unit(inside, f"{name}.conv3", f"{name}.bn3") + shortcut).clamp(min=0)
    return x.mean((2, 3))


@pytest.fixture(scope="module")
def network() -> ResNet50:
    """Without neck, with statistics like those of a trained network, in eval mode."""
    torch.manual_seed(5)
    network = ResNet50(dimension=None)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.3, 1)
            nn.init.normal_(part.bias, 0, 0.3)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def test_without_neck_it_has_the_published_weights() -> None:
    with torch.device("meta"):
        network = build_backbone("resnet50_gap", dimension=2048)
        classifier = nn.Linear(2048, 3997, bias=False)
    n = sum(weight.numel() for weight in network.parameters())
    assert n == 23_508_032  # torchvision's resnet50 without fc
    assert n + classifier.weight.numel() == 31_693_888  # mmpretrain, In-shop, 3,997 classes


def test_the_weights_have_the_published_names_and_the_neck_comes_last() -> None:
    with torch.device("meta"):
        bare, whole = ResNet50(dimension=None), ResNet50()
    assert list(bare.state_dict()) == list(published_names())
    neck = ["fc.weight", "fc.bias", *(f"features.{part}" for part in NORM)]
    assert list(whole.state_dict()) == [*published_names(), *neck]


def test_the_weights_have_the_published_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(w.shape) for name, w in ResNet50().state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.conv1.weight"] == (64, 64, 1, 1)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer4.0.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["fc.weight"] == (512, 2048)


def test_the_weights_begin_as_wide_as_their_fan_out_asks() -> None:
    torch.manual_seed(0)
    network = ResNet50(dimension=None)
    for name, n_fan_out in [("conv1", 64 * 49), ("layer4.2.conv3", 2048)]:
        std = network.get_parameter(f"{name}.weight").std().item()
        assert std == pytest.approx((2 / n_fan_out) ** 0.5, rel=0.05)


def test_the_scale_of_the_embedding_is_fixed_and_nothing_else() -> None:
    with torch.device("meta"):
        network = ResNet50()
    fixed = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    assert fixed == ["features.weight"]


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 33)])
def test_it_answers_as_the_plain_forward_from_the_published_names(
    network: ResNet50, size: tuple[int, int]
) -> None:
    photos = torch.rand(1, 3, *size) * 2 - 1
    expected = naive_forward(photos, network.state_dict())
    assert expected.shape == (1, 2048)
    assert (network(photos) - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_a_photo_without_a_place_for_its_mean_is_refused(
    network: ResNet50, size: tuple[int, int]
) -> None:
    with pytest.raises(LearningError, match=str(size[0])) as caught:
        network(torch.zeros(1, 3, *size))
    assert "32 px and more" in caught.value.hint
