"""A sheet of crops, each beside what augmentation makes of it: to look at before training.

It does not know training; a sheet is the same for the same seed, but not what a run will see.
"""

from __future__ import annotations

import numpy as np

from arcwise.data.augment import Augmentation, Distortion, augment
from arcwise.data.source import CropSource
from arcwise.draw import contact_sheet
from arcwise.errors import DatasetError
from arcwise.types import Image

SIZE_PX = 112
_PEOPLE = 0  # stream of random numbers beside those of the cells, which count from 1


def draw_preview(
    source: CropSource,
    augmentation: Augmentation,
    *,
    n_crops: int = 6,
    n_versions: int = 7,
    seed: int = 1,
    size_px: int = SIZE_PX,
) -> Image:
    """Draw crops of a source and augmented versions of each.

    Args:
        source: of the crops.
        augmentation: how strongly and how often they are changed.
        n_crops: rows, of as many people as there are; fewer where there are fewer crops.
        n_versions: columns beside the original.
        seed: which crops, and which changes.
        size_px: side that the network takes.

    Returns:
        (H, W, 3) uint8 RGB. The first column is the middle of each crop as it is, with the name of
        the person; under the others stands what was done besides moving and lighting.

    Raises:
        DatasetError: no row or no column is asked for, or a crop cannot be read.
        InputError: the crops are smaller than `size_px`.
    """
    if n_crops < 1 or n_versions < 1:
        raise DatasetError(
            f"a preview of {n_crops} crops in {n_versions} versions",
            hint="at least 1 of each is needed",
        )
    border_px = (source.side_px - size_px) // 2
    images, labels = [], []
    for row, position in enumerate(choose_crops(source, n_crops, seed=seed), start=1):
        crop = source.read(position)
        for column in range(n_versions + 1):
            # Each cell has numbers of its own, so that another column changes none of the rest.
            changed = augment(
                crop,
                border_px=border_px,
                size_px=size_px,
                augmentation=augmentation if column else Augmentation.none(),
                rng=np.random.default_rng((seed, row, column)),
            )
            drawn = augmentation.draw(np.random.default_rng((seed, row, column)), size_px=size_px)
            images.append(changed)
            labels.append(_name_changes(drawn) if column else source.samples[position].person)
    return contact_sheet(images, labels=labels, columns=n_versions + 1)


def choose_crops(source: CropSource, n_crops: int, *, seed: int) -> list[int]:
    """Positions of crops drawn by chance, of different people as far as there are enough."""
    order = np.random.default_rng((seed, _PEOPLE)).permutation(len(source.samples)).tolist()
    first: dict[str, int] = {}
    for position in order:
        first.setdefault(source.samples[position].person, position)
        if len(first) == n_crops:
            break
    chosen = list(first.values())
    taken = set(chosen)
    return (chosen + [position for position in order if position not in taken])[:n_crops]


def _name_changes(drawn: Distortion) -> str:
    """What is done or not, in words; a crop is always moved and lit a little."""
    changes = {
        "gray": drawn.is_gray,
        "blur": drawn.blur_sigma_px,
        f"{drawn.low_resolution_px} px": drawn.low_resolution_px,
        "noise": drawn.noise_seed is not None,
        f"jpeg {drawn.jpeg_quality}": drawn.jpeg_quality,
        "erase": drawn.hidden,
        "crop": drawn.window,
    }
    return ", ".join(name for name, is_done in changes.items() if is_done)
