from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from arcwise.data.loader import Batch
from arcwise.errors import CheckpointError, LearningError
from arcwise.nn import build_backbone
from arcwise.nn.weights import save_weights
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner

Configure = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    crops = torch.rand(8, 3, 112, 112, generator=generator) * 2 - 1
    targets = torch.randn(8, 12, generator=generator)
    return Batch(crops, torch.arange(8) % 4, targets, np.arange(8))


def make_learner(config: TrainConfig, n_targets: int = 0) -> Learner:
    return Learner(config, n_people=4, n_targets=n_targets, device=CPU)


def test_equal_seeds_make_equal_learners(configure: Configure) -> None:
    one, two, other = (
        make_learner(config) for config in (configure(), configure(), configure("seed=7"))
    )
    results = [
        learner.step([make_batch()], learning_rate=0.1, strength=1).losses["loss"]
        for learner in (one, two, other)
    ]
    assert results[0] == results[1] != results[2]


def test_a_step_moves_against_the_gradient(configure: Configure) -> None:
    learner = make_learner(configure("head.margin=0"))
    losses = [
        learner.step([make_batch()], learning_rate=0.05, strength=1).losses["loss"]
        for _ in range(8)
    ]
    assert losses[-1] < losses[0]


def test_the_margin_makes_the_loss_larger_and_can_be_switched_off(configure: Configure) -> None:
    with_margin, without = (
        make_learner(configure()).step([make_batch()], learning_rate=0.1, strength=strength)
        for strength in (1.0, 0.0)
    )
    assert with_margin.losses["loss"] > without.losses["loss"]
    assert with_margin.values["target_angle_deg"] == without.values["target_angle_deg"]


def test_averaged_weights_lie_between_old_and_new(configure: Configure) -> None:
    learner = make_learner(configure("average=0.5"))
    before = learner.network.fc.weight.detach().clone()  # type: ignore[union-attr, operator]
    learner.step([make_batch()], learning_rate=0.1, strength=1)
    assert learner.average is not None
    after = learner.network.fc.weight  # type: ignore[union-attr]
    share = 1 - 2 / 11  # of a first step: (1 + n) / (10 + n)
    wanted = before + share * (after - before)  # type: ignore[operator]
    assert torch.allclose(learner.average.fc.weight, wanted, atol=1e-6)  # type: ignore[union-attr, arg-type]
    assert learner.best_network is learner.average
    assert not learner.average.training


def test_biases_and_norms_do_not_decay(configure: Configure) -> None:
    groups = make_learner(configure()).optimizer.param_groups
    decays = {p.ndim > 1: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {True: 5e-4, False: 0.0}


def test_targets_of_another_dimension_go_through_a_linear_map(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(f"distill.targets={tmp_path}")
    assert isinstance(make_learner(config, 12).projection, nn.Linear)
    assert isinstance(make_learner(config, 16).projection, nn.Identity)


def test_half_precision_is_near_full_precision(configure: Configure) -> None:
    full, half = (
        make_learner(configure(f"precision={name}"))
        .step([make_batch()], learning_rate=0.1, strength=1)
        .losses["loss"]
        for name in ("float32", "bfloat16")
    )
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


def test_a_batch_that_is_not_finite_changes_nothing(configure: Configure) -> None:
    learner = make_learner(configure("average=0.5"))
    before = {name: tensor.clone() for name, tensor in learner.head.state_dict().items()}
    batch = make_batch()
    batch.crops[0, 0, 0, 0] = torch.nan
    with pytest.raises(LearningError, match="the loss is not finite"):
        learner.step([batch], learning_rate=0.1, strength=1)
    assert learner.n_steps == 0
    after = learner.head.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_networks_are_channels_last_unless_told_otherwise(configure: Configure) -> None:
    plain = make_learner(configure("network.name=compact", "channels_last=false"))
    usual = make_learner(configure("network.name=compact"))
    weights = [
        next(m for m in learner.network.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 3)
        for learner in (plain, usual)
    ]
    is_last = [
        conv.weight.is_contiguous(memory_format=torch.channels_last)
        and not conv.weight.is_contiguous()
        for conv in weights
    ]
    assert is_last == [False, True]


def test_training_can_start_from_saved_weights(configure: Configure, tmp_path: Path) -> None:
    source = make_learner(configure("seed=9"))
    path = save_weights(tmp_path / "w.safetensors", source.network, name="tiny", dimension=16)
    learner = make_learner(configure("average=0.5"))
    learner.start_from(path)
    assert learner.average is not None
    for name, tensor in source.network.state_dict().items():
        assert torch.allclose(learner.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
        assert torch.allclose(learner.average.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)


def test_weights_of_another_network_are_refused(configure: Configure, tmp_path: Path) -> None:
    source = build_backbone("compact", dimension=16)
    path = save_weights(tmp_path / "w.safetensors", source, name="compact", dimension=16)
    with pytest.raises(CheckpointError, match="compact, dimension 16"):
        make_learner(configure()).start_from(path)
