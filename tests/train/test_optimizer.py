"""Which weights decay, which learn at another rate, and what a step changes, number by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from arcwise.train.optimizer import build_optimizer, set_rate
from arcwise.train.sections import OptimizerSection

Naive = Callable[[np.ndarray, list[np.ndarray], list[float], float], np.ndarray]


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(2), nn.Flatten(), nn.Linear(8, 3)
    )


def decays_of(wanted: OptimizerSection, network: nn.Module) -> dict[str, float]:
    names = {id(p): name for name, p in network.named_parameters()}
    groups = build_optimizer(wanted, network).param_groups
    return {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}


def test_matrices_alone_decay_unless_all_shall() -> None:
    network = make_network()
    found = decays_of(OptimizerSection(weight_decay=0.1), network)
    assert {name for name, decay in found.items() if decay} == {"0.weight", "4.weight"}
    assert found.keys() == {name for name, _ in network.named_parameters()}
    everything = decays_of(OptimizerSection(weight_decay=0.1, decay_on="all"), network)
    assert set(everything.values()) == {0.1}


def test_the_network_learns_at_its_share_of_the_rate_and_the_rest_at_all_of_it() -> None:
    network, beside = make_network(), nn.Linear(3, 2)
    optimizer = build_optimizer(OptimizerSection(network_rate=0.25), network, (beside,))
    set_rate(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in network.parameters()} == {0.2}
    assert {rates[id(p)] for p in beside.parameters()} == {0.8}


def test_a_rate_that_is_set_does_not_build_on_the_one_before() -> None:
    optimizer = build_optimizer(OptimizerSection(network_rate=0.5), make_network())
    for rate in (0.4, 0.1, 0.4):
        set_rate(optimizer, rate)
        assert {group["lr"] for group in optimizer.param_groups} == {rate / 2}


def test_what_does_not_learn_is_left_out() -> None:
    network = make_network()
    network[0].weight.requires_grad_(False)
    assert "0.weight" not in decays_of(OptimizerSection(), network)


def test_nesterov_needs_momentum_and_is_left_out_without() -> None:
    (group, *_) = build_optimizer(OptimizerSection(momentum=0.0), make_network()).param_groups
    assert (group["momentum"], group["nesterov"]) == (0, False)


def step_sgd(momentum: float, nesterov: bool) -> Naive:
    def naive(
        start: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float
    ) -> np.ndarray:
        weight, velocity = start, np.zeros_like(start)
        for gradient, rate in zip(gradients, rates, strict=True):
            slope = gradient + decay * weight
            velocity = momentum * velocity + slope
            weight = weight - rate * (slope + momentum * velocity if nesterov else velocity)
        return weight

    return naive


def step_adam(is_decoupled: bool) -> Naive:
    """Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019), algorithm 2."""

    def naive(
        start: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float
    ) -> np.ndarray:
        weight, first, second = start, np.zeros_like(start), np.zeros_like(start)
        for n, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
            slope = gradient if is_decoupled else gradient + decay * weight
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope**2
            mean, size = first / (1 - 0.9**n), second / (1 - 0.999**n)
            shrunk = weight * (1 - rate * decay) if is_decoupled else weight
            weight = shrunk - rate * mean / (np.sqrt(size) + 1e-8)
        return weight

    return naive


@pytest.mark.parametrize(
    ("options", "naive"),
    [
        ({"name": "sgd", "momentum": 0.0}, step_sgd(0.0, nesterov=False)),
        ({"name": "sgd", "momentum": 0.9, "nesterov": False}, step_sgd(0.9, nesterov=False)),
        ({"name": "sgd", "momentum": 0.9}, step_sgd(0.9, nesterov=True)),
        ({"name": "adam"}, step_adam(is_decoupled=False)),
        ({"name": "adamw"}, step_adam(is_decoupled=True)),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw"],
)
def test_steps_are_those_of_the_formulae(options: dict[str, Any], naive: Naive) -> None:
    network = make_network().double()
    wanted = OptimizerSection(weight_decay=0.05, network_rate=0.5, **options)
    optimizer = build_optimizer(wanted, network)
    rates = [0.1, 0.05, 0.2, 0.1]
    start = {name: p.detach().numpy().copy() for name, p in network.named_parameters()}
    gradients: dict[str, list[np.ndarray]] = {name: [] for name in start}
    for step, rate in enumerate(rates):
        generator = torch.Generator().manual_seed(step)
        crops = torch.randn(4, 1, 4, 4, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        network(crops).square().sum().backward()
        for name, p in network.named_parameters():
            assert p.grad is not None
            gradients[name].append(p.grad.numpy().copy())
        set_rate(optimizer, rate)
        optimizer.step()
    for name, p in network.named_parameters():
        decay = 0.05 if p.ndim > 1 else 0.0
        found = naive(start[name], gradients[name], [rate / 2 for rate in rates], decay)
        np.testing.assert_allclose(p.detach().numpy(), found, rtol=1e-9, atol=1e-12)
