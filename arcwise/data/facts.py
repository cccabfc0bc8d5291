"""What each photo of a set is: whole or broken, how large, what it looks like; and what was found.

It does not know what is right or wrong for a set: check.py does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from arcwise.data.near import Look, take_look
from arcwise.data.scan import Scan
from arcwise.errors import ArcwiseError, DatasetError, InputError
from arcwise.image import read_image

_PHOTOS_AT_ONCE = 256

KINDS = {
    "unreadable": "the set cannot be opened",
    "records": "something about the record file or its index is odd",
    "counts": "another number of people or photos than the public set has",
    "people": "there are not two people to tell apart",
    "empty": "a person has no photo",
    "homeless": "a photo lies in no folder of a person",
    "missing": "a file that is named is not there",
    "broken": "a photo cannot be read",
    "size": "a photo has another size than the others",
    "repeated": "one file occurs twice for one person",
    "twins": "one photo is there under the names of two people",
    "overlap": "a person who will be scored is in the set",
    "seen": "a photo that will be scored is in the set",
}
"""Kind of a finding -> what it means, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: one of `KINDS`.
        text: the sentence for people.
        photos: the names of the photos it is about.
        people: the names of the people it is about.
    """

    kind: str
    text: str
    photos: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class PhotoFacts:
    """What a photo is.

    Attributes:
        digest: SHA-256 of its file; empty when that could not be had.
        size_wh_px: None when it is broken.
        look: of the photo without its border; None when it is broken or was not asked for.
        error: why it cannot be read, or empty.
        is_missing: there is no such file.
    """

    digest: bytes = b""
    size_wh_px: tuple[int, int] | None = None
    look: Look | None = None
    error: str = ""
    is_missing: bool = False


Watch = Callable[[Iterable[PhotoFacts], int, str], Iterable[PhotoFacts]]
"""Is given facts as they come, how many there will be, and what is done; passes all facts on."""


def gather_facts(
    scan: Scan, *, with_looks: bool = True, n_threads: int = 2
) -> Iterator[PhotoFacts]:
    """Read and decode every photo.

    Args:
        scan: the set.
        with_looks: also remember what they look like.
        n_threads: that decode at once.

    Yields:
        The facts of each photo, in the order of the samples.
    """

    def look_at(position: int) -> PhotoFacts:
        return _look_at(scan, position, with_looks)

    n_photos = len(scan.samples)
    with ThreadPoolExecutor(n_threads) as pool:
        for start in range(0, n_photos, _PHOTOS_AT_ONCE):
            yield from pool.map(look_at, range(start, min(start + _PHOTOS_AT_ONCE, n_photos)))


def _look_at(scan: Scan, position: int, with_looks: bool) -> PhotoFacts:
    try:
        content = scan.read(position)
    except (DatasetError, InputError) as exc:
        is_missing = isinstance(exc.__cause__, FileNotFoundError)
        return PhotoFacts(error=str(exc), is_missing=is_missing)
    digest = hashlib.sha256(content).digest()
    try:
        image = read_image(content)
        height, width = image.shape[:2]
        border = scan.border_px or 0
        if min(height, width) <= 2 * border:
            border = 0
        inner = image[border : height - border, border : width - border]
        look = take_look(inner) if with_looks else None
    except ArcwiseError as exc:
        return PhotoFacts(digest, error=str(exc))
    return PhotoFacts(digest, (width, height), look)
