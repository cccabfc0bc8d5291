"""How fast photos become embeddings: `python benchmarks/recognize.py --model PATH [--cores N]`.

First the whole way from the bytes of a JPEG file to embedding and quality, photos per second and
the share of each stage. Then how much of the speed of a plain onnxruntime loop over prepared
inputs `embed` keeps, although it prepares the crops and normalizes the answers itself. Photos: see
benchmarks/detect.py; without --model the default model of your installation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnxruntime
from machine import describe_machine, load_photos, pin_to

from arcwise.align import align_faces
from arcwise.detect.mtcnn import MTCNN
from arcwise.embed import ONNXEmbedder, prepare_crops
from arcwise.errors import UnknownModelError
from arcwise.image import read_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.types import Crops
from arcwise.zoo.registry import Model, default_model, find_model

BATCH = 16
ROUNDS = 9


def time_stages(
    detector: MTCNN, embedder: ONNXEmbedder, files: list[bytes]
) -> tuple[dict[str, float], Crops]:
    """Seconds of each stage over all photos, and the crops of all faces."""
    spent = dict.fromkeys(["read", "detect", "align", "embed"], 0.0)
    crops = []
    for first in range(0, len(files), BATCH):
        start = time.perf_counter()
        images = [read_image(content) for content in files[first : first + BATCH]]
        after_read = time.perf_counter()
        found = detector.detect(images)
        after_detect = time.perf_counter()
        aligned = [
            align_faces(image, [face.points_px for face in faces], size_px=embedder.crop_size_px)
            for image, faces in zip(images, found, strict=True)
        ]
        crops.append(np.concatenate(aligned))
        after_align = time.perf_counter()
        embedder.embed(crops[-1])
        spent["read"] += after_read - start
        spent["detect"] += after_detect - after_read
        spent["align"] += after_align - after_detect
        spent["embed"] += time.perf_counter() - after_align
    return spent, np.concatenate(crops)


def time_call(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare_with_plain_loop(
    model: Model, embedder: ONNXEmbedder, crops: Crops, *, batch: int, threads: int
) -> tuple[float, float, float]:
    """Crops per second of arcwise and of the loop, and the median of their ratios.

    Both take turns, so that a busy moment of the machine meets both.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(model.path), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    parts = [crops[start : start + batch] for start in range(0, len(crops), batch)]
    inputs = [prepare_crops(part, model.card.input) for part in parts]

    def ours() -> None:
        for part in parts:
            embedder.embed(part)

    def plain() -> None:
        for values in inputs:
            session.run(None, {name: values})

    ours()
    plain()
    rounds = [(time_call(ours), time_call(plain)) for _ in range(ROUNDS)]
    ratio = statistics.median(theirs / mine for mine, theirs in rounds)
    ours_s, plain_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    return len(crops) / ours_s, len(crops) / plain_s, ratio


def main() -> None:
    """Print the whole way, its stages and the comparison with the plain loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name, or path of an .onnx file with its card")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--photos", type=int, default=128)
    given = parser.parse_args()
    n_cores = pin_to(given.cores)
    settings = replace(Settings.from_environment(), threads=n_cores, provider="cpu")
    try:
        model = find_model(given.model, settings) if given.model else default_model(settings).model
    except UnknownModelError as exc:
        raise SystemExit(f"{exc}; {exc.hint}") from exc
    detector = MTCNN(threads=n_cores)
    embedder = ONNXEmbedder(model, threads=n_cores)
    source, files = load_photos(given.photos)
    print(describe_machine(n_cores))
    print(f"{given.photos} photos of 250x250 ({source}), model {model.card.name}")

    recognizer = Recognizer(model=embedder, detector=detector, settings=settings)
    list(recognizer.analyze_many(files[:BATCH]))
    whole_s = time_call(lambda: list(recognizer.analyze_many(files)))
    spent, crops = time_stages(detector, embedder, files)
    print(f"file to embedding and quality: {len(files) / whole_s:.1f} photos/s")
    for stage, seconds in spent.items():
        share = seconds / sum(spent.values())
        print(f"  {stage:7} {1000 * seconds / len(files):6.2f} ms/photo  {share:4.0%}")

    print("embed       arcwise/s  plain loop/s  ratio")
    for batch in (1, BATCH):
        ours, plain, ratio = compare_with_plain_loop(
            model, embedder, crops, batch=batch, threads=n_cores
        )
        print(f"batch {batch:2}     {ours:8.1f}      {plain:8.1f}  {ratio:5.3f}")


if __name__ == "__main__":
    main()
