"""How far the rates of searches move when other people are drawn.

It does not search. The people of the probes are drawn anew, those of the gallery and the strangers
apart, as often as there are of each; the gallery stays as it is. Photos of one person are not
independent, so people are drawn and not searches (Bolle, Ratha and Pankanti, 2004).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from arcwise.evaluate.bootstrap import Interval
from arcwise.evaluate.curve import Flags
from arcwise.evaluate.identification.alarm import FnirAtFpir
from arcwise.evaluate.identification.lineup import Lineup
from arcwise.evaluate.identification.scope import Scope
from arcwise.evaluate.identification.search import Counts, Searches


class PeopleDraws:
    """Draws the people of the probes anew, and says how far each rate moves.

    Args:
        lineup: whose probes were searched.
        searches: what was found.
        scope: how often and with which seed people are drawn, and whether failed searches count.
    """

    def __init__(self, lineup: Lineup, searches: Searches, scope: Scope) -> None:
        is_mated = searches.is_mated
        people = np.array(lineup.probe_people, dtype=object)
        failed = lineup.failed_mates if scope.failed_policy == "count_as_wrong" else ()
        lost = np.full(len(failed), -np.inf)
        self._mates = np.append(searches.mate_scores[is_mated].astype(np.float64), lost)
        never = np.full(len(failed), np.iinfo(np.int64).max)
        self._ranks = np.append(searches.mate_ranks[is_mated], never)
        highest = searches.other_scores[~is_mated].astype(np.float64)
        order = np.argsort(-highest, kind="stable")
        self._highest = highest[order]
        rng = np.random.default_rng(scope.seed)
        n = scope.n_replicates
        self._mated = _draw_weights([*people[is_mated], *failed], n, rng)
        self._strangers = _draw_weights([*people[~is_mated][order]], n, rng)

    def spread_ranks(self, ranks: Sequence[int]) -> Iterator[Interval | None]:
        """95 % interval of the share of mated searches found up to each rank."""
        return (self._spread(repeat(self._ranks <= rank)) for rank in ranks)

    def spread_fixed(self, similarities: Sequence[float]) -> Iterator[Interval | None]:
        """The same of the FNIR at each of some fixed thresholds."""
        return (self._spread(repeat(self._mates < place)) for place in similarities)

    def spread_found(self, rates: Sequence[FnirAtFpir]) -> Iterator[Interval | None]:
        """The same of FNIR@FPIR, with the threshold found anew for each draw of strangers."""
        for rate in rates:
            if rate.fnir is None or rate.fpir is None or self._strangers is None:
                yield None
            else:
                yield self._spread(self._refuse(self._strangers, rate.fpir))

    def _refuse(self, strangers: _Weights, fpir: float) -> Iterator[Flags]:
        """Which mates are refused at the threshold of each draw."""
        for weights in strangers.replicates():
            counted = np.cumsum(weights)
            budget = math.floor(fpir * int(counted[-1]) * (1 + 1e-12))
            refused = int(np.searchsorted(counted, budget, side="right"))
            threshold = self._highest[refused] if refused < len(counted) else -np.inf
            yield self._mates <= threshold

    def _spread(self, flags: Iterator[Flags]) -> Interval | None:
        """Of the share of mated searches that a flag marks; `flags` (M,) for each draw."""
        if self._mated is None:
            return None
        weighed = zip(self._mated.replicates(), flags, strict=False)  # flags may have no end
        shares = [float(weights @ flag / weights.sum()) for weights, flag in weighed]
        low, high = np.percentile(shares, [2.5, 97.5]).tolist()
        return Interval(low, high)


@dataclass(frozen=True, eq=False, slots=True)
class _Weights:
    """How often each person is drawn, (R, C), and the person of each search, (P,)."""

    times: Counts
    person: Counts

    def replicates(self) -> Iterator[Counts]:
        return (times[self.person] for times in self.times)


def _draw_weights(
    people: Sequence[str], n_replicates: int, rng: np.random.Generator
) -> _Weights | None:
    """None with fewer than two people: nothing varies."""
    codes: dict[str, int] = {}
    person = np.array([codes.setdefault(name, len(codes)) for name in people], np.int64)
    if len(codes) < 2:
        return None
    shares = np.full(len(codes), 1 / len(codes))
    return _Weights(rng.multinomial(len(codes), shares, size=n_replicates), person)
