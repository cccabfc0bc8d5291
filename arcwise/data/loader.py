"""Batches for training, made ahead of time on other threads; the same ones for the same seed.

It does not know networks or losses. What a step gets depends on its number alone, never on the
threads, so that a run can go on from any step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcwise.data.augment import Augmentation, augment
from arcwise.data.folder import CropFolder
from arcwise.data.sampler import Sampler
from arcwise.types import Crops, Floats

SIZE_PX = 112
_AHEAD = 3  # batches made before they are asked for


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        crops: (B, 3, 112, 112) float32, (RGB - 127.5) / 127.5.
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
        folder: of the crops.
        samples: (n,) positions in the folder.
        labels: (n,) int64.
        targets: (n, T) vectors to learn from, or None.
        sampler: which of the n make up a step.
        augmentation: how crops are changed.
        n_threads: that make batches.
    """

    def __init__(
        self,
        folder: CropFolder,
        samples: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        targets: Floats | None,
        sampler: Sampler,
        augmentation: Augmentation,
        n_threads: int = 1,
    ) -> None:
        self._folder = folder
        self._samples = samples
        self._labels = labels
        self._targets = targets
        self._sampler = sampler
        self._augmentation = augmentation
        self._n_threads = n_threads

    def make(self, step: int) -> Batch:
        """The batch of one step, counted from 0.

        Raises:
            DatasetError: a crop cannot be read or has another size.
        """
        rows = self._sampler.batch(step)
        rng = self._sampler.generator(step)
        crops = np.stack([self._augment(int(row), rng) for row in rows])
        return Batch(
            crops=to_tensor(crops),
            labels=torch.from_numpy(self._labels[rows]),
            targets=None if self._targets is None else torch.from_numpy(self._targets[rows]),
            rows=rows,
        )

    def _augment(self, row: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        crop = self._folder.read(int(self._samples[row]))
        return augment(
            crop,
            border_px=self._folder.border_px,
            size_px=SIZE_PX,
            augmentation=self._augmentation,
            rng=rng,
        )

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from `start` to `stop`, in order, a few made ahead.

        Raises:
            DatasetError: as `make`.
        """
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="arcwise-load")
        try:
            steps = islice(count(start), max(stop - start, 0))
            waiting.extend(pool.submit(self.make, step) for step in islice(steps, _AHEAD))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(self.make, step) for step in islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def to_tensor(crops: Crops) -> Tensor:
    """Crops as a network takes them.

    Args:
        crops: (B, H, W, 3) uint8 RGB.

    Returns:
        (B, 3, H, W) float32, (RGB - 127.5) / 127.5, stored channels last.
    """
    values = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
    return values.to(torch.float32).sub_(127.5).div_(127.5)
