"""What a run can do besides: each shown on the small run of drawn people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arcwise.data.loader import Batch
from arcwise.errors import DatasetError, LearningError
from arcwise.nn.weights import save_weights
from arcwise.train import learner as learner_module
from arcwise.train.checkpoint import load_checkpoint
from arcwise.train.config import TrainConfig, free_on_resume
from arcwise.train.learner import Learner
from arcwise.train.log import RunLog
from arcwise.train.loop import train
from arcwise.train.run import LAST

pytestmark = pytest.mark.slow

Configure = Callable[..., TrainConfig]


def losses_of(folder: Path) -> list[float]:
    return [entry["loss"] for entry in RunLog(folder).read() if "loss" in entry]


def last(folder: Path) -> dict[str, Any]:
    return [entry for entry in RunLog(folder).read() if "loss" in entry][-1]


@pytest.mark.parametrize(
    "loss",
    [
        "softmax",
        "norm_softmax",
        "cosface",
        "sphereface",
        "a_softmax",
        "combined",
        "curricularface",
        "adaface",
        "magface",
        "elasticface",
    ],
)
def test_every_loss_trains_and_goes_on_after_a_stop(configure: Configure, loss: str) -> None:
    words = (f"head.loss={loss}", "data.validation_share=0", "schedule.epochs=1.4")
    whole, broken = configure(*words, run="whole"), configure(*words, run="broken")
    train(whole)
    train(broken, should_stop=lambda: True)
    assert last(broken.run)["step"] == 1
    train(broken)
    assert losses_of(broken.run) == losses_of(whole.run)
    assert all(math.isfinite(value) for value in losses_of(whole.run))


def test_a_line_is_logged_for_each_step_whatever_people_see(configure: Configure) -> None:
    config = configure("log_every_steps=4")
    lines: list[str] = []
    train(config, report=lines.append)
    assert len(losses_of(config.run)) == 9
    assert sum("img/s" in line for line in lines) == 3  # after 4, 8 and the last


def test_micro_batches_add_up_to_the_step(configure: Configure) -> None:
    """Without running statistics in the way, which differ between halves of a batch."""
    whole, parts = (
        configure(f"schedule.accumulate={n}", "network.freeze_statistics=true", run=str(n))
        for n in (1, 2)
    )
    train(whole)
    train(parts)
    assert losses_of(parts.run) == pytest.approx(losses_of(whole.run), rel=1e-4)


def test_a_frozen_network_stays_and_its_head_learns(configure: Configure) -> None:
    config = configure("network.freeze_epochs=2", "schedule.epochs=3", "save_every_steps=1")
    seen: list[dict[str, torch.Tensor]] = []

    def look() -> bool:
        path = config.run / LAST
        if path.exists():
            tensors = load_checkpoint(path).tensors
            seen.append({"fc": tensors["network"]["fc.weight"], "head": tensors["head"]["weight"]})
        return False

    train(config, should_stop=look)
    assert torch.equal(seen[0]["fc"], seen[4]["fc"])  # of the second and the sixth step
    assert not torch.equal(seen[0]["head"], seen[4]["head"])
    assert not torch.equal(seen[4]["fc"], seen[-1]["fc"])


def test_centers_that_start_at_class_means_know_the_photos(
    configure: Configure, tmp_path: Path
) -> None:
    first = configure(run="first")
    train(first)
    tensors = load_checkpoint(first.run / LAST).tensors["network"]
    network = Learner(first, n_people=5, n_targets=0, device=torch.device("cpu")).network
    network.load_state_dict(dict(tensors))
    weights = save_weights(tmp_path / "w.safetensors", network, name="tiny", dimension=16)
    words = (f"network.weights={weights}", "network.freeze_epochs=1", "schedule.epochs=1")
    means = configure(*words, "head.start=class_mean", run="means")
    random = configure(*words, run="random")
    train(means)
    train(random)
    assert losses_of(means.run)[0] < 0.8 * losses_of(random.run)[0]


def test_partial_fc_trains_and_goes_on_after_a_stop(configure: Configure) -> None:
    words = ("head.sample_rate=0.7", "data.validation_share=0", "optimizer.name=adamw")
    words = (*words, "optimizer.learning_rate=0.001", "head.subcenters=2")
    whole, broken = configure(*words, run="whole"), configure(*words, run="broken")
    train(whole)
    train(broken, should_stop=lambda: True)
    train(broken)
    assert losses_of(broken.run) == losses_of(whole.run)
    memory = load_checkpoint(whole.run / LAST).tensors["head"]
    assert {"weight", "memory.exp_avg", "memory.exp_avg_sq", "memory.steps"} == set(memory)
    assert memory["weight"].shape == (16, 16)  # 8 people, 2 sub-centers


def test_a_triplet_loss_alone_trains(configure: Configure) -> None:
    config = configure("data.sampler=pk", "data.photos_per_person=4", "triplet={}", "head.weight=0")
    train(config)
    entry = last(config.run)
    assert entry["loss"] == entry["triplet"]


def test_new_photos_of_known_people_are_validated_with_and_without_margin(
    configure: Configure,
) -> None:
    config = configure("data.validation_photos=0.2", "best_by=accuracy")
    result = train(config)
    assert result.best is not None
    assert result.best["n_known"] == 5  # one photo of six of each of five people
    assert 0 <= result.best["accuracy"] <= 1
    assert result.best["loss_with_margin"] > result.best["loss_without_margin"] > 0
    story = (config.run / "README.md").read_text("utf-8")
    assert "accuracy, new photos of known people" in story


def test_a_run_that_no_longer_improves_ends_early(configure: Configure) -> None:
    config = configure(
        "patience=1",
        "validate_every_epochs=0.34",
        "schedule.epochs=40",
        "optimizer.learning_rate=1e-12",
        "network.freeze_epochs=40",
    )
    lines: list[str] = []
    result = train(config, report=lines.append)
    assert result.is_complete
    assert result.step == 2  # the second validation found the same network
    assert any("has not improved" in line for line in lines)
    again: list[str] = []
    assert train(config, report=again.append).is_complete
    assert again[-1].startswith("already complete")


def test_checkpoints_can_be_kept(configure: Configure) -> None:
    config = configure("keep_every_epochs=1")
    train(config)
    kept = sorted(path.name for path in (config.run / "checkpoints").glob("epoch_*"))
    assert kept == ["epoch_1.safetensors", "epoch_2.safetensors", "epoch_3.safetensors"]
    assert load_checkpoint(config.run / "checkpoints" / kept[1]).step == 6


def test_float16_scales_its_loss_and_says_so(configure: Configure) -> None:
    config = configure("precision=float16", "schedule.epochs=2")
    train(config)
    entry = last(config.run)
    assert entry["loss_scale"] >= 1
    assert entry["is_skipped"] in {True, False}


def test_a_wrong_first_loss_is_told(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    train(configure(run="right"), report=lines.append)
    assert not any(line.startswith("warning") for line in lines)
    monkeypatch.setattr(learner_module, "expected_first_loss", lambda *_, **__: 69.08)
    train(configure(run="wrong"), report=lines.append)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "the first loss is" in warning
    assert "69.08" in warning


def test_a_batch_that_is_not_finite_is_kept_and_its_layer_named(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    real = learner_module.Learner.step

    def spoil(self: Learner, parts: Any, **known: Any) -> Any:
        if self.n_steps == 2:
            with torch.no_grad():
                self.network.cells[0].weight[0, 0, 0, 0] = math.inf  # type: ignore[union-attr, index]
        return real(self, parts, **known)

    monkeypatch.setattr(learner_module.Learner, "step", spoil)
    with pytest.raises(LearningError, match=r"cells\.0 was the first that was not"):
        train(config)
    with np.load(config.run / "not_finite.npz", allow_pickle=False) as kept:
        assert kept["crops"].shape == (8, 3, 112, 112)
        assert kept["labels"].shape == kept["rows"].shape == (8,)
    assert json.loads((config.run / "not_finite.json").read_text())["step"] == 3
    assert load_checkpoint(config.run / LAST).step == 2
    mode = (config.run / "not_finite.npz").stat().st_mode
    assert mode & 0o077 == 0  # it holds photos of people


def test_margins_of_people_follow_their_photos_or_a_file(
    configure: Configure, tmp_path: Path
) -> None:
    train(configure("head.class_margins=counts", run="counts"))
    path = tmp_path / "margins.txt"
    path.write_text("\n".join(["0.1", "0.2", "0.3", "0.4", "0.5"]))
    train(configure(f"head.class_margins={path}", run="file"))
    path.write_text("0.1\n0.2")
    with pytest.raises(DatasetError, match="2 margins for 5 people"):
        train(configure(f"head.class_margins={path}", run="short"))


def test_fewer_people_can_be_learned_and_each_draw_holds_the_smaller(
    configure: Configure,
) -> None:
    left: list[set[str]] = []
    for number in (2, 4):
        config = configure(f"data.most_people={number}", "data.validation_share=0", run=str(number))
        result = train(config)
        assert result.n_people == number
        left.append(set(json.loads((config.run / "left_out.json").read_text())))
    assert left[1] < left[0]


def test_tensorboard_shows_the_run(configure: Configure) -> None:
    pytest.importorskip("tensorboard")
    config = configure("tensorboard=true")
    train(config)
    assert list((config.run / "tensorboard").glob("events*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_network_learns_the_same(configure: Configure) -> None:
    plain, compiled = configure(run="plain"), configure("compile=true", run="compiled")
    train(plain)
    train(compiled)
    assert losses_of(compiled.run) == pytest.approx(losses_of(plain.run), rel=1e-3)


def test_the_deterministic_mode_ends_with_the_run(configure: Configure) -> None:
    seen: list[bool] = []

    def look() -> bool:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return True

    train(configure("deterministic=true"), should_stop=look)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_best_is_told_by_what_can_be_measured(configure: Configure) -> None:
    config = configure(
        "data.validation_share=0", "data.validation_photos=0.2", "schedule.epochs=4",
        "validate_every_epochs=1", "head.margin=0.1",
    )  # fmt: skip
    lines: list[str] = []
    result = train(config, report=lines.append)
    assert "the best is chosen by accuracy: eer cannot be told" in lines
    scores = [e["validation"] for e in RunLog(config.run).read() if "validation" in e]
    assert result.best is not None
    assert result.best["accuracy"] == max(score["accuracy"] for score in scores)


@pytest.mark.parametrize(
    ("words", "is_free"),
    [
        (("head.loss=arcface",), True),
        (("head.loss=curricularface",), False),
        (("head.loss=elasticface",), False),
        (("data.sampler=pk", "triplet={}"), False),
    ],
)
def test_micro_batches_may_change_where_nothing_looks_at_them(
    configure: Configure, words: tuple[str, ...], is_free: bool
) -> None:
    assert ("schedule.accumulate" in free_on_resume(configure(*words))) is is_free


def test_a_step_that_float16_leaves_out_leaves_the_loss_as_it_was(configure: Configure) -> None:
    config = configure("precision=float16", "head.loss=adaface", "network.freeze_statistics=true")
    learner = Learner(config, n_people=4, n_targets=0, device=torch.device("cpu"))
    before = {name: value.clone() for name, value in learner.head.rule.named_buffers()}
    learner.loss_scale.value = 3e38  # every gradient overflows
    crops = torch.rand(8, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(crops, torch.arange(8) % 4, None, np.arange(8))
    found = learner.step([batch], learning_rate=0.1, strength=1.0)
    assert found.is_skipped
    assert learner.loss_scale.value == 1.5e38
    after = dict(learner.head.rule.named_buffers())
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_frozen_network_can_be_trained_on_in_float16(configure: Configure) -> None:
    config = configure("precision=float16", "network.freeze_epochs=3", "head.margin=0.1")
    train(config)
    assert last(config.run)["gradient_norm"] == 0
    assert losses_of(config.run)[-1] < losses_of(config.run)[0]
