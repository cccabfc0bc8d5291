"""How well a network does on photos it does not learn from: of strangers, and of people it knows.

Strangers (open set) are what face recognition is about: all pairs of validation photos, which
match by the cosine of their embeddings; no mirror images are added, since most decisions are made
without. The equal error rate decides which checkpoint is best: with a few hundred people its
interval is much narrower than that of rates at a low FMR. New photos of known people (closed set)
are told apart by the centers of the head, as the loss does; that says how well the people were
learned, not how strangers are recognized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arcwise.data.loader import find_border, to_tensor
from arcwise.data.source import CropSource
from arcwise.errors import DatasetError
from arcwise.evaluate.curve import Scores, equal_error_rate, tar_at_far
from arcwise.nn.collective import ALONE, Ranks, sum_over
from arcwise.nn.partial_fc import PartialHead
from arcwise.nn.rule import ELSEWHERE
from arcwise.types import Floats

MOST_PHOTOS = 3000
"""Photos that are scored: 4.5 million pairs, in a second; more would not change the choice."""
_MOST_OF_ONE = 30  # photos of one person that are scored, where there are very many photos
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


@dataclass(frozen=True, slots=True)
class KnownScore:
    """What validation on new photos of known people found.

    Attributes:
        accuracy: share whose own center is the nearest.
        loss_with_margin: mean loss as in training; large, as the margin asks for more than is
            needed to be right.
        loss_without_margin: of the same logits without the margin.
        n_known: photos.
    """

    accuracy: float
    loss_with_margin: float
    loss_without_margin: float
    n_known: int


@dataclass(frozen=True, eq=False, slots=True)
class InputCrops:
    """The middle of the crops of a source, as a network takes them.

    Attributes:
        source: of the crops.
        size_px: S, side the network takes.
        color: "rgb" or "gray".
    """

    source: CropSource
    size_px: int = 112
    color: Literal["rgb", "gray"] = "rgb"

    def read(self, samples: NDArray[np.int64]) -> Tensor:
        """(n, 3 or 1, S, S) float32.

        Raises:
            DatasetError: a crop cannot be read.
        """
        border_px = find_border(self.source.side_px, self.size_px)
        inner = slice(border_px, border_px + self.size_px)
        crops = np.stack([self.source.read(int(i))[inner, inner] for i in samples])
        return to_tensor(crops, color=self.color)


class Validation:
    """Photos of people whom the network does not learn.

    Args:
        crops: as the network takes them.
        samples: (n,) positions among them; of more than 3,000 so many are drawn, person by
            person, always the same ones.
        persons: n names.

    Raises:
        DatasetError: there is no genuine or no impostor pair among them.
    """

    def __init__(
        self, crops: InputCrops, samples: NDArray[np.int64], persons: Sequence[str]
    ) -> None:
        self._crops = crops
        codes = np.unique(np.array(persons), return_inverse=True)[1]
        chosen = _draw_photos(codes)
        self._samples = samples = samples[chosen]
        codes = codes[chosen]
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

    @property
    def can_tell_tar(self) -> bool:
        """Whether there are impostor pairs enough for the TAR at a FAR of 1 %."""
        return self._n_impostor >= 1 / _FAR

    def score(self, network: nn.Module, ranks: Ranks = ALONE) -> Score:
        """Score a network, in evaluation mode; its mode is as before afterwards.

        Args:
            network: takes the crops.
            ranks: who scores the same network together; all get the same score, that of the
                first one's network.

        Raises:
            DatasetError: a crop cannot be read.
        """
        found = self._score(network) if ranks.is_first else Score(0.0, None, 0, 0)
        if ranks.size == 1:
            return found
        # NaN stands for what is not known; other ranks add nothing.
        tar = math.nan if found.tar is None else found.tar
        numbers = torch.tensor([found.eer, tar, found.n_genuine, found.n_impostor]).double()
        numbers = sum_over(numbers if ranks.is_first else torch.zeros(4).double(), ranks)
        eer, tar, n_genuine, n_impostor = numbers.tolist()
        return Score(eer, None if math.isnan(tar) else tar, int(n_genuine), int(n_impostor))

    def _score(self, network: nn.Module) -> Score:
        vectors = embed_crops(network, self._crops, self._samples)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        scores = (unit @ unit.T)[self._upper].astype(np.float64)
        ordered = Scores.sort(scores[self._is_same], scores[~self._is_same])
        return Score(
            eer=equal_error_rate(ordered).rate,
            tar=tar_at_far(_FAR, ordered).tar,
            n_genuine=self._n_genuine,
            n_impostor=self._n_impostor,
        )


class KnownPeople:
    """Photos of people whom the network learns, but not from these photos.

    Args:
        crops: as the network takes them.
        samples: (n,) positions among them.
        labels: (n,) int64.
    """

    def __init__(
        self, crops: InputCrops, samples: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> None:
        self._crops = crops
        self._samples = samples
        self._labels = labels

    @property
    def n_photos(self) -> int:
        """Photos that are scored."""
        return len(self._samples)

    def score(self, network: nn.Module, head: PartialHead) -> KnownScore:
        """Score a network with its head, all ranks together; modes are as before afterwards.

        Raises:
            DatasetError: a crop cannot be read.
        """
        ranks = head.ranks
        mine = slice(ranks.rank, None, ranks.size)
        n_each = math.ceil(self.n_photos / ranks.size)  # all ranks must take equally many steps
        own = self._samples[mine]
        rows = np.zeros((n_each, head.dimension), np.float32)
        labels = np.full(n_each, ELSEWHERE, np.int64)
        if len(own):  # there may be fewer photos than ranks
            rows[: len(own)] = embed_crops(network, self._crops, own)
            labels[: len(own)] = self._labels[mine]
        was_training = head.training
        head.eval()
        sums = np.zeros(3)
        device = next(network.parameters()).device
        with torch.no_grad():
            for start in range(0, n_each, _CROPS_AT_ONCE):
                part = slice(start, start + _CROPS_AT_ONCE)
                batch = torch.from_numpy(rows[part]).to(device)
                wanted = torch.from_numpy(labels[part]).to(device)
                found = [head(batch, wanted, strength) for strength in (1.0, 0.0)]
                n_counted = len(range(start, min(start + _CROPS_AT_ONCE, n_each))) * ranks.size
                n_counted -= self._count_padding(start, n_each, ranks.size)
                values = [found[0].accuracy, found[0].loss, found[1].loss]
                sums += n_counted * np.array([value.item() for value in values])
        head.train(was_training)
        accuracy, with_margin, without = (sums / self.n_photos).tolist()
        return KnownScore(accuracy, with_margin, without, self.n_photos)

    def _count_padding(self, start: int, n_each: int, n_ranks: int) -> int:
        """Samples of the part from `start` on that only fill up the last step of some ranks."""
        is_last = start + _CROPS_AT_ONCE >= n_each
        return n_each * n_ranks - self.n_photos if is_last else 0


def _draw_photos(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions to score: of very many photos, whole people by chance, always the same ones.

    Drawn photo by photo, a large set would leave hardly two of one person.
    """
    if len(codes) <= MOST_PHOTOS:
        return np.arange(len(codes))
    rng = np.random.default_rng(_DRAW)
    shuffled = rng.permutation(len(codes))
    rank = rng.permutation(int(codes.max()) + 1)[codes[shuffled]]
    order = shuffled[np.argsort(rank, kind="stable")]  # person by person, photos in any order
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return np.sort(order[place < _MOST_OF_ONE][:MOST_PHOTOS])


def embed_crops(network: nn.Module, crops: InputCrops, samples: NDArray[np.int64]) -> Floats:
    """Raw embeddings of plain crops; the network's mode is as before afterwards.

    Args:
        network: takes (B, 3 or 1, S, S).
        crops: as it takes them.
        samples: (n,) positions among them, at least one.

    Returns:
        (n, D) float32, not normalized.

    Raises:
        DatasetError: a crop cannot be read.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(samples), _CROPS_AT_ONCE):
            batch = crops.read(samples[start : start + _CROPS_AT_ONCE])
            rows.append(network(batch.to(device)).float().cpu().numpy())
    network.train(was_training)
    result: Floats = np.concatenate(rows)
    return result
