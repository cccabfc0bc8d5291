"""What a training run shall do: one frozen value, from a YAML file and `key=value` words.

It opens no photos and builds no network. docs/config.md lists every key. A relative path is taken
from the current folder, as the shell does, not from the folder of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from arcwise.data.augment import Augmentation
from arcwise.errors import ArcwiseError, SettingsError
from arcwise.files import read_bytes
from arcwise.nn import BACKBONES
from arcwise.nn.losses import LOSSES, build_rule
from arcwise.train.recipe import read_yaml, write_yaml
from arcwise.train.sections import (
    Count,
    DataSection,
    DistillSection,
    HeadSection,
    NetworkSection,
    OptimizerSection,
    Place,
    Positive,
    ScheduleSection,
    Section,
    Share,
    Strengths,
    TripletSection,
)

FREE_ON_RESUME = frozenset(
    {
        "run",
        "threads",
        "device",
        "channels_last",
        "compile",
        "deterministic",
        "whiten",
        "log_every_steps",
        "save_every_steps",
        "keep_every_epochs",
        "patience",
        "tensorboard",
        "wandb",
        "network.gradient_checkpointing",
    }
)
"""Keys that may change when a run goes on: they do not change what it learns, but for rounding."""

_OPTIONAL = frozenset({"distill", "triplet"})  # sections that are not there unless named
_OPTIONS = frozenset({"network.options", "head.options"})  # whose keys the named part knows

_HINT = "docs/config.md lists every key"


class TrainConfig(Section):
    """A training run; docs/config.md says what each key means.

    `load_config` and `from_dict` make one, and say in our own words what is wrong.
    """

    run: Place
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    deterministic: bool = False
    average: Share = 0.0
    whiten: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    log_every_steps: Count = 10
    save_every_steps: Count = 200
    keep_every_epochs: Positive | None = None
    validate_every_epochs: Positive = 1.0
    best_by: Literal["eer", "tar", "accuracy"] = "eer"
    patience: Count | None = None
    tensorboard: bool = False
    wandb: str | None = None
    data: DataSection
    network: NetworkSection = NetworkSection()
    head: HeadSection = HeadSection()
    triplet: TripletSection | None = None
    distill: DistillSection | None = None
    augment: Strengths = Field(default_factory=dict, validate_default=True)
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()

    def model_post_init(self, _: object, /) -> None:
        """Check what no value can know alone."""
        if conflicts := list(_find_conflicts(self)):
            raise ValueError("; ".join(conflicts))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Check nested values, such as `to_dict` gives.

        Args:
            values: by key; a section is a mapping, or None for its defaults.

        Raises:
            SettingsError: a key is missing or does not exist, a value cannot be used, or two
                do not fit together.
        """
        given = {
            key: {} if value is None and key in _SECTIONS and key not in _OPTIONAL else value
            for key, value in values.items()
        }
        for key, value in given.items():
            _check_key(str(key))
            if "." in str(key):
                section, name = str(key).split(".")
                raise SettingsError(f"in a file {key} is {name} below {section}", hint=_HINT)
            for inner in value if isinstance(value, Mapping) and key in _SECTIONS else ():
                _check_key(f"{key}.{inner}")
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            raise SettingsError(_describe(exc), hint=_HINT) from exc

    def to_dict(self) -> dict[str, Any]:
        """Nested values of JSON's kinds; `from_dict` makes an equal config of them."""
        return {key: _make_plain(value) for key, value in self.model_dump().items()}

    def to_yaml(self) -> str:
        """Every key with its value; `load_config` makes an equal config of it."""
        return write_yaml(self.to_dict())


_SECTIONS: dict[str, tuple[str, ...]] = {
    name: tuple(kind.model_fields)
    for name, field in TrainConfig.model_fields.items()
    for kind in (field.annotation, *get_args(field.annotation))
    if isinstance(kind, type) and issubclass(kind, Section)
} | {"augment": tuple(field.name for field in fields(Augmentation))}

KEYS: tuple[str, ...] = tuple(
    f"{name}.{inner}".strip(".")
    for name in TrainConfig.model_fields
    for inner in _SECTIONS.get(name, ("",))
)
"""Every key that holds a value, with its section."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that two configs answer differently; None: there is no such section."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def differences(old: TrainConfig, new: TrainConfig) -> list[Difference]:
    """Every key with another value, in the order of `KEYS`."""
    before, after = _flatten(old), _flatten(new)
    pairs = ((key, before.get(key), after.get(key)) for key in KEYS)
    return [Difference(key, a, b) for key, a, b in pairs if a != b]


def free_on_resume(config: TrainConfig) -> frozenset[str]:
    """`FREE_ON_RESUME`, and schedule.accumulate where nothing looks at micro-batches."""
    head = config.head
    rule = build_rule(head.loss, margin=head.margin, scale=1.0, options=head.options)
    looks = (
        any(True for _ in rule.buffers()),  # it takes note of each
        config.triplet is not None,
        config.distill is not None,
        head.focal_form != "per_sample",
    )
    return FREE_ON_RESUME if any(looks) else FREE_ON_RESUME | {"schedule.accumulate"}


def load_config(
    path: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    translate: Callable[[dict[str, Any]], dict[str, Any]] = lambda values: values,
) -> TrainConfig:
    """Read a config.

    Args:
        path: of a YAML file; None: the words alone.
        overrides: `key=value` words that win over the file, such as "schedule.epochs=3" or
            "data.test_folds=[1, 2]"; the value is YAML. Of two for one key the last wins.
        translate: makes our keys of those of the file, before the words.

    Raises:
        SettingsError: not YAML, not a mapping, a key twice, a word without "=", and as
            `TrainConfig.from_dict`.
        InputError: the file cannot be read.
    """
    values = None if path is None else read_yaml(read_bytes(path), str(path))
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is no list of keys and values: {values!r:.60}", hint=_HINT)
    values = translate(values)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise SettingsError(f"{word!r} is not KEY=VALUE", hint="such as schedule.epochs=3")
        _check_key(key)
        *above, last = key.split(".")
        place = values
        for name in above:
            place[name] = {} if place.get(name) is None else place[name]
            place = place[name]
            if not isinstance(place, dict):
                raise SettingsError(f"{name} is {place!r}, but has keys below it", hint=_HINT)
        place[last] = read_yaml(text.encode(errors="surrogateescape"), f"the value of {key}")
    return TrainConfig.from_dict(values)


def _find_conflicts(config: TrainConfig) -> Iterator[str]:
    data, head, distill = config.data, config.head, config.distill
    both = (*data.test_folds, *data.validation_folds)
    if bool(both) != (data.pairs is not None):
        yield "data.pairs and folds of it (data.test_folds, data.validation_folds) go together"
    for fold in sorted({fold for fold in both if both.count(fold) > 1}):
        yield f"fold {fold} is more than once in data.test_folds and data.validation_folds"
    yield from _find_option_conflicts(config)
    yield from _find_schedule_conflicts(config)
    if distill is not None and distill.cosine == distill.relational == 0:
        yield "distill.cosine and distill.relational are both 0: leave distill away"
    if head.weight == 0 and distill is None and config.triplet is None:
        yield "head.weight is 0, without distill and triplet: nothing would be learned"
    if config.triplet is not None and data.sampler != "pk":
        yield "triplet needs several photos of each person in a batch: set data.sampler=pk"
    if config.best_by == "accuracy" and not data.validation_photos:
        yield "best_by is accuracy, which is found on photos kept apart: set data.validation_photos"
    if config.best_by == "accuracy" and head.weight == 0:
        yield "best_by is accuracy, which is that of the head, and head.weight is 0"
    if head.start == "class_mean" and (config.network.weights is None or head.loss == "softmax"):
        yield "head.start is class_mean, which needs network.weights and a loss of angles"
    if head.focal_gamma is None and head.focal_form != "per_sample":
        yield "head.focal_form says how head.focal_gamma is used, which is not set"


def _find_option_conflicts(config: TrainConfig) -> Iterator[str]:
    head, network = config.head, config.network
    known = BACKBONES[network.name].options
    for name in network.options.keys() - known:
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
        yield f"network.options has no {name} for {network.name}; {meant}"
    if head.loss == "cosface" and isinstance(head.margin, float) and head.margin > 1:
        yield f"head.margin is {head.margin:g}, cosface takes at most 1 off the cosine (usual: 0.4)"
    try:
        build_rule(head.loss, margin=head.margin, scale=1.0, options=head.options)
    except ArcwiseError as exc:
        margin = "" if head.margin is None else f" and head.margin {head.margin}"
        yield f"head.loss {head.loss} with head.options {head.options}{margin}: {exc} ({exc.hint})"
    if head.class_margins is not None and not LOSSES[head.loss].takes_class_margins:
        yield f"head.class_margins is set, but {head.loss} takes no margins of identities"


def _find_schedule_conflicts(config: TrainConfig) -> Iterator[str]:
    schedule = config.schedule
    for key, length in (
        ("schedule.warmup_epochs", schedule.warmup_epochs),
        ("head.margin_warmup_epochs", config.head.margin_warmup_epochs),
    ):
        if length > schedule.epochs:
            yield f"{key} is {length:g}, longer than schedule.epochs, {schedule.epochs:g}"
    if (schedule.shape == "step") != bool(schedule.milestones):
        yield "schedule.milestones (epochs) and schedule.shape=step go together"
    if list(schedule.milestones) != sorted(set(schedule.milestones)):
        yield f"schedule.milestones are {list(schedule.milestones)}, they should rise"
    if schedule.batch_size % schedule.accumulate:
        yield (
            f"schedule.batch_size {schedule.batch_size} cannot be divided into "
            f"schedule.accumulate {schedule.accumulate} equal parts"
        )
    data = config.data
    if data.sampler == "pk" and schedule.batch_size % data.photos_per_person:
        yield (
            f"schedule.batch_size {schedule.batch_size} is no multiple of "
            f"data.photos_per_person {data.photos_per_person}"
        )
    n_at_once, n_each = schedule.batch_size // schedule.accumulate, data.photos_per_person
    if config.triplet is not None and (n_at_once % n_each or n_at_once < 2 * n_each):
        yield (
            f"triplet needs whole people, two at least, in each micro-batch: {n_at_once} photos "
            f"are not, with data.photos_per_person {n_each}"
        )


def _check_key(key: str) -> None:
    """Refuse a key that does not exist, and name the one that was meant."""
    if key in KEYS or key in _SECTIONS or key.rpartition(".")[0] in _OPTIONS:
        return
    section, _, last = key.rpartition(".")
    level = _SECTIONS.get(section, () if section else tuple(TrainConfig.model_fields))
    close = [f"{section}.{name}".strip(".") for name in get_close_matches(last, level)]
    close += [full for full in KEYS if full.endswith(f".{last}")]
    close += [] if level else get_close_matches(key, KEYS)
    hint = f"the keys are {', '.join(level)}" if level else _HINT
    meant = f"; did you mean {close[0]}?" if close else ""
    raise SettingsError(f"{key} is not a key{meant}", hint=hint)


def _describe(exc: ValidationError) -> str:
    """Each wrong key with its value and what is allowed, by every part of a union."""
    found: dict[str, list[str]] = {}
    for problem in exc.errors(include_url=False):
        place = [str(part) for part in problem["loc"]]
        key = ".".join(place[: 2 if place[:1] and place[0] in _SECTIONS else 1])
        is_own = problem["type"] == "value_error"
        said = str(problem["ctx"]["error"]) if is_own else problem["msg"]
        start = f"{key} is {problem['input']!r:.60}: "
        if problem["type"] == "missing":
            start, said = f"{key} is missing", ""
        elif key not in KEYS:  # of a section or between several: ours name their keys
            start, said = ("", said) if is_own else (start, "it should be keys and values")
        said = said.replace("Input should", "it should").replace("tuple", "list, such as [1, 2]")
        found.setdefault(start, []).append(said)
    text = "; ".join(start + " or ".join(said) for start, said in found.items())
    return text.replace(" or it should be", " or")


def _flatten(config: TrainConfig) -> dict[str, object]:
    values = config.to_dict()
    inner = ((name, *item) for name in _SECTIONS for item in (values[name] or {}).items())
    return values | {f"{name}.{key}": part for name, key, part in inner}


def _make_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_plain(inner) for key, inner in value.items()}
    plain = list(value) if isinstance(value, tuple) else value
    return str(plain) if isinstance(plain, Path) else plain
