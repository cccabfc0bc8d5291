"""Labeled photos and the similarity of their pairs: every pair there is, or those of a list.

It does not know thresholds. Scores are float32 cosines, as decisions compute them, and photos are
numbers, so that the 88 million pairs of 13,233 photos take 1 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import LEAST_PEOPLE, Numbers
from arcwise.evaluate.curve import Counts
from arcwise.evaluate.vectors.cosines import fetch_cosines
from arcwise.evaluate.vectors.unit import unit_vectors
from arcwise.types import Floats, Pair

_BLOCK = 512  # photos that are compared with all others at once


@dataclass(frozen=True, eq=False, slots=True)
class LabeledPhoto:
    """One photo and whom it shows.

    Attributes:
        name: of the photo; unique.
        person: whom it shows.
        vector: (D,) embedding of any length but 0.
        digest: SHA-256 of its content; equal digests are one photo, "" is not known.
    """

    name: str
    person: str
    vector: NDArray[Any]
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class PhotoPairs:
    """Pairs of photos.

    Attributes:
        scores: (P,) float32, cosine.
        first, second: (P,) int32 numbers of the two photos.
    """

    scores: Floats
    first: Numbers
    second: Numbers

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False, slots=True)
class ScoredPhotos:
    """Photos and the similarity of their pairs.

    Attributes:
        photos: those with a direction, by person and name.
        names: of the people, sorted.
        people: (N,) int32 number of the person on each photo.
        genuine: pairs of one person.
        impostors: pairs of two people.
        is_complete: whether these are all pairs of the photos, or only those of a list.
        reasons: photo -> why it was left out.
    """

    photos: tuple[LabeledPhoto, ...]
    names: tuple[str, ...]
    people: Numbers
    genuine: PhotoPairs
    impostors: PhotoPairs
    is_complete: bool
    reasons: dict[str, str]

    @property
    def n_photos(self) -> Counts | None:
        """(C,) photos of each person, where all pairs are scored; else None."""
        return np.bincount(self.people, minlength=len(self.names)) if self.is_complete else None

    def owners_of(self, pairs: PhotoPairs) -> Numbers:
        """The numbers of the people who occur in some pairs, rising."""
        is_there = np.zeros(len(self.people), dtype=bool)
        is_there[pairs.first] = is_there[pairs.second] = True
        return np.unique(self.people[is_there])

    def data_digest(self) -> str:
        """SHA-256 that names the photos, and the pairs where they are those of a list."""
        digests = {photo.name: photo.digest for photo in self.photos}
        if self.is_complete:
            return digest_names(digests)
        kinds = ((self.genuine, 1), (self.impostors, 0))
        rows = sorted(
            f"{self.photos[a].name}\0{self.photos[b].name}\0{label}\n"
            for pairs, label in kinds
            for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
        )
        listed = digest_names(digests) + "\n" + "".join(rows)
        return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()


def digest_names(digests: Mapping[str, str]) -> str:
    """SHA-256 that names a set of photos: over `NAME NUL DIGEST LF` of each, sorted by name."""
    rows = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(rows.encode(errors="surrogateescape")).hexdigest()


def score_photos(
    photos: Iterable[LabeledPhoto], *, failed: Mapping[str, str] | None = None
) -> ScoredPhotos:
    """Score every pair of photos by its cosine.

    Args:
        photos: in any order; the result does not depend on it.
        failed: photo name -> why it has no vector. A vector of length 0 has no direction and
            joins them.

    Raises:
        InputError: a photo given twice, or a vector that is not (D,), not finite, or of another
            dimension than the others.
        DatasetError: fewer than 10 people.
    """
    given, vectors, reasons = _prepare(photos, failed)
    names, people = _number_people(given)
    ends = np.searchsorted(people, people, side="right")  # where a person's photos end
    n = len(given)
    places = np.arange(n)
    genuine, impostors = (_allot(int(sizes.sum())) for sizes in (ends - places - 1, n - ends))
    filled = {True: 0, False: 0}
    for start in range(0, n, _BLOCK):
        block = np.clip(vectors[start : start + _BLOCK] @ vectors[start:].T, -1.0, 1.0)
        for row, scores in enumerate(block):
            photo = start + row
            end = int(ends[photo])
            for is_same, low, high in ((True, photo + 1, end), (False, end, n)):
                pairs = genuine if is_same else impostors
                part = slice(filled[is_same], filled[is_same] + high - low)
                pairs.scores[part] = scores[low - start : high - start]
                pairs.first[part] = photo
                pairs.second[part] = places[low:high]
                filled[is_same] = part.stop
    return ScoredPhotos(given, names, people, genuine, impostors, True, reasons)


def score_listed(
    pairs: Sequence[Pair],
    photos: Iterable[LabeledPhoto],
    *,
    failed: Mapping[str, str] | None = None,
) -> ScoredPhotos:
    """Score the pairs of a list by their cosine.

    Args:
        pairs: of photos by their names; a pair that comes twice counts once.
        photos: with those of the pairs among them; others are passed over.
        failed: photo name -> why it has no vector; pairs with such a photo are left out.

    Raises:
        InputError: as `score_photos`, or a photo of the pairs that is neither given nor failed.
        DatasetError: fewer than 10 people, or a pair whose label contradicts its photos' people.
    """
    wanted = {name for pair in pairs for name in (pair.a, pair.b)}
    given, vectors, reasons = _prepare((p for p in photos if p.name in wanted), failed)
    place = {photo.name: i for i, photo in enumerate(given)}
    unknown = wanted - set(place) - set(reasons)
    if unknown:
        raise InputError(f"no embedding was given of {min(unknown)}", hint="embed all photos")
    names, people = _number_people(given)
    found: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    for pair in pairs:
        if pair.a not in place or pair.b not in place:
            continue
        first, second = sorted((place[pair.a], place[pair.b]))
        if pair.is_same != (people[first] == people[second]) or first == second:
            kind = "one person" if pair.is_same else "two people"
            raise DatasetError(
                f"the list says that {pair.a} and {pair.b} show {kind}, their folders do not",
                hint="photos are called PERSON/FILE, with one folder for each person",
            )
        found[pair.is_same].add((first, second))
    genuine, impostors = (_score_rows(vectors, sorted(found[kind])) for kind in (True, False))
    return ScoredPhotos(given, names, people, genuine, impostors, False, reasons)


def _prepare(
    photos: Iterable[LabeledPhoto], failed: Mapping[str, str] | None
) -> tuple[tuple[LabeledPhoto, ...], Floats, dict[str, str]]:
    """The photos with a direction by person and name, their unit vectors, and why others failed."""
    given = sorted(photos, key=lambda photo: (photo.person, photo.name))
    names = [photo.name for photo in given]
    for name, after in pairwise(sorted(names)):
        if name == after:
            raise InputError(f"the photo {name} is given twice", hint="give each photo once")
    found = unit_vectors(names, {photo.name: photo.vector for photo in given}, {})
    used = tuple(photo for photo in given if photo.name not in found.lost)
    return used, found.units.astype(np.float32), {**(failed or {}), **found.lost}


def _number_people(photos: Sequence[LabeledPhoto]) -> tuple[tuple[str, ...], Numbers]:
    names, people = np.unique([photo.person for photo in photos], return_inverse=True)
    _check_people(names.tolist(), len(photos))
    return tuple(names.tolist()), people.astype(np.int32)


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


def _allot(n: int) -> PhotoPairs:
    return PhotoPairs(np.empty(n, np.float32), np.empty(n, np.int32), np.empty(n, np.int32))


def _score_rows(vectors: Floats, rows: Sequence[tuple[int, int]]) -> PhotoPairs:
    pairs = _allot(len(rows))
    numbers = np.array(rows, dtype=np.int32).reshape(-1, 2)
    pairs.first[:], pairs.second[:] = numbers[:, 0], numbers[:, 1]
    pairs.scores[:] = fetch_cosines(vectors, pairs.first, pairs.second)
    return pairs
