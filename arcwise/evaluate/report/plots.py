"""The curves of a report, each drawn as the text of an SVG.

It measures nothing: numbers are the caller's. How a drawing looks, and matplotlib's settings, are
drawing.py's; matrices and maps are maps.py's. Only one thread may draw at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Lines
from arcwise.evaluate.report.drawing import (
    BLUE,
    SKY,
    SOFT,
    VERMILLION,
    Curve,
    check_curves,
    check_values,
    draw_marks,
    explain,
    label_axes,
    look_of,
    open_figure,
    to_svg,
    use_counts,
    use_rates,
    use_shares,
)

_LEAST_BINS, _N_BINS = 20, 80


def plot_roc(curves: Mapping[str, Curve]) -> str:
    """TAR against FAR on a logarithmic axis: at most this share of impostors, so many genuine.

    Args:
        curves: name -> FAR (N,) and TAR (N,), shares in 0..1, in any order. Points of FAR 0 have
            no place on the axis and are left out; the curve is a staircase, never a slope.

    Raises:
        InputError: no curve, or one without a point or with a NaN.
    """
    with open_figure() as figure:
        axes = figure.subplots()
        found = check_curves(curves)
        for number, (name, (far, tar)) in enumerate(found.items()):
            order = np.lexsort((tar, far))
            shown = order[far[order] > 0]
            axes.plot(far[shown], tar[shown], drawstyle="steps-post", **look_of(number, name))
        use_rates(axes, "x", [far for far, _ in found.values()], in_percent=False)
        axes.set_ylim(top=1.0 + 0.01 * (1.0 - axes.get_ylim()[0]))
        use_shares(axes.yaxis)
        label_axes(axes, "FAR: impostor pairs accepted", "TAR: genuine pairs accepted")
        explain(axes)
        return to_svg(figure)


def plot_det(curves: Mapping[str, Curve], *, x_label: str, y_label: str) -> str:
    """Two error rates against each other, both axes logarithmic; nearer to the corner is better.

    Args:
        curves: name -> x (N,) and y (N,), shares in 0..1; points with a 0 are left out.
        x_label: such as "FMR".
        y_label: such as "FNMR".

    Raises:
        InputError: no curve, or one without a point or with a NaN.
    """
    with open_figure() as figure:
        axes = figure.subplots()
        found = check_curves(curves)
        for number, (name, (x, y)) in enumerate(found.items()):
            order = np.lexsort((-y, x))
            shown = order[(x[order] > 0) & (y[order] > 0)]
            axes.plot(x[shown], y[shown], **look_of(number, name))
        use_rates(axes, "x", [x for x, _ in found.values()])
        use_rates(axes, "y", [y for _, y in found.values()])
        label_axes(axes, x_label, y_label)
        explain(axes)
        return to_svg(figure)


def plot_histogram(
    genuine: ArrayLike, impostor: ArrayLike, *, threshold: float | None = None
) -> str:
    """How alike pairs of one person and of two people are.

    Args:
        genuine: (P,) cosine of same-person pairs.
        impostor: (Q,) cosine of different-person pairs.
        threshold: cosine, drawn as a line; None draws none.

    Raises:
        InputError: one of them is empty or holds a NaN.
    """
    classes = {"genuine": check_values(genuine), "impostor": check_values(impostor)}
    low = min(float(scores.min()) for scores in classes.values())
    high = max(float(scores.max()) for scores in classes.values())
    room = 0.02 * max(high - low, 0.1)
    fewest = min(len(scores) for scores in classes.values())
    n_bins = int(np.clip(2 * np.sqrt(fewest), _LEAST_BINS, _N_BINS))  # few pairs make tall noise
    edges = np.linspace(low - room, high + room, n_bins + 1)
    counts = [np.histogram(scores, bins=edges)[0] for scores in classes.values()]
    return plot_counts(edges, *counts, threshold=threshold)


def plot_counts(
    edges: ArrayLike, genuine: ArrayLike, impostor: ArrayLike, *, threshold: float | None = None
) -> str:
    """The same as `plot_histogram` where the pairs were counted already.

    Empty ends are cut off, and neighbors joined where there are more than 80 bars.

    Args:
        edges: (B + 1,) cosine, rising.
        genuine: (B,) same-person pairs in each bar; all 0 where there is none.
        impostor: (B,) different-person pairs in each bar.
        threshold: cosine, drawn as a line; None draws none.

    Raises:
        InputError: the lengths do not fit, there is a NaN, or no pair at all.
    """
    places = check_values(edges)
    classes = {"genuine": check_values(genuine), "impostor": check_values(impostor)}
    filled = np.flatnonzero(sum(classes.values()))
    if not len(filled) or any(len(counts) != len(places) - 1 for counts in classes.values()):
        raise InputError("cannot draw a histogram", hint="give one count for each bar, not all 0")
    first, last = int(filled[0]), int(filled[-1]) + 1
    n_joined = -(-(last - first) // _N_BINS)  # bars become one, so that they can be told apart
    last = min(len(places) - 1, first + n_joined * -(-(last - first) // n_joined))
    first = max(0, last - n_joined * -(-(last - first) // n_joined))
    starts = np.arange(first, last, n_joined)
    bars = places[[*starts, last]]
    with open_figure() as figure:
        axes = figure.subplots()
        for (name, counts), color in zip(classes.items(), (BLUE, VERMILLION), strict=True):
            n_pairs = int(counts.sum())
            shares = np.add.reduceat(counts[:last], starts) / max(n_pairs, 1)
            label = f"{name}, {n_pairs:,} pairs"
            axes.stairs(shares, bars, fill=True, color=color, alpha=0.3)
            axes.stairs(shares, bars, color=color, linewidth=1.6, label=label)
        if threshold is not None:
            draw_marks(axes, {"threshold": threshold})
        axes.set_ylim(bottom=0)
        use_shares(axes.yaxis)
        label_axes(axes, "similarity (cosine)", "share of the pairs, per bar")
        explain(axes)
        return to_svg(figure)


def plot_spread(values: ArrayLike, *, x_label: str, y_label: str) -> str:
    """How some numbers of one kind are spread: a histogram.

    Args:
        values: (N,).
        x_label: what they are, with the unit.
        y_label: what is counted, such as "photos".

    Raises:
        InputError: there is none, or a NaN.
    """
    found = check_values(values)
    n_bars = int(np.clip(len(found) // 5, 5, _N_BINS))
    with open_figure(height=0.7) as figure:
        axes = figure.subplots()
        counts, edges = np.histogram(found, bins=n_bars)
        axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.3)
        axes.stairs(counts, edges, color=BLUE, linewidth=1.6)
        axes.set_ylim(bottom=0)
        use_counts(axes.yaxis, n_ticks=5)
        label_axes(axes, x_label, y_label)
        return to_svg(figure)


def plot_cmc(curves: Mapping[str, Sequence[float]]) -> str:
    """Share of searches whose person is among the first k answers.

    Args:
        curves: name -> shares at rank 1, 2, 3 ..., in 0..1.

    Raises:
        InputError: no curve, or one without a point or with a NaN.
    """
    points = {name: (np.arange(1, len(y) + 1), y) for name, y in curves.items()}
    with open_figure() as figure:
        axes = figure.subplots()
        found = check_curves(points)
        for number, (name, (ranks, shares)) in enumerate(found.items()):
            look = look_of(number, name) | {
                "marker": "o",
                "markersize": 4 if len(ranks) <= 30 else 0,
            }
            axes.plot(ranks, shares, **look)
        longest = max(len(ranks) for ranks, _ in found.values())
        axes.set_xlim(0.6, longest + 0.4)
        use_counts(axes.xaxis)
        axes.set_ylim(top=1.0 + 0.02 * (1.0 - axes.get_ylim()[0]))
        use_shares(axes.yaxis)
        label_axes(axes, "rank k", "found among the first k")
        explain(axes)
        return to_svg(figure)


def plot_rates(
    thresholds: ArrayLike, fmr: ArrayLike, fnmr: ArrayLike, *, marks: Mapping[str, float]
) -> str:
    """Both error rates against the threshold: a lower threshold accepts more of everybody.

    Args:
        thresholds: (N,) cosine, rising.
        fmr: (N,) share of impostor pairs accepted at each; 0 has no place on the axis.
        fnmr: (N,) share of genuine pairs refused at each.
        marks: name -> threshold, drawn as lines; may be empty.

    Raises:
        InputError: no threshold, a NaN, or not one rate for each.
    """
    found = check_curves({"FMR": (thresholds, fmr), "FNMR": (thresholds, fnmr)})
    words = {"FMR": "FMR: impostor pairs accepted", "FNMR": "FNMR: genuine pairs refused"}
    with open_figure() as figure:
        axes = figure.subplots()
        for (name, (x, y)), color, dash in zip(
            found.items(), (VERMILLION, BLUE), ("-", "--"), strict=True
        ):
            axes.plot(x, np.where(y > 0, y, np.nan), label=words[name], color=color, linestyle=dash)
        draw_marks(axes, marks)
        use_rates(axes, "y", [rates for _, rates in found.values()])
        label_axes(axes, "threshold (cosine)", "error rate")
        explain(axes, outside=True)
        return to_svg(figure)


def plot_reliability(
    predicted: ArrayLike,
    observed: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    counts: ArrayLike,
) -> str:
    """Is what is called a probability one? Shares that came true against those that were said.

    Args:
        predicted: (N,) mean predicted probability of each bin.
        observed: (N,) share of same-person pairs in it.
        low: (N,) lower end of its interval.
        high: (N,) upper end of it.
        counts: (N,) pairs in it.

    Raises:
        InputError: no bin, a NaN, or arrays of different lengths.
    """
    x, y = check_curves({"observed": (predicted, observed)})["observed"]
    bounds = [check_curves({"interval": (x, bound)})["interval"][1] for bound in (low, high)]
    n_pairs = check_curves({"counts": (x, counts)})["counts"][1]
    errors = np.maximum([y - bounds[0], bounds[1] - y], 0)
    with open_figure(height=1.25) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1.2, label="ideal")
        look = {"color": BLUE, "marker": "o", "linewidth": 1.6, "capsize": 3}
        upper.errorbar(x, y, yerr=errors, label="observed, 95 % interval", **look)
        upper.set_ylim(-0.03, 1.03)
        lower.bar(x, n_pairs, width=0.03, color=SKY)
        lower.set_xlim(-0.03, 1.03)
        use_counts(lower.yaxis, n_ticks=3)
        for axis in (upper.yaxis, lower.xaxis):
            use_shares(axis)
        label_axes(upper, "", "pairs of one person")
        label_axes(lower, "predicted probability of one person", "pairs")
        explain(upper)
        return to_svg(figure)


def plot_sweep(
    x: ArrayLike,
    curves: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
) -> str:
    """Some measures while one thing is changed.

    Args:
        x: (N,) its values.
        curves: name -> N values; NaN leaves a gap.
        x_label: what the x axis shows, with its unit.
        y_label: what the y axis shows, with its unit.

    Raises:
        InputError: no curve, none with a number, or not one value for each x.
    """
    with open_figure() as figure:
        axes = figure.subplots()
        found = check_curves({name: (x, y) for name, y in curves.items()}, gaps=True)
        for number, (name, (places, values)) in enumerate(found.items()):
            look = look_of(number, name) | {
                "marker": "o",
                "markersize": 4 if len(places) <= 40 else 0,
            }
            axes.plot(places, values, **look)
        label_axes(axes, x_label, y_label)
        explain(axes)
        return to_svg(figure)


def draw_lines(lines: Lines) -> str:
    """The SVG of some curves.

    Raises:
        InputError: there is nothing to draw, or it holds a NaN.
    """
    if lines.kind == "roc":
        return plot_roc(lines.curves)
    if lines.kind == "det":
        return plot_det(lines.curves, x_label=lines.x_label, y_label=lines.y_label)
    return plot_cmc({name: shares for name, (_, shares) in lines.curves.items()})


def draw_figures(document: Document) -> Document:
    """The same document; figures that were not drawn but have points are drawn.

    Raises:
        InputError: there is nothing to draw in one of them, or it holds a NaN.
    """
    sections = []
    for section in document.sections:
        figures = tuple(
            replace(figure, svg=draw_lines(figure.lines))
            if figure.lines and not figure.svg
            else figure
            for figure in section.figures
        )
        sections.append(replace(section, figures=figures))
    return replace(document, sections=tuple(sections))
