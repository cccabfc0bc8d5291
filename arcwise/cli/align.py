"""`arcwise align`: crops that an ArcFace model can eat."""

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
from arcwise.cli.show import (
    OutputPictures,
    check_output,
    print_json,
    print_table,
    report_unreadable,
    watch,
)
from arcwise.errors import InputError


def align(
    photos: PhotosArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the crops (PNG).")],
    size: Annotated[
        int, typer.Option("--size", metavar="PX", help="Side: a multiple of 112 or 128.")
    ] = 112,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write all crops on one picture, too.")
    ] = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cut every face out of photos, turned and scaled onto the ArcFace template."""
    import numpy as np

    from arcwise.align import align_faces, scale_template
    from arcwise.draw import contact_sheet
    from arcwise.encode import PICTURE_SUFFIXES, write_image

    scale_template(size)  # refuses a wrong size before the work
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, detector=detector)
    sources = resolve_photos(photos)
    pictures = OutputPictures(out, sources, suffix=".png", is_folder=True)
    if sheet:
        check_output(sheet, sources, PICTURE_SUFFIXES)
    results, written, crops_for_sheet = [], [], []
    found = recognizer.detect_photos(sources)
    watched = watch(found, total=len(sources), doing="aligning")
    for place_number, (photo, faces) in enumerate(watched):
        results.append(faces)
        if photo.image is None or not faces.faces:
            continue
        points = np.stack([face.points_px for face in faces])
        crops = align_faces(photo.image, points, size_px=size)
        for number, crop in enumerate(crops, start=1):
            place = pictures.place_for(place_number, part=f"_face{number}")
            if sheet and place.resolve() == sheet.resolve():
                raise InputError(f"{sheet} is the place of a crop", hint="name another sheet")
            write_image(place, crop)
            written.append({"photo": faces.source, "face": number, "crop": str(place)})
            if sheet:
                crops_for_sheet.append(crop)
    if sheet and crops_for_sheet:
        write_image(sheet, contact_sheet(crops_for_sheet, cell_px=size))
    if as_json:
        print_json(written)
    else:
        rows = [[str(row["photo"]), str(row["face"]), str(row["crop"])] for row in written]
        print_table(["photo", "face", "crop"], rows)
    if report_unreadable(result.error for result in results):
        raise typer.Exit(3)
    if not written:
        raise typer.Exit(1)
