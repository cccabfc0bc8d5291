"""The rows a step used change as with torch's optimizers, and the others do not change at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from arcwise.errors import CheckpointError, LearningError
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train import rows as module
from arcwise.train.rows import RowOptimizer

N = 30
Build = Callable[[list[Tensor]], torch.optim.Optimizer]
SAME: dict[str, tuple[dict[str, Any], Build]] = {
    "sgd": (
        {"momentum": 0.0},
        lambda p: torch.optim.SGD(p, lr=1),
    ),
    "momentum": (
        {"momentum": 0.9, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=0.01, nesterov=True),
    ),
    "adam": (
        {"name": "adam", "weight_decay": 0.01},
        lambda p: torch.optim.Adam(p, lr=1, weight_decay=0.01),
    ),
    "adamw": (
        {"name": "adamw", "weight_decay": 0.01, "betas": (0.8, 0.99), "eps": 1e-6},
        lambda p: torch.optim.AdamW(p, lr=1, weight_decay=0.01, betas=(0.8, 0.99), eps=1e-6),
    ),
}


def make_head(rate: float = 1.0, **options: Any) -> PartialHead:
    rule = build_rule("arcface", scale=16)
    return PartialHead(8, N, rule, sample_rate=rate, seed=1, **options)


def make_batch(step: int, n: int = N) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, n, (6,), generator=generator)
    return torch.randn(6, 8, generator=generator), labels


def learn(head: PartialHead, optimizer: RowOptimizer, steps: range, n: int = N) -> None:
    for step in steps:
        head(*make_batch(step, n)).loss.backward()
        optimizer.step(0.1 / (1 + step))


@pytest.mark.parametrize("n_rows", [4, 2048])
@pytest.mark.parametrize("name", SAME)
def test_with_all_rows_it_is_torchs(monkeypatch: pytest.MonkeyPatch, name: str, n_rows: int):
    monkeypatch.setitem(module._PART_ROWS, "cpu", n_rows)
    options, build = SAME[name]
    head, twin = make_head(), make_head()
    ours, theirs = RowOptimizer(head, **options), build([twin.weight])
    for step in range(5):
        for group in theirs.param_groups:
            group["lr"] = 0.1 / (1 + step)
        theirs.zero_grad()
        for some in (head, twin):
            some(*make_batch(step)).loss.backward()
        ours.step(0.1 / (1 + step))
        theirs.step()
        torch.testing.assert_close(head.weight, twin.weight, rtol=1e-5, atol=1e-7)
    kept = theirs.state_dict()["state"].get(0, {})
    for kind, memory in ours.state_dict().items():
        wanted = {"momentum": "momentum_buffer", "steps": "step"}.get(kind, kind)
        torch.testing.assert_close(memory, kept[wanted].expand_as(memory), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SAME)
def test_rows_that_were_not_drawn_stay_to_the_last_bit(name: str):
    head = make_head(0.5)
    optimizer = RowOptimizer(head, **SAME[name][0])
    learn(head, optimizer, range(3))
    before = {kind: kept.clone() for kind, kept in state_of(head, optimizer).items()}
    used = torch.tensor([2, 3, 5, 7, 11])
    head.use_rows(used)
    head(make_batch(9)[0], used[[0, 1, 2, 3, 4, 0]]).loss.backward()
    optimizer.step(0.1)
    is_used = torch.zeros(N, dtype=torch.bool).index_fill_(0, used, True)
    for kind, kept in state_of(head, optimizer).items():
        changed = (kept != before[kind]).view(N, -1).any(dim=1)
        assert torch.equal(changed, is_used), kind


def state_of(head: PartialHead, optimizer: RowOptimizer) -> dict[str, Tensor]:
    return {"weight": head.weight.detach()} | optimizer.state_dict()


@pytest.mark.parametrize("name", SAME)
def test_a_drawn_row_learns_as_if_it_had_an_optimizer_of_its_own(name: str):
    """Which sees the steps it is drawn in, and no others: Adam corrects by these alone."""
    options, build = SAME[name]
    head = make_head(0.5)
    ours = RowOptimizer(head, **options)
    own = [row.clone().requires_grad_() for row in head.weight.detach()]
    theirs = [build([row]) for row in own]
    for step in range(6):
        head(*make_batch(step)).loss.backward()
        assert head.drawn is not None
        assert head.drawn.identities is not None
        for place, row in enumerate(head.drawn.identities.tolist()):
            assert head.drawn.centers.grad is not None
            own[row].grad = head.drawn.centers.grad[place].clone()
            theirs[row].param_groups[0]["lr"] = 0.1 / (1 + step)
            theirs[row].step()
        ours.step(0.1 / (1 + step))
        torch.testing.assert_close(head.weight.detach(), torch.stack(own), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SAME)
def test_a_dense_update_is_torchs_with_a_gradient_of_zero_elsewhere(name: str):
    options, build = SAME[name]
    head = make_head(0.5)
    ours = RowOptimizer(head, dense_update=True, **options)
    whole = head.weight.detach().clone().requires_grad_()
    theirs = build([whole])
    for step in range(4):
        head(*make_batch(step)).loss.backward()
        assert head.drawn is not None
        whole.grad = torch.zeros_like(whole)
        whole.grad[head.drawn.identities] = head.drawn.centers.grad
        theirs.param_groups[0]["lr"] = 0.1 / (1 + step)
        theirs.step()
        ours.step(0.1 / (1 + step))
        torch.testing.assert_close(head.weight.detach(), whole.detach(), rtol=1e-5, atol=1e-7)


def test_sub_centers_of_a_drawn_identity_all_step():
    head = make_head(0.5, subcenters=3)
    optimizer = RowOptimizer(head, name="adam")
    head.use_rows(torch.tensor([4, 6]))
    head(make_batch(0)[0], torch.tensor([4, 6, 4, 6, 4, 6])).loss.backward()
    optimizer.step(0.1)
    stepped = optimizer.state_dict()["steps"].nonzero()[:, 0]
    assert stepped.tolist() == [12, 13, 14, 18, 19, 20]


def test_a_step_ends_the_draw_and_frees_the_gradient():
    for rate in (0.5, 1.0):
        head = make_head(rate)
        optimizer = RowOptimizer(head)
        head(*make_batch(0)).loss.backward()
        optimizer.step(0.1)
        assert head.drawn is None
        assert head.weight.grad is None


def test_a_step_without_a_gradient_changes_nothing():
    head = make_head(0.5)
    optimizer = RowOptimizer(head, weight_decay=0.1)
    before = head.weight.detach().clone()
    head.draw_rows(torch.tensor([3]))
    optimizer.step(0.1)
    assert torch.equal(head.weight, before)
    assert optimizer.is_finite()


def test_a_loss_scale_is_divided_out_again():
    heads = [make_head(0.5) for _ in range(3)]
    optimizers = [RowOptimizer(head) for head in heads]
    for head, scale in zip(heads, (1.0, 1024.0, 1024.0), strict=True):
        (head(*make_batch(0)).loss * scale).backward()
    optimizers[0].step(0.1)
    optimizers[1].step(0.1, grad_scale=1024.0)
    optimizers[2].unscale(1024.0)
    optimizers[2].step(0.1)
    assert torch.equal(heads[1].weight, heads[0].weight)
    assert torch.equal(heads[2].weight, heads[0].weight)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_a_gradient_that_is_not_finite_is_found(rate: float, wrong: float):
    head = make_head(rate)
    optimizer = RowOptimizer(head)
    head(*make_batch(0)).loss.backward()
    assert optimizer.is_finite()
    assert head.drawn is not None
    assert head.drawn.centers.grad is not None
    head.drawn.centers.grad[1, 2] = wrong
    assert not optimizer.is_finite()
    head.forget_rows()
    assert optimizer.is_finite()


@pytest.mark.parametrize("name", SAME)
def test_a_run_that_goes_on_ends_as_one_that_was_not_cut(name: str):
    options = SAME[name][0]
    whole, begun, resumed = make_head(0.5), make_head(0.5), make_head(0.5)
    learn(whole, RowOptimizer(whole, **options), range(6))
    first, second = RowOptimizer(begun, **options), RowOptimizer(resumed, **options)
    learn(begun, first, range(3))
    resumed.load_state_dict(begun.state_dict())
    n_taken = second.load_rows(0, {kind: kept.clone() for kind, kept in first.state_dict().items()})
    assert n_taken == (N if first.state_dict() else 0)
    learn(resumed, second, range(3, 6))
    assert torch.equal(resumed.weight, whole.weight)


def test_memory_of_another_optimizer_is_refused():
    adam = RowOptimizer(make_head(), name="adam")
    with pytest.raises(CheckpointError, match="remembers exp_avg, exp_avg_sq, steps; sgd"):
        RowOptimizer(make_head()).load_rows(0, adam.state_dict())
    with pytest.raises(CheckpointError, match="remembers nothing; sgd remembers momentum"):
        RowOptimizer(make_head()).load_rows(0, {})
    with pytest.raises(LearningError, match=r"rows of shape \(9,\)"):
        RowOptimizer(make_head()).load_rows(0, {"momentum": torch.zeros(3, 9)})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "lion"}, "of the name 'lion'"),
        ({"momentum": 1.0}, r"below 1, got 1\.0"),
        ({"betas": (0.9, 1.2)}, r"\(0\.9, 1\.2\)"),
        ({"weight_decay": -1.0}, r"weight decay -1\.0"),
        ({"weight_decay": math.nan}, "weight decay nan"),
        ({"eps": 0.0}, r"eps 0\.0"),
    ],
)
def test_an_optimizer_that_cannot_be_is_refused(options: dict[str, Any], words: str):
    with pytest.raises(LearningError, match=words):
        RowOptimizer(make_head(), **options)
