"""Thresholds for chosen false match rates, from scored pairs of labeled photos.

It does not know files or models: it takes a vector for each photo and whom it shows. A rate that
the pairs cannot support is not given; nothing is extrapolated. Source of the thresholds and of
their intervals: see evaluate/bootstrap.py; of EER: see evaluate/curve.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import (
    LEAST_PEOPLE,
    Cut,
    Numbers,
    RankedPairs,
    Spreads,
    cut_at_fmr,
    draw_people,
    measure_spreads,
)
from arcwise.evaluate.calibrate.labeled import (
    LabeledPhoto,
    PhotoPairs,
    ScoredPhotos,
    score_photos,
)
from arcwise.evaluate.calibrate.oddities import find_closest, find_copies
from arcwise.evaluate.calibrate.thresholds import (
    CalibrationReport,
    NextRate,
    OperatingPoint,
    show_rate,
)
from arcwise.evaluate.curve import (
    FARS,
    Counts,
    Rate,
    Scores,
    count_below,
    count_needed,
    equal_error_rate,
    threshold_at,
    threshold_over,
)
from arcwise.evaluate.row import FailedPhoto
from arcwise.types import Floats

LEAST_FALSE = 10
"""Impostor pairs that must reach a threshold before it is believed: our choice."""
_FEW_PAIRS = 1 << 21  # of so many, all are kept in order
_TAIL = 1.5  # so many times the pairs of the loosest rate are kept in order, of more pairs


def calibrate_photos(
    photos: Iterable[LabeledPhoto],
    *,
    failed: Mapping[str, str] | None = None,
    fmr: float | None = None,
    n_replicates: int = 200,
    seed: int = 0,
) -> CalibrationReport:
    """Score every pair of photos by its cosine, and find the threshold of each false match rate.

    Args:
        photos: in any order; the result does not depend on it.
        failed: photo name -> why it has no vector; listed in the report. A vector of length 0
            has no direction and is listed with them.
        fmr: a rate that is wanted besides 1e-1, 1e-2 … 1e-6.
        n_replicates: how often the people are drawn anew for the intervals, at least 1.
        seed: of these draws.

    Returns:
        The report. Its rates go as far as at least 10 impostor pairs reach the threshold.

    Raises:
        InputError: a photo given twice, no replicates, a rate that is not between 0 and 1, or a
            vector that is not (D,), not finite, or of another dimension than the others.
        DatasetError: fewer than 10 people, too few impostor pairs for any rate, or for the
            wanted one.
    """
    _check_request(fmr, n_replicates)
    scored = score_photos(photos, failed=failed)
    return calibrate(scored, fmr=fmr, n_replicates=n_replicates, seed=seed)


def calibrate(
    scored: ScoredPhotos,
    *,
    fmr: float | None = None,
    n_replicates: int = 200,
    seed: int = 0,
) -> CalibrationReport:
    """Find the threshold of each false match rate among scored pairs.

    Args:
        scored: as `score_photos` or `score_listed` gives them.
        fmr: a rate that is wanted besides 1e-1, 1e-2 … 1e-6.
        n_replicates: how often the people are drawn anew for the intervals, at least 1.
        seed: of these draws.

    Raises:
        InputError: no replicates, or a rate that is not between 0 and 1.
        DatasetError: fewer than 10 people in the impostor pairs, too few such pairs for any rate
            or for the wanted one, or none of them in any draw of people.
    """
    _check_request(fmr, n_replicates)
    rising = [np.sort(pairs.scores) for pairs in (scored.genuine, scored.impostors)]
    if not len(rising[1]):
        raise DatasetError("there is no pair of two people", hint="give pairs of two people too")
    n_strangers, n_twice = (len(scored.owners_of(p)) for p in (scored.impostors, scored.genuine))
    if n_strangers < LEAST_PEOPLE:
        raise DatasetError(
            f"the pairs of two people show {n_strangers} people: too few to say anything of others",
            hint=f"give pairs of {LEAST_PEOPLE} people or more with each other",
        )
    draws = draw_people(len(scored.names), n_replicates, seed)
    points, next_rate = _find_points(scored, rising[1], draws, fmr)
    eer, best = _measure_balance(*rising)
    return CalibrationReport(
        points=points,
        wanted=next((point for point in points if point.fmr == fmr), None),
        next_rate=next_rate,
        is_complete=scored.is_complete,
        n_photos=len(scored.photos),
        n_people=len(scored.names),
        n_genuine=len(rising[0]),
        n_impostors=len(rising[1]),
        n_twice=n_twice,
        eer=eer,
        best=best,
        closest=find_closest(scored),
        twins=find_copies(scored.photos),
        failed_photos=tuple(FailedPhoto(*item) for item in sorted(scored.reasons.items())),
        data_digest=scored.data_digest(),
    )


def _check_request(fmr: float | None, n_replicates: int) -> None:
    if n_replicates < 1:
        raise InputError(f"n_replicates must be at least 1, got {n_replicates}")
    if fmr is not None and not 0 < fmr < 1:
        raise InputError(
            f"the false match rate is {fmr}", hint="use a rate between 0 and 1, such as 0.001"
        )


def _find_points(
    scored: ScoredPhotos, rising: Floats, draws: Numbers, wanted: float | None
) -> tuple[tuple[OperatingPoint, ...], NextRate | None]:
    """The points that the pairs support.

    Args:
        scored: the pairs.
        rising: (P,) scores of the impostor pairs.
        draws: (R, C) how often each person is drawn.
        wanted: a rate besides the usual ones, or None.
    """
    rates = sorted({*FARS} if wanted is None else {*FARS, wanted}, reverse=True)
    n = len(rising)
    n_kept = n if n <= _FEW_PAIRS else min(n, math.ceil(_TAIL * rates[0] * n))
    genuine = _rank(scored, scored.genuine)
    impostors = _rank_top(scored, rising, n_kept)
    counted = np.arange(1, len(impostors.scores) + 1)
    cuts = [cut_at_fmr(impostors, counted, fmr, n_all=n) for fmr in rates]
    given = {
        fmr: cut
        for fmr, cut in zip(rates, cuts, strict=True)
        if cut is not None and cut.n_passing >= LEAST_FALSE
    }  # the first rates: counts fall
    lacking = [_explain(fmr, cuts[i], n) for i, fmr in enumerate(rates) if fmr not in given]
    refused = [rate for rate in lacking if rate.fmr == wanted or not given]
    if refused:
        raise DatasetError(refused[0].text, hint="give more photos of more people")
    thresholds = [(fmr, cut.similarity) for fmr, cut in given.items()]
    while (spreads := measure_spreads(genuine, impostors, draws, thresholds)) is None:
        n_kept = min(n, 2 * n_kept)  # a draw with many who look alike
        impostors = _rank_top(scored, rising, n_kept)
    has_interval = len(scored.owners_of(scored.genuine)) >= LEAST_PEOPLE
    points = tuple(
        _describe_point(fmr, cut, spread, genuine, impostors, has_interval=has_interval)
        for (fmr, cut), spread in zip(given.items(), spreads, strict=True)
    )
    return points, lacking[0] if lacking else None


def _rank(scored: ScoredPhotos, pairs: PhotoPairs, chosen: Counts | None = None) -> RankedPairs:
    """Pairs by falling score, with the numbers of their people."""
    part = slice(None) if chosen is None else chosen
    return RankedPairs.rank(
        pairs.scores[part],
        scored.people[pairs.first[part]],
        scored.people[pairs.second[part]],
        n_all=len(pairs),
        n_photos=scored.n_photos if chosen is not None else None,
    )


def _rank_top(scored: ScoredPhotos, rising: Floats, n_kept: int) -> RankedPairs:
    """The most alike impostor pairs, where all pairs are there; else all of them."""
    if n_kept >= len(rising) or not scored.is_complete:
        return _rank(scored, scored.impostors)
    chosen = np.flatnonzero(scored.impostors.scores >= rising[-n_kept])
    return _rank(scored, scored.impostors, chosen)


def _describe_point(
    fmr: float,
    cut: Cut,
    spread: Spreads,
    genuine: RankedPairs,
    impostors: RankedPairs,
    *,
    has_interval: bool,
) -> OperatingPoint:
    top = slice(cut.n_passing)
    couples = impostors.first[top].astype(np.int64) << 32 | impostors.second[top]
    n_genuine = len(genuine.scores)
    n_refused = int(np.count_nonzero(genuine.scores < cut.similarity))
    fnmr = spread.fnmr if has_interval else None
    return OperatingPoint(
        fmr=fmr,
        similarity=cut.similarity,
        low=spread.similarity.low,
        high=spread.similarity.high,
        n_false=cut.n_passing,
        n_couples=len(np.unique(couples)),
        fmr_found=cut.n_passing / impostors.n_all,
        fnmr=n_refused / n_genuine if n_genuine else None,
        fnmr_low=fnmr.low if fnmr else None,
        fnmr_high=fnmr.high if fnmr else None,
    )


def _explain(fmr: float, cut: Cut | None, n_impostors: int) -> NextRate:
    n_needed = count_needed(fmr, LEAST_FALSE)
    rate = show_rate(fmr)
    if n_impostors < n_needed or cut is None:
        text = f"FMR {rate} needs {n_needed:,} impostor pairs, there are {n_impostors:,}"
    else:
        text = (
            f"FMR {rate} needs {LEAST_FALSE} impostor pairs at its threshold or above; equal "
            f"scores leave {cut.n_passing} of {n_impostors:,}"
        )
    return NextRate(fmr, n_needed, text)


def _measure_balance(genuine: Floats, impostor: Floats) -> tuple[Rate | None, Rate | None]:
    """Equal error rate, and highest balanced accuracy; both scores are rising.

    Of several best thresholds the strictest is taken. It lies just below a genuine score, where
    no higher one refuses more impostors at the same price; or above all.
    """
    n_same, n_other = len(genuine), len(impostor)
    if not n_same:
        return None, None
    n_refused = np.searchsorted(genuine, genuine).astype(np.int64)
    # over accepting all, times n_same * n_other; refusing all gains nothing over that
    gain = count_below(impostor, genuine).astype(np.int64) * n_same - n_refused * n_other
    at = n_same - 1 - int(np.argmax(gain[::-1]))
    parts = genuine, impostor
    similarity = threshold_at(parts, genuine[at]) if gain[at] > 0 else threshold_over(parts)
    accuracy = 0.5 * (1.0 + max(int(gain[at]), 0) / (n_same * n_other))
    return equal_error_rate(Scores(genuine, impostor)), Rate(accuracy, similarity)
