"""How long an exact search takes: 100,000 vectors of 512 numbers, 1 and 64 queries, k = 5."""

from __future__ import annotations

import statistics
import time

import numpy as np

from arcwise.index import ExactIndex
from arcwise.types import Floats

N, D, K, ROUNDS = 100_000, 512, 5, 9


def unit_vectors(rng: np.random.Generator, n: int) -> Floats:
    """(n, D) float32 of norm 1."""
    vectors = rng.standard_normal((n, D), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    """Print the median of some rounds."""
    rng = np.random.default_rng(0)
    index = ExactIndex(D)
    vectors = unit_vectors(rng, N)
    start = time.perf_counter()
    index.add(range(N), vectors)
    print(f"add {N} x {D}: {time.perf_counter() - start:.2f} s")
    for n_queries in (1, 64):
        queries = unit_vectors(rng, n_queries)
        times_s = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            index.search(queries, K)
            times_s.append(time.perf_counter() - start)
        median_ms = 1000 * statistics.median(times_s)
        print(f"search {n_queries} in {N} x {D}, k={K}: {median_ms:.1f} ms (median of {ROUNDS})")


if __name__ == "__main__":
    main()
