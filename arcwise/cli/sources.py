"""Whose pairs are scored: a folder of people, a list of pairs, a gallery, or saved embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import open_recognizer
from arcwise.cli.vectors import embed_names, load_vectors
from arcwise.errors import DatasetError, GalleryError, ModelError, SettingsError

if TYPE_CHECKING:
    from arcwise.compare import MeasuredViews
    from arcwise.evaluate.calibrate.labeled import LabeledPhoto, ScoredPhotos
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.recognizer import Recognizer
    from arcwise.settings import Settings
    from arcwise.types import Floats, Pair, Select

LabeledPhotosOption = Annotated[
    Path | None,
    typer.Option("--photos", metavar="FOLDER|ZIP", help="A folder of photos for each person."),
]
GalleryPeopleOption = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        "-g",
        parser=lambda text: Path(text).expanduser(),
        metavar="FILE",
        help="The people of this gallery, instead of photos.",
    ),
]
PairsOption = Annotated[
    Path | None,
    typer.Option("--pairs", metavar="FILE", help="Only the pairs of this list."),
]
FoldsOption = Annotated[
    str | None,
    typer.Option(
        "--folds",
        metavar="3",
        help="All photos of the people in these folds of the list, from 1: 3 or 1,2.",
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is scored, and how photos are embedded."""

    photos: Path | None
    gallery: Path | None
    embeddings: Path | None
    pairs: Path | None
    folds: tuple[int, ...]
    select: Select
    is_aligned: bool
    has_flip: bool
    use_cache: bool
    model: str | None
    detector: str

    def __post_init__(self) -> None:
        given = [self.photos, self.gallery, self.embeddings]
        if sum(place is not None for place in given) != 1:
            raise SettingsError(
                "one of --photos, --gallery and --embeddings is needed",
                hint="--photos FOLDER, in which each person has a folder",
            )
        if self.folds and self.pairs is None:
            raise SettingsError("--folds needs a list of pairs", hint="add --pairs FILE")
        if self.gallery is not None and self.pairs is not None:
            raise SettingsError(
                "--pairs names photos, a gallery has none", hint="leave --pairs out"
            )

    @property
    def places(self) -> list[Path]:
        """Everything that is read."""
        given = [self.photos, self.gallery, self.embeddings, self.pairs]
        return [place for place in given if place is not None]

    @property
    def views(self) -> MeasuredViews:
        """What becomes of the mirror images."""
        return "sum" if self.has_flip else "none"


@dataclass(frozen=True, slots=True)
class Source:
    """Pairs that can be scored.

    Attributes:
        model, model_digest: name and digest of the model the vectors come from.
        score: does the work.
        views: what became of the mirror images in the vectors; None where that is not known.
        recognizer: of the model, or None where it was not needed.
    """

    model: str
    model_digest: str
    score: Callable[[], ScoredPhotos]
    views: MeasuredViews | None
    recognizer: Recognizer | None = None


def open_source(wanted: Wanted, settings: Settings) -> Source:
    """Look at what is given and which model it belongs to; nothing is scored yet."""
    if wanted.gallery is not None:
        return _open_gallery(wanted.gallery, wanted, settings)
    if wanted.embeddings is not None:
        return _open_embeddings(wanted.embeddings, wanted, settings)
    recognizer = open_recognizer(settings, model=wanted.model, detector=wanted.detector)
    embedder = recognizer.embedder
    return Source(
        embedder.name,
        embedder.digest,
        lambda: _score_photos(wanted, recognizer),
        wanted.views,
        recognizer,
    )


def _score_photos(wanted: Wanted, recognizer: Recognizer) -> ScoredPhotos:
    from arcwise.photos import open_photos

    assert wanted.photos is not None, "it is the only place left"
    with open_photos(wanted.photos) as archive:
        people, strays, pairs = _choose_photos(wanted, archive.names)
        embedded = embed_names(
            recognizer,
            archive,
            sorted(people),
            select=wanted.select,
            views=wanted.views,
            aligned=wanted.is_aligned,
            use_cache=wanted.use_cache,
        )
    return _score(embedded, wanted.views, people, strays, pairs)


def _open_embeddings(path: Path, wanted: Wanted, settings: Settings) -> Source:
    recognizer = None
    if wanted.model is not None:
        recognizer = open_recognizer(settings, model=wanted.model, detector=wanted.detector)
    digest = recognizer.embedder.digest if recognizer else ""
    saved = load_vectors(path, None, digest=digest)
    if not (saved.model_digest or digest):
        raise ModelError(
            f"{path} does not say which model made it", hint="name the model that did (--model)"
        )

    def score() -> ScoredPhotos:
        people, strays, pairs = _choose_photos(wanted, (*saved.names, *saved.reasons))
        chosen = saved.choose(sorted(people))
        return _score(chosen, wanted.views, people, strays, pairs)

    name = saved.model or (recognizer.embedder.name if recognizer else "")
    views = wanted.views if saved.model_digest else None  # a file from elsewhere does not say
    return Source(name, saved.model_digest or digest, score, views, recognizer)


def _open_gallery(path: Path, wanted: Wanted, settings: Settings) -> Source:
    from contextlib import closing

    from arcwise.store import SQLStore, Stamp

    with closing(SQLStore.open(path, create=False)) as store:
        held = store.changes_since(None)
        names = store.names(set(held.person_ids.tolist()), held.revision)
    if held.stamp is None:
        raise GalleryError(f"nobody is in {path}", hint="enroll people first")
    recognizer = None
    if wanted.model is not None:
        recognizer = open_recognizer(settings, model=wanted.model, detector=wanted.detector)
        model = recognizer.embedder
        held.stamp.check_model(Stamp(model.digest, model.name, model.dimension, "", ""))

    def score() -> ScoredPhotos:
        from arcwise.evaluate.calibrate.labeled import score_photos

        rows = zip(held.ids, held.person_ids, held.vectors, strict=True)
        templates = (
            _label_template(names[int(person)], int(number), vector)
            for number, person, vector in rows
            if int(person) in names  # forgotten meanwhile
        )
        return score_photos(templates)

    return Source(held.stamp.model_name, held.stamp.model_digest, score, None, recognizer)


def _label_template(person: str, number: int, vector: Floats) -> LabeledPhoto:
    from hashlib import sha256

    from arcwise.evaluate.calibrate.labeled import LabeledPhoto

    content = sha256(vector.astype("<f4").tobytes()).hexdigest()
    return LabeledPhoto(f"{person}/{number}", person, vector, content)


def _choose_photos(
    wanted: Wanted, names: Iterable[str]
) -> tuple[dict[str, str], dict[str, str], list[Pair] | None]:
    """Whom each photo shows, why some show nobody, and the pairs where only those count."""
    from arcwise.evaluate.sets.pairs import keep_folds, read_pairs
    from arcwise.evaluate.vectors.embedded import person_of_photo

    names = list(names)
    people, strays = _find_people(names)
    if wanted.pairs is None:
        return people, strays, None
    pairs = read_pairs(wanted.pairs, photos=names, n_folds=10 if wanted.folds else 2)
    if not wanted.folds:
        listed = {name for pair in pairs for name in (pair.a, pair.b)}
        return {name: person_of_photo(name) for name in listed}, {}, pairs
    return *_keep_people(people, keep_folds(pairs, wanted.folds), wanted.pairs), None


def _find_people(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Whom each photo shows, and why some photos show nobody."""
    people, strays = {}, {}
    for name in names:
        person, _, file = name.rpartition("/")
        if person and "/" not in person:
            people[name] = person
        else:
            where = f"lies deeper than PERSON/{file}" if person else "lies in no person's folder"
            strays[name] = where
    return people, strays


def _keep_people(
    people: dict[str, str], pairs: Sequence[Pair], place: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """All photos of the people of some pairs, and who has none."""
    wanted = {name.rpartition("/")[0] for pair in pairs for name in (pair.a, pair.b)}
    chosen = {name: person for name, person in people.items() if person in wanted}
    if not chosen:
        raise DatasetError(
            f"nobody of the {len(wanted)} people of {place} has a photo among the "
            f"{len(people):,} there are",
            hint="a photo is called PERSON/FILE, in the list as in the folder",
        )
    missing = sorted(wanted - set(chosen.values()))
    return chosen, {f"{person}/": "no photo of this person is there" for person in missing}


def _score(
    embedded: EmbeddedPhotos,
    views: Views,
    people: dict[str, str],
    strays: dict[str, str],
    pairs: list[Pair] | None,
) -> ScoredPhotos:
    from arcwise.evaluate.calibrate.labeled import LabeledPhoto, score_listed, score_photos

    digests = embedded.digest_of()
    labeled = [
        LabeledPhoto(name, people[name], vector, digests.get(name, ""))
        for name, vector in embedded.vectors(views).items()
    ]
    failed = strays | embedded.reasons
    if pairs is None:
        return score_photos(labeled, failed=failed)
    return score_listed(pairs, labeled, failed=failed)
