"""Photos that are in a gallery and among its probes: looking for them, and what then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.show import count, make_printable, print_note, watch
from arcwise.errors import DatasetError, InputError

if TYPE_CHECKING:
    from arcwise.data.leak import Leak, Print
    from arcwise.evaluate.identification.lineup import Split
    from arcwise.photos import Photos
    from arcwise.settings import Settings

OnLeak = Literal["warn", "drop", "error", "ignore"]
LeakOption = Annotated[
    OnLeak,
    typer.Option("--on-leak", help="What becomes of probes that are photos of the gallery."),
]

_MOST_NOTES = 5


def find_equal(digests: Mapping[str, str], split: Split) -> list[Leak]:
    """Probes of the same pixels as a photo of the gallery.

    Args:
        digests: photo -> digest of its pixels, where it is known.
        split: whose sides are compared.
    """
    from arcwise.data.leak import Print, find_leaks

    gallery, probes = (
        {name: Print(digests[name]) for name in side if name in digests}
        for side in (split.gallery, split.probes)
    )
    return find_leaks(gallery, probes)


def find_twins(gallery: Photos, probes: Photos, split: Split, settings: Settings) -> list[Leak]:
    """Probes that are photos of the gallery: each photo is looked at once, and compared.

    Args:
        gallery: where the photos of the gallery are.
        probes: where the probes are; may be the same.
        split: whose sides are compared.
        settings: limits of photos, and how many threads.
    """
    from arcwise.data.leak import find_leaks

    total = len(split.gallery) + len(split.probes)
    looking = _look_at([(gallery, [*split.gallery]), (probes, [*split.probes])], settings)
    prints = list(watch(looking, total=total, doing="comparing photos"))
    n = len(split.gallery)
    known = [dict(part) for part in (prints[:n], prints[n:])]
    return find_leaks(*({name: p for name, p in side.items() if p} for side in known))


def _look_at(
    parts: Sequence[tuple[Photos, list[str]]], settings: Settings
) -> Iterator[tuple[str, Print | None]]:
    """What each photo is recognized by, several at once; None for one that cannot be read."""
    from concurrent.futures import ThreadPoolExecutor
    from os import cpu_count

    with ThreadPoolExecutor(settings.threads or cpu_count() or 1) as pool:
        for archive, names in parts:
            yield from zip(names, pool.map(_print_of(archive, settings), names), strict=True)


def _print_of(archive: Photos, settings: Settings) -> Callable[[str], Print | None]:
    from arcwise.data.leak import take_print
    from arcwise.image import read_image

    def look(name: str) -> Print | None:
        try:
            return take_print(read_image(archive.open(name), max_pixels=settings.max_pixels))
        except InputError:  # it is told as a failed read
            return None

    return look


def treat_leaks(on_leak: OnLeak, split: Split, leaks: Sequence[Leak]) -> Split:
    """Tell of the leaks, refuse them, or take them out of the probes."""
    if not leaks:
        return split
    first = leaks[0]
    told = f"{first.probe} is {first.photo} of the gallery"
    if on_leak == "error":
        raise DatasetError(
            f"{count(len(leaks), 'probe is a photo', 'probes are photos')} of the gallery: {told}",
            hint="take them out, or let --on-leak drop do it",
        )
    for leak in leaks[:_MOST_NOTES]:
        what = "left out" if on_leak == "drop" else "warning"
        print_note(f"{what}: {make_printable(leak.probe)} is {make_printable(leak.photo)}")
    if len(leaks) > _MOST_NOTES:
        print_note(f"… and {len(leaks) - _MOST_NOTES} more probes that are photos of the gallery")
    if on_leak != "drop":
        return split
    dropped = {leak.probe for leak in leaks}
    kept = {name: person for name, person in split.probes.items() if name not in dropped}
    if not kept:
        raise DatasetError("all probes are photos of the gallery", hint="give other probes")
    return replace(split, probes=kept)
