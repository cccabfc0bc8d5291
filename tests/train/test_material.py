from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arcwise.errors import DatasetError
from arcwise.train.config import TrainConfig
from arcwise.train.material import open_material

Configure = Callable[..., TrainConfig]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A list of two folds: people 0 and 1 in the first, 2 and 3 in the second."""
    lines = ["a,b,is_same,fold"]
    for fold, (one, two) in enumerate([(0, 1), (2, 3)]):
        lines += [
            f"person{one}/0.png,person{one}/1.png,1,{fold + 1}",
            f"person{one}/0.png,person{two}/1.png,0,{fold + 1}",
        ]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_people_of_test_folds_are_never_read(configure: Configure, pairs: Path) -> None:
    material = open_material(
        configure(f"data.pairs={pairs}", "data.test_folds=[1]", "data.validation_folds=[2]")
    )
    learned = {material.folder.samples[i].person for i in material.split.training}
    validated = {material.folder.samples[i].person for i in material.split.validation}
    assert learned == {f"person{i}" for i in (4, 5, 6, 7)}
    assert validated == {"person2", "person3"}
    assert material.split.left_out == dict.fromkeys(["person0", "person1"], "will be scored")


def test_a_fold_that_is_not_there_is_refused(configure: Configure, pairs: Path) -> None:
    with pytest.raises(DatasetError, match="has 2 folds, there is no fold 3"):
        open_material(configure(f"data.pairs={pairs}", "data.test_folds=[3]"))


def test_who_is_named_in_a_file_is_left_out(configure: Configure, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("person5\n\n person6 \n", encoding="utf-8")
    material = open_material(configure(f"data.leave_out={names}"))
    assert {"person5", "person6"} <= material.split.left_out.keys()
    assert not {"person5", "person6"} & set(material.split.people)


def test_targets_are_those_of_the_training_photos_without_their_mean(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    photos = sorted(path.relative_to(drawn_crops).as_posix() for path in drawn_crops.rglob("*.png"))
    vectors = np.random.default_rng(1).normal(5, 1, (48, 6)).astype(np.float32)
    path = tmp_path / "targets.npz"
    np.savez(path, names=photos, vectors=vectors)
    words = (f"distill.targets={path}", "data.lookalike_similarity=null")
    for center in (True, False):
        material = open_material(configure(*words, f"distill.center={str(center).lower()}"))
        batch = material.loader.make(0)
        assert batch.targets is not None
        wanted = vectors[material.split.training]
        if center:
            wanted = wanted - wanted.mean(axis=0)
        assert np.allclose(batch.targets.numpy(), wanted[batch.rows], atol=1e-5)


def test_lookalikes_of_kept_people_are_left_out(
    configure: Configure, drawn_crops: Path, pairs: Path, tmp_path: Path
) -> None:
    photos = sorted(path.relative_to(drawn_crops).as_posix() for path in drawn_crops.rglob("*.png"))
    vectors = np.random.default_rng(1).normal(size=(48, 64)).astype(np.float32)
    vectors[photos.index("person6/3.png")] = vectors[photos.index("person0/2.png")]
    path = tmp_path / "targets.npz"
    np.savez(path, names=photos, vectors=vectors)
    material = open_material(
        configure(
            f"distill.targets={path}",
            f"data.pairs={pairs}",
            "data.test_folds=[1]",
            "data.validation_folds=[2]",
        )
    )
    assert material.split.left_out["person6"] == "looks like person0 (1.00)"


def test_twins_of_drawn_validation_people_are_left_out(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    plain = open_material(configure())
    drawn = sorted({plain.folder.samples[i].person for i in plain.split.validation})
    photos = [sample.photo for sample in plain.folder.samples]
    vectors = np.random.default_rng(1).normal(size=(48, 64)).astype(np.float32)
    twin = plain.split.people[0]
    vectors[photos.index(f"{twin}/3.png")] = vectors[photos.index(f"{drawn[0]}/2.png")]
    path = tmp_path / "targets.npz"
    np.savez(path, names=photos, vectors=vectors)
    material = open_material(configure(f"distill.targets={path}"))
    assert material.split.left_out[twin] == f"looks like {drawn[0]} (1.00)"


def test_who_is_left_out_needs_no_target(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    photos = sorted(path.relative_to(drawn_crops).as_posix() for path in drawn_crops.rglob("*.png"))
    vectors = np.random.default_rng(1).normal(size=(48, 64)).astype(np.float32)
    path, names = tmp_path / "targets.npz", tmp_path / "names.txt"
    np.savez(path, names=photos[1:], vectors=vectors[1:])
    names.write_text(photos[0] + "\n")
    material = open_material(configure(f"distill.targets={path}", f"data.leave_out={names}"))
    assert material.n_targets == 64


def test_the_digest_changes_with_people_and_targets(configure: Configure, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("person5\n")
    plain, fewer = configure(), configure(f"data.leave_out={names}")
    assert open_material(plain).people_digest == open_material(plain).people_digest
    assert open_material(plain).people_digest != open_material(fewer).people_digest
