"""Which runs a comparison makes of one recipe, and what its table says of them.

The runs themselves are played: what is shown here needs no training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.errors import SettingsError
from arcwise.image import read_image
from arcwise.train import compare
from arcwise.train.compare import Comparison, Variant, compare_losses, compare_scales
from arcwise.train.config import TrainConfig, differences
from arcwise.train.log import RunLog
from arcwise.train.loop import RunResult

Configure = Callable[..., TrainConfig]
Play = Callable[[TrainConfig], dict[str, Any] | None]


class Stage:
    """In place of `train`: writes a log of three steps, and keeps the configs it was given.

    Attributes:
        played: configs, in order.
        best: what validation finds, for each config.
        stops_after: runs after which it is asked to stop.
    """

    def __init__(self) -> None:
        self.played: list[TrainConfig] = []
        self.best: Play = lambda config: {"step": 3, "epoch": 1.0, "eer": 0.1 / config.seed}
        self.stops_after = math.inf

    def train(self, config: TrainConfig, **_: Any) -> RunResult:
        self.played.append(config)
        log = RunLog(config.run)
        for step in range(1, 4):
            accuracy = 0.1 * step + 0.01 * config.seed
            log.append({"step": step, "epoch": step / 3, "loss": 5.0 - step, "accuracy": accuracy})
        best = self.best(config)
        if best is not None:
            log.append({"step": 3, "epoch": 1.0, "validation": best})
        is_complete = len(self.played) < self.stops_after
        return RunResult(config.run, 3, 3, config.data.most_people or 5, best, is_complete)

    def changes(self, base: TrainConfig) -> list[dict[str, object]]:
        """What each run has other than the recipe, but for its folder."""
        return [
            {c.key: c.new for c in differences(base, config) if c.key not in SECTIONS}
            for config in self.played
        ]


SECTIONS = {"run", "triplet.margin", "triplet.mining", "triplet.weight"}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    found = Stage()
    monkeypatch.setattr(compare, "train", found.train)
    return found


# Which runs


def test_each_loss_is_a_run_with_nothing_else_changed(configure: Configure, stage: Stage) -> None:
    base = configure("head.margin=0.45", "head.options={easy_margin: true}")
    compare_losses(base, ["arcface", "arcface:0.3", "cosface", "cosface:0.2"])
    assert stage.changes(base) == [
        {},
        {"head.margin": 0.3},
        {"head.loss": "cosface", "head.margin": None, "head.options": {}},
        {"head.loss": "cosface", "head.margin": 0.2, "head.options": {}},
    ]
    names = ["arcface", "arcface_0.3", "cosface", "cosface_0.2"]
    assert [config.run for config in stage.played] == [base.run / name for name in names]


def test_a_triplet_loss_stands_alone_and_takes_batches_of_its_own(
    configure: Configure, stage: Stage
) -> None:
    base = configure("data.photos_per_person=2")
    compare_losses(base, ["triplet", "triplet:0.4"])
    for config, margin in zip(stage.played, (0.2, 0.4), strict=True):
        assert config.head.weight == 0
        assert config.data.sampler == "pk"
        assert config.triplet is not None
        assert config.triplet.margin == margin


def test_a_recipe_for_a_triplet_loss_alone_gets_a_head_for_the_others(
    configure: Configure, stage: Stage
) -> None:
    base = configure("data.sampler=pk", "triplet={mining: hard}", "head.weight=0")
    compare_losses(base, ["arcface", "cosface", "triplet"])
    assert [config.head.weight for config in stage.played] == [1, 1, 0]
    assert [config.triplet.mining for config in stage.played if config.triplet] == ["hard"] * 3


def test_rounds_have_seeds_and_folders_of_their_own(configure: Configure, stage: Stage) -> None:
    base = configure("seed=7")
    compare_losses(base, ["arcface"], n_rounds=3)
    assert [config.seed for config in stage.played] == [7, 8, 9]
    places = [base.run / "arcface" / f"seed_{seed}" for seed in (7, 8, 9)]
    assert [config.run for config in stage.played] == places


def test_numbers_of_people_rise_and_come_once(configure: Configure, stage: Stage) -> None:
    base = configure()
    found = compare_scales(base, [4, 2, 4, 3])
    assert [config.data.most_people for config in stage.played] == [2, 3, 4]
    assert [variant.people for variant in found.variants] == [2, 3, 4]
    assert stage.changes(base) == [{"data.most_people": n} for n in (2, 3, 4)]
    assert read_image(base.run / "scaling.png").std() > 0


@pytest.mark.parametrize(
    ("losses", "n_rounds", "said"),
    [
        (["arcface", "arkface"], 1, "no loss of the name 'arkface'"),
        (["arcface", "arcface"], 1, "named twice"),
        (["arcface:much"], 1, "'arcface:much' has no number after the colon"),
        (["arcface:"], 1, "'arcface:' has no number after the colon"),
        (["arcface:nan"], 1, "margin"),
        (["arcface:-1"], 1, "margin"),
        (["arcface", "combined:0.3"], 1, "combined takes 3"),
        (["arcface", "softmax:0.3"], 1, "softmax"),
        (["arcface", "triplet"], 1, "no multiple of data.photos_per_person"),
        ([], 1, "nothing to compare"),
        (["arcface"], 0, "nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_said_before_the_first_run(
    configure: Configure, stage: Stage, losses: list[str], n_rounds: int, said: str
) -> None:
    config = configure("data.photos_per_person=3")
    with pytest.raises(SettingsError, match=said):
        compare_losses(config, losses, n_rounds=n_rounds)
    assert stage.played == []
    assert not config.run.exists()


@pytest.mark.parametrize("n_people", [[], [1], [5, 0]])
def test_numbers_of_people_that_cannot_be_are_refused(
    configure: Configure, stage: Stage, n_people: list[int]
) -> None:
    with pytest.raises(SettingsError):
        compare_scales(configure(), n_people)
    assert stage.played == []


# What comes out


def test_the_table_has_mean_and_deviation_of_what_is_known(
    configure: Configure, stage: Stage
) -> None:
    found = compare_losses(configure(), ["arcface", "cosface"], n_rounds=2)
    assert found.is_complete
    assert found.measures == ["training_accuracy", "eer"]
    assert found.head == ["", "people", "training accuracy", "EER, strangers"]
    # Accuracies 0.21 and 0.22; rates 0.1 and 0.05, their deviation 0.05 / sqrt(2).
    row = ["5", "21.50% ± 0.71%", "7.50% ± 3.54%"]
    assert found.rows() == [["arcface", *row], ["cosface", *row]]


def test_the_files_say_what_the_table_says(configure: Configure, stage: Stage) -> None:
    config = configure()
    found = compare_losses(config, ["arcface", "cosface"])
    text = (config.run / "comparison.md").read_text("utf-8")
    assert "| arcface | 5 | 21.00% | 10.00% |" in text
    assert "1 round(s) each" in text
    content = json.loads((config.run / "comparison.json").read_text("utf-8"))
    assert content == json.loads(json.dumps(found.to_dict()))
    assert content["variants"][0]["mean"]["eer"] == 0.1
    assert content["variants"][0]["mean"]["tar"] is None
    assert read_image(config.run / "comparison.png").std() > 0


def test_training_accuracy_is_the_mean_of_the_last_50_steps() -> None:
    entries: list[Mapping[str, Any]] = [
        {"step": i, "loss": 1.0, "accuracy": float(i)} for i in range(1, 101)
    ]
    entries.append({"step": 100, "validation": {"accuracy": 0.5}})
    found = compare._measure(entries, {"accuracy": 0.5, "eer": None})
    assert found["training_accuracy"] == np.mean(np.arange(51, 101))
    assert found["accuracy"] == 0.5
    assert found["eer"] is None


def test_centers_that_do_not_learn_have_no_accuracy(configure: Configure, stage: Stage) -> None:
    """Those of a triplet loss alone are as they began, and would be right by chance."""
    stage.best = lambda _: {"step": 3, "epoch": 1.0, "eer": 0.1, "accuracy": 0.2}
    found = compare_losses(configure(), ["arcface", "triplet"])
    assert found.rows() == [
        ["arcface", "5", "21.00%", "20.00%", "10.00%"],
        ["triplet", "5", "", "", "10.00%"],
    ]


def test_a_run_that_is_stopped_ends_the_comparison_with_what_there_is(
    configure: Configure, stage: Stage
) -> None:
    stage.stops_after = 2
    config = configure()
    found = compare_losses(config, ["arcface", "cosface", "sphereface"])
    assert not found.is_complete
    assert [variant.name for variant in found.variants] == ["arcface", "cosface"]
    assert len(stage.played) == 2
    assert not json.loads((config.run / "comparison.json").read_text("utf-8"))["is_complete"]


def test_a_rate_that_is_not_known_is_no_point_of_the_picture(
    configure: Configure, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few strangers for a TAR are not a TAR of 0."""
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(compare, "draw_points", lambda points, *_, **__: drawn.update(points))

    def play(config: TrainConfig) -> dict[str, Any]:
        is_known = config.data.most_people == 4
        return {"step": 3, "epoch": 1.0, "eer": 0.1, "tar": 0.8 if is_known else None}

    stage.best = play
    compare_scales(configure(), [2, 4])
    assert drawn["EER, strangers"] == [(2, pytest.approx(10)), (4, pytest.approx(10))]
    assert drawn["TAR at FAR 1e-2, strangers"] == [(4, pytest.approx(80))]


def test_runs_without_validation_are_compared_by_training(
    configure: Configure, stage: Stage
) -> None:
    stage.best = lambda _: None
    assert compare_losses(configure(), ["arcface"]).measures == ["training_accuracy"]


def test_where_nothing_is_known_there_is_no_picture(configure: Configure, stage: Stage) -> None:
    stage.best = lambda _: None
    config = configure()
    assert compare_losses(config, ["triplet"]).rows() == [["triplet", "5"]]
    assert not (config.run / "comparison.png").exists()
    assert "comparison.png" not in (config.run / "comparison.md").read_text("utf-8")


def test_a_variant_knows_the_mean_and_deviation_of_the_rounds_that_know() -> None:
    rounds = [{"eer": 0.1, "tar": None}, {"eer": None, "tar": None}, {"eer": 0.3, "tar": None}]
    variant = Variant("a", 5, rounds, 1.0)
    assert variant.mean("eer") == pytest.approx(0.2)
    assert variant.spread("eer") == pytest.approx(math.sqrt(0.02))
    assert variant.mean("tar") is None
    assert variant.spread("tar") == 0


def test_what_one_variant_does_not_know_stays_empty() -> None:
    known: dict[str, float | None] = dict.fromkeys(compare._MEASURES)
    variants = [
        Variant("a", 1234, [known | {"eer": 0.1}], 1.0),
        Variant("b", 5, [known | {"tar": 0.5}], 1.0),
    ]
    rows = Comparison(Path("x"), variants, is_complete=True).rows()
    assert rows == [["a", "1,234", "10.00%", ""], ["b", "5", "", "50.00%"]]
