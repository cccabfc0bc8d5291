"""`arcwise data make-list` and `subset`: which people and photos, written down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.show import (
    check_output,
    count,
    make_printable,
    print_json,
    print_note,
    print_table,
    watch,
)
from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.data.scan import Scan
    from arcwise.data.selection import Selection, SelectionRules

_LISTS = (".txt", ".tsv", ".lst")
_N_STEPS = 5

OrderName = Literal["name", "count", "random"]
MinPhotosOption = Annotated[
    int, typer.Option("--min-photos", min=1, help="Leave out people with fewer.")
]
PeopleOption = Annotated[
    int | None, typer.Option("--people", min=1, help="How many people; all by default.")
]
ByOption = Annotated[OrderName, typer.Option("--by", help="Which people come first.")]
MaxPhotosOption = Annotated[
    int | None, typer.Option("--max-photos", min=1, help="Most of one person, drawn by chance.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="The same choice for the same.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a list of that name.")]
RootOption = Annotated[Path | None, typer.Option("--root", help="Where the paths of a list begin.")]


def make_list(
    photos: Annotated[
        Path, typer.Argument(metavar="PHOTOS", help="Folder per person, prepared folder, or zip.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The list (.txt, .tsv or .lst).")],
    min_photos: MinPhotosOption = 1,
    people: PeopleOption = None,
    by: ByOption = "name",
    max_photos: MaxPhotosOption = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle/--no-shuffle", help="Mix the lines by the seed.")
    ] = True,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a training list of `person/photo label` lines."""
    from arcwise.data.scan import scan_place
    from arcwise.data.selection import SelectionRules

    rules = SelectionRules(min_photos, people, by, max_photos, seed)
    _check_list(out, photos, overwrite=overwrite)
    _step(1, f"scanning {photos}")
    with scan_place(photos) as scan:
        _write_list(scan, rules, out, shuffle=shuffle, overwrite=overwrite, as_json=as_json)


def subset(
    source: Annotated[
        Path, typer.Argument(metavar="SET", help="Folder, prepared folder, zip, list or .rec.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A list (.txt, .tsv, .lst), or a new folder for copies."),
    ],
    min_photos: MinPhotosOption = 1,
    people: PeopleOption = None,
    by: ByOption = "name",
    max_photos: MaxPhotosOption = None,
    seed: SeedOption = 0,
    root: RootOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose some people and photos of a set: as a list, or copied into a folder per person."""
    from arcwise.data.scan import scan_place
    from arcwise.data.selection import SelectionRules, select_samples
    from arcwise.data.subset import copy_selection, refuse_taken

    rules = SelectionRules(min_photos, people, by, max_photos, seed)
    is_list = out.suffix.lower() in _LISTS
    if is_list:
        _check_list(out, source, overwrite=overwrite)
    else:
        refuse_taken(out)
        _refuse_inside(out, source)
    _step(1, f"scanning {source}")
    with scan_place(source, root=root) as scan:
        if is_list:
            _write_list(scan, rules, out, shuffle=False, overwrite=overwrite, as_json=as_json)
            return
        chosen = select_samples(scan.samples, rules)
        _tell_choice(chosen, rules)
        _step(4, "keeping the order")
        _step(5, f"copying to {out}")
        copy_selection(
            scan,
            chosen,
            out,
            watch=lambda positions, total: watch(positions, total=total, doing="copying"),
        )
        _tell(scan, chosen, out, seed=seed, as_json=as_json)


def _check_list(out: Path, source: Path, *, overwrite: bool) -> None:
    check_output(out, (source,), _LISTS)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already", hint="--overwrite replaces it")


def _refuse_inside(out: Path, source: Path) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} lies among the photos", hint="name another place")


def _step(number: int, text: str) -> None:
    print_note(f"[{number}/{_N_STEPS}] {make_printable(text)}")


def _tell_choice(chosen: Selection, rules: SelectionRules) -> None:
    total = f"{count(chosen.n_people, 'person', 'people')}, {count(chosen.n_photos, 'photo')}"
    print_note(f"      {total}")
    enough = f"{chosen.n_qualified} have {count(rules.min_photos, 'photo')} or more"
    whom = f", the first {len(chosen.people)} by {rules.by}" if rules.n_people else ""
    _step(2, f"choosing people: {enough}{whom}")
    most = f", at most {rules.max_photos} of one person" if rules.max_photos else ""
    _step(3, f"taking {count(len(chosen.positions), 'photo')}{most}")


def _write_list(
    scan: Scan,
    rules: SelectionRules,
    out: Path,
    *,
    shuffle: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    from arcwise.data.selection import select_samples
    from arcwise.data.subset import is_found, write_selection

    chosen = select_samples(scan.samples, rules)
    _tell_choice(chosen, rules)
    if shuffle:
        _step(4, f"shuffling with seed {rules.seed}")
        chosen = chosen.shuffled(scan.samples, rules.seed)
    else:
        _step(4, "keeping the order")
    _step(5, f"writing {out}")
    write_selection(scan, chosen, out, overwrite=overwrite)
    _tell(scan, chosen, out, seed=rules.seed, as_json=as_json)
    if scan.base is None or not is_found(out, scan.base):
        place = make_printable(str(scan.base or "the unpacked archive"))
        print_note(f"note: paths begin at {place}; train with data.root={place}")


def _tell(scan: Scan, chosen: Selection, out: Path, *, seed: int, as_json: bool) -> None:
    from arcwise.data.stats import count_photos, describe_counts

    stats = describe_counts(count_photos([scan.samples[i] for i in chosen.positions]))
    if as_json:
        plain: dict[str, Any] = {
            "out": str(out),
            "seed": seed,
            "n_people_there": chosen.n_people,
            "n_photos_there": chosen.n_photos,
            "n_qualified": chosen.n_qualified,
        }
        print_json(plain | stats.to_dict())
        return
    rows = [
        ["people", str(stats.n_people)],
        ["photos", str(stats.n_photos)],
        ["photos per person", f"{stats.mean:.1f}, from {stats.fewest} to {stats.most}"],
    ]
    print_table(["what", "number"], rows)
    if stats.n_people < 2:
        print_note("note: one person only: a network learns to tell people apart")
