"""What the commands share that measure photos in a folder for each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.show import make_printable
from arcwise.cli.vectors import embed_names, load_vectors
from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Table
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.recognizer import Recognizer
    from arcwise.settings import Settings
    from arcwise.types import Select

OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="FOLDER", help="Only photos in folders of this name. May be repeated."
    ),
]
FailedOption = Annotated[
    Literal["count_as_wrong", "leave_out"],
    typer.Option("--failed", help="What becomes of photos without an embedding."),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which photos are meant, and how they are embedded."""

    photos: Path | None
    embeddings: Path | None
    only: Sequence[str]
    select: Select
    is_aligned: bool
    has_flip: bool
    use_cache: bool
    has_model: bool
    """Whether a model was named: saved embeddings must then be its own."""

    @property
    def views(self) -> Views:
        """What becomes of the mirror images."""
        return "sum" if self.has_flip else "none"

    @property
    def data(self) -> str:
        """What is measured on, in words."""
        name = str(self.photos or self.embeddings)
        return f"{name}, only {', '.join(self.only)}" if self.only else name


def embed_wanted(
    wanted: Wanted, recognizer: Recognizer | None, names: Sequence[str] | None = None
) -> EmbeddedPhotos:
    """Embed the photos, or read what was saved of them.

    Args:
        wanted: which, and how.
        recognizer: does the work; saved embeddings need it only where a model was named.
        names: of the photos; None: all that are meant.
    """
    if wanted.embeddings is not None:
        digest = recognizer.embedder.digest if recognizer and wanted.has_model else ""
        saved = load_vectors(wanted.embeddings, None, digest=digest)
        return saved.choose(names or keep_only((*saved.names, *saved.reasons), wanted.only))
    from arcwise.photos import open_photos

    assert wanted.photos is not None, "check_one_source comes first"
    assert recognizer is not None, "photos need a model"
    with open_photos(wanted.photos) as archive:
        return embed_names(
            recognizer,
            archive,
            names or keep_only(archive.names, wanted.only),
            select=wanted.select,
            views=wanted.views,
            aligned=wanted.is_aligned,
            use_cache=wanted.use_cache,
        )


def keep_only(names: Iterable[str], only: Sequence[str]) -> list[str]:
    """The photos that lie in a folder of one of these names, however deep; all without names.

    Raises:
        InputError: no photo lies in a folder of that name.
    """
    if not only:
        return list(names)
    folders = {name: set(name.split("/")[:-1]) for name in names}
    found = set().union(*folders.values())
    for folder in only:
        if folder not in found:
            from difflib import get_close_matches

            close = get_close_matches(folder, sorted(found), n=1)
            hint = f"did you mean {close[0]}?" if close else "names of folders are case-sensitive"
            raise InputError(f"no photo lies in a folder {folder!r}", hint=hint)
    return [name for name, inside in folders.items() if inside & set(only)]


def label_photos(embedded: EmbeddedPhotos) -> dict[str, str]:
    """Whom each photo shows: the folder it lies in, with all folders above; failed ones too."""
    from arcwise.evaluate.vectors.embedded import person_of_photo

    return {name: person_of_photo(name) for name in (*embedded.names, *embedded.reasons)}


def find_maker(settings: Settings, digest: str) -> str | None:
    """The path of the known model with this digest, or None."""
    from arcwise.zoo.registry import list_models

    return next(
        (str(known.path) for known in list_models(settings) if known.card.digest == digest), None
    )


def list_failed(reasons: dict[str, str]) -> list[dict[str, str]]:
    """Photos without an embedding and why, for JSON."""
    return [{"name": name, "reason": reason} for name, reason in reasons.items()]


def make_table(title: str, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    """A table of texts that come from file names."""
    from arcwise.evaluate.report import Table

    cells = tuple(tuple(make_printable(cell) for cell in line) for line in lines)
    return Table(title, tuple(columns), cells)
