"""Photos that are there again, as probes or under two people: looking for them, and what then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.labeled import make_table
from arcwise.cli.show import count, make_printable, print_note, watch
from arcwise.errors import DatasetError, InputError

if TYPE_CHECKING:
    from arcwise.cli.lineup import Wanted
    from arcwise.data.leak import Double, Leak, Print
    from arcwise.evaluate.identification.lineup import Split
    from arcwise.evaluate.report import Section
    from arcwise.photos import Photos
    from arcwise.settings import Settings

OnLeak = Literal["warn", "drop", "error", "ignore"]
LeakOption = Annotated[
    OnLeak,
    typer.Option("--on-leak", help="What becomes of probes that are photos of the gallery."),
]

_MOST_NOTES = 5
_MOST_DOUBLES = 10  # that are named; the JSON has all
_KINDS = {True: "all pixels", False: "the picture, scaled or compressed"}
_LEAKS: dict[OnLeak, str] = {
    "warn": "photos on both sides, looked for by pixels and perceptual hash; they count",
    "drop": "photos on both sides, looked for by pixels and perceptual hash; left out",
    "error": "photos on both sides, looked for by pixels and perceptual hash",
    "ignore": "photos on both sides",
}
_DOUBLES = (
    "photos of the gallery, or of the probes, that show the picture of a photo of somebody else on "
    "that side; they count"
)
_EQUAL_ONLY = "equal pixels only, as there are no photos to look at"
_STRANGERS = "with probes, but not in the gallery"
_UNSEEN = "n/a: not looked for"


@dataclass(frozen=True, slots=True)
class Copied:
    """Photos that are there again.

    Attributes:
        leaks: probes that are photos of the gallery.
        doubles: "gallery" and "probes" -> photos that are there under another person too.
    """

    leaks: list[Leak]
    doubles: dict[str, list[Double]]

    @property
    def n_doubles(self) -> int:
        """Of both sides."""
        return sum(map(len, self.doubles.values()))

    def keep(self, split: Split) -> Copied:
        """Without the doubles among probes that were left out."""
        kept = [
            double
            for double in self.doubles["probes"]
            if double.photo in split.probes and double.other in split.probes
        ]
        return replace(self, doubles=self.doubles | {"probes": kept})


def find_equal(digests: Mapping[str, str], split: Split) -> Copied:
    """Photos of the same pixels as another.

    Args:
        digests: photo -> digest of its pixels, where it is known.
        split: whose sides are compared.
    """
    from arcwise.data.leak import Print

    gallery, probes = (
        {name: Print(digests[name]) for name in side if name in digests}
        for side in (split.gallery, split.probes)
    )
    return _compare(gallery, probes, split)


def find_copies(gallery: Photos, probes: Photos, split: Split, settings: Settings) -> Copied:
    """Photos that show the picture of another: each is looked at once, and compared.

    Args:
        gallery: where the photos of the gallery are.
        probes: where the probes are; may be the same.
        split: whose sides are compared.
        settings: limits of photos, and how many threads.
    """
    total = len(split.gallery) + len(split.probes)
    looking = _look_at([(gallery, [*split.gallery]), (probes, [*split.probes])], settings)
    prints = list(watch(looking, total=total, doing="comparing photos"))
    n = len(split.gallery)
    known, asked = ({name: p for name, p in part if p} for part in (prints[:n], prints[n:]))
    return _compare(known, asked, split)


def _compare(gallery: Mapping[str, Print], probes: Mapping[str, Print], split: Split) -> Copied:
    from arcwise.data.leak import find_doubles, find_leaks

    doubles = {
        "gallery": find_doubles(gallery, split.gallery),
        "probes": find_doubles(probes, split.probes),
    }
    return Copied(find_leaks(gallery, probes), doubles)


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
        more = count(
            len(leaks) - _MOST_NOTES, "more probe that is a photo", "more probes that are photos"
        )
        print_note(f"… and {more} of the gallery")
    if on_leak != "drop":
        return split
    dropped = {leak.probe for leak in leaks}
    kept = {name: person for name, person in split.probes.items() if name not in dropped}
    if not kept:
        raise DatasetError("every probe is a photo of the gallery", hint="give other probes")
    return replace(split, probes=kept)


def tell_doubles(copied: Copied) -> None:
    """Name the first photos that are there under two people: one of the two is wrong."""
    doubles = [double for side in copied.doubles.values() for double in side]
    for double in doubles[:_MOST_DOUBLES]:
        photo, other = make_printable(double.photo), make_printable(double.other)
        print_note(f"warning: {photo} is {other}, and they are said to show two people")
    if len(doubles) > _MOST_DOUBLES:
        more = count(len(doubles) - _MOST_DOUBLES, "more photo")
        print_note(f"… and {more} under two people")


def describe_photos(wanted: Wanted, split: Split, copied: Copied | None) -> Section:
    """What a report says of the photos before anything is searched."""
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.row import Row

    how = "drawn with the seed" if wanted.seed is not None else "the first by name"
    gallery = "all of the folder" if wanted.probes else f"{wanted.per_person} of each, {how}"
    people = _several(len(set(split.gallery.values())), "person", "people")
    photos = _several(len(split.gallery), "photo")
    strangers = set(split.probes.values()) - set(split.gallery.values())
    text, doubled = _LEAKS[wanted.on_leak], _DOUBLES
    if wanted.embeddings and copied:
        text, doubled = f"{_EQUAL_ONLY}; {text}", f"{_EQUAL_ONLY}; {doubled}"
    rows = (
        Row("gallery", f"{people}, {photos}", gallery),
        Row("probes", _several(len(split.probes), "photo"), "all others, as far as they are meant"),
        Row("strangers", _several(len(strangers), "person", "people"), _STRANGERS),
        Row("probes in the gallery", f"{len(copied.leaks):,}" if copied else _UNSEEN, text),
        Row("photos under two people", f"{copied.n_doubles:,}" if copied else _UNSEEN, doubled),
    )
    if copied is None:
        return Section("Photos", rows)
    lines = [[k.probe, k.photo, f"{k.correlation:.3f}", _KINDS[k.is_exact]] for k in copied.leaks]
    columns = ("probe", "photo of the gallery", "correlation", "what is equal")
    table = make_table("Probes that are photos of the gallery", columns, lines)
    twice = [
        [k.photo, k.other, side, f"{k.correlation:.3f}", _KINDS[k.is_exact]]
        for side, doubles in copied.doubles.items()
        for k in doubles
    ]
    doubled_columns = ("photo", "photo of somebody else", "in the", "correlation", "what is equal")
    some = make_table("Photos under two people", doubled_columns, twice[:_MOST_DOUBLES])
    tables = (table, some)
    return Section("Photos", rows, tuple(part for part in tables if part.cells))


def _several(number: int, thing: str, things: str = "") -> str:
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
