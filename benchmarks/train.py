"""How many crops a second a network learns from: `python benchmarks/train.py [--threads N]`.

A whole step of the trainer (forward, margin head over 4,000 people, backward, optimizer, averaged
weights), without reading and augmenting crops, which benchmarks/augment.py measures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine

from arcwise.data.loader import Batch
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner

N_PEOPLE = 4000
ROUNDS = 5


def time_step(network: str, *, precision: str, batch: int, threads: int) -> float:
    """Median seconds of one step."""
    config = TrainConfig.from_dict(
        {
            "run": str(Path("unused")),
            "precision": precision,
            "threads": threads,
            "average": 0.99,
            "data": {"folder": "unused"},
            "network": {"name": network, "dimension": 128},
        }
    )
    learner = Learner(config, n_people=N_PEOPLE, n_targets=0, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    made = Batch(
        crops=torch.rand(batch, 3, 112, 112, generator=generator) * 2 - 1,
        labels=torch.randint(0, N_PEOPLE, (batch,), generator=generator),
        targets=None,
        rows=np.arange(batch),
    )
    learner.step(made, learning_rate=0.01, strength=1.0)
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        learner.step(made, learning_rate=0.01, strength=1.0)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def main() -> None:
    """Print crops per second by network and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("networks", nargs="*", default=["compact", "mobilefacenet", "iresnet18"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(describe_machine(given.threads))
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print("network         float32  bfloat16  crops/s, batches of", given.batch)
    for network in given.networks:
        rates = [
            given.batch / time_step(network, precision=p, batch=given.batch, threads=given.threads)
            for p in ("float32", "bfloat16")
        ]
        print(f"{network:15} {rates[0]:7.1f}  {rates[1]:8.1f}")


if __name__ == "__main__":
    main()
