from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from arcwise.errors import LearningError
from arcwise.nn import build_backbone
from arcwise.train.checkpoint import load_checkpoint
from arcwise.train.config import TrainConfig
from arcwise.train.loop import train
from arcwise.train.run import WHITENED
from arcwise.train.whiten import fold_map, whitening_map

pytestmark = pytest.mark.slow

Configure = Callable[..., TrainConfig]


def draw_vectors(n: int = 4000) -> np.ndarray:
    """Vectors with axes of very different size, none of them along a coordinate."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return (rng.normal(size=(n, 6)) * [3, 2, 1, 0.7, 0.5, 0.4]) @ turn.T


def spread(vectors: np.ndarray) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit.T @ unit / len(unit))
    return float(values[-1] / values[0])


def test_power_0_changes_nothing() -> None:
    assert np.allclose(whitening_map(draw_vectors(), 0.0), np.eye(6))


def test_a_greater_power_makes_the_axes_more_equal() -> None:
    vectors = draw_vectors()
    spreads = [spread(vectors @ whitening_map(vectors, power).T) for power in (0, 0.25, 0.5)]
    assert spreads[0] > 2 * spreads[1] > 2 * spreads[2]
    assert spreads[2] < 2.5  # not 1: the vectors are brought to length 1 again


def test_the_map_is_symmetric_and_blind_to_length() -> None:
    vectors = draw_vectors()
    matrix = whitening_map(vectors, 0.25)
    assert np.allclose(matrix, matrix.T)
    lengths = np.random.default_rng(1).uniform(0.1, 9, (len(vectors), 1))
    assert np.allclose(whitening_map(vectors * lengths, 0.25), matrix)


def test_axes_without_anything_are_not_blown_up() -> None:
    vectors = draw_vectors()
    vectors[:, 0] = 1e-9
    assert np.abs(whitening_map(vectors, 0.5)).max() <= 10 + 1e-6  # 0.01 to the power -0.5


@pytest.mark.parametrize("vectors", [np.ones((3, 6)), np.zeros((9, 6)), np.full((9, 6), np.nan)])
def test_too_few_vectors_and_such_without_direction_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(LearningError, match="cannot be whitened"):
        whitening_map(vectors, 0.25)


@pytest.mark.parametrize("name", ["compact", "mobilefacenet", "iresnet18"])
def test_a_folded_map_answers_as_the_network_and_then_the_map(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(name, dimension=6).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_()
    matrix = whitening_map(draw_vectors(), 0.3)
    crops = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        wanted = network(crops) @ torch.from_numpy(matrix).float().T
        found = fold_map(network, matrix)(crops)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_network_that_ends_otherwise_is_refused() -> None:
    with pytest.raises(LearningError, match="does not end in"):
        fold_map(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), np.eye(4))


def test_a_run_keeps_the_whitened_network_beside_the_best(configure: Configure) -> None:
    config = configure("whiten=0.25", "average=0.5")
    lines: list[str] = []
    train(config, report=lines.append)
    assert lines[-1].startswith(
        "axes evened out (checkpoints/whitened.safetensors, power 0.25): EER"
    )
    found = load_checkpoint(config.run / WHITENED)
    assert set(found.tensors) == {"network"}
    assert found.validation is not None
    assert found.validation["whiten"] == 0.25


def test_a_run_without_whitening_has_none(configure: Configure) -> None:
    train(configure("whiten=0.25"))
    train(configure())
    assert not (configure().run / WHITENED).exists()
