"""`arcwise embed`: faces as vectors, in a file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from arcwise.cli.options import (
    DetectorOption,
    FlipOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    PhotosArgument,
    ProviderOption,
    StrictOption,
    build_settings,
    open_recognizer,
    resolve_photos,
)
from arcwise.cli.show import check_output, print_json, print_table, report_unreadable, watch
from arcwise.cli.vectors import AlignedOption, embed_crops
from arcwise.errors import InputError, ManyFacesError, NoFaceError

if TYPE_CHECKING:
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
    from arcwise.image import OpenFile, PhotoSource
    from arcwise.recognizer import Recognizer
    from arcwise.types import Faces, Floats

WhichFaces = Literal["all", "largest", "center", "only"]
_NO_FACE = "no face was found"  # as choose.py says it


def embed(
    photos: PhotosArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the vectors (.npz without pickle, or .parquet)."),
    ] = None,
    select: Annotated[
        WhichFaces, typer.Option("--select", help="All faces of a photo, or the one that is meant.")
    ] = "all",
    aligned: AlignedOption = False,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    flip: FlipOption = False,
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn every face into an embedding. The vectors are printed with --json, saved with --out."""
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector)
    with ExitStack() as stack:
        named = _name_photos(photos, stack)
        if out:
            check_output(out, [*photos, *_list_files(named)], (".npz", ".parquet"))
            _check_names(out, [photo.name for photo in named])
        if aligned:
            found = _embed_aligned(recognizer, named, flip=flip)
        else:
            found = _embed_faces(recognizer, named, select=select, flip=flip)
    if out:
        _save(found, out)
    if as_json:
        print_json(found.plain)
    else:
        _print_faces(found)
    if report_unreadable(found.errors):
        raise typer.Exit(3)
    if not len(found.embedded):
        raise typer.Exit(1)


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """The vectors of faces, and where each face is.

    Attributes:
        embedded: the vectors, with a name for each face.
        photos: of each face.
        numbers: of each face in its photo, from 1.
        boxes_xyxy_px: of each face; empty for crops, in which no face was looked for.
        plain: all photos, for JSON.
        errors: why photos have no vector.
    """

    embedded: EmbeddedPhotos
    photos: list[str]
    numbers: list[int]
    boxes_xyxy_px: list[Floats]
    plain: list[dict[str, Any]]
    errors: list[InputError]


@dataclass(frozen=True, slots=True)
class _Named:
    """A photo by its name; each opening begins anew, so that none of many is held."""

    name: str
    open: Callable[[], PhotoSource]


def _check_names(out: Path, names: Sequence[str]) -> None:
    """Refuse, before the work, a file that cannot hold these names, or that no library writes."""
    from arcwise.evaluate.vectors.embedded import check_names

    check_names(out, names)


def _name_photos(given: Sequence[str], stack: ExitStack) -> list[_Named]:
    """Photos with their names; those of one folder or archive have the names they have in it."""
    from arcwise.image import describe_source
    from arcwise.photos import open_photos

    root = Path(given[0]).expanduser()
    if len(given) == 1 and given[0] != "-" and (root.is_dir() or zipfile.is_zipfile(root)):
        archive = stack.enter_context(open_photos(root))
        return [_Named(name, partial(archive.open, name)) for name in archive.names]

    def give(source: PhotoSource) -> PhotoSource:
        return source

    sources = resolve_photos(given)
    return [_Named(describe_source(source), partial(give, source)) for source in sources]


def _list_files(named: Sequence[_Named]) -> Iterator[str]:
    """Paths of the photos that were given as files."""
    return (source for photo in named if isinstance(source := photo.open(), str))


def _embed_faces(
    recognizer: Recognizer,
    named: Sequence[_Named],
    *,
    select: WhichFaces,
    flip: bool,
) -> _Found:
    """Find, align and embed; with `flip` the mirror images too."""
    from arcwise.embed import TwoViews
    from arcwise.recognizer import Recognizer

    embedder = recognizer.embedder
    finder = Recognizer(
        model=TwoViews(embedder) if flip else embedder,
        detector=recognizer.detector,
        settings=recognizer.settings,
    )
    sources = (photo.open() for photo in named)
    found = (
        finder.analyze_many(sources)
        if select == "all"
        else finder.choose_many(sources, select=select)
    )
    watched = watch(found, total=len(named), doing="embedding")
    results = [_call_by_name(p.name, result) for p, result in zip(named, watched, strict=True)]
    return _gather_faces(recognizer, named, results, has_mirror=flip)


def _call_by_name(name: str, result: Faces) -> Faces:
    """The same, its error about the photo by the name it has here, not about an open file."""
    error, other = result.error, f"<file {name}>"
    if error is None or other not in str(error):
        return result
    words = str(error).replace(other, name, 1)
    return replace(result, error=type(error)(words, hint=error.hint))


def _gather_faces(
    recognizer: Recognizer, named: Sequence[_Named], results: Sequence[Faces], *, has_mirror: bool
) -> _Found:
    import numpy as np

    from arcwise.evaluate.vectors.embedded import ZERO, EmbeddedPhotos

    embedder = recognizer.embedder
    names = [photo.name for photo in named]
    rows, kept, reasons, digests, errors = [], [], {}, {}, []
    for photo, result in zip(named, results, strict=True):
        name = photo.name
        if result.error is not None or not len(result):
            reasons[name] = str(result.error or _NO_FACE)
            digests[name] = result.digest or _digest_source(photo.open())
        if result.error is not None:
            errors.append(_name_error(name, result.error))
        for number, face in enumerate(result, start=1):
            assert face.embedding is not None
            assert face.norm is not None
            own = name if len(result) == 1 else f"{name}#{number}"
            row = face.embedding * np.float32(face.norm)
            if row[: embedder.dimension].any():
                rows.append(row)
                kept.append((own, name, number, result.digest, face.box_xyxy_px))
            else:
                reasons[own] = ZERO
                digests[own] = result.digest
    vectors = np.array(rows, np.float32).reshape(len(rows), -1 if rows else embedder.dimension)
    embedded = EmbeddedPhotos(
        names=tuple(own for own, *_ in kept),
        raw=vectors[:, : embedder.dimension],
        mirrored=vectors[:, -embedder.dimension :] if has_mirror else None,
        digests=tuple(digest for _, _, _, digest, _ in kept),
        reasons=reasons,
        model=embedder.name,
        model_digest=embedder.digest,
        failed_digests={name: digest for name, digest in digests.items() if digest},
    )
    return _Found(
        embedded,
        photos=[name for _, name, *_ in kept],
        numbers=[number for _, _, number, *_ in kept],
        boxes_xyxy_px=[box for *_, box in kept],
        plain=_to_plain(embedded, names, results),
        errors=errors,
    )


def _digest_source(source: PhotoSource) -> str:
    """SHA-256 that names a photo which cannot be decoded; "" where that is not known."""
    from arcwise.bulk import digest_file
    from arcwise.files import read_bytes
    from arcwise.photos import LazyPhoto

    try:
        if isinstance(source, LazyPhoto):
            return digest_file(source.read())
        return digest_file(read_bytes(source)) if isinstance(source, str) else ""
    except InputError:
        return ""


def _name_error(name: str, error: InputError) -> InputError:
    """The error with the name of its photo, which those of the choice of a face lack."""
    is_nameless = isinstance(error, NoFaceError | ManyFacesError)
    return type(error)(f"{name}: {error}", hint=error.hint) if is_nameless else error


def _to_plain(
    embedded: EmbeddedPhotos, names: Sequence[str], results: Sequence[Faces]
) -> list[dict[str, Any]]:
    """As `arcwise detect` says it, each face with its embedding."""
    means = embedded.embeddings()
    row_of = {name: row for row, name in enumerate(embedded.names)}
    photos = []
    for name, result in zip(names, results, strict=True):
        photo = result.to_dict() | {"photo": name}
        for number, face in enumerate(photo["faces"], start=1):
            row = row_of.get(name if len(result) == 1 else f"{name}#{number}")
            face["norm"] = 0.0 if row is None else round(float(means.norms[row]), 4)
            face["embedding"] = None if row is None else _round(means.vectors[row])
        photos.append(photo)
    return photos


def _embed_aligned(recognizer: Recognizer, named: Sequence[_Named], *, flip: bool) -> _Found:
    """Embed crops as they are. The cache is for measurements: what is saved here is the user's."""
    from arcwise.photos import Photos

    files = Photos(Path(), {path: Path(path) for path in _list_files(named)})

    def open_crop(source: PhotoSource) -> OpenFile:
        return files.open(source) if isinstance(source, str) else cast("OpenFile", source)

    crops = ((photo.name, open_crop(photo.open())) for photo in named)
    embedded = embed_crops(
        recognizer,
        crops,
        total=len(named),
        views="sum" if flip else "none",
        use_cache=False,
    )
    means = embedded.embeddings()
    row_of = {name: row for row, name in enumerate(embedded.names)}
    plain: list[dict[str, Any]] = []
    for photo in named:
        row = row_of.get(photo.name)
        faces = [] if row is None else [_describe(means.norms[row], means.vectors[row])]
        error = embedded.reasons.get(photo.name)
        plain.append({"photo": photo.name, "faces": faces, "error": error})
    return _Found(
        embedded,
        photos=list(embedded.names),
        numbers=[1] * len(embedded),
        boxes_xyxy_px=[],
        plain=plain,
        errors=[InputError(f"{name}: {reason}") for name, reason in embedded.reasons.items()],
    )


def _describe(norm: float, vector: Floats) -> dict[str, Any]:
    return {"norm": round(float(norm), 4), "embedding": _round(vector)}


def _round(vector: Floats) -> list[float]:
    return [round(float(value), 6) for value in vector]


def _save(found: _Found, out: Path) -> None:
    import numpy as np

    from arcwise.evaluate.vectors.embedded import save_embeddings

    more = {
        "photos": np.array(found.photos, np.str_),
        "faces": np.array(found.numbers, np.int64),
    }
    if found.boxes_xyxy_px or not found.photos:
        more["boxes_xyxy_px"] = np.array(found.boxes_xyxy_px, np.float32).reshape(-1, 4)
    save_embeddings(found.embedded, out, more=more)


def _print_faces(found: _Found) -> None:
    norms = found.embedded.embeddings().norms
    dimension = str(found.embedded.raw.shape[1])
    cells = [
        [photo, str(number), f"{norm:.2f}", dimension]
        for photo, number, norm in zip(found.photos, found.numbers, norms, strict=True)
    ]
    print_table(["photo", "face", "norm", "dimension"], cells)
