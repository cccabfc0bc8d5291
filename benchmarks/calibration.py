"""How long a calibration takes, and how much memory: every pair of many photos.

    python benchmarks/calibration.py vectors.npz
    python benchmarks/calibration.py --people 5749 --photos 13233

The file holds `names` (PERSON/FILE) and `vectors`; without one, random vectors are drawn.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np

from arcwise.evaluate.calibrate import calibrate
from arcwise.evaluate.calibrate.labeled import LabeledPhoto, score_photos
from arcwise.evaluate.calibrate.probability import fit_probability

T = TypeVar("T")


def main() -> None:
    """Take or draw the photos, calibrate, print times and numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--people", type=int, default=5749)
    parser.add_argument("--photos", type=int, default=13233)
    given = parser.parse_args()
    photos = read_photos(given.file) if given.file else draw_photos(given.people, given.photos)
    print(f"{len(photos):,} photos of {len({photo.person for photo in photos}):,} people")
    scored = timed("scores", lambda: score_photos(photos))
    report = timed("thresholds and intervals", lambda: calibrate(scored))
    found = timed("probability", lambda: fit_probability(scored))
    print(f"{report.n_genuine:,} pairs of one person, {report.n_impostors:,} of two")
    for point in report.points:
        fnmr = f"{point.fnmr:.2%} [{point.fnmr_low:.2%}, {point.fnmr_high:.2%}]"
        place = f"{point.similarity:.4f} [{point.low:.4f}, {point.high:.4f}]"
        print(f"FMR {point.fmr:.0e} at {place}, FNMR {fnmr}, {point.n_false:,} false")
    print(f"EER {report.eer}")
    for trial in found.trials:
        print(f"{trial.method}: Brier {trial.brier:.5f}, log loss {trial.log_loss:.5f}")
    print(f"{found.curve.method} is kept, {len(found.curve.similarities)} knots")
    for row in found.reliability:
        shares = f"{row.observed:.3f} [{row.low:.3f}, {row.high:.3f}]"
        pairs = f"{row.n_genuine:,} of one person, {row.n_impostors:,} of two"
        print(f"  said {row.predicted:.3f}, found {shares}: {pairs}")


def timed(what: str, work: Callable[[], T]) -> T:
    """The result of some work; prints its time and the memory that was needed so far."""
    start = perf_counter()
    result = work()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {perf_counter() - start:.1f} s, {peak_gb:.2f} GB at most so far", flush=True)
    return result


def read_photos(path: Path) -> list[LabeledPhoto]:
    """Photos called PERSON/FILE with their vectors."""
    with np.load(path, allow_pickle=False) as file:
        names, vectors = file["names"].tolist(), file["vectors"]
    return [
        LabeledPhoto(name, name.split("/")[0], vector, "")
        for name, vector in zip(names, vectors, strict=True)
    ]


def draw_photos(n_people: int, n_photos: int, dimension: int = 128) -> list[LabeledPhoto]:
    """Vectors around a center for each person; everybody has one or more."""
    rng = np.random.default_rng(0)
    people = np.sort(
        np.concatenate((np.arange(n_people), rng.integers(0, n_people, n_photos - n_people)))
    )
    centers = rng.normal(size=(n_people, dimension))
    vectors = centers[people] + 0.9 * rng.normal(size=(n_photos, dimension))
    return [
        LabeledPhoto(f"{person}/{number}", f"{person}", vector, "")
        for number, (person, vector) in enumerate(zip(people, vectors, strict=True))
    ]


if __name__ == "__main__":
    main()
