"""The values that travel between the rooms: frozen, checked when made, shapes written.

It does not know pixels, models or files. Arrays inside a value are made read-only; two values
with arrays are compared by identity, as arrays have no single truth value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import ImageError, InputError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Crops = NDArray[np.uint8]
"""(N, S, S, 3) uint8 RGB, aligned on the template."""
Floats = NDArray[np.float32]

Select = Literal["largest", "center", "only"]
"""Which face of several is meant; see docs/conventions.md."""

Status = Literal["match", "unknown", "ambiguous", "low_quality"]


def check_image(image: Any) -> Image:
    """The same image, after a look at what it is.

    Raises:
        ImageError: it is not (H, W, 3) uint8, or has no pixels.
    """
    given = np.asarray(image)  # whatever it is, it has a shape to name
    if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or not given.size:
        raise ImageError(
            f"an (H, W, 3) uint8 RGB image is needed, got {given.shape} {given.dtype}",
            hint="read the photo with arcwise.read_image",
        )
    return given


def _frozen_array(value: Any, shape: tuple[int | None, ...], name: str) -> Floats:
    array = np.array(value, dtype=np.float32)
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise InputError(f"{name} must have shape {wanted}, got {array.shape}")
    if not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InputError(f"{name} holds values that are not finite, the first at {first}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong with a face.

    Attributes:
        code: stable word for programs: small, blurred, dark, bright, flat, turned, tilted, rolled,
            cut_off.
        text: the sentence for people, with the measured value and the limit.
        value: what was measured, in the unit the text names.
        limit: the limit it was held against, in the same unit.
    """

    code: str
    text: str
    value: float
    limit: float

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured about one face, and what is wrong with it.

    Attributes:
        size_px: shorter side of the box, px of the original photo.
        sharpness: variance of the Laplacian of the inner part of the aligned crop.
        brightness: mean luma of the same part, 0..255.
        contrast: standard deviation of the luma of the same part, 0..255.
        yaw_deg, pitch_deg, roll_deg: pose estimated from the five points, rough; 0 is frontal.
        inside: share of the aligned crop that lies inside the photo, 0..1.
        reasons: empty when the face is good enough.
    """

    size_px: float
    sharpness: float
    brightness: float
    contrast: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    inside: float
    reasons: tuple[Reason, ...] = ()

    @property
    def is_good(self) -> bool:
        """Nothing is wrong with the face."""
        return not self.reasons


@dataclass(frozen=True, eq=False, slots=True)
class Face:
    """One face in one photo.

    Attributes:
        box_xyxy_px: (4,) float32 left, top, right, bottom in px of the original photo; may
            reach beyond it.
        score: the detector's confidence, 0..1.
        points_px: (5, 2) float32 eye, eye, nose, mouth corner, mouth corner, left first as the
            viewer sees it; px of the original photo.
        embedding: (D,) float32 of norm 1, or None before embedding.
        norm: length of the raw embedding, or None before embedding.
        quality: what is wrong with the face, or None before it was looked at.
    """

    box_xyxy_px: Floats
    score: float
    points_px: Floats
    embedding: Floats | None = None
    norm: float | None = None
    quality: Quality | None = None

    def __post_init__(self) -> None:
        box = _frozen_array(self.box_xyxy_px, (4,), "Face.box_xyxy_px")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise InputError(f"Face.box_xyxy_px must have a positive size, got {box.tolist()}")
        object.__setattr__(self, "box_xyxy_px", box)
        points = _frozen_array(self.points_px, (5, 2), "Face.points_px")
        object.__setattr__(self, "points_px", points)
        object.__setattr__(self, "score", float(self.score))
        if not 0.0 <= self.score <= 1.0 + 1e-6:
            raise InputError(f"Face.score must lie in 0..1, got {self.score}")
        if self.embedding is not None:
            vector = _frozen_array(self.embedding, (None,), "Face.embedding")
            object.__setattr__(self, "embedding", vector)

    @property
    def size_wh_px(self) -> tuple[float, float]:
        """Width and height of the box, px."""
        left, top, right, bottom = (float(v) for v in self.box_xyxy_px)
        return right - left, bottom - top

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the embedding is left out (it is biometric data)."""
        plain: dict[str, Any] = {
            "box_xyxy_px": [round(float(v), 2) for v in self.box_xyxy_px],
            "score": round(self.score, 4),
            "points_px": [[round(float(x), 2), round(float(y), 2)] for x, y in self.points_px],
        }
        if self.norm is not None:
            plain["norm"] = round(float(self.norm), 4)
        if self.quality is not None:
            plain["reasons"] = [reason.text for reason in self.quality.reasons]
        return plain


@dataclass(frozen=True, eq=False, slots=True)
class Embeddings:
    """N embeddings of one model.

    Attributes:
        vectors: (N, D) float32, each of norm 1 (a raw embedding of length 0 stays 0).
        norms: (N,) float32, length of each raw embedding.
    """

    vectors: Floats
    norms: Floats

    def __post_init__(self) -> None:
        vectors = _frozen_array(self.vectors, (None, None), "Embeddings.vectors")
        norms = _frozen_array(self.norms, (len(vectors),), "Embeddings.norms")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "norms", norms)

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def from_raw(cls, raw: NDArray[Any]) -> Embeddings:
        """Normalize raw model outputs.

        Args:
            raw: (N, D) as the model gives them.

        Raises:
            InputError: not of that shape, or a value is not finite.
        """
        values = _frozen_array(raw, (None, None), "the raw embeddings")
        norms = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64)).astype(np.float32)
        safe = np.where(norms > 0, norms, np.float32(1))
        vectors: Floats = (values / safe[:, None]).astype(np.float32)
        return cls(vectors=vectors, norms=norms)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a gallery.

    Attributes:
        id: number of the person in this gallery, never used again after forget.
        name: unique in this gallery.
        n_templates: how many faces are remembered.
        created_at: UTC, ISO 8601.
    """

    id: int
    name: str
    n_templates: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Match:
    """The answer to "who is this face?".

    Attributes:
        status: match, unknown (nobody is similar enough), ambiguous (two people are about
            equally similar) or low_quality (the face is not good enough to decide).
        person: the name when status is match, else None.
        similarity: cosine to the best candidate, -1..1; None when the gallery is empty.
        threshold: the least similarity that counts as a match.
        margin: similarity to the best candidate minus that to the runner-up (another person);
            None when there is no runner-up.
        candidate: name of the best candidate, whatever the status; None when there is none.
        runner_up: name of the second person, or None.
        why: one sentence.
        calibrated: whether the threshold rests on a calibration of this model.
    """

    status: Status
    person: str | None
    similarity: float | None
    threshold: float
    margin: float | None
    candidate: str | None
    runner_up: str | None
    why: str
    calibrated: bool

    def __str__(self) -> str:
        return f"{self.person or self.status}: {self.why}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer to "is this the same person?".

    Attributes:
        similarity: cosine, -1..1.
        threshold: the least similarity that counts as the same person.
        fmr: the false match rate the threshold stands for, or None when uncalibrated.
        is_match: similarity >= threshold.
        calibrated: whether the threshold rests on a calibration of this model.
        why: one sentence.
        probability: that both are one person, with the prior of the calibration; None where it
            was not measured.
        is_uncertain: whether the probability does not clearly say the same as the threshold
            (docs/thresholds.md); None where it was not measured.
    """

    similarity: float
    threshold: float
    fmr: float | None
    is_match: bool
    calibrated: bool
    why: str
    probability: float | None = None
    is_uncertain: bool | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """One photo that was not enrolled.

    Attributes:
        source: the photo, as the caller named it.
        code: unreadable, no_face, many_faces, low_quality, duplicate.
        text: the sentence for people.
    """

    source: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What enrolling one person did.

    Attributes:
        person: the person as they are now; None when no photo was ever accepted.
        accepted: the photos that became templates, as the caller named them.
        rejected: the others, each with its reason.
        look_alike: another person whose templates are so similar that this may be one person
            under two names; None when there is none.
    """

    person: Person | None
    accepted: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    look_alike: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos of a verification list.

    Attributes:
        a, b: names of the photos, relative to the root of the photos, with "/".
        is_same: whether both show one person.
        fold: number of the fold, from 0.
    """

    a: str
    b: str
    is_same: bool
    fold: int

    def __post_init__(self) -> None:
        if self.fold < 0:
            raise InputError(f"Pair.fold must be at least 0, got {self.fold}")


class Detector(Protocol):
    """Finds faces. `name` and `digest` say which detector filled a gallery."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def detect(self, images: list[Image]) -> list[list[Face]]: ...


class Embedder(Protocol):
    """Turns aligned crops into embeddings; `digest` is the model digest."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def crop_size_px(self) -> int: ...
    def embed(self, crops: Crops) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one photo, or why it could not be read.

    Attributes:
        source: the photo, as the caller named it ("<image>" for pixels without a name).
        size_wh_px: width and height of the upright photo, px; (0, 0) when it was not read.
        digest: SHA-256 of the decoded pixels, hex; empty when it was not read.
        faces: largest first.
        error: why the photo could not be read, else None.
    """

    source: str
    size_wh_px: tuple[int, int] = (0, 0)
    digest: str = ""
    faces: tuple[Face, ...] = ()
    error: InputError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; embeddings are left out (they are biometric data)."""
        return {
            "photo": self.source,
            "size_wh_px": list(self.size_wh_px),
            "faces": [face.to_dict() for face in self.faces],
            "error": str(self.error) if self.error is not None else None,
        }

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def __len__(self) -> int:
        return len(self.faces)
