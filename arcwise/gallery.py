"""People and their faces: enroll, identify, rename, merge, forget. The rules are all here.

It does not know how a photo becomes an embedding (its recognizer does) or how people are kept
(its store does). What each answer means: docs/gallery.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from arcwise.choose import choose_face
from arcwise.compare import Calibration, Threshold, calibration_beside, identify_threshold
from arcwise.decide import decide_match
from arcwise.errors import InputError, ManyFacesError, NoFaceError
from arcwise.image import PhotoSource
from arcwise.nearest import Candidate, NearestPeople, Ranking
from arcwise.quality import ENROLL, find_faults
from arcwise.store import NewTemplate, SQLStore, Stamp
from arcwise.types import (
    Detector,
    Embedder,
    Enrollment,
    Face,
    Faces,
    Floats,
    Match,
    Person,
    Rejection,
    Select,
)

MAX_NAME_LENGTH = 200

_EMPTY_EMBEDDING = "the model gave an empty embedding (all zeros) for this face"


class Analyzer(Protocol):
    """What a gallery needs of a recognizer."""

    @property
    def detector(self) -> Detector:
        """Which detector finds the faces."""
        ...

    @property
    def embedder(self) -> Embedder:
        """Which model embeds them."""
        ...

    @property
    def published_threshold(self) -> tuple[float, float | None] | None:
        """Similarity and its false match rate from the model's card, when it has them."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """What was measured for the model, when it was."""
        ...

    @property
    def caveat(self) -> str:
        """What every decision must say of the model, or nothing."""
        ...

    def analyze_many(self, photos: Iterable[PhotoSource], /) -> Iterator[Faces]:
        """The embedded, measured faces of each photo, in order; unreadable ones with `error`."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Identified:
    """Who is in one photo, or why it could not be read.

    Attributes:
        source: the photo, as the caller named it.
        size_wh_px: width and height of the photo, px; (0, 0) when it was not read.
        faces: largest first.
        matches: the answer for each face, in the same order.
        error: why the photo could not be read, else None.
    """

    source: str
    size_wh_px: tuple[int, int]
    faces: tuple[Face, ...]
    matches: tuple[Match, ...]
    error: InputError | None = None


def clean_name(name: str) -> str:
    """A name as a gallery keeps it: stripped, Unicode NFC.

    Raises:
        InputError: it is empty, too long, or holds line breaks or control characters.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(cleaned) <= MAX_NAME_LENGTH:
        raise InputError(
            f"a name must have 1 to {MAX_NAME_LENGTH} characters, {name!r:.60} has {len(cleaned)}",
            hint="give each person a short name",
        )
    # Cc control, Cs half of a surrogate pair (cannot be stored), Zl and Zp line breaks
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in cleaned):
        raise InputError(
            f"the name {cleaned!r} holds line breaks or control characters", hint="remove them"
        )
    return cleaned


class Gallery:
    """The people of one gallery file. Safe to use from several threads and processes.

    Args:
        path: of the file, readable by its owner alone when it is made; "~" is your home.
        recognizer: finds and embeds the faces of photos.
        calibration: of the recognizer's model; by default the one beside the gallery file, else
            the recognizer's own.
        create: make a missing or empty file a gallery; else it is an error.

    Raises:
        GalleryError: the file cannot be opened, is not a gallery, or is missing or empty and
            shall not be made.
        ModelMismatchError: the calibration belongs to another model.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        recognizer: Analyzer,
        calibration: Calibration | None = None,
        create: bool = True,
    ) -> None:
        detector, embedder = recognizer.detector, recognizer.embedder
        self._recognizer = recognizer
        self._calibration = calibration or recognizer.calibration
        if self._calibration is not None:
            self._calibration.check_model(embedder.digest)
        self._stamp = Stamp(
            model_digest=embedder.digest,
            model_name=embedder.name,
            dimension=embedder.dimension,
            detector_name=detector.name,
            detector_digest=detector.digest,
        )
        self._store = SQLStore.open(path, create=create)
        beside = calibration_beside(Path(path).expanduser())
        if calibration is None and beside.is_file():
            self._calibration = Calibration.load(beside)
            self._calibration.check_model(embedder.digest, place=beside)
        self._nearest = NearestPeople(self._store, self._stamp)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.people())

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def people(self) -> list[Person]:
        """Everybody, by name."""
        return self._store.people()

    def forget(self, name: str) -> Person:
        """Delete a person for good. Once it returns, no process finds them any more.

        Returns:
            The person as they were.

        Raises:
            UnknownPersonError: nobody of that name.
        """
        return self._store.forget(clean_name(name))

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            UnknownPersonError: nobody is called `old`.
            DuplicatePersonError: somebody else is called `new`.
            InputError: `new` cannot be a name.
        """
        return self._store.rename(clean_name(old), clean_name(new))

    def merge(self, into: str, other: str) -> Person:
        """Make two people one, who keeps the name `into` and gets the templates of both.

        Raises:
            UnknownPersonError: one of them is not in the gallery.
            InputError: both are the same.
        """
        return self._store.merge(clean_name(into), clean_name(other))

    # ── enroll ──

    def enroll(
        self, name: str, photos: Sequence[PhotoSource], *, select: Select = "largest"
    ) -> Enrollment:
        """Remember the face of one person from photos; see `enroll_many`."""
        return next(self.enroll_many({name: photos}, select=select))

    def enroll_many(
        self, people: Mapping[str, Sequence[PhotoSource]], *, select: Select = "largest"
    ) -> Iterator[Enrollment]:
        """Remember people, one after the other; each is one transaction, kept once yielded.

        Interrupted and run again, it goes on: what is there is reported as duplicate.

        Args:
            people: photos by name.
            select: which face is meant where a photo shows several.

        Yields:
            What was accepted and what was rejected why, in the order of `people`.

        Raises:
            InputError: a name, which is told, cannot be used, is given twice or has no photos.
            ModelMismatchError: another model filled this gallery.
            GalleryError: the gallery cannot be written; nobody is enrolled by half.
        """
        roster = _check_roster(people)
        self._nearest.check_models()
        analyzed = self._recognizer.analyze_many(chain.from_iterable(roster.values()))
        return (
            self._enroll_person(name, _take(analyzed, len(photos)), select)
            for name, photos in roster.items()
        )

    def _enroll_person(self, name: str, photos: Sequence[Faces], select: Select) -> Enrollment:
        owners = self._store.photo_owners(photo.digest for photo in photos if photo.digest)
        accepted: list[str] = []
        rejected: list[Rejection] = []
        templates: list[NewTemplate] = []
        for photo in photos:
            outcome = _examine_photo(photo, name, owners, select)
            if isinstance(outcome, Rejection):
                rejected.append(outcome)
                continue
            owners[photo.digest] = name  # the same photo twice in one list
            accepted.append(photo.source)
            templates.append(outcome)
        if not templates:
            return Enrollment(self._store.find_person(name), (), tuple(rejected))
        person = self._store.add_templates(name, templates, self._stamp)
        look_alike = self._find_look_alike(person, np.stack([t.vector for t in templates]))
        return Enrollment(person, tuple(accepted), tuple(rejected), look_alike)

    def _find_look_alike(self, person: Person, vectors: Floats) -> str | None:
        ranking = self._nearest.rank(vectors)
        least = self._threshold(ranking).similarity
        others = [
            candidate
            for row in ranking.rows
            for candidate in row
            if candidate.person_id != person.id and candidate.similarity >= least
        ]
        return max(others, key=lambda other: other.similarity).name if others else None

    def _threshold(self, ranking: Ranking) -> Threshold:
        published = self._recognizer.published_threshold
        threshold = identify_threshold(self._calibration, published, n_people=ranking.n_people)
        return threshold.with_caveat(self._recognizer.caveat)

    # ── identify ──

    def identify(self, photo: PhotoSource) -> list[tuple[Face, Match]]:
        """Who is in a photo: every face, largest first, with its answer.

        Raises:
            ImageError: the photo cannot be read.
            ModelMismatchError: another model filled this gallery.
        """
        found = next(self.identify_many([photo]))
        if found.error is not None:
            raise found.error
        return list(zip(found.faces, found.matches, strict=True))

    def identify_many(self, photos: Iterable[PhotoSource]) -> Iterator[Identified]:
        """Who is in each photo. One that cannot be read is told by its `error`.

        Raises:
            ModelMismatchError: another model filled this gallery.
        """
        self._nearest.check_models()
        return (
            Identified(
                photo.source,
                photo.size_wh_px,
                photo.faces,
                tuple(self.identify_faces(photo.faces)),
                photo.error,
            )
            for photo in self._recognizer.analyze_many(photos)
        )

    def identify_faces(self, faces: Sequence[Face]) -> list[Match]:
        """Who each face is, by one search for all.

        Args:
            faces: with embeddings of the recognizer's model; quality is judged when measured.

        Raises:
            InputError: a face has no embedding.
            ModelMismatchError: another model filled this gallery.
            GalleryLockedError: the gallery changes faster than it can be searched.
        """
        if not faces:
            return []
        ranking = self._nearest.rank(np.stack([_embedding_of(face) for face in faces]))
        threshold = self._threshold(ranking)
        return [
            _decide(face, row, threshold) for face, row in zip(faces, ranking.rows, strict=True)
        ]


def _check_roster(
    people: Mapping[str, Sequence[PhotoSource]],
) -> dict[str, Sequence[PhotoSource]]:
    roster: dict[str, Sequence[PhotoSource]] = {}
    for given, photos in people.items():
        name = clean_name(given)
        if name in roster:
            raise InputError(f"{name!r} is given twice", hint="put their photos in one list")
        is_list = isinstance(photos, Sequence) and not isinstance(photos, (str, bytes))
        if not is_list or not photos:
            raise InputError(
                f"the photos of {name!r} must be a list of at least one, got {photos!r:.60}"
            )
        roster[name] = photos
    return roster


def _take(analyzed: Iterator[Faces], n_photos: int) -> list[Faces]:
    photos = list(islice(analyzed, n_photos))
    # One too few would give the next person somebody else's face.
    assert len(photos) == n_photos, "analyze_many must answer once for each photo"
    return photos


def _examine_photo(
    photo: Faces, name: str, owners: Mapping[str, str], select: Select
) -> NewTemplate | Rejection:
    """What a photo gives: a template, or the reason why not."""
    if photo.error is not None:
        return Rejection(photo.source, "unreadable", str(photo.error))
    owner = owners.get(photo.digest)
    if owner is not None:
        text = "already enrolled" if owner == name else f"already enrolled as {owner}"
        return Rejection(photo.source, "duplicate", text)
    try:
        face = choose_face(photo.faces, photo.size_wh_px, select)
    except NoFaceError as exc:
        return Rejection(photo.source, "no_face", str(exc))
    except ManyFacesError as exc:
        return Rejection(photo.source, "many_faces", str(exc))
    faults = find_faults(face.quality, ENROLL) if face.quality else ()
    if faults:
        return Rejection(photo.source, "low_quality", "; ".join(fault.text for fault in faults))
    vector = _embedding_of(face)
    if not vector.any():
        return Rejection(photo.source, "low_quality", _EMPTY_EMBEDDING)
    measured = asdict(face.quality) if face.quality else {}
    measured.pop("reasons", None)
    norm = 1.0 if face.norm is None else face.norm
    return NewTemplate(vector, norm, photo.digest, measured)


def _decide(face: Face, ranked: Sequence[Candidate], threshold: Threshold) -> Match:
    if _embedding_of(face).any():
        return decide_match(face, ranked, threshold)
    # It is equally far from everybody: whoever is nearest is nobody in particular.
    nobody = decide_match(face, (), threshold)
    return replace(nobody, status="low_quality", why=_EMPTY_EMBEDDING)


def _embedding_of(face: Face) -> Floats:
    if face.embedding is None:
        raise InputError("a face without embedding cannot be enrolled or identified")
    return face.embedding
