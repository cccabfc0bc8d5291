"""What a run says: one JSON line for each logged step, curves, one line for people.

It does not know losses or networks; it writes the numbers it is given and draws those it knows:
a step is {"step", "epoch", "loss", a name of `PARTS`…, "learning_rate", "images_per_s",
"remaining_s"}, a validation {"step", "epoch", "validation": {measure: value}}. Whatever else is
in an entry is kept. Logs hold numbers and words, never images, vectors or names of people.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcwise import __version__
from arcwise.errors import LearningError
from arcwise.files import read_bytes, translate_os_errors, write_atomically
from arcwise.nn.margin import MARGINS

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "matplotlib":
        raise
    raise LearningError("matplotlib is not installed", hint="pip install 'arcwise[train]'") from exc

Entry = Mapping[str, Any]

PARTS = (*MARGINS, "cosine", "relational")
"""What the loss is the weighted sum of, by the name of the key."""

MEASURES = {"eer": "equal error rate, %", "tar": "TAR at 1 % FAR, %"}
"""Validation measures that are drawn, all of them shares from 0 to 1, and their axes."""

_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")
_PANEL_WH_IN = 8.0, 2.6
_DPI = 110
_FEW = 30  # entries
_WIDE = 10.0  # losses that differ by more than this factor are drawn on a logarithmic axis


class RunLog:
    """The file log.jsonl of a run, to which lines are only ever added, or cut off its end.

    Call `resume_at` before the first `append` where the file may be there already.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / "log.jsonl"

    def append(self, entry: Entry) -> None:
        """Add one line and hand it to the system at once. What is not finite becomes null.

        Args:
            entry: with a "step"; numbers, words, None, and mappings of them.

        Raises:
            LearningError: no step, or a value of another kind, such as a list.
            InputError: it cannot be written.
        """
        if not isinstance(entry.get("step"), int):
            raise LearningError(f"a line of the log needs a step, got {entry.get('step')!r}")
        line = json.dumps(_clean(entry), ensure_ascii=False, allow_nan=False) + "\n"
        with translate_os_errors(self.path, doing="write"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line.encode(errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All lines; a last one that a crash cut off is left out, a missing file has none.

        Raises:
            LearningError: another line is broken.
            InputError: the file cannot be read.
        """
        if not self.path.exists():
            return []
        entries = []
        lines = read_bytes(self.path).splitlines()
        for number, line in enumerate(lines, start=1):
            entry = _parse(line)
            if entry is not None:
                entries.append(entry)
            elif number < len(lines):
                raise LearningError(
                    f"line {number} of {self.path} is no entry of a log",
                    hint="delete that line; the training itself does not need the log",
                )
        return entries

    def resume_at(self, step: int) -> list[dict[str, Any]]:
        """Cut off every line of a later step, atomically, so that the run can write them again.

        Args:
            step: of the checkpoint that is gone on from; 0 for a new run.

        Returns:
            The lines that are left.

        Raises:
            LearningError, InputError: as `read`; or the file cannot be written.
        """
        kept = [entry for entry in self.read() if entry["step"] <= step]
        if self.path.exists():
            lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
            write_atomically(self.path, "".join(lines).encode(errors="backslashreplace"))
        return kept

    def draw_curves(self, path: Path | str) -> Path:
        """Draw losses, learning rate and validation over epochs.

        Args:
            path: of the PNG; an older one is replaced.

        Returns:
            The path.

        Raises:
            LearningError, InputError: as `read`; or the file cannot be written.
        """
        figure = _draw(self.read())
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
        return write_atomically(path, buffer.getvalue())


def format_line(entry: Entry) -> str:
    """One line for people, of a step or a validation; what is not there is left out."""
    words = [f"epoch {entry['epoch']:.2f}"] if "epoch" in entry else []
    words.append(f"step {entry['step']}")
    if "loss" in entry:
        parts = ", ".join(f"{name} {_short(entry[name])}" for name in PARTS if name in entry)
        words.append(f"loss {_short(entry['loss'])}" + (f" ({parts})" if parts else ""))
    measures = entry.get("validation") or {}
    words += [f"{name} {_short(value)}" for name, value in measures.items() if value is not None]
    for key, form in _TAIL.items():
        if entry.get(key) is not None:
            words.append(form(entry[key]))
    return "  ".join(words)


def describe_environment() -> dict[str, str | int]:
    """What a run depends on besides its config. No names of hosts, users or folders.

    Returns:
        Versions by library, and the processor as torch sees it.
    """
    return {
        "arcwise": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cv2": _version_of(_OPENCV),
        "system": platform.system(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda or "none",
    }


def _version_of(distributions: Iterable[str]) -> str:
    """The version of the first of some distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise LearningError(
        f"a log holds numbers and words, got {type(value).__name__}",
        hint="log the mean, never images, embeddings or lists",
    )


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_entry = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    return entry if is_entry else None


def _short(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if round(seconds) < 60:
        return f"{seconds:.0f} s left"
    if minutes < 60:
        return f"{minutes} min left"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min left"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24:02d} h left"


_TAIL: dict[str, Callable[[float], str]] = {
    "learning_rate": lambda value: f"lr {value:.3g}",
    "images_per_s": lambda value: f"{value:.0f} img/s",
    "remaining_s": _format_duration,
}


def _draw(entries: list[dict[str, Any]]) -> Figure:
    validations = [{**entry, **entry["validation"]} for entry in entries if "validation" in entry]
    steps = [entry for entry in entries if "loss" in entry]
    measures = [name for name in MEASURES if any(name in entry for entry in validations)]
    n_panels = 2 + len(measures)
    width_in, height_in = _PANEL_WH_IN
    figure = Figure(figsize=(width_in, height_in * n_panels), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = {"height_ratios": [1.6, *(n_panels - 1) * [1.0]]}
    losses, rate, *others = figure.subplots(n_panels, 1, sharex=True, gridspec_kw=ratios)
    dots = "." if len(steps) <= _FEW else ""  # a line through one point is not seen
    for name in ("loss", *(name for name in PARTS if any(name in entry for entry in steps))):
        label, width, order = ("total", 2.0, 3) if name == "loss" else (name, 1.3, 2)
        curve = _curve(steps, name)
        losses.plot(*curve, label=label, linewidth=width, zorder=order, marker=dots)
    losses.set_ylabel("loss (parts unweighted)")
    losses.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    _choose_scale(losses)
    rate.plot(*_curve(steps, "learning_rate"), color="tab:gray", marker=dots)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    for axes, name in zip(others, measures, strict=True):
        axes.plot(*_curve(validations, name, factor=100), marker="o", markersize=4)
        axes.set_ylabel(MEASURES[name])
    for axes in (losses, rate, *others):
        axes.grid(visible=True, alpha=0.3)
    last = (others or [rate])[-1]
    last.set_xlabel("epoch")
    last.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    figure.align_ylabels()
    return figure


def _curve(
    entries: list[dict[str, Any]], name: str, *, factor: float = 1.0
) -> tuple[list[float], list[float]]:
    """Epochs and values; a gap where a value is null."""
    known = [entry for entry in entries if name in entry and "epoch" in entry]
    values = [math.nan if entry[name] is None else factor * entry[name] for entry in known]
    return [entry["epoch"] for entry in known], values


def _choose_scale(axes: Axes) -> None:
    """A logarithmic axis where the curves lie far apart."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    positive = values[values > 0]
    if len(positive) and positive.max() > _WIDE * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
