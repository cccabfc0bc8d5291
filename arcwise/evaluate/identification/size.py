"""What the size of a gallery does: the same searches among fewer people.

It does not extrapolate: larger galleries than there are cannot be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from arcwise.evaluate.curve import Doubles, count_allowed
from arcwise.evaluate.identification.alarm import fnir_at_fpir, rates_at
from arcwise.evaluate.identification.lineup import Lineup
from arcwise.evaluate.identification.scope import Scope
from arcwise.evaluate.identification.search import (
    Searches,
    begin_searches,
    cmc,
    search_gallery,
)
from arcwise.evaluate.identification.tally import SizeEffect, SizeEffects


def measure_sizes(lineup: Lineup, searches: Searches, scope: Scope) -> SizeEffects | None:
    """Search random galleries of each size, and the whole one.

    People who are not enrolled are drawn like the others where failed searches count: those for
    them fail in every gallery.
    """
    lost = lineup.not_enrolled if scope.failed_policy == "count_as_wrong" else ()
    people = sorted({*lineup.gallery_people, *lost})
    n_people = len(people)
    wanted = list_sizes(n_people) if scope.sizes is None else scope.sizes
    sizes = sorted({size for size in wanted if size < n_people})
    if not sizes:
        return None
    n_strangers = searches.n_non_mated
    able = [fpir for fpir in scope.fpirs if count_allowed(fpir, n_strangers)]
    fpir = min(able, default=None)
    n_failed = scope.count_failed(lineup.failed_mates)
    if scope.thresholds:
        threshold: float | None = scope.thresholds[0].similarity
    else:
        threshold = fnir_at_fpir(searches, fpir, n_failed=n_failed).similarity if fpir else None
    threshold = threshold if n_strangers else None
    rng = np.random.default_rng(scope.seed)
    effects: list[SizeEffect] = []
    for size in sizes:
        tried = [rng.choice(n_people, size, replace=False) for _ in range(scope.n_draws)]
        drawn = [_search_some(lineup, {people[i] for i in chosen}, scope) for chosen in tried]
        rates = [_rates_of(some, fpir, threshold) for some in drawn if some]
        effects += _summarize_size(size, rates)
    whole = _rates_of(_Some(searches, n_failed), fpir, threshold)
    effects += _summarize_size(n_people, [whole])
    return SizeEffects(fpir, threshold, scope.seed, tuple(effects))


def list_sizes(n_people: int) -> tuple[int, ...]:
    """10, 30, 100, 300 and so on, below the number of people: our choice."""
    steps = (k * 10**e for e in range(1, 8) for k in (1, 3))
    return tuple(size for size in steps if size < n_people)


@dataclass(frozen=True, eq=False, slots=True)
class _Some:
    """Searches of a gallery of some people only, and how many more count as misses."""

    searches: Searches
    n_failed: int


def _search_some(lineup: Lineup, people: set[str], scope: Scope) -> _Some | None:
    """Search the gallery of these people for them and for all strangers; None for no mate."""
    n_failed = scope.count_failed([p for p in lineup.failed_mates if p in people])
    if not n_failed and people.isdisjoint(lineup.probe_people):
        return None
    in_gallery = set(lineup.gallery_people)
    kept = np.array([person in people for person in lineup.gallery_people])
    asked = np.array([p in people or p not in in_gallery for p in lineup.probe_people])
    if not kept.any() or not asked.any():  # nobody of them is enrolled, or all searches failed
        return _Some(begin_searches(np.full(np.count_nonzero(asked), -1)), n_failed)
    searches = search_gallery(
        lineup.probes[asked],
        [p for p, wanted in zip(lineup.probe_people, asked, strict=True) if wanted],
        lineup.gallery[kept],
        [p for p, wanted in zip(lineup.gallery_people, kept, strict=True) if wanted],
    )
    return _Some(searches, n_failed)


def _rates_of(some: _Some, fpir: float | None, threshold: float | None) -> Doubles:
    """Top-1, FNIR and FPIR of one gallery; NaN where unknown."""
    (first,) = cmc(some.searches, [1], n_failed=some.n_failed)
    rates = [first.share, math.nan, math.nan]
    if fpir is not None:
        fnir = fnir_at_fpir(some.searches, fpir, n_failed=some.n_failed).fnir
        rates[1] = fnir.share if fnir else math.nan
    if threshold is not None:
        found = rates_at(some.searches, threshold, n_failed=some.n_failed).fpir
        rates[2] = math.nan if found is None else found
    return np.array(rates)


def _summarize_size(n_people: int, rates: Sequence[Doubles]) -> Iterator[SizeEffect]:
    if not rates:
        return
    means = np.mean(rates, axis=0)
    stds = np.std(rates, axis=0) if len(rates) > 1 else np.full_like(means, np.nan)
    rank_1, *numbers = (
        None if math.isnan(value) else value
        for pair in zip(means.tolist(), stds.tolist(), strict=True)
        for value in pair
    )
    assert rank_1 is not None, "every gallery has a top-1"
    yield SizeEffect(n_people, len(rates), rank_1, *numbers)
