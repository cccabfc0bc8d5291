"""Clusters of faces against people, at every threshold: merges, splits, and where they balance.

It does not know photos, and merges come from evaluate/clusters/linkage.py: two clusters are one
when their similarity >= threshold. The measures of one partition: see
evaluate/clusters/partition.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.clusters.partition import ClusterScores, Counts, score_clusters
from arcwise.evaluate.curve import Doubles, threshold_between
from arcwise.evaluate.row import Row

_N_CUTS = 21  # lines of the table: our choice


@dataclass(frozen=True, eq=False, slots=True)
class Merges:
    """In which order clusters become one, beginning with each item alone.

    Attributes:
        n_items: N.
        first, second: (M,) int64 an item of each of the two.
        similarity: (M,) float64 of the two clusters, cosine, falling; later merges never undo
            earlier ones. One that joins what is joined already changes nothing.
    """

    n_items: int
    first: Counts
    second: Counts
    similarity: Doubles

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.similarity):
            raise InputError("first, second and similarity of merges must be of one length")
        if not (np.diff(self.similarity) <= 0).all():  # also refuses NaN
            raise InputError("the similarities of merges must fall")

    def labels_at(self, threshold: float) -> Counts:
        """(N,) int64 cluster of each item when those of this similarity or more are merged."""
        n_merges = int(np.searchsorted(-self.similarity, -threshold, side="right"))
        roots = _Roots(self.n_items)
        for i in range(n_merges):
            roots.join(int(self.first[i]), int(self.second[i]))
        return np.array([roots.find(i) for i in range(self.n_items)], np.int64)


@dataclass(frozen=True, slots=True)
class CutScores:
    """The clusters of one threshold; `why` says where it comes from."""

    similarity: float
    why: str
    scores: ClusterScores


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """What becomes of the clusters from threshold to threshold; L distinct similarities.

    Attributes:
        similarity: (L,) float64 falling; the clusters are those of a threshold just at it. At the
            first everybody is alone.
        pairwise_f, bcubed_f: (L,) float64.
        n_clusters: (L,) int64.
    """

    similarity: Doubles
    pairwise_f: Doubles
    bcubed_f: Doubles
    n_clusters: Counts

    def thin(self, n: int) -> Trace:
        """At most n of the points, evenly by similarity; the first and the last are among them."""
        if len(self.similarity) <= n:
            return self
        wanted = np.linspace(self.similarity[0], self.similarity[-1], n)
        kept = np.unique(np.searchsorted(-self.similarity, -wanted).clip(0, len(self) - 1))
        parts = (self.similarity, self.pairwise_f, self.bcubed_f, self.n_clusters)
        return Trace(*(part[kept] for part in parts))

    def __len__(self) -> int:
        return len(self.similarity)


@dataclass(frozen=True, eq=False, slots=True)
class ClusterReport:
    """How far clusters are people, over thresholds.

    Attributes:
        linkage: how clusters are merged, in words.
        n_missing: photos without an embedding; each is a cluster of its own.
        best: at the threshold of the highest BCubed F, chosen on these photos: optimistic.
        at: at thresholds that were chosen elsewhere.
        table: at thresholds evenly over those at which something merges, rising.
        trace: F at every threshold.
    """

    linkage: str
    n_missing: int
    best: CutScores
    at: tuple[CutScores, ...]
    table: tuple[CutScores, ...]
    trace: Trace

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of the trace only what the table holds."""
        return {
            "linkage": self.linkage,
            "n_missing": self.n_missing,
            "best": asdict(self.best),
            "at": [asdict(one) for one in self.at],
            "table": [asdict(one) for one in self.table],
        }

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        rows = self.head_rows()
        for cut in (*self.at, self.best):
            rows += [Row("threshold", f"{cut.similarity:.4f}", cut.why), *cut.scores.rows()]
        return rows

    def head_rows(self) -> list[Row]:
        """What is the same at every threshold."""
        return [
            Row("linkage", self.linkage, "two clusters are one when similarity >= threshold"),
            Row("failed reads", f"{self.n_missing:,}", "photos without an embedding, each alone"),
        ]


def evaluate_clusters(
    merges: Merges,
    labels: Sequence[str],
    *,
    linkage: str,
    missing: Sequence[str] = (),
    thresholds: Sequence[Threshold] = (),
) -> ClusterReport:
    """Cut merges at every threshold and hold the clusters against people.

    Args:
        merges: of N items, as evaluate/clusters/linkage.py gives them.
        labels: (N,) whom each item shows.
        linkage: how they were merged, for the report.
        missing: whom the items show that have no vector; each is a cluster of its own.
        thresholds: chosen elsewhere; the report says what each does.

    Raises:
        InputError: other numbers of labels and items.
        DatasetError: no two items are of one person, or all are.
    """
    if len(labels) != merges.n_items:
        raise InputError(f"{len(labels)} labels for {merges.n_items} items")
    every = [*labels, *missing]
    n_people = len(set(every))
    if n_people in (1, len(every)):
        raise DatasetError(
            f"{len(every)} photos of {n_people} people: there is nothing to part or to join",
            hint="give several people, some of them with two photos or more",
        )
    trace = trace_merges(merges, every)

    def cut(similarity: float, why: str) -> CutScores:
        places = merges.labels_at(similarity).tolist()
        alone = range(merges.n_items, len(every))
        return CutScores(similarity, why, score_clusters(every, [*places, *alone]))

    # The first of the best is the strictest: a false merge is the dearer mistake.
    at = int(np.argmax(trace.bcubed_f))
    best = float(trace.similarity[at])
    if at + 1 < len(trace):
        best = threshold_between(float(trace.similarity[at + 1]), best)
    places = np.linspace(float(merges.similarity[-1]), float(merges.similarity[0]), _N_CUTS)
    return ClusterReport(
        linkage=linkage,
        n_missing=len(missing),
        best=cut(best, "highest BCubed F of all thresholds, optimistic: chosen on these photos"),
        at=tuple(cut(one.similarity, one.why) for one in thresholds),
        table=tuple(cut(place, "") for place in np.unique(places.round(4)).tolist()),
        trace=trace,
    )


def trace_merges(merges: Merges, labels: Sequence[str]) -> Trace:
    """Follow F through all merges; each costs the smaller of the two clusters.

    Args:
        merges: of the first items.
        labels: whom each item shows; those beyond the items of the merges stay alone.
    """
    running = _Running(labels)
    roots = _Roots(len(labels))
    begin = float(np.nextafter(merges.similarity[0], np.inf))
    points: list[tuple[float, float, float, int]] = [(begin, *running.measure())]
    steps = zip(
        merges.first.tolist(), merges.second.tolist(), merges.similarity.tolist(), strict=True
    )
    for first, second, similarity in steps:
        joined = roots.join(first, second)
        if joined is not None:
            running.merge(*joined)
        if points[-1][0] == similarity:  # all merges of one similarity happen together
            points.pop()
        points.append((similarity, *running.measure()))
    similarity, pairwise, bcubed, n_clusters = zip(*points, strict=True)
    return Trace(
        np.array(similarity), np.array(pairwise), np.array(bcubed), np.array(n_clusters, np.int64)
    )


class _Roots:
    """Which items are joined: one of each cluster stands for it."""

    def __init__(self, n_items: int) -> None:
        self._above = list(range(n_items))
        self._sizes = [1] * n_items

    def find(self, item: int) -> int:
        while self._above[item] != item:
            self._above[item] = self._above[self._above[item]]
            item = self._above[item]
        return item

    def join(self, first: int, second: int) -> tuple[int, int] | None:
        """The larger and the smaller one of the two that were joined; None when they were one."""
        kept, lost = self.find(first), self.find(second)
        if kept == lost:
            return None
        if self._sizes[kept] < self._sizes[lost]:
            kept, lost = lost, kept
        self._above[lost] = kept
        self._sizes[kept] += self._sizes[lost]
        return kept, lost


class _Running:
    """Pairwise and BCubed sums that follow merges."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._sizes: dict[str, int] = {}
        for label in labels:
            self._sizes[label] = self._sizes.get(label, 0) + 1
        self._held = [{label: 1} for label in labels]  # people of each cluster
        self._n_items = len(labels)
        self._n_clusters = len(labels)
        self._of_class = sum(n * (n - 1) // 2 for n in self._sizes.values())
        self._both = self._in_cluster = 0  # pairs
        self._precision = float(len(labels))
        self._recall = sum(1 / self._sizes[label] for label in labels)
        self._totals = [1] * len(labels)
        self._squares = [1] * len(labels)  # sum of squared numbers of each person of a cluster

    def merge(self, kept: int, lost: int) -> None:
        into, out = self._held[kept], self._held[lost]
        if len(into) < len(out):
            into, out = out, into
        shared = 0
        for label, n in out.items():
            there = into.get(label, 0)
            shared += n * there
            self._recall += 2 * n * there / self._sizes[label]
            into[label] = there + n
        self._held[kept], self._held[lost] = into, {}
        self._n_clusters -= 1
        self._both += shared
        self._in_cluster += self._totals[kept] * self._totals[lost]
        for one in (kept, lost):
            self._precision -= self._squares[one] / self._totals[one]
        self._totals[kept] += self._totals[lost]
        self._squares[kept] += self._squares[lost] + 2 * shared
        self._precision += self._squares[kept] / self._totals[kept]

    def measure(self) -> tuple[float, float, int]:
        """Pairwise F, BCubed F, number of clusters."""
        precision, recall = self._precision / self._n_items, self._recall / self._n_items
        pairwise = 2 * self._both / (self._of_class + self._in_cluster)
        return pairwise, 2 * precision * recall / (precision + recall), self._n_clusters
