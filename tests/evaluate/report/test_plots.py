"""Drawings show what they are given, refuse what cannot be shown, and no name breaks them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Figure, Lines, LinesKind, Section
from arcwise.evaluate.report.maps import (
    picture_matrix,
    plot_boundaries,
    plot_map,
    plot_matrix,
    plot_sectors,
)
from arcwise.evaluate.report.plots import (
    draw_figures,
    draw_lines,
    plot_cmc,
    plot_counts,
    plot_det,
    plot_histogram,
    plot_rates,
    plot_reliability,
    plot_roc,
    plot_spread,
    plot_sweep,
)

pytestmark = pytest.mark.slow

FAR = [1e-4, 1e-3, 1e-2, 1.0]
TAR = [0.5, 0.8, 0.9, 1.0]
HOSTILE = "</svg><script>_$x$ \x1b\udce9 & \u4e2d"

Draw = Callable[[str], str]
PLOTS: dict[str, Draw] = {
    "roc": lambda name: plot_roc({name: (FAR, TAR)}),
    "det": lambda name: plot_det({name: (FAR, TAR)}, x_label="FMR", y_label="FNMR"),
    "histogram": lambda name: plot_histogram([0.5, 0.6], [0.0, 0.1], threshold=0.3),
    "counts": lambda name: plot_counts([-1, 0, 1], [0, 2], [5, 1]),
    "spread": lambda name: plot_spread([1.0, 2.0, 3.0], x_label=name, y_label="photos"),
    "cmc": lambda name: plot_cmc({name: [0.8, 0.9, 1.0]}),
    "rates": lambda name: plot_rates([0, 0.5, 1], [1, 0.1, 0], [0, 0.1, 1], marks={name: 0.4}),
    "reliability": lambda name: plot_reliability([0.1, 0.9], [0, 1], [0, 0.8], [0.2, 1], [9, 9]),
    "sweep": lambda name: plot_sweep([1, 10], {name: [1, 2]}, x_label="x", y_label="y"),
    "matrix": lambda name: plot_matrix(np.eye(3), [name, "b", "c"]),
    "map": lambda name: plot_map([[0, 0], [1, 1]], [name, "b"], title="PCA"),
    "boundaries": lambda name: plot_boundaries({name: ([0, 60], [30, 90])}),
    "sectors": lambda name: plot_sectors({name: 20}, between_deg=60),
}
USES_NAME = sorted(PLOTS.keys() - {"histogram", "counts", "reliability"})


def texts(svg: str) -> str:
    """All letters of a drawing, each text between spaces."""
    return " ".join(["", *" ".join(ElementTree.fromstring(svg).itertext()).split(), ""])


@cache
def drawn(plot: str) -> str:
    return PLOTS[plot]("curve")


@pytest.mark.parametrize("plot", PLOTS)
def test_a_drawing_is_one_svg_element_that_loads_nothing(plot: str) -> None:
    svg = drawn(plot)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.startswith("<svg ")
    addresses = set(re.findall(r"https?://[^\"'<\s]+", svg))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"href=\"(?!#|data:image/png)", svg)


@pytest.mark.parametrize("plot", PLOTS)
def test_equal_input_gives_equal_text(plot: str) -> None:
    assert PLOTS[plot]("curve") == drawn(plot)


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    PLOTS["spread"]("curve")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("plot", USES_NAME)
def test_a_name_is_shown_and_means_nothing(plot: str) -> None:
    svg = PLOTS[plot](HOSTILE)
    assert "<script" not in svg
    assert "</svg><script>_$x$ ?? & \u4e2d" in texts(svg)


@pytest.mark.parametrize("plot", ["roc", "map"])
def test_a_name_that_begins_with_an_underscore_is_in_the_legend(plot: str) -> None:
    assert "_hidden" in texts(PLOTS[plot]("_hidden"))


def test_a_roc_goes_from_the_decade_of_its_least_rate_to_one() -> None:
    shown = texts(plot_roc({"exact": ([0, *FAR], [0.4, *TAR])}))
    assert all(f" {label} " in shown for label in ("1e-4", "1e-3", "1e-2", "1e-1", "1"))
    assert "1e-5" not in shown
    assert "FAR: impostor pairs accepted" in shown
    assert "TAR: genuine pairs accepted" in shown


def test_a_curve_of_zeros_alone_still_has_axes() -> None:
    assert "FAR" in texts(plot_roc({"perfect": ([0.0], [1.0])}))
    assert "FMR" in texts(plot_det({"perfect": ([0.0], [0.0])}, x_label="FMR", y_label="FNMR"))


def test_the_order_of_points_does_not_matter() -> None:
    assert plot_roc({"a": (FAR, TAR)}) == plot_roc({"a": (FAR[::-1], TAR[::-1])})


def test_a_histogram_names_classes_counts_and_threshold() -> None:
    shown = texts(plot_histogram(np.linspace(0.4, 0.8, 3000), [0.1, 0.1], threshold=0.28431))
    assert "genuine, 3,000 pairs" in shown
    assert "impostor, 2 pairs" in shown
    assert "threshold: 0.2843" in shown
    assert "similarity (cosine)" in shown


def test_all_equal_scores_are_drawn() -> None:
    assert "genuine, 2 pairs" in texts(plot_histogram([0.5, 0.5], [0.5], threshold=None))
    assert "photos" in texts(plot_spread([1.0, 1.0], x_label="norm", y_label="photos"))


def test_counted_pairs_need_only_one_class() -> None:
    assert "genuine, 0 pairs" in texts(plot_counts([-1, 0, 1], [0, 0], [1, 0]))


@pytest.mark.parametrize(("n_bars", "n_shown"), [(5, 5), (80, 80), (81, 41), (200, 67)])
def test_many_bars_are_joined_and_no_pair_is_lost(
    n_bars: int, n_shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []
    stairs = Axes.stairs

    def keep(self: Axes, values: object, edges: object, **look: object) -> object:
        bars.append(np.asarray(values))
        return stairs(self, values, edges, **look)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "stairs", keep)
    counts = np.ones(n_bars)
    plot_counts(np.linspace(-1, 1, n_bars + 1), counts, counts)
    assert {len(shares) for shares in bars} == {n_shown}
    assert all(shares.sum() == pytest.approx(1) for shares in bars)


def test_a_long_label_loses_its_middle() -> None:
    shown = texts(plot_matrix(np.eye(2), ["begin" + 90 * "x" + "end", "b"]))
    assert re.search("beginx+…x+end", shown)


def test_a_matrix_frames_its_largest_value_beside_the_diagonal() -> None:
    def frames(values: object, labels: list[str]) -> int:
        return plot_matrix(values, labels).count("stroke: #d55e00")

    assert frames([[1, 0.2, 0.9], [0.2, 1, 0], [0.9, 0, 1]], list("abc")) == 2
    assert frames([[1.0]], ["a"]) == 0


def test_a_large_matrix_leaves_labels_out_that_nobody_could_read() -> None:
    shown = texts(plot_matrix(np.eye(300), [f"photo{k}#1" for k in range(300)]))
    assert "photo0#1 [1]" in shown
    assert 20 < shown.count("#1 [") < 150


def test_a_map_names_the_people_with_most_photos() -> None:
    labels = [f"p{k:02}" for k in range(30) for _ in range(2 if k < 24 else 1)]
    points = np.random.default_rng(0).normal(size=(len(labels), 2))
    shown = texts(plot_map(points, labels, title="PCA"))
    assert "p23" in shown
    assert "p24" not in shown
    assert "6 other people" in shown


def test_the_picture_of_a_matrix_is_a_png() -> None:
    content = picture_matrix(np.eye(2), ["a", "b"])
    assert content.startswith(b"\x89PNG\r\n")
    assert content.endswith(b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big"))


NAN = float("nan")
REFUSED: dict[str, Callable[[], object]] = {
    "no curve": lambda: plot_roc({}),
    "no point": lambda: plot_roc({"a": ([], [])}),
    "one y too few": lambda: plot_det({"a": ([0.1, 0.2], [0.1])}, x_label="", y_label=""),
    "NaN in a curve": lambda: plot_roc({"a": ([0.1], [NAN])}),
    "infinite x": lambda: plot_roc({"a": ([np.inf], [0.1])}),
    "no genuine pair": lambda: plot_histogram([], [0.1]),
    "NaN score": lambda: plot_histogram([NAN], [0.1]),
    "no pair at all": lambda: plot_counts([-1, 1], [0], [0]),
    "a count too many": lambda: plot_counts([-1, 1], [1, 1], [0, 0]),
    "no rank": lambda: plot_cmc({"a": []}),
    "a mark nowhere": lambda: plot_rates([0.1], [0.1], [0.1], marks={"EER": NAN}),
    "no bin": lambda: plot_reliability([], [], [], [], []),
    "a gap alone": lambda: plot_sweep([1], {"a": [NAN]}, x_label="", y_label=""),
    "no square": lambda: plot_matrix(np.ones((2, 3)), ["a", "b"]),
    "no face": lambda: plot_matrix(np.ones((0, 0)), []),
    "NaN similarity": lambda: plot_matrix([[NAN]], ["a"]),
    "no point on a map": lambda: plot_map(np.ones((0, 2)), [], title=""),
    "a map in space": lambda: plot_map(np.ones((2, 3)), ["a", "b"], title=""),
    "no number": lambda: plot_spread([], x_label="", y_label=""),
    "a sector too wide": lambda: plot_sectors({"a": 61}, between_deg=60),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_drawn_is_refused(what: str) -> None:
    with pytest.raises(InputError):
        REFUSED[what]()


@pytest.mark.parametrize("kind", ["roc", "det", "cmc"])
def test_every_kind_of_lines_can_be_drawn(kind: LinesKind) -> None:
    points = (FAR, TAR)
    svg = draw_lines(Lines(kind, {"some curve": points, "b": points}, "FMR", "FNMR"))
    assert " some curve " in texts(svg)


def test_only_figures_without_a_drawing_are_drawn() -> None:
    figures = (
        Figure("ROC", "", "caption", Lines("roc", {"a": (FAR, TAR)})),
        Figure("Histogram", "<svg></svg>", "caption"),
    )
    document = Document("", "", "", "", "", "", "", (Section("s", figures=figures),), None)
    first, second = draw_figures(document).sections[0].figures
    assert first.svg.startswith("<svg ")
    assert second.svg == "<svg></svg>"
