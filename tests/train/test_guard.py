"""Where a number first went wrong, what is kept of it, and which first losses are no surprise."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arcwise.data.loader import Batch
from arcwise.nn.expect import automatic_scale, expected_first_loss
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train.guard import (
    find_broken_gradient,
    find_broken_layer,
    find_first_doubt,
    save_batch,
)


class Crossed(nn.Module):
    """Layers that run in another order than they are listed in."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(6, 2)
        self.cells = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU())
        self.early = nn.Linear(27, 6)

    def forward(self, crops: Tensor) -> Tensor:
        found: Tensor = self.late(self.early(self.cells(crops).flatten(1)))
        return found


@pytest.fixture
def network() -> Crossed:
    torch.manual_seed(1)
    return Crossed()


CROPS = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(2))


def spoil(layer: nn.Module, value: float = math.inf) -> None:
    with torch.no_grad():
        next(layer.parameters()).view(-1)[0] = value


# The first layer that is not finite


def test_nothing_is_named_where_all_is_finite(network: Crossed) -> None:
    assert find_broken_layer(network, CROPS) is None


@pytest.mark.parametrize("name", ["cells.0", "cells.1", "early", "late"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_the_layer_is_named_that_broke_first(network: Crossed, name: str, value: float) -> None:
    spoil(network.get_submodule(name), value)
    assert find_broken_layer(network, CROPS) == name


def test_of_two_broken_layers_the_one_that_runs_first_is_named(network: Crossed) -> None:
    spoil(network.late)
    spoil(network.early)
    assert find_broken_layer(network, CROPS) == "early"


def test_a_crop_that_is_not_finite_breaks_the_first_layer(network: Crossed) -> None:
    crops = CROPS.clone()
    crops[3, 0, 1, 1] = math.nan
    assert find_broken_layer(network, crops) == "cells.0"


@pytest.mark.parametrize("is_training", [True, False])
def test_looking_changes_no_statistics_and_leaves_nothing_behind(
    network: Crossed, is_training: bool
) -> None:
    network.train(is_training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    crops = CROPS.clone()
    crops[0] = math.inf
    find_broken_layer(network, crops)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training is is_training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(p.grad is None for p in network.parameters())


def test_a_network_that_fails_is_left_as_it_was(network: Crossed) -> None:
    before = {name: value.clone() for name, value in network.named_buffers()}
    with pytest.raises(RuntimeError, match="shapes"):
        find_broken_layer(network, torch.randn(5, 1, 6, 6))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert not any(module._forward_hooks for module in network.modules())


# The first gradient that is not finite


def test_of_broken_gradients_the_last_in_the_list_broke_first(network: Crossed) -> None:
    assert find_broken_gradient(network) is None  # none there
    network(CROPS).sum().backward()
    assert find_broken_gradient(network) is None
    for name in ("late.weight", "cells.1.bias"):
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        gradient.view(-1)[-1] = math.nan
    assert find_broken_gradient(network) == "cells.1.bias"


# The batch that is kept


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Files are readable by all, unless who writes them says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_batch_is_kept_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    crops = torch.randn(6, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    crops[1, 0, 0, 0] = math.nan
    labels, rows = torch.arange(6) * 7, np.arange(6) + 100
    parts = [Batch(crops[i : i + 3], labels[i : i + 3], None, rows[i : i + 3]) for i in (0, 3)]
    save_batch(tmp_path / "batch.npz", parts)
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as kept:
        assert kept.keys() == {"crops", "labels", "rows"}
        np.testing.assert_array_equal(kept["crops"], crops.numpy())
        assert kept["crops"].dtype == np.float32
        assert kept["labels"].tolist() == labels.tolist()
        assert kept["rows"].tolist() == rows.tolist()
    assert (tmp_path / "batch.npz").stat().st_mode & 0o777 == 0o600


# The first loss


def doubt_labels(loss: float, labels: Tensor, *, n: int = 100, scale: float = 64.0) -> str | None:
    expected = expected_first_loss(n, build_rule("arcface", scale=scale), 512)
    return find_first_doubt(loss, expected, scale=scale, dimension=512, labels=labels)


@pytest.mark.parametrize("spread", [0.0, 10.0], ids=["one way", "all ways"])
@pytest.mark.parametrize("dimension", [64, 512])
@pytest.mark.parametrize("scale", [None, 16.0, 64.0], ids=["auto", "16", "64"])
@pytest.mark.parametrize("n_people", [2, 10, 100, 1000])
def test_a_right_first_loss_is_not_doubted(
    n_people: int, scale: float | None, dimension: int, spread: float
) -> None:
    """Whether the embeddings of a new network point one way or all ways."""
    scale = scale or automatic_scale(n_people)
    rule = build_rule("arcface", scale=scale)
    expected = expected_first_loss(n_people, rule, dimension)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        head = PartialHead(dimension, n_people, rule, seed=seed)
        way = torch.randn(1, dimension, generator=generator)
        rows = way + spread * torch.randn(64, dimension, generator=generator)
        labels = torch.randint(0, n_people, (64,), generator=generator)
        loss = head(rows, labels).loss.item()
        told = find_first_doubt(loss, expected, scale=scale, dimension=dimension, labels=labels)
        assert told is None


@pytest.mark.parametrize("n_people", [100, 10_000, 85_742])
def test_labels_that_never_match_are_doubted(n_people: int) -> None:
    """69.08 is -ln(1e-30), where other code clamps; insightface issue 1437."""
    told = doubt_labels(69.08, torch.arange(64), n=n_people)
    assert told is not None
    assert told.startswith("the first loss is 69.08, a new head should show about ")
    assert "labels never match" in told


@pytest.mark.parametrize("n_people", [100, 10_000, 85_742])
@pytest.mark.parametrize("scale", [None, 64.0], ids=["auto", "64"])
def test_an_answer_that_is_known_already_is_doubted(n_people: int, scale: float | None) -> None:
    told = doubt_labels(0.1, torch.arange(64), n=n_people, scale=scale or automatic_scale(n_people))
    assert told is not None
    assert "lower means that the answer is known already" in told


def test_a_head_whose_centers_lie_on_its_embeddings_is_doubted() -> None:
    torch.manual_seed(0)
    rule = build_rule("arcface", scale=64.0)
    head = PartialHead(128, 100, rule)
    rows, labels = torch.randn(64, 128), torch.arange(64)
    head.set_centers(rows)
    loss, expected = head(rows, labels).loss.item(), expected_first_loss(100, rule, 128)
    told = find_first_doubt(loss, expected, scale=64.0, dimension=128, labels=labels)
    assert told is not None
    assert "known already" in told


def test_a_batch_of_one_person_is_doubted_whatever_its_loss() -> None:
    """By chance alone it happens to two people in small batches; samples of -1 are nobody."""
    expected = expected_first_loss(100, build_rule("arcface", scale=64), 512)
    told = doubt_labels(expected, torch.tensor([7] * 16 + [-1]))
    assert told == "all 16 photos of the first batch have one label. Are they shuffled?"
    assert doubt_labels(expected, torch.tensor([7] * 8)) is None
    assert doubt_labels(expected, torch.tensor([7] * 15 + [8])) is None


def test_a_loss_that_is_not_finite_is_doubted() -> None:
    assert doubt_labels(math.inf, torch.arange(8)) is not None
    assert doubt_labels(math.nan, torch.arange(8)) is not None
