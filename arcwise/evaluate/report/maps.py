"""The drawings of a report that are no curves: matrices, maps, the boundaries of a margin.

It measures nothing: numbers are the caller's. How a drawing looks, and matplotlib's settings, are
drawing.py's. Only one thread may draw at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from arcwise.errors import InputError
from arcwise.evaluate.report.drawing import (
    BLUE,
    COLORS,
    INK,
    MARKERS,
    PALE,
    VERMILLION,
    Curve,
    Figure,
    check_curves,
    clean_label,
    frame_cell,
    open_figure,
    to_png,
    to_svg,
)

_CELL_IN, _SMALLEST_IN, _LARGEST_IN = 0.42, 3.2, 8.4  # of a matrix, side
_LEAST_PT = 6.0  # letters smaller than this are left out
_MOST_NUMBERED = 20  # faces of a matrix whose cells still hold a readable number
_MOST_NAMED = 24  # people of a map: more colors and markers cannot be told apart


def plot_matrix(similarities: ArrayLike, labels: Sequence[str]) -> str:
    """The similarity of everything with everything; the largest beside the diagonal is framed.

    Args:
        similarities: (N, N) cosine, the same both ways.
        labels: N names.

    Raises:
        InputError: not square, not one label each, empty or with a NaN.
    """
    with open_figure() as figure:
        _draw_matrix(figure, similarities, labels)
        return to_svg(figure)


def picture_matrix(similarities: ArrayLike, labels: Sequence[str]) -> bytes:
    """The same as `plot_matrix` as the bytes of a PNG."""
    with open_figure() as figure:
        _draw_matrix(figure, similarities, labels)
        return to_png(figure)


def _draw_matrix(figure: Figure, similarities: ArrayLike, labels: Sequence[str]) -> None:
    matrix = np.asarray(similarities, np.float64)
    n = len(labels)
    if n < 1 or matrix.shape != (n, n) or not np.isfinite(matrix).all():
        raise InputError(f"a matrix of shape {matrix.shape} with {n} labels cannot be drawn")
    side_in = min(_LARGEST_IN, max(_SMALLEST_IN, _CELL_IN * n))
    figure.set_size_inches(side_in + 3.2, side_in + 0.4)
    axes = figure.subplots()
    axes.grid(visible=False)
    low = min(0.0, float(matrix.min()))
    image = axes.imshow(matrix, cmap="cividis", vmin=low, vmax=1.0)
    cell_pt = 72 * side_in / n
    shown = range(0, n, math.ceil(_LEAST_PT / (0.8 * cell_pt)))
    size = min(10.0, max(0.8 * cell_pt, _LEAST_PT))
    axes.set_xticks(shown, [str(number + 1) for number in shown], fontsize=size)
    axes.set_yticks(shown, [f"{clean_label(labels[k])} [{k + 1}]" for k in shown], fontsize=size)
    axes.tick_params(axis="x", labelrotation=0 if n <= _MOST_NUMBERED else 90)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if n <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(matrix):
            ink = "white" if value < low + 0.55 * (1.0 - low) else "black"
            text = f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=ink)
    if n > 1:
        beside = np.where(np.eye(n, dtype=bool), -np.inf, matrix)
        row, column = np.unravel_index(int(beside.argmax()), beside.shape)
        frame_cell(axes, int(row), int(column))
        frame_cell(axes, int(column), int(row))
    figure.colorbar(image, ax=axes, label="similarity (cosine)", shrink=0.8)


def plot_map(points: ArrayLike, labels: Sequence[str], *, title: str) -> str:
    """Embeddings as points in a plane, people told apart by color and marker.

    Args:
        points: (N, 2).
        labels: N names of people; of more than 24 the ones with the most points are named, the
            others are gray.
        title: how the plane was made, such as "t-SNE".

    Raises:
        InputError: not one label for each point, no point, or a NaN.
    """
    places = np.asarray(points, np.float64)
    if not len(labels) or places.shape != (len(labels), 2) or not np.isfinite(places).all():
        raise InputError(f"points of shape {places.shape} with {len(labels)} labels are no map")
    named = sorted(name for name, _ in Counter(labels).most_common(_MOST_NAMED))
    whose = np.array(labels)
    rest = ~np.isin(whose, named)
    with open_figure(height=1.7) as figure:
        axes = figure.subplots()
        if rest.any():
            n_others = len(set(whose[rest].tolist()))
            rest_label = f"{n_others} other {'people' if n_others > 1 else 'person'}"
            x, y = places[rest].T
            axes.scatter(x, y, s=10, color=PALE, linewidths=0, label=rest_label)
        for number, name in enumerate(named):
            color = COLORS[number % 6]
            marker = MARKERS[number // 6 % len(MARKERS)]
            x, y = places[whose == name].T
            look: dict[str, Any] = {"s": 26, "color": color, "marker": marker, "linewidths": 0}
            axes.scatter(x, y, label=clean_label(name), **look)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(title, fontsize=11, loc="left")
        figure.legend(loc="outside lower left", fontsize=9, ncols=4)
        return to_svg(figure)


def plot_boundaries(boundaries: Mapping[str, Curve]) -> str:
    """What a margin asks for between two classes: one panel for each rule, angles to both centers.

    A sample satisfies the rule in the colored area of its class; between them lies the margin.
    After figure 5 of Deng et al., ArcFace (2019).

    Args:
        boundaries: name of a rule -> (N,) angles to the first center, degrees, rising, and (N,)
            the least angle to the second center at which a sample of the first class satisfies
            the rule. That of the second class is its mirror image.

    Raises:
        InputError: no rule, one without a point or with a NaN.
    """
    found = check_curves(boundaries)
    columns = 2 if len(found) in (2, 4) else min(len(found), 3)
    n_rows = -(-len(found) // columns)
    with open_figure() as figure:
        figure.set_size_inches(2.9 * columns, 3.1 * n_rows)
        panels = figure.subplots(n_rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in panels.ravel()[len(found) :]:
            axes.set_visible(False)
        for axes, (name, (first, second)) in zip(panels.ravel(), found.items(), strict=False):
            far = np.full_like(first, 180.0)
            axes.fill_between(first, second, far, color=BLUE, alpha=0.25, linewidth=0)
            axes.fill_betweenx(first, second, far, color=VERMILLION, alpha=0.25, linewidth=0)
            axes.plot(first, second, color=BLUE)
            axes.plot(second, first, color=VERMILLION, linestyle="--")
            axes.set_title(clean_label(name), fontsize=11, loc="left")
            axes.set_xlim(0, 120)
            axes.set_ylim(0, 120)
            axes.set_xticks(range(0, 121, 30))
            axes.set_yticks(range(0, 121, 30))
            axes.set_aspect("equal")
            axes.text(20, 100, "class 1", ha="center", color=INK)
            axes.text(100, 20, "class 2", ha="center", color=INK)
        figure.supxlabel("angle to the center of class 1, degrees", fontsize=11)
        figure.supylabel("angle to the center of class 2, degrees", fontsize=11)
        return to_svg(figure)


def plot_sectors(half_deg: Mapping[str, float], *, between_deg: float) -> str:
    """The same between two centers on a circle: where samples of each class may lie.

    Args:
        half_deg: name of a rule -> how far from its center, toward the other one, a sample may
            lie, degrees.
        between_deg: angle between the two centers, degrees.

    Raises:
        InputError: no rule, or an angle that is not in 0..between_deg.
    """
    if not half_deg or not all(0 <= half <= between_deg for half in half_deg.values()):
        raise InputError(f"sectors {dict(half_deg)} do not lie between centers {between_deg} apart")
    centers = (90 + between_deg / 2, 90 - between_deg / 2)
    with open_figure() as figure:
        figure.set_size_inches(2.3 * len(half_deg), 2.7)
        panels = figure.subplots(1, len(half_deg), squeeze=False).ravel()
        for axes, (name, half) in zip(panels, half_deg.items(), strict=True):
            looks = zip(centers, (BLUE, VERMILLION), (-1, 1), (1, 2), strict=True)
            for center, color, side, number in looks:
                reach = np.radians(np.linspace(center, center + side * half, 60))
                x, y = np.cos(reach), np.sin(reach)
                axes.fill(np.append(x, 0.0), np.append(y, 0.0), color=color, alpha=0.25)
                axes.plot(x, y, color=color, linewidth=3)
                tip = np.radians(center)
                axes.plot([0, np.cos(tip)], [0, np.sin(tip)], color=color, linewidth=1.5)
                place = 1.2 * np.cos(tip), 1.2 * np.sin(tip)
                axes.text(*place, f"W{number}", ha="center", va="center", color=color)
            gap = between_deg - 2 * half
            axes.text(0, 1.16, f"{gap:.1f}°", ha="center", va="center", color=INK)
            axes.set_title(clean_label(name), fontsize=10)
            axes.set_xlim(-1.0, 1.0)
            axes.set_ylim(-0.05, 1.3)
            axes.set_aspect("equal")
            axes.axis("off")
        return to_svg(figure)
