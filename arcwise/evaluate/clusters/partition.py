"""How far one partition is another: clusters held against people, by pairs, photos, information.

It does not cluster (evaluate/clusters/linkage.py does) and does not know vectors. Sources: pairwise
precision and recall over all pairs of items; BCubed (Bagga and Baldwin, 1998; Amigo et al., 2009);
ARI (Hubert and Arabie, 1985); NMI with the arithmetic mean, and AMI (Vinh, Epps and Bailey, 2010),
as scikit-learn has them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.row import Row

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision, recall, and F, their harmonic mean; None where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f: float | None

    def __str__(self) -> str:
        parts = zip("FPR", (self.f, self.precision, self.recall), strict=True)
        return ", ".join(f"{name} {'n/a' if x is None else f'{x:.4f}'}" for name, x in parts)


@dataclass(frozen=True, slots=True)
class ClusterScores:
    """How far some clusters are classes.

    Attributes:
        n_items, n_classes, n_clusters: what there is.
        pairwise: over pairs of items: of those in one cluster, the share of one class
            (precision); of those of one class, the share in one cluster (recall).
        bcubed: for each item, the share of its cluster that is of its class (precision) and the
            share of its class that is in its cluster (recall), itself included; means over items.
        nmi: mutual information over the mean of the two entropies.
        ami: the same, with what chance gives taken from both.
        ari: Rand index with what chance gives taken away.
        n_merged_clusters: clusters with items of two classes or more.
        n_merged_classes: classes that share a cluster with another one.
        n_split_classes: classes that lie in two clusters or more.
        n_whole_classes: classes that are exactly one cluster.
    """

    n_items: int
    n_classes: int
    n_clusters: int
    pairwise: Agreement
    bcubed: Agreement
    nmi: float
    ami: float
    ari: float
    n_merged_clusters: int
    n_merged_classes: int
    n_split_classes: int
    n_whole_classes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        merges = f"{self.n_merged_clusters:,} clusters, {self.n_merged_classes:,} people"
        return [
            Row("photos", f"{self.n_items:,}", "each in one cluster"),
            Row("people", f"{self.n_classes:,}", "as their folders say"),
            Row("clusters", f"{self.n_clusters:,}", "found"),
            Row("pairwise", str(self.pairwise), _PAIRWISE),
            Row("BCubed", str(self.bcubed), _BCUBED),
            Row("NMI", f"{self.nmi:.4f}", "mutual information / mean of the two entropies"),
            Row("AMI", f"{self.ami:.4f}", "the same less what chance gives: 0 for random clusters"),
            Row(
                "ARI", f"{self.ari:.4f}", "Rand index less what chance gives: 0 for random clusters"
            ),
            Row("merged", merges, "clusters with two people or more, and the people in them"),
            Row("split", f"{self.n_split_classes:,} people", "who lie in two clusters or more"),
            Row("whole", f"{self.n_whole_classes:,} people", "who are exactly one cluster"),
        ]


def score_clusters(classes: Sequence[Hashable], clusters: Sequence[Hashable]) -> ClusterScores:
    """Hold clusters against classes.

    Args:
        classes: (N,) the true class of each item.
        clusters: (N,) its cluster; what they are called makes no difference.

    Raises:
        InputError: lists of different lengths.
        DatasetError: no items.
    """
    if len(classes) != len(clusters):
        raise InputError(f"{len(classes)} classes for {len(clusters)} clusters: one each per item")
    if not len(classes):
        raise DatasetError("there are no items in any cluster", hint="give at least one")
    cells = _Cells.count(_number(classes), _number(clusters))
    mutual, entropies = _mutual_information(cells), (_entropy(cells.rows), _entropy(cells.columns))
    is_mixed = np.bincount(cells.column) > 1  # by cluster
    n_places = np.bincount(cells.row)  # by class
    shares = np.bincount(cells.row, is_mixed[cells.column]) > 0
    return ClusterScores(
        n_items=len(classes),
        n_classes=len(cells.rows),
        n_clusters=len(cells.columns),
        pairwise=_agree_pairwise(cells),
        bcubed=_agree_bcubed(cells),
        nmi=_normalized(mutual, 0.0, entropies, cells),
        ami=_normalized(mutual, _expected_information(cells), entropies, cells),
        ari=_adjusted_rand(cells),
        n_merged_clusters=int(is_mixed.sum()),
        n_merged_classes=int(shares.sum()),
        n_split_classes=int((n_places > 1).sum()),
        n_whole_classes=int(((n_places == 1) & ~shares).sum()),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Cells:
    """How many items each class has in each cluster, where it has any; L such cells.

    Attributes:
        row, column: (L,) int64 class and cluster of a cell.
        n: (L,) int64 its items.
        rows, columns: items of each class, of each cluster.
    """

    row: Counts
    column: Counts
    n: Counts
    rows: Counts
    columns: Counts

    @classmethod
    def count(cls, classes: Counts, clusters: Counts) -> _Cells:
        n_clusters = int(clusters.max()) + 1
        cells, n = np.unique(classes * n_clusters + clusters, return_counts=True)
        row, column = np.divmod(cells, n_clusters)
        return cls(row, column, n, np.bincount(classes), np.bincount(clusters))


def _number(labels: Sequence[Hashable]) -> Counts:
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in labels], np.int64)


def _pairs(sizes: Counts) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _agree_pairwise(cells: _Cells) -> Agreement:
    both, of_class, in_cluster = _pairs(cells.n), _pairs(cells.rows), _pairs(cells.columns)
    return Agreement(
        precision=both / in_cluster if in_cluster else None,
        recall=both / of_class if of_class else None,
        f=2 * both / (of_class + in_cluster) if of_class + in_cluster else None,
    )


def _agree_bcubed(cells: _Cells) -> Agreement:
    n = float(cells.n.sum())
    precision = float((cells.n**2 / cells.columns[cells.column]).sum()) / n
    recall = float((cells.n**2 / cells.rows[cells.row]).sum()) / n
    return Agreement(precision, recall, 2 * precision * recall / (precision + recall))


def _adjusted_rand(cells: _Cells) -> float:
    both, of_class, in_cluster = _pairs(cells.n), _pairs(cells.rows), _pairs(cells.columns)
    every = math.comb(int(cells.n.sum()), 2)
    if both == of_class == in_cluster:  # the same partition
        return 1.0
    # (both - expected) / (mean of the sums - expected), times 2 * every: whole numbers stay exact
    product = 2 * of_class * in_cluster
    return (2 * both * every - product) / ((of_class + in_cluster) * every - product)


def _entropy(sizes: Counts) -> float:
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


def _mutual_information(cells: _Cells) -> float:
    n = float(cells.n.sum())
    expected = cells.rows[cells.row] * (cells.columns[cells.column] / n)
    return max(0.0, float((cells.n / n * np.log(cells.n / expected)).sum()))


def _normalized(
    mutual: float, expected: float, entropies: tuple[float, float], cells: _Cells
) -> float:
    """(mutual - expected) / (mean entropy - expected); 1 where neither side parts anything."""
    if len(cells.rows) == len(cells.columns) == 1 or _is_same(cells):
        return 1.0
    room = sum(entropies) / 2 - expected
    return (mutual - expected) / room if abs(room) > np.finfo(np.float64).eps else 0.0


def _is_same(cells: _Cells) -> bool:
    return len(cells.n) == len(cells.rows) == len(cells.columns)


def _expected_information(cells: _Cells) -> float:
    """Mean mutual information of partitions of these sizes that know nothing of each other.

    Sizes that occur often are counted once and weighted: the hypergeometric sum of equation 24a
    of Vinh, Epps and Bailey (2010) is the same for them.
    """
    n = int(cells.n.sum())
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])  # log of k!
    columns = Counter(cells.columns.tolist())
    total = 0.0
    for a, n_rows in Counter(cells.rows.tolist()).items():
        for b, n_columns in columns.items():
            both = np.arange(max(1, a + b - n), min(a, b) + 1)
            log_chance = (
                (logs[a] + logs[b] + logs[n - a] + logs[n - b])
                - (logs[n] + logs[both] + logs[a - both] + logs[b - both])
                - logs[n - a - b + both]
            )
            information = both / n * np.log(n * both / (a * b))
            total += n_rows * n_columns * float((information * np.exp(log_chance)).sum())
    return total


_PAIRWISE = (
    "precision P: share of the pairs in one cluster that are of one person; recall R: share of the "
    "pairs of one person that are in one cluster; F: their harmonic mean. Large classes weigh most"
)
_BCUBED = (
    "for each photo, the share of its cluster that is of its person (P) and the share of its "
    "person that is in its cluster (R), itself included; means over photos; F: their harmonic mean"
)
