"""Embeddings in a plane that keeps neighbors together: t-SNE. The owner of scikit-learn's.

What lies close together in the map is close in the space; how far groups are apart says nothing.
Source: van der Maaten and Hinton, "Visualizing data using t-SNE" (2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.types import Floats

_NEEDED = {
    "sklearn": "scikit-learn",
    "scipy": "scipy",
    "joblib": "joblib",
    "threadpoolctl": "threadpoolctl",
}
"""What a map needs, by the name it is imported by: scikit-learn imports the others."""

try:
    from sklearn.manifold import TSNE
except ModuleNotFoundError as exc:
    missing = (exc.name or "").split(".")[0]
    if missing not in _NEEDED:
        raise
    hint = "pip install 'arcwise[report]'"
    raise InputError(f"{_NEEDED[missing]} is not installed", hint=hint) from exc

_PERPLEXITY = 30.0  # scikit-learn's default
_FEWEST = 4
_LARGEST_SEED = 2**32 - 1  # of numpy's RandomState, which scikit-learn draws with


def project_neighbors(unit: Floats, *, seed: int = 0) -> NDArray[np.float64]:
    """Lay unit vectors out in a plane, neighbors (by cosine) beside each other.

    Args:
        unit: (N, D) of norm 1, at least 4.
        seed: of the layout, which is found step by step, from 0 to 2**32 - 1; equal seeds give
            equal maps.

    Returns:
        (N, 2).

    Raises:
        InputError: fewer than 4 vectors, 1 dimension, not all finite, or another seed.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"the seed is {seed}", hint=f"give one from 0 to {_LARGEST_SEED}")
    if unit.ndim != 2 or len(unit) < _FEWEST or unit.shape[1] < 2 or not np.isfinite(unit).all():
        raise InputError(
            f"embeddings of shape {unit.shape} have no map", hint="give 4 or more, or use PCA"
        )
    perplexity = min(_PERPLEXITY, (len(unit) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed)  # on unit vectors the
    # squared Euclidean gap it takes is 2 - 2 cos: the order of neighbors is that of the cosine
    return np.asarray(layout.fit_transform(np.asarray(unit, np.float32)), np.float64)
