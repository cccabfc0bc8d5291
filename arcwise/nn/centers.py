"""Centers shared out over ranks: who owns which, where they start, which take part in a step.

It does not know losses or gradients. All that is random here follows from a seed and from what it
is for, so that a run that goes on draws what it would have drawn, and new centers are the same
on one rank and on many.

Source: the blocks and the draw of InsightFace's Partial FC; An et al. (2022), algorithm 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.collective import Ranks
from arcwise.nn.head import normalize_rows

_INITIAL_STD = 0.01  # of new centers; InsightFace, arcface_torch
_SPREAD = 0.1  # of sub-centers around a given center, as a share of its length
_BLOCK = 1024  # identities that start from one seed; another number makes other centers
_CHOSEN = 2.0  # beyond every lot, which are in 0..1
_START, _DRAW = 0, 1  # what numbers are for: no two uses of a seed see the same


def find_block(n_identities: int, ranks: Ranks) -> range:
    """The identities of this rank: as many as on the others, or one more on the first ranks."""
    least, n_larger = divmod(n_identities, ranks.size)
    first = least * ranks.rank + min(ranks.rank, n_larger)
    return range(first, first + least + (ranks.rank < n_larger))


def start_centers(own: range, *, n_rows: int, dimension: int, seed: int) -> Tensor:
    """New centers, normal with deviation 0.01; those of an identity depend on it and the seed.

    Args:
        own: identities.
        n_rows: rows of each.
        dimension: numbers in a row.
        seed: 0 or more.

    Returns:
        (len(own) n_rows, dimension) float32.
    """
    centers = torch.empty(len(own), n_rows, dimension)
    for block in range(own.start // _BLOCK, -(-own.stop // _BLOCK)):
        first = block * _BLOCK
        generator = torch.Generator().manual_seed(_find_seed(seed, _START, block))
        drawn = torch.empty(_BLOCK, n_rows, dimension).normal_(
            std=_INITIAL_STD, generator=generator
        )
        start, stop = max(first, own.start), min(first + _BLOCK, own.stop)
        centers[start - own.start : stop - own.start] = drawn[start - first : stop - first]
    return centers.view(-1, dimension)


def draw_identities(
    labels: Tensor, own: range, *, rate: float, seed: int, n_draw: int, rank: int
) -> Tensor:
    """The identities that take part in a step: all true ones, and others at random up to a share.

    Args:
        labels: (n,) int64 of the samples of all ranks in this step; -1 counts for nobody.
        own: identities of this rank.
        rate: share of them to take; more where the true ones are more, and these alone at 0.
        seed: 0 or more.
        n_draw: how many draws there were before; with seed and rank it decides what is drawn.
        rank: of this process.

    Returns:
        (S,) int64 within `own`, from 0, ascending. Nothing waits for the device where the share is
        at least as large as the batch; otherwise true identities must be counted.
    """
    n_wanted = int(rate * len(own))
    places = labels - own.start
    is_own = (places >= 0) & (places < len(own))
    if n_wanted < len(labels):
        true: Tensor = torch.unique(places[is_own])
        if len(true) >= n_wanted:
            return true
    generator = torch.Generator(device=labels.device)
    generator.manual_seed(_find_seed(seed, _DRAW, n_draw, rank))
    lots = torch.rand(len(own) + 1, device=labels.device, generator=generator)
    lots[torch.where(is_own, places, len(own))] = _CHOSEN  # the last one is for those elsewhere
    return lots[:-1].topk(n_wanted, sorted=False).indices.sort().values


def check_draw(rate: float, seed: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        LearningError: a rate beyond 0..1 or a seed below 0.
    """
    if not 0 <= rate <= 1:
        raise LearningError(
            f"the sample rate must lie in 0..1, got {rate}",
            hint="0.1 is usual with many identities; 1 uses all, 0 only those of the batch",
        )
    if seed < 0:
        raise LearningError(f"the seed must be 0 or more, got {seed}", hint="0 will do")


def point_centers(old: Tensor, means: Tensor) -> Tensor:
    """Centers in the direction of given means, as long as new ones.

    Args:
        old: (n, K, D) centers; sub-centers beyond the first come to lie a little to their side.
        means: (n, D) of any length; where it is 0, centers stay.

    Returns:
        (n, K, D).
    """
    beside = normalize_rows(old.flatten(0, 1)).view_as(old) * _SPREAD
    beside[:, 0] = 0
    given = normalize_rows(means.to(old))[:, None]
    units = normalize_rows((given + beside).flatten(0, 1)).view_as(old)
    length = _INITIAL_STD * math.sqrt(old.shape[2])
    return torch.where(given.any(dim=2, keepdim=True), units * length, old)


def copy_rows(own: Tensor, own_first: int, first: int, rows: Tensor) -> int:
    """Copy from rows of a whole to a part of it what lies in both.

    Args:
        own: (n, ...) the part, changed in place.
        own_first: where it begins in the whole.
        first: where `rows` begin.
        rows: (m, ...).

    Returns:
        How many were copied.

    Raises:
        LearningError: rows of another shape.
    """
    if rows.shape[1:] != own.shape[1:]:
        raise LearningError(
            f"rows of shape {tuple(rows.shape[1:])} for a head whose rows have "
            f"{tuple(own.shape[1:])}",
            hint="dimension and loss must be those the rows were learned with",
        )
    start, stop = max(first, own_first), min(first + len(rows), own_first + len(own))
    if stop <= start:
        return 0
    own[start - own_first : stop - own_first].copy_(rows[start - first : stop - first])
    return stop - start


def _find_seed(*parts: int) -> int:
    """One seed from several numbers; torch alone would take the low 32 bits of a number."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
