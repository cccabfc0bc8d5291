"""Search a gallery for every probe and count what was found: closed set, open set, people.

It does not embed photos or choose the split; it takes a lineup (evaluate/identification/lineup.py)
and what is wanted of it (evaluate/identification/scope.py). The report is in
evaluate/identification/tally.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np

from arcwise.evaluate.curve import Spread, describe_spread
from arcwise.evaluate.identification.alarm import (
    DirAtFar,
    det_points,
    dir_at_far,
    fnir_at_fpir,
    rates_at,
)
from arcwise.evaluate.identification.lineup import Lineup
from arcwise.evaluate.identification.redraw import PeopleDraws
from arcwise.evaluate.identification.scope import Scope
from arcwise.evaluate.identification.search import Searches, cmc, refuse_unmated
from arcwise.evaluate.identification.size import measure_sizes
from arcwise.evaluate.identification.tally import (
    IdentificationReport,
    Mistake,
    OpenRate,
    PersonTally,
    RankRate,
    SizeEffects,
)
from arcwise.types import Floats

_MOST_MISTAKES = 50  # of each kind kept in a report


def evaluate_gallery(lineup: Lineup, scope: Scope | None = None) -> IdentificationReport:
    """Search by cosine, and count; also in smaller galleries where the scope says so.

    Raises:
        InputError: there is no mated search, a vector is 0 or not finite, or the scope is out of
            range.
    """
    scope = scope or Scope()
    searches = lineup.search()
    return measure_searches(lineup, searches, scope, sizes=measure_sizes(lineup, searches, scope))


def measure_searches(
    lineup: Lineup, searches: Searches, scope: Scope, *, sizes: SizeEffects | None = None
) -> IdentificationReport:
    """Count what searches found.

    Args:
        lineup: whose probes were searched, in their order.
        searches: as `Lineup.search` or a classifier gives them.
        scope: what is measured.
        sizes: to put into the report.

    Raises:
        InputError: there is no mated search, or the scope is out of range.
    """
    n_failed = scope.count_failed(lineup.failed_mates)
    refuse_unmated(searches.n_mated + n_failed)
    draws = PeopleDraws(lineup, searches, scope)
    det = det_points(searches, n_failed=n_failed) if searches.n_non_mated else None
    steps = cmc(searches, range(1, scope.cmc_to + 1), n_failed=n_failed)
    n_mated = searches.n_mated + len(lineup.failed_mates)
    n_strangers = searches.n_non_mated + lineup.n_failed_strangers
    return IdentificationReport(
        n_people=len(set(lineup.gallery_people)),
        n_templates=len(lineup.gallery_people),
        n_probes=n_mated + n_strangers,
        n_mated=n_mated,
        n_non_mated=n_strangers,
        n_failed_mated=len(lineup.failed_mates),
        failed_policy=scope.failed_policy,
        failed_gallery=lineup.failed_gallery,
        failed_probes=lineup.failed_probes,
        not_enrolled=lineup.not_enrolled,
        ranks=_rate_ranks(searches, scope, draws, n_failed),
        cmc=tuple(share.share for share in steps),
        dirs=_rate_dirs(searches, scope, n_failed),
        open_rates=_rate_thresholds(searches, scope, draws, n_failed),
        det_fpir=tuple(det.fpir.tolist()) if det else (),
        det_fnir=tuple(det.fnir.tolist()) if det else (),
        mates=_describe(searches.mate_scores[searches.is_mated]),
        strangers=_describe(searches.other_scores[~searches.is_mated]),
        people=tuple(_tally_people(lineup, searches, scope)),
        misses=tuple(_list_misses(lineup, searches)),
        alarms=tuple(_list_alarms(lineup, searches)),
        sizes=sizes,
    )


def _rate_ranks(
    searches: Searches, scope: Scope, draws: PeopleDraws, n_failed: int
) -> tuple[RankRate, ...]:
    shares = cmc(searches, scope.ranks, n_failed=n_failed)
    moved = zip(scope.ranks, shares, draws.spread_ranks(scope.ranks), strict=True)
    return tuple(RankRate(rank, share, over.interval, over.lack) for rank, share, over in moved)


def _rate_dirs(searches: Searches, scope: Scope, n_failed: int) -> tuple[DirAtFar, ...]:
    if not searches.n_non_mated:
        return ()
    wanted = product(scope.fars, scope.dir_ranks)
    return tuple(dir_at_far(searches, far, rank=rank, n_failed=n_failed) for far, rank in wanted)


def _rate_thresholds(
    searches: Searches, scope: Scope, draws: PeopleDraws, n_failed: int
) -> tuple[OpenRate, ...]:
    """At the thresholds that keep a rate, then at those that were given."""
    found = [fnir_at_fpir(searches, fpir, n_failed=n_failed) for fpir in scope.fpirs]
    places = [threshold.similarity for threshold in scope.thresholds]
    fixed = [rates_at(searches, place, n_failed=n_failed) for place in places]
    reasons = [""] * len(found) + [threshold.why for threshold in scope.thresholds]
    moved = [*draws.spread_found(found), *draws.spread_fixed(places)]
    return tuple(
        OpenRate(rates, why, over.interval, over.lack)
        for rates, why, over in zip([*found, *fixed], reasons, moved, strict=True)
    )


def _tally_people(lineup: Lineup, searches: Searches, scope: Scope) -> list[PersonTally]:
    """Everybody who was searched for: lowest share found first, then most searches, then name."""
    n_found: Counter[str] = Counter()
    n_probes: Counter[str] = Counter()
    taken: dict[str, Counter[str]] = {}
    for i in np.flatnonzero(searches.is_mated):
        person = lineup.probe_people[i]
        n_probes[person] += 1
        if searches.mate_ranks[i] == 1:
            n_found[person] += 1
        else:
            other = lineup.gallery_people[searches.others[i]]
            taken.setdefault(person, Counter())[other] += 1
    n_failed: Counter[str] = Counter()
    if scope.failed_policy == "count_as_wrong":
        n_failed.update(lineup.failed_mates)
    tallies = [
        PersonTally(
            person=person,
            n_probes=n_probes[person] + n_failed[person],
            n_found=n_found[person],
            n_failed=n_failed[person],
            taken_for=taken[person].most_common(1)[0][0] if person in taken else "",
        )
        for person in sorted({*n_probes, *n_failed})
    ]
    return sorted(tallies, key=lambda t: (t.n_found / t.n_probes, -t.n_probes))


def _list_misses(lineup: Lineup, searches: Searches) -> Iterator[Mistake]:
    """Mated searches that put somebody else first, the greatest lead of the other first."""
    missed = np.flatnonzero(searches.mate_ranks > 1)
    lead = searches.other_scores[missed] - searches.mate_scores[missed]
    for i in missed[np.argsort(-lead, kind="stable")][:_MOST_MISTAKES]:
        yield _describe_mistake(lineup, searches, int(i))


def _list_alarms(lineup: Lineup, searches: Searches) -> Iterator[Mistake]:
    """Non-mated searches, most alike to somebody first."""
    strangers = np.flatnonzero(~searches.is_mated)
    order = np.argsort(-searches.other_scores[strangers], kind="stable")
    for i in strangers[order][:_MOST_MISTAKES]:
        yield _describe_mistake(lineup, searches, int(i))


def _describe_mistake(lineup: Lineup, searches: Searches, i: int) -> Mistake:
    return Mistake(
        probe=lineup.probe_names[i],
        person=lineup.probe_people[i],
        rank=int(searches.mate_ranks[i]),
        similarity=float(searches.mate_scores[i]) if searches.is_mated[i] else None,
        taken_for=lineup.gallery_names[searches.others[i]],
        other_similarity=float(searches.other_scores[i]),
    )


def _describe(scores: Floats) -> Spread | None:
    return describe_spread(scores) if len(scores) else None
