"""What a run learns from: crops, who is on which side, targets, batches, validation.

It puts together what the configuration names; it does not learn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arcwise.data.augment import Augmentation
from arcwise.data.loader import Loader
from arcwise.data.sampler import SAMPLERS, BatchSampler, Division
from arcwise.data.source import CropSource, open_crops
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
from arcwise.evaluate.sets.pairs import read_pairs
from arcwise.files import read_bytes
from arcwise.nn import BACKBONES
from arcwise.nn.collective import Ranks
from arcwise.nn.fixed import adaptive_margins
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.sections import DataSection
from arcwise.train.validate import InputCrops, KnownPeople, Validation
from arcwise.types import Floats

_MOST_LOADERS = 8
_LEAST_AT_ONCE = 2


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """Everything a run learns from.

    Attributes:
        crops: as the network takes them.
        split: who is on which side.
        sampler: which of the training samples make up a step.
        loader: of the batches.
        validation: people to validate on, or None.
        known: photos of learned people to validate on, or None.
        n_targets: T, length of the vectors to learn from; 0 without.
        targets_digest: SHA-256 of the file they come from; empty without.
        class_margins: (C,) margins, or None.
        measure: what tells the best network: eer, tar, accuracy, or None where nothing can.
        people_digest: SHA-256 of people, training photos and targets, in the order a head knows.
    """

    crops: InputCrops
    split: Split
    sampler: BatchSampler
    loader: Loader
    validation: Validation | None
    known: KnownPeople | None
    n_targets: int
    targets_digest: str
    class_margins: torch.Tensor | None
    measure: str | None
    people_digest: str

    @property
    def folder(self) -> CropSource:
        """The source of the crops."""
        return self.crops.source

    @property
    def can_validate(self) -> bool:
        """Whether there is anything to validate on."""
        return self.validation is not None or self.known is not None

    def score(self, learner: Learner) -> dict[str, Any]:
        """Validate on all there is, all ranks together.

        Returns:
            Measures by name, equal on all ranks; None for what cannot be said.

        Raises:
            DatasetError: a crop cannot be read.
        """
        network = learner.best_network
        score: dict[str, Any] = {}
        if self.validation is not None:
            score |= asdict(self.validation.score(network, learner.ranks))
        if self.known is not None:
            score |= asdict(self.known.score(network, learner.head))
        return score

    @property
    def n_people(self) -> int:
        """C, whom the network learns to tell apart."""
        return len(self.split.people)

    def photos_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Names of the photos at some positions of the training set."""
        return [self.folder.samples[int(i)].photo for i in self.split.training[rows]]


def open_material(config: TrainConfig, ranks: Ranks | None = None) -> Material:
    """Find the data of a run and divide it.

    Args:
        config: of the run.
        ranks: who shares each batch.

    Raises:
        DatasetError: the data is not what it should be: no crops, fewer than two people, fewer
            photos than a batch, photos without a target.
        InputError: something cannot be read.
    """
    ranks = ranks or Ranks.alone()
    n_at_once = config.schedule.batch_size // (config.schedule.accumulate * ranks.size)
    if n_at_once < _LEAST_AT_ONCE:
        raise DatasetError(
            f"{n_at_once} photos would go through the network at once: "
            f"schedule.batch_size {config.schedule.batch_size} for {ranks.size} ranks and "
            f"schedule.accumulate {config.schedule.accumulate}",
            hint=f"batch normalization needs {_LEAST_AT_ONCE}: make the batch larger",
        )
    backbone, schedule = BACKBONES[config.network.name], config.schedule
    size_px = backbone.crop_shape(config.network.size_px)[1]
    source = open_crops(config.data.folder, size_px=size_px, root=config.data.root)
    crops = InputCrops(source, size_px=size_px, color=backbone.color)
    targets = Targets.load(config.distill.targets) if config.distill else None
    left_out = _read_names(config.data)
    vectors = _find_vectors(targets, source.samples, left_out) if targets else None
    split = _divide(config, source.samples, left_out, vectors)
    sampler = SAMPLERS[config.data.sampler](
        split.labels, schedule.batch_size, config.seed, config.data.photos_per_person
    )
    loader = Loader(
        source,
        split.training,
        split.labels,
        targets=_choose_targets(config, vectors, split),
        sampler=sampler,
        augmentation=Augmentation(**config.augment),
        n_threads=min(_MOST_LOADERS, torch.get_num_threads()),
        size_px=crops.size_px,
        color=crops.color,
        division=Division(ranks.rank, ranks.size, schedule.accumulate),
    )
    validation, known = None, None
    if len(split.validation):
        persons = [source.samples[i].person for i in split.validation]
        validation = Validation(crops, split.validation, persons)
    if len(split.held) and config.head.weight:  # else its centers learn nothing
        known = KnownPeople(crops, split.held, split.held_labels)
    return Material(
        crops=crops,
        split=split,
        sampler=sampler,
        loader=loader,
        validation=validation,
        known=known,
        n_targets=targets.dimension if targets else 0,
        targets_digest=targets.digest if targets else "",
        class_margins=_find_margins(config, split),
        measure=_choose_measure(config.best_by, validation, known),
        people_digest=_digest(source, split, targets),
    )


def _choose_measure(
    wanted: str, validation: Validation | None, known: KnownPeople | None
) -> str | None:
    """The measure that is asked for, or the next best one that there are photos for."""
    has = {
        "tar": validation is not None and validation.can_tell_tar,
        "eer": validation is not None,
        "accuracy": known is not None,
    }
    return next((name for name in (wanted, "eer", "accuracy") if has[name]), None)


def _digest(source: CropSource, split: Split, targets: Targets | None) -> str:
    digest = hashlib.sha256()
    photos = (source.samples[int(i)].photo for i in split.training)
    parts = chain(split.people, photos, ["" if targets is None else targets.digest])
    digest.update("\n".join(parts).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _find_margins(config: TrainConfig, split: Split) -> torch.Tensor | None:
    """(C,) a margin for each person: larger for the rarer ones, or from a file."""
    wanted = config.head.class_margins
    if wanted is None:
        return None
    if wanted == "counts":
        counts = np.bincount(split.labels, minlength=len(split.people))
        return adaptive_margins(torch.from_numpy(counts))
    words = _decode(wanted, "one margin on a line, in the order of the people's names").split()
    try:
        margins = [float(word) for word in words]
    except ValueError as exc:
        raise DatasetError(f"{wanted} holds what is no number: {exc}") from exc
    if len(margins) != len(split.people) or not all(math.isfinite(m) for m in margins):
        raise DatasetError(
            f"{wanted} holds {len(margins)} margins for {len(split.people)} people",
            hint="one finite number on a line for each person that is learned, sorted by name",
        )
    return torch.tensor(margins)


def _decode(path: Path, hint: str) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path} is not UTF-8 text", hint=hint) from exc


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
        most_people=data.most_people,
        held_share=data.validation_photos,
        seed=config.seed,
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
    text = _decode(data.leave_out, "one name of a person or photo on a line")
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def _choose_targets(config: TrainConfig, vectors: Floats | None, split: Split) -> Floats | None:
    """The targets of the training photos, without what all of them share."""
    if vectors is None or config.distill is None:
        return None
    chosen = vectors[split.training]
    if config.distill.center:
        chosen = chosen - chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.ascontiguousarray(chosen)
