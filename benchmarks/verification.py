"""How long a verification report takes: `python benchmarks/verification.py [--pairs N]`.

Draws scores of two normal distributions, half of the pairs of each class, in ten folds, and prints
the best of three runs of each protocol with every measure.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import numpy as np

from arcwise.evaluate.protocol import PROTOCOLS
from arcwise.evaluate.verification import evaluate_scores

N_FOLDS = 10


def main() -> None:
    """Draw the scores, run each protocol, print its time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    n_pairs = parser.parse_args().pairs
    rng = np.random.default_rng(0)
    is_same = rng.permutation(np.arange(n_pairs) % 2 == 0)
    scores = np.where(is_same, rng.normal(0.6, 0.12, n_pairs), rng.normal(0.05, 0.1, n_pairs))
    similarities = np.clip(scores, -1, 1).astype(np.float32)
    folds = np.arange(n_pairs) * N_FOLDS // n_pairs
    print(
        f"{n_pairs:,} pairs, {os.cpu_count()} cores, numpy {np.__version__}, {platform.machine()}"
    )
    for protocol in PROTOCOLS:
        times_s = []
        for _ in range(3):
            start = time.perf_counter()
            report = evaluate_scores(similarities, is_same, folds, protocol=protocol)
            times_s.append(time.perf_counter() - start)
        print(f"{protocol:12} {min(times_s):6.3f} s   accuracy {report.accuracy.mean:.4%}")


if __name__ == "__main__":
    main()
