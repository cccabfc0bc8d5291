"""`arcwise data pack` and `unpack`: crops into a record file, and back into folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.show import count, make_printable, print_json, print_note, watch

DialectName = Literal["insightface", "sequential"]


def pack(
    crops: Annotated[
        Path,
        typer.Argument(metavar="CROPS", help="Prepared folder, folder per person, list or .rec."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for train.rec and more.")],
    dialect: Annotated[
        DialectName, typer.Option("--dialect", help="Person by person, or mixed.")
    ] = "insightface",
    cut_border: Annotated[
        bool, typer.Option("--cut-border", help="Keep the 112 px of the face only.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the mixing.")] = 0,
    root: Annotated[
        Path | None, typer.Option("--root", help="Where the paths of a list begin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write crops as a record file with index, property and exact counts, whole or not at all."""
    from arcwise.data.pack import pack_crops
    from arcwise.data.source import open_crops

    print_note(f"[1/2] opening {make_printable(str(crops))}")
    source = open_crops(crops, root=root)
    print_note(f"[2/2] packing {count(len(source.samples), 'crop')} of {source.side_px} px")
    report = pack_crops(
        source,
        out,
        dialect=dialect,
        cut_border=cut_border,
        seed=seed,
        watch=lambda names, total: watch(names, total=total, doing="packing"),
    )
    if as_json:
        print_json(report.to_dict())
        return
    typer.echo(
        f"wrote {make_printable(str(report.path))}: {count(report.n_photos, 'crop')} of "
        f"{count(report.n_people, 'person', 'people')}, {report.side_px} px, "
        f"{report.n_copied} copied as they were"
    )


def unpack(
    records: Annotated[Path, typer.Argument(metavar="FILE.rec|FOLDER")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder, one in it per person.")],
    as_json: JsonOption = False,
) -> None:
    """Write the crops of a record file into a folder per person. Run again, it goes on."""
    from arcwise.data.pack import unpack_records

    try:
        report = unpack_records(
            records,
            out,
            watch=lambda names, total: watch(names, total=total, doing="unpacking"),
        )
    except KeyboardInterrupt:
        print_note("what was finished is kept; run the same again to go on")
        raise
    if as_json:
        print_json(report.to_dict())
        return
    if report.n_done_before:
        print_note(f"{report.n_done_before} were there before")
    typer.echo(
        f"wrote {count(report.n_photos, 'crop')} of "
        f"{count(report.n_people, 'person', 'people')} to {make_printable(str(report.root))}"
    )
