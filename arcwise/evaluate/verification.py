"""Same person or not: everything a list of scored pairs can tell, with its limits.

It does not know photos or models: it takes similarities, or one vector per photo name. Where a
photo has no vector (unreadable, no face) its pairs are failed reads: counted, named, and by
policy wrong or left out. Source of the measures: see evaluate/curve.py and evaluate/protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import (
    FARS,
    Doubles,
    Flags,
    SortedScores,
    area_under_curve,
    best_accuracy,
    decidability,
    describe_spread,
    equal_error_rate,
    tar_at_far,
    wilson_interval,
)
from arcwise.evaluate.protocol import PROTOCOLS, RULES, Failures, Outcome
from arcwise.evaluate.summary import (
    FailedPhoto,
    FailedPolicy,
    RatesAt,
    Share,
    VerificationReport,
)
from arcwise.types import Pair

__all__ = [
    "FailedPhoto",
    "VerificationReport",
    "evaluate_pairs",
    "evaluate_scores",
    "rates_at",
    "unit_vectors",
]

_COSINE_SLACK = 1e-6  # float32 rounding may carry a cosine this far beyond 1
_CHUNK_PAIRS = 1 << 14


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
        similarities: (P,) cosine of each scored pair, -1..1.
        is_same: (P,) bool or 0/1, whether the pair shows one person.
        folds: (P,) integers from 0, the fold of each pair; every fold holds pairs of both
            classes. With one fold there is no accuracy over folds and no VAL@FAR.
        protocol: "exact" or "insightface"; docs/evaluate.md defines both.
        failed_pairs: the pairs of the list that have no score.
        failed_policy: "count_as_wrong": a failed pair is wrong in every accuracy; a failed
            genuine pair is refused at every threshold (TAR, VAL, EER, AUC); a failed impostor
            pair is not in FAR, neither for nor against. "leave_out": as if not in the list.

    Returns:
        The report.

    Raises:
        InputError: an unknown protocol or policy, arrays of different lengths, a similarity that
            is not finite or beyond -1..1 by more than 1e-6, a label that is not 0 or 1, a fold
            that is not an integer.
        DatasetError: only one class, a fold with one class only, or no scored pairs of both
            classes to choose a threshold on.
    """
    if protocol not in PROTOCOLS:
        raise InputError(
            f"no protocol of the name {protocol!r}", hint=f"use one of {', '.join(PROTOCOLS)}"
        )
    if failed_policy not in get_args(FailedPolicy):
        raise InputError(
            f"no policy for failed reads of the name {failed_policy!r}",
            hint=f"use one of {', '.join(get_args(FailedPolicy))}",
        )
    scores, same, numbers = _check_arrays(similarities, is_same, folds)
    failed = tuple(failed_pairs)
    _check_folds(same, numbers, failed)
    counted = failed if failed_policy == "count_as_wrong" else ()
    ordered, failures = _sort_by_fold(scores, same, numbers, counted)
    kept = sorted({*np.unique(numbers).tolist(), *(pair.fold for pair in failed)})
    outcome = PROTOCOLS[protocol](ordered, failures) if len(kept) > 1 else Outcome(None, None)
    n_failed, n_failed_same = len(counted), int(failures.same.sum())
    genuine, impostor = describe_spread(ordered.genuine), describe_spread(ordered.impostor)
    n_same = genuine.n + sum(pair.is_same for pair in failed)
    n_pairs = len(scores) + len(failed)
    return VerificationReport(
        protocol=protocol,
        rule=RULES[protocol],
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
        tars=tuple(tar_at_far(far, ordered, n_failed=n_failed_same) for far in FARS),
        eer=equal_error_rate(ordered, n_failed=n_failed_same),
        auc=area_under_curve(ordered, n_failed=n_failed_same),
        best=best_accuracy(ordered, n_failed=n_failed),
        genuine=genuine,
        impostor=impostor,
        d_prime=decidability(genuine, impostor),
    )


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
        embeddings: photo name -> (D,) vector of any length but 0.
        protocol: "exact" or "insightface".
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
    reasons = failed or {}
    names = sorted({name for pair in pairs for name in (pair.a, pair.b)})
    vectors, lost = unit_vectors(names, embeddings, reasons)
    place = {name: i for i, name in enumerate(name for name in names if name not in lost)}
    scored = [pair for pair in pairs if pair.a in place and pair.b in place]
    failed_pairs = [pair for pair in pairs if not (pair.a in place and pair.b in place)]
    first, second = [place[pair.a] for pair in scored], [place[pair.b] for pair in scored]
    scores = _cosines(vectors, first, second)
    is_same = np.array([pair.is_same for pair in scored], dtype=np.bool_)
    report = evaluate_scores(
        scores,
        is_same,
        np.array([pair.fold for pair in scored], dtype=np.int64),
        protocol=protocol,
        failed_pairs=failed_pairs,
        failed_policy=failed_policy,
    )
    counted = failed_pairs if failed_policy == "count_as_wrong" else []
    return replace(
        report,
        failed_photos=tuple(FailedPhoto(*item) for item in lost.items()),
        at=tuple(rates_at(threshold, scores, is_same, failed=counted) for threshold in thresholds),
    )


def rates_at(
    threshold: Threshold, scores: Doubles, is_same: Flags, *, failed: Sequence[Pair] = ()
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
    is_match = scores >= threshold.similarity
    n_same, n_right = int(is_same.sum()), int(np.count_nonzero(is_match == is_same))
    n_failed_same = sum(pair.is_same for pair in failed)
    n_refused = int(np.count_nonzero(is_same & ~is_match)) + n_failed_same
    return RatesAt(
        similarity=threshold.similarity,
        why=threshold.why,
        accuracy=_share_of(n_right, len(scores) + len(failed)),
        fmr=_share_of(int(np.count_nonzero(is_match & ~is_same)), len(scores) - n_same),
        fnmr=_share_of(n_refused, n_same + n_failed_same),
    )


def _share_of(n_hits: int, n: int) -> Share:
    return Share(n_hits, n, n_hits / n, *wilson_interval(n_hits, n))


def unit_vectors(
    names: Sequence[str], embeddings: Mapping[str, NDArray[Any]], reasons: Mapping[str, str]
) -> tuple[Doubles, dict[str, str]]:
    """(N, D) float64 vectors of norm 1 in the order of `names`, and why some photos have none.

    Args:
        names: of the photos.
        embeddings: photo name -> (D,) vector.
        reasons: photo name -> why it has none, where that is known.

    Raises:
        InputError: a vector that is not (D,), not finite, or of another dimension than the others.
    """
    vectors: list[Doubles] = []
    lost: dict[str, str] = {}
    for name in names:
        if name not in embeddings:
            lost[name] = reasons.get(name, "no embedding was given")
            continue
        vector = np.asarray(embeddings[name], dtype=np.float64)
        if vector.ndim != 1 or (vectors and vector.shape != vectors[0].shape):
            wanted = f"({len(vectors[0])},)" if vectors else "(D,)"
            raise InputError(f"the embedding of {name} must be {wanted}, got {vector.shape}")
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm):
            raise InputError(f"the embedding of {name} holds values that are not finite")
        if norm == 0:
            lost[name] = "its embedding has length 0"
            continue
        vectors.append(vector / norm)
    return np.array(vectors), lost


def _cosines(vectors: Doubles, a: list[int], b: list[int]) -> Doubles:
    """Cosine of unit vectors a[i] and b[i], some pairs at a time to bound the memory."""
    cosines = np.empty(len(a))
    for start in range(0, len(a), _CHUNK_PAIRS):
        part = slice(start, start + _CHUNK_PAIRS)
        cosines[part] = np.einsum("pd,pd->p", vectors[a[part]], vectors[b[part]])
    return np.clip(cosines, -1.0, 1.0)


def _sort_by_fold(
    scores: Doubles, is_same: Flags, folds: NDArray[np.int64], failed: Sequence[Pair]
) -> tuple[SortedScores, Failures]:
    """Number the folds from 0 without gaps and sort by score."""
    failed_folds = np.array([pair.fold for pair in failed], dtype=np.int64)
    failed_same = np.array([pair.is_same for pair in failed], dtype=np.bool_)
    kept, numbers = np.unique(np.concatenate((folds, failed_folds)), return_inverse=True)
    of_scored, of_failed = numbers[: len(scores)], numbers[len(scores) :]
    failures = Failures(
        same=np.bincount(of_failed[failed_same], minlength=len(kept)),
        different=np.bincount(of_failed[~failed_same], minlength=len(kept)),
    )
    return SortedScores.sort(scores, is_same, of_scored), failures


def _check_arrays(
    similarities: ArrayLike, is_same: ArrayLike, folds: ArrayLike
) -> tuple[Doubles, Flags, NDArray[np.int64]]:
    scores, labels, numbers = np.asarray(similarities), np.asarray(is_same), np.asarray(folds)
    if scores.ndim != 1 or not scores.shape == labels.shape == numbers.shape:
        raise InputError(
            "similarities, is_same and folds must be three lists of one length, got shapes "
            f"{scores.shape}, {labels.shape} and {numbers.shape}"
        )
    scores = scores.astype(np.float64)
    limit = 1.0 + _COSINE_SLACK
    wrong = ~(np.abs(scores) <= limit)  # true for NaN as well
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"similarity {at} is {scores[at]}, a cosine lies in -1..1",
            hint="normalize the embeddings, and give similarities: higher is more alike",
        )
    if not np.isin(labels, (0, 1)).all():
        raise InputError("is_same must hold only True and False, or 1 and 0")
    if not np.issubdtype(numbers.dtype, np.integer) and len(numbers):
        raise InputError(f"folds must be whole numbers, got {numbers.dtype}")
    return scores, labels.astype(np.bool_), numbers.astype(np.int64)


def _check_folds(is_same: Flags, folds: NDArray[np.int64], failed: Sequence[Pair]) -> None:
    """Both classes must have scores, and the list must hold both in every fold."""
    n_same = int(is_same.sum())
    if n_same in (0, len(is_same)):
        kind = "two people" if n_same == 0 else "one person"
        raise DatasetError(
            f"{len(is_same)} scored pairs, all of {kind}, and {len(failed)} failed reads",
            hint="verification needs pairs of one person and of two people",
        )
    with_same = {*np.unique(folds[is_same]).tolist(), *(p.fold for p in failed if p.is_same)}
    without = {*np.unique(folds[~is_same]).tolist(), *(p.fold for p in failed if not p.is_same)}
    if with_same ^ without:
        fold = min(with_same ^ without)
        kind = "one person" if fold in with_same else "two people"
        raise DatasetError(
            f"fold {fold} holds only pairs of {kind}",
            hint="a list with all same-person pairs first needs the folds that `read_pairs` gives",
        )
