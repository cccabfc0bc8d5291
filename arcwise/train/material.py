"""What a run learns from: crops, who is on which side, targets, batches, validation.

It puts together what the configuration names; it does not learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arcwise.data.augment import Augmentation
from arcwise.data.folder import CropFolder
from arcwise.data.loader import Loader
from arcwise.data.sampler import Sampler
from arcwise.data.split import (
    Sample,
    Split,
    SplitRules,
    draw_people,
    find_lookalikes,
    people_of_folds,
    split_samples,
)
from arcwise.data.targets import Targets
from arcwise.errors import DatasetError
from arcwise.evaluate.pairs import read_pairs
from arcwise.files import read_bytes
from arcwise.train.config import DataSection, TrainConfig
from arcwise.train.validate import Validation
from arcwise.types import Floats

_MOST_LOADERS = 8


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """Everything a run learns from.

    Attributes:
        folder: of the crops.
        split: who is on which side.
        sampler: which of the training samples make up a step.
        loader: of the batches.
        validation: people to validate on, or None.
        n_targets: T, length of the vectors to learn from; 0 without.
        targets_digest: SHA-256 of the file they come from; empty without.
    """

    folder: CropFolder
    split: Split
    sampler: Sampler
    loader: Loader
    validation: Validation | None
    n_targets: int
    targets_digest: str

    @property
    def people_digest(self) -> str:
        """SHA-256 of people, training photos and targets, in the order that a head knows."""
        photos = [self.folder.samples[int(i)].photo for i in self.split.training]
        parts = [*self.split.people, *photos, self.targets_digest]
        return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()

    @property
    def n_people(self) -> int:
        """C, whom the network learns to tell apart."""
        return len(self.split.people)

    def photos_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Names of the photos at some positions of the training set."""
        return [self.folder.samples[int(i)].photo for i in self.split.training[rows]]


def open_material(config: TrainConfig) -> Material:
    """Find the data of a run and divide it.

    Raises:
        DatasetError: the data is not what it should be: no crops, fewer than two people, fewer
            photos than a batch, photos without a target.
        InputError: something cannot be read.
    """
    folder = CropFolder(config.data.folder)
    targets = Targets.load(config.distill.targets) if config.distill else None
    left_out = _read_names(config.data)
    vectors = _find_vectors(targets, folder.samples, left_out) if targets else None
    split = _divide(config, folder.samples, left_out, vectors)
    sampler = Sampler(len(split.training), config.schedule.batch_size, config.seed)
    loader = Loader(
        folder,
        split.training,
        split.labels,
        targets=_choose_targets(config, vectors, split),
        sampler=sampler,
        augmentation=Augmentation(**config.augment),
        n_threads=min(_MOST_LOADERS, torch.get_num_threads()),
    )
    validation = None
    if len(split.validation):
        persons = [folder.samples[i].person for i in split.validation]
        validation = Validation(folder, split.validation, persons)
    return Material(
        folder=folder,
        split=split,
        sampler=sampler,
        loader=loader,
        validation=validation,
        n_targets=targets.dimension if targets else 0,
        targets_digest=targets.digest if targets else "",
    )


def _find_vectors(targets: Targets, samples: Sequence[Sample], left_out: frozenset[str]) -> Floats:
    """(len(samples), T); zeros for whom or what is left out, which needs no target."""
    wanted = [not {sample.person, sample.photo} & left_out for sample in samples]
    vectors = np.zeros((len(samples), targets.dimension), np.float32)
    photos = [sample.photo for sample, is_in in zip(samples, wanted, strict=True) if is_in]
    vectors[np.array(wanted)] = targets.rows_of(photos)
    return vectors


def _divide(
    config: TrainConfig,
    samples: Sequence[Sample],
    left_out: frozenset[str],
    vectors: Floats | None,
) -> Split:
    data = config.data
    reserved, validated = _read_folds(data)
    if not data.validation_folds:
        others = [
            sample
            for sample in samples
            if sample.person not in reserved and not {sample.person, sample.photo} & left_out
        ]
        validated = draw_people(others, data.validation_share, seed=config.seed)
    kept_apart = reserved | validated
    if vectors is not None and config.distill is not None and config.distill.center:
        outside = [
            sample.person not in kept_apart and bool(vector.any())
            for sample, vector in zip(samples, vectors, strict=True)
        ]
        vectors = np.where(
            vectors.any(axis=1, keepdims=True), vectors - vectors[outside].mean(axis=0), 0
        )
    lookalikes = find_lookalikes(
        samples, kept_apart, vectors=vectors, similarity=data.lookalike_similarity
    )
    rules = SplitRules(
        reserved=reserved,
        validation=validated,
        min_photos=data.min_photos,
        leave_out=left_out,
        lookalikes=lookalikes,
    )
    return split_samples(samples, rules)


def _read_folds(data: DataSection) -> tuple[frozenset[str], frozenset[str]]:
    """Who will be scored, and who is validated on."""
    if data.pairs is None:
        return frozenset(), frozenset()
    pairs = read_pairs(data.pairs)
    n_folds = max(pair.fold for pair in pairs) + 1
    beyond = [fold for fold in (*data.test_folds, *data.validation_folds) if fold > n_folds]
    if beyond:
        raise DatasetError(f"{data.pairs} has {n_folds} folds, there is no fold {beyond[0]}")
    reserved = people_of_folds(pairs, data.test_folds)
    validated = people_of_folds(pairs, data.validation_folds)
    return reserved, validated - reserved


def _read_names(data: DataSection) -> frozenset[str]:
    if data.leave_out is None:
        return frozenset()
    try:
        text = read_bytes(data.leave_out).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(
            f"{data.leave_out} is not UTF-8 text", hint="one name of a person or photo on a line"
        ) from exc
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def _choose_targets(config: TrainConfig, vectors: Floats | None, split: Split) -> Floats | None:
    """The targets of the training photos, without what all of them share."""
    if vectors is None or config.distill is None:
        return None
    chosen = vectors[split.training]
    if config.distill.center:
        chosen = chosen - chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.ascontiguousarray(chosen)
