"""What evaluating a folder costs: `python benchmarks/evaluate.py --model PATH [--photos 256]`.

First photos, through the detector, then their aligned crops: photos per second, the share of the
time that detector and embedder take, and what a second measurement takes, whose vectors come from
the cache. At last how fast saved embeddings are written and read. Photos: see
benchmarks/detect.py; without --model the default model of your installation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, load_photos, pin_to

from arcwise.cli.vectors import embed_names
from arcwise.encode import encode_image
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, load_embeddings, save_embeddings
from arcwise.files import write_atomically
from arcwise.photos import open_photos
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings


class Clock:
    """Counts the time that one method takes."""

    def __init__(self, owner: Any, method: str) -> None:
        self.spent_s = 0.0
        self._call: Callable[..., Any] = getattr(owner, method)
        setattr(owner, method, self._count)

    def _count(self, *arguments: Any) -> Any:
        start = time.perf_counter()
        answer = self._call(*arguments)
        self.spent_s += time.perf_counter() - start
        return answer


def measure_folder(recognizer: Recognizer, folder: Path, *, aligned: bool) -> None:
    """Print how fast a folder becomes vectors, without, with and from the cache."""
    recognizer.embedder.embed(np.zeros((1, 112, 112, 3), np.uint8))  # what only the first run pays
    clocks = {"embed": Clock(recognizer.embedder, "embed")}
    if not aligned:
        clocks["detect"] = Clock(recognizer.detector, "detect")
    print("aligned crops" if aligned else "photos")
    for run, use_cache in (("no cache", False), ("cache", True), ("again, from the cache", True)):
        before = {name: clock.spent_s for name, clock in clocks.items()}
        with open_photos(folder) as archive:
            start = time.perf_counter()
            embedded = embed_names(
                recognizer, archive, archive.names, aligned=aligned, use_cache=use_cache
            )
            spent_s = time.perf_counter() - start
        shares = {name: (c.spent_s - before[name]) / spent_s for name, c in clocks.items()}
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        print(
            f"  {run:<22} {len(archive.names) / spent_s:9,.1f} photos/s  "
            f"{sum(shares.values()):6.1%} in detector and embedder ({told}); "
            f"{len(embedded.reasons)} without a vector"
        )


def measure_files(folder: Path, *, n: int, dimension: int) -> None:
    """Print how fast saved embeddings are written and read."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(2, n, dimension)).astype(np.float32)
    names = tuple(f"person {i // 4}/{i}.jpg" for i in range(n))
    embedded = EmbeddedPhotos(names, raw[0], raw[1], ("0" * 64,) * n, {}, "random", "")
    for suffix in (".npz", ".parquet"):
        start = time.perf_counter()
        path = save_embeddings(embedded, folder / f"x{suffix}")
        written = time.perf_counter()
        load_embeddings(path)
        read_s = time.perf_counter() - written
        print(
            f"  {suffix:<9} {path.stat().st_size / 1e6:7.1f} MB, written in "
            f"{written - start:.2f} s, read in {read_s:.2f} s"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name or path of an embedding model")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    n_cores = pin_to(given.cores)
    origin, files = load_photos(given.photos)
    print(describe_machine(n_cores))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        settings = replace(Settings.from_environment(), home=work / "home", threads=n_cores)
        recognizer = Recognizer(model=given.model, settings=settings)
        print(f"{len(files)} photos ({origin}), model {recognizer.embedder.name}")
        for number, content in enumerate(files):
            write_atomically(work / "photos" / f"{number:05}.jpg", content)
            crops = recognizer.align(content)
            if len(crops):
                crop = encode_image(crops[0], suffix=".jpg", quality=95)
                write_atomically(work / "crops" / f"{number:05}.jpg", crop)
        measure_folder(recognizer, work / "photos", aligned=False)
        measure_folder(recognizer, work / "crops", aligned=True)
        print("saved embeddings of 20,000 photos, 512 dimensions, two views")
        measure_files(work, n=20_000, dimension=512)


if __name__ == "__main__":
    main()
