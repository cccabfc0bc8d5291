"""Vectors become merges, the most alike first: average linkage, or connected components.

It does not know whom a photo shows, nor which threshold is right: evaluate/clusters cuts the
merges. Sources: average linkage (Sokal and Michener, 1958) as scipy has it; the components of all
thresholds at once are those of a maximum spanning tree (Gower and Ross, 1969), built after Boruvka
(1926) so that the matrix of similarities is never held.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.clusters import Merges
from arcwise.evaluate.clusters.partition import Counts
from arcwise.types import Floats

try:
    from scipy.cluster.hierarchy import linkage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "scipy":
        raise
    raise InputError("scipy is not installed", hint="pip install 'arcwise[report]'") from exc

MOST_AVERAGED = 20_000
"""Photos that average linkage takes: it holds all pairs twice, 3.2 GB for so many."""
TIE_STEP = 2.0**-20
"""Cosines are rounded to multiples of this, about 1e-6, so that equal vectors are merged at 1 and
1 - cosine is exact in float64."""
_BLOCK_CELLS = 1 << 24  # similarities held at once: 64 MB


def link_average(vectors: Floats) -> Merges:
    """Merge the two clusters whose photos are most alike on average, until one is left.

    Args:
        vectors: (N, D) float32 of norm 1.

    Raises:
        DatasetError: fewer than two vectors.
        InputError: more than 20,000.
    """
    n = _check_number(vectors)
    if n > MOST_AVERAGED:
        raise InputError(
            f"average linkage of {n:,} photos would need {n * n * 8 / 1e9:.0f} GB of memory",
            hint=f"take at most {MOST_AVERAGED:,}, or connected components",
        )
    apart = np.empty(n * (n - 1) // 2)  # 1 - cosine of each pair, in scipy's order
    start = 0
    step = max(1, _BLOCK_CELLS // n)
    for first in range(0, n, step):
        block = _cosines(vectors, np.arange(first, min(first + step, n)))
        for i, row in enumerate(block, first):
            apart[start : start + n - i - 1] = 1.0 - row[i + 1 :].astype(np.float64)
            start += n - i - 1
    steps = linkage(apart, method="average")
    leaf = np.concatenate([np.arange(n), np.empty(n - 1, np.int64)])  # one photo of each cluster
    pairs = steps[:, :2].astype(np.int64)
    for i, (left, _) in enumerate(pairs.tolist()):
        leaf[n + i] = leaf[left]
    return Merges(n, leaf[pairs[:, 0]], leaf[pairs[:, 1]], 1.0 - steps[:, 2])


def link_components(vectors: Floats) -> Merges:
    """Merge the two clusters that hold the two most alike photos, until one is left.

    At a threshold the clusters are then the connected components of all pairs that reach it.

    Args:
        vectors: (N, D) float32 of norm 1.

    Raises:
        DatasetError: fewer than two vectors.
    """
    n = _check_number(vectors)
    component = np.arange(n)
    best = np.full(n, -np.inf, np.float32)
    partner = np.arange(n)
    chosen: list[tuple[Counts, Counts, Floats]] = []
    while component.max() > 0:
        stale = np.flatnonzero(component[partner] == component)  # components only grow
        _find_partners(vectors, component, stale, best, partner)
        order = np.lexsort((-best, component))
        firsts = order[np.unique(component[order], return_index=True)[1]]
        chosen.append((firsts, partner[firsts], best[firsts]))
        component = _join(n, chosen)
    first, second, similarity = (np.concatenate(part) for part in zip(*chosen, strict=True))
    falling = np.argsort(-similarity, kind="stable")
    return Merges(n, first[falling], second[falling], similarity[falling].astype(np.float64))


LINKAGES: dict[str, Callable[[Floats], Merges]] = {
    "average": link_average,
    "components": link_components,
}
"""Name -> how clusters are merged."""


def _find_partners(
    vectors: Floats, component: Counts, stale: Counts, best: Floats, partner: Counts
) -> None:
    """The most alike photo of another component, for some photos; written into the last two."""
    step = max(1, _BLOCK_CELLS // len(vectors))
    for start in range(0, len(stale), step):
        rows = stale[start : start + step]
        block = _cosines(vectors, rows)
        block[component[rows][:, None] == component] = -np.inf
        partner[rows] = block.argmax(axis=1)
        best[rows] = block[np.arange(len(rows)), partner[rows]]


def _join(n: int, chosen: list[tuple[Counts, Counts, Floats]]) -> Counts:
    first, second = (np.concatenate([part[i] for part in chosen]) for i in (0, 1))
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n))
    labels: Counts = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _cosines(vectors: Floats, rows: Counts) -> Floats:
    """(R, N) cosines, rounded to `TIE_STEP`."""
    block: Floats = vectors[rows] @ vectors.T
    block *= np.float32(1 / TIE_STEP)
    np.rint(block, out=block)
    block *= np.float32(TIE_STEP)
    np.minimum(block, np.float32(1.0), out=block)
    return block


def _check_number(vectors: Floats) -> int:
    if vectors.ndim != 2 or len(vectors) < 2:
        raise DatasetError(
            f"cannot cluster vectors of shape {vectors.shape}", hint="give two photos or more"
        )
    return len(vectors)
