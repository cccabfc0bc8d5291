"""Thresholds for chosen false match rates, from all pairs of labeled photos.

It does not know files or models: it takes a vector for each photo and whom it shows. A rate that
the pairs cannot support is not given; nothing is extrapolated. Source of the thresholds and of
their intervals: see evaluate/bootstrap.py; of EER: see evaluate/curve.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.compare import Calibration, CalibrationPoint
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import (
    Counts,
    Cut,
    RankedPairs,
    cut_at_fmr,
    draw_people,
    measure_spreads,
)
from arcwise.evaluate.curve import (
    FARS,
    Doubles,
    Rate,
    SortedScores,
    equal_error_rate,
    threshold_at_cut,
)
from arcwise.evaluate.summary import FailedPhoto
from arcwise.evaluate.verification import unit_vectors

LEAST_FALSE = 10
"""Impostor pairs that must reach a threshold before it is believed: our choice."""
LEAST_PEOPLE = 10
"""With fewer, drawing people anew says nothing about others: our choice."""
_N_CLOSEST = 3


@dataclass(frozen=True, eq=False, slots=True)
class LabeledPhoto:
    """One photo and whom it shows.

    Attributes:
        name: of the photo; unique.
        person: whom it shows.
        vector: (D,) embedding of any length but 0.
        digest: SHA-256 of its content; equal digests are one photo.
    """

    name: str
    person: str
    vector: NDArray[Any]
    digest: str


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A false match rate, its threshold, and what it costs.

    Attributes:
        fmr: false match rate aimed at.
        similarity: the threshold, cosine.
        low, high: 95 % interval of the threshold.
        n_false: impostor pairs that reach it.
        n_couples: pairs of people these are of.
        fmr_found: n_false as a share of all impostor pairs, at most `fmr`.
        fnmr: share of genuine pairs below it; None without genuine pairs.
        fnmr_low, fnmr_high: 95 % interval of `fnmr`, or None.
    """

    fmr: float
    similarity: float
    low: float
    high: float
    n_false: int
    n_couples: int
    fmr_found: float
    fnmr: float | None
    fnmr_low: float | None
    fnmr_high: float | None


@dataclass(frozen=True, slots=True)
class NextRate:
    """The first rate that is not given, how many impostor pairs it needs, and why in words."""

    fmr: float
    n_needed: int
    text: str


@dataclass(frozen=True, slots=True)
class CloseStrangers:
    """The most alike photos of two people; they may be one person under two names."""

    a: str
    b: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Twins:
    """Photos of equal content, and the people they are said to show."""

    names: tuple[str, ...]
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What all pairs of some photos say about thresholds. All thresholds are cosine.

    Attributes:
        points: by falling false match rate, at least one.
        next_rate: the first rate that is not given, or None.
        n_photos, n_people, n_genuine, n_impostors: what it rests on.
        eer: equal error rate and its threshold; None without genuine pairs.
        best: highest balanced accuracy (mean of the share of genuine pairs accepted and of
            impostor pairs refused) and its threshold; None without genuine pairs.
        closest: the most alike strangers, one row for two people.
        twins: photos that are there several times.
        failed_photos: photos without an embedding, left out.
        data_digest: SHA-256 of the names and digests of the photos.
    """

    points: tuple[OperatingPoint, ...]
    next_rate: NextRate | None
    n_photos: int
    n_people: int
    n_genuine: int
    n_impostors: int
    eer: Rate | None
    best: Rate | None
    closest: tuple[CloseStrangers, ...]
    twins: tuple[Twins, ...]
    failed_photos: tuple[FailedPhoto, ...]
    data_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_calibration(self, *, model_digest: str, date: str) -> Calibration:
        """The small part of it that decisions read.

        Args:
            model_digest: of the model that made the vectors.
            date: ISO 8601.
        """
        points = (CalibrationPoint(p.fmr, p.similarity, p.low, p.high) for p in self.points)
        return Calibration(
            model_digest=model_digest,
            points=tuple(points),
            n_impostors=self.n_impostors,
            n_people=self.n_people,
            data_digest=self.data_digest,
            date=date,
        )


def calibrate_photos(
    photos: Iterable[LabeledPhoto],
    *,
    failed: Mapping[str, str] | None = None,
    n_replicates: int = 200,
    seed: int = 0,
) -> CalibrationReport:
    """Score every pair of photos by its cosine, and find the threshold of each false match rate.

    Args:
        photos: in any order; the result does not depend on it.
        failed: photo name -> why it has no vector; listed in the report. A vector of length 0
            has no direction and is listed with them.
        n_replicates: how often the people are drawn anew for the intervals, at least 1.
        seed: of these draws.

    Returns:
        The report. Rates are 1e-1, 1e-2 … 1e-6, as far as at least 10 impostor pairs reach the
        threshold.

    Raises:
        InputError: a photo given twice, no replicates, or a vector that is not (D,), not finite,
            or of another dimension than the others.
        DatasetError: fewer than 10 people, or too few impostor pairs for any rate.
    """
    if n_replicates < 1:
        raise InputError(f"n_replicates must be at least 1, got {n_replicates}")
    given = sorted(photos, key=lambda photo: (photo.person, photo.name))
    names = [photo.name for photo in given]
    for name, after in pairwise(sorted(names)):
        if name == after:
            raise InputError(f"the photo {name} is given twice", hint="give each photo once")
    vectors, lost = unit_vectors(names, {photo.name: photo.vector for photo in given}, {})
    used = [photo for photo in given if photo.name not in lost]
    labels, people = np.unique([photo.person for photo in used], return_inverse=True)
    _check_people(labels.tolist(), len(used))
    genuine, impostors = _score_pairs(vectors, people)
    points, next_rate = _find_points(
        _by_people(genuine, people),
        _by_people(impostors, people),
        draw_people(len(labels), n_replicates, seed),
    )
    eer, best = _measure_balance(genuine.scores, impostors.scores)
    reasons = {**(failed or {}), **lost}
    return CalibrationReport(
        points=points,
        next_rate=next_rate,
        n_photos=len(used),
        n_people=len(labels),
        n_genuine=len(genuine.scores),
        n_impostors=len(impostors.scores),
        eer=eer,
        best=best,
        closest=tuple(_find_closest(impostors, used)),
        twins=_find_twins(used),
        failed_photos=tuple(FailedPhoto(*item) for item in sorted(reasons.items())),
        data_digest=digest_photos({photo.name: photo.digest for photo in used}),
    )


def digest_photos(digests: Mapping[str, str]) -> str:
    """SHA-256 that names a set of photos: over `NAME NUL DIGEST LF` of each, sorted by name."""
    rows = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(rows.encode(errors="surrogateescape")).hexdigest()


def _check_people(people: Sequence[str], n_photos: int) -> None:
    if len(people) >= LEAST_PEOPLE:
        return
    hint = f"give photos of {LEAST_PEOPLE} people or more, like those you will meet"
    if len(people) < 2:
        whose = f"one person, {people[0]}" if people else "nobody"
        text = f"the {n_photos} photos with an embedding show {whose}: no pair of strangers"
        raise DatasetError(text, hint=hint)
    raise DatasetError(
        f"{n_photos} photos of {len(people)} people: too few to say anything about others",
        hint=hint,
    )


def _score_pairs(vectors: Doubles, people: Counts) -> tuple[RankedPairs, RankedPairs]:
    """All pairs of photos of one person, and all of two; `first` and `second` number photos."""
    rows = [vectors[i + 1 :] @ vectors[i] for i in range(len(vectors) - 1)]
    scores = np.clip(np.concatenate(rows), -1.0, 1.0)
    first, second = np.triu_indices(len(vectors), 1)
    is_same = people[first] == people[second]
    genuine, impostors = (
        RankedPairs.rank(scores[chosen], first[chosen], second[chosen])
        for chosen in (is_same, ~is_same)
    )
    return genuine, impostors


def _by_people(pairs: RankedPairs, people: Counts) -> RankedPairs:
    return RankedPairs(pairs.scores, people[pairs.first], people[pairs.second], pairs.ties)


def _find_points(
    genuine: RankedPairs, impostors: RankedPairs, draws: Counts
) -> tuple[tuple[OperatingPoint, ...], NextRate | None]:
    """The points that the pairs support; `first` and `second` number people."""
    n = len(impostors.scores)
    counted = np.arange(1, n + 1)
    cuts = [cut_at_fmr(impostors, counted, fmr) for fmr in FARS]
    kept = [cut for cut in cuts if cut.n_passing >= LEAST_FALSE]  # the first ones: counts fall
    next_rate = None
    if len(kept) < len(cuts):
        next_rate = _explain(FARS[len(kept)], cuts[len(kept)], n)
    if not kept and next_rate is not None:
        raise DatasetError(next_rate.text, hint="give more photos of more people")
    found = [(fmr, cut.similarity) for fmr, cut in zip(FARS, kept, strict=False)]
    spreads = measure_spreads(genuine, impostors, draws, found)
    points = []
    for fmr, cut, spread in zip(FARS, kept, spreads, strict=False):
        top = slice(cut.n_passing)
        couples = impostors.first[top] * draws.shape[1] + impostors.second[top]
        n_refused = int(np.count_nonzero(genuine.scores < cut.similarity))
        points.append(
            OperatingPoint(
                fmr=fmr,
                similarity=cut.similarity,
                low=spread.similarity.low,
                high=spread.similarity.high,
                n_false=cut.n_passing,
                n_couples=len(np.unique(couples)),
                fmr_found=cut.n_passing / n,
                fnmr=n_refused / len(genuine.scores) if len(genuine.scores) else None,
                fnmr_low=spread.fnmr.low if spread.fnmr else None,
                fnmr_high=spread.fnmr.high if spread.fnmr else None,
            )
        )
    return tuple(points), next_rate


def _explain(fmr: float, cut: Cut, n_impostors: int) -> NextRate:
    n_needed = math.ceil(LEAST_FALSE / fmr * (1 - 1e-12))
    if n_impostors < n_needed:
        text = f"FMR {fmr:.0e} needs {n_needed:,} impostor pairs, there are {n_impostors:,}"
    else:
        text = (
            f"FMR {fmr:.0e} needs {LEAST_FALSE} impostor pairs at its threshold or above; equal "
            f"scores leave {cut.n_passing} of {n_impostors:,}"
        )
    return NextRate(fmr, n_needed, text)


def _measure_balance(genuine: Doubles, impostor: Doubles) -> tuple[Rate | None, Rate | None]:
    """Equal error rate, and highest balanced accuracy; of several best cuts the strictest."""
    n_same, n_other = len(genuine), len(impostor)
    if not n_same:
        return None, None
    is_same = np.arange(n_same + n_other) < n_same
    folds = np.zeros(len(is_same), dtype=np.int64)
    ordered = SortedScores.sort(np.concatenate((genuine, impostor)), is_same, folds)
    gain = np.zeros(len(is_same) + 1, dtype=np.int64)  # over accepting all, times n_same * n_other
    np.cumsum(np.where(ordered.is_same, -n_other, n_same), out=gain[1:])
    is_cut = np.concatenate(([True], ordered.scores[1:] != ordered.scores[:-1], [True]))
    cuts = np.flatnonzero(is_cut)[::-1]
    cut = int(cuts[np.argmax(gain[cuts])])
    accuracy = 0.5 * (1.0 + int(gain[cut]) / (n_same * n_other))
    best = Rate(accuracy, threshold_at_cut(ordered.scores, cut))
    return equal_error_rate(ordered, n_failed=0), best


def _find_closest(
    impostors: RankedPairs, photos: Sequence[LabeledPhoto]
) -> Iterator[CloseStrangers]:
    seen: set[tuple[str, str]] = set()
    for first, second, score in zip(
        impostors.first, impostors.second, impostors.scores, strict=True
    ):
        a, b = photos[first], photos[second]
        if (a.person, b.person) not in seen:
            seen.add((a.person, b.person))
            yield CloseStrangers(a.name, b.name, float(score))
        if len(seen) == _N_CLOSEST:
            return


def _find_twins(photos: Sequence[LabeledPhoto]) -> tuple[Twins, ...]:
    found: dict[str, list[LabeledPhoto]] = {}
    for photo in photos:
        found.setdefault(photo.digest, []).append(photo)
    return tuple(
        Twins(
            names=tuple(photo.name for photo in equal),
            people=tuple(dict.fromkeys(photo.person for photo in equal)),
        )
        for equal in found.values()
        if len(equal) > 1
    )
