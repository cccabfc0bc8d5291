"""How well a network tells people apart whom it has never seen: all pairs of validation photos.

It does not know training. A pair matches by the cosine of its embeddings; no mirror images are
added, since most decisions are made without. The equal error rate decides which checkpoint is
best: with a few hundred people its interval is much narrower than that of rates at a low FMR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from arcwise.data.folder import CropFolder
from arcwise.data.loader import SIZE_PX, to_tensor
from arcwise.errors import DatasetError
from arcwise.evaluate.curve import SortedScores, equal_error_rate, tar_at_far
from arcwise.types import Floats

MOST_PHOTOS = 3000
"""Photos that are scored: 4.5 million pairs, in a second; more would not change the choice."""
_CROPS_AT_ONCE = 64
_DRAW = 0
_FAR = 1e-2


@dataclass(frozen=True, slots=True)
class Score:
    """What validation found.

    Attributes:
        eer: equal error rate over all pairs; lower is better.
        tar: share of genuine pairs accepted while at most 1 % of the impostor pairs are; None
            with fewer than 100 impostor pairs.
        n_genuine, n_impostor: pairs.
    """

    eer: float
    tar: float | None
    n_genuine: int
    n_impostor: int


class Validation:
    """Photos of people whom the network does not learn.

    Args:
        folder: of the crops.
        samples: (n,) positions in the folder; of more than 3,000 so many are drawn, always the
            same ones.
        persons: n names.

    Raises:
        DatasetError: there is no genuine or no impostor pair among them.
    """

    def __init__(
        self, folder: CropFolder, samples: NDArray[np.int64], persons: Sequence[str]
    ) -> None:
        self._folder = folder
        chosen = np.sort(np.random.default_rng(_DRAW).permutation(len(samples))[:MOST_PHOTOS])
        self._samples = samples = samples[chosen]
        codes = np.unique(np.array(persons)[chosen], return_inverse=True)[1]
        self._upper = np.triu_indices(len(samples), 1)
        self._is_same = codes[self._upper[0]] == codes[self._upper[1]]
        self._n_genuine = int(self._is_same.sum())
        self._n_impostor = len(self._is_same) - self._n_genuine
        if not self._n_genuine or not self._n_impostor:
            raise DatasetError(
                f"the {len(samples)} validation photos make {self._n_genuine} genuine and "
                f"{self._n_impostor} impostor pairs",
                hint="give at least two people, one of them with two photos, "
                "or turn validation off (data.validation_share=0)",
            )

    @property
    def n_photos(self) -> int:
        """Photos that are scored."""
        return len(self._samples)

    def score(self, network: nn.Module) -> Score:
        """Score a network, in evaluation mode; its mode is as before afterwards.

        Raises:
            DatasetError: a crop cannot be read.
        """
        vectors = embed_crops(network, self._folder, self._samples)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        scores = (unit @ unit.T)[self._upper].astype(np.float64)
        ordered = SortedScores.sort(scores, self._is_same, np.zeros(len(scores), np.int64))
        return Score(
            eer=equal_error_rate(ordered, n_failed=0).rate,
            tar=tar_at_far(_FAR, ordered, n_failed=0).tar,
            n_genuine=self._n_genuine,
            n_impostor=self._n_impostor,
        )


def embed_crops(network: nn.Module, folder: CropFolder, samples: NDArray[np.int64]) -> Floats:
    """Raw embeddings of the plain crops of a folder; the network's mode is as before afterwards.

    Args:
        network: takes (B, 3, 112, 112).
        folder: of the crops.
        samples: (n,) positions in it.

    Returns:
        (n, D) float32, not normalized.

    Raises:
        DatasetError: a crop cannot be read.
    """
    inner = slice(folder.border_px, folder.border_px + SIZE_PX)
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(samples), _CROPS_AT_ONCE):
            chosen = samples[start : start + _CROPS_AT_ONCE]
            crops = np.stack([folder.read(int(i))[inner, inner] for i in chosen])
            rows.append(network(to_tensor(crops).to(device)).float().cpu().numpy())
    network.train(was_training)
    result: Floats = np.concatenate(rows)
    return result
