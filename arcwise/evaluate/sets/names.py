"""What photos of a published list are called in the folder that somebody has.

A list names photos from the root of its set, such as Data/Images/001/frontal/01.jpg; the photos at
hand may begin further down (Images, or 001), and crops are often .png. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from arcwise.types import Pair


def match_names(pairs: Sequence[Pair], photos: Collection[str]) -> list[Pair]:
    """Call the photos of pairs as they are called among those at hand.

    A photo becomes the longest ending of its name that is there, under its own suffix or as .jpg
    or .png. One that is not there at all keeps its name, and is a failed read later.

    Args:
        pairs: with names from the root of their set.
        photos: names of the photos there are, relative to their folder, with "/".
    """
    there = frozenset(photos)
    found = {name: _match(name, there) for pair in pairs for name in (pair.a, pair.b)}
    return [replace(pair, a=found[pair.a], b=found[pair.b]) for pair in pairs]


def _match(name: str, photos: frozenset[str]) -> str:
    parts, suffix = name.split("/"), PurePosixPath(name).suffix
    for start in range(len(parts)):
        ending = "/".join(parts[start:])
        stem = ending.removesuffix(suffix)
        for candidate in (ending, f"{stem}.jpg", f"{stem}.png"):
            if candidate in photos:
                return candidate
    return name
