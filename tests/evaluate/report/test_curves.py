"""Curves become figures that hold plain points, which can be drawn."""

from __future__ import annotations

import json

import numpy as np

from arcwise.evaluate.report import Document, Figure, Lines, Section
from arcwise.evaluate.report.curves import cmc_figure, det_figure, roc_figure
from arcwise.evaluate.report.plots import draw_lines

X, Y = np.array([1e-3, 1e-2, 1.0]), np.array([0.5, 0.9, 1.0], np.float32)


def test_figures_hold_points_without_a_drawing() -> None:
    assert roc_figure("ROC", {"a": (X, X)}, caption="c") == Figure(
        "ROC", "", "c", Lines("roc", {"a": ([1e-3, 1e-2, 1.0], [1e-3, 1e-2, 1.0])})
    )
    det = det_figure("DET", {"a": (X, [1, 2, 3])}, x_label="FMR", y_label="FNMR", caption="c")
    assert det.lines == Lines("det", {"a": ([1e-3, 1e-2, 1.0], [1, 2, 3])}, "FMR", "FNMR")
    cmc = cmc_figure("CMC", {"a": [0.5, 1.0]}, caption="c")
    assert cmc.lines == Lines("cmc", {"a": ([1, 2], [0.5, 1.0])})


def test_points_of_numpy_become_json_and_drawings() -> None:
    figures = (
        roc_figure("ROC", {"a": (X, Y)}, caption=""),
        det_figure("DET", {"a": (X, Y)}, x_label="FMR", y_label="FNMR", caption=""),
        cmc_figure("CMC", {"a": Y.tolist()}, caption=""),
    )
    document = Document("", "", "", "", "", "", "", (Section("s", figures=figures),), None)
    assert json.loads(document.to_json())["sections"][0]["figures"][0]["lines"]["kind"] == "roc"
    assert all(figure.lines and "<svg" in draw_lines(figure.lines) for figure in figures)
