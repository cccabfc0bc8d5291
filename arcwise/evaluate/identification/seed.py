"""Which seeds draw the same everywhere.

It does not draw. numpy takes any number from 0, scikit-learn none above 2**32 - 1: one rule for
both, so that a seed that draws the gallery serves the baseline too.
"""

from __future__ import annotations

import numpy as np

from arcwise.errors import InputError

MOST_SEED = 2**32 - 1  # scikit-learn's check_random_state


def check_seed(seed: int) -> None:
    """Refuse a seed that a library below would refuse in its own words.

    Raises:
        InputError: it is no whole number from 0 to 2**32 - 1.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed <= MOST_SEED:
        raise InputError(f"the seed is {seed}", hint=f"give a whole number from 0 to {MOST_SEED}")
