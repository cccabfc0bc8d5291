"""What faces were recognized with before deep learning: eigenfaces and a support vector machine.

A naive row to hold a model against, nothing to decide with. It learns from the gallery's own crops,
as the tutorials do. Sources: Turk and Pentland (1991); scikit-learn's example "Faces recognition
example using eigenfaces and SVMs", whose search on LFW ends near C = 1000, gamma = 0.005.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from arcwise.errors import InputError
from arcwise.evaluate.identification.lineup import Lineup
from arcwise.evaluate.identification.search import Searches, search_scores
from arcwise.evaluate.identification.seed import check_seed
from arcwise.image import luma, resize_image
from arcwise.types import Crops, Embeddings

try:
    from sklearn.decomposition import PCA
    from sklearn.svm import SVC
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] not in ("sklearn", "scipy", "joblib", "threadpoolctl"):
        raise
    raise InputError(
        f"scikit-learn is not installed, or lacks a library of its own: {exc.name}",
        hint="pip install 'arcwise[report]'",
    ) from exc

SIDE_PX = 56
"""Side of the gray crops: our choice, half of a crop; the example takes 50x37 px."""
_N_COMPONENTS = 150  # the example's
_C = 1000.0  # the example's search on LFW
_GAMMA = 0.005  # the same
_MOST_PEOPLE = 500  # one machine for each two of them: 124,750


class GrayEmbedder:
    """Embeds a crop as itself, small and gray: what eigenfaces are made of."""

    name = "PCA + SVM"
    crop_size_px = 112
    dimension = SIDE_PX * SIDE_PX
    digest = hashlib.sha256(f"gray crops of {SIDE_PX} px".encode()).hexdigest()

    def embed(self, crops: Crops) -> Embeddings:
        """Embed crops.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB, aligned.

        Returns:
            N embeddings of 3136; vector * norm is the brightness of each pixel, 0 to 1. A black
            crop gives a vector of length 0.
        """
        small = [luma(resize_image(crop, (SIDE_PX, SIDE_PX))) for crop in crops]
        flat = np.reshape(small, (len(crops), self.dimension)).astype(np.float32)
        return Embeddings.from_raw(flat / np.float32(255))


def search_eigenfaces(lineup: Lineup, *, seed: int = 0) -> Searches:
    """Learn the gallery's people, and score each probe for each of them.

    Args:
        lineup: with the vectors of `GrayEmbedder`, not normalized.
        seed: of the randomized decomposition.

    Returns:
        The searches; a score is the machine's decision value, no cosine. It belongs to a person,
        so `others` names the first photo of that person.

    Raises:
        InputError: the gallery shows one person, or more than 500; or the seed is out of range.
    """
    check_seed(seed)
    check_people(set(lineup.gallery_people))
    n_most = min(_N_COMPONENTS, min(lineup.gallery.shape) - 1)
    faces = PCA(n_most, svd_solver="randomized", whiten=True, random_state=seed)
    known = faces.fit_transform(lineup.gallery)
    machine = SVC(C=_C, gamma=_GAMMA, class_weight="balanced", decision_function_shape="ovr")
    with warnings.catch_warnings():  # one photo for each person looks like a regression to it
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        machine.fit(known, lineup.gallery_people)
    values = machine.decision_function(faces.transform(lineup.probes))
    if values.ndim == 1:  # two people: one value, positive for the second
        values = np.column_stack([-values, values])
    people = machine.classes_.tolist()
    found = search_scores(values, lineup.probe_people, people)
    first_photos = np.array([lineup.gallery_people.index(person) for person in people])
    return replace(found, others=first_photos[found.others])


def check_people(people: Collection[str]) -> None:
    """Refuse a gallery that the machine is not made for: one person, or more than 500."""
    if len(people) < 2:
        raise InputError(
            f"the baseline learns to tell people apart, and the gallery shows {len(people)}",
            hint="leave the baseline out",
        )
    if len(people) > _MOST_PEOPLE:
        raise InputError(
            f"the baseline is not made for {len(people):,} people",
            hint=f"give a gallery of {_MOST_PEOPLE} at most, or leave the baseline out",
        )
