"""`arcwise prepare`: photos of people become the crops a model is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.options import (
    DetectorOption,
    JsonOption,
    MinFaceOption,
    ProviderOption,
    SelectOption,
    StrictOption,
    build_settings,
)
from arcwise.cli.show import count, make_printable, print_json, print_note, print_table, watch

if TYPE_CHECKING:
    from arcwise.data.prepare import PrepareReport

FormatName = Literal["jpg", "png"]
_N_NAMED = 10


def prepare(
    photos: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|ZIP", help="Photos, in a folder for each person."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for crops and manifest.")],
    select: SelectOption = "center",
    border: Annotated[
        int, typer.Option("--border", metavar="PX", help="Kept around the 112 px of the face.")
    ] = 16,
    file_format: Annotated[
        FormatName, typer.Option("--format", help="Of the crops; png loses nothing.")
    ] = "jpg",
    workers: Annotated[
        int, typer.Option("--workers", help="Processes at once; 0 takes all cores.")
    ] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again the photos without a crop.")
    ] = False,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cut the faces for training out of photos. Run again after an interruption, it goes on."""
    from arcwise.data.prepare import PrepareOptions, prepare_photos

    options = PrepareOptions(
        select=select,
        border_px=border,
        detector=detector,
        format=file_format,
        n_workers=workers,
        retry_failed=retry_failed,
    )
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    try:
        report = prepare_photos(
            photos,
            out,
            options=options,
            settings=settings,
            watch=lambda done, total: watch(done, total=total, doing="preparing"),
        )
    except KeyboardInterrupt:
        print_note("what was finished is kept; run the same again to go on")
        raise
    if as_json:
        print_json(report.to_dict())
        return
    _print_report(report)


def _print_report(report: PrepareReport) -> None:
    rows = [
        ["photos", str(report.n_photos)],
        ["done before", str(report.n_done_before)],
        ["crops", str(report.n_crops)],
        ["without a crop", str(len(report.failures))],
        ["people", str(len(report.people) - len(report.people_without_crop))],
        ["people without a crop", str(len(report.people_without_crop))],
        ["equal photos of different people", str(len(report.equal_photos))],
    ]
    print_table(["what", "number"], rows)
    failures = [f"{name}: {why}" for name, why in report.failures.items()]
    _print_some(failures, "more photos without a crop")
    alone = [f"no crop of {name}" for name in report.people_without_crop]
    _print_some(alone, "more people without a crop")
    equal = [f"one photo of two people? {', '.join(group)}" for group in report.equal_photos]
    _print_some(equal, "more photos of two people")
    crops = count(report.n_crops, "crop")
    print_note(f"{crops} in {make_printable(str(report.root))}")


def _print_some(texts: list[str], more: str) -> None:
    for text in texts[:_N_NAMED]:
        print_note(f"arcwise: {make_printable(text)}")
    if len(texts) > _N_NAMED:
        print_note(f"arcwise: {len(texts) - _N_NAMED} {more}; --json names all")
