"""A map of neighbors refuses what scikit-learn would only complain about."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.tsne import project_neighbors

UNIT = np.eye(5, dtype=np.float32)


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999999])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"the seed is {seed}"):
        project_neighbors(UNIT, seed=seed)


def test_the_largest_seed_is_taken() -> None:
    assert project_neighbors(UNIT, seed=2**32 - 1).shape == (5, 2)


@pytest.mark.parametrize("name", ["sklearn", "scipy"])
def test_what_is_not_installed_is_named(name: str) -> None:
    code = f"import sys; sys.modules[{name!r}] = None; import arcwise.evaluate.tsne"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    named = {"sklearn": "scikit-learn", "scipy": "scipy"}[name]
    assert f"InputError: {named} is not installed" in found.stderr
