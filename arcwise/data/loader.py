"""Batches for training, made ahead of time on other threads; the same ones for the same seed.

It does not know networks or losses. What a step gets depends on its number alone, never on the
threads, the number of ranks or of micro-batches, so that a run can go on from any step, on another
number of devices too: every place of a step's batch has its own random numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcwise.data.augment import Augmentation, augment
from arcwise.data.sampler import BatchSampler, Division
from arcwise.data.source import CropSource
from arcwise.errors import DatasetError
from arcwise.image import luma
from arcwise.types import Crops, Floats, Image

Color = Literal["rgb", "gray"]
"""What a network takes: three channels, or one of luma."""

SIZE_PX = 112
_AHEAD = 3  # micro-batches made before they are asked for, at least
_WHOLE = Division()


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """What is learned from at once: a step, or a micro-batch of it on one rank.

    Attributes:
        crops: (B, 3 or 1, S, S) float32, (RGB or luma - 127.5) / 127.5.
        labels: (B,) int64.
        targets: (B, T) float32 of the model to learn from, or None.
        rows: (B,) positions in the training set.
    """

    crops: Tensor
    labels: Tensor
    targets: Tensor | None
    rows: NDArray[np.int64]


class Loader:
    """Reads, augments and stacks.

    Args:
        source: of the crops.
        samples: (n,) positions in the source.
        labels: (n,) int64.
        targets: (n, T) vectors to learn from, or None.
        sampler: which of the n make up a step.
        augmentation: how crops are changed.
        n_threads: that make batches.
        size_px: S, side that the network takes: the middle of the crops, the rest is their border.
        color: that the network takes.
        division: which part of each batch this rank reads, in how many micro-batches.

    Raises:
        DatasetError: the crops are smaller than S or have no middle of that size, or a batch does
            not divide into equal parts.
    """

    def __init__(
        self,
        source: CropSource,
        samples: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        targets: Floats | None,
        sampler: BatchSampler,
        augmentation: Augmentation,
        n_threads: int = 1,
        size_px: int = SIZE_PX,
        color: Color = "rgb",
        division: Division = _WHOLE,
    ) -> None:
        self._border_px = find_border(source.side_px, size_px)
        division.places(sampler.batch_size)
        self._source = source
        self._samples = samples
        self._labels = labels
        self._targets = targets
        self._sampler = sampler
        self._augmentation = augmentation
        self._n_threads = n_threads
        self._size_px = size_px
        self._color = color
        self._division = division
        self._rows = lru_cache(maxsize=4)(sampler.batch)  # once for all micro-batches of a step

    def make(self, step: int, part: int = 0) -> Batch:
        """One micro-batch of a step; both are counted from 0.

        Raises:
            DatasetError: a crop cannot be read or has another size.
        """
        rows = self._rows(step)
        places = self._division.places(len(rows), part)
        crops = [self._augment(int(rows[place]), step, place) for place in places]
        rows = rows[places.start : places.stop]
        return Batch(
            crops=to_tensor(crops, color=self._color),
            labels=torch.from_numpy(self._labels[rows]),
            targets=None if self._targets is None else torch.from_numpy(self._targets[rows]),
            rows=rows,
        )

    def _augment(self, row: int, step: int, place: int) -> Image:
        return augment(
            self._source.read(int(self._samples[row])),
            border_px=self._border_px,
            size_px=self._size_px,
            augmentation=self._augmentation,
            rng=self._sampler.generator(step, place),
        )

    def batches(self, start: int, stop: int) -> Iterator[tuple[Batch, ...]]:
        """What this rank learns from in the steps from `start` to `stop`, in order.

        A few micro-batches are made ahead, on several threads.

        Returns:
            For each step its micro-batches, all of one size; without a division one, the batch.

        Raises:
            DatasetError: as `make`.
        """
        n_parts = self._division.n_parts
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="arcwise-load")
        try:
            turns = ((step, part) for step in range(start, stop) for part in range(n_parts))
            n_ahead = max(_AHEAD, self._n_threads)
            waiting.extend(pool.submit(self.make, *turn) for turn in islice(turns, n_ahead))
            while waiting:
                parts = []
                for _ in range(n_parts):
                    parts.append(waiting.popleft().result())
                    waiting.extend(pool.submit(self.make, *turn) for turn in islice(turns, 1))
                yield tuple(parts)
        finally:
            pool.shutdown(cancel_futures=True)


def find_border(side_px: int, size_px: int) -> int:
    """What lies around the middle of a crop on each side, px.

    Args:
        side_px: of the crop.
        size_px: of its middle, which a network takes.

    Raises:
        DatasetError: the crop is smaller, or its middle is none of whole px.
    """
    border_px, is_odd = divmod(side_px - size_px, 2)
    if border_px < 0 or is_odd or size_px < 1:
        raise DatasetError(
            f"crops of {side_px}x{side_px} px for a network that takes {size_px}x{size_px}",
            hint="`arcwise prepare --border` keeps more around the face; it must be a whole number "
            "of px on each side",
        )
    return border_px


def to_tensor(crops: Crops | Sequence[Image], color: Color = "rgb") -> Tensor:
    """Crops as a network takes them.

    Args:
        crops: B of (H, W, 3) uint8 RGB, all of one size.
        color: "gray" makes one channel of luma of them.

    Returns:
        (B, 3 or 1, H, W) float32, (RGB or luma - 127.5) / 127.5, stored channels last.
    """
    height, width = crops[0].shape[:2]
    batch = torch.empty((len(crops), height, width, 3 if color == "rgb" else 1))
    for crop, values in zip(crops, batch.numpy(), strict=True):  # one by one, each in the cache
        values[:] = crop if color == "rgb" else luma(crop)[..., None]
        values -= np.float32(127.5)
        values /= np.float32(127.5)
    return batch.permute(0, 3, 1, 2)
