"""One object for photos: find faces, align, embed, judge, compare.

It does not know people: a Gallery takes a recognizer. Models are loaded when they are first
needed, so that detection and alignment work without an embedding model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from arcwise.align import align_faces
from arcwise.choose import choose_face
from arcwise.compare import (
    Calibration,
    calibration_beside,
    choose_threshold,
    cosine_similarity,
)
from arcwise.decide import decide_pair
from arcwise.detect import build_detector, check_detector
from arcwise.embed import ONNXEmbedder
from arcwise.errors import InputError, ManyFacesError, NoFaceError
from arcwise.image import PhotoSource, describe_source, pixel_digest, read_image
from arcwise.quality import IDENTIFY, judge, measure_qualities
from arcwise.settings import Settings
from arcwise.types import (
    Comparison,
    Crops,
    Detector,
    Embedder,
    Face,
    Faces,
    Floats,
    Image,
    Quality,
    Select,
)
from arcwise.zoo.registry import Model, default_model, find_model

_DEMO = "a demo-grade model"
_BATCH_PIXELS = 32_000_000  # about 100 MB of photos held at once, whatever the batch size


@dataclass(frozen=True, eq=False, slots=True)
class Photo:
    """A photo that was read, or why it could not be.

    Attributes:
        source: the photo, as the caller named it.
        image: (H, W, 3) uint8 RGB, upright; None when it was not read.
        error: why it could not be read, else None.
    """

    source: str
    image: Image | None
    error: InputError | None = None


class Recognizer:
    """Finds, aligns, embeds and compares faces.

    Args:
        model: name of an embedding model, path of its .onnx file, or an Embedder; by default
            ARCWISE_MODEL, else the one that comes with arcwise, else your only one.
        detector: name of a detector, or a Detector.
        flip: embed each face and its mirror image (twice the time, a little more accurate).
        calibration: of the model; by default the one in your calibrations folder or beside the
            model, if there is one.
        settings: by default read from the environment.

    Raises:
        UnknownModelError: no such model or detector.
        InputError: the model is neither name, path nor Embedder, or the detector likewise.
        ModelMismatchError: the calibration belongs to another model; raised at its first use.
    """

    def __init__(
        self,
        *,
        model: str | Path | Embedder | None = None,
        detector: str | Detector = "mtcnn",
        flip: bool = False,
        calibration: Calibration | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environment()
        self._wanted_model = model
        self._wanted_detector = detector
        self._flip = flip
        self._given_calibration = calibration
        if isinstance(detector, str):
            check_detector(detector)
        elif not hasattr(detector, "detect"):
            raise InputError(
                f"detector is {detector!r:.60}", hint="give the name of a detector, or a Detector"
            )
        self._model: Model | None = None
        if isinstance(model, str | Path):
            self._model = find_model(model, self.settings)
        elif model is not None and not hasattr(model, "embed"):
            raise InputError(
                f"model is {model!r:.60}",
                hint="give the name of an embedding model, the path of its file, or an Embedder",
            )

    @cached_property
    def detector(self) -> Detector:
        """The detector, loaded on first use."""
        if isinstance(self._wanted_detector, str):
            return build_detector(self._wanted_detector, self.settings)
        return self._wanted_detector

    @cached_property
    def embedder(self) -> Embedder:
        """The embedding model, loaded on first use.

        Raises:
            UnknownModelError: none was named and there is no default.
        """
        if self._wanted_model is not None and not isinstance(self._wanted_model, str | Path):
            return self._wanted_model
        if self._model is None:
            self._model = default_model(self.settings).model
        return ONNXEmbedder(
            self._model,
            flip=self._flip,
            provider=self.settings.provider,
            strict=self.settings.strict,
            threads=self.settings.threads,
        )

    @cached_property
    def calibration(self) -> Calibration | None:
        """What is measured of the model's false match rates, or None."""
        calibration = self._given_calibration
        if calibration is None:
            places = [self.settings.calibrations_dir / f"{self.embedder.digest}.json"]
            if self._model is not None:
                places.append(calibration_beside(self._model.path))
            found = next((place for place in places if place.is_file()), None)
            calibration = Calibration.load(found) if found else None
        if calibration is not None:
            calibration.check_model(self.embedder.digest)
        return calibration

    @property
    def caveat(self) -> str:
        """What every decision must say, or nothing.

        That the model is of demo grade; that its thresholds were measured with other mirror images
        than it embeds.
        """
        flips = getattr(self.embedder, "flip", None)  # nothing is known of an Embedder of your own
        known = [] if self._model is None or self._model.card.grade != "demo" else [_DEMO]
        if self.calibration is not None and flips is not None:
            known.append(self.calibration.caveat_of("sum" if flips else "none"))
        return "; ".join(part for part in known if part)

    @property
    def published_threshold(self) -> tuple[float, float | None] | None:
        """The publisher's threshold and its false match rate, from the model's card."""
        _ = self.embedder
        threshold = self._model.card.threshold if self._model else None
        return (threshold.similarity, threshold.fmr) if threshold else None

    def read(self, photos: Iterable[PhotoSource]) -> Iterator[list[Photo]]:
        """Read photos in batches that fit in memory, the next one while you work on this one.

        Yields:
            Lists of photos; one that cannot be read carries its error.
        """
        batches = self._read_batches(photos)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="arcwise-read") as reader:
            following = reader.submit(next, batches, None)
            while (batch := following.result()) is not None:
                following = reader.submit(next, batches, None)
                yield batch

    def _read_batches(self, photos: Iterable[PhotoSource]) -> Iterator[list[Photo]]:
        batch: list[Photo] = []
        n_pixels = 0
        for source in photos:
            photo = self._read_one(source)
            batch.append(photo)
            n_pixels += photo.image.size // 3 if photo.image is not None else 0
            if len(batch) >= self.settings.batch_size or n_pixels >= _BATCH_PIXELS:
                yield batch
                batch, n_pixels = [], 0
        if batch:
            yield batch

    def _read_one(self, source: PhotoSource) -> Photo:
        name = describe_source(source)
        try:
            return Photo(name, read_image(source, max_pixels=self.settings.max_pixels))
        except InputError as exc:
            return Photo(name, None, exc)

    def detect_many(self, photos: Iterable[PhotoSource]) -> Iterator[Faces]:
        """Find the faces of many photos; see `analyze_many`, without embeddings and quality."""
        for _, faces in self.detect_photos(photos):
            yield faces

    def detect_photos(self, photos: Iterable[PhotoSource]) -> Iterator[tuple[Photo, Faces]]:
        """The same as `detect_many`, each with the photo itself: to draw on it or to align."""
        for batch in self.read(photos):
            yield from zip(batch, self._detect_batch(batch), strict=True)

    def _detect_batch(self, batch: Sequence[Photo]) -> list[Faces]:
        images = [photo.image for photo in batch if photo.image is not None]
        found = iter(self.detector.detect(images))
        results = []
        for photo in batch:
            if photo.image is None:
                results.append(Faces(photo.source, error=photo.error))
                continue
            height, width = photo.image.shape[:2]
            faces = sorted(next(found), key=lambda face: -float(np.prod(face.size_wh_px)))
            digest = pixel_digest(photo.image)
            results.append(Faces(photo.source, (width, height), digest, tuple(faces)))
        return results

    def analyze_many(self, photos: Iterable[PhotoSource]) -> Iterator[Faces]:
        """Find, align, embed and judge the faces of many photos.

        All photos of a batch go through the detector together, and all of their faces through
        the embedder together.

        Args:
            photos: paths, bytes, file objects, PIL images or arrays.

        Yields:
            For each photo, in order, its faces with embedding, norm and quality (held against
            the limits for identification), largest first; or the error why it was not read.

        Raises:
            ModelError: a model cannot be used.
        """
        for batch in self.read(photos):
            yield from self.analyze_batch(batch)

    def analyze_batch(self, batch: Sequence[Photo]) -> list[Faces]:
        """Find, align, embed and judge the faces of photos that were read; see `analyze_many`."""
        return self._complete_batch(batch, self._detect_batch(batch))

    def choose_many(
        self, photos: Iterable[PhotoSource], *, select: Select = "largest"
    ) -> Iterator[Faces]:
        """Embed the one face that is meant in each photo.

        Args:
            photos: paths, bytes, file objects, PIL images or arrays.
            select: which face of several is meant.

        Yields:
            For each photo, in order, exactly one face; or the error: the photo cannot be read
            (ImageError), shows no face (NoFaceError), or several with "only" (ManyFacesError).

        Raises:
            ModelError: a model cannot be used.
        """
        for batch in self.read(photos):
            found = [_choose(result, select) for result in self._detect_batch(batch)]
            yield from self._complete_batch(batch, found)

    def _complete_batch(self, batch: Sequence[Photo], results: list[Faces]) -> list[Faces]:
        """The same faces with embedding, norm and quality, embedded in one run."""
        size_px = self.embedder.crop_size_px
        crops, qualities = [], []
        for photo, result in zip(batch, results, strict=True):
            if photo.image is None or not result.faces:
                continue
            points = np.stack([face.points_px for face in result.faces])
            crops.append(align_faces(photo.image, points, size_px=size_px))
            standard = crops[-1] if size_px == 112 else align_faces(photo.image, points)
            qualities += measure_qualities(
                result.faces, standard, image_size_wh_px=result.size_wh_px
            )
        if not crops:
            return results
        embeddings = self.embedder.embed(np.concatenate(crops))
        measured = iter(zip(embeddings.vectors, embeddings.norms, qualities, strict=True))
        return [
            replace(result, faces=tuple(_complete(face, *next(measured)) for face in result.faces))
            for result in results
        ]

    def detect(self, photo: PhotoSource) -> list[Face]:
        """Find the faces of one photo, largest first.

        Raises:
            ImageError: the photo cannot be read.
        """
        return list(_only_result(self.detect_many([photo])).faces)

    def analyze(self, photo: PhotoSource) -> list[Face]:
        """Find, embed and judge the faces of one photo, largest first.

        Args:
            photo: path, bytes, file object, PIL image or array.

        Returns:
            Faces with embedding, norm and quality; an empty list when there is none.

        Raises:
            ImageError: the photo cannot be read.
            ModelError: a model cannot be used.
        """
        return list(_only_result(self.analyze_many([photo])).faces)

    def align(self, photo: PhotoSource, *, size_px: int = 112) -> Crops:
        """The aligned crops of all faces of one photo, largest face first.

        Returns:
            (N, size_px, size_px, 3) uint8 RGB.

        Raises:
            ImageError: the photo cannot be read.
        """
        ((read, result),) = self.detect_photos([photo])
        faces = _only_result(iter([result])).faces
        assert read.image is not None
        points = np.array([face.points_px for face in faces], np.float32)
        return align_faces(read.image, points.reshape(-1, 5, 2), size_px=size_px)

    def compare(self, a: PhotoSource, b: PhotoSource, *, select: Select = "largest") -> Comparison:
        """Whether two photos show the same person.

        Args:
            a: one photo.
            b: the other.
            select: which face of several is meant.

        Raises:
            ImageError: a photo cannot be read.
            NoFaceError: a photo shows no face.
            ManyFacesError: `select` is "only" and a photo shows several.
        """
        chosen = []
        for result in self.choose_many([a, b], select=select):
            if result.error is not None:
                if isinstance(result.error, NoFaceError | ManyFacesError):
                    text = f"{result.source}: {result.error}"
                    raise type(result.error)(text, hint=result.error.hint)
                raise result.error
            chosen.append(result.faces[0])
        first, second = (face.embedding for face in chosen)
        assert first is not None
        assert second is not None
        similarity = float(cosine_similarity(first, second)[0, 0])
        threshold = choose_threshold(self.calibration, self.published_threshold)
        threshold = threshold.with_caveat(self.caveat)
        return decide_pair(similarity, threshold, self.calibration)


def _complete(face: Face, vector: Floats, norm: float, quality: Quality) -> Face:
    return replace(face, embedding=vector, norm=float(norm), quality=judge(quality, IDENTIFY))


def _choose(result: Faces, select: Select) -> Faces:
    """The photo with the one face that is meant, or with the error why there is none."""
    if result.error is not None:
        return result
    try:
        return replace(result, faces=(choose_face(result.faces, result.size_wh_px, select),))
    except (NoFaceError, ManyFacesError) as exc:
        return replace(result, faces=(), error=exc)


def _only_result(results: Iterator[Faces]) -> Faces:
    """The result of the one photo that was given, or its error."""
    (result,) = results
    if result.error is not None:
        raise result.error
    return result
