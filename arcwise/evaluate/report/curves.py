"""Curves as figures of a report: their points, which every report keeps; a page has them drawn.

It measures nothing and draws nothing (plots.py does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from arcwise.evaluate.report import Figure, Lines

Points = tuple[ArrayLike, ArrayLike]
"""(N,) x and (N,) y of a curve."""


def roc_figure(title: str, curves: Mapping[str, Points], *, caption: str) -> Figure:
    """TAR against FAR.

    Args:
        title: above it.
        curves: name -> FAR and TAR, shares in 0..1.
        caption: below it.
    """
    return Figure(title, "", caption, Lines("roc", _to_lists(curves)))


def det_figure(
    title: str, curves: Mapping[str, Points], *, x_label: str, y_label: str, caption: str
) -> Figure:
    """Two error rates against each other.

    Args:
        title: above it.
        curves: name -> x and y, shares in 0..1.
        x_label: such as "FMR".
        y_label: such as "FNMR".
        caption: below it.
    """
    return Figure(title, "", caption, Lines("det", _to_lists(curves), x_label, y_label))


def cmc_figure(title: str, curves: Mapping[str, Sequence[float]], *, caption: str) -> Figure:
    """Share of searches whose person is among the first k.

    Args:
        title: above it.
        curves: name -> shares at rank 1, 2, 3 ..., in 0..1.
        caption: below it.
    """
    points = {name: (range(1, len(shares) + 1), shares) for name, shares in curves.items()}
    return Figure(title, "", caption, Lines("cmc", _to_lists(points)))


def _to_lists(curves: Mapping[str, Points]) -> dict[str, tuple[list[float], list[float]]]:
    return {
        name: (np.asarray(x).tolist(), np.asarray(y).tolist()) for name, (x, y) in curves.items()
    }
