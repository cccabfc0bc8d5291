"""What a head of many identities costs: `python benchmarks/partial_fc.py [--threads N]`.

A step of training on embeddings alone (forward, backward, update of the centers; 128 embeddings of
512 numbers), in torch's plain way (inner products with all classes, cross-entropy, SGD over all of
them) and with PartialHead at several rates. Every case runs in a process of its own, and its
memory is that of the process at its highest, less that of one which has imported the same and done
nothing. Then forward and backward of a margin head alone, against its arithmetic written out in
torch as the papers' code has it. Times on the CPU are processor time; still, other work on the
machine takes its share of caches and memory, so look at ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from machine import describe_machine
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from arcwise.nn.head import MarginHead
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train.rows import RowOptimizer

DIMENSION = 512
BATCH = 128
LEARNING_RATE = 0.1
MOMENTUM = 0.9
DECAY = 5e-4
IDENTITIES = (10_000, 100_000, 1_000_000)
RATES = (1.0, 0.1, 0.02)
HEAD_IDENTITIES = 100_000
MOST_WRITTEN_OUT = 100_000  # a million would take 15 GiB
MIB = 1 << 20

Step = Callable[[], object]


def make_batch(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings that take a gradient, and labels."""
    torch.manual_seed(0)
    embeddings = torch.randn(BATCH, DIMENSION, device=device, requires_grad=True)
    return embeddings, torch.randint(0, n, (BATCH,), device=device)


def make_centers(n: int, device: torch.device) -> nn.Parameter:
    """As new heads have them."""
    return nn.Parameter(torch.empty(n, DIMENSION, device=device).normal_(std=0.01))


# ── whole steps ──


def build_plain_step(n: int, device: torch.device) -> Step:
    """nn.Linear without a bias, cross-entropy, SGD."""
    embeddings, labels = make_batch(n, device)
    weight = make_centers(n, device)
    optimizer = torch.optim.SGD([weight], LEARNING_RATE, MOMENTUM, weight_decay=DECAY)

    def step() -> None:
        optimizer.zero_grad()
        embeddings.grad = None
        F.cross_entropy(F.linear(embeddings, weight), labels).backward()
        optimizer.step()

    return step


def build_margin_step(n: int, device: torch.device) -> Step:
    """ArcFace over all identities, written out, and SGD."""
    embeddings, labels = make_batch(n, device)
    weight = make_centers(n, device)
    optimizer = torch.optim.SGD([weight], LEARNING_RATE, MOMENTUM, weight_decay=DECAY)

    def step() -> None:
        optimizer.zero_grad()
        embeddings.grad = None
        find_plain_loss(embeddings, weight, labels).backward()
        optimizer.step()

    return step


def build_partial_step(n: int, device: torch.device, rate: float) -> Step:
    """Ours."""
    embeddings, labels = make_batch(n, device)
    rule = build_rule("arcface", scale=64)
    head = PartialHead(DIMENSION, n, rule, sample_rate=rate).to(device)
    optimizer = RowOptimizer(head, momentum=MOMENTUM, weight_decay=DECAY)

    def step() -> None:
        embeddings.grad = None
        head(embeddings, labels).loss.backward()
        optimizer.step(LEARNING_RATE)

    return step


# ── the head alone ──


def find_plain_loss(embeddings: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """ArcFace in torch's own functions: normalize, linear, clamp, margin, cross-entropy."""
    cosines = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    rows = torch.arange(BATCH, device=labels.device)
    targets = cosines[rows, labels].clamp(-1 + 1e-7, 1 - 1e-7)
    logits = cosines.clone()
    logits[rows, labels] = torch.cos(torch.acos(targets) + 0.5)
    return F.cross_entropy(64 * logits, labels)


def find_masked_loss(embeddings: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The same with a mask of all identities, as the widespread ArcMarginProduct has it."""
    cosines = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    sines = (1 - cosines.square()).clamp(1e-9, 1).sqrt()
    phi = cosines * 0.8775825618903728 - sines * 0.479425538604203  # cos and sin of 0.5
    phi = torch.where(cosines > -0.8775825618903728, phi, cosines - 0.2397127693021015)
    mask = torch.zeros_like(cosines).scatter_(1, labels[:, None], 1)
    return F.cross_entropy(64 * (mask * phi + (1 - mask) * cosines), labels)


def build_plain_head(n: int, device: torch.device, *, is_masked: bool) -> Step:
    """Forward and backward, written out."""
    embeddings, labels = make_batch(n, device)
    weight = make_centers(n, device)

    def step() -> None:
        weight.grad = embeddings.grad = None
        find_loss = find_masked_loss if is_masked else find_plain_loss
        find_loss(embeddings, weight, labels).backward()

    return step


def build_head(n: int, device: torch.device, *, is_partial: bool) -> Step:
    """Forward and backward of ours."""
    embeddings, labels = make_batch(n, device)
    kind = PartialHead if is_partial else MarginHead
    head = kind(DIMENSION, n, build_rule("arcface", scale=64)).to(device)

    def step() -> None:
        head.weight.grad = embeddings.grad = None
        head(embeddings, labels).loss.backward()

    return step


HEADS: dict[str, Callable[[int, torch.device], Step]] = {
    "written out": lambda n, device: build_plain_head(n, device, is_masked=False),
    "written out, mask": lambda n, device: build_plain_head(n, device, is_masked=True),
    "MarginHead": lambda n, device: build_head(n, device, is_partial=False),
    "PartialHead": lambda n, device: build_head(n, device, is_partial=True),
}


# ── measuring ──


def build_step(name: str, n: int, device: torch.device) -> Step:
    """The case of a name."""
    if name == "nothing":
        return lambda: None
    if name == "plain softmax":
        return build_plain_step(n, device)
    if name == "written out":
        return build_margin_step(n, device)
    return build_partial_step(n, device, float(name))


def time_steps(step: Step, device: torch.device, rounds: int) -> float:
    """Seconds of one step: the median after one that does not count.

    On the CPU they are of its own work, summed over threads, and not of waiting for other work.
    """
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    spent_s = []
    for _ in range(rounds + 1):
        start = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent_s.append(clock() - start)
    return statistics.median(spent_s[1:])


def measure_here(name: str, n: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Seconds and MiB of one case in this process."""
    spent_s = time_steps(build_step(name, n, device), device, rounds)
    if device.type == "cuda":
        return {"s": spent_s, "mib": torch.cuda.max_memory_allocated() / MIB}
    return {"s": spent_s, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(name: str, n: int, given: argparse.Namespace) -> dict[str, float]:
    """Likewise in a process of its own."""
    options = ["--threads", str(given.threads), "--rounds", str(given.rounds)]
    command = [sys.executable, __file__, "--case", name, str(n), "--device", given.device]
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def print_steps(given: argparse.Namespace) -> None:
    """Time and memory of whole steps."""
    device = torch.device(given.device)
    nothing = 0.0 if device.type == "cuda" else measure("nothing", 1, given)["mib"]
    names = ["plain softmax", "written out", *map(str, RATES)]
    print("identities  head                 step s    speed  memory MiB")
    for n in given.identities:
        first = 0.0
        for name in names:
            if name == "written out" and n > MOST_WRITTEN_OUT:
                continue
            found = measure(name, n, given)
            first = first or found["s"]
            title = name if name in names[:2] else f"ours, rate {name}"
            print(
                f"{n:10,}  {title:18} {found['s']:8.3f}  {first / found['s']:6.2f}x "
                f"{found['mib'] - nothing:11,.0f}"
            )


def print_heads(given: argparse.Namespace) -> None:
    """Forward and backward of margin heads, turn by turn in this process."""
    device, n = torch.device(given.device), HEAD_IDENTITIES
    times_s: dict[str, list[float]] = {name: [] for name in HEADS}
    steps = {name: build(n, device) for name, build in HEADS.items()}
    for _ in range(given.rounds):
        for name, step in steps.items():
            times_s[name].append(time_steps(step, device, 1))
    print(f"\nhead forward+backward at {n:,} classes: the fastest of {given.rounds}")
    for name, spent_s in times_s.items():
        ratio = min(times_s["written out"]) / min(spent_s)
        print(f"{name:18} {min(spent_s):8.3f} s  {ratio:6.2f}x")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--identities", type=int, nargs="*", default=IDENTITIES)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "N"), help="one case, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.case is not None:
        name, n = given.case
        print(json.dumps(measure_here(name, int(n), torch.device(given.device), given.rounds)))
        return
    print(describe_machine(given.threads))
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {given.device}")
    print(f"{BATCH} embeddings of {DIMENSION} numbers, {given.threads} thread(s)")
    print_steps(given)
    print_heads(given)


if __name__ == "__main__":
    main()
