"""How long IJB-C takes after the network: `python benchmarks/templates.py [--naive]`.

Writes 23,124 random templates of 512 numbers to a file, maps it, and scores 15.66 million pairs
that are laid out as IJB-C's: templates of 3,531 galleries against 19,593 probes. Prints the time
of `score_pairs`, of the same pairs in random order, of reading the list of pairs, of every number
of 1:1 by both rules, of 1:N in two galleries, and of fetching two vectors for each pair as the
published code does (a part of the pairs, extrapolated; --naive runs all). Then the time to pool
469,375 images of two views into templates, and the peak of memory, mapped files included.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from arcwise.evaluate.sets.ijb import TemplatePeople, read_template_pairs
from arcwise.evaluate.templates import Templates, pool_templates, score_pairs
from arcwise.evaluate.templates.openset import search_galleries
from arcwise.evaluate.templates.pairwise import measure_templates, score_templates

N_GALLERY, N_PROBES, D = 3_531, 19_593, 512
N_TEMPLATES = N_GALLERY + N_PROBES  # 23,124, as IJB-C
N_GENUINE = 19_557
N_IMAGES = 469_375
_NAIVE_PAIRS = 1_000_000
Result = TypeVar("Result")


def main() -> None:
    """Draw templates and pairs, score them, print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15_658_489)
    parser.add_argument("--images", type=int, default=N_IMAGES)
    parser.add_argument("--naive", action="store_true", help="fetch all pairs, too")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, numpy {np.__version__}, {platform.machine()}")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        _time_pairs(rng, options.pairs, Path(folder), is_naive=options.naive)
        _time_pooling(rng, options.images, Path(folder))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory          {peak_kb / 1024:8,.0f} MB")


def _time_pairs(rng: np.random.Generator, n: int, folder: Path, *, is_naive: bool) -> None:
    vectors = rng.standard_normal((N_TEMPLATES, D), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / "templates.npy", vectors)
    mapped = np.load(folder / "templates.npy", mmap_mode="r")
    first, second = _draw_pairs(rng, n)
    print(f"{n:,} pairs of {N_TEMPLATES:,} templates of {D}, memory-mapped")
    scores = _timed("score_pairs", lambda: score_pairs(mapped, first, second))
    order = rng.permutation(n)
    shuffled = _timed(
        "the same, shuffled", lambda: score_pairs(mapped, first[order], second[order])
    )
    assert np.array_equal(scores[order], shuffled)
    n_naive = n if is_naive else min(n, _NAIVE_PAIRS)
    start = time.perf_counter()
    naive = _fetch(mapped, first[:n_naive], second[:n_naive])
    seconds = time.perf_counter() - start
    note = "" if n_naive == n else f" ({n_naive:,} measured, the rest extrapolated)"
    print(f"{'fetching each pair':20} {seconds * n / n_naive:8.2f} s{note}")
    print(f"largest difference   {np.abs(naive - scores[:n_naive]).max():.1e}")
    path = folder / "pairs.txt"
    is_same = np.zeros(n, np.int32)
    is_same[:N_GENUINE] = 1
    np.savetxt(path, np.stack([first, second, is_same], axis=1), fmt="%d")
    pairs = _timed("reading the list", lambda: read_template_pairs(path))
    templates = Templates(np.arange(N_TEMPLATES), mapped, np.ones(N_TEMPLATES, np.bool_))
    _timed("all of 1:1", lambda: measure_templates(score_templates(templates, pairs)))
    galleries, probes = _enroll(rng)
    _timed("all of 1:N", lambda: search_galleries(templates, galleries, probes))


def _enroll(rng: np.random.Generator) -> tuple[dict[str, TemplatePeople], TemplatePeople]:
    """G1 with 1,772 people, G2 with 1,759; every probe is of one of them."""
    people = tuple(map(str, range(N_GALLERY)))
    first = {"G1": slice(0, 1_772), "G2": slice(1_772, N_GALLERY)}
    galleries = {
        name: TemplatePeople(np.arange(N_GALLERY)[part], people[part], "")
        for name, part in first.items()
    }
    shown = tuple(map(str, rng.integers(0, N_GALLERY, N_PROBES)))
    return galleries, TemplatePeople(np.arange(N_GALLERY, N_TEMPLATES), shown, "")


def _draw_pairs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a gallery's template and a probe, in the order of the first."""
    drawn = np.unique(rng.integers(0, N_GALLERY * N_PROBES, int(n * 1.25)))
    drawn = np.sort(rng.choice(drawn, n, replace=False))
    return (drawn // N_PROBES).astype(np.int32), (N_GALLERY + drawn % N_PROBES).astype(np.int32)


def _fetch(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """As published: 100,000 pairs at a time."""
    scores = np.empty(len(first))
    for start in range(0, len(first), 100_000):
        part = slice(start, start + 100_000)
        scores[part] = np.sum(vectors[first[part]] * vectors[second[part]], axis=-1)
    return scores


def _time_pooling(rng: np.random.Generator, n: int, folder: Path) -> None:
    """Images of two views, written in parts: they need not fit into memory twice."""
    path = folder / "images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, 2, D))
    for start in range(0, n, 8192):
        part = images[start : start + 8192]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    images.flush()
    templates = np.sort(rng.integers(0, N_TEMPLATES, n))
    media = rng.integers(0, 8, n)
    scores = rng.random(n, dtype=np.float32)
    mapped = np.load(path, mmap_mode="r")
    _timed(f"pooling {n:,}", lambda: pool_templates(mapped, templates, media, scores))


def _timed(name: str, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = work()
    print(f"{name:20} {time.perf_counter() - start:8.2f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
