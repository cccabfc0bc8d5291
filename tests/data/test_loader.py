from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arcwise.data.augment import Augmentation
from arcwise.data.folder import CropFolder
from arcwise.data.loader import Loader, find_border, to_tensor
from arcwise.data.sampler import Division, PKSampler, Sampler
from arcwise.data.split import Sample
from arcwise.errors import DatasetError
from arcwise.image import luma
from arcwise.types import Image


class LargeCrops:
    """Crops of 144 px of noise, the aligned face in their middle 112 px."""

    samples = tuple(Sample(f"{i // 2}/{i}.png", str(i // 2)) for i in range(12))
    border_px, side_px = 16, 144

    def read(self, position: int) -> Image:
        return np.random.default_rng(position).integers(0, 256, (144, 144, 3), np.uint8)


@pytest.fixture
def folder(drawn_crops: Path) -> CropFolder:
    return CropFolder(drawn_crops)


def make_loader(source: Any, *, n_threads: int = 1, plain: bool = False, **changed: Any) -> Loader:
    n = len(source.samples)
    options = {
        "targets": np.eye(n, dtype=np.float32),
        "sampler": Sampler(n, 5, seed=2),
        "augmentation": Augmentation.none() if plain else Augmentation(),
        "n_threads": n_threads,
    }
    return Loader(source, np.arange(n), np.arange(n) // 6, **options | changed)


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
    for (a,), (b,) in zip(one.batches(0, 9), three.batches(0, 9), strict=True):
        assert torch.equal(a.crops, b.crops)


def test_a_run_can_go_on_from_any_step(folder: CropFolder) -> None:
    whole = list(make_loader(folder).batches(0, 12))
    rest = list(make_loader(folder).batches(10, 12))
    pairs = zip(whole[10:], rest, strict=True)
    assert [torch.equal(a.crops, b.crops) for (a,), (b,) in pairs] == [True, True]


def test_there_may_be_nothing_left_to_do(folder: CropFolder) -> None:
    assert list(make_loader(folder).batches(4, 4)) == []


def test_pixels_become_minus_one_to_one() -> None:
    crops = np.array([0, 255], np.uint8).repeat(112 * 112 * 3).reshape(2, 112, 112, 3)
    assert to_tensor(crops).amax(dim=(1, 2, 3)).tolist() == [-1, 1]
    assert to_tensor(crops, color="gray").amax(dim=(1, 2, 3)).tolist() == [-1, 1]


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_a_batch_is_the_formula_in_float32_stored_channels_last(color: str) -> None:
    crops = [LargeCrops().read(position)[16:128, 16:128] for position in range(3)]
    pixels = np.stack(crops) if color == "rgb" else luma(np.stack(crops))[..., None]
    wanted = (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    for given in (crops, np.stack(crops)):
        found = to_tensor(given, color=color)
        assert torch.equal(found.permute(0, 2, 3, 1), torch.from_numpy(wanted))
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("n_ranks", "n_parts"), [(1, 4), (4, 1), (2, 2), (2, 4), (8, 1)])
def test_a_step_is_the_same_on_any_number_of_ranks_and_micro_batches(
    n_ranks: int, n_parts: int
) -> None:
    source = LargeCrops()
    sampler = PKSampler(np.arange(12) // 2, batch_size=8, photos_per_person=2, seed=3)
    (whole,) = next(make_loader(source, sampler=sampler).batches(4, 5))
    by_rank = [
        next(make_loader(source, sampler=sampler, division=division).batches(4, 5))
        for division in (Division(rank, n_ranks, n_parts) for rank in range(n_ranks))
    ]
    parts = [parts[number] for number in range(n_parts) for parts in by_rank]
    assert {len(part.rows) for part in parts} == {8 // (n_ranks * n_parts)}
    assert torch.equal(torch.cat([part.crops for part in parts]), whole.crops)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()


def test_a_photo_that_comes_twice_is_changed_twice() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    source = LargeCrops()
    sampler = PKSampler(labels, batch_size=6, photos_per_person=2, seed=1)
    loader = Loader(
        source, np.arange(6), labels, targets=None, sampler=sampler, augmentation=Augmentation()
    )
    (batch,) = next(loader.batches(0, 1))
    first, second = np.flatnonzero(batch.rows == 2)
    assert not torch.equal(batch.crops[first], batch.crops[second])
    assert batch.targets is None


def test_a_batch_that_does_not_divide_is_refused_before_the_first_step(folder: CropFolder) -> None:
    with pytest.raises(DatasetError, match=r"a batch of 5 photos .* 2 equal parts"):
        make_loader(folder, division=Division(n_parts=2))


@pytest.mark.parametrize("size_px", [96, 112, 128, 144])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_a_network_of_another_size_and_color_gets_the_middle(size_px: int, color: str) -> None:
    source = LargeCrops()
    batch = make_loader(source, plain=True, size_px=size_px, color=color).make(0)
    assert batch.crops.shape == (5, 3 if color == "rgb" else 1, size_px, size_px)
    border_px = (144 - size_px) // 2
    middle = slice(border_px, border_px + size_px)
    for row, found in zip(batch.rows, batch.crops, strict=True):
        crop = source.read(row)[middle, middle]
        pixels = crop if color == "rgb" else luma(crop)[..., None]
        wanted = (torch.from_numpy(pixels.astype(np.float32)) - 127.5) / 127.5
        assert torch.equal(found.permute(1, 2, 0), wanted)


@pytest.mark.parametrize("size_px", [146, 113, 0])
def test_a_size_that_no_crop_has_is_refused(size_px: int) -> None:
    with pytest.raises(DatasetError, match=f"144x144 px for a network that takes {size_px}x"):
        make_loader(LargeCrops(), size_px=size_px)


def test_the_border_is_what_the_network_does_not_take() -> None:
    assert [find_border(144, size_px) for size_px in (144, 128, 112)] == [0, 8, 16]


def test_a_crop_that_cannot_be_read_ends_the_batches() -> None:
    class BrokenCrops(LargeCrops):
        def read(self, position: int) -> Image:
            raise DatasetError(f"crop {position} is broken")

    with pytest.raises(DatasetError, match="is broken"):
        list(make_loader(BrokenCrops(), n_threads=2).batches(0, 3))
