"""What `arcwise evaluate verification` was asked for, and the sets of pairs with their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arcwise.cli.folds import keep_pairs
from arcwise.cli.show import make_printable, print_note
from arcwise.cli.vectors import check_one_source, embed_crops, embed_names, load_vectors
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.evaluate.verification.drawn import ReadPhoto
    from arcwise.recognizer import Recognizer
    from arcwise.types import Pair, Select

FailedName = Literal["count_as_wrong", "leave_out"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done with every set of pairs."""

    photos: Path | None
    embeddings: Path | None
    set_name: str
    protocols: tuple[str, ...]
    failed: FailedName
    has_mirror: bool
    select: Select
    n_folds: int
    folds: tuple[int, ...]
    leave_out: Path | None
    trained_on: Path | None
    threshold: float | None
    is_aligned: bool
    use_cache: bool
    has_drawings: bool
    has_pictures: bool
    has_names: bool

    def views_of(self, protocol: str) -> Views:
        """The vectors that a protocol is meant for; where it leaves the choice, --flip decides."""
        from arcwise.evaluate.verification.protocol import PROTOCOLS

        views = PROTOCOLS[protocol].views
        if views == "any":
            return "sum" if self.has_mirror else "none"
        return views

    @property
    def views(self) -> Views:
        """What has to be embedded for all protocols."""
        return "none" if {self.views_of(p) for p in self.protocols} == {"none"} else "sum"


@dataclass(frozen=True, slots=True)
class PairSet:
    """One set of pairs with its vectors, and how to show a photo of it."""

    name: str
    pairs: list[Pair]
    embedded: EmbeddedPhotos
    read: ReadPhoto | None


def check_sources(pairs: Sequence[Path], wanted: Wanted) -> None:
    """Refuse what cannot go together, before anything is read.

    Raises:
        SettingsError: photos or vectors beside packs alone, none or both of them for a list, names
            asked of a pack, or a threshold that is no cosine.
    """
    asked = [
        option
        for option, place in (
            ("--leave-out", wanted.leave_out),
            ("--trained-on", wanted.trained_on),
        )
        if place is not None
    ]
    if asked and any(map(_is_pack, pairs)):
        raise SettingsError(
            f"a pack names nobody, so {' and '.join(asked)} cannot be answered",
            hint="score the list and photos it was made from",
        )
    if not all(map(_is_pack, pairs)):
        check_one_source(wanted.photos, wanted.embeddings)
    elif wanted.photos or wanted.embeddings:
        raise SettingsError(
            "a pack holds its own photos", hint="leave out --photos and --embeddings"
        )
    if wanted.threshold is not None and not -1 <= wanted.threshold <= 1:
        raise SettingsError(f"--threshold is {wanted.threshold}", hint="a cosine lies in -1..1")


def _is_pack(path: Path) -> bool:
    from arcwise.evaluate.sets.packs import PACK_SUFFIXES

    return path.suffix.lower() in PACK_SUFFIXES


def read_set(path: Path, wanted: Wanted, recognizer: Recognizer | None) -> PairSet:
    """The pairs of a list, folder or pack that are wanted, and the vectors of their photos.

    Args:
        path: a list, a pack, or the folder of a public set.
        wanted: as `check_sources` let it pass.
        recognizer: embeds photos; None where vectors are given and no model was named.

    Raises:
        DatasetError, InputError: it cannot be read, or nothing of it is left.
    """
    if _is_pack(path):
        assert recognizer is not None, "a pack has no embeddings"
        return _read_pack(path, wanted, recognizer)
    from arcwise.cli.faces import face_reader
    from arcwise.evaluate.sets.pairset import open_pairs
    from arcwise.photos import open_photos

    if wanted.photos is None:
        assert wanted.embeddings is not None
        everything = load_vectors(wanted.embeddings, None, digest=_digest_of(recognizer))
        names = [*everything.names, *everything.reasons]
        listed = open_pairs(path, photos=names, n_folds=wanted.n_folds, set_name=wanted.set_name)
        listed = keep_pairs(listed, wanted.folds, wanted.leave_out)
        return PairSet(path.name, listed, everything.choose(_list_photos(listed)), None)
    assert recognizer is not None
    with open_photos(wanted.photos) as archive:
        listed = open_pairs(
            path, photos=archive.names, n_folds=wanted.n_folds, set_name=wanted.set_name
        )
        listed = keep_pairs(listed, wanted.folds, wanted.leave_out)
        embedded = embed_names(
            recognizer,
            archive,
            _list_photos(listed),
            select=wanted.select,
            views=wanted.views,
            aligned=wanted.is_aligned,
            use_cache=wanted.use_cache,
        )
    read = face_reader(recognizer, wanted.photos, wanted.select, is_aligned=wanted.is_aligned)
    return PairSet(path.name, listed, embedded, read)


def _read_pack(path: Path, wanted: Wanted, recognizer: Recognizer) -> PairSet:
    from arcwise.cli.faces import crop_reader
    from arcwise.evaluate.sets.packs import pack_pairs, read_pack

    pack = read_pack(path)
    for note in pack.notes:
        print_note(f"note: {make_printable(note)}")
    pairs = pack_pairs(pack, n_folds=wanted.n_folds)
    of_name = dict(zip(pack.photo_names, pack.images, strict=True))
    kept = keep_pairs(pairs, wanted.folds, None)  # nobody can be left out: check_sources
    crops = [(name, of_name[name]) for name in _list_photos(kept)]
    embedded = embed_crops(
        recognizer, crops, total=len(crops), views=wanted.views, use_cache=wanted.use_cache
    )
    return PairSet(path.name, kept, embedded, crop_reader(of_name))


def _digest_of(recognizer: Recognizer | None) -> str:
    return recognizer.embedder.digest if recognizer else ""


def _list_photos(pairs: Sequence[Pair]) -> list[str]:
    return sorted({name for pair in pairs for name in (pair.a, pair.b)})
