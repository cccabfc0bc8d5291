"""How many crops a second a network learns from: `python benchmarks/train.py [--threads N]`.

A whole step of the trainer (forward, ArcFace over 4,000 people, backward, clipping, optimizer)
beside the same step written out in torch as the papers' code has it: torch's own layers in plain
memory order, a normalized linear layer, the margin in place without a gradient, cross-entropy,
SGD. Both begin with the same weights and learn from the same batch; their first losses are
compared. They take turns in one process, and the ratio is the median over the rounds. Times of one
thread are processor time, so that other work on the machine counts little. Reading and augmenting
crops is left to benchmarks/loader.py and benchmarks/augment.py.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import describe_machine
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import clip_grad_norm_

from arcwise.data.loader import Batch
from arcwise.nn.grouped import GroupedConv2d
from arcwise.nn.prelu import PReLU
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner

N_PEOPLE = 4000
MARGIN, SCALE = 0.5, 64.0
LEARNING_RATE, MOMENTUM, DECAY, CLIP_NORM = 0.01, 0.9, 5e-4, 5.0
MOST_DIFFERENCE = {"float32": 1e-3, "bfloat16": 3e-2}  # of a loss, as a share of it

Step = Callable[[], float]


# ── the trainer's ──


def build_learner(network: str, *, precision: str, dimension: int, threads: int) -> Learner:
    """A learner with the settings of the step that is written out."""
    config = TrainConfig.from_dict(
        {
            "run": "unused",
            "precision": precision,
            "threads": threads,
            "data": {"folder": "unused"},
            "network": {"name": network, "dimension": dimension},
            "head": {
                "margin": MARGIN,
                "scale": SCALE,
                "options": {"gradient": "straight_through"},
            },
            "optimizer": {
                "momentum": MOMENTUM,
                "nesterov": False,
                "weight_decay": DECAY,
                "decay_on": "all",
                "clip_norm": CLIP_NORM,
            },
        }
    )
    return Learner(config, n_people=N_PEOPLE, n_targets=0, device=torch.device("cpu"))


def build_step(learner: Learner, crops: Tensor, labels: Tensor) -> Step:
    """The trainer's step, with a batch as its loader gives it."""
    batch = Batch(
        crops=crops.contiguous(memory_format=torch.channels_last),
        labels=labels,
        targets=None,
        rows=np.arange(len(labels)),
    )
    return lambda: learner.step([batch], learning_rate=LEARNING_RATE, strength=1.0).losses["loss"]


# ── written out ──


def build_plain_step(learner: Learner, crops: Tensor, labels: Tensor) -> Step:
    """The step of arcface_torch: https://github.com/deepinsight/insightface, train_v2.py."""
    network = make_plain(copy.deepcopy(learner.network))
    centers = nn.Parameter(learner.head.weight.detach().clone())
    rate = {"lr": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": DECAY}
    optimizer = torch.optim.SGD([*network.parameters(), centers], **rate)
    is_half = learner.config.precision == "bfloat16"
    rows = torch.arange(len(labels))

    def step() -> float:
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            embeddings = network(crops)
            cosines = F.linear(F.normalize(embeddings), F.normalize(centers))
        logits = cosines.float().clamp(-1, 1)
        with torch.no_grad():
            logits.arccos_()
            logits[rows, labels] += MARGIN
            logits.cos_()
        loss = F.cross_entropy(logits * SCALE, labels)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item()

    return step


def make_plain(network: nn.Module) -> nn.Module:
    """The network with torch's own layers, in plain memory order; changed in place."""
    for name, part in list(network.named_modules()):
        plain: nn.Module
        if isinstance(part, GroupedConv2d):
            sizes = (part.in_channels, part.out_channels, part.kernel_size)
            places = {"stride": part.stride, "padding": part.padding, "groups": part.groups}
            plain = nn.Conv2d(*sizes, **places, bias=False)
        elif isinstance(part, PReLU):
            plain = nn.PReLU(part.num_parameters)
        else:
            continue
        plain.load_state_dict(part.state_dict())
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, plain)
    leaves = [part for part in network.modules() if not any(part.children())]
    assert all(type(part).__module__.startswith("torch.nn") for part in leaves)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


# ── measuring ──


def time_steps(steps: dict[str, Step], *, rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of each step in each round; they take turns, and in who is first."""
    clock = time.process_time if threads == 1 else time.perf_counter
    spent_s: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(rounds):
        for name in list(steps)[:: 1 if i % 2 else -1]:
            start = clock()
            steps[name]()
            spent_s[name].append(clock() - start)
    return spent_s


def print_row(network: str, precision: str, batch: int, given: argparse.Namespace) -> None:
    """Crops per second of both, and the ratio."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(batch, 3, 112, 112, generator=generator) * 2 - 1
    labels = torch.randint(0, N_PEOPLE, (batch,), generator=generator)
    learner = build_learner(
        network, precision=precision, dimension=given.dimension, threads=given.threads
    )
    steps = {
        "plain": build_plain_step(learner, crops, labels),
        "ours": build_step(learner, crops, labels),
    }
    for i in range(2):  # these do not count; the second shows that the first did the same
        losses = {name: step() for name, step in steps.items()}
        difference = abs(losses["ours"] - losses["plain"]) / losses["plain"]
        if not difference < MOST_DIFFERENCE[precision]:
            raise SystemExit(f"{network}, {precision}: losses of step {i} are {losses}")
    spent_s = time_steps(steps, rounds=given.rounds, threads=given.threads)
    rates = {name: batch / statistics.median(spent) for name, spent in spent_s.items()}
    each = [plain / ours for ours, plain in zip(spent_s["ours"], spent_s["plain"], strict=True)]
    print(
        f"{network:15} {precision:9} {batch:5}  {rates['plain']:11.1f} {rates['ours']:7.1f} "
        f"{statistics.median(each):7.2f}x   ({min(each):.2f} to {max(each):.2f})",
        flush=True,
    )


def main() -> None:
    """Print a row for each network, precision and batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("networks", nargs="*", default=["compact", "mobilefacenet", "iresnet18"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(describe_machine(given.threads))
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print("crops a second  precision batch  written out    ours    ratio")
    for network in given.networks:
        for precision in ("float32", "bfloat16"):
            for batch in given.batch:
                print_row(network, precision, batch, given)


if __name__ == "__main__":
    main()
