"""The photos of a gallery and of its probes, from wherever they are, as one model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.leak import OnLeak
from arcwise.cli.show import count, print_note
from arcwise.cli.vectors import embed_names, load_vectors

if TYPE_CHECKING:
    from arcwise.evaluate.identification.lineup import Lineup, Split
    from arcwise.evaluate.identification.scope import Scope
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.photos import Photos
    from arcwise.recognizer import Recognizer
    from arcwise.types import Select


PhotosArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FOLDER|ZIP", help="PERSON/FILE of the gallery.", show_default=False),
]
ProbesOption = Annotated[
    Path | None,
    typer.Option(
        "--probes", metavar="FOLDER|ZIP", help="Probes from here; the gallery is then all of it."
    ),
]
PerPersonOption = Annotated[
    int,
    typer.Option("--per-person", min=1, metavar="K", help="Photos of each for the gallery."),
]
NonMatedOption = Annotated[
    float,
    typer.Option(
        "--non-mated", metavar="N|SHARE", help="People left out of the gallery: strangers."
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**32 - 1,  # arcwise/evaluate/identification/seed.py
        help="Draw the gallery's photos; else the first by name.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for, where and how."""

    photos: Path | None
    probes: Path | None
    embeddings: Path | None
    per_person: int
    non_mated: float
    seed: int | None
    on_leak: OnLeak
    has_baseline: bool
    select: Select
    is_aligned: bool
    has_mirror: bool
    use_cache: bool
    has_pictures: bool
    threshold: float | None
    scope: Scope

    @property
    def views(self) -> Views:
        """What becomes of the mirror images."""
        return "sum" if self.has_mirror else "none"


@dataclass(frozen=True, eq=False, slots=True)
class Sources:
    """Where the photos of both sides are: archives, or vectors that were saved."""

    gallery: Photos | None
    probes: Photos | None
    saved: EmbeddedPhotos | None


@dataclass(frozen=True, eq=False, slots=True)
class Sides:
    """The photos of both sides as one model sees them."""

    gallery: EmbeddedPhotos
    probes: EmbeddedPhotos


def open_sources(wanted: Wanted, recognizers: Sequence[Recognizer], stack: ExitStack) -> Sources:
    """Open the photos until the stack ends, or read what was saved of them."""
    from arcwise.photos import open_photos

    if wanted.embeddings is not None:
        digest = recognizers[0].embedder.digest if recognizers else ""
        return Sources(None, None, load_vectors(wanted.embeddings, None, digest=digest))
    assert wanted.photos is not None, "_check_sources comes first"
    archive = stack.enter_context(open_photos(wanted.photos))
    if wanted.probes is None:
        return Sources(archive, archive, None)
    return Sources(archive, stack.enter_context(open_photos(wanted.probes)), None)


def split_sources(wanted: Wanted, sources: Sources) -> Split:
    """Who is in the gallery, and who is searched for."""
    from arcwise.evaluate.identification.lineup import split_people, split_photos

    if sources.saved is not None:
        people = _label((*sources.saved.names, *sources.saved.reasons))
    else:
        assert sources.gallery is not None
        people = _label(sources.gallery.names)
    if wanted.probes is None:
        return split_photos(people, wanted.per_person, non_mated=wanted.non_mated, seed=wanted.seed)
    assert sources.probes is not None
    probes = _label(sources.probes.names)
    return split_people(people, probes, non_mated=wanted.non_mated, seed=wanted.seed)


def _label(names: Sequence[str]) -> dict[str, str]:
    """Whom each photo shows: the folder it lies in; those in none are left out, with a note."""
    from arcwise.evaluate.vectors.embedded import person_of_photo

    inside = [name for name in names if "/" in name]
    if len(inside) < len(names):
        strays = count(len(names) - len(inside), "photo lies", "photos lie")
        print_note(f"left out: {strays} in no person's folder")
    return {name: person_of_photo(name) for name in inside}


def embed_sides(
    wanted: Wanted,
    sources: Sources,
    split: Split,
    recognizer: Recognizer,
    *,
    views: Views,
    use_cache: bool,
) -> Sides:
    """Embed both sides; photos of one folder all at once."""

    def embed(archive: Photos, names: Sequence[str]) -> EmbeddedPhotos:
        return embed_names(
            recognizer,
            archive,
            names,
            select=wanted.select,
            views=views,
            aligned=wanted.is_aligned,
            use_cache=use_cache,
        )

    assert sources.gallery is not None, "saved embeddings are chosen, not made"
    assert sources.probes is not None
    if sources.probes is sources.gallery:
        both = embed(sources.gallery, [*split.gallery, *split.probes])
        return Sides(both.choose([*split.gallery]), both.choose([*split.probes]))
    return Sides(
        embed(sources.gallery, [*split.gallery]),
        embed(sources.probes, [*split.probes]),
    )


def choose_sides(saved: EmbeddedPhotos, split: Split) -> Sides:
    """Both sides out of what was saved."""
    return Sides(saved.choose([*split.gallery]), saved.choose([*split.probes]))


def gather_lineup(sides: Sides, split: Split, views: Views) -> Lineup:
    """What can be searched of both sides."""
    from arcwise.evaluate.identification.lineup import Lineup, Side

    gallery, probes = (
        Side(people, embedded.vectors(views), embedded.reasons)
        for people, embedded in ((split.gallery, sides.gallery), (split.probes, sides.probes))
    )
    return Lineup.gather(gallery, probes)
