"""`arcwise data make-bin`: a list of pairs and its crops as one verification pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import JsonOption
from arcwise.cli.reporting import check_beside
from arcwise.cli.show import count, make_printable, print_json, print_note, watch
from arcwise.errors import DatasetError

if TYPE_CHECKING:
    from arcwise.photos import Photos
    from arcwise.types import Pair

_MOST_NAMED = 10  # missing photos


def make_bin(
    pairs: Annotated[
        Path, typer.Option("--pairs", metavar="LIST|FOLDER", help="The pairs, or CFP or AgeDB.")
    ],
    photos: Annotated[
        Path, typer.Option("--photos", metavar="FOLDER|ZIP", help="Aligned crops of the pairs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack (.bin or .npz).")],
    set_name: Annotated[
        str, typer.Option("--set", metavar="NAME", help="Which protocol of a folder: cfp-ff ...")
    ] = "",
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="For a list that does not state its own.")
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """Write crops and pairs as a pack that InsightFace reads; their bytes stay as they are."""
    from arcwise.evaluate.sets.packs import PACK_SUFFIXES, write_pack
    from arcwise.evaluate.sets.pairset import open_pairs
    from arcwise.photos import open_photos

    check_beside(out, (pairs, photos), PACK_SUFFIXES)
    print_note("[1/2] reading pairs and crops")
    with open_photos(photos) as archive:
        listed = open_pairs(pairs, photos=archive.names, n_folds=folds, set_name=set_name)
        listed = sorted(listed, key=lambda pair: pair.fold)  # a pack has no other trace of folds
        images = _read_images(archive, listed)
    print_note(f"[2/2] writing {count(len(listed), 'pair')}")
    write_pack(out, images, [pair.is_same for pair in listed])
    _tell_folds(listed)
    n_same = sum(pair.is_same for pair in listed)
    n_photos = len({name for pair in listed for name in (pair.a, pair.b)})
    if as_json:
        found = {"path": str(out), "n_pairs": len(listed), "n_same": n_same, "n_photos": n_photos}
        print_json(found)
        return
    typer.echo(
        f"wrote {make_printable(str(out))}: {count(len(listed), 'pair')}, {n_same} of one "
        f"person, of {count(n_photos, 'crop')}"
    )


def _read_images(archive: Photos, pairs: Sequence[Pair]) -> list[bytes]:
    """The crops of the pairs in their order; one that occurs twice is one object."""
    names = list(dict.fromkeys(_list_names(pairs)))
    there = set(archive.names)
    missing = [name for name in names if name not in there]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise DatasetError(
            f"{count(len(missing), 'photo')} of {len(names)} not among the crops: "
            f"{make_printable(', '.join(missing[:_MOST_NAMED]))}{more}",
            hint="a pack has two crops for each pair: align them all, or take these pairs off "
            "the list",
        )
    content = {name: archive.read(name) for name in watch(names, total=len(names), doing="reading")}
    return [content[name] for name in _list_names(pairs)]


def _list_names(pairs: Sequence[Pair]) -> Iterator[str]:
    return (name for pair in pairs for name in (pair.a, pair.b))


def _tell_folds(pairs: Sequence[Pair]) -> None:
    from arcwise.evaluate.sets.folds import assign_folds

    n_folds = len({pair.fold for pair in pairs})
    cut = assign_folds([replace(pair, fold=0) for pair in pairs], n_folds, name="the pack")
    if [pair.fold for pair in cut] != [pair.fold for pair in pairs]:
        print_note(
            "note: the folds of the list are not of one size; a pack states no folds, and readers "
            "cut it into equal ones"
        )
    elif n_folds != 10:
        print_note(f"note: a pack states no folds: read it with --folds {n_folds}")
