"""`arcwise data`: look at sets of photos, choose from them, pack them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.bin import make_bin
from arcwise.cli.folds import parse_folds
from arcwise.cli.options import JsonOption
from arcwise.cli.pack import pack, unpack
from arcwise.cli.preview import preview
from arcwise.cli.select import RootOption, make_list, subset
from arcwise.cli.show import count, make_printable, print_json, print_note, print_table, watch
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.data.check import CheckReport
    from arcwise.data.facts import PhotoFacts
    from arcwise.data.known import KnownSet
    from arcwise.data.stats import PhotoStats

_MOST_NAMED = 10  # findings of one kind; --json names all

SetArgument = Annotated[
    Path, typer.Argument(metavar="SET", help="Folder, prepared folder, zip, list or .rec.")
]

data_app = typer.Typer()


def stats(
    place: SetArgument,
    least: Annotated[
        int, typer.Option("--min-photos", min=1, help="Count the people with fewer.")
    ] = 10,
    root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count photos per person."""
    from arcwise.data.scan import scan_place
    from arcwise.data.stats import count_photos, describe_counts

    with scan_place(place, root=root) as scan:
        counts = count_photos(scan.samples)
        found = describe_counts(counts, least=least)
        n_homeless = len(scan.samples) - found.n_photos
    if as_json:
        print_json(found.to_dict() | {"n_homeless": n_homeless, "people": counts})
        return
    _print_stats(found)
    if n_homeless:
        print_note(f"note: in no folder of a person: {count(n_homeless, 'photo')}")


def _print_stats(found: PhotoStats) -> None:
    who = make_printable(found.person_with_most)
    rows = [
        ["people", str(found.n_people)],
        ["photos", str(found.n_photos)],
        ["photos per person, mean", f"{found.mean:.1f}"],
        ["photos per person, median", f"{found.median:g}"],
        ["fewest", str(found.fewest)],
        ["most", f"{found.most} ({who})"],
        [f"people with fewer than {found.least}", f"{found.n_below}"],
        ["photos of these", f"{found.n_photos_below}"],
    ]
    print_table(["what", "number"], rows)
    typer.echo(f"\nphotos  people\n{found.to_text()}")


def check(
    place: SetArgument,
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Look for one photo under two names.")
    ] = True,
    size: Annotated[
        int | None, typer.Option("--size", metavar="PX", min=1, help="Side all must have.")
    ] = None,
    known: Annotated[
        str | None, typer.Option("--known", metavar="NAME", help="The public set it should be.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", metavar="FILE", help="Who will be scored.")
    ] = None,
    folds: Annotated[
        str | None, typer.Option("--folds", metavar="1,2", help="Only these folds of the list.")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option("--photos", metavar="FOLDER|ZIP", help="The photos that will be scored."),
    ] = None,
    root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find broken, misplaced, repeated photos, and people who will be scored. Exit 1 if any."""
    from arcwise.data.check import CheckOptions, check_place

    if folds is not None and pairs is None:
        raise SettingsError("--folds belongs to a list", hint="say --pairs FILE, too")
    options = CheckOptions(
        near=near,
        size_px=size,
        known=known,
        pairs=pairs,
        folds=parse_folds("--folds", folds),
        photos=photos,
        root=root,
    )
    print_note(f"[1/3] scanning {make_printable(str(place))}")
    report = check_place(place, options=options, watch=_watch_reading)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_check(report)
    if not report.is_fine:
        raise typer.Exit(1)


def _watch_reading(facts: Iterable[PhotoFacts], total: int, doing: str) -> Iterable[PhotoFacts]:
    is_first = doing == "reading"
    print_note(f"{'[2/3]' if is_first else '     '} {doing}: {total} photos")
    yield from watch(facts, total=total, doing=doing)
    if is_first:
        print_note("[3/3] comparing")


def _print_check(report: CheckReport) -> None:
    from arcwise.data.facts import KINDS

    rows = [[kind, str(n), KINDS[kind]] for kind, n in report.count_kinds().items()]
    if rows:
        print_table(["finding", "number", "meaning"], rows)
    else:
        typer.echo(f"nothing found: {report.n_people} people, {report.n_photos} photos")
    for kind, n in report.count_kinds().items():
        own = [finding for finding in report.findings if finding.kind == kind]
        for finding in own[:_MOST_NAMED]:
            print_note(f"arcwise: {kind}: {make_printable(finding.text)}")
        if n > _MOST_NAMED:
            print_note(f"arcwise: {kind}: {n - _MOST_NAMED} more; --json names all")
    for note in report.notes:
        print_note(f"note: {make_printable(note)}")


def known(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="All by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List public sets: how many people and photos, terms, and where to ask for them."""
    from arcwise.data.known import KNOWN, find_known

    rows = [find_known(name)] if name is not None else list(KNOWN.values())
    if as_json:
        print_json([row.to_dict() for row in rows])
    elif name is not None:
        _print_known(rows[0])
    else:
        _print_all_known(rows)


def _print_known(row: KnownSet) -> None:
    from arcwise.data.known import format_count

    lines = [
        ["set", row.title],
        ["for", row.use],
        ["people", format_count(row.n_people, row)],
        ["photos", format_count(row.n_photos, row)],
        ["terms", row.terms],
        ["whom to ask", row.holder],
        ["source of the numbers", row.source],
    ]
    print_table(["what", row.name], lines)


def _print_all_known(rows: list[KnownSet]) -> None:
    from arcwise.data.known import format_count

    lines = [
        [row.name, row.use, format_count(row.n_people, row), format_count(row.n_photos, row),
         row.terms]
        for row in rows
    ]  # fmt: skip
    print_table(["name", "for", "people", "photos", "terms"], lines)
    print_note("arcwise data known NAME says whom to ask")


for command in (make_list, stats, subset, check, pack, unpack, make_bin, known, preview):
    data_app.command()(command)
