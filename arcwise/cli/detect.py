"""`arcwise detect`: where the faces are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcwise.cli.options import (
    DetectorOption,
    JsonOption,
    MinFaceOption,
    PhotosArgument,
    ProviderOption,
    StrictOption,
    build_settings,
    open_recognizer,
    resolve_photos,
)
from arcwise.cli.show import OutputPictures, print_json, print_table, report_unreadable, watch


def detect(
    photos: PhotosArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write pictures with the faces marked.")
    ] = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the faces of photos: boxes, five points, scores. Needs no embedding model."""
    from arcwise.draw import draw_faces
    from arcwise.encode import write_image

    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, detector=detector)
    sources = resolve_photos(photos)
    pictures = OutputPictures(out, sources) if out else None
    results = []
    found = recognizer.detect_photos(sources)
    watched = watch(found, total=len(sources), doing="detecting")
    for number, (photo, faces) in enumerate(watched):
        results.append(faces)
        if pictures and photo.image is not None:
            labels = [f"{face.score:.2f}" for face in faces]
            picture = draw_faces(photo.image, faces.faces, labels=labels)
            write_image(pictures.place_for(number), picture)
    if as_json:
        print_json([result.to_dict() for result in results])
    else:
        rows = []
        for result in results:
            for number, face in enumerate(result, start=1):
                box = " ".join(f"{value:.0f}" for value in face.box_xyxy_px)
                rows.append([result.source, str(number), box, f"{face.score:.3f}"])
            if not result.faces and result.error is None:
                rows.append([result.source, "-", "no face", ""])
        print_table(["photo", "face", "box: left top right bottom", "score"], rows)
    if report_unreadable(result.error for result in results):
        raise typer.Exit(3)
    if not any(result.faces for result in results):
        raise typer.Exit(1)
