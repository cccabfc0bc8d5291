"""What the measuring commands share: how their photos become vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.show import make_printable, print_note, watch
from arcwise.errors import ModelMismatchError, SettingsError

if TYPE_CHECKING:
    from arcwise.bulk import Recipe, Source
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.photos import Photos
    from arcwise.recognizer import Recognizer
    from arcwise.types import Select

PhotosOption = Annotated[
    Path | None, typer.Option("--photos", metavar="FOLDER|ZIP", help="The photos.")
]
EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE",
        help="Vectors instead of photos: .npz or .parquet, as arcwise embed --out writes.",
    ),
]
AlignedOption = Annotated[
    bool,
    typer.Option("--aligned", help="The photos are crops already: no face is looked for."),
]
CacheOption = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Keep the vectors for the next measurement.")
]
MirrorOption = Annotated[bool, typer.Option("--flip/--no-flip", help="Embed the mirror image too.")]


def check_one_source(photos: Path | None, embeddings: Path | None) -> None:
    """Photos or their vectors, one of both.

    Raises:
        SettingsError: neither or both were given.
    """
    if (photos is None) == (embeddings is None):
        said = "both" if photos else "neither"
        raise SettingsError(
            f"{said} of --photos and --embeddings was given",
            hint="--photos FOLDER embeds them, --embeddings FILE takes what arcwise embed saved",
        )


def load_vectors(path: Path, names: Sequence[str] | None, *, digest: str) -> EmbeddedPhotos:
    """Read saved vectors, of the photos that are meant.

    Args:
        path: the file, see `load_embeddings`.
        names: of the photos; one that is not there is a failed read. None means all there are.
        digest: of the model that the file must come from; "" takes any.

    Raises:
        InputError: it is no such file, or a photo is there with several faces.
        ModelMismatchError: it says that it comes from another model.
    """
    from arcwise.evaluate.vectors.embedded import load_embeddings

    embedded = load_embeddings(path, is_one_face=True)
    if digest and embedded.model_digest not in ("", digest):
        raise ModelMismatchError(
            f"{path} was made with {embedded.model or 'a model'} "
            f"({embedded.model_digest[:12]}), not with the model asked for ({digest[:12]})",
            hint="name the model that made it (--model), or embed the photos again",
        )
    return embedded if names is None else embedded.choose(names)


def embed_names(
    recognizer: Recognizer,
    archive: Photos,
    names: Sequence[str],
    *,
    select: Select = "center",
    views: Views = "sum",
    aligned: bool = False,
    use_cache: bool = True,
) -> EmbeddedPhotos:
    """Embed the one face that is meant in each photo, and show progress.

    Args:
        recognizer: does the work; its model embeds without its own flip.
        archive: where the photos are.
        names: of the photos, each is embedded once; one that is not there is a failed read, "not
            among the photos".
        select: which face of several is meant.
        views: "none" leaves the mirror images out, which saves half of the embedding.
        aligned: the photos are crops already; see docs/embeddings.md for other sizes.
        use_cache: take what the cache has, and keep the rest there.

    Raises:
        InputError: the recognizer's model embeds the mirror image by itself.
        ModelError: a model cannot be used.
    """
    from arcwise.bulk import Recipe

    there = set(archive.names)
    wanted = list(dict.fromkeys(names))
    lost = dict.fromkeys((n for n in wanted if n not in there), "not among the photos")
    found = [name for name in wanted if name in there]
    return _embed(
        recognizer,
        ((name, archive.open(name)) for name in found),
        total=len(found),
        recipe=Recipe(select, is_aligned=aligned, has_mirror=views != "none"),
        lost=lost,
        use_cache=use_cache,
    )


def embed_crops(
    recognizer: Recognizer,
    crops: Iterable[tuple[str, Source]],
    *,
    total: int,
    views: Views = "sum",
    use_cache: bool = True,
) -> EmbeddedPhotos:
    """Embed aligned crops under unique names, and show progress.

    Args:
        recognizer: does the work; its model embeds without its own flip.
        crops: name and crop: the bytes of its file, or (S, S, 3) uint8 RGB.
        total: how many there are, for the progress.
        views: "none" leaves the mirror images out.
        use_cache: take what the cache has, and keep the rest there.

    Raises:
        InputError: a name comes twice, or the recognizer's model embeds the mirror image by
            itself.
        ModelError: a model cannot be used.
    """
    from arcwise.bulk import Recipe

    return _embed(
        recognizer,
        crops,
        total=total,
        recipe=Recipe(is_aligned=True, has_mirror=views != "none"),
        lost={},
        use_cache=use_cache,
    )


def _embed(
    recognizer: Recognizer,
    photos: Iterable[tuple[str, Source]],
    *,
    total: int,
    recipe: Recipe,
    lost: dict[str, str],
    use_cache: bool,
) -> EmbeddedPhotos:
    from arcwise.bulk import embed_photos, gather_photos
    from arcwise.evaluate.vectors.cache import Cache

    cache = None
    if use_cache:
        cache = Cache.open(
            recognizer.settings.cache_dir,
            model=recognizer.embedder.name,
            model_digest=recognizer.embedder.digest,
            dimension=recognizer.embedder.dimension,
        )
    with cache or nullcontext():
        found = embed_photos(recognizer, photos, recipe=recipe, cache=cache)
        watched = watch(found, total=total, doing="embedding")
        embedded = gather_photos(recognizer, watched, total=total, recipe=recipe, lost=lost)
    if cache is not None and cache.trouble:
        print_note(f"note: {make_printable(cache.trouble)}")
    return embedded
