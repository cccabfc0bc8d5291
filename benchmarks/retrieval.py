"""How long a search and its measures take: `python benchmarks/retrieval.py [--items N]`.

Draws N vectors of N / 10 classes, searches each among all others, prints the time and the most
memory the process ever held, and (with `--clusters`) the same for both linkages.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time

import numpy as np

from arcwise.evaluate.clusters import evaluate_clusters
from arcwise.evaluate.clusters.linkage import LINKAGES, MOST_AVERAGED
from arcwise.evaluate.retrieval import evaluate_retrieval
from arcwise.evaluate.retrieval.relevance import LabeledVectors

_PER_CLASS = 10


def main() -> None:
    """Draw the vectors, search, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--clusters", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((given.items, given.dimension), np.float32)
    numbers = np.arange(given.items) // _PER_CLASS
    vectors += rng.standard_normal((numbers[-1] + 1, given.dimension), np.float32)[numbers]
    names = tuple(map(str, range(given.items)))
    items = LabeledVectors(names, tuple(map(str, numbers)), vectors)
    print(
        f"{given.items:,} items of {given.dimension} dimensions, {os.cpu_count()} cores, "
        f"numpy {np.__version__}, {platform.machine()}"
    )
    start = time.perf_counter()
    report = evaluate_retrieval(items)
    _tell("retrieval", start, f"mAP@R {report.measures['map_at_r'].text}")
    if not given.clusters:
        return
    for name, link in LINKAGES.items():
        if name == "average" and given.items > MOST_AVERAGED:
            continue
        start = time.perf_counter()
        merges = link(items.vectors)
        _tell(f"link {name}", start, f"{len(merges.first):,} merges")
        start = time.perf_counter()
        clusters = evaluate_clusters(merges, items.labels, linkage=name)
        _tell("  scores", start, f"BCubed F {clusters.best.scores.bcubed.f:.4f}")


def _tell(what: str, start: float, result: str) -> None:
    seconds = time.perf_counter() - start
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts KB
    print(f"{what:16} {seconds:7.1f} s   peak {peak_gb:.2f} GB   {result}", flush=True)


if __name__ == "__main__":
    main()
