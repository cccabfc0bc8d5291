"""Exact search: every vector is compared, by one matrix product for many queries.

It knows numbered vectors and nothing of people or files. It is not safe to change it in one
thread while another searches: its owner holds a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.types import Floats

Ids = NDArray[np.int64]

_BLOCK_BYTES = 64 << 20
_FIRST_CAPACITY = 64


@dataclass(frozen=True, eq=False, slots=True)
class Hits:
    """What a search found, nearest first.

    Attributes:
        ids: (M, K) int64; -1 where there are fewer than K vectors.
        similarities: (M, K) float32 cosine; NaN where the id is -1, so that no threshold is met.
    """

    ids: Ids
    similarities: Floats


class ExactIndex:
    """Numbered vectors in one contiguous block of memory.

    Args:
        dimension: D, length of every vector.
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise InputError(f"the dimension of an index must be at least 1, got {dimension}")
        self._dimension = dimension
        self._vectors: Floats = np.empty((_FIRST_CAPACITY, dimension), np.float32)
        self._ids: Ids = np.empty(_FIRST_CAPACITY, np.int64)
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, ids: Sequence[int] | Ids, vectors: Floats) -> None:
        """Remember vectors; all of them, or none when one is refused.

        Args:
            ids: N numbers from 0, none of them in the index.
            vectors: (N, D) float32 of norm 1.

        Raises:
            InputError: a shape is wrong, a value is not finite, an id is negative or taken.
        """
        block = self._checked(vectors)
        numbers = [int(number) for number in ids]
        if len(numbers) != len(block):
            raise InputError(f"{len(numbers)} ids for {len(block)} vectors")
        if len(set(numbers)) != len(numbers) or min(numbers, default=0) < 0:
            raise InputError("the ids of an index must be from 0 and differ from each other")
        taken = self._rows.keys() & set(numbers)
        if taken:
            raise InputError(f"id {min(taken)} is in the index already")
        start = len(self)
        self._reserve(start + len(numbers))
        self._vectors[start : start + len(numbers)] = block
        self._ids[start : start + len(numbers)] = numbers
        self._rows.update(zip(numbers, range(start, start + len(numbers)), strict=True))

    def remove(self, ids: Iterable[int] | Ids) -> int:
        """Forget vectors; an id that is not there is passed over.

        Args:
            ids: the numbers they were added under.

        Returns:
            How many were removed.
        """
        before = len(self)
        for number in ids:
            row = self._rows.pop(int(number), None)
            if row is None:
                continue
            last = len(self)  # the last row moves into the gap
            if row != last:
                self._vectors[row] = self._vectors[last]
                self._ids[row] = self._ids[last]
                self._rows[int(self._ids[row])] = row
            self._vectors[last] = 0  # what was forgotten does not linger in memory
        return before - len(self)

    def search(self, vectors: Floats, k: int) -> Hits:
        """The k nearest vectors of each query.

        Memory: one matrix of similarities at a time, at most 64 MiB or one row of len(self).

        Args:
            vectors: (M, D) float32 of norm 1.
            k: how many to return for each, at least 1.

        Returns:
            (M, k) ids and similarities by falling similarity; equal ones by rising id.

        Raises:
            InputError: a shape is wrong, a value is not finite, or k is below 1.
        """
        queries = self._checked(vectors)
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        ids = np.full((len(queries), k), -1, np.int64)
        similarities = np.full((len(queries), k), np.nan, np.float32)
        n_rows = len(self)
        n_found = min(k, n_rows)
        if n_found:
            known = self._vectors[:n_rows]
            step = max(1, _BLOCK_BYTES // (4 * n_rows))
            for start in range(0, len(queries), step):
                block = queries[start : start + step] @ known.T
                for offset, row in enumerate(block):
                    best = self._nearest(row, n_found)
                    ids[start + offset, :n_found] = self._ids[best]
                    similarities[start + offset, :n_found] = row[best]
        return Hits(ids, np.clip(similarities, -1.0, 1.0))

    def _nearest(self, row: Floats, k: int) -> NDArray[np.intp]:
        """Rows of the k largest values. All that tie with the k-th compete by id."""
        least = np.partition(row, len(row) - k)[len(row) - k]
        candidates = np.flatnonzero(row >= least)
        return candidates[np.lexsort((self._ids[candidates], -row[candidates]))[:k]]

    def _checked(self, vectors: Floats) -> Floats:
        block = np.ascontiguousarray(vectors, dtype=np.float32)
        if block.ndim != 2 or block.shape[1] != self._dimension:
            raise InputError(f"vectors must have shape (N, {self._dimension}), got {block.shape}")
        if not np.isfinite(block).all():
            raise InputError("a vector holds values that are not finite")
        return block

    def _reserve(self, n_rows: int) -> None:
        capacity = len(self._ids)
        if n_rows <= capacity:
            return
        capacity = max(n_rows, 2 * capacity)
        vectors, ids = (
            np.empty((capacity, self._dimension), np.float32),
            np.empty(capacity, np.int64),
        )
        vectors[: len(self)] = self._vectors[: len(self)]
        ids[: len(self)] = self._ids[: len(self)]
        self._vectors, self._ids = vectors, ids
