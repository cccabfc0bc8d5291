"""What a network costs is what was published for it, and what a plain count of shapes gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn import BACKBONES, build_backbone
from arcwise.nn.count import Cost, count_cost, time_network
from arcwise.nn.vit import VisionTransformer

SLOW = pytest.mark.slow


def count_named(name: str, size_px: int | None = None, **options: Any) -> Cost:
    row = BACKBONES[name]
    with torch.device("meta"):
        network = build_backbone(name, dimension=row.dimension or 512, options=options)
    return count_cost(network, row.crop_shape(size_px))


@pytest.mark.parametrize(
    ("name", "options", "n_weights", "giga"),
    [  # InsightFace's arcface_torch, its README and its own count of the networks it builds
        ("iresnet18", {}, 24_025_600, 2.61),
        pytest.param("iresnet34", {}, 34_139_328, 4.46, marks=SLOW),
        pytest.param("iresnet50", {}, 43_590_848, 6.31, marks=SLOW),
        pytest.param("iresnet100", {}, 65_156_160, 12.09, marks=SLOW),
        pytest.param("iresnet200", {}, 118_833_920, 23.4, marks=SLOW),
        pytest.param("iresnet50", {"se": True}, 43_813_568, 6.31, marks=SLOW),
        pytest.param("iresnet100", {"se": True}, 65_528_384, 12.09, marks=SLOW),
        ("mobilefacenet", {}, 2_059_520, 0.4375),
        pytest.param("mobilefacenet_large", {}, 6_314_880, 1.82, marks=SLOW),
        pytest.param("mobilefacenet", {"scale": 1}, 1_200_512, 0.221, marks=SLOW),
        ("vit_t", {}, 19_137_792, 1.50),
        pytest.param("vit_s", {}, 76_023_296, 5.75, marks=SLOW),
        pytest.param("vit_b", {}, 113_833_472, 11.44, marks=SLOW),
        pytest.param("vit_l", {}, 255_684_352, 25.34, marks=SLOW),
    ],
)
def test_a_network_costs_what_was_published(
    name: str, options: dict[str, Any], n_weights: int, giga: float
) -> None:
    cost = count_named(name, **options)
    assert cost.n_weights == n_weights
    assert cost.n_multiply_adds / 1e9 == pytest.approx(giga, rel=5e-3)


def test_the_published_flops_of_image_retrieval_count_normalized_and_averaged_values_too() -> None:
    """mmpretrain's In-shop ResNet-50: five for each value of a BatchNorm, one for each averaged."""
    normalized: list[int] = []
    with torch.device("meta"):
        network = build_backbone("resnet50_gap", dimension=2048)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(lambda norm, x, y: normalized.append(y.numel()))
    cost = count_cost(network, (3, 448, 448))
    n_averaged = 2048 * 14 * 14
    found = cost.n_multiply_adds + 5 * sum(normalized) + n_averaged
    assert found == 16_571_226_112  # mmpretrain, resnet50-arcface_inshop, metafile


def test_it_is_what_the_shapes_say() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2, groups=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, groups=4),
        nn.Flatten(),
        nn.Linear(16 * 14 * 14, 7),
    )
    cost = count_cost(network, (3, 32, 32))
    by_hand = 16 * 16 * 8 * 3 * 25 + 14 * 14 * 16 * 2 * 9 + 16 * 14 * 14 * 7
    assert cost.n_multiply_adds == by_hand
    assert cost.n_weights == 600 + 8 + 16 + 288 + 16 + 16 * 14 * 14 * 7 + 7


def test_attention_is_counted_and_masking_is_not() -> None:
    n, width, depth = 144, 16, 2
    cost = count_cost(VisionTransformer(width, depth, dimension=4, mask=0.5), (3, 112, 112))
    block = 12 * n * width * width + 2 * n * n * width
    by_hand = n * 243 * width + depth * block + n * width * width + width * 4
    assert cost.n_multiply_adds == by_hand


def test_the_size_of_the_photo_counts() -> None:
    small, large = count_named("resnet50_gap", 64), count_named("resnet50_gap", 128)
    assert large.n_multiply_adds == 4 * small.n_multiply_adds
    assert large.n_weights == small.n_weights


def test_counting_changes_no_weight_and_takes_no_memory_for_them() -> None:
    network = build_backbone("compact", dimension=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.device("meta"):
        shadow = build_backbone("compact", dimension=8)
    assert count_cost(network, (3, 112, 112)) == count_cost(shadow, (3, 112, 112))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.is_meta for weight in shadow.parameters())


def test_crops_that_the_network_does_not_take_are_refused() -> None:
    with pytest.raises(LearningError, match="a batch of shape"):
        count_cost(build_backbone("compact", dimension=8), (1, 112, 112))


def test_the_time_of_one_crop_is_measured() -> None:
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.shapes: list[tuple[int, ...]] = []

        def forward(self, x: Tensor) -> Tensor:
            self.shapes.append(tuple(x.shape))
            torch.linalg.svd(torch.rand(200, 200))
            return x.flatten(1)[:, :4]

    network = Slow()
    spent_ms = time_network(network, (1, 8, 8))
    assert 0.1 < spent_ms < 2000
    assert math.isfinite(spent_ms)
    assert set(network.shapes) == {(1, 1, 8, 8)}
    assert len(network.shapes) > 3
    assert not network.training
