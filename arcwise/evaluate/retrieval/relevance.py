"""At which ranks a search finds the items of the query's class.

It does not know measures: evaluate/retrieval makes them of these ranks. Similarities are
cosines. The matrix of all of them is never held: queries are searched some at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import Doubles
from arcwise.evaluate.vectors.rows import unit_rows
from arcwise.types import Floats

Counts = NDArray[np.int64]

TIE = 1e-6
"""Cosines that differ by no more than this are ties (our choice): float32 cannot tell them apart,
a cosine of 512 numbers carries a rounding of about 1e-7."""
_BLOCK_CELLS = 1 << 24  # similarities held at once: 64 MB


@dataclass(frozen=True, eq=False, slots=True)
class LabeledVectors:
    """Items, each of one class, by their embeddings.

    Attributes:
        names: (N,) of the items.
        labels: (N,) their classes.
        vectors: (N, D) float32 of norm 1.
        missing: classes of the items that are listed and have no vector.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: Floats
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors)
        if vectors.ndim != 2 or not len(vectors) == len(self.names) == len(self.labels):
            raise InputError(
                "names, labels and vectors must be of one number, got "
                f"{len(self.names)}, {len(self.labels)} and an array of shape {vectors.shape}"
            )
        unit = unit_rows(vectors, lambda row: self.names[row])
        object.__setattr__(self, "vectors", unit)

    @classmethod
    def collect(
        cls, labels: Mapping[str, str], vectors: Mapping[str, Floats], *, skip_missing: bool = False
    ) -> LabeledVectors:
        """Join classes and vectors by name.

        Args:
            labels: name -> class of every item that is listed.
            vectors: name -> (D,) of any length; an item that is not in it, or whose vector has
                length 0, is missing.
            skip_missing: leave those out as if they were not listed.

        Raises:
            InputError: a vector of another dimension than the others, or not finite.
            DatasetError: no item has a vector.
        """
        there = [name for name in labels if name in vectors and np.any(vectors[name])]
        if not there:
            raise DatasetError(
                f"none of the {len(labels)} items has an embedding",
                hint="names of a list and of the embeddings must be the same",
            )
        shapes = {np.shape(vectors[name]) for name in there}
        if len(shapes) > 1:
            raise InputError(f"embeddings of several shapes: {sorted(shapes)}")
        found = set(there)
        lost = () if skip_missing else tuple(labels[name] for name in labels if name not in found)
        rows = np.stack([vectors[name] for name in there])
        return cls(tuple(there), tuple(labels[name] for name in there), rows, lost)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """What some queries should find, and where they find it; Q queries, T found items.

    Attributes:
        query: (T,) int64 which query, from 0; rising.
        order: (T,) int64 the how manieth of its class it is, from 1, nearest first.
        rank: (T,) int64 its place among all references, from 1; items of other classes that are
            as similar come before it.
        n_relevant: (Q,) int64 references of the query's class, those without a vector too.
        first_wrong: (Q,) int64 the nearest reference, where it is of another class; else -1.
    """

    query: Counts
    order: Counts
    rank: Counts
    n_relevant: Counts
    first_wrong: Counts

    def sum_by_query(self, values: NDArray[np.generic]) -> Doubles:
        """(Q,) sums of (T,) values."""
        totals = np.bincount(self.query, values.astype(np.float64), len(self.n_relevant))
        return totals.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False, slots=True)
class Classes:
    """Class numbers of queries and references, and who belongs to which.

    Attributes:
        names: of the classes, sorted.
        of_query: (Q,) int64.
        members: for each class its references, rising.
        n_missing: (C,) int64 references without a vector.
        is_shared: the queries are the references; nobody is found by their own query.
    """

    names: tuple[str, ...]
    of_query: Counts
    members: tuple[Counts, ...]
    n_missing: Counts
    is_shared: bool

    @classmethod
    def number(cls, queries: LabeledVectors, references: LabeledVectors | None) -> Classes:
        """Number the classes of both in the order of their names."""
        searched = queries if references is None else references
        every = (*queries.labels, *queries.missing, *searched.labels, *searched.missing)
        names = tuple(sorted(set(every)))
        of_query = number_labels(queries.labels, names)
        codes = number_labels(searched.labels, names)
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(1, len(names)))
        n_missing = np.bincount(number_labels(searched.missing, names), minlength=len(names))
        return cls(
            names=names,
            of_query=of_query,
            members=tuple(np.split(order, starts)),
            n_missing=n_missing,
            is_shared=references is None,
        )

    def n_relevant(self, codes: Counts) -> Counts:
        """(Q,) references each query of these classes should find, itself left out."""
        sizes = np.array([len(one) for one in self.members], np.int64) + self.n_missing
        relevant: Counts = sizes[codes] - self.is_shared
        return relevant


def number_labels(labels: Sequence[str], names: Sequence[str]) -> Counts:
    """(N,) int64 place of each label among the sorted names."""
    places = {name: i for i, name in enumerate(names)}
    return np.array([places[label] for label in labels], np.int64)


def find_relevant(
    queries: LabeledVectors, references: LabeledVectors | None, classes: Classes
) -> Iterator[Found]:
    """Search every query among the references, or among the other queries where there are none.

    Memory stays at one block of similarities and the ranks found in it, whatever the number of
    queries; the time of N queries among M references is that of N * M cosines and sorts.

    Yields:
        What some queries found, in their order.

    Raises:
        InputError: queries and references have different dimensions.
    """
    searched = queries if references is None else references
    if queries.vectors.shape[1] != searched.vectors.shape[1]:
        raise InputError(
            f"cannot search embeddings of {queries.vectors.shape[1]} among those of "
            f"{searched.vectors.shape[1]} dimensions",
            hint="embed both with the same model",
        )
    step = max(1, _BLOCK_CELLS // max(1, len(searched)))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        block = queries.vectors[part] @ searched.vectors.T
        yield _rank_block(block, start, classes)


def _rank_block(block: Floats, start: int, classes: Classes) -> Found:
    codes = classes.of_query[start : start + len(block)]
    first_wrong = np.full(len(block), -1, np.int64)
    sizes = np.zeros(len(block), np.int64)
    ranks: list[Counts] = []
    for i, row in enumerate(block):
        members = classes.members[codes[i]]
        if classes.is_shared:
            row[start + i] = -np.inf  # nobody is found by their own query
        rising = np.sort(row[members])[int(classes.is_shared) :]
        ranks.append(rank_pessimistically(rising, np.sort(row)))
        sizes[i] = len(rising)
        if not len(rising) or ranks[-1][0] > 1:
            row[members] = -np.inf
            nearest = int(np.argmax(row))
            first_wrong[i] = nearest if row[nearest] > -np.inf else -1
    order = np.concatenate([np.arange(1, size + 1) for size in sizes]) if len(sizes) else sizes
    return Found(
        query=np.repeat(np.arange(len(block)), sizes),
        order=order,
        rank=np.concatenate(ranks) if ranks else sizes,
        n_relevant=classes.n_relevant(codes),
        first_wrong=first_wrong,
    )


def rank_pessimistically(relevant: Floats, every: Floats) -> Counts:
    """(R,) ranks from 1 of relevant scores, best first, behind all others of the same score.

    Args:
        relevant: (R,) rising scores of the relevant items.
        every: (M,) rising scores of all items, those among them; others that are less similar by
            no more than `TIE` count as the same.
    """
    least = relevant - np.float32(TIE)
    n_relevant_above = len(relevant) - np.searchsorted(relevant, least, "left")
    n_above = len(every) - np.searchsorted(every, least, "left")
    ranks: Counts = (n_above - n_relevant_above)[::-1] + np.arange(1, len(relevant) + 1)
    return ranks
