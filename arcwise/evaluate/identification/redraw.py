"""How far the rates of searches move when other people are drawn.

It does not search. The people of the probes are drawn anew, those of the gallery and the strangers
apart, as often as there are of each; the gallery stays as it is. Photos of one person are not
independent, so people are drawn and not searches (Bolle, Ratha and Pankanti, 2004).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from arcwise.evaluate.bootstrap import LEAST_PEOPLE, Interval, interval_of
from arcwise.evaluate.curve import Counts, Flags, count_allowed
from arcwise.evaluate.identification.alarm import FnirAtFpir
from arcwise.evaluate.identification.lineup import Lineup
from arcwise.evaluate.identification.scope import Scope
from arcwise.evaluate.identification.search import Searches


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a share moves when other people are drawn.

    Attributes:
        interval: 95 % of the draws; None where they say nothing.
        lack: why there is none, in words; "" where there is one.
    """

    interval: Interval | None
    lack: str


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

    def spread_ranks(self, ranks: Sequence[int]) -> Iterator[Moved]:
        """95 % interval of the share of mated searches found up to each rank.

        None, here and below, where fewer than ten people can be drawn, or all draws are equal.
        """
        return (self._spread(repeat(self._ranks <= rank)) for rank in ranks)

    def spread_fixed(self, similarities: Sequence[float]) -> Iterator[Moved]:
        """The same of the FNIR at each of some fixed thresholds."""
        return (self._spread(repeat(self._mates < place)) for place in similarities)

    def spread_found(self, rates: Sequence[FnirAtFpir]) -> Iterator[Moved]:
        """The same of FNIR@FPIR, with the threshold found anew for each draw of strangers."""
        for rate in rates:
            if rate.fnir is None or rate.fpir is None:
                yield Moved(None, rate.text.removeprefix("n/a: "))
            elif self._mated is None or self._strangers is None:
                yield Moved(None, f"needs {LEAST_PEOPLE} people and strangers")
            else:
                yield self._spread(self._refuse(self._strangers, rate.fpir))

    def _refuse(self, strangers: _Weights, fpir: float) -> Iterator[Flags]:
        """Which mates are refused at the threshold of each draw."""
        for weights in strangers.replicates():
            counted = np.cumsum(weights)
            budget = count_allowed(fpir, int(counted[-1]))
            refused = int(np.searchsorted(counted, budget, side="right"))
            threshold = self._highest[refused] if refused < len(counted) else -np.inf
            yield self._mates <= threshold

    def _spread(self, flags: Iterator[Flags]) -> Moved:
        """Of the share of mated searches that a flag marks; `flags` (M,) for each draw."""
        if self._mated is None:
            return Moved(None, f"needs {LEAST_PEOPLE} people")
        weighed = zip(self._mated.replicates(), flags, strict=False)  # flags may have no end
        shares = [float(weights @ flag / weights.sum()) for weights, flag in weighed]
        if min(shares) == max(shares):  # nobody was lost, or all: nothing to draw from
            return Moved(None, "all draws are equal")
        return Moved(interval_of(shares), "")


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
    """None with fewer than ten people."""
    codes: dict[str, int] = {}
    person = np.array([codes.setdefault(name, len(codes)) for name in people], np.int64)
    if len(codes) < LEAST_PEOPLE:
        return None
    shares = np.full(len(codes), 1 / len(codes))
    return _Weights(rng.multinomial(len(codes), shares, size=n_replicates), person)
