"""A recognizer without models: the photo is a word that says whose face it shows.

"ann/1" shows Ann, "ann/1+bob/2" shows both (Ann larger), "nobody/1" no face at all, "broken/1"
cannot be read, "ann/1 blurred" is too blurred for anything, "ann/1 soft" only for enrolling, and
of "ann/1 empty" the model makes nothing but zeros.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from arcwise.compare import Calibration
from arcwise.errors import ImageError
from arcwise.types import Crops, Embeddings, Face, Faces, Floats, Image, Quality

DIMENSION = 64
SHARPNESS = {"blurred": 0.0, "soft": 10.0}


@dataclass(frozen=True)
class FakeModel:
    name: str = "fake"
    digest: str = "f" * 64
    dimension: int = DIMENSION

    def embed(self, crops: Crops) -> Embeddings:
        raise NotImplementedError

    def detect(self, images: list[Image]) -> list[list[Face]]:
        raise NotImplementedError


class FakeRecognizer:
    """Gives everybody a direction of their own; two photos of one person are 0.9 alike or more."""

    def __init__(
        self,
        *,
        model: str = "fake",
        detector: str = "boxes",
        vectors: Mapping[str, Floats] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self.embedder = FakeModel(model, hashlib.sha256(model.encode()).hexdigest())
        self.detector = FakeModel(detector, hashlib.sha256(detector.encode()).hexdigest())
        self.published_threshold: tuple[float, float | None] | None = (0.5, None)
        self.caveat = ""
        self.calibration: Calibration | None = None
        self._vectors = vectors or {}
        self._delay_s = delay_s

    def analyze_many(self, photos: Iterable[object], /) -> Iterator[Faces]:
        for photo in photos:
            time.sleep(self._delay_s)
            yield self._analyze(str(photo))

    def _analyze(self, photo: str) -> Faces:
        if photo.startswith("broken"):
            return Faces(source=photo, error=ImageError(f"{photo} is not a photo"))
        shown = [] if photo.startswith("nobody") else photo.split("+")
        faces = tuple(self.face(one, place=number) for number, one in enumerate(shown))
        digest = hashlib.sha256(photo.encode()).hexdigest()
        return Faces(source=photo, size_wh_px=(1000, 400), digest=digest, faces=faces)

    def face(self, shown: str, *, place: int = 0) -> Face:
        width, left = 200.0 - 20 * place, 10.0 + 300 * place
        word = shown.rpartition(" ")[2]
        embedding = self._vectors[shown] if shown in self._vectors else vector_of(shown)
        if word == "empty":
            embedding = np.zeros(DIMENSION, np.float32)
        return Face(
            box_xyxy_px=np.array([left, 100, left + width, 300], np.float32),
            score=0.99,
            points_px=np.zeros((5, 2), np.float32),
            embedding=embedding,
            norm=0.0 if word == "empty" else 20.0,
            quality=Quality(
                size_px=width,
                sharpness=SHARPNESS.get(word, 500.0),
                brightness=128,
                contrast=50,
                yaw_deg=0,
                pitch_deg=0,
                roll_deg=0,
                inside=1.0,
            ),
        )


def vector_of(shown: str) -> Floats:
    """The embedding of a photo like "ann/1"; Ann's direction with a little of the photo's."""
    person = shown.partition("/")[0]
    return unit(_direction(person) + 0.2 * _direction(shown))


def _direction(text: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return unit(np.random.default_rng(seed).normal(size=DIMENSION))


def unit(values: Iterable[float]) -> Floats:
    vector = np.asarray(values, np.float64)
    result: Floats = (vector / np.linalg.norm(vector)).astype(np.float32)
    return result
