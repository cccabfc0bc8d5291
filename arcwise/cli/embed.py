"""`arcwise embed`: faces as vectors, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from arcwise.types import Embedder, Face, Faces


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
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    sources = resolve_photos(photos)
    if out:
        check_output(out, sources, (".npz",))
    found = recognizer.analyze_many(sources)
    results = list(watch(found, total=len(sources), doing="embedding"))
    rows = [
        (result.source, number, face)
        for result in results
        for number, face in enumerate(result, start=1)
    ]
    if out:
        _save_vectors(out, rows, recognizer.embedder)
    if as_json:
        print_json([_to_plain(result) for result in results])
    else:
        cells = [
            [source, str(number), f"{face.norm:.2f}", str(recognizer.embedder.dimension)]
            for source, number, face in rows
        ]
        print_table(["photo", "face", "norm", "dimension"], cells)
    if report_unreadable(result.error for result in results):
        raise typer.Exit(3)
    if not rows:
        raise typer.Exit(1)


def _save_vectors(out: Path, rows: Sequence[tuple[str, int, Face]], embedder: Embedder) -> None:
    """Plain arrays that numpy reads without pickle; for their owner alone."""
    import io

    import numpy as np

    from arcwise.files import write_atomically

    faces = [face for _, _, face in rows]
    vectors = np.array([face.embedding for face in faces], np.float32)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        vectors=vectors.reshape(-1, embedder.dimension),
        norms=np.array([face.norm for face in faces], np.float32),
        photos=np.array([source for source, _, _ in rows], dtype=np.str_),
        faces=np.array([number for _, number, _ in rows], np.int64),
        boxes_xyxy_px=np.array([face.box_xyxy_px for face in faces], np.float32).reshape(-1, 4),
        model=np.str_(embedder.name),
        model_digest=np.str_(embedder.digest),
    )
    write_atomically(out, buffer.getvalue(), private=True)


def _to_plain(result: Faces) -> dict[str, Any]:
    plain = result.to_dict()
    for face, cell in zip(result, plain["faces"], strict=True):
        assert face.embedding is not None
        cell["embedding"] = [round(float(value), 6) for value in face.embedding]
    return plain
