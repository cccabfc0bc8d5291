"""Pictures of training: the curves of a run, a schedule before it runs, several runs side by side.

It knows the entries of train/log.py and draws those numbers that are there. It does not read or
compute anything of a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from arcwise.errors import LearningError
from arcwise.files import write_atomically
from arcwise.train.log import PARTS

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "matplotlib":
        raise
    raise LearningError("matplotlib is not installed", hint="pip install 'arcwise[train]'") from exc

MEASURES = {"eer": "equal error rate, %", "tar": "TAR at 1 % FAR, %"}
"""Validation measures that are drawn, all of them shares from 0 to 1, and their axes."""

_VALIDATION_LOSSES = {
    "loss_with_margin": "validation, with margin",
    "loss_without_margin": "validation, without margin",
}
_PANEL_WH_IN = 8.0, 2.6
_DPI = 110
_FEW = 30  # entries
_MOST_POINTS = 400  # of a curve: the mean of so many equal parts, as a step alone is noise
_WIDE = 10.0  # losses that differ by more than this factor are drawn on a logarithmic axis

Entries = Sequence[Mapping[str, Any]]


def draw_curves(entries: Entries, path: Path | str) -> Path:
    """Draw losses, accuracy, learning rate and validation over epochs.

    Args:
        entries: of the log.
        path: of the PNG; an older one is replaced.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written.
    """
    validations = [{**entry, **entry["validation"]} for entry in entries if "validation" in entry]
    steps = [entry for entry in entries if "loss" in entry]
    measures = [name for name in MEASURES if _knows(validations, name)]
    panels: list[Callable[[Axes], None]] = [lambda axes: _draw_losses(axes, steps, validations)]
    if _knows(steps, "accuracy"):
        panels.append(lambda axes: _draw_accuracy(axes, steps, validations))
    panels.append(lambda axes: _draw_rate(axes, steps))
    panels += [
        lambda axes, name=name: _draw_measure(axes, validations, name)  # type: ignore[misc]
        for name in measures
    ]
    figure, all_axes = _make_panels(len(panels))
    for axes, draw in zip(all_axes, panels, strict=True):
        draw(axes)
    return _save(figure, all_axes[-1], path)


def draw_schedule(plan: Entries, path: Path | str) -> Path:
    """Draw the learning rate and the strength of the margin of a run that has not begun.

    Args:
        plan: steps in order, each with "epoch", "learning_rate" and "margin_strength".
        path: of the PNG; an older one is replaced.

    Raises:
        InputError: the file cannot be written.
    """
    has_warmup = any(entry["margin_strength"] != 1 for entry in plan)
    figure, all_axes = _make_panels(1 + has_warmup)
    _draw_rate(all_axes[0], plan)
    if has_warmup:
        all_axes[1].plot(*_curve(plan, "margin_strength"), color="tab:purple")
        all_axes[1].set_ylabel("share of the margin")
        all_axes[1].set_ylim(0, 1.05)
    return _save(figure, all_axes[-1], path)


def draw_comparison(runs: Mapping[str, Entries], path: Path | str) -> Path:
    """Draw training accuracy and validation of several runs over epochs.

    Args:
        runs: name of a run -> entries of its log.
        path: of the PNG; an older one is replaced.

    Raises:
        InputError: the file cannot be written.
    """
    kinds = {"accuracy": "training accuracy, %"} | MEASURES
    found = {
        name: [{**entry, **entry.get("validation", {})} for entry in entries]
        for name, entries in runs.items()
    }
    shown = [kind for kind in kinds if any(_knows(entries, kind) for entries in found.values())]
    figure, all_axes = _make_panels(max(1, len(shown)))
    for axes, kind in zip(all_axes, shown, strict=False):
        for name, entries in found.items():
            is_training = kind == "accuracy"
            chosen = [entry for entry in entries if ("loss" in entry) is is_training]
            marker = "" if is_training else "o"
            axes.plot(*_curve(chosen, kind, factor=100), label=name, marker=marker, markersize=4)
        axes.set_ylabel(kinds[kind])
    all_axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    return _save(figure, all_axes[-1], path)


def draw_points(
    points: Mapping[str, Sequence[tuple[float, float]]],
    path: Path | str,
    *,
    x_label: str,
    y_label: str,
) -> Path:
    """Draw curves of a few measured points each, on a logarithmic x axis.

    Args:
        points: name of a curve -> its points.
        path: of the PNG; an older one is replaced.
        x_label: what the x axis shows, with its unit.
        y_label: what the y axis shows, with its unit.

    Raises:
        InputError: the file cannot be written.
    """
    figure, (axes,) = _make_panels(1, height=1.5)
    for name, pairs in points.items():
        axes.plot(*zip(*pairs, strict=True), label=name, marker="o")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(y_label)
    axes.legend(frameon=False)
    return _save(figure, axes, path, x_label=x_label)


def _make_panels(n_panels: int, *, height: float = 1.0) -> tuple[Figure, list[Axes]]:
    width_in, height_in = _PANEL_WH_IN
    figure = Figure(figsize=(width_in, height_in * height * (n_panels + 0.6)), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = {"height_ratios": [1.6, *(n_panels - 1) * [1.0]]}
    made = figure.subplots(n_panels, 1, sharex=True, gridspec_kw=ratios, squeeze=False)
    return figure, list(made[:, 0])


def _save(figure: Figure, last: Axes, path: Path | str, *, x_label: str = "epoch") -> Path:
    for axes in figure.axes:
        axes.grid(visible=True, alpha=0.3)
    last.set_xlabel(x_label)
    if last.get_xscale() == "linear":
        last.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    figure.align_ylabels()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return write_atomically(path, buffer.getvalue())


def _draw_losses(axes: Axes, steps: Entries, validations: Entries) -> None:
    dots = "." if len(steps) <= _FEW else ""  # a line through one point is not seen
    for name in ("loss", *(name for name in PARTS if _knows(steps, name))):
        label, width, order = ("total", 2.0, 3) if name == "loss" else (name, 1.3, 2)
        axes.plot(*_curve(steps, name), label=label, linewidth=width, zorder=order, marker=dots)
    for name, label in _VALIDATION_LOSSES.items():
        if _knows(validations, name):
            axes.plot(*_curve(validations, name), label=label, marker="o", markersize=4)
    axes.set_ylabel("loss (parts unweighted)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    _choose_scale(axes)


def _draw_accuracy(axes: Axes, steps: Entries, validations: Entries) -> None:
    axes.plot(*_curve(steps, "accuracy", factor=100), label="training")
    if _knows(validations, "accuracy"):
        curve = _curve(validations, "accuracy", factor=100)
        axes.plot(*curve, label="validation photos", marker="o", markersize=4)
        axes.legend(frameon=False)
    axes.set_ylabel("accuracy, %")


def _draw_rate(axes: Axes, steps: Entries) -> None:
    dots = "." if len(steps) <= _FEW else ""
    axes.plot(*_curve(steps, "learning_rate"), color="tab:gray", marker=dots)
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)


def _draw_measure(axes: Axes, validations: Entries, name: str) -> None:
    axes.plot(*_curve(validations, name, factor=100), marker="o", markersize=4)
    axes.set_ylabel(MEASURES[name])


def _knows(entries: Entries, name: str) -> bool:
    return any(name in entry for entry in entries)


def _curve(entries: Entries, name: str, *, factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Epochs and values, of many the means of equal parts; a gap where a value is null."""
    known = [entry for entry in entries if name in entry and "epoch" in entry]
    epochs = np.array([entry["epoch"] for entry in known], float)
    values = [math.nan if entry[name] is None else factor * entry[name] for entry in known]
    if len(known) <= _MOST_POINTS:
        return epochs.tolist(), values
    parts = np.array_split(np.arange(len(known)), _MOST_POINTS)
    found = np.array(values, float)
    return [epochs[part[-1]] for part in parts], [float(found[part].mean()) for part in parts]


def _choose_scale(axes: Axes) -> None:
    """A logarithmic axis where the curves lie far apart."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    positive = values[values > 0]
    if len(positive) and positive.max() > _WIDE * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
