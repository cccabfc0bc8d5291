"""How a drawing of a report looks: canvas, colors, axes, legend, and the text of its SVG.

It does not know what is drawn (plots.py does). Letters stay text, so that they can be searched and
copied; equal input gives equal text. matplotlib's settings are changed while a drawing is open.
The owner of matplotlib in this room.

Source of the colors: Okabe and Ito (2008), "Color Universal Design", told apart with every common
kind of color blindness; lines differ in their dashes too.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcwise.errors import InputError

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "matplotlib":
        raise
    raise InputError("matplotlib is not installed", hint="pip install 'arcwise[report]'") from exc

Doubles = NDArray[np.float64]
Curve = tuple[ArrayLike, ArrayLike]

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
INK, SOFT, PALE, LINE = "#1c1e21", "#565b63", "#b7bcc4", "#dfe2e6"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = "osD^"
_DASHES = ("-", "--", "-.", ":")
_SIZE_WH_IN = 7.2, 4.4
_PNG_DPI = 130
_MOST_LETTERS = 40  # of a label
_LEAST_RATE = 1e-8  # below what any list of pairs can show
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "arcwise",  # equal input gives equal ids
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


@contextmanager
def open_figure(*, height: float = 1.0) -> Iterator[Figure]:
    """An empty figure, as wide as a page, with our settings in force.

    Args:
        height: times that of a plain plot.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Letters that matplotlib's own font lacks are there in the reader's.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure = Figure(figsize=(_SIZE_WH_IN[0], _SIZE_WH_IN[1] * height))
        FigureCanvasAgg(figure)
        # A reader's letters may be a little wider than those that were measured.
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.06)
        yield figure


def to_svg(figure: Figure) -> str:
    """The element itself, for a page or a file: no XML head, no address of a DTD, no date."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<g id=\"[^\"]*\"", "<g", text)  # names of groups would be there twice in a page


def to_png(figure: Figure) -> bytes:
    """The bytes of a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_PNG_DPI)
    return buffer.getvalue()


def look_of(number: int, name: str) -> dict[str, Any]:
    """Color, dashes and label of a curve, by its number from 0 and its name."""
    return {
        "label": clean_label(name),  # matplotlib hides one that begins with "_"
        "color": COLORS[number % len(COLORS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def clean_label(text: str) -> str:
    """One printable line of at most 40 letters, the middle cut out; never hidden by matplotlib."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    if len(text) > _MOST_LETTERS:
        half = _MOST_LETTERS // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    return f" {text}" if text.startswith("_") else text


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """What the axes show; an empty text says nothing."""
    axes.set_xlabel(clean_label(x_label))
    axes.set_ylabel(clean_label(y_label))


def explain(axes: Axes, *, outside: bool = False) -> None:
    """A legend where it hides the least, or above the axes; none for a single nameless curve."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if outside or len(labels) > 5:
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    else:
        axes.legend(handles, labels, loc="best")


def draw_marks(axes: Axes, marks: Mapping[str, float]) -> None:
    """Named places on the x axis as upright lines, each with its value in the legend."""
    for number, (name, value) in enumerate(marks.items()):
        if not math.isfinite(value):
            raise InputError(f"the mark {name!r} is at {value}", hint="leave it out")
        dash = _DASHES[1 + number % 3]
        color = (INK, GREEN, PURPLE, ORANGE)[number % 4]
        axes.axvline(
            value,
            color=color,
            linestyle=dash,
            linewidth=1.5,
            label=clean_label(f"{name}: {value:.4f}"),
        )


def show_percent(value: float, _: object = None) -> str:
    """A share as a percentage with the digits it needs: 0.001 is 0.1 %."""
    percent = 100 * value
    return f"{percent:.10g} %" if abs(percent - round(percent, 9)) < 1e-9 else f"{percent:g} %"


def _show_power(value: float, _: object = None) -> str:
    mantissa, power = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(power)}" if value < 1 else "1"


def use_shares(axis: Axis) -> None:
    """Label an axis of shares in percent."""
    axis.set_major_formatter(FuncFormatter(show_percent))


def use_counts(axis: Axis, *, n_ticks: int = 10) -> None:
    """Label an axis of counts at whole numbers."""
    axis.set_major_locator(MaxNLocator(integer=True, nbins=n_ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def frame_cell(axes: Axes, row: int, column: int) -> None:
    """A frame around a cell of a matrix."""
    corner = column - 0.5, row - 0.5
    frame = Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILLION, linewidth=2.5)
    axes.add_patch(frame)


def use_rates(
    axes: Axes, which: Literal["x", "y"], rates: Sequence[Doubles], *, in_percent: bool = True
) -> None:
    """A logarithmic axis from the decade of the least rate above 0 to 1."""
    values = np.concatenate(rates)
    values = values[values > 0]
    least = max(float(values.min()) if values.size else 0.1, _LEAST_RATE)
    bottom = 10.0 ** min(math.floor(math.log10(least) + 1e-9), -1)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(bottom, 1.0)
    axis.set_major_locator(LogLocator(numticks=20))
    axis.set_major_formatter(FuncFormatter(show_percent if in_percent else _show_power))
    axis.set_minor_formatter(NullFormatter())


def check_values(values: ArrayLike) -> Doubles:
    """Some finite numbers, at least one.

    Raises:
        InputError: none, or a NaN.
    """
    found = np.asarray(values)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise InputError(
            f"cannot draw values of shape {found.shape}", hint="give (N,) finite numbers"
        )
    return found


def check_curves(
    curves: Mapping[str, Curve], *, gaps: bool = False
) -> dict[str, tuple[Doubles, Doubles]]:
    """Curves as arrays, in their order.

    Args:
        curves: name -> x (N,) and y (N,).
        gaps: y may hold NaN, but not only.

    Raises:
        InputError: no curve, one without a point, not one y for each x, or a NaN.
    """
    if not curves:
        raise InputError("there is no curve to draw")
    found = {}
    for name, (x, y) in curves.items():
        places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if places.ndim != 1 or not places.size or places.shape != values.shape:
            raise InputError(
                f"curve {name!r} has x of shape {places.shape} and y of {values.shape}",
                hint="give one y for each x, at least one",
            )
        known = np.isfinite(values)
        if not np.isfinite(places).all() or not (known.any() if gaps else known.all()):
            raise InputError(f"curve {name!r} holds values that are no numbers")
        found[name] = places, values
    return found
