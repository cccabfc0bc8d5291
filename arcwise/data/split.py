"""Who is trained on, who is only looked at, and who is left out and why.

A person is on one side only. Whoever occurs in the folds that will be scored is never trained on,
and neither is anybody who looks like one of them under another name. It does not read photos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError
from arcwise.types import Floats, Pair

_PROBES_AT_ONCE = 1024
_SPLIT, _HELD, _PEOPLE = 2, 6, 7  # streams of random numbers, beside those of data/sampler.py


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop: the photo it was cut from, whom it shows, and its perceptual hash if known."""

    photo: str
    person: str
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class SplitRules:
    """How people are divided.

    Attributes:
        reserved: people who will be scored: never read.
        validation: people to validate on (see `draw_people`).
        min_photos: people with fewer photos are left out of training.
        leave_out: names of people or photos to leave out.
        lookalikes: people to leave out, and whom they look like (see `find_lookalikes`).
        most_people: to be learned, drawn from those who are left; None: all.
        held_share: of the photos of each learned person, kept apart to see whether new photos of
            known people are told apart (closed set); of few photos none may be.
        seed: which people and photos these are.
    """

    reserved: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()
    min_photos: int = 1
    leave_out: frozenset[str] = frozenset()
    lookalikes: Mapping[str, str] = field(default_factory=dict)
    most_people: int | None = None
    held_share: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Positions in the list of samples.

    Attributes:
        people: whom the network learns to tell apart, sorted; a label is a position in it.
        training: (n,) positions of the training samples.
        labels: (n,) int64, 0..len(people) - 1 without gaps.
        validation: (m,) positions of the samples of people who are validated on (open set).
        held: (h,) positions of photos of learned people that are kept apart (closed set).
        held_labels: (h,) int64.
        left_out: name of a person or photo -> why.
    """

    people: tuple[str, ...]
    training: NDArray[np.int64]
    labels: NDArray[np.int64]
    validation: NDArray[np.int64]
    left_out: dict[str, str]
    held: NDArray[np.int64]
    held_labels: NDArray[np.int64]


def people_of_folds(pairs: Iterable[Pair], folds: Collection[int]) -> frozenset[str]:
    """Everybody who occurs in some folds of a verification list.

    Args:
        pairs: of the list; a photo is called `PERSON/FILE`.
        folds: numbers, from 1 as people count.
    """
    names = {name for pair in pairs if pair.fold + 1 in folds for name in (pair.a, pair.b)}
    return frozenset(_person_of(name) for name in names)


def _person_of(name: str) -> str:
    parts = name.split("/")
    if len(parts) < 2:
        raise DatasetError(
            f"{name} does not say whom it shows", hint="photos of a list are called PERSON/FILE"
        )
    return parts[-2]


def split_samples(samples: Sequence[Sample], rules: SplitRules) -> Split:
    """Divide the samples.

    Raises:
        DatasetError: fewer than two people are left to learn, or those who must be reserved or
            validated on are not among the samples.
    """
    there = {sample.person for sample in samples}
    _check_known(rules.reserved, there, "to be scored")
    _check_known(rules.validation, there, "to validate on")
    _check_left_out(rules.leave_out, there | {sample.photo for sample in samples})
    left_out: dict[str, str] = dict.fromkeys(sorted(rules.reserved & there), "will be scored")
    left_out |= dict(sorted(rules.lookalikes.items()))
    kept = [
        i
        for i, sample in enumerate(samples)
        if sample.person not in left_out and not {sample.person, sample.photo} & rules.leave_out
    ]
    for sample in samples:
        for name in {sample.person, sample.photo} & rules.leave_out:
            left_out.setdefault(name, "named to be left out")
    validation = [i for i in kept if samples[i].person in rules.validation]
    counts = Counter(samples[i].person for i in kept if samples[i].person not in rules.validation)
    for person in sorted(person for person, n in counts.items() if n < rules.min_photos):
        left_out[person] = f"has {counts.pop(person)} photos, fewer than {rules.min_photos}"
    people = _choose_people(sorted(counts), rules)
    not_drawn = f"not among the {rules.most_people} people drawn"
    left_out |= dict.fromkeys(sorted(counts.keys() - set(people)), not_drawn)
    if len(people) < 2:
        raise DatasetError(
            f"{len(people)} people are left to learn ({len(there)} were there, "
            f"{len(left_out)} names left out, {len(rules.validation)} kept for validation)",
            hint="a network learns to tell people apart: give photos of at least two",
        )
    number = {person: i for i, person in enumerate(people)}
    learned = np.array([i for i in kept if samples[i].person in number], np.int64)
    labels = np.array([number[samples[i].person] for i in learned], np.int64)
    is_held = _hold_photos(labels, rules)
    return Split(
        people=people,
        training=learned[~is_held],
        labels=labels[~is_held],
        validation=np.array(validation, np.int64),
        left_out=left_out,
        held=learned[is_held],
        held_labels=labels[is_held],
    )


def _choose_people(people: Sequence[str], rules: SplitRules) -> tuple[str, ...]:
    """So many of them by chance, sorted; of two numbers the larger draws the smaller's as well."""
    if rules.most_people is None or rules.most_people >= len(people):
        return tuple(people)
    order = np.random.default_rng((rules.seed, _PEOPLE)).permutation(len(people))
    return tuple(sorted(people[i] for i in order[: rules.most_people]))


def _hold_photos(labels: NDArray[np.int64], rules: SplitRules) -> NDArray[np.bool_]:
    """Which photos are kept apart: that share of each person's, rounded down, by chance."""
    is_held = np.zeros(len(labels), bool)
    if not rules.held_share:
        return is_held
    order = np.random.default_rng((rules.seed, _HELD)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by person, in random order
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    n_held = np.floor(rules.held_share * counts + 1e-9).astype(np.int64)  # 0.1 of 30 is 3
    n_held = np.minimum(n_held, counts - 1)  # one is left to learn from, however near to 1
    is_held[order] = place < n_held[labels[order]]
    if not is_held.any():
        raise DatasetError(
            f"nobody has so many photos that {rules.held_share:g} of them is one",
            hint="set data.validation_photos to 0, or to a larger share",
        )
    return is_held


def _check_known(people: frozenset[str], there: set[str], what: str) -> None:
    if people and not people & there:
        raise DatasetError(
            f"none of the {len(people)} people {what} is among the photos, such as {min(people)}",
            hint="people are told apart by the name of their folder: it must be that of the list",
        )
    spelled = {_plain_name(name): name for name in there - people if _plain_name(name)}
    for name in sorted(people - there):
        if _plain_name(name) in spelled:
            raise DatasetError(
                f"{name}, one of the people {what}, is not among the photos, but "
                f"{spelled[_plain_name(name)]} is",
                hint="give the folder the name of the list, or the same person is learned and "
                f"is {what.removeprefix('to be ')} as well",
            )


def _plain_name(name: str) -> str:
    """A name without what people write in several ways."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _check_left_out(names: frozenset[str], known: set[str]) -> None:
    """A slip here would train on somebody who must not be trained on."""
    unknown = sorted(names - known)
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        raise DatasetError(
            f"{len(unknown)} names to be left out are neither people nor photos of the folder, "
            f"such as {unknown[0]!r}" + (f"; did you mean {close[0]}?" if close else ""),
            hint="write each name as its folder, or PERSON/FILE; take away who is not there",
        )


def draw_people(samples: Sequence[Sample], share: float, *, seed: int) -> frozenset[str]:
    """Some of the people with two photos or more, by chance, to validate on.

    Args:
        samples: to draw from.
        share: of these people; two at least, when two others are left, unless it is 0.
        seed: the same people for the same seed.

    Returns:
        Their names; nobody when there are too few.
    """
    counts = Counter(sample.person for sample in samples)
    several = sorted(person for person, n in counts.items() if n > 1)
    n_drawn = max(2, round(share * len(several))) if share else 0
    if len(counts) < n_drawn + 2 or len(several) < n_drawn:
        return frozenset()  # two people at least make an impostor pair, and two are learned
    order = np.random.default_rng((seed, _SPLIT)).permutation(len(several))
    return frozenset(several[i] for i in order[:n_drawn])


def find_lookalikes(
    samples: Sequence[Sample],
    kept_apart: frozenset[str],
    *,
    vectors: Floats | None = None,
    similarity: float | None = None,
) -> dict[str, str]:
    """People who show up among others under another name: by equal photos, by similar vectors.

    Args:
        samples: all of them.
        kept_apart: people who are scored or validated on.
        vectors: (len(samples), T) embeddings of another model, to be compared by cosine; or None.
        similarity: least cosine that counts as the same person; or None.

    Returns:
        Person outside `kept_apart` -> whom of them they look like, and why.
    """
    inside = np.array([sample.person in kept_apart for sample in samples], bool)
    owners = {
        s.hash: s.person for s, is_in in zip(samples, inside, strict=True) if is_in and s.hash
    }
    found: dict[str, str] = {}
    for sample, is_in in zip(samples, inside, strict=True):
        if not is_in and sample.hash in owners:
            found[sample.person] = f"the same photo as one of {owners[sample.hash]}"
    if vectors is None or similarity is None or not inside.any():
        return found
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    gallery, owner_rows = unit[inside], np.flatnonzero(inside)
    outside = np.flatnonzero(~inside)
    for start in range(0, len(outside), _PROBES_AT_ONCE):
        rows = outside[start : start + _PROBES_AT_ONCE]
        scores = unit[rows] @ gallery.T
        columns = scores.argmax(axis=1)
        for row, column, score in zip(rows, columns, scores.max(axis=1), strict=True):
            if score >= similarity:
                twin = samples[owner_rows[column]].person
                found.setdefault(samples[row].person, f"looks like {twin} ({score:.2f})")
    return found
