"""The sections of a training configuration: which keys there are, of which kind, with defaults.

It reads no files; docs/config.md says what each key means, train/config.py puts the sections
together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from arcwise.data.augment import Augmentation
from arcwise.errors import ArcwiseError, LearningError
from arcwise.nn import find_backbone
from arcwise.nn.losses import LOSSES
from arcwise.train.schedule import Shape


def _read_place(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError("it should be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError as exc:
        raise ValueError(f"{str(exc).rstrip('.')}, write the path out") from exc


def _name_in(table: Iterable[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"it should be one of {', '.join(table)}")
        return name

    return AfterValidator(check)


def _find_network(name: str) -> str:
    """The name of our own for one of the field's, such as r50 or mbf."""
    try:
        return find_backbone(name)
    except LearningError as exc:
        raise ValueError(f"it should be a network of `arcwise backbones`; {exc.hint}") from exc


def _complete(given: dict[str, float]) -> dict[str, float]:
    """All strengths of the augmentation, so that a run can be repeated when defaults change."""
    try:
        augmentation = Augmentation(**given)
    except ArcwiseError as exc:
        raise ValueError(f"{exc} ({exc.hint})".replace("augmentation.", "augment.")) from exc
    return {field.name: getattr(augmentation, field.name) for field in fields(augmentation)}


Place = Annotated[Path, BeforeValidator(_read_place)]
Folds = Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
WholeShare = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=1)]
Margins = Annotated[tuple[NotNegative, ...], Field(strict=False, min_length=3, max_length=3)]
Epochs = Annotated[tuple[Positive, ...], Field(strict=False)]
Strengths = Annotated[dict[str, float], AfterValidator(_complete)]
Option = bool | int | float | str | list[int]


class Section(BaseModel):
    """Frozen, without unknown keys, without numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSection(Section):
    """Which photos are learned from, in which order, and which are kept away."""

    folder: Place
    root: Place | None = None
    pairs: Place | None = None
    test_folds: Folds = ()
    validation_folds: Folds = ()
    validation_share: Share = 0.1
    validation_photos: Share = 0.0
    min_photos: Count = 1
    most_people: Annotated[int, Field(ge=2)] | None = None
    leave_out: Place | None = None
    lookalike_similarity: Cosine | None = 0.8
    sampler: Literal["shuffled", "balanced", "pk"] = "shuffled"
    photos_per_person: Annotated[int, Field(ge=2)] = 4


class NetworkSection(Section):
    """The backbone, and how much of it learns."""

    name: Annotated[str, AfterValidator(_find_network)] = "compact"
    dimension: Count = 128
    dropout: Share = 0.0
    weights: Place | None = None
    size_px: Count | None = None
    options: dict[str, Option] = Field(default_factory=dict)
    freeze_epochs: NotNegative = 0.0
    freeze_statistics: bool = False
    gradient_checkpointing: bool = False


class HeadSection(Section):
    """The loss over the people of the training set."""

    loss: Annotated[str, _name_in(LOSSES)] = "arcface"
    margin: NotNegative | Margins | None = None
    scale: Positive | Literal["auto"] = "auto"
    weight: NotNegative = 1.0
    options: dict[str, Option] = Field(default_factory=dict)
    margin_warmup_epochs: NotNegative = 0.0
    class_margins: Literal["counts"] | Place | None = None
    subcenters: Count = 1
    focal_gamma: NotNegative | None = None
    focal_form: Literal["per_sample", "batch_mean"] = "per_sample"
    sample_rate: WholeShare = 1.0
    dense_update: bool = False
    filter_above: Cosine | None = None
    start: Literal["random", "class_mean"] = "random"


class TripletSection(Section):
    """A triplet loss over each batch, beside the head or in its place."""

    margin: Positive = 0.2
    mining: Literal["hard", "semihard", "all"] = "semihard"
    weight: Positive = 1.0


class DistillSection(Section):
    """Learning from the embeddings of another model as well."""

    targets: Place
    center: bool = True
    cosine: NotNegative = 20.0
    relational: NotNegative = 100.0


class OptimizerSection(Section):
    """How the weights follow the gradient."""

    name: Literal["sgd", "adamw", "adam"] = "sgd"
    learning_rate: Positive = 0.05
    network_rate: Positive = 1.0
    momentum: Share = 0.9
    nesterov: bool = True
    weight_decay: NotNegative = 5e-4
    decay_on: Literal["matrices", "all"] = "matrices"
    clip_norm: Positive | None = 5.0


class ScheduleSection(Section):
    """How long, and at which rate."""

    epochs: Positive = 20.0
    batch_size: Annotated[int, Field(ge=2)] = 64  # batch normalization needs two
    accumulate: Count = 1
    warmup_epochs: NotNegative = 0.5
    shape: Shape = "cosine"
    power: Positive = 1.0
    milestones: Epochs = ()
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
