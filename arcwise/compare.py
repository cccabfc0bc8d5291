"""How alike two embeddings are, and whether that is enough: cosine, calibration, threshold.

It does not know photos or models: a calibration is a table of similarity against false match
rate, and perhaps a curve of probability, that belongs to one model digest. Source of the gallery
rule: FPIR = 1 - (1 - FMR)^N, the chance that at least one of N independent comparisons with
strangers passes (NIST FRTE 1:N).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from arcwise.errors import InputError, ModelMismatchError
from arcwise.files import read_bytes, write_atomically
from arcwise.types import Floats

COMPARE_FMR = 1e-3
"""False match rate that `compare` aims at: our choice, see docs/thresholds.md."""
IDENTIFY_FPIR = 1e-2
"""Chance that a stranger is named by `identify`, whatever the size of the gallery: our choice."""
UNCALIBRATED_SIMILARITY = 0.40
"""Used when nothing is known of a model: the default of InsightFace's own server."""
_SUFFIX = ".calibration.json"
_VERSIONS = (1, 2, 3)  # 2 came with the probability, 3 with the views
MeasuredViews = Literal["none", "sum"]
"""What became of the mirror images of the photos: left out, or their vectors added."""
_MEASURED = {
    "none": "measured without the mirror image",
    "sum": "measured with the mirror image",
}
_APPLIED = {
    "none": "applied without it",
    "sum": "applied with it",
    "concat": "applied with it behind the original",
}


def cosine_similarity(a: Floats, b: Floats) -> Floats:
    """Cosine of every vector of `a` with every vector of `b`.

    Args:
        a: (N, D) or (D,), any length; a vector of length 0 has similarity 0 to everything.
        b: (M, D) or (D,).

    Returns:
        (N, M) float32 in [-1, 1].

    Raises:
        InputError: the vectors have different dimensions.
    """
    left, right = np.atleast_2d(a), np.atleast_2d(b)
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"cannot compare embeddings of {left.shape[1]} and {right.shape[1]} dimensions",
            hint="they come from different models: embed both photos with the same one",
        )
    result: Floats = np.clip(_unit(left) @ _unit(right).T, -1.0, 1.0)
    return result


def _unit(vectors: Floats) -> Floats:
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)  # float32 would overflow
    norms = np.sqrt(squares)[:, None]
    unit: Floats = (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """One row of a calibration.

    Attributes:
        fmr: false match rate, above 0.
        similarity: threshold that has it.
        low, high: 95 % interval of the threshold.
    """

    fmr: float
    similarity: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.fmr <= 1 and -1 <= self.similarity <= 1):
            raise InputError(f"a calibration cannot hold FMR {self.fmr} at {self.similarity}")


@dataclass(frozen=True, slots=True)
class ProbabilityCurve:
    """How probable it is that two photos of some similarity show one person.

    Attributes:
        method: how it was fitted, "isotonic" or "logistic".
        prior: share of all pairs that is of one person, as it is taken to be beforehand.
        n_genuine: pairs of one person it rests on.
        similarities: at least two cosines, rising.
        probabilities: of these, between 0 and 1, never falling; straight lines between them.
    """

    method: str
    prior: float
    n_genuine: int
    similarities: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.similarities)
        if not 0 < self.prior < 1:
            raise InputError(f"the prior of a probability is {self.prior}, not between 0 and 1")
        if n < 2 or n != len(self.probabilities):
            raise InputError(
                "a probability needs two similarities or more and a value for each, got "
                f"{n} and {len(self.probabilities)}"
            )
        if not all(a < b for a, b in pairwise((*self.similarities, 1 + 1e-6))):
            raise InputError("the similarities of a probability must rise, up to 1")
        if not all(a <= b for a, b in pairwise((0.0, *self.probabilities, 1.0))):
            raise InputError("the values of a probability must lie in 0..1 and never fall")

    def at(self, similarity: float) -> float:
        """The probability; beyond the similarities that were measured, that of the nearest one."""
        return float(np.interp(similarity, self.similarities, self.probabilities))

    def reach(self, probability: float) -> float:
        """The least similarity that has a probability, or more.

        Returns:
            The similarity; -1 where all have it, the next number above 1 where none has.
        """
        above = int(np.searchsorted(self.probabilities, probability))  # the first not below it
        if above in (0, len(self.probabilities)):
            return math.nextafter(1.0, 2.0) if above else -1.0
        around = slice(above - 1, above + 1)
        return float(np.interp(probability, self.probabilities[around], self.similarities[around]))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Similarity against false match rate, measured for one model.

    Attributes:
        model_digest: of the model it was measured with.
        points: by falling FMR; the similarity never falls.
        n_impostors, n_people: pairs and people it rests on.
        data_digest: SHA-256 that names the pairs.
        date: ISO 8601.
        probability: that two photos show one person, or None where it was not measured.
        views: what became of the mirror images in the vectors it was measured on; None where that
            is not known.
    """

    model_digest: str
    points: tuple[CalibrationPoint, ...]
    n_impostors: int
    n_people: int
    data_digest: str
    date: str
    probability: ProbabilityCurve | None = None
    views: MeasuredViews | None = None

    def __post_init__(self) -> None:
        if not self.points:
            raise InputError("a calibration needs at least one point")
        if self.views not in (None, *get_args(MeasuredViews)):
            raise InputError(f"the views of a calibration are {self.views!r}, not none or sum")
        for before, after in pairwise(self.points):
            if not (after.fmr < before.fmr and after.similarity >= before.similarity):
                raise InputError(
                    "the points of a calibration must have falling FMR and rising similarity, "
                    f"got {before} before {after}"
                )

    def similarity_at(self, fmr: float) -> float | None:
        """Threshold for a false match rate, linear in log FMR between the points.

        Returns:
            The similarity, or None where the data does not reach (we do not extrapolate).
        """
        rates = [point.fmr for point in self.points]
        if not rates[-1] * (1 - 1e-9) <= fmr <= rates[0] * (1 + 1e-9):
            return None
        logs = [-math.log10(rate) for rate in rates]
        values = [point.similarity for point in self.points]
        return float(np.interp(-math.log10(fmr), logs, values))

    def probability_at(self, similarity: float) -> float | None:
        """How probable it is that two photos of this similarity show one person.

        Args:
            similarity: cosine. Beyond those that were measured, the probability of the nearest of
                them is given: a bound that claims no more than the data.

        Returns:
            The probability, where `probability.prior` of all pairs are of one person; or None
            where it was not measured.
        """
        return self.probability.at(similarity) if self.probability else None

    def caveat_of(self, views: Literal["none", "sum", "concat"]) -> str:
        """What to know where the thresholds are applied to vectors of other views, or nothing."""
        if self.views in (None, views):
            return ""
        return f"{_MEASURED[self.views]}, {_APPLIED[views]}"

    def check_model(self, model_digest: str, *, place: Path | None = None) -> None:
        """Refuse a calibration of another model.

        Args:
            model_digest: of the model in use.
            place: of the calibration's file, for the message.

        Raises:
            ModelMismatchError: it belongs to another model digest.
        """
        if model_digest != self.model_digest:
            what = f"the calibration {place}" if place else "the calibration"
            raise ModelMismatchError(
                f"{what} belongs to model {self.model_digest[:12]}, this is {model_digest[:12]}",
                hint="calibrate this model, or remove the calibration",
            )

    def to_json(self) -> str:
        """The text of a calibration file (docs/thresholds.md); `load` reads it."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        version = 3 if "views" in known else 2 if "probability" in known else 1
        plain = {"version": version} | known  # the least, so that an older arcwise reads it
        if "probability" in plain:  # it is long: last
            plain["probability"] = plain.pop("probability")
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"

    def save(self, path: Path | str) -> Path:
        """Write a calibration file, whole or not at all.

        Returns:
            The path.

        Raises:
            InputError: the disk is full, read-only, or the place cannot be written.
        """
        return write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path | str) -> Calibration:
        """Read a calibration file (JSON, see docs/thresholds.md).

        Raises:
            InputError: it cannot be read or is not a calibration.
        """
        content = read_bytes(path)
        try:
            plain: Any = json.loads(content)
            _check_version(plain.pop("version", 1))
            points = tuple(CalibrationPoint(**point) for point in plain.pop("points"))
            curve = plain.pop("probability", None)
            return cls(points=points, probability=_read_curve(curve), **plain)
        except (ValueError, TypeError, KeyError, AttributeError, InputError) as exc:
            raise InputError(
                f"{path} is not a calibration: {exc}", hint="docs/thresholds.md shows one"
            ) from exc


def calibration_beside(path: Path) -> Path:
    """Where the calibration of a model file or of a gallery file lies: beside it.

    Args:
        path: such as y1.onnx or people.db.

    Returns:
        Such as y1.calibration.json.
    """
    return path.with_suffix(_SUFFIX)


def _check_version(version: Any) -> None:
    if version not in _VERSIONS:
        raise InputError(f"its version is {version!r}, this arcwise reads {_VERSIONS}")


def _read_curve(plain: Any) -> ProbabilityCurve | None:
    if plain is None:
        return None
    lists: Any = {name: tuple(plain.pop(name)) for name in ("similarities", "probabilities")}
    return ProbabilityCurve(**lists, **plain)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least similarity that counts, and what it rests on.

    Attributes:
        similarity: cosine.
        fmr: false match rate it stands for, or None when nobody measured it.
        calibrated: whether it rests on a calibration of this model.
        why: a few words for people.
    """

    similarity: float
    fmr: float | None
    calibrated: bool
    why: str

    def with_caveat(self, caveat: str) -> Threshold:
        """The same threshold with one more thing to know about it; an empty text adds nothing."""
        return replace(self, why=f"{self.why}; {caveat}") if caveat else self


def fmr_for_gallery(n_people: int, *, fpir: float = IDENTIFY_FPIR) -> float:
    """The false match rate that keeps a stranger's chance to be named at `fpir`.

    Args:
        n_people: size of the gallery; 0 counts as 1.
        fpir: wanted false positive identification rate, between 0 and 1.

    Raises:
        InputError: fpir is not between 0 and 1.
    """
    if not 0 < fpir < 1:
        raise InputError(f"fpir is {fpir}", hint="use a rate between 0 and 1, such as 0.01")
    return -math.expm1(math.log1p(-fpir) / max(n_people, 1))


def choose_threshold(
    calibration: Calibration | None,
    published: tuple[float, float | None] | None,
    *,
    fmr: float = COMPARE_FMR,
    aim: str = "",
) -> Threshold:
    """The threshold for a false match rate: calibrated, else the publisher's, else a plain guess.

    Args:
        calibration: of the model in use, or None.
        published: similarity and its false match rate (or None) from the model's card, or None.
        fmr: the false match rate wanted.
        aim: what the rate is for, in words, such as "FPIR 1 % among 40 people".
    """
    wanted = f"{aim}: FMR {fmr:.1e}" if aim else f"FMR {fmr:.1e}"
    if calibration is not None:
        similarity = calibration.similarity_at(fmr)
        if similarity is not None:
            return Threshold(similarity, fmr, True, f"calibrated for {wanted}")
    if calibration is not None:
        strictest = calibration.points[-1] if fmr < calibration.points[-1].fmr else None
        if strictest is not None:
            return Threshold(
                strictest.similarity,
                strictest.fmr,
                False,
                f"uncalibrated for {wanted}; strictest that was measured, FMR {strictest.fmr:.1e}",
            )
        loosest = calibration.points[0]
        return Threshold(
            loosest.similarity, loosest.fmr, True, f"calibrated, stricter than {wanted}"
        )
    if published is not None:
        return Threshold(published[0], published[1], False, "uncalibrated: the publisher's")
    return Threshold(UNCALIBRATED_SIMILARITY, None, False, "uncalibrated: a usual default")


def identify_threshold(
    calibration: Calibration | None,
    published: tuple[float, float | None] | None,
    *,
    n_people: int,
) -> Threshold:
    """The threshold that lets one stranger in a hundred be named, for a gallery of this size."""
    aim = f"FPIR {IDENTIFY_FPIR:.0%} among {n_people} people"
    return choose_threshold(calibration, published, fmr=fmr_for_gallery(n_people), aim=aim)
