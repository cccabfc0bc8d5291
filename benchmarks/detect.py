"""How long finding faces takes: `python benchmarks/detect.py [--cores N] [--photos N]`.

Photos of LFW (ARCWISE_TEST_DATA) as they are, 250x250 with one face, and two of them side by side
on a canvas of 640x480; without LFW the two public-domain portraits, resized. Every photo is read
beforehand. Batched times are of 16 photos in one call, per photo.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from machine import describe_machine, load_photos, pin_to

from arcwise.detect.mtcnn import MTCNN
from arcwise.image import read_image
from arcwise.types import Image

BATCH = 16


def pair_up(photos: list[Image]) -> list[Image]:
    """Canvases of 640x480 that show a photo and its neighbor."""
    canvases = []
    for left, right in zip(photos, [*photos[1:], photos[0]], strict=True):
        canvas = np.full((480, 640, 3), 110, np.uint8)
        canvas[115:365, 35:285] = left
        canvas[115:365, 355:605] = right
        canvases.append(canvas)
    return canvases


def time_each(detect: Callable[[list[Image]], object], batches: list[list[Image]]) -> list[float]:
    """Milliseconds per photo of each call, after one call that does not count."""
    detect(batches[0])
    times_ms = []
    for batch in batches:
        start = time.perf_counter()
        detect(batch)
        times_ms.append(1000 * (time.perf_counter() - start) / len(batch))
    return times_ms


def time_stages(detector: MTCNN, photos: list[Image]) -> dict[str, float]:
    """Seconds that the three networks take, and all the rest."""
    spent = dict.fromkeys(["proposal", "refine", "output"], 0.0)

    def timed(name: str, run: Callable[..., object]) -> Callable[..., object]:
        def measure(*arguments: object) -> object:
            start = time.perf_counter()
            answer = run(*arguments)
            spent[name] += time.perf_counter() - start
            return answer

        return measure

    sessions = {name: getattr(detector, f"_{name}") for name in spent}
    for name, session in sessions.items():
        session.run = timed(name, session.run)
    start = time.perf_counter()
    for photo in photos:
        detector.detect([photo])
    whole_s = time.perf_counter() - start
    for session in sessions.values():
        del session.run
    return spent | {"pixels and boxes": whole_s - sum(spent.values())}


def main() -> None:
    """Print a row for each kind of photo, alone and in batches, and where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--min-face-px", type=int, default=40)
    given = parser.parse_args()
    n_cores = pin_to(given.cores)
    detector = MTCNN(min_face_px=given.min_face_px, provider="cpu", threads=n_cores)
    source, contents = load_photos(given.photos)
    photos = [read_image(content) for content in contents]
    print(describe_machine(n_cores))
    print(f"{given.photos} photos ({source}), smallest face {given.min_face_px} px")
    print("photo     call        p50 ms   p95 ms  photos/s  faces/photo")
    kinds = {"250x250": photos, "640x480": pair_up(photos)}
    for kind, images in kinds.items():
        n_faces = sum(len(faces) for faces in detector.detect(images)) / len(images)
        for step, call in ((1, "alone"), (BATCH, f"batch of {BATCH}")):
            batches = [images[i : i + step] for i in range(0, len(images), step)]
            times_ms = time_each(detector.detect, batches)
            p50, p95 = np.percentile(times_ms, [50, 95])
            row = f"{kind}   {call:11} {p50:6.1f}   {p95:6.1f}    {1000 / p50:6.1f}"
            print(f"{row}       {n_faces:.2f}")
    for kind, images in kinds.items():
        spent = time_stages(detector, images)
        shares = ", ".join(f"{k} {v / sum(spent.values()):.0%}" for k, v in spent.items())
        print(f"{kind}   time: {shares}")


if __name__ == "__main__":
    main()
