"""Photos that are there again: in a gallery and among its probes, or under two people of one side.

The first makes a search look easy, the second makes it look wrong. Equal pixels are found by their
digest, scaled or compressed copies as data/near.py does; a mirrored or otherwise cut photo is not
found. It does not know whose a photo really is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from arcwise.data.near import Look, find_twins, take_look
from arcwise.image import pixel_digest
from arcwise.types import Image


@dataclass(frozen=True, eq=False, slots=True)
class Print:
    """What a photo is recognized by.

    Attributes:
        digest: SHA-256 of its pixels, hex; "" where it is not known.
        look: of the photo, or None where only the digest is known.
    """

    digest: str
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """A probe that is a photo of the gallery.

    Attributes:
        probe, photo: their names; `photo` is of the gallery.
        is_exact: all pixels are equal.
        correlation: of their thumbnails, at most 1; 1 for equal pixels.
    """

    probe: str
    photo: str
    is_exact: bool
    correlation: float


@dataclass(frozen=True, slots=True)
class Double:
    """A photo that is there under another person too.

    Attributes:
        photo, other: their names; `other` comes first in order of names.
        person, other_person: whom they are said to show.
        is_exact: all pixels are equal.
        correlation: of their thumbnails, at most 1; 1 for equal pixels.
    """

    photo: str
    other: str
    person: str
    other_person: str
    is_exact: bool
    correlation: float


def take_print(image: Image) -> Print:
    """Remember a photo.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is not such an image.
    """
    return Print(pixel_digest(image), take_look(image))


def find_leaks(gallery: Mapping[str, Print], probes: Mapping[str, Print]) -> list[Leak]:
    """The probes that are photos of the gallery, each with the one that is most like it.

    Args:
        gallery: photo -> what it is recognized by.
        probes: likewise. The time grows with the product of the two numbers.

    Returns:
        One for each such probe, in order of names.
    """
    found: dict[str, Leak] = {}
    with_look = [(name, p.look) for name, p in sorted(gallery.items()) if p.look]
    looking = [(name, p.look) for name, p in sorted(probes.items()) if p.look]
    for twins in find_twins([look for _, look in looking], [look for _, look in with_look]):
        probe, photo = looking[twins.a][0], with_look[twins.b][0]
        if probe not in found or twins.correlation > found[probe].correlation:
            found[probe] = Leak(probe, photo, False, min(twins.correlation, 1.0))
    of_digest = {p.digest: name for name, p in sorted(gallery.items(), reverse=True) if p.digest}
    for probe, p in probes.items():
        if p.digest in of_digest:
            found[probe] = Leak(probe, of_digest[p.digest], True, 1.0)
    return [found[probe] for probe in sorted(found)]


def find_doubles(photos: Mapping[str, Print], people: Mapping[str, str]) -> list[Double]:
    """The photos of one side that are there under another person too.

    Args:
        photos: photo -> what it is recognized by. The time grows with the square of their number.
        people: photo -> whom it is said to show.

    Returns:
        One for each photo after the first, with the one before it that is most like it, in order of
        names: two for a photo under three people. Equal pixels of one person are told once.
    """
    shown: dict[tuple[str, str], dict[str, str]] = {}  # one picture -> person -> first photo
    looks: dict[tuple[str, str], Look] = {}
    found: dict[str, Double] = {}
    for name in sorted(photos):
        key = (photos[name].digest, "" if photos[name].digest else name)
        before = shown.setdefault(key, {})
        if people[name] not in before:
            if before:
                other = next(iter(before.values()))
                found[name] = _pair_up(name, other, people, is_exact=True, correlation=1.0)
            before[people[name]] = name
        look = photos[name].look
        if look is not None:
            looks.setdefault(key, look)
    keys = list(looks)
    for twins in find_twins([looks[key] for key in keys]):
        pair = _first_apart(shown[keys[twins.a]], shown[keys[twins.b]])
        correlation = min(twins.correlation, 1.0)
        if pair and (pair[0] not in found or correlation > found[pair[0]].correlation):
            found[pair[0]] = _pair_up(*pair, people, is_exact=False, correlation=correlation)
    return [found[name] for name in sorted(found)]


def _first_apart(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[str, str] | None:
    """Photos of two pictures and of two people, the later name first; None where all show one."""
    for (person, name), (other_person, other) in product(a.items(), b.items()):
        if person != other_person:  # the third pair at the latest
            return max(name, other), min(name, other)
    return None


def _pair_up(
    photo: str, other: str, people: Mapping[str, str], *, is_exact: bool, correlation: float
) -> Double:
    return Double(photo, other, people[photo], people[other], is_exact, correlation)
