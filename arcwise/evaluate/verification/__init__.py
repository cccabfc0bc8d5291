"""Same person or not: everything a list of scored pairs can tell, with its limits.

It does not know photos or models: it takes similarities, or one vector per photo name. Where a
photo has no vector (unreadable, no face) its pairs are failed reads: counted, named, and by policy
wrong or left out. Source of the measures: see evaluate/curve.py and
evaluate/verification/protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import Counts, Flags, Rising
from arcwise.evaluate.rates import measure_sorted
from arcwise.evaluate.row import FailedPhoto, FailedPolicy, count_share
from arcwise.evaluate.verification.accuracy import Failures, FoldScores, list_folds
from arcwise.evaluate.verification.centered import PairVectors
from arcwise.evaluate.verification.protocol import PROTOCOLS, Outcome, Protocol
from arcwise.evaluate.verification.scored import (
    ScoredPairs,
    hardest_pairs,
    score_pairs,
    worst_people,
)
from arcwise.evaluate.verification.summary import RatesAt, VerificationReport
from arcwise.types import Pair

_COSINE_SLACK = 1e-6  # float32 rounding may carry a cosine this far beyond 1
_N_HARDEST = 8  # pairs of each class that a report shows: our choice


@dataclass(frozen=True, eq=False, slots=True)
class _Listed:
    """Checked pairs: (P,) scores, classes and folds, and the pairs without a score."""

    scores: Rising
    is_same: Flags
    folds: Counts
    failed: tuple[Pair, ...]


def evaluate_scores(
    similarities: ArrayLike,
    is_same: ArrayLike,
    folds: ArrayLike,
    *,
    protocol: str = "exact",
    failed_pairs: Iterable[Pair] = (),
    failed_policy: FailedPolicy = "count_as_wrong",
) -> VerificationReport:
    """Measure scored pairs.

    Args:
        similarities: (P,) cosine of each scored pair, -1..1; float32 stays float32.
        is_same: (P,) bool or 0/1, whether the pair shows one person.
        folds: (P,) integers from 0, the fold of each pair; every fold holds pairs of both
            classes. With one fold there is no accuracy over folds and no VAL@FAR.
        protocol: one of `PROTOCOLS` that needs no vectors; docs/evaluate.md defines them.
        failed_pairs: the pairs of the list that have no score.
        failed_policy: "count_as_wrong": a failed pair is wrong in every accuracy; a failed
            genuine pair is refused at every threshold (TAR, VAL, EER, AUC); a failed impostor
            pair is not in FAR, neither for nor against. "leave_out": as if not in the list.

    Returns:
        The report.

    Raises:
        InputError: an unknown protocol or policy, a protocol that needs vectors, arrays of
            different lengths, a similarity that is not finite or beyond -1..1 by more than 1e-6,
            a label that is not 0 or 1, a fold that is not an integer from 0.
        DatasetError: only one class, a fold with one class only, or no scored pairs of both
            classes to choose a threshold on.
    """
    chosen = _choose_protocol(protocol)
    if chosen.run is None:
        raise InputError(
            f"the protocol {protocol} compares vectors that it changes: scores will not do",
            hint="give the vectors to evaluate_pairs, or use another protocol",
        )
    listed = _check_arrays(similarities, is_same, folds, tuple(failed_pairs))
    return _evaluate(chosen, listed, failed_policy)


def evaluate_pairs(
    pairs: Sequence[Pair],
    embeddings: Mapping[str, NDArray[Any]],
    *,
    protocol: str = "exact",
    failed: Mapping[str, str] | None = None,
    failed_policy: FailedPolicy = "count_as_wrong",
    thresholds: Sequence[Threshold] = (),
) -> VerificationReport:
    """Score every pair by the cosine of its two vectors, and measure.

    Args:
        pairs: as `read_pairs` gives them.
        embeddings: photo name -> (D,) vector of any length but 0; which ones a protocol is meant
            for, `PROTOCOLS[protocol].views` says. The length matters to `magface` alone.
        protocol: one of `PROTOCOLS`.
        failed: photo name -> why it has no vector. A photo of the pairs that is in neither
            mapping is a failed read too, "no embedding was given"; a vector of length 0 has no
            direction and is one as well.
        failed_policy: see `evaluate_scores`.
        thresholds: chosen elsewhere; the report says what each does to all pairs.

    Returns:
        The report; `failed_photos` names the failed photos of these pairs in order of name.

    Raises:
        InputError: a vector that is not (D,), not finite, or of another dimension than the
            others, and as `evaluate_scores`.
        DatasetError: as `evaluate_scores`.
    """
    scored = score_pairs(pairs, embeddings, failed=failed)
    return evaluate_scored(
        scored, protocol=protocol, failed_policy=failed_policy, thresholds=thresholds
    )


def evaluate_scored(
    scored: ScoredPairs,
    *,
    protocol: str = "exact",
    failed_policy: FailedPolicy = "count_as_wrong",
    thresholds: Sequence[Threshold] = (),
) -> VerificationReport:
    """As `evaluate_pairs`, of pairs that `score_pairs` has scored: for several protocols at once.

    Args:
        scored: the pairs.
        protocol: one of `PROTOCOLS`.
        failed_policy: see `evaluate_scores`.
        thresholds: chosen elsewhere.

    Raises:
        InputError, DatasetError: as `evaluate_scores`.
    """
    chosen = _choose_protocol(protocol)
    listed = _Listed(scored.scores, scored.is_same, scored.folds, scored.failed)
    report = _evaluate(chosen, listed, failed_policy, scored)
    counted = scored.failed if failed_policy == "count_as_wrong" else ()
    at = [rates_at(limit, listed.scores, listed.is_same, failed=counted) for limit in thresholds]
    hardest = hardest_pairs(scored.pairs, scored.scores, _N_HARDEST)
    worst_at = report.best.similarity if report.similarity is None else report.similarity
    return replace(
        report,
        failed_photos=tuple(FailedPhoto(*item) for item in scored.reasons.items()),
        at=tuple(at),
        hardest_genuine=hardest.genuine,
        hardest_impostor=hardest.impostor,
        worst_people=worst_people(scored.pairs, scored.scores, worst_at),
        worst_at=worst_at,
    )


def _choose_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(
            f"no protocol of the name {name!r}", hint=f"use one of {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]


def _evaluate(
    protocol: Protocol,
    listed: _Listed,
    failed_policy: FailedPolicy,
    scored: ScoredPairs | None = None,
) -> VerificationReport:
    """The report of a list; `scored` holds its vectors, where they are known."""
    if failed_policy not in get_args(FailedPolicy):
        raise InputError(
            f"no policy for failed reads of the name {failed_policy!r}",
            hint=f"use one of {', '.join(get_args(FailedPolicy))}",
        )
    failed = listed.failed
    counted = failed if failed_policy == "count_as_wrong" else ()
    kept = list_folds(listed.folds, failed)
    _check_classes(listed)
    folded = FoldScores.split(listed.scores, listed.is_same, listed.folds, counted)
    _check_folds(folded, list_folds(listed.folds, counted), failed)
    outcome = Outcome(None)
    if len(kept) > 1 and protocol.run is not None:
        outcome = protocol.run(folded)
    elif len(kept) > 1 and protocol.run_vectors is not None and scored is not None:
        outcome = Outcome(protocol.run_vectors(_gather_vectors(scored, folded.failures, counted)))
    curve = measure_sorted(
        folded.whole,
        n_failed_same=int(folded.failures.same.sum()),
        n_failed_different=int(folded.failures.different.sum()),
    )
    n_same = curve.genuine.n + sum(pair.is_same for pair in failed)
    n_pairs = len(listed.scores) + len(failed)
    return VerificationReport(
        protocol=protocol.name,
        rule=protocol.rule,
        folds=tuple(fold + 1 for fold in kept),
        n_pairs=n_pairs,
        n_same=n_same,
        n_different=n_pairs - n_same,
        failed_policy=failed_policy,
        failed_pairs=failed,
        failed_photos=(),
        accuracy=outcome.accuracy,
        val=outcome.val,
        at=(),
        tars=curve.tars,
        eer=curve.eer,
        auc=curve.auc,
        best=curve.best,
        genuine=curve.genuine,
        impostor=curve.impostor,
        d_prime=curve.d_prime,
    )


def _gather_vectors(
    scored: ScoredPairs, failures: Failures, counted: Sequence[Pair]
) -> PairVectors:
    numbers = np.array(list_folds(scored.folds, counted))
    return PairVectors(
        units=scored.units,
        lengths=scored.lengths,
        first=scored.first,
        second=scored.second,
        cosines=scored.scores,
        is_same=scored.is_same,
        folds=np.searchsorted(numbers, scored.folds),
        failures=failures,
    )


def rates_at(
    threshold: Threshold, scores: Rising, is_same: Flags, *, failed: Sequence[Pair] = ()
) -> RatesAt:
    """What a threshold that was chosen elsewhere does to scored pairs of both classes.

    Args:
        threshold: a pair matches when its similarity is at least this.
        scores: (P,) cosine.
        is_same: (P,) bool.
        failed: pairs without a score that count as wrong: those of one person are refused, those
            of two people are wrong in the accuracy and not in the FMR.

    Raises:
        InputError: the threshold is no cosine.
    """
    if not -1 <= threshold.similarity <= 1:
        raise InputError(
            f"the threshold is {threshold.similarity}", hint="a cosine lies in -1..1, such as 0.4"
        )
    is_match = scores >= np.float64(threshold.similarity)  # not rounded to the scores' float32
    n_same, n_right = int(is_same.sum()), int(np.count_nonzero(is_match == is_same))
    n_failed_same = sum(pair.is_same for pair in failed)
    n_refused = int(np.count_nonzero(is_same & ~is_match)) + n_failed_same
    return RatesAt(
        similarity=threshold.similarity,
        why=threshold.why,
        accuracy=count_share(n_right, len(scores) + len(failed)),
        fmr=count_share(int(np.count_nonzero(is_match & ~is_same)), len(scores) - n_same),
        fnmr=count_share(n_refused, n_same + n_failed_same),
    )


def _check_arrays(
    similarities: ArrayLike, is_same: ArrayLike, folds: ArrayLike, failed: tuple[Pair, ...]
) -> _Listed:
    scores, labels, numbers = np.asarray(similarities), np.asarray(is_same), np.asarray(folds)
    if scores.ndim != 1 or not scores.shape == labels.shape == numbers.shape:
        raise InputError(
            "similarities, is_same and folds must be three lists of one length, got shapes "
            f"{scores.shape}, {labels.shape} and {numbers.shape}"
        )
    if scores.dtype != np.float32:
        scores = scores.astype(np.float64, copy=False)
    limit = 1.0 + _COSINE_SLACK
    if len(scores) and not (-limit <= float(scores.min()) <= float(scores.max()) <= limit):
        at = int(np.argmin(np.abs(scores) <= limit))  # false for NaN as well
        raise InputError(
            f"similarity {at} is {scores[at]}, a cosine lies in -1..1",
            hint="normalize the embeddings, and give similarities: higher is more alike",
        )
    if labels.dtype != np.bool_ and not np.isin(labels, (0, 1)).all():
        raise InputError("is_same must hold only True and False, or 1 and 0")
    if not np.issubdtype(numbers.dtype, np.integer) and len(numbers):
        raise InputError(f"folds must be whole numbers, got {numbers.dtype}")
    if len(numbers) and numbers.min() < 0:
        raise InputError(f"fold {numbers.min()} is below 0", hint="folds are numbered from 0")
    return _Listed(scores, labels.astype(np.bool_, copy=False), numbers, failed)


def _check_classes(listed: _Listed) -> None:
    """Both classes must have scores."""
    n, n_same = len(listed.scores), int(np.count_nonzero(listed.is_same))
    if n_same in (0, n):
        kind = "two people" if n_same == 0 else "one person"
        raise DatasetError(
            f"{n} scored pairs, all of {kind}, and {len(listed.failed)} failed reads",
            hint="verification needs pairs of one person and of two people",
        )


def _check_folds(folded: FoldScores, numbers: Sequence[int], failed: Sequence[Pair]) -> None:
    """The list must hold both classes in every fold, scored or failed."""
    parts = list(zip(numbers, folded.folds, strict=True))
    with_same = {i for i, part in parts if len(part.genuine)}
    with_same |= {pair.fold for pair in failed if pair.is_same}
    without = {i for i, part in parts if len(part.impostor)}
    without |= {pair.fold for pair in failed if not pair.is_same}
    if with_same ^ without:
        fold = min(with_same ^ without)
        kind = "one person" if fold in with_same else "two people"
        raise DatasetError(
            f"fold {fold} holds only pairs of {kind}",
            hint="a list with all same-person pairs first needs the folds that `read_pairs` gives",
        )
