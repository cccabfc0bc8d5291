from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from arcwise.data.folder import CropFolder
from arcwise.data.sampler import SAMPLERS
from arcwise.errors import DatasetError, InputError
from arcwise.train.config import TrainConfig
from arcwise.train.material import Material, open_material
from tests.ranks.threads import name_ranks

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


# Where the paths of a list begin


def test_a_list_is_read_with_its_root(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    """Far from its photos; without the root they are not found."""
    path = tmp_path / "lists" / "train.txt"
    path.parent.mkdir()
    lines = [f"person{p}/{i}.png {p}" for p in (2, 5, 7) for i in range(4)]
    path.write_text("\n".join(lines) + "\n")
    words = (f"data.folder={path}", "data.validation_share=0")
    material = open_material(configure(*words, f"data.root={drawn_crops}"))
    assert material.n_people == 3
    assert len(material.split.training) == 12
    crop = material.folder.read(int(material.split.training[0]))
    assert np.array_equal(crop, CropFolder(drawn_crops).read(2 * 6))
    with pytest.raises(DatasetError, match="the first photo of"):
        open_material(configure(*words))


# Which photos make up a step


def people_of(material: Material, step: int) -> list[int]:
    labels: list[int] = material.loader.make(step).labels.tolist()
    return labels


def test_each_sampler_makes_its_own_batches(configure: Configure, drawn_crops: Path) -> None:
    for name, options in (("shuffled", ""), ("balanced", ""), ("pk", "4")):
        words = [f"data.sampler={name}"] + [f"data.photos_per_person={k}" for k in options]
        material = open_material(configure(*words))
        assert type(material.sampler) is type(SAMPLERS[name](np.arange(40) // 8, 8, 1, 4))
        people = people_of(material, 0)
        assert len(people) == 8
        if name == "balanced":
            assert set(people) == set(range(5)), "everybody once before anybody twice"
        if name == "pk":
            assert len({*people[:4]}) == len({*people[4:]}) == 1
            assert people[0] != people[4]


def test_a_batch_is_the_same_however_it_is_divided(configure: Configure) -> None:
    """Two ranks, or two parts of one: places in the batch, and changes of the photos."""
    whole = open_material(configure()).loader.make(3)
    parts = open_material(configure("schedule.accumulate=2")).loader
    ranks = [open_material(configure(), rank).loader for rank in name_ranks(2)]
    for pieces in ([parts.make(3, 0), parts.make(3, 1)], [loader.make(3) for loader in ranks]):
        assert np.array_equal(np.concatenate([piece.rows for piece in pieces]), whole.rows)
        assert torch.equal(torch.cat([piece.crops for piece in pieces]), whole.crops)
        assert torch.equal(torch.cat([piece.labels for piece in pieces]), whole.labels)


def test_people_who_cannot_fill_a_batch_are_too_few(configure: Configure) -> None:
    with pytest.raises(DatasetError, match="5 people do not fill a batch of 8 people"):
        open_material(
            configure("data.sampler=pk", "schedule.batch_size=16", "data.photos_per_person=2")
        )


# Photos that are kept apart


def test_photos_of_known_people_are_kept_apart(configure: Configure) -> None:
    config = configure("data.validation_photos=0.34")
    material = open_material(config)
    assert material.known is not None
    assert material.known.n_photos == 10  # two of six, of five people
    assert not set(material.split.held) & set(material.split.training)
    assert open_material(configure()).known is None


def test_strangers_are_the_same_however_many_people_are_learned(configure: Configure) -> None:
    found = [open_material(configure(f"data.most_people={n}")).split.validation for n in (2, 3, 5)]
    assert all(np.array_equal(one, found[0]) for one in found)


def test_without_strangers_and_held_photos_nothing_is_validated(configure: Configure) -> None:
    assert not open_material(configure("data.validation_share=0")).can_validate
    words = ("data.validation_share=0", "data.validation_photos=0.2")
    assert open_material(configure(*words)).can_validate


# Margins of people


def test_rarer_people_get_larger_margins(
    configure: Configure, drawn_crops: Path, tmp_path: Path
) -> None:
    """By the photos that are learned from: those kept apart do not count."""
    names = [f"person{p}/{i}.png" for p in range(5) for i in range(6 - p)]  # 6 to 2 photos
    (tmp_path / "list.txt").write_text("\n".join(f"{name} {name[6]}" for name in names))
    material = open_material(
        configure(
            f"data.folder={tmp_path / 'list.txt'}",
            f"data.root={drawn_crops}",
            "data.validation_share=0",
            "data.validation_photos=0.5",
            "head.class_margins=counts",
        )
    )
    counts = np.bincount(material.split.labels)
    assert counts.tolist() == [3, 3, 2, 2, 1]
    powers = counts**-0.25  # mmpretrain's
    stretched = (powers - powers.min()) / (powers.max() - powers.min())
    assert material.class_margins is not None
    np.testing.assert_allclose(material.class_margins.numpy(), 0.05 + 0.45 * stretched, rtol=1e-6)


def test_margins_of_a_file_are_in_the_order_of_the_names(
    configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "margins.txt"
    path.write_bytes("\ufeff0.1\r\n0.2\n\n 0.3 \n0.4\n0".encode())
    material = open_material(configure(f"head.class_margins={path}"))
    assert material.class_margins is not None
    assert material.class_margins.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0])
    assert open_material(configure()).class_margins is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"0.1\n0.2\n", "holds 2 margins for 5 people"),
        (b"", "holds 0 margins for 5 people"),
        (b"0.1\n0.2\n0.3\n0.4\ninf", "margins for 5 people"),
        (b"0.1\n0.2\n0.3\n0.4\nhalf", "holds what is no number"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_file_that_holds_no_margins_is_refused(
    configure: Configure, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "margins.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        open_material(configure(f"head.class_margins={path}"))


def test_a_file_of_margins_that_is_not_there_is_told_of(
    configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.txt"):
        open_material(configure(f"head.class_margins={tmp_path / 'none.txt'}"))
