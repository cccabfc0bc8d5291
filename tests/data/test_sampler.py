from __future__ import annotations

import numpy as np
import pytest

from arcwise.data.sampler import Sampler
from arcwise.errors import DatasetError


def test_an_epoch_takes_every_sample_at_most_once() -> None:
    sampler = Sampler(n_samples=23, batch_size=5, seed=1)
    seen = np.concatenate([sampler.batch(step) for step in range(sampler.steps_per_epoch)])
    assert sampler.steps_per_epoch == 4
    assert len(set(seen.tolist())) == 20


def test_every_epoch_has_its_own_order() -> None:
    sampler = Sampler(n_samples=20, batch_size=5, seed=1)
    assert not np.array_equal(sampler.batch(0), sampler.batch(4))


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    first, second = (Sampler(n_samples=20, batch_size=5, seed=3) for _ in range(2))
    for step in range(7):
        first.batch(step)
    assert np.array_equal(first.batch(7), second.batch(7))
    assert first.generator(7).random() == second.generator(7).random()


def test_the_seed_and_the_step_change_the_random_numbers() -> None:
    drawn = {
        Sampler(n_samples=20, batch_size=5, seed=seed).generator(step).random()
        for seed in (0, 1)
        for step in (0, 1)
    }
    assert len(drawn) == 4


@pytest.mark.parametrize(("n_samples", "batch_size"), [(3, 4), (0, 1), (4, 0)])
def test_less_than_a_batch_is_refused(n_samples: int, batch_size: int) -> None:
    with pytest.raises(DatasetError, match=f"{n_samples} photos do not fill"):
        Sampler(n_samples=n_samples, batch_size=batch_size, seed=0)
