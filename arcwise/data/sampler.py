"""Which photos make up a step: a fresh order for each epoch, found from the seed and the step.

It holds no state: any step can be asked for at any time, which is what makes training resumable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError

_ORDER, _STEP = 0, 1  # two streams of random numbers that never meet


@lru_cache(maxsize=2)  # the end of one epoch and the start of the next are made together
def _order(seed: int, epoch: int, n_samples: int) -> NDArray[np.int64]:
    order = np.random.default_rng((seed, _ORDER, epoch)).permutation(n_samples)
    order.setflags(write=False)
    return order


@dataclass(frozen=True, slots=True)
class Sampler:
    """Shuffled batches, the last incomplete one of an epoch left out.

    Attributes:
        n_samples: how many there are.
        batch_size: samples of one step.
        seed: two samplers of one seed give the same batches.
    """

    n_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.n_samples < self.batch_size:
            raise DatasetError(
                f"{self.n_samples} photos do not fill one batch of {self.batch_size}",
                hint="make the batch smaller (schedule.batch_size) or give more photos",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of one epoch."""
        return self.n_samples // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, counted from 0.

        Returns:
            (batch_size,) int64 positions.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, self.n_samples)
        found: NDArray[np.int64] = order[place * self.batch_size : (place + 1) * self.batch_size]
        return found

    def generator(self, step: int) -> np.random.Generator:
        """The random numbers of a step, for augmentation."""
        return np.random.default_rng((self.seed, _STEP, step))
