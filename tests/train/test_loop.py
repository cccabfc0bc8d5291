"""A run from the first step to the last, and what happens when it is cut off."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.data.manifest import lock_folder
from arcwise.errors import CheckpointError, DatasetError, InputError, LearningError
from arcwise.files import sha256_of_file
from arcwise.train import run as run_module
from arcwise.train.checkpoint import load_checkpoint
from arcwise.train.config import TrainConfig
from arcwise.train.log import RunLog
from arcwise.train.loop import LOCK_NAME, train
from arcwise.train.run import BEST, LAST

pytestmark = pytest.mark.slow

Configure = Callable[..., TrainConfig]
TIMES = {"images_per_s", "remaining_s"}


def read_losses(folder: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [
        {name: value for name, value in entry.items() if name not in TIMES}
        for entry in RunLog(folder).read()
    ]


@pytest.fixture
def averaged(configure: Configure) -> Any:
    return lambda run="run": configure("average=0.5", "network.dropout=0.2", run=run)


def test_a_run_writes_everything_that_is_needed_to_repeat_it(configure: Configure) -> None:
    config = configure()
    lines: list[str] = []
    result = train(config, report=lines.append)
    assert result.is_complete
    assert (result.step, result.n_steps) == (9, 9)
    assert result.best is not None
    assert 0 <= result.best["eer"] <= 1
    names = {path.name for path in config.run.iterdir()}
    wanted = {"README.md", "config.yaml", "environment.json", "left_out.json"}
    wanted |= {"log.jsonl", "curves.png"}
    assert names == wanted | {"checkpoints"}
    assert lines[0] == "crops of 112 px: 112 and a border of 0 on each side"
    assert lines[1].startswith("30 photos of 5 people to learn from, 18 to validate on")
    assert sum("validation: EER" in line for line in lines) == 2
    entries = read_losses(config.run)
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, 10))
    assert load_checkpoint(config.run / LAST).step == 9
    assert load_checkpoint(config.run / BEST).validation == result.best


def test_the_loss_falls(configure: Configure) -> None:
    config = configure("schedule.epochs=8", "head.margin=0.1", "validate_every_epochs=8")
    train(config)
    losses = [entry["loss"] for entry in read_losses(config.run) if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_a_run_that_was_stopped_goes_on_with_the_same_losses(averaged: Any) -> None:
    whole, broken = averaged("whole"), averaged("broken")
    train(whole)
    n_asked = 0

    def stop_after_four() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked >= 4

    first = train(broken, should_stop=stop_after_four)
    assert (first.step, first.is_complete) == (4, False)
    assert train(broken).is_complete
    assert read_losses(broken.run) == read_losses(whole.run)
    for place in (LAST, BEST):
        ours, theirs = (load_checkpoint(config.run / place).tensors for config in (whole, broken))
        assert ours.keys() == theirs.keys()
        for group, tensors in ours.items():
            assert all(bool((theirs[group][name] == t).all()) for name, t in tensors.items())


def test_a_run_that_was_cut_off_between_checkpoints_repeats_the_lost_steps(
    averaged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = averaged("whole"), averaged("broken")
    train(whole)
    real = run_module.Run.step

    def step_until_the_power_fails(self: run_module.Run, parts: Any) -> str | None:
        if self.done == 7:
            raise KeyboardInterrupt
        return real(self, parts)

    monkeypatch.setattr(run_module.Run, "step", step_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    monkeypatch.setattr(run_module.Run, "step", real)
    assert load_checkpoint(broken.run / LAST).step == 6
    assert len(RunLog(broken.run).read()) > 6
    train(broken)
    assert read_losses(broken.run) == read_losses(whole.run)


def test_a_finished_run_is_left_as_it_is(configure: Configure) -> None:
    config = configure()
    train(config)
    before, losses = sha256_of_file(config.run / LAST), read_losses(config.run)
    lines: list[str] = []
    assert train(config, report=lines.append).is_complete
    assert lines[-1] == "already complete: 9 steps"
    assert (sha256_of_file(config.run / LAST), read_losses(config.run)) == (before, losses)


def test_other_settings_are_refused_and_named(configure: Configure) -> None:
    train(configure())
    with pytest.raises(CheckpointError, match=r"optimizer\.learning_rate 0\.05, now 0\.01"):
        train(configure("optimizer.learning_rate=0.01"))


def test_how_often_is_written_may_change(configure: Configure) -> None:
    train(configure(), should_stop=lambda: True)
    assert train(configure("save_every_steps=5")).is_complete


def test_other_people_are_refused(configure: Configure, drawn_crops: Path, tmp_path: Path) -> None:
    train(configure(), should_stop=lambda: True)
    fewer = shutil.copytree(drawn_crops, tmp_path / "fewer")
    shutil.rmtree(fewer / "person0")
    with pytest.raises(CheckpointError, match=r"data\.folder|other people"):
        train(configure(f"data.folder={fewer}"))


def test_people_who_went_are_noticed(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(drawn_crops, tmp_path / "crops")
    config = configure(f"data.folder={folder}")
    train(config, should_stop=lambda: True)
    shutil.rmtree(folder / "person0")
    with pytest.raises(CheckpointError, match="learned other people or photos"):
        train(config)


def test_a_broken_checkpoint_is_named(configure: Configure) -> None:
    config = configure()
    train(config, should_stop=lambda: True)
    (config.run / LAST).write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        train(config)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(configure: Configure) -> None:
    config = configure("optimizer.learning_rate=1e30", "optimizer.clip_norm=null")
    with pytest.raises(LearningError, match=r"not finite.*at step \d, epoch") as caught:
        train(config)
    assert "learning_rate" in caught.value.hint
    note = json.loads((config.run / "not_finite.json").read_text())
    assert len(note["photos"]) == 8
    if (config.run / LAST).exists():
        tensors = load_checkpoint(config.run / LAST).tensors
        assert all(bool(t.isfinite().all()) for t in tensors["network"].values())


def test_one_person_cannot_be_learned(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_crops / "person0", tmp_path / "crops" / "person0")
    with pytest.raises(DatasetError, match="1 people are left to learn"):
        train(configure(f"data.folder={tmp_path / 'crops'}"))


def test_a_checkpoint_never_holds_what_is_not_finite(configure: Configure) -> None:
    words = ("optimizer.learning_rate=1e38", "optimizer.clip_norm=null", "save_every_steps=1")
    config = configure(*words)
    with pytest.raises(LearningError, match="not finite") as caught:
        train(config)
    assert "new folder" in caught.value.hint
    for place in (LAST, BEST):
        if (config.run / place).exists():
            for tensors in load_checkpoint(config.run / place).tensors.values():
                assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_what_another_run_left_is_not_taken_up(configure: Configure) -> None:
    former = configure("seed=5")
    train(former)
    (former.run / LAST).unlink()  # as when it was killed before its first checkpoint
    (former.run / "checkpoints" / ".0123.part").write_bytes(b"half")
    config = configure("data.validation_share=0")
    train(config)
    found = {path.name for path in (config.run / "checkpoints").iterdir()}
    assert found == {"last.safetensors", "best.replaced"}  # nobody's work is deleted


def test_two_processes_do_not_train_in_one_folder(configure: Configure) -> None:
    config = configure()
    config.run.mkdir()
    with (
        lock_folder(config.run, name=LOCK_NAME, doing="training in"),
        pytest.raises(InputError, match=r"another process .* is training in"),
    ):
        train(config)


def test_whitening_that_cannot_be_is_told_before_the_training(configure: Configure) -> None:
    config = configure("whiten=0.25", "network.dimension=31")
    with pytest.raises(LearningError, match="at least 31 training photos"):
        train(config)
    assert not (config.run / "log.jsonl").exists()


def test_a_name_that_is_no_unicode_does_not_stop_a_run(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(drawn_crops, tmp_path / "crops")
    strange = folder / os.fsdecode(b"J\xf6rg")
    strange.mkdir()
    shutil.copy(drawn_crops / "person0" / "0.png", strange / "0.png")
    config = configure(f"data.folder={folder}", "data.min_photos=2")
    train(config)
    assert "fewer than 2" in (config.run / "left_out.json").read_text()


def test_a_batch_larger_than_the_data_is_refused(configure: Configure) -> None:
    with pytest.raises(DatasetError, match="30 photos do not fill one batch of 64"):
        train(configure("schedule.batch_size=64"))


def test_a_folder_without_photos_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        train(configure(f"data.folder={tmp_path / 'empty'}"))


def test_validation_can_be_left_out(configure: Configure) -> None:
    config = configure("data.validation_share=0")
    assert train(config).best is None
    assert not (config.run / BEST).exists()


def test_learning_from_saved_embeddings_adds_its_terms(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    photos = sorted(path.relative_to(drawn_crops).as_posix() for path in drawn_crops.rglob("*.png"))
    vectors = np.random.default_rng(0).normal(size=(len(photos), 12)).astype(np.float32)
    targets = tmp_path / "targets.npz"
    np.savez(targets, names=photos, vectors=vectors)
    config = configure(f"distill.targets={targets}", "head.weight=0.1", "distill.cosine=2")
    train(config)
    for entry in read_losses(config.run):
        if "loss" in entry:
            parts = 0.1 * entry["arcface"] + 2 * entry["cosine"] + 100 * entry["relational"]
            assert entry["loss"] == pytest.approx(parts, rel=1e-5)
    tensors = load_checkpoint(config.run / LAST).tensors
    assert tensors["projection"]["weight"].shape == (12, 16)


def test_a_photo_without_saved_embedding_is_named(configure: Configure, tmp_path: Path) -> None:
    targets = tmp_path / "targets.npz"
    np.savez(targets, names=["person0/0.png"], vectors=np.ones((1, 4), np.float32))
    with pytest.raises(DatasetError, match=r"no vector for 47 of 48 photos"):
        train(configure(f"distill.targets={targets}"))
