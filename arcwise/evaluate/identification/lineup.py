"""Which photos make the gallery, which are searched for, and what became of each.

It does not embed or score: it takes names of photos and, later, their vectors. The shape of the
experiment is that of ISO/IEC 19795-1, closed and open set: mated probes show a person of the
gallery, non-mated ones somebody who was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.identification.search import Searches, search_gallery
from arcwise.evaluate.identification.seed import check_seed
from arcwise.evaluate.row import FailedPhoto


@dataclass(frozen=True, slots=True)
class Split:
    """Photos of a gallery and of the probes, each with the person it shows.

    Attributes:
        gallery: photo -> person.
        probes: photo -> person; where `gallery` and `probes` come from two folders, a name may be
            in both.
        left_out: people who were taken out of the gallery, sorted: their probes are non-mated.
    """

    gallery: dict[str, str]
    probes: dict[str, str]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """Photos of a gallery, or of probes.

    Attributes:
        people: photo -> person.
        vectors: photo -> (D,) of any length but 0, of the photos that have one.
        reasons: photo -> why it has none.
    """

    people: Mapping[str, str]
    vectors: Mapping[str, NDArray[np.floating]]
    reasons: Mapping[str, str]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.people) - set(self.vectors) - set(self.reasons))
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(
                f"nothing is known of {unknown[0]!r}{more}",
                hint="give each photo a vector, or the reason why it has none",
            )

    @property
    def failed(self) -> tuple[FailedPhoto, ...]:
        """The photos without a vector, sorted."""
        names = sorted(set(self.people) - set(self.vectors))
        return tuple(FailedPhoto(name, self.reasons[name]) for name in names)


@dataclass(frozen=True, eq=False, slots=True)
class Lineup:
    """What can be searched, in order of names, and what cannot.

    Attributes:
        gallery_names, gallery_people: (G,) of the gallery's vectors.
        gallery: (G, D).
        probe_names, probe_people: (P,) of the probes' vectors.
        probes: (P, D).
        failed_gallery, failed_probes: photos without a vector.
        not_enrolled: people of the gallery without any vector, sorted. Searches for them are mated
            and fail: they are not among the probes above.
        failed_mates: person of each mated search that failed: the probe has no vector, or the
            person is not enrolled.
        n_failed_strangers: non-mated probes without a vector.
    """

    gallery_names: tuple[str, ...]
    gallery_people: tuple[str, ...]
    gallery: NDArray[np.floating]
    probe_names: tuple[str, ...]
    probe_people: tuple[str, ...]
    probes: NDArray[np.floating]
    failed_gallery: tuple[FailedPhoto, ...]
    failed_probes: tuple[FailedPhoto, ...]
    not_enrolled: tuple[str, ...]
    failed_mates: tuple[str, ...]
    n_failed_strangers: int

    @classmethod
    def gather(cls, gallery: Side, probes: Side) -> Lineup:
        """Sort out which photos can be searched.

        Raises:
            InputError: no photo of the gallery or no probe has a vector, or their shapes differ.
        """
        wanted = set(gallery.people.values())
        in_gallery = sorted(set(gallery.people) & set(gallery.vectors))
        enrolled = {gallery.people[name] for name in in_gallery}
        searched = [
            name
            for name in sorted(set(probes.people) & set(probes.vectors))
            if probes.people[name] in enrolled or probes.people[name] not in wanted
        ]
        lost = [probes.people[name] for name in sorted(set(probes.people) - set(searched))]
        return cls(
            gallery_names=tuple(in_gallery),
            gallery_people=tuple(gallery.people[name] for name in in_gallery),
            gallery=_stack(gallery.vectors, in_gallery, "the gallery"),
            probe_names=tuple(searched),
            probe_people=tuple(probes.people[name] for name in searched),
            probes=_stack(probes.vectors, searched, "the probes"),
            failed_gallery=gallery.failed,
            failed_probes=probes.failed,
            not_enrolled=tuple(sorted(wanted - enrolled)),
            failed_mates=tuple(person for person in lost if person in wanted),
            n_failed_strangers=sum(person not in wanted for person in lost),
        )

    def search(self) -> Searches:
        """Search every probe in the gallery by cosine.

        Raises:
            InputError: a vector is 0 or not finite.
        """
        return search_gallery(self.probes, self.probe_people, self.gallery, self.gallery_people)


def split_photos(
    people: Mapping[str, str], per_person: int, *, non_mated: float = 0, seed: int | None = None
) -> Split:
    """Make a gallery and probes of one folder.

    Args:
        people: photo -> person.
        per_person: photos of each person for the gallery; the others are probes. Somebody with no
            more photos than that is in the gallery with all of them, and has no probe.
        non_mated: how many people are left out of the gallery, 1 or more, or which share of them,
            below 1 (rounded). All of their photos are non-mated probes.
        seed: 0 to 2**32 - 1, draws the photos for the gallery; by default they are the first by
            name. It draws the people left out too, with 0 where none is given.

    Raises:
        InputError: there are no photos, a number is out of range, or nobody is left in the gallery
            or no probe.
    """
    if per_person < 1:
        raise InputError(
            f"{per_person} photos of each person for the gallery", hint="give 1 or more"
        )
    photos = _group(people)
    left_out = choose_left_out(photos, non_mated, seed or 0)
    rng = None if seed is None else np.random.default_rng(seed)
    gallery: dict[str, str] = {}
    for person, names in photos.items():
        order = range(len(names)) if rng is None else rng.permutation(len(names))
        if person not in left_out:
            gallery |= dict.fromkeys((names[i] for i in order[:per_person]), person)
    probes = {name: person for name, person in people.items() if name not in gallery}
    if not probes:
        raise InputError(
            f"no probe is left: nobody has more than {_count(per_person, 'photo')}",
            hint="put fewer photos of each person in the gallery, or give the probes apart",
        )
    return Split(gallery, probes, left_out)


def split_people(
    gallery: Mapping[str, str],
    probes: Mapping[str, str],
    *,
    non_mated: float = 0,
    seed: int | None = None,
) -> Split:
    """A gallery and probes that are given apart.

    Args:
        gallery: photo -> person.
        probes: photo -> person; those who are not in the gallery are non-mated.
        non_mated: people who have probes and are taken out of the gallery, as in `split_photos`.
        seed: draws them, as in `split_photos`.

    Raises:
        InputError: there are no photos on a side, or a number is out of range.
    """
    if not gallery or not probes:
        raise InputError(
            f"{_count(len(gallery), 'photo')} for the gallery and {_count(len(probes), 'probe')}",
            hint="photos lie in PERSON/FILE",
        )
    shown = set(probes.values())
    both = {name: person for name, person in gallery.items() if person in shown}
    check_seed(seed or 0)
    left_out = choose_left_out(_group(both), non_mated, seed or 0) if non_mated else ()
    kept = {name: person for name, person in gallery.items() if person not in left_out}
    if not kept:
        raise InputError("nobody is left in the gallery", hint="leave fewer people out")
    return Split(kept, dict(probes), left_out)


def choose_left_out(photos: Mapping[str, Sequence[Any]], n: float, seed: int) -> tuple[str, ...]:
    """Draw who is not in the gallery: `n` people, or a share where it is below 1; sorted.

    Raises:
        InputError: a number is out of range, or everybody would be drawn.
    """
    n_people = len(photos)
    if not n_people:
        raise InputError("there are no people", hint="photos lie in PERSON/FILE")
    if not (0 <= n < 1 or (n >= 1 and float(n).is_integer())):
        raise InputError(
            f"cannot leave {n:g} people out", hint="give a number of people, or a share below 1"
        )
    wanted = round(n * n_people) if n < 1 else int(n)
    if wanted >= n_people:
        raise InputError(
            f"cannot leave {wanted} of {_count(n_people, 'person', 'people')} out",
            hint="somebody must stay",
        )
    check_seed(seed)
    names = sorted(photos)
    chosen = np.random.default_rng(seed).choice(n_people, wanted, replace=False)
    return tuple(names[i] for i in sorted(chosen))


def _group(people: Mapping[str, str]) -> dict[str, list[str]]:
    """Person -> photos, both sorted."""
    photos: dict[str, list[str]] = {}
    for name in sorted(people):
        photos.setdefault(people[name], []).append(name)
    return {person: photos[person] for person in sorted(photos)}


def _count(number: int, thing: str, things: str = "") -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def _stack(
    vectors: Mapping[str, NDArray[np.floating]], names: Sequence[str], whose: str
) -> NDArray[np.floating]:
    if not names:
        raise InputError(
            f"no photo of {whose} can be searched", hint="see why its photos gave no embedding"
        )
    shapes = {np.shape(vectors[name]) for name in names}
    if len(shapes) > 1:
        raise InputError(
            f"the vectors of {whose} have different shapes: {sorted(shapes)}",
            hint="embed all photos with one model",
        )
    return np.stack([vectors[name] for name in names])
