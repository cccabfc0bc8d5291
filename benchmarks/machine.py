"""What the benchmarks share: the machine they run on and the photos they read."""

from __future__ import annotations

import os
import platform
import zipfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from arcwise.encode import encode_image
from arcwise.image import read_image, resize_image

PORTRAITS = {
    "matplotlib": "mpl-data/sample_data/grace_hopper.jpg",
    "skimage": "data/astronaut.png",
}


def pin_to(n_cores: int) -> int:
    """Keep to the first cores where the system lets us; returns how many there are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cores])
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine(n_cores: int) -> str:
    """Processor, cores and versions, on one line."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {n_cores} core(s), Python {platform.python_version()}, "
        f"numpy {np.__version__}, opencv {cv2.__version__}, onnxruntime {onnxruntime.__version__}"
    )


def load_photos(n: int) -> tuple[str, list[bytes]]:
    """JPEG files of 250x250 px with a face each, and where they come from.

    Photos of LFW where ARCWISE_TEST_DATA names them, else the two public-domain portraits.
    """
    folder = os.environ.get("ARCWISE_TEST_DATA")
    if folder:
        with zipfile.ZipFile(Path(folder) / "lfw" / "lfw-deepfunneled.zip") as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            chosen = np.random.default_rng(0).choice(len(names), n, replace=False)
            return "LFW", [archive.read(names[i]) for i in chosen]
    portraits = []
    for package, place in PORTRAITS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit("set ARCWISE_TEST_DATA, or pip install 'arcwise[demo]'")
        portrait = read_image(Path(spec.origin).parent / place)[:500, :500]
        small = resize_image(portrait, (250, 250))
        portraits.append(encode_image(small, suffix=".jpg"))
    return "two portraits", [portraits[i % 2] for i in range(n)]
