"""What is wrong with a set of photos, before anybody trains on it.

Every photo is read once. It changes nothing, and does not know whether a photo shows the person
it is filed under: a wrong label shows only where one photo lies under two names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcwise.data.facts import KINDS, Finding, PhotoFacts, Watch, gather_facts
from arcwise.data.known import check_counts, recognize_counts
from arcwise.data.near import find_twins
from arcwise.data.overlap import are_numbers, find_overlap, find_seen, people_of_pairs
from arcwise.data.scan import Scan, scan_place
from arcwise.data.split import Sample
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.pairs import keep_folds, read_pairs

_MOST_THREADS = 8
_FOLDS = 10  # a list that does not state its folds is cut into so many


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What is looked for beside broken, repeated and misplaced photos.

    Attributes:
        near: whether one photo under two names is looked for; the time grows with the square of
            the number of photos.
        size_px: side that every photo must have; None takes the size that most have.
        known: name of the public set this should be, or None.
        pairs: a verification list whose people must not be in the set, or None.
        folds: only these folds of the list, counted from 1; all when empty.
        photos: the photos that will be scored, to be compared with those of the set, or None.
        root: where the paths of a list begin; None looks for it.

    Raises:
        InputError: a size less than 1, or folds without a list.
    """

    near: bool = True
    size_px: int | None = None
    known: str | None = None
    pairs: Path | None = None
    folds: tuple[int, ...] = ()
    photos: Path | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.size_px is not None and self.size_px < 1:
            raise InputError(f"size_px must be at least 1, got {self.size_px}")
        if self.folds and self.pairs is None:
            raise InputError(f"folds {self.folds} of no list", hint="name the list of pairs, too")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a look at a set found.

    Attributes:
        place: the set.
        form: what it is: prepared, folder, archive, records, list; empty when it did not open.
        n_people: with a photo.
        n_photos: all of them.
        findings: everything that is wrong, in the order of `KINDS`.
        notes: what could not be compared, and why.
    """

    place: Path
    form: str
    n_people: int
    n_photos: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def is_fine(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def count_kinds(self) -> dict[str, int]:
        """Kind -> number of findings, for those that occur."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "place": str(self.place),
            "form": self.form,
            "n_people": self.n_people,
            "n_photos": self.n_photos,
            "is_fine": self.is_fine,
            "counts": self.count_kinds(),
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }


def check_place(
    place: Path | str,
    *,
    options: CheckOptions | None = None,
    watch: Watch = lambda facts, _total, _doing: facts,
) -> CheckReport:
    """Look at a set.

    Args:
        place: a prepared folder, a folder or archive of photos, a record file, or a list.
        options: what is looked for.
        watch: shows progress; is given the facts as they come, their number, and a word.

    Returns:
        Everything that was found. A record file, list or manifest that is broken is a finding.

    Raises:
        InputError: the place is missing or holds no photos, or the known set is not known.
        DatasetError: the list of pairs is broken.
    """
    options = options or CheckOptions()
    scored = _read_scored(options)
    try:
        scan = scan_place(place, root=options.root)
    except DatasetError as exc:
        finding = Finding("unreadable", f"{exc}; {exc.hint}" if exc.hint else str(exc))
        return CheckReport(Path(place), "", 0, 0, (finding,), ())
    with scan:
        n_photos, with_looks = len(scan.samples), options.near or options.photos is not None
        gathered = gather_facts(scan, with_looks=with_looks, n_threads=_count_threads())
        facts = list(watch(gathered, n_photos, "reading"))
        findings, notes = _check_set(scan, facts, options)
        people = {sample.person for sample in scan.samples if sample.person}
        if scored and are_numbers(people):
            notes.append("the people of this set are numbers: names say nothing about an overlap")
        findings += find_overlap(people, scored)
        if options.photos is not None:
            findings += _compare_photos(scan, facts, options.photos, notes, watch)
    order = {kind: number for number, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    return CheckReport(Path(place), scan.kind, len(people), n_photos, tuple(findings), tuple(notes))


def _count_threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _read_scored(options: CheckOptions) -> frozenset[str]:
    if options.pairs is None:
        return frozenset()
    pairs = read_pairs(options.pairs, n_folds=_FOLDS if options.folds else 2)
    return people_of_pairs(keep_folds(pairs, options.folds) if options.folds else pairs)


# ── the set by itself ──


def _check_set(
    scan: Scan, facts: Sequence[PhotoFacts], options: CheckOptions
) -> tuple[list[Finding], list[str]]:
    samples = scan.samples
    findings = [Finding("records", note) for note in scan.notes]
    findings += _check_people(scan)
    for sample, fact in zip(samples, facts, strict=True):
        if fact.error:
            kind = "missing" if fact.is_missing else "broken"
            text = f"{sample.photo}: {fact.error}"
            findings.append(Finding(kind, text, (sample.photo,), (sample.person,)))
    wrong, notes = _check_sizes(samples, facts, options.size_px)
    findings += wrong
    findings += _check_equal(samples, facts, options.near)
    n_people, n_photos = len({s.person for s in samples if s.person}), len(samples)
    if options.known is not None:
        counts = check_counts(options.known, n_people, n_photos)
        findings += [Finding("counts", text) for text in counts]
    elif (found := recognize_counts(n_people, n_photos)) is not None:
        notes.append(f"people and photos are as many as {found.title} has")
    return findings, notes


def _check_people(scan: Scan) -> list[Finding]:
    people = {sample.person for sample in scan.samples if sample.person}
    findings = []
    if len(people) < 2:
        who = f"only {next(iter(people))}" if people else "nobody"
        text = f"there is {who}: a network learns to tell people apart, each in a folder"
        findings.append(Finding("people", text, people=tuple(people)))
    for person in scan.people_without_photo:
        findings.append(Finding("empty", f"{person} has no photo", people=(person,)))
    homeless = [sample.photo for sample in scan.samples if not sample.person]
    findings += [
        Finding("homeless", f"{photo} lies in no folder of a person", (photo,))
        for photo in homeless
    ]
    return findings


def _check_sizes(
    samples: Sequence[Sample], facts: Sequence[PhotoFacts], size_px: int | None
) -> tuple[list[Finding], list[str]]:
    """Photos of another size than asked for, or than more than half of them have."""
    sizes = Counter(fact.size_wh_px for fact in facts if fact.size_wh_px is not None)
    if not sizes:
        return [], []
    wanted = (size_px, size_px) if size_px is not None else sizes.most_common(1)[0][0]
    if size_px is None and sizes[wanted] * 2 <= sizes.total():
        return [], [f"photos have {len(sizes)} sizes; `arcwise prepare` cuts crops of one size"]
    findings = []
    for sample, fact in zip(samples, facts, strict=True):
        if fact.size_wh_px not in (None, wanted):
            assert fact.size_wh_px is not None, "narrowed above"
            width, height = fact.size_wh_px
            text = f"{sample.photo} has {width}x{height} px, not {wanted[0]}x{wanted[1]}"
            findings.append(Finding("size", text, (sample.photo,), (sample.person,)))
    return findings, []


def _check_equal(
    samples: Sequence[Sample], facts: Sequence[PhotoFacts], near: bool
) -> list[Finding]:
    """Groups of photos that are one: the same bytes, or nearly the same of different people."""
    same: dict[bytes, list[int]] = {}
    for i, fact in enumerate(facts):
        if not fact.error:
            same.setdefault(fact.digest, []).append(i)
    links = [(group[0], i) for group in same.values() for i in group[1:]]
    if near:
        groups = [group for group in same.values() if facts[group[0]].look is not None]
        looks = [look for group in groups if (look := facts[group[0]].look) is not None]
        for twins in find_twins(looks):
            members = groups[twins.a] + groups[twins.b]
            if len({samples[i].person for i in members}) > 1:  # one person's photos may be alike
                links.append((members[0], members[-1]))
    findings = []
    for group in _join(links):
        photos = tuple(samples[i].photo for i in group)
        people = tuple(sorted({samples[i].person for i in group}))
        kind, what = ("twins", "one photo") if len(people) > 1 else ("repeated", "one file")
        findings.append(Finding(kind, f"{what}: {', '.join(photos)}", photos, people))
    return findings


def _join(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of numbers that are linked with each other, directly or not."""
    group_of: dict[int, list[int]] = {}
    for a, b in links:
        one, other = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if one is not other:
            one += other
            group_of.update(dict.fromkeys(other, one))
    groups = {id(group): group for group in group_of.values()}
    return sorted(sorted(group) for group in groups.values())


# ── against what will be scored ──


def _compare_photos(
    scan: Scan, facts: Sequence[PhotoFacts], place: Path, notes: list[str], watch: Watch
) -> list[Finding]:
    with scan_place(place) as scored:
        gathered = gather_facts(scored, n_threads=_count_threads())
        others = list(watch(gathered, len(scored.samples), "reading what is scored"))
        broken = sum(bool(fact.error) for fact in others)
        if broken:
            notes.append(f"{broken} photos of {place} cannot be read and were not compared")
        sizes, other_sizes = (
            _usual_size(some, part) for some, part in ((facts, scan), (others, scored))
        )
        if sizes != other_sizes:
            notes.append(
                f"the photos have {sizes}, those of {place} {other_sizes}: a crop is not found in "
                "the photo it was cut from; compare crops with crops, or photos with photos"
            )
        return find_seen(scan.samples, facts, scored.samples, others)


def _usual_size(facts: Sequence[PhotoFacts], scan: Scan) -> str:
    sizes = Counter(fact.size_wh_px for fact in facts if fact.size_wh_px is not None)
    if not sizes:
        return "no size"
    width, height = sizes.most_common(1)[0][0]
    border = 2 * (scan.border_px or 0)
    return f"{width - border}x{height - border} px"
