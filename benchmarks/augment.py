"""How fast training crops are changed at random: `python benchmarks/augment.py [--cores N]`.

Crops of 144 px (112 and a border of 16 on each side) become crops of 112 px: with the default
strengths, and with each operation alone at a strength in the middle of its range. One thread makes
one crop at a time; times are processor time, so that other work on the machine counts little.
Photos: see benchmarks/detect.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from machine import describe_machine, load_photos, pin_to

from arcwise.align import align_faces
from arcwise.data.augment import Augmentation, augment
from arcwise.detect.mtcnn import MTCNN
from arcwise.distort import (
    Placement,
    Rectangle,
    Tone,
    add_noise,
    blur_image,
    change_tone,
    compress_jpeg,
    erase_rectangle,
    keep_rectangle,
    lower_resolution,
    remove_color,
    warp_crop,
)
from arcwise.image import read_image
from arcwise.types import Crops, Image

SIZE_PX = 112
BORDER_PX = 16
ROUNDS = 9

MOVED = Placement(scale=1.06, rotation_deg=6, shift_x_px=2.5, shift_y_px=-2.5, shear=0.06)
TINTED = Tone(contrast=1.2, brightness=18, red=1.08, green=0.95, blue=1.02)
TURNED = replace(TINTED, saturation=1.2, hue_deg=8)
HIDDEN = Rectangle(left=40, top=50, right=75, bottom=85, level=90)
WINDOW = Rectangle(left=10, top=15, right=95, bottom=100, level=0)
OPERATIONS: dict[str, Callable[[Image], Image]] = {
    # Of crops without a border, but for the warp.
    "tone": partial(change_tone, tone=TINTED),
    "tone and colors": partial(change_tone, tone=TURNED),
    "gray": remove_color,
    "blur": partial(blur_image, sigma_px=1.0),
    "low resolution": partial(lower_resolution, side_px=52),
    "noise": partial(add_noise, sigma=8, seed=1),
    "jpeg": partial(compress_jpeg, quality=60),
    "erase": partial(erase_rectangle, rectangle=HIDDEN),
    "crop": partial(keep_rectangle, rectangle=WINDOW),
}


def load_crops(n: int) -> tuple[str, Crops]:
    """At least n crops of faces with their border, and where the photos come from."""
    source, contents = load_photos(n)
    detector = MTCNN(threads=1)
    crops = []
    for photo in map(read_image, contents):
        points = np.array([face.points_px for face in detector.detect([photo])[0]], np.float32)
        crops.append(align_faces(photo, points, size_px=SIZE_PX, border_px=BORDER_PX))
    return source, np.concatenate(crops)


def time_each(change: Callable[[Image], Image], crops: Crops) -> float:
    """Microseconds of processor time per crop, the median of some rounds after one that is not."""
    times_us = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for crop in crops:
            change(crop)
        times_us.append(1e6 * (time.process_time() - start) / len(crops))
    return float(np.median(times_us[1:]))


def main() -> None:
    """Print the default policy, what it spends on drawing, and every operation alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--photos", type=int, default=256)
    given = parser.parse_args()
    n_cores = pin_to(given.cores)
    source, crops = load_crops(given.photos)
    rng = np.random.default_rng(0)
    policy = Augmentation()
    changes: dict[str, Callable[[Image], Image]] = {
        "default policy": partial(augment, border_px=BORDER_PX, augmentation=policy, rng=rng),
        "no augmentation": partial(
            augment, border_px=BORDER_PX, augmentation=Augmentation.none(), rng=rng
        ),
        "warp": partial(warp_crop, placement=MOVED, size_px=SIZE_PX),
    }
    print(describe_machine(n_cores))
    print(f"{len(crops)} crops of {crops.shape[1]} px ({source}) to {SIZE_PX} px")
    print("change              us/crop   crops/s")
    for name, change in changes.items():
        print_row(name, time_each(change, crops))
    inner = np.ascontiguousarray(crops[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX])
    for name, change in OPERATIONS.items():
        print_row(name, time_each(change, inner))


def print_row(name: str, time_us: float) -> None:
    """One line of the table."""
    print(f"{name:18} {time_us:8.1f}  {1e6 / time_us:8,.0f}")


if __name__ == "__main__":
    main()
