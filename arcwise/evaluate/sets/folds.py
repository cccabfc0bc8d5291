"""Which pairs are scored together: contiguous parts of a list that all hold both classes.

It does not know where pairs come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.types import Pair


def assign_folds(pairs: Sequence[Pair], n_folds: int, *, name: str) -> list[Pair]:
    """Cut a list into contiguous folds, as the tutorials and InsightFace do.

    The first folds are one pair larger where the cut is not even. Where a fold would hold one
    class only, as in a list with all same-person pairs first, each class is cut on its own
    instead: its k-th block goes to fold k.

    Args:
        pairs: in the order of the list; their folds are replaced.
        n_folds: at least 2.
        name: of the list, for errors.

    Returns:
        The pairs in their order, with folds from 0.

    Raises:
        DatasetError: too few pairs of a class to fill the folds.
        InputError: `n_folds` is less than 2.
    """
    if n_folds < 2:
        raise InputError(f"n_folds must be at least 2, got {n_folds}")
    check_classes(pairs, n_folds, name=name)
    ordered = iter(pairs)
    sizes = _block_sizes(len(pairs), n_folds)
    if all(len({pair.is_same for pair in islice(ordered, size)}) == 2 for size in sizes):
        return _number_blocks(pairs, sizes)
    queues = {}
    for kind in (True, False):
        members = [pair for pair in pairs if pair.is_same == kind]
        queues[kind] = iter(_number_blocks(members, _block_sizes(len(members), n_folds)))
    return [next(queues[pair.is_same]) for pair in pairs]


def check_classes(pairs: Sequence[Pair], least: int, *, name: str) -> None:
    """Refuse a list without enough pairs of one person, or of two.

    Args:
        pairs: of any folds.
        least: number of pairs needed of each kind.
        name: of the list, for the error.

    Raises:
        DatasetError: fewer.
    """
    n_same = sum(pair.is_same for pair in pairs)
    for kind, n in (("of one person", n_same), ("of two people", len(pairs) - n_same)):
        if n < least:
            raise DatasetError(
                f"{name} holds {n} pairs {kind} among {len(pairs)}, needs at least {least}",
                hint="verification needs both kinds of pairs in every fold"
                + ("; or ask for fewer folds" if n > 1 else ""),
            )


def _block_sizes(n: int, n_folds: int) -> list[int]:
    return [len(block) for block in np.array_split(np.arange(n), n_folds)]


def _number_blocks(pairs: Sequence[Pair], sizes: list[int]) -> list[Pair]:
    folds = np.repeat(np.arange(len(sizes)), sizes)
    return [replace(pair, fold=int(fold)) for pair, fold in zip(pairs, folds, strict=True)]
