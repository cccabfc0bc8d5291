"""Pictures of training: every number that was logged is seen, whatever it is."""

from __future__ import annotations

import math
import runpy
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import arcwise.train.curves
from arcwise.errors import LearningError
from arcwise.train.curves import draw_comparison, draw_curves, draw_points, draw_schedule
from arcwise.train.log import RunLog


def step_line(step: int, **more: Any) -> dict[str, Any]:
    return {
        "step": step,
        "epoch": step / 100,
        "loss": 12.3 - step / 100,
        "arcface": 9.1,
        "cosine": 0.42,
        "learning_rate": 0.048,
        "images_per_s": 212.3,
        "remaining_s": 3720.0,
    } | more


def draw(tmp_path: Path, entries: list[dict[str, Any]]) -> Image.Image:
    tmp_path.mkdir(exist_ok=True)
    log = RunLog(tmp_path)
    for entry in entries:
        log.append(entry)
    path = draw_curves(log.read(), tmp_path / "curves.png")
    assert [item.name for item in tmp_path.iterdir() if item.name[0] == "."] == []
    picture = Image.open(BytesIO(path.read_bytes()))
    assert picture.format == "PNG"
    return picture


def validation_line(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": step / 100, "validation": {"eer": 0.2, "tar": 0.5, "n": 3}}


def test_every_curve_is_seen_and_every_measure_has_a_panel(tmp_path: Path) -> None:
    plain = draw(tmp_path, [step_line(step) for step in range(10, 200, 10)])
    pixels = np.asarray(plain.convert("RGB"), int)
    for color in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):  # the first of "tab10"
        assert (np.abs(pixels - color).max(axis=2) < 40).sum() > 200
    full = draw(tmp_path, [validation_line(200), validation_line(300)])
    assert plain.width == full.width
    assert full.height > 1.4 * plain.height  # two panels more


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [step_line(step, loss=math.nan, arcface=math.inf, learning_rate=None) for step in (1, 2)],
        [step_line(step, loss=0.0, arcface=0.0, cosine=0.0) for step in (1, 2)],
        [
            {"step": 1, "loss": 1.0},
            {"step": 2, "epoch": 0.2, "loss": 1000.0, "cosine": -1.0},
            {"step": 3, "epoch": 0.3, "loss": 1.0, "relational": 0.001},
            validation_line(3) | {"validation": {"eer": 0.1, "tar": None}},
        ],
    ],
)
def test_curves_of_anything_that_was_logged_can_be_drawn(
    tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    assert draw(tmp_path, entries).width > 500


def test_a_missing_matplotlib_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LearningError, match="matplotlib is not installed") as caught:
        runpy.run_path(arcwise.train.curves.__file__)
    assert "arcwise[train]" in caught.value.hint


def count_pixels(picture: Image.Image, color: tuple[int, int, int]) -> int:
    pixels = np.asarray(picture.convert("RGB"), int)
    return int((np.abs(pixels - color).max(axis=2) < 40).sum())


def test_ten_thousand_steps_are_drawn_as_a_few_hundred_means(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(5, 1, 10_000)
    many = [step_line(step, loss=float(noise[step])) for step in range(10_000)]
    alone = [entry | {"loss": 5.0} for entry in many]
    log = tmp_path / "curves.png"
    draw_curves(many, log)
    noisy = count_pixels(Image.open(BytesIO(log.read_bytes())), (31, 119, 180))
    draw_curves(alone, log)
    smooth = count_pixels(Image.open(BytesIO(log.read_bytes())), (31, 119, 180))
    assert smooth < noisy < 8 * smooth  # each point the mean of 25: a fifth of the noise is left


def test_accuracy_and_validation_loss_of_known_people_have_their_curves(tmp_path: Path) -> None:
    steps = [step_line(step, accuracy=step / 400) for step in range(10, 200, 10)]
    known = {"accuracy": 0.3, "loss_with_margin": 4.0, "loss_without_margin": 2.0}
    validation = {"step": 200, "epoch": 2.0, "validation": known}
    plain = draw(tmp_path / "a", [step_line(10)])
    full = draw(tmp_path / "b", [*steps, validation, validation | {"epoch": 3.0}])
    assert full.height > plain.height


def test_a_schedule_shows_its_margin_only_if_that_grows(tmp_path: Path) -> None:
    rows = [{"epoch": e, "learning_rate": 0.1 - e / 100, "margin_strength": 1.0} for e in range(10)]
    plain = draw_schedule(rows, tmp_path / "a.png")
    growing = [row | {"margin_strength": row["epoch"] / 10} for row in rows]
    full = draw_schedule(growing, tmp_path / "b.png")
    heights = [Image.open(BytesIO(path.read_bytes())).height for path in (plain, full)]
    assert heights[0] < heights[1]


def test_every_run_of_a_comparison_has_its_color(tmp_path: Path) -> None:
    runs = {
        name: [
            *(step_line(step, accuracy=accuracy) for step in range(10, 200, 10)),
            {"step": 200, "epoch": 2.0, "validation": {"eer": 0.1, "tar": 0.5}},
        ]
        for name, accuracy in (("arcface", 0.5), ("cosface", 0.7))
    }
    path = draw_comparison(runs, tmp_path / "c.png")
    picture = Image.open(BytesIO(path.read_bytes()))
    assert count_pixels(picture, (31, 119, 180)) > 200
    assert count_pixels(picture, (255, 127, 14)) > 200


def test_points_over_numbers_of_people_are_drawn(tmp_path: Path) -> None:
    points = {"EER": [(100.0, 9.0), (300.0, 7.0), (1000.0, 5.0)]}
    path = draw_points(points, tmp_path / "s.png", x_label="people", y_label="%")
    assert count_pixels(Image.open(BytesIO(path.read_bytes())), (31, 119, 180)) > 200
