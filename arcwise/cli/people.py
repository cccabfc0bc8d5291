"""`arcwise people`, `rename`, `merge`, `forget`: who is in a gallery. No model is needed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import GalleryOption, JsonOption, build_settings
from arcwise.cli.show import count, print_json, print_note, print_table

if TYPE_CHECKING:
    from arcwise.store import SQLStore

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def _open_store(path: Path | None) -> SQLStore:
    from arcwise.store import SQLStore

    return SQLStore.open(path or build_settings().gallery, create=False)


def people(gallery: GalleryOption = None, as_json: JsonOption = False) -> None:
    """List the people of a gallery."""
    with closing(_open_store(gallery)) as store:
        listed, stamp = store.people(), store.stamp()
    if as_json:
        print_json([asdict(person) for person in listed])
        return
    rows = [[person.name, str(person.n_templates), person.created_at] for person in listed]
    print_table(["person", "faces", "since (UTC)"], rows)
    filled_by = f", filled by {stamp.model_name}" if stamp else ""
    print_note(f"{count(len(listed), 'person', 'people')}{filled_by}")


def rename(
    old: NameArgument, new: NameArgument, gallery: GalleryOption = None, as_json: JsonOption = False
) -> None:
    """Give a person another name."""
    from arcwise.gallery import clean_name

    with closing(_open_store(gallery)) as store:
        person = store.rename(clean_name(old), clean_name(new))
    if as_json:
        print_json(asdict(person))
    else:
        typer.echo(f"{old} is now {person.name}")


def merge(
    into: NameArgument,
    other: NameArgument,
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make two people one: INTO gets the faces of OTHER."""
    from arcwise.gallery import clean_name

    with closing(_open_store(gallery)) as store:
        person = store.merge(clean_name(into), clean_name(other))
    if as_json:
        print_json(asdict(person))
    else:
        typer.echo(f"{person.name} now has {count(person.n_templates, 'face')}; {other} is gone")


def forget(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete people for good: names, faces, everything the gallery knows of them."""
    from arcwise.gallery import clean_name

    with closing(_open_store(gallery)) as store:
        forgotten = store.forget_many([clean_name(name) for name in names])
    if as_json:
        print_json([asdict(person) for person in forgotten])
        return
    for person in forgotten:
        typer.echo(f"forgot {person.name}: {count(person.n_templates, 'face')} erased")
