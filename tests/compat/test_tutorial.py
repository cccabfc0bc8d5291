"""A config of the tutorial loads as it is, and what it means here is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arcwise.compat.tutorial import is_tutorial_config, translate_tutorial
from arcwise.errors import SettingsError
from arcwise.train.config import TrainConfig, load_config

FILE = """\
# Our own example, with the keys of the tutorial's README.
model:
  backbone: resnet18
  metric: arc_margin
  use_se: false
  num_classes: 100
loss:
  type: focal_loss
  gamma: 2
training:
  batch_size: 32
  max_epoch: 100
  lr: 0.001
  lr_step: 20
  optimizer: sgd
  weight_decay: 5e-4
paths:
  train_root: lfw/lfw-align-128
  train_list: lfw/train_list.txt
  checkpoints_path: checkpoints
  test_model_path: checkpoints/resnet18_best.pth
"""

FLAT: dict[str, Any] = {  # the names of the Config class it descends from, ronghuaiyang
    "backbone": "resnet18",
    "metric": "add_margin",
    "easy_margin": False,
    "loss": "focal_loss",
    "train_root": "faces",
    "train_batch_size": 16,
    "input_shape": [1, 128, 128],
    "optimizer": "sgd",
    "max_epoch": 50,
    "lr": 0.1,
    "lr_step": 10,
    "lr_decay": 0.95,
    "weight_decay": 5e-4,
    "print_freq": 100,
    "save_interval": 10,
    "use_gpu": True,
}


def translate(values: dict[str, Any]) -> dict[str, Any]:
    return translate_tutorial(values)[0]


def change(**sections: dict[str, Any]) -> dict[str, Any]:
    """A small config with some keys changed."""
    base: dict[str, Any] = {
        "model": {"backbone": "resnet18", "metric": "arc_margin"},
        "training": {"max_epoch": 10, "lr": 0.1, "lr_step": 4},
        "paths": {"train_root": "faces"},
    }
    return base | {name: base.get(name, {}) | keys for name, keys in sections.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "config.yaml"
    place.write_text(FILE)
    return place


def load(path: Path, *words: str) -> TrainConfig:
    return load_config(path, words, translate=lambda values: translate_tutorial(values)[0])


def test_its_file_loads_as_it_is(path: Path) -> None:
    config = load(path)
    assert config.run == Path("checkpoints")
    assert config.data.folder == Path("lfw/train_list.txt")
    assert config.data.root == Path("lfw/lfw-align-128")
    assert config.network.name == "resnet_face18"
    assert config.network.dimension == 512
    assert config.network.dropout == 0.5
    assert config.network.options == {"se": False}
    assert (config.head.loss, config.head.margin, config.head.scale) == ("arcface", 0.5, 30.0)
    assert (config.head.focal_gamma, config.head.focal_form) == (2.0, "batch_mean")
    assert config.schedule.batch_size == 32
    assert config.schedule.epochs == 100
    assert config.schedule.milestones == (20, 40, 60, 80)
    assert config.schedule.factor == 0.1
    assert config.schedule.warmup_epochs == 0
    assert config.optimizer.name == "sgd"
    assert config.optimizer.momentum == 0.9
    assert config.optimizer.nesterov is False
    assert config.optimizer.learning_rate == 0.001
    assert config.optimizer.weight_decay == 5e-4
    assert config.optimizer.decay_on == "all"
    assert config.optimizer.clip_norm is None
    assert config.augment["mirror"] == 0.5
    assert sum(config.augment.values()) == 0.5, "nothing else is changed"


def test_words_win_over_its_file(path: Path) -> None:
    config = load(path, "schedule.epochs=2", "schedule.milestones=[1]", "run=runs/mine")
    assert (config.schedule.epochs, config.run) == (2, Path("runs/mine"))


def test_everything_that_was_decided_is_told(path: Path) -> None:
    from arcwise.train.recipe import read_yaml

    _, notes = translate_tutorial(read_yaml(FILE.encode(), "a test"))
    text = "\n".join(notes)
    assert "focal_loss weighs the mean of a batch" in text
    assert "the rate falls to 0.1 of itself every 20 epochs" in text
    assert "from epoch 60 of 100 on the rate is 0.001 of the first one" in text
    assert "num_classes (100) is not used: people are counted in the data" in text
    assert "test_model_path ('checkpoints/resnet18_best.pth') is not used" in text


def test_keys_may_stand_without_sections() -> None:
    found = translate(FLAT)
    config = TrainConfig.from_dict(found)
    assert (config.head.loss, config.head.margin, config.head.scale) == ("cosface", 0.35, 30.0)
    assert config.schedule.batch_size == 16
    assert config.log_every_steps == 100
    assert config.keep_every_epochs == 10
    assert config.device == "auto"


def test_the_words_it_does_not_read_itself_change_nothing() -> None:
    _, notes = translate_tutorial(FLAT)
    assert any(note.startswith("lr_decay (0.95) is not used") for note in notes)


@pytest.mark.parametrize(
    ("metric", "loss", "margin"),
    [
        ("arc_margin", "arcface", 0.5),
        ("add_margin", "cosface", 0.35),
        ("sphere", "a_softmax", 4.0),
        ("linear", "softmax", None),
    ],
)
@pytest.mark.parametrize("kind", ["focal_loss", "cross_entropy"])
def test_every_metric_goes_with_every_loss(
    metric: str, loss: str, margin: float | None, kind: str
) -> None:
    values = change(model={"metric": metric}, loss={"type": kind})
    config = TrainConfig.from_dict(translate(values))
    assert (config.head.loss, config.head.margin) == (loss, margin)
    assert config.head.focal_gamma == (2.0 if kind == "focal_loss" else None)


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("use_se", [False, True])
def test_every_backbone_is_there_with_and_without_excitation(depth: int, use_se: bool) -> None:
    values = change(model={"backbone": f"resnet{depth}", "use_se": use_se})
    config = TrainConfig.from_dict(translate(values))
    assert config.network.name == f"resnet_face{depth}"
    assert config.network.options == {"se": use_se}


@pytest.mark.parametrize("name", ["adam", "sgd", "adamw"])
def test_every_optimizer_is_taken(name: str) -> None:
    config = TrainConfig.from_dict(translate(change(training={"optimizer": name})))
    assert config.optimizer.name == name


def test_easy_margin_stays_easy() -> None:
    values = change(model={"easy_margin": True})
    config = TrainConfig.from_dict(translate(values))
    assert config.head.options["easy_margin"] is True


def test_scale_and_margin_of_its_own_are_taken() -> None:
    found = translate(change(model={"s": 64, "m": 0.3}))
    assert (found["head"]["scale"], found["head"]["margin"]) == (64.0, 0.3)


def test_a_rate_that_never_falls_is_constant() -> None:
    config = TrainConfig.from_dict(translate(change(training={"lr_step": 10})))
    assert config.schedule.shape == "constant"
    assert config.schedule.milestones == ()


def test_what_nobody_knows_is_told_and_not_dropped_in_silence() -> None:
    _, notes = translate_tutorial(change(model={"attention": 3}))
    assert "attention (3) is not used: it is not known" in notes


def test_nothing_that_was_given_is_changed() -> None:
    values = change(model={"metric": "sphere"})
    before = repr(values)
    translate(values)
    translate(values)["head"]["options"]["start"] = 1.0
    assert repr(values) == before
    assert translate(values)["head"]["options"]["start"] == 1000.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (change(training={"lr": "fast"}), "lr of the tutorial's config is 'fast'"),
        (change(training={"max_epoch": 2.5}), "max_epoch of the tutorial's config is 2.5"),
        (change(training={"batch_size": True}), "batch_size of the tutorial's config is True"),
        (change(model={"use_se": "yes"}), "use_se of the tutorial's config is 'yes'"),
        (change(model={"backbone": "vgg16"}), "backbone of the tutorial's config is 'vgg16'"),
        (change(loss={"type": "hinge"}), "loss of the tutorial's config is 'hinge'"),
        (change(training={"optimizer": "lion"}), "optimizer of the tutorial's config is 'lion'"),
        (change(training={"lr_step": 0}), "lr_step of the tutorial's config is 0"),
        (change(model={"input_shape": [3, 112, 112]}), "input_shape of the tutorial's config"),
        (change(model={"input_shape": 128}), "input_shape of the tutorial's config is 128"),
        (change(paths={"train_root": None}), "names no photos"),
    ],
)
def test_a_value_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        translate_tutorial(values)


@pytest.mark.parametrize(
    "values", [{"training": {"lr": 0.1}}, {"paths": {}}, FLAT, {"max_epoch": 3}], ids=str
)
def test_its_configs_are_known_from_their_keys(values: dict[str, Any]) -> None:
    assert is_tutorial_config(values)


def test_our_own_configs_are_not_its() -> None:
    own = TrainConfig.from_dict({"run": "x", "data": {"folder": "y"}}).to_dict()
    assert not is_tutorial_config(own)
    assert not is_tutorial_config({})
