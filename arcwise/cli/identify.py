"""`arcwise identify`: who is in the photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcwise.cli.options import (
    DetectorOption,
    FlipOption,
    GalleryOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    PhotosArgument,
    ProviderOption,
    StrictOption,
    build_settings,
    open_people_recognizer,
    resolve_photos,
)
from arcwise.cli.show import OutputPictures, print_json, print_table, report_unreadable, watch

if TYPE_CHECKING:
    from arcwise.gallery import Gallery, Identified
    from arcwise.image import PhotoSource
    from arcwise.recognizer import Photo, Recognizer
    from arcwise.types import Match


def identify(
    photos: PhotosArgument,
    gallery: GalleryOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write pictures with names.")
    ] = None,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    flip: FlipOption = False,
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say who every face is, or that it is unknown, ambiguous or too poor, and why."""
    from arcwise.draw import STATUS_COLORS, draw_faces
    from arcwise.encode import write_image
    from arcwise.gallery import Gallery

    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    sources = resolve_photos(photos)
    pictures = OutputPictures(out, sources) if out else None
    place = gallery or settings.gallery
    recognizer = open_people_recognizer(
        settings, gallery, model=model, detector=detector, flip=flip
    )
    answers = []
    with Gallery(place, recognizer=recognizer, create=False) as opened:
        found = _identify(opened, recognizer, sources)
        watched = watch(found, total=len(sources), doing="identifying")
        for number, (photo, answer) in enumerate(watched):
            answers.append(answer)
            if pictures and photo.image is not None:
                labels = [label_of(match) for match in answer.matches]
                colors = [STATUS_COLORS[match.status] for match in answer.matches]
                picture = draw_faces(photo.image, answer.faces, labels=labels, colors=colors)
                write_image(pictures.place_for(number), picture)
    if as_json:
        print_json([_to_plain(answer) for answer in answers])
    else:
        rows = [row for answer in answers for row in _rows(answer)]
        columns = ["photo", "face", "who", "similarity", "threshold", "margin", "why"]
        print_table(columns, rows)
    if report_unreadable(answer.error for answer in answers):
        raise typer.Exit(3)
    if not any(match.status == "match" for answer in answers for match in answer.matches):
        raise typer.Exit(1)


def _identify(
    gallery: Gallery, recognizer: Recognizer, sources: Sequence[PhotoSource]
) -> Iterator[tuple[Photo, Identified]]:
    """`Gallery.identify_many` with the photos themselves, to draw on them."""
    from arcwise.gallery import Identified

    for batch in recognizer.read(sources):
        for photo, found in zip(batch, recognizer.analyze_batch(batch), strict=True):
            matches = tuple(gallery.identify_faces(found.faces))
            size = found.size_wh_px
            yield photo, Identified(found.source, size, found.faces, matches, found.error)


def label_of(match: Match) -> str:
    """What stands beside a face: the name and the similarity, or why there is no name."""
    word = match.person or match.status.replace("_", " ")
    return word if match.similarity is None else f"{word} {match.similarity:.2f}"


def _rows(answer: Identified) -> Iterator[list[str]]:
    for number, match in enumerate(answer.matches, start=1):
        yield [
            answer.source,
            str(number),
            match.person or match.status.replace("_", " "),
            "-" if match.similarity is None else f"{match.similarity:.3f}",
            f"{match.threshold:.3f}",
            "-" if match.margin is None else f"{match.margin:.3f}",
            match.why,
        ]
    if not answer.matches and answer.error is None:
        yield [answer.source, "-", "no face", "", "", "", ""]


def _to_plain(answer: Identified) -> dict[str, Any]:
    return {
        "photo": answer.source,
        "size_wh_px": list(answer.size_wh_px),
        "faces": [
            face.to_dict() | asdict(match)
            for face, match in zip(answer.faces, answer.matches, strict=True)
        ],
        "error": str(answer.error) if answer.error is not None else None,
    }
