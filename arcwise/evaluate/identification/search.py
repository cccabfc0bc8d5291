"""Who of a gallery is it: searches, and at which rank they find their mate.

It does not know photos or splits, and of failed reads only the number: it takes vectors and people.
A search is mated when its person is in the gallery. What thresholds make of searches is in
evaluate/identification/alarm.py. Source: NIST FRTE 1:N, rank and cumulative match characteristic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Counts, Flags
from arcwise.evaluate.row import Share, count_share
from arcwise.evaluate.vectors.rows import unit_rows
from arcwise.types import Floats

_CHUNK_PROBES = 1024  # searched at once, at most; fewer where the gallery is large
_MOST_SCORES = 25_000_000  # held at once, 100 MB; three times that where people have several


@dataclass(frozen=True, eq=False, slots=True)
class Searches:
    """What each probe found in a gallery.

    Attributes:
        mate_scores: (P,) float32 similarity to the own person; NaN where that person is not in the
            gallery (non-mated).
        mate_ranks: (P,) int64 from 1: 1 + the number of other people who score at least as high,
            so that ties count against the model; 0 where non-mated.
        other_scores: (P,) float32 highest similarity to any other person; -inf where there is none.
        is_mated: (P,) bool.
        others: (P,) int64 position in the gallery of the template that has `other_scores`, the
            first of equals in the order of people; -1 where there is none.
    """

    mate_scores: Floats
    mate_ranks: Counts
    other_scores: Floats
    is_mated: Flags
    others: Counts

    @property
    def n_mated(self) -> int:
        """How many searches have their person in the gallery."""
        return int(np.count_nonzero(self.is_mated))

    @property
    def n_non_mated(self) -> int:
        """How many do not."""
        return len(self.is_mated) - self.n_mated


def search_gallery(
    probes: NDArray[np.floating],
    probe_people: Sequence[Hashable],
    gallery: NDArray[np.floating],
    gallery_people: Sequence[Hashable],
) -> Searches:
    """Search every probe in a gallery. A person scores as their most alike template does.

    Scores are products of float32; two equal vectors may differ in the last bit. Those that are
    held at once stay below 400 MB.

    Args:
        probes: (P, D) of any length but 0; may be memory-mapped.
        probe_people: (P,) names or numbers.
        gallery: (G, D) likewise, several for one person allowed. A normalized copy is held.
        gallery_people: (G,) likewise.

    Raises:
        InputError: no probe, no template, other shapes, a vector that is 0 or not finite.
    """
    _check_vectors(probes, probe_people, "probes")
    _check_vectors(gallery, gallery_people, "gallery")
    if probes.shape[1] != gallery.shape[1]:
        raise InputError(
            f"probes of {probes.shape[1]} and a gallery of {gallery.shape[1]} dimensions",
            hint="they come from different models: embed both with the same one",
        )
    codes: dict[Hashable, int] = {}
    gallery_codes = np.array([codes.setdefault(person, len(codes)) for person in gallery_people])
    order = np.argsort(gallery_codes, kind="stable")
    begins = np.searchsorted(gallery_codes[order], np.arange(len(codes) + 1))
    columns = unit_rows(gallery[order], lambda row: f"template {order[row]}").T
    own = np.array([codes.get(person, -1) for person in probe_people], np.int64)
    n_rows = min(_CHUNK_PROBES, max(1, _MOST_SCORES // len(order)))
    found = begin_searches(own)
    for start in range(0, len(own), n_rows):
        part = slice(start, start + n_rows)
        scores = unit_rows(probes[part], _name_probe(start)) @ columns
        np.clip(scores, -1.0, 1.0, out=scores)
        _search_rows(scores, own[part], begins, order, found, start)
    return found


def search_scores(
    scores: NDArray[np.floating], probe_people: Sequence[Hashable], people: Sequence[Hashable]
) -> Searches:
    """The same from scores that something else gave, such as a classifier.

    Args:
        scores: (P, C) of each probe for each person, higher is more alike; any range.
        probe_people: (P,) names or numbers.
        people: (C,) likewise, each once; `others` holds positions among them.

    Raises:
        InputError: no scores, other shapes, a person twice, a score that is not finite.
    """
    _check_vectors(scores, probe_people, "scores")
    codes = {person: i for i, person in enumerate(people)}
    if scores.shape[1] != len(codes) or len(people) != len(codes):
        raise InputError(
            f"scores for {scores.shape[1]} people, of {len(codes)} different ones",
            hint="give one column for each person, and each person once",
        )
    if not np.isfinite(scores).all():
        raise InputError("a score is not finite", hint="leave failed reads out and count them")
    own = np.array([codes.get(person, -1) for person in probe_people], np.int64)
    found = begin_searches(own)
    places = np.arange(len(people) + 1)
    _search_rows(scores.astype(np.float32), own, places, places[:-1], found, 0)
    return found


def begin_searches(own: Counts) -> Searches:
    """Searches that have found nobody yet.

    Args:
        own: (P,) place of each probe's person among the gallery's, or -1.
    """
    return Searches(
        mate_scores=np.full(len(own), np.nan, np.float32),
        mate_ranks=np.zeros(len(own), np.int64),
        other_scores=np.full(len(own), -np.inf, np.float32),
        is_mated=own >= 0,
        others=np.full(len(own), -1, np.int64),
    )


def _search_rows(
    scores: Floats, own: Counts, begins: Counts, order: Counts, found: Searches, start: int
) -> None:
    """Fill in the searches from `start` on; `scores` (n, G) is used up."""
    has_several = len(begins) - 1 < scores.shape[1]
    people = np.maximum.reduceat(scores, begins[:-1], axis=1) if has_several else scores
    mated = np.flatnonzero(own >= 0)
    mates = people[mated, own[mated]]
    found.mate_scores[start + mated] = mates
    at_least = people[mated] >= mates[:, None]
    found.mate_ranks[start + mated] = np.count_nonzero(at_least, axis=1)  # the mate is one of them
    for row in mated:
        scores[row, begins[own[row]] : begins[own[row] + 1]] = -np.inf
    best = scores.argmax(axis=1)
    highest = scores[np.arange(len(scores)), best]
    found.other_scores[start : start + len(own)] = highest
    found.others[start : start + len(own)] = np.where(np.isfinite(highest), order[best], -1)


def cmc(searches: Searches, ranks: Sequence[int], *, n_failed: int = 0) -> list[Share]:
    """Cumulative match characteristic: share of mated searches with a mate of rank 1 to each rank.

    Args:
        searches: of which the mated ones count.
        ranks: from 1.
        n_failed: mated searches without a score; they never find their mate.

    Raises:
        InputError: there is no mated search, or a rank below 1.
    """
    check_ranks(ranks)
    hits = np.sort(searches.mate_ranks[searches.is_mated])
    n = len(hits) + n_failed
    refuse_unmated(n)
    return [count_share(int(np.searchsorted(hits, rank, side="right")), n) for rank in ranks]


def _check_vectors(vectors: NDArray[np.floating], people: Sequence[Hashable], name: str) -> None:
    if vectors.ndim != 2 or not vectors.size:
        raise InputError(
            f"{name} have the shape {vectors.shape}", hint="give at least one vector, (N, D)"
        )
    if len(people) != len(vectors):
        raise InputError(f"{name}: {len(vectors)} vectors, but people for {len(people)}")


def _name_probe(start: int) -> Callable[[int], str]:
    return lambda row: f"probe {start + row}"


def check_ranks(ranks: Sequence[int]) -> None:
    """Refuse no ranks, and those below 1."""
    if not ranks or min(ranks) < 1:
        raise InputError(f"ranks are {list(ranks)}", hint="give numbers from 1")


def refuse_unmated(n_mated: int) -> None:
    """Refuse to measure without a mated search."""
    if not n_mated:
        raise InputError(
            "there is no mated search: no probe shows a person of the gallery",
            hint="a person needs a photo in the gallery and another among the probes",
        )
