"""What a training run shall do: one frozen value, from a YAML file and `key=value` words.

It opens no photos and builds no network. docs/config.md lists every key. A relative path is taken
from the current folder, as the shell does, not from the folder of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from arcwise.data.augment import Augmentation
from arcwise.errors import ArcwiseError, SettingsError
from arcwise.files import read_bytes
from arcwise.nn import BACKBONES
from arcwise.nn.margin import MARGINS, BeyondPi, Gradient, Margin
from arcwise.train.recipe import read_yaml, write_yaml
from arcwise.train.schedule import Shape

FREE_ON_RESUME = frozenset({"run", "threads", "whiten", "log_every_steps", "save_every_steps"})
"""Keys that may change when a run goes on: they do not change what it learns."""

_HINT = "docs/config.md lists every key"


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
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSection(_Section):
    """Which photos are learned from, and which are kept away."""

    folder: Place
    pairs: Place | None = None
    test_folds: Folds = ()
    validation_folds: Folds = ()
    validation_share: Share = 0.1
    min_photos: Count = 1
    leave_out: Place | None = None
    lookalike_similarity: Annotated[float, Field(ge=-1, le=1)] | None = 0.8


class NetworkSection(_Section):
    """The backbone."""

    name: Annotated[str, _name_in(BACKBONES)] = "compact"
    dimension: Count = 128
    dropout: Share = 0.0
    weights: Place | None = None


class HeadSection(_Section):
    """The margin softmax over the people of the training set."""

    loss: Annotated[str, _name_in(MARGINS)] = "arcface"
    margin: NotNegative = 0.5
    scale: Positive | Literal["auto"] = "auto"
    weight: NotNegative = 1.0
    beyond_pi: BeyondPi = "linear"
    gradient: Gradient = "exact"
    easy_margin: bool = False
    margin_warmup_epochs: NotNegative = 0.0

    def build_margin(self) -> Margin:
        """The margin that these keys describe; LearningError if there is none such."""
        return replace(
            MARGINS[self.loss](self.margin),
            easy_margin=self.easy_margin,
            beyond_pi=self.beyond_pi,
            gradient=self.gradient,
        )


class DistillSection(_Section):
    """Learning from the embeddings of another model as well."""

    targets: Place
    center: bool = True
    cosine: NotNegative = 20.0
    relational: NotNegative = 100.0


class OptimizerSection(_Section):
    """How the weights follow the gradient."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.05
    momentum: Share = 0.9
    weight_decay: NotNegative = 5e-4
    clip_norm: Positive | None = 5.0


class ScheduleSection(_Section):
    """How long, and at which rate."""

    epochs: Positive = 20.0
    batch_size: Annotated[int, Field(ge=2)] = 64  # batch normalization needs two
    warmup_epochs: NotNegative = 0.5
    shape: Shape = "cosine"


class TrainConfig(_Section):
    """A training run; docs/config.md says what each key means.

    `load_config` and `from_dict` make one, and say in our own words what is wrong.
    """

    run: Place
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    average: Share = 0.0
    whiten: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    log_every_steps: Count = 10
    save_every_steps: Count = 200
    validate_every_epochs: Positive = 1.0
    data: DataSection
    network: NetworkSection = NetworkSection()
    head: HeadSection = HeadSection()
    distill: DistillSection | None = None
    augment: Annotated[dict[str, float], AfterValidator(_complete)] = Field(
        default_factory=dict, validate_default=True
    )
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
            key: {} if value is None and key in _SECTIONS and key != "distill" else value
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
    if isinstance(kind, type) and issubclass(kind, _Section)
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


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a config.

    Args:
        path: of a YAML file; None: the words alone.
        overrides: `key=value` words that win over the file, such as "schedule.epochs=3" or
            "data.test_folds=[1, 2]"; the value is YAML. Of two for one key the last wins.

    Raises:
        SettingsError: not YAML, not a mapping, a key twice, a word without "=", and as
            `TrainConfig.from_dict`.
        InputError: the file cannot be read.
    """
    values = None if path is None else read_yaml(read_bytes(path), str(path))
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is no list of keys and values: {values!r:.60}", hint=_HINT)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise SettingsError(f"{word!r} is not KEY=VALUE", hint="such as schedule.epochs=3")
        _check_key(key)
        *above, last = key.split(".")
        place = values
        for name in above:  # at most one
            place = values[name] = {} if values.get(name) is None else values[name]
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
    if head.loss == "cosface" and head.margin > 1:
        yield f"head.margin is {head.margin:g}, cosface takes at most 1 off the cosine (usual: 0.4)"
    try:
        head.build_margin()
    except ArcwiseError as exc:
        yield f"head.margin is {head.margin:g}, head.loss {head.loss}: {exc} ({exc.hint})"
    for key, length in (
        ("schedule.warmup_epochs", config.schedule.warmup_epochs),
        ("head.margin_warmup_epochs", head.margin_warmup_epochs),
    ):
        if length > config.schedule.epochs:
            yield f"{key} is {length:g}, longer than schedule.epochs, {config.schedule.epochs:g}"
    if distill is not None and distill.cosine == distill.relational == 0:
        yield "distill.cosine and distill.relational are both 0: leave distill away"
    if head.weight == 0 and distill is None:
        yield "head.weight is 0 and there is no distill: nothing would be learned"


def _check_key(key: str) -> None:
    """Refuse a key that does not exist, and name the one that was meant."""
    if key in KEYS or key in _SECTIONS:
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
