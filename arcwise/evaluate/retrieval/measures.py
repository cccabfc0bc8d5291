"""What a query's ranks are worth: every measure of a search, by its definition.

It does not search and does not average: evaluate/retrieval does. Sources: mmpretrain's
RetrievalRecall and RetrievalAveragePrecision; Musgrave, Belongie and Lim (2020) for mAP@R and
R-precision, as their pytorch-metric-learning has them; Radenovic et al. (2018) for the integrated
average precision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from arcwise.evaluate.curve import Doubles
from arcwise.evaluate.retrieval.relevance import Counts, Found


@dataclass(frozen=True, slots=True)
class Kind:
    """A measure.

    Attributes:
        key: in JSON.
        name: for people.
        k: how many references it needs.
        measure: (Q,) values 0..1 of some queries; anything for those with nothing to find.
        definition: of the value of one query.
    """

    key: str
    name: str
    k: int
    measure: Callable[[Found], Doubles]
    definition: str


def list_kinds(ranks: Collection[int]) -> list[Kind]:
    """Every measure, in the order of a report.

    Args:
        ranks: the k of those at k; mAP@1 is left out, it is Recall@1 or that divided by R.
    """
    rising = sorted(ranks)
    return [
        *(_recall_at(k) for k in rising),
        *(_precision_at(k) for k in rising),
        Kind("r_precision", "R-precision", 1, _r_precision, _R_PRECISION),
        Kind("map_at_r", "mAP@R", 1, _map_at_r, _MAP_AT_R),
        Kind("map", "mAP", 1, average_precision, _MAP),
        Kind("mrr", "MRR", 1, _reciprocal_rank, _MRR),
        *(kind for k in rising if k > 1 for kind in _average_precisions_at(k)),
    ]


def average_precision(
    found: Found,
    k: int | None = None,
    *,
    divisor: Counts | None = None,
    is_integrated: bool = False,
) -> Doubles:
    """(Q,) sums of the precisions at the ranks of the relevant items, divided.

    Args:
        found: ranks.
        k: only the first k count; None: all.
        divisor: (Q,) by what; None: by the number of relevant items.
        is_integrated: instead of the precision at a rank, its mean with the one before.
    """
    precision = found.order / found.rank
    if is_integrated:
        before = np.where(found.rank == 1, 1.0, (found.order - 1) / np.maximum(found.rank - 1, 1))
        precision = (precision + before) / 2
    if k is not None:
        precision = np.where(found.rank <= k, precision, 0.0)
    values: Doubles = found.sum_by_query(precision)
    values /= found.n_relevant if divisor is None else divisor
    return values


def _recall_at(k: int) -> Kind:
    return Kind(
        f"recall_at_{k}",
        f"Recall@{k}",
        k,
        lambda found: (found.sum_by_query(found.rank <= k) > 0).astype(np.float64),
        f"1 if any of the first {k} is of the query's class, else 0 (a hit rate, as in mmpretrain; "
        "not the share of all relevant)",
    )


def _precision_at(k: int) -> Kind:
    return Kind(
        f"precision_at_{k}",
        f"Precision@{k}",
        k,
        lambda found: found.sum_by_query(found.rank <= k) / k,
        f"share of the first {k} that are of the query's class",
    )


def _average_precisions_at(k: int) -> list[Kind]:
    summed = f"precisions at the ranks of the relevant among the first {k}, summed, divided by "
    return [
        Kind(
            f"map_at_{k}_all",
            f"mAP@{k} / R",
            k,
            lambda found: average_precision(found, k),
            summed + "the number R of all relevant (mmpretrain, mode IR)",
        ),
        Kind(
            f"map_at_{k}_least",
            f"mAP@{k} / min({k}, R)",
            k,
            lambda found: average_precision(found, k, divisor=np.minimum(found.n_relevant, k)),
            summed + f"the number that could be among them, min({k}, R)",
        ),
        Kind(
            f"map_at_{k}_integrated",
            f"mAP@{k} integrated",
            k,
            lambda found: average_precision(found, k, is_integrated=True),
            summed + "R; each is the mean of the precisions at that rank and the one before "
            "(mmpretrain, mode integrate)",
        ),
    ]


def _r_precision(found: Found) -> Doubles:
    return found.sum_by_query(found.rank <= found.n_relevant[found.query]) / found.n_relevant


def _map_at_r(found: Found) -> Doubles:
    is_within = found.rank <= found.n_relevant[found.query]
    return found.sum_by_query(is_within * found.order / found.rank) / found.n_relevant


def _reciprocal_rank(found: Found) -> Doubles:
    return found.sum_by_query((found.order == 1) / found.rank)


_R_PRECISION = "share of the first R that are relevant; R is the number of all relevant"
_MAP_AT_R = (
    "precisions at the ranks of the relevant among the first R, summed, divided by R "
    "(pytorch-metric-learning)"
)
_MAP = "precisions at the ranks of all R relevant, summed, divided by R"
_MRR = "1 / rank of the first relevant, among all references"
