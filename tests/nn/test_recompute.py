"""What is computed again for the gradient is what was computed, and moves nothing twice."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from arcwise.nn.recompute import run_blocks


class Noted(nn.Module):
    """Runs a layer, and keeps how often."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.n_runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_runs += 1
        result: Tensor = self.layers(x)
        return result


def draw_blocks() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(
        Noted(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 6))
        for _ in range(3)
    )


def learn(blocks: nn.ModuleList, *, recompute: bool) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    x = torch.randn(5, 6, requires_grad=True)
    y = run_blocks(blocks, x, recompute=recompute)
    y.square().sum().backward()
    assert x.grad is not None
    grads = {name: w.grad for name, w in blocks.named_parameters() if w.grad is not None}
    return y.detach(), {**grads, "x": x.grad}


def test_answers_gradients_and_statistics_are_those_of_computing_once() -> None:
    once = draw_blocks()
    again = copy.deepcopy(once)
    y, grads = learn(once, recompute=False)
    y_again, grads_again = learn(again, recompute=True)
    assert torch.equal(y, y_again)
    assert grads.keys() == grads_again.keys()
    assert all(torch.equal(grads[name], grads_again[name]) for name in grads)
    for name, value in once.named_buffers():
        assert torch.equal(again.get_buffer(name), value), name
    norms = [part for part in again.modules() if isinstance(part, nn.BatchNorm1d)]
    assert [norm.momentum for norm in norms] == [0.1] * 3
    assert [int(norm.num_batches_tracked) for norm in norms] == [1] * 3


def test_a_block_runs_again_for_the_gradient_alone() -> None:
    blocks = draw_blocks()
    learn(blocks, recompute=True)
    assert [block.n_runs for block in blocks] == [2, 2, 2]
    with torch.no_grad():
        run_blocks(blocks, torch.zeros(2, 6), recompute=True)
    assert [block.n_runs for block in blocks] == [3, 3, 3]
    learn(blocks, recompute=False)
    assert [block.n_runs for block in blocks] == [4, 4, 4]


def test_frozen_statistics_stay_frozen() -> None:
    blocks = draw_blocks().eval()
    before = {name: value.clone() for name, value in blocks.named_buffers()}
    learn(blocks, recompute=True)
    assert all(torch.equal(blocks.get_buffer(name), value) for name, value in before.items())


def test_autocast_is_that_of_the_first_pass() -> None:
    seen: list[torch.dtype] = []
    block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    block[0].register_forward_hook(lambda layer, x, y: seen.append(y.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        y = run_blocks([block], torch.rand(2, 4, requires_grad=True), recompute=True)
    y.float().sum().backward()
    assert seen == [torch.bfloat16] * 2


def test_a_statistic_comes_back_when_the_second_pass_fails() -> None:
    class Failing(nn.Module):
        is_second = False

        def forward(self, x: Tensor) -> Tensor:
            if self.is_second:
                raise RuntimeError("out of memory")
            return x

    block = nn.Sequential(nn.BatchNorm1d(3), Failing(), nn.Tanh())
    y = run_blocks([block], torch.rand(4, 3), recompute=True)
    block[1].is_second = True
    with pytest.raises(RuntimeError, match="out of memory"):
        y.sum().backward()
    norm = block[0]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.momentum == 0.1
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_compiled_network_computes_again_and_counts_a_batch_once() -> None:
    class Net(nn.Module):
        def __init__(self, blocks: nn.ModuleList, *, recompute: bool) -> None:
            super().__init__()
            self.blocks, self.recompute = blocks, recompute

        def forward(self, x: Tensor) -> Tensor:
            return run_blocks(self.blocks, x, recompute=self.recompute)

    def draw(*, recompute: bool) -> Net:
        torch.manual_seed(0)
        blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh()) for _ in range(2)
        )
        return Net(blocks, recompute=recompute)

    once, again = draw(recompute=False), draw(recompute=True)
    x = torch.randn(5, 6)
    once(x).square().sum().backward()
    torch.compile(again, backend="aot_eager")(x).square().sum().backward()
    for name, weight in once.named_parameters():
        torch.testing.assert_close(again.get_parameter(name).grad, weight.grad)
    for name, value in once.named_buffers():
        torch.testing.assert_close(again.get_buffer(name), value)
