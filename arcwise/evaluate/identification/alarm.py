"""What thresholds make of searches: who is found, and which strangers are named.

It does not search; evaluate/identification/search.py does. A candidate is returned when similarity
>= threshold; a non-mated search that returns one is a false alarm. Sources: NIST FRTE 1:N (FPIR,
FNIR); Grother and Phillips (2004) and the DIR_FAR code of Shi and Jain (2019), as used for TinyFace
(DIR@FAR).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arcwise.errors import InputError
from arcwise.evaluate.curve import (
    Counts,
    Doubles,
    count_allowed,
    count_needed,
    threshold_between,
)
from arcwise.evaluate.identification.search import Searches, check_ranks, refuse_unmated
from arcwise.evaluate.row import Share, count_share

_ABOVE_ALL = 1e-5  # DIR_FAR's step above the highest non-mated score where none may pass


@dataclass(frozen=True, slots=True)
class DirAtFar:
    """Detection and identification rate at a false alarm rate, by the published rule.

    Attributes:
        far: the false alarm rate aimed at.
        rank: the mate is among the first `rank` candidates.
        dir: share of mated searches whose mate is, and reaches the threshold.
        similarity: the threshold, cosine.
        false_alarms: share of non-mated searches that reach it.
    """

    far: float
    rank: int
    dir: Share
    similarity: float
    false_alarms: Share


@dataclass(frozen=True, slots=True)
class FnirAtFpir:
    """False negative identification rate where at most a share `fpir` of strangers is named.

    Attributes:
        fpir: the false positive identification rate aimed at; in `rates_at` the one found, None
            without non-mated searches.
        rank: the mate must be among the first `rank` candidates; None for anywhere.
        fnir: share of mated searches without their mate; None where there are too few searches.
        similarity: the threshold, cosine, or None.
        false_alarms: share of non-mated searches that reach it, at most `fpir`; or None.
        text: the result in words.
    """

    fpir: float | None
    rank: int | None
    fnir: Share | None
    similarity: float | None
    false_alarms: Share | None
    text: str


@dataclass(frozen=True, eq=False, slots=True)
class DetPoints:
    """Corners of the curve of FNIR against FPIR, the rarest false alarms first.

    Attributes:
        fpir, fnir: (N,) float64; `fpir` rises from above 0 to 1.
    """

    fpir: Doubles
    fnir: Doubles


def dir_at_far(searches: Searches, far: float, *, rank: int = 1, n_failed: int = 0) -> DirAtFar:
    """Detection and identification rate by the rule of the published DIR_FAR code.

    Of N non-mated searches, k = round(far * N) may raise a false alarm: the threshold is the k-th
    highest of their highest scores, or for k = 0 the highest + 1e-5. Equal scores pass together,
    so the share that passes can be above `far`. `fnir_at_fpir` keeps the rate instead.

    Args:
        searches: mated and non-mated ones.
        far: the false alarm rate aimed at, 0 to 1.
        rank: the mate must be among the first `rank` people.
        n_failed: mated searches without a score; they never find their mate.

    Raises:
        InputError: there is no mated or no non-mated search, or a number is out of range.
    """
    check_ranks([rank])
    if not 0 <= far <= 1:
        raise InputError(f"the false alarm rate is {far}", hint="give a share from 0 to 1")
    scores = _Scores.take(searches, n_failed)
    scores.refuse_mated_only()
    n_allowed = int(np.round(far * len(scores.highest)))
    highest = scores.highest
    threshold = float(highest[-n_allowed]) if n_allowed else float(highest[-1]) + _ABOVE_ALL
    share = count_share(int(np.count_nonzero(scores.within(rank) >= threshold)), scores.n_mated)
    return DirAtFar(far, rank, share, threshold, scores.alarm_above(_just_below(threshold)))


def fnir_at_fpir(
    searches: Searches, fpir: float, *, rank: int | None = None, n_failed: int = 0
) -> FnirAtFpir:
    """FNIR(R, T) at the lowest threshold T that at most floor(fpir * N) non-mated searches reach.

    Searches tied with the first one that must be refused are refused with it. The threshold is
    the middle between that score and the next observed one above it.

    Args:
        searches: mated and non-mated ones.
        fpir: the false positive identification rate aimed at, above 0 and at most 1.
        rank: the mate must be among the first `rank` people; None for anywhere.
        n_failed: mated searches without a score; they never find their mate. Failed non-mated ones
            are not in the rate.

    Returns:
        The rate; or "n/a: needs 1/FPIR non-mated searches", never an extrapolation.

    Raises:
        InputError: there is no mated search, or a number is out of range.
    """
    if rank is not None:
        check_ranks([rank])
    if not 0 < fpir <= 1:
        raise InputError(f"FPIR is {fpir}", hint="give a share above 0, at most 1")
    scores = _Scores.take(searches, n_failed)
    n = len(scores.highest)
    budget = count_allowed(fpir, n)
    if budget < 1:
        text = f"n/a: needs 1/FPIR = {count_needed(fpir):,} non-mated searches, has {n:,}"
        return FnirAtFpir(fpir, rank, None, None, None, text)
    refused = float(scores.highest[-1 - budget]) if budget < n else -math.inf
    fnir = scores.miss_above(refused, rank)
    threshold = scores.place_above(refused)
    alarms = scores.alarm_above(refused)
    return FnirAtFpir(fpir, rank, fnir, threshold, alarms, f"{fnir}, at {threshold:.4f}")


def rates_at(
    searches: Searches, similarity: float, *, rank: int | None = None, n_failed: int = 0
) -> FnirAtFpir:
    """FPIR and FNIR at a threshold that was chosen elsewhere.

    Args:
        searches: mated and non-mated ones.
        similarity: the threshold, cosine.
        rank: as for `fnir_at_fpir`.
        n_failed: mated searches without a score; they never find their mate.

    Returns:
        The rates; `fpir` is the one found.

    Raises:
        InputError: there is no mated search.
    """
    scores = _Scores.take(searches, n_failed)
    refused = _just_below(similarity)
    fnir = scores.miss_above(refused, rank)
    alarms = scores.alarm_above(refused) if len(scores.highest) else None
    return FnirAtFpir(
        alarms.share if alarms else None,
        rank,
        fnir,
        similarity,
        alarms,
        f"{fnir}, at {similarity:.4f}",
    )


def det_points(
    searches: Searches, *, rank: int | None = None, n_failed: int = 0, n: int = 200
) -> DetPoints:
    """The curve of FNIR against FPIR: what `fnir_at_fpir` gives for each number of false alarms.

    Args:
        searches: mated and non-mated ones.
        rank: as for `fnir_at_fpir`.
        n_failed: mated searches without a score; they never find their mate.
        n: points at most, evenly in log FPIR.

    Raises:
        InputError: there is no mated or no non-mated search.
    """
    scores = _Scores.take(searches, n_failed)
    scores.refuse_mated_only()
    n_other = len(scores.highest)
    budgets = np.unique(np.geomspace(1, n_other, n).round().astype(np.int64))
    refused = np.append(-np.inf, scores.highest)[n_other - budgets]
    n_false = n_other - np.searchsorted(scores.highest, refused, side="right")
    n_false, first = np.unique(n_false, return_index=True)
    able = np.sort(scores.within(rank))
    n_hits = len(able) - np.searchsorted(able, refused[first], side="right")
    seen = n_false > 0
    return DetPoints(n_false[seen] / n_other, 1 - n_hits[seen] / scores.n_mated)


@dataclass(frozen=True, eq=False, slots=True)
class _Scores:
    """What thresholds are held against: float64, as float32 would round them onto scores.

    Attributes:
        highest: of each non-mated search, rising.
        mates, ranks: of each mated search.
        n_mated: of them and the failed ones.
    """

    highest: Doubles
    mates: Doubles
    ranks: Counts
    n_mated: int

    @classmethod
    def take(cls, searches: Searches, n_failed: int) -> _Scores:
        is_mated = searches.is_mated
        highest = np.sort(searches.other_scores[~is_mated].astype(np.float64))
        mates = searches.mate_scores[is_mated].astype(np.float64)
        refuse_unmated(len(mates) + n_failed)
        return cls(highest, mates, searches.mate_ranks[is_mated], len(mates) + n_failed)

    def within(self, rank: int | None) -> Doubles:
        """The mates of rank 1 to `rank`, or all."""
        return self.mates if rank is None else self.mates[self.ranks <= rank]

    def miss_above(self, refused: float, rank: int | None) -> Share:
        n_hits = int(np.count_nonzero(self.within(rank) > refused))
        return count_share(self.n_mated - n_hits, self.n_mated)

    def alarm_above(self, refused: float) -> Share:
        n_false = int(np.count_nonzero(self.highest > refused))
        return count_share(n_false, len(self.highest))

    def place_above(self, refused: float) -> float:
        """The threshold that refuses a score and accepts every observed one above it."""
        seen = np.concatenate([self.highest, self.mates])
        above = seen[seen > refused]
        if not len(above):
            return float(np.nextafter(refused, np.inf))
        least = float(above.min())
        return least if refused == -math.inf else threshold_between(refused, least)

    def refuse_mated_only(self) -> None:
        if not len(self.highest):
            raise InputError("there is no non-mated search", hint="leave people out of the gallery")


def _just_below(similarity: float) -> float:
    """A score is at least `similarity` exactly when it is above this."""
    return float(np.nextafter(similarity, -np.inf))
