"""Every recipe loads, and its numbers are those that were published.

Source of the numbers: the table of InsightFace's arcface_torch configs and of the other systems'
recipes in the reference (6.1, 6.2); each recipe names its own in its first lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from arcwise.data.augment import Augmentation
from arcwise.train.config import TrainConfig, load_config
from arcwise.train.schedule import scale_milestones

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
PAGE = (ROOT / "docs" / "recipes.md").read_text()
ALL = sorted(path.name for path in CONFIGS.glob("*.yaml"))
MS1M_STEPS = 3_804_846 // 256  # of an epoch; photos of the refined MS1M, batch of the ONNX zoo


@dataclass(frozen=True)
class Published:
    """One row of the table: what decides a run."""

    network: str
    batch: int
    optimizer: str
    rate: float
    decay: float
    epochs: float
    warmup: float
    loss: str
    margin: float
    sample_rate: float = 1.0


ARCFACE_TORCH = {
    "ms1mv3_r50": Published("iresnet50", 1024, "sgd", 0.1, 5e-4, 20, 0, "arcface", 0.5),
    "ms1mv3_r100": Published("iresnet100", 1024, "sgd", 0.1, 5e-4, 20, 0, "arcface", 0.5),
    "glint360k_r100": Published("iresnet100", 1024, "sgd", 0.1, 1e-4, 20, 0, "cosface", 0.4),
    "py_feat_r50": Published("iresnet50", 1024, "sgd", 0.1, 5e-4, 20, 0, "cosface", 0.4),
    "webface42m_pfc02_r50": Published(
        "iresnet50", 4096, "sgd", 0.4, 5e-4, 20, 2, "cosface", 0.4, 0.2
    ),
    "webface42m_pfc03_vit_b": Published(
        "vit_b", 24_576, "adamw", 0.001, 0.1, 40, 4, "cosface", 0.4, 0.3
    ),
}
OTHERS = {
    "onnx_zoo_r100": Published("iresnet100", 256, "sgd", 0.1, 5e-4, 30, 0, "arcface", 0.5),
    "retrieval_r50": Published("resnet50_gap", 256, "sgd", 0.02, 5e-4, 50, 5, "arcface", 0.5),
}
WORDS = {  # variants that docs/recipes.md tells as words
    ("ms1mv3_r50", "onegpu"): Published("iresnet50", 128, "sgd", 0.02, 5e-4, 20, 0, "arcface", 0.5),
    ("ms1mv3_r50", "mbf"): Published(
        "mobilefacenet", 1024, "sgd", 0.1, 1e-4, 40, 0, "arcface", 0.5
    ),
    ("glint360k_r100", "r50"): Published(
        "iresnet50", 1024, "sgd", 0.1, 1e-4, 20, 0, "cosface", 0.4
    ),
    ("py_feat_r50", "wf4m"): Published("iresnet50", 1024, "sgd", 0.1, 5e-4, 20, 0, "cosface", 0.4),
    ("py_feat_r50", "wf12m_pfc02"): Published(
        "iresnet100", 1024, "sgd", 0.1, 5e-4, 20, 0, "cosface", 0.4, 0.2
    ),
    ("py_feat_r50", "flip"): Published(
        "iresnet50", 1024, "sgd", 0.1, 5e-4, 20, 2, "cosface", 0.4, 0.1
    ),
    ("webface42m_pfc02_r50", "bs8k"): Published(
        "iresnet50", 8192, "sgd", 0.6, 5e-4, 20, 4, "cosface", 0.4, 0.2
    ),
    ("webface42m_pfc02_r50", "pfc03_r100"): Published(
        "iresnet100", 4096, "sgd", 0.4, 5e-4, 20, 2, "cosface", 0.4, 0.3
    ),
    ("webface42m_pfc02_r50", "pfc0008"): Published(
        "iresnet100", 16_384, "sgd", 0.4, 5e-4, 20, 2, "cosface", 0.4, 0.0
    ),
    ("webface42m_pfc03_vit_b", "64gpu"): Published(
        "vit_l", 24_576, "adamw", 0.001, 0.1, 40, 4, "cosface", 0.4, 0.3
    ),
}


def load(name: str, words: list[str] | None = None) -> TrainConfig:
    return load_config(CONFIGS / f"{name}.yaml", words or [])


def find_words(recipe: str, variant: str) -> list[str]:
    """The words of a line of docs/recipes.md such as `| onegpu | ms1mv3_r50 | `a=b c=d` |`."""
    row = re.search(rf"^\| {variant} \| {recipe} \| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert row, f"docs/recipes.md has no variant {variant} of {recipe}"
    return row[1].split()


def read_published(config: TrainConfig) -> Published:
    assert isinstance(config.head.margin, float)
    return Published(
        network=config.network.name,
        batch=config.schedule.batch_size,
        optimizer=config.optimizer.name,
        rate=config.optimizer.learning_rate,
        decay=config.optimizer.weight_decay,
        epochs=config.schedule.epochs,
        warmup=config.schedule.warmup_epochs,
        loss=config.head.loss,
        margin=config.head.margin,
        sample_rate=config.head.sample_rate,
    )


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_loads_and_is_in_the_table(name: str) -> None:
    load_config(CONFIGS / name)
    assert f"`configs/{name}`" in PAGE


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_has_a_folder_of_its_own(name: str) -> None:
    others = {load_config(CONFIGS / other).run for other in ALL if other != name}
    assert load_config(CONFIGS / name).run not in others


@pytest.mark.parametrize("name", [*ARCFACE_TORCH, *OTHERS])
def test_a_recipe_has_the_published_numbers(name: str) -> None:
    assert read_published(load(name)) == (ARCFACE_TORCH | OTHERS)[name]


@pytest.mark.parametrize(("recipe", "variant"), WORDS)
def test_words_of_the_page_make_the_published_variants(recipe: str, variant: str) -> None:
    config = load(recipe, find_words(recipe, variant))
    assert read_published(config) == WORDS[recipe, variant]


@pytest.mark.parametrize("name", ARCFACE_TORCH)
def test_recipes_of_arcface_torch_share_their_conventions(name: str) -> None:
    config = load(name)
    assert config.network.dimension == 512
    assert config.head.scale == 64
    assert config.precision == "float16"
    assert config.seed == 2048
    assert (config.schedule.shape, config.schedule.power) == ("poly", 1)
    assert config.optimizer.clip_norm == 5
    assert config.optimizer.decay_on == "all"
    assert config.optimizer.momentum == 0.9
    if config.optimizer.name == "sgd":
        assert config.optimizer.nesterov is False
    assert config.augment == vars_of(Augmentation.none()) | {"mirror": 0.5}
    if config.head.loss == "arcface":
        assert config.head.options == {"beyond_pi": "none", "gradient": "straight_through"}


def vars_of(augmentation: Augmentation) -> dict[str, float]:
    return {name: getattr(augmentation, name) for name in augmentation.__slots__}


@pytest.mark.parametrize("name", ["webface42m_pfc02_r50", "webface42m_pfc03_vit_b"])
def test_partial_fc_changes_all_rows_as_the_second_release_does(name: str) -> None:
    assert load(name).head.dense_update is True


def test_passes_of_the_vision_transformer_make_its_batch() -> None:
    config = load("webface42m_pfc03_vit_b")
    assert 8 * 256 * config.schedule.accumulate == config.schedule.batch_size
    assert config.network.options == {"drop_path": 0.05, "mask": 0.05}  # vit_b_dp005_mask_005


def test_milestones_of_the_onnx_zoo_follow_its_rule() -> None:
    """Steps (100,000, 140,000, 160,000) x 512 / batch; its training notebook."""
    config = load("onnx_zoo_r100")
    steps = scale_milestones([100_000, 140_000, 160_000], batch_size=config.schedule.batch_size)
    assert steps == (200_000, 280_000, 320_000)
    ours = [epoch * MS1M_STEPS for epoch in config.schedule.milestones]
    assert ours == pytest.approx(steps, rel=1e-4)
    assert config.schedule.factor == 0.1


def test_the_onnx_zoo_computes_its_margin_as_mxnet_does() -> None:
    config = load("onnx_zoo_r100")
    assert config.head.options == {"beyond_pi": "none", "gradient": "exact"}
    assert config.head.scale == 64
    assert config.network.dropout == 0.4


def test_retrieval_is_set_as_mmpretrain_has_it() -> None:
    config = load("retrieval_r50")
    assert (config.network.size_px, config.network.dimension) == (448, 2048)
    assert config.schedule.shape == "cosine"
    assert config.optimizer.nesterov is True
    assert config.head.options == {"beyond_pi": "linear", "easy_margin": False}


def test_the_attendance_system_is_set_as_its_card_says() -> None:
    config = load("industrial_r50")
    assert (config.network.name, config.network.dimension) == ("resnet50", 512)
    assert (config.head.loss, config.head.margin, config.head.scale) == ("arcface", 0.5, 64)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.1)
    assert (config.schedule.shape, config.schedule.epochs) == ("cosine", 100)
    assert config.data.most_people == 3000
    assert config.data.validation_photos > 0
    assert config.best_by == "accuracy"


ROUNDS = [
    line.removeprefix("#").split(maxsplit=1)[1].strip()
    for line in (CONFIGS / "industrial_r50.yaml").read_text().splitlines()
    if re.match(r"#   (SphereFace|Triplet)", line)
]


@pytest.mark.parametrize("round_words", ROUNDS)
def test_the_comparative_rounds_of_its_comments_load(round_words: str) -> None:
    words = re.findall(r"\S+='[^']*'|\S+", round_words)
    config = load("industrial_r50", [word.replace("'", "") for word in words])
    assert config.run != load("industrial_r50").run
    assert (config.triplet is not None) is (config.head.weight == 0)


def test_there_are_two_comparative_rounds_beside_arcface() -> None:
    assert len(ROUNDS) == 2
