"""Error rates of groups of people at one fixed threshold: by age, gender, ethnicity, quality.

It does not know files or models. A pair belongs to a group when both of its photos do; pairs
across groups are in none. Intervals draw people anew, see evaluate/bootstrap.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import (
    LEAST_PEOPLE,
    Numbers,
    count_strangers,
    draw_people,
    spread_share,
)
from arcwise.evaluate.calibrate import LEAST_FALSE
from arcwise.evaluate.calibrate.labeled import PhotoPairs, ScoredPhotos
from arcwise.evaluate.calibrate.reliability import portions
from arcwise.evaluate.calibrate.thresholds import lacks_twice
from arcwise.evaluate.curve import Counts, Flags, count_needed
from arcwise.evaluate.row import Row
from arcwise.evaluate.sets.metadata import Metadata, sort_into_groups


@dataclass(frozen=True, slots=True)
class GroupRate:
    """An error rate of one group.

    Attributes:
        n_errors, n_pairs: wrong decisions, and pairs they are among.
        rate: None where the group is too small to tell.
        low, high: 95 % interval over draws of people; None without errors or rate, or where no
            draw has any of the pairs.
        text: the result in words, with what is needed where there is none.
    """

    n_errors: int
    n_pairs: int
    rate: float | None
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """What the threshold does to the pairs of one group.

    Attributes:
        name: the value of the column, or the range of values.
        n_photos, n_people: in it; a person whose photos differ is in several groups.
        fmr: share of its pairs of two people that reach the threshold.
        fnmr: share of its pairs of one person that do not.
    """

    name: str
    n_photos: int
    n_people: int
    fmr: GroupRate
    fnmr: GroupRate


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of one column.

    Attributes:
        column: its title.
        groups: in order of name or range.
        n_unknown: photos without a value.
        fmr_ratio, fnmr_ratio: greatest rate over the least; None where fewer than two groups have
            a rate, or the least is 0.
    """

    column: str
    groups: tuple[Group, ...]
    n_unknown: int
    fmr_ratio: float | None
    fnmr_ratio: float | None

    def rows(self) -> list[Row]:
        """Every number with its definition."""
        rows = []
        for group in self.groups:
            rows += _group_rows(f"{self.column}: ", group)
        for name, ratio, rates in (
            ("FMR", self.fmr_ratio, [group.fmr for group in self.groups]),
            ("FNMR", self.fnmr_ratio, [group.fnmr for group in self.groups]),
        ):
            value = _tell_ratio(ratio, rates)
            rows.append(Row(f"{self.column}: {name} ratio", value, _RATIO))
        if self.n_unknown:
            unknown = "photos without a value, in no group"
            rows.append(Row(f"{self.column}: unknown", f"{self.n_unknown:,}", unknown))
        return rows


@dataclass(frozen=True, slots=True)
class GroupReport:
    """Error rates of groups at one threshold.

    Attributes:
        similarity: the threshold, cosine.
        why: where it comes from.
        fmr_aimed: the false match rate it stands for, or None.
        everybody: all photos as one group.
        groupings: one for each column.
        data_digest: names the photos and pairs.
    """

    similarity: float
    why: str
    fmr_aimed: float | None
    everybody: Group
    groupings: tuple[Grouping, ...]
    data_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        rows = [Row("threshold", f"{self.similarity:.4f}", self.why)]
        rows += _group_rows("", self.everybody)
        for grouping in self.groupings:
            rows += grouping.rows()
        return rows


_RATIO = "greatest rate of a group over the least, of the groups that have a rate"
_FMR = "pairs of two people of the group that reach the threshold; 95 % interval over people"
_FNMR = "pairs of one person in the group that do not; 95 % interval over people"


def _group_rows(prefix: str, group: Group) -> list[Row]:
    name = f"{prefix}{group.name}"
    size = f"{group.n_photos:,} photos of {group.n_people:,} people"
    return [
        Row(name, size, "photos in this group, and the people on them"),
        Row(f"{name} FMR", group.fmr.text, _FMR),
        Row(f"{name} FNMR", group.fnmr.text, _FNMR),
    ]


def measure_groups(
    scored: ScoredPhotos,
    metadata: Metadata,
    threshold: Threshold,
    *,
    edges: Mapping[str, Sequence[float]] | None = None,
    n_replicates: int = 200,
    seed: int = 0,
) -> GroupReport:
    """Count the errors of each group at one threshold that was chosen elsewhere.

    Args:
        scored: the pairs.
        metadata: what is known of the photos or people.
        threshold: a pair matches at this or more. Where it stands for a false match rate f, a
            group needs 10 / f pairs of two people for its FMR.
        edges: column -> rising numbers that part its values into ranges; see `sort_into_groups`.
        n_replicates: how often the people are drawn anew for the intervals, at least 1.
        seed: of these draws.

    Raises:
        InputError: the threshold is no cosine, a rate that is not between 0 and 1, no replicates,
            or edges that do not fit.
        DatasetError: nothing is known of any of the photos.
    """
    similarity, fmr_aimed = threshold.similarity, threshold.fmr
    if not -1 <= similarity <= 1:
        raise InputError(f"the threshold is {similarity}", hint="a cosine lies in -1..1")
    if fmr_aimed is not None and not 0 < fmr_aimed < 1:
        raise InputError(f"the false match rate is {fmr_aimed}", hint="use a rate such as 0.001")
    if n_replicates < 1:
        raise InputError(f"n_replicates must be at least 1, got {n_replicates}")
    keys = [photo.person if metadata.is_of_people else photo.name for photo in scored.photos]
    if not set(keys) & set(metadata.rows):
        kind = "people" if metadata.is_of_people else "photos"
        raise DatasetError(
            f"the metadata says nothing of any of the {len(set(keys)):,} {kind}",
            hint=f"its first column must hold names such as {keys[0]}",
        )
    draws = draw_people(len(scored.names), n_replicates, seed)
    counter = _Counter(scored, similarity, fmr_aimed, draws)
    groupings = []
    for column, parts in sort_into_groups(metadata, keys, edges or {}).items():
        groups = counter.count(parts.codes, parts.names)
        groupings.append(
            Grouping(
                column=column,
                groups=groups,
                n_unknown=int(np.count_nonzero(parts.codes < 0)),
                fmr_ratio=_ratio([group.fmr for group in groups]),
                fnmr_ratio=_ratio([group.fnmr for group in groups]),
            )
        )
    return GroupReport(
        similarity=similarity,
        why=threshold.why,
        fmr_aimed=fmr_aimed,
        everybody=counter.count(np.zeros(len(keys), np.int32), ["everybody"])[0],
        groupings=tuple(groupings),
        data_digest=scored.data_digest(),
    )


class _Counter:
    """Counts the errors of groups; what all groupings share is found once."""

    def __init__(
        self, scored: ScoredPhotos, similarity: float, fmr_aimed: float | None, draws: Numbers
    ) -> None:
        self._scored = scored
        self._fmr_aimed = fmr_aimed
        self._draws = draws
        genuine, impostors = scored.genuine, scored.impostors
        self._refused = np.flatnonzero(genuine.scores < similarity)
        self._accepted = np.flatnonzero(impostors.scores >= similarity)

    def count(self, codes: Numbers, names: Sequence[str]) -> tuple[Group, ...]:
        """The groups; `codes` (N,) says which one each photo is in, -1 none."""
        scored = self._scored
        n_other = np.zeros(len(names), np.int64)
        for part in portions(scored.impostors):
            inside = _codes_of(scored.impostors, codes, part)
            n_other += np.bincount(inside[inside >= 0], minlength=len(names))
        own = _codes_of(scored.genuine, codes, slice(None))
        lost = own[self._refused]
        false = _codes_of(scored.impostors, codes, self._accepted)
        return tuple(
            Group(
                name=name,
                n_photos=int(np.count_nonzero(codes == code)),
                n_people=len(np.unique(scored.people[codes == code])),
                fmr=self._rate_strangers(codes == code, false == code, int(n_other[code])),
                fnmr=self._rate_own(own == code, lost == code),
            )
            for code, name in enumerate(names)
        )

    def _rate_strangers(self, is_inside: Flags, is_false: Flags, n_pairs: int) -> GroupRate:
        scored, draws = self._scored, self._draws
        n_photos = np.bincount(scored.people[is_inside], minlength=len(scored.names))
        inside = None if scored.is_complete else self._list_inside(is_inside)
        n_people = int(np.count_nonzero(n_photos)) if inside is None else self._count_people(inside)
        n_needed = count_needed(self._fmr_aimed, LEAST_FALSE) if self._fmr_aimed else 1
        lack = ""
        if n_people < LEAST_PEOPLE:
            of_list = "" if inside is None else " in its pairs of two"
            lack = f"needs {LEAST_PEOPLE} people{of_list}, has {n_people:,}"
        elif n_pairs < n_needed:
            lack = f"needs {n_needed:,} pairs of two people, has {n_pairs:,}"
        chosen = self._accepted[is_false]
        if lack or not len(chosen):
            return _describe(len(chosen), n_pairs, lack, None, None)
        hits = self._weigh(chosen)
        there = count_strangers(n_photos, draws) if inside is None else self._weigh(inside)
        return _describe(len(chosen), n_pairs, "", hits, there)

    def _list_inside(self, is_inside: Flags) -> Counts:
        """Places of the impostor pairs whose photos are both inside."""
        pairs = self._scored.impostors
        return np.flatnonzero(is_inside[pairs.first] & is_inside[pairs.second])

    def _count_people(self, chosen: Counts) -> int:
        """How many people are in some impostor pairs."""
        people, pairs = self._scored.people, self._scored.impostors
        there = np.concatenate((pairs.first[chosen], pairs.second[chosen]))
        return len(np.unique(people[there]))

    def _weigh(self, chosen: Counts) -> Counts:
        """(R,) impostor pairs, each as often as it was drawn."""
        people, pairs = self._scored.people, self._scored.impostors
        first, second = people[pairs.first[chosen]], people[pairs.second[chosen]]
        return np.array([int(times[first] @ times[second]) for times in self._draws])

    def _rate_own(self, is_own: Flags, is_lost: Flags) -> GroupRate:
        people, pairs = self._scored.people, self._scored.genuine
        n_people = len(self._scored.names)
        owners = people[pairs.first[is_own]]
        n_own = np.bincount(owners, minlength=n_people)
        lack = lacks_twice(int(np.count_nonzero(n_own)))
        n_lost = np.bincount(people[pairs.first[self._refused[is_lost]]], minlength=n_people)
        hits, there = self._draws @ n_lost, self._draws @ n_own
        return _describe(int(n_lost.sum()), len(owners), lack, hits, there)


def _codes_of(pairs: PhotoPairs, codes: Numbers, part: slice | Counts) -> Numbers:
    """(P,) the group of each pair, -1 where its photos are of two or of none."""
    first, second = codes[pairs.first[part]], codes[pairs.second[part]]
    inside: Numbers = np.where(first == second, first, np.int32(-1))
    return inside


def _describe(
    n_errors: int, n_pairs: int, lack: str, hits: Counts | None, there: Counts | None
) -> GroupRate:
    if lack:
        return GroupRate(n_errors, n_pairs, None, None, None, f"n/a: {lack}")
    rate = n_errors / n_pairs
    of_pairs = f"{n_errors:,} of {n_pairs:,}"
    if not n_errors or hits is None or there is None:
        text = f"0, {of_pairs}; no interval without errors"
        return GroupRate(n_errors, n_pairs, rate, None, None, text)
    spread = spread_share(hits, there)
    if spread is None:
        text = f"{rate:.3%}, {of_pairs}; no interval, as no draw of people has any of these pairs"
        return GroupRate(n_errors, n_pairs, rate, None, None, text)
    text = f"{rate:.3%} [{spread.low:.3%}, {spread.high:.3%}], {of_pairs}"
    return GroupRate(n_errors, n_pairs, rate, spread.low, spread.high, text)


def _ratio(rates: Sequence[GroupRate]) -> float | None:
    known = _list_known(rates)
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else None


def _tell_ratio(ratio: float | None, rates: Sequence[GroupRate]) -> str:
    if ratio is not None:
        return f"{ratio:.2f}"
    known = _list_known(rates)
    return "n/a: the least rate is 0" if len(known) > 1 else "n/a: needs two groups with a rate"


def _list_known(rates: Sequence[GroupRate]) -> list[float]:
    return [rate.rate for rate in rates if rate.rate is not None]
