"""Photos that are in a gallery and among its probes at once: what makes a search look easy.

Equal pixels are found by their digest, scaled or compressed copies as data/near.py does. It does
not know people, and a mirrored or otherwise cut photo is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
