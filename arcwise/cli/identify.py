"""`arcwise identify`: who is in the photos."""

from __future__ import annotations

from collections.abc import Iterator
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
    open_people,
    resolve_photos,
)
from arcwise.cli.show import OutputPictures, print_json, print_table, report_unreadable, watch

if TYPE_CHECKING:
    from arcwise.gallery import Identified
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
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    sources = resolve_photos(photos)
    pictures = OutputPictures(out, len(sources)) if out else None
    answers = []
    with open_people(
        settings, gallery, model=model, detector=detector, flip=flip, create=False
    ) as opened:
        found = opened.identify_many(sources)
        for number, answer in enumerate(watch(found, total=len(sources), doing="identifying")):
            answers.append(answer)
            if pictures and answer.error is None:
                _draw(sources[number], answer, pictures.place_for(answer.source))
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


def label_of(match: Match) -> str:
    """What stands beside a face: the name and the similarity, or why there is no name."""
    word = match.person or match.status.replace("_", " ")
    return word if match.similarity is None else f"{word} {match.similarity:.2f}"


def _draw(source: Any, answer: Identified, place: Path) -> None:
    from arcwise.draw import STATUS_COLORS, draw_faces
    from arcwise.image import read_image, write_image

    labels = [label_of(match) for match in answer.matches]
    colors = [STATUS_COLORS[match.status] for match in answer.matches]
    picture = draw_faces(read_image(source), answer.faces, labels=labels, colors=colors)
    write_image(place, picture)


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
