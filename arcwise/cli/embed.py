"""`arcwise embed`: faces as vectors, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def embed(
    photos: PhotosArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the vectors (.npz, without pickle)."),
    ] = None,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    flip: FlipOption = False,
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn every face into an embedding. The vectors are printed with --json, saved with --out."""
    import io

    import numpy as np

    from arcwise.files import write_atomically

    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    sources = resolve_photos(photos)
    if out:
        check_output(out, sources, (".npz",))
    found = recognizer.analyze_many(sources)
    results = list(watch(found, total=len(sources), doing="embedding"))
    faces = [
        (result.source, n, face) for result in results for n, face in enumerate(result, start=1)
    ]
    if out:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            vectors=np.array([f.embedding for _, _, f in faces], np.float32).reshape(
                -1, recognizer.embedder.dimension
            ),
            norms=np.array([f.norm for _, _, f in faces], np.float32),
            photos=np.array([source for source, _, _ in faces], dtype=np.str_),
            faces=np.array([n for _, n, _ in faces], np.int64),
            boxes_xyxy_px=np.array([f.box_xyxy_px for _, _, f in faces]).reshape(-1, 4),
            model=np.str_(recognizer.embedder.name),
            model_digest=np.str_(recognizer.embedder.digest),
        )
        write_atomically(out, buffer.getvalue(), private=True)
    if as_json:
        plain = [result.to_dict() for result in results]
        for result, row in zip(results, plain, strict=True):
            for face, cell in zip(result, row["faces"], strict=True):
                cell["embedding"] = [round(float(v), 6) for v in face.embedding]  # type: ignore[union-attr]
        print_json(plain)
    else:
        rows = [
            [source, str(n), f"{face.norm:.2f}", str(len(face.embedding))]  # type: ignore[arg-type]
            for source, n, face in faces
        ]
        print_table(["photo", "face", "norm", "dimension"], rows)
    if report_unreadable(result.error for result in results):
        raise typer.Exit(3)
    if not faces:
        raise typer.Exit(1)
