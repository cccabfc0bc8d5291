"""What people read of a run: true, without names of people, and whole without validation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.material import Material, open_material
from arcwise.train.story import describe_start, tell_score, write_story

Configure = Callable[..., TrainConfig]
SCORE = {"eer": 0.0321, "tar": 0.875, "n_genuine": 45, "n_impostor": 12_345}
KNOWN = {"accuracy": 0.9, "loss_with_margin": 5.4321, "loss_without_margin": 1.25, "n_known": 5}
BEST = {"step": 6, "epoch": 2.0}


def make_learner(config: TrainConfig, material: Material) -> Learner:
    return Learner(config, n_people=material.n_people, n_targets=0, device=torch.device("cpu"))


def tell(config: TrainConfig, *, done: int = 9, best: dict[str, float] | None = None) -> str:
    path = write_story(config.run, config, open_material(config), done=done, best=best)
    assert path == config.run / "README.md"
    return path.read_text("utf-8")


def test_a_story_tells_data_network_loss_and_schedule(configure: Configure) -> None:
    text = tell(configure("head.margin=0.3", "head.scale=16"))
    assert text.startswith("# run\n")
    for row in (
        "| people learned | 5 |",
        "| photos learned | 30 |",
        "| names left out | 0 (left_out.json) |",
        "| network | tiny, 16 dimensions |",
        "| loss | arcface, margin 0.3, scale 16.0 |",
        "| optimizer | sgd, rate 0.05 |",
        "| schedule | 3 epochs of batches of 8 |",
        "| steps done | 9, 3.00 epochs |",
    ):
        assert row in text


def test_a_story_without_validation_has_no_word_on_it(configure: Configure) -> None:
    text = tell(configure("data.validation_share=0"))
    assert "validation" not in text
    assert "None" not in text
    assert "arcwise export" in text


def test_a_story_tells_the_best_validation_and_what_it_is_worth(configure: Configure) -> None:
    text = tell(configure(), best=BEST | SCORE | KNOWN)
    assert "## Best validation, after epoch 2\n" in text
    for row in (
        "| equal error rate, strangers | 3.21% |",
        "| TAR at FAR 1e-2, strangers | 87.50% |",
        "| impostor pairs | 12,345 |",
        "| accuracy, new photos of known people | 90.00% |",
        "| loss on them, with margin | 5.432 |",
    ):
        assert row in text
    assert "chose the checkpoint" in text


def test_what_was_not_measured_has_no_row(configure: Configure) -> None:
    text = tell(configure(), best=BEST | SCORE | {"tar": None})  # type: ignore[arg-type]
    assert "equal error rate" in text
    assert "TAR" not in text
    assert "known people" not in text


def test_no_name_of_a_person_is_in_the_story(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    """Of nobody who is learned, validated on or left out, and no path of the data."""
    people = [f"Person Nr {i}" for i in range(8)]
    for i, person in enumerate(people):
        shutil.copytree(drawn_crops / f"person{i}", tmp_path / "photos" / person)
    (tmp_path / "names.txt").write_text(people[3])
    config = configure(
        f"data.folder={tmp_path / 'photos'}",
        f"data.leave_out={tmp_path / 'names.txt'}",
        "data.validation_photos=0.2",
    )
    material = open_material(config)
    lines = describe_start(config, material, make_learner(config, material))
    text = "\n".join([tell(config, best=BEST | SCORE | KNOWN), *lines])
    assert "1 (left_out.json)" in text
    assert "Person Nr" not in text
    assert str(tmp_path) not in text


def test_every_term_of_the_loss_is_told_with_its_weight(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    pk = ("data.sampler=pk", "data.photos_per_person=4", "triplet={}")
    assert "| loss | triplet, margin 0.2, semihard |" in tell(configure(*pk, "head.weight=0"))
    both = tell(configure(*pk, "head.weight=0.5", "head.loss=cosface"))
    told = "0.5 x cosface, margin its default, scale auto; 1 x triplet, margin 0.2, semihard"
    assert f"| loss | {told} |" in both
    photos = [path.relative_to(drawn_crops).as_posix() for path in sorted(drawn_crops.rglob("*.*"))]
    vectors = np.random.default_rng(0).normal(size=(48, 64)).astype(np.float32)
    np.savez(tmp_path / "targets.npz", names=photos, vectors=vectors)
    words = (f"distill.targets={tmp_path / 'targets.npz'}", "distill.relational=0")
    assert "; 20 x cosine to targets |" in tell(configure(*words))


def test_a_name_that_is_no_utf_8_can_be_written(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    folder = tmp_path / "run\udcff"
    try:
        folder.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("the file system takes no such names")
    text = write_story(folder, config, open_material(config), done=0, best=None).read_text("utf-8")
    assert text.startswith("# run\\udcff\n")


# The first lines, and those of a validation


def test_the_start_tells_what_is_learned_from(configure: Configure) -> None:
    config = configure("data.validation_photos=0.2")
    material = open_material(config)
    lines = describe_start(config, material, make_learner(config, material))
    assert lines[:2] == [
        "crops of 112 px: 112 and a border of 0 on each side",
        "25 photos of 5 people to learn from, 18 to validate on; 0 names left out (left_out.json)",
    ]
    assert lines[2].startswith("tiny: 0.01 million parameters, 16 dimensions, on cpu")
    assert lines[3:] == ["5 photos of known people are kept to validate on"]


def test_the_start_says_why_nobody_is_validated_on(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"person{i}" for i in range(5)))
    for share, wanted in ((0.4, True), (0.0, False)):
        config = configure(
            f"data.validation_share={share}", f"data.leave_out={tmp_path / 'names.txt'}"
        )
        material = open_material(config)
        lines = describe_start(config, material, make_learner(config, material))
        assert material.validation is None
        assert any("too few people have two photos" in line for line in lines) is wanted


def test_a_score_is_told_as_far_as_it_is_known() -> None:
    assert tell_score(SCORE) == "EER 3.21%, TAR at FAR 1e-2 87.50%"
    assert tell_score(SCORE | {"tar": None}) == "EER 3.21%"
    assert tell_score({"eer": 0.0}) == "EER 0.00%"
    assert tell_score(KNOWN) == "known people: accuracy 90.00%, loss 5.43 with margin, 1.25 without"
