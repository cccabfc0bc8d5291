"""How long verification numbers take: `python benchmarks/verification.py [--pairs N]`.

Draws scores of two normal distributions, half of the pairs of each class, in ten folds, and prints
the best of three runs of each protocol with every measure; `magface` gets vectors of 64 numbers
instead. With --impostors N, measures N float32 impostor scores and a hundredth as many genuine
ones once, without folds and (--folds) in ten, and prints the memory it took.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from arcwise.evaluate.rates import measure_scores, roc_points
from arcwise.evaluate.verification import evaluate_scores
from arcwise.evaluate.verification.accuracy import Failures
from arcwise.evaluate.verification.centered import PairVectors, run_centered
from arcwise.evaluate.verification.protocol import PROTOCOLS

N_FOLDS = 10
N_PHOTOS = 20_000
DIMENSION = 64


def draw_scores(n: int, mean: float, std: float, seed: int) -> np.ndarray:
    """(n,) float32 similarities, made in place."""
    scores = np.random.default_rng(seed).standard_normal(n, dtype=np.float32)
    scores *= np.float32(std)
    scores += np.float32(mean)
    return np.clip(scores, -1, 1, out=scores)


def time_best(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the best of three runs, and what it gave."""
    times_s = []
    for _ in range(3):
        start = time.perf_counter()
        found = run()
        times_s.append(time.perf_counter() - start)
    return min(times_s), found


def draw_vectors(n_pairs: int, is_same: np.ndarray, folds: np.ndarray) -> PairVectors:
    """Pairs of random unit vectors, those of one person close to each other."""
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(N_PHOTOS // 2, DIMENSION))
    vectors = np.repeat(centers, 2, axis=0) + 0.7 * rng.normal(size=(N_PHOTOS, DIMENSION))
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / lengths[:, None]
    first = rng.integers(0, N_PHOTOS, n_pairs)
    second = np.where(is_same, first ^ 1, (first + rng.integers(2, N_PHOTOS - 2, n_pairs)))
    second %= N_PHOTOS
    parts = [slice(start, start + 10_000) for start in range(0, n_pairs, 10_000)]
    cosines = [np.einsum("pd,pd->p", units[first[part]], units[second[part]]) for part in parts]
    none = np.zeros(N_FOLDS, dtype=np.int64)
    return PairVectors(
        units, lengths, first, second, np.concatenate(cosines), is_same, folds, Failures(none, none)
    )


def time_protocols(n_pairs: int) -> None:
    """Print the time of every protocol."""
    is_same = np.random.default_rng(0).permutation(np.arange(n_pairs) % 2 == 0)
    scores = np.empty(n_pairs, dtype=np.float32)
    scores[is_same] = draw_scores(int(is_same.sum()), 0.6, 0.12, 1)
    scores[~is_same] = draw_scores(int((~is_same).sum()), 0.05, 0.1, 2)
    folds = np.arange(n_pairs) * N_FOLDS // n_pairs
    for name, protocol in PROTOCOLS.items():
        if protocol.run is None:
            pairs = draw_vectors(n_pairs, is_same, folds)
            time_s, accuracy = time_best(lambda pairs=pairs: run_centered(pairs))
            print(f"{name:12} {time_s:6.3f} s   accuracy {accuracy.mean:.4%} (over folds alone)")
            continue
        time_s, report = time_best(
            lambda name=name: evaluate_scores(scores, is_same, folds, protocol=name)
        )
        print(f"{name:12} {time_s:6.3f} s   accuracy {report.accuracy.mean:.4%}")


def measure_many(n_impostors: int, *, with_folds: bool) -> None:
    """Print the time and memory of very many impostor scores."""
    genuine = draw_scores(n_impostors // 100, 0.6, 0.12, 1)
    impostor = draw_scores(n_impostors, 0.05, 0.1, 2)
    print(f"{len(impostor):,} impostor and {len(genuine):,} genuine scores, float32")
    print_peak("drawn")
    start = time.perf_counter()
    report = measure_scores(genuine, impostor)
    print(f"measure_scores {time.perf_counter() - start:6.2f} s")
    print_peak("measured")
    start = time.perf_counter()
    roc_points(genuine, impostor)
    print(f"roc_points     {time.perf_counter() - start:6.2f} s")
    for row in report.rows():
        print(f"  {row.name:18} {row.value}")
    if not with_folds:
        return
    scores = np.concatenate((genuine, impostor))
    is_same = np.arange(len(scores)) < len(genuine)
    del genuine, impostor
    folds = np.random.default_rng(3).integers(0, N_FOLDS, len(scores), dtype=np.uint8)
    start = time.perf_counter()
    evaluate_scores(scores, is_same, folds)
    print(f"evaluate_scores, ten folds {time.perf_counter() - start:6.2f} s")
    print_peak("evaluated")


def print_peak(what: str) -> None:
    """The most memory this process has had so far."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory, {what}: {peak_mb:,.0f} MB")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--impostors", type=int)
    parser.add_argument("--folds", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, numpy {np.__version__}, {platform.machine()}")
    if given.impostors:
        measure_many(given.impostors, with_folds=given.folds)
    else:
        print(f"{given.pairs:,} pairs")
        time_protocols(given.pairs)


if __name__ == "__main__":
    main()
