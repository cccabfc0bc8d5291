"""How well a search finds the items of a class: Recall@k, precision, mean average precision, MRR.

It does not know photos or models: it takes vectors and classes. The same word means different
numbers in different code, so each number carries its definition (evaluate/retrieval/measures.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import Doubles
from arcwise.evaluate.retrieval.measures import Kind, list_kinds
from arcwise.evaluate.retrieval.relevance import (
    Classes,
    Counts,
    Found,
    LabeledVectors,
    find_relevant,
    number_labels,
)
from arcwise.evaluate.row import Row

RANKS = (1, 5, 10)
"""The k of every measure at k: those of the published In-Shop numbers, and 5."""
LEAST_CLASSES = 10
"""With fewer, drawing classes anew says nothing about others: our choice."""
_N_REPLICATES = 1000
_N_MISSES = 10
_EQUAL = 1e-12  # means that differ by less differ by rounding


@dataclass(frozen=True, slots=True)
class Measure:
    """One number over all queries.

    Attributes:
        value: mean over queries, 0..1; None where there are fewer references than k.
        low, high: 95 % interval of it, classes drawn anew; None with fewer than 10 classes, or
            where all draws are equal, as with nothing but hits: then they show no spread.
        class_mean: mean over classes of the mean over a class's queries.
        text: the result in words.
        definition: of the value of one query.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    class_mean: float | None
    text: str
    definition: str


@dataclass(frozen=True, slots=True)
class ClassRetrieval:
    """One class: its queries, and the mean of its first found, of its average precision."""

    name: str
    n_queries: int
    recall_at_1: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Miss:
    """A query whose nearest reference is of another class.

    Attributes:
        query: its name.
        nearest: name of that reference.
        rank: at which the first of its own class comes; None where none has an embedding.
    """

    query: str
    nearest: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What some queries find among some references, by cosine.

    Attributes:
        n_queries: that were measured: those with a reference of their class.
        n_lone: queries without one, left out.
        n_references: with an embedding.
        n_classes: of the measured queries.
        is_shared: each query was searched among all other queries.
        n_missing_queries, n_missing_references: listed without an embedding; the first find
            nothing, the second are never found.
        measures: key -> number.
        classes: worst first, by average precision.
        misses: up to 10 queries with a wrong nearest reference, those whose first right one comes
            last before the others.
    """

    n_queries: int
    n_lone: int
    n_references: int
    n_classes: int
    is_shared: bool
    n_missing_queries: int
    n_missing_references: int
    measures: dict[str, Measure]
    classes: tuple[ClassRetrieval, ...]
    misses: tuple[Miss, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        return plain | {name: list(plain[name]) for name in ("classes", "misses")}

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        among = "all other queries" if self.is_shared else "the references"
        missing = f"{self.n_missing_queries:,} queries, {self.n_missing_references:,} references"
        counts = [
            Row("queries", f"{self.n_queries:,}", f"each searched among {among} by cosine"),
            Row("lone queries", f"{self.n_lone:,}", "no reference of their class: left out"),
            Row("references", f"{self.n_references:,}", "with an embedding"),
            Row("classes", f"{self.n_classes:,}", "of the queries"),
            Row(
                "failed reads", missing, "without an embedding: they find nothing, or are not found"
            ),
        ]
        return counts + [Row(one.name, one.text, one.definition) for one in self.measures.values()]


def evaluate_retrieval(
    queries: LabeledVectors,
    references: LabeledVectors | None = None,
    *,
    ranks: Sequence[int] = RANKS,
    seed: int = 0,
) -> RetrievalReport:
    """Search every query, and measure at which ranks the references of its class come.

    Ties are counted against the model: a reference of another class that is as similar (to about
    1e-6) comes first, so that a model for which everything is alike finds nothing.

    Args:
        queries: what is searched for. Those that miss a vector find nothing.
        references: what is searched among; None: each query among all other queries. Those that
            miss a vector count among the relevant and are never found.
        ranks: the k of every measure at k; 1 is always among them.
        seed: of the intervals, which rest on 1,000 draws of classes.

    Returns:
        The report.

    Raises:
        InputError: a k below 1, or vectors of different dimensions.
        DatasetError: no query has a reference of its class.
    """
    if not ranks or min(ranks) < 1:
        raise InputError(f"ranks are {list(ranks)}", hint="give numbers from 1, such as 1 5 10")
    searched = queries if references is None else references
    classes = Classes.number(queries, references)
    kinds = list_kinds({1, *ranks})
    values, codes, n_lone, misses = _measure_all(queries, references, classes, kinds)
    if not len(codes):
        raise DatasetError(
            f"none of the {n_lone} queries has a reference of its class",
            hint="a class needs two items, or one among the queries and one among the references",
        )
    table = _ByClass.sum_up(values, codes)
    bounds = table.draw_bounds(seed)
    n_searched = len(searched) - int(references is None)
    measures = {
        kind.key: _sum_up(kind, table, bounds, i, n_searched) for i, kind in enumerate(kinds)
    }
    places = {kind.key: i for i, kind in enumerate(kinds)}
    return RetrievalReport(
        n_queries=len(codes),
        n_lone=n_lone,
        n_references=len(searched),
        n_classes=len(table.codes),
        is_shared=references is None,
        n_missing_queries=len(queries.missing),
        n_missing_references=len(searched.missing),
        measures=measures,
        classes=_list_classes(classes.names, table, places["recall_at_1"], places["map"]),
        misses=_list_misses(queries, searched, misses),
    )


def _measure_all(
    queries: LabeledVectors,
    references: LabeledVectors | None,
    classes: Classes,
    kinds: Sequence[Kind],
) -> tuple[Doubles, Counts, int, list[tuple[int, int, float]]]:
    """(Q, M) values and (Q,) classes of the queries that are not lone, how many are, and misses."""
    parts: list[Doubles] = []
    misses: list[tuple[int, int, float]] = []
    start = 0
    for found in find_relevant(queries, references, classes):
        kept = found.n_relevant > 0
        with np.errstate(invalid="ignore", divide="ignore"):  # lone queries are dropped below
            parts.append(np.stack([kind.measure(found) for kind in kinds], axis=1)[kept])
        misses = _keep_misses(found, kept, start, misses)
        start += len(kept)
    relevant = classes.n_relevant(classes.of_query)
    missing = number_labels(queries.missing, classes.names)
    lost = missing[classes.n_relevant(missing) > 0]
    values = np.concatenate([*parts, np.zeros((len(lost), len(kinds)))])
    codes = np.concatenate([classes.of_query[relevant > 0], lost])
    return values, codes, len(queries) + len(missing) - len(codes), misses


def _keep_misses(
    found: Found, kept: np.ndarray[Any, Any], start: int, misses: list[tuple[int, int, float]]
) -> list[tuple[int, int, float]]:
    """The worst misses so far: query, its nearest reference, rank of the first right one."""
    firsts = np.full(len(kept), np.inf)
    is_first = found.order == 1
    firsts[found.query[is_first]] = found.rank[is_first]
    wrong = np.flatnonzero(kept & (found.first_wrong >= 0))
    more = [(start + int(i), int(found.first_wrong[i]), float(firsts[i])) for i in wrong]
    return sorted([*misses, *more], key=lambda miss: (-miss[2], miss[0]))[:_N_MISSES]


@dataclass(frozen=True, eq=False, slots=True)
class _ByClass:
    """What the queries of each class sum up to.

    Attributes:
        codes: (C,) numbers of the classes.
        sums: (C, M) float64.
        counts: (C,) queries.
    """

    codes: Counts
    sums: Doubles
    counts: Counts

    @classmethod
    def sum_up(cls, values: Doubles, codes: Counts) -> _ByClass:
        present, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        sums = [np.bincount(places, column, minlength=len(present)) for column in values.T]
        return cls(present, np.stack(sums, axis=1), counts)

    @property
    def means(self) -> Doubles:
        """(C, M) means of each class."""
        return self.sums / self.counts[:, None]

    def draw_bounds(self, seed: int) -> Doubles | None:
        """(2, M) 2.5 % and 97.5 % points of the means over queries, classes drawn anew.

        NaN where all draws are equal; None with fewer than 10 classes.
        """
        n_classes = len(self.codes)
        if n_classes < LEAST_CLASSES:
            return None
        rng = np.random.default_rng(seed)
        drawn = np.empty((_N_REPLICATES, self.sums.shape[1]))
        for i in range(_N_REPLICATES):
            times = np.bincount(rng.integers(0, n_classes, n_classes), minlength=n_classes)
            drawn[i] = times @ self.sums / (times @ self.counts)
        bounds: Doubles = np.percentile(drawn, [2.5, 97.5], axis=0)
        bounds[:, np.ptp(drawn, axis=0) < _EQUAL] = np.nan
        return bounds


def _sum_up(
    kind: Kind, table: _ByClass, bounds: Doubles | None, at: int, n_searched: int
) -> Measure:
    if kind.k > n_searched:
        text = f"n/a: needs {kind.k} references, has {n_searched}"
        return Measure(kind.name, None, None, None, None, text, kind.definition)
    value = float(table.sums[:, at].sum() / table.counts.sum())
    class_mean = float(table.means[:, at].mean())
    low, high, interval = None, None, ""
    if bounds is not None and np.isnan(bounds[0, at]):
        interval = " (no interval: all draws are equal)"
    elif bounds is not None:
        low, high = float(bounds[0, at]), float(bounds[1, at])
        interval = f" [{low:.2%}, {high:.2%}]"
    text = f"{value:.2%}{interval}; mean of the classes {class_mean:.2%}"
    return Measure(kind.name, value, low, high, class_mean, text, kind.definition)


def _list_classes(
    names: Sequence[str], table: _ByClass, recall: int, precision: int
) -> tuple[ClassRetrieval, ...]:
    means = table.means
    order = np.argsort(means[:, precision], kind="stable")
    return tuple(
        ClassRetrieval(
            name=names[int(table.codes[i])],
            n_queries=int(table.counts[i]),
            recall_at_1=float(means[i, recall]),
            average_precision=float(means[i, precision]),
        )
        for i in order
    )


def _list_misses(
    queries: LabeledVectors, searched: LabeledVectors, misses: Sequence[tuple[int, int, float]]
) -> tuple[Miss, ...]:
    return tuple(
        Miss(queries.names[i], searched.names[j], int(rank) if np.isfinite(rank) else None)
        for i, j, rank in misses
    )
