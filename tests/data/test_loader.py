from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from arcwise.data.augment import Augmentation
from arcwise.data.folder import CropFolder
from arcwise.data.loader import Loader, to_tensor
from arcwise.data.sampler import Sampler


@pytest.fixture
def folder(drawn_crops: Path) -> CropFolder:
    return CropFolder(drawn_crops)


def make_loader(folder: CropFolder, *, n_threads: int = 1, plain: bool = False) -> Loader:
    n = len(folder.samples)
    return Loader(
        folder,
        np.arange(n),
        np.arange(n) // 6,
        targets=np.eye(n, dtype=np.float32),
        sampler=Sampler(n, 5, seed=2),
        augmentation=Augmentation.none() if plain else Augmentation(),
        n_threads=n_threads,
    )


def test_a_batch_holds_crops_labels_and_targets_of_the_same_photos(folder: CropFolder) -> None:
    batch = make_loader(folder, plain=True).make(3)
    assert batch.crops.shape == (5, 3, 112, 112)
    assert batch.crops.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [row // 6 for row in batch.rows]
    assert batch.targets is not None
    assert batch.targets.argmax(1).tolist() == batch.rows.tolist()
    wanted = to_tensor(np.stack([folder.read(row) for row in batch.rows]))
    assert torch.equal(batch.crops, wanted)


def test_the_same_step_is_the_same_on_any_number_of_threads(folder: CropFolder) -> None:
    one, three = make_loader(folder), make_loader(folder, n_threads=3)
    for a, b in zip(one.batches(0, 9), three.batches(0, 9), strict=True):
        assert torch.equal(a.crops, b.crops)


def test_a_run_can_go_on_from_any_step(folder: CropFolder) -> None:
    whole = list(make_loader(folder).batches(0, 12))
    rest = list(make_loader(folder).batches(10, 12))
    assert [torch.equal(a.crops, b.crops) for a, b in zip(whole[10:], rest, strict=True)] == [
        True,
        True,
    ]


def test_there_may_be_nothing_left_to_do(folder: CropFolder) -> None:
    assert list(make_loader(folder).batches(4, 4)) == []


def test_pixels_become_minus_one_to_one() -> None:
    crops = np.array([0, 255], np.uint8).repeat(112 * 112 * 3).reshape(2, 112, 112, 3)
    assert to_tensor(crops).amax(dim=(1, 2, 3)).tolist() == [-1, 1]
