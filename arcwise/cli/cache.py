"""`arcwise cache`: what measurements keep, and how to delete it."""

from __future__ import annotations

from typing import Annotated

import typer

from arcwise.cli.options import JsonOption, build_settings
from arcwise.cli.show import count, make_printable, print_json, print_note, print_table


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete all of it; it is made again when needed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the embeddings that measurements keep, by model, or delete them."""
    from arcwise.evaluate.vectors.cache import clear_caches, list_caches

    folder = build_settings().cache_dir
    files = list_caches(folder)
    freed_bytes = clear_caches(folder) if clear else 0
    left = list_caches(folder) if clear else []
    if as_json:
        rows = [
            {
                "path": str(file.path),
                "model": file.model or None,
                "n_photos": file.n_photos,
                "size_bytes": file.size_bytes,
                "state": file.state,
            }
            for file in files
        ]
        print_json({"folder": str(folder), "files": rows, "freed_bytes": freed_bytes})
        return
    place = make_printable(str(folder))
    if clear:
        typer.echo(f"deleted {_to_megabytes(freed_bytes)} in {place}")
        if left:
            print_note(f"note: {count(len(left), 'file')} in use: emptied, and kept in place")
    elif not files:
        typer.echo(f"nothing is kept in {place}")
    else:
        cells = [
            [
                file.model or f"({file.state})",
                f"{file.n_photos:,}",
                _to_megabytes(file.size_bytes),
                file.path.name,
            ]
            for file in files
        ]
        print_table(["model", "photos", "size", "file"], cells, title=place)


def _to_megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
