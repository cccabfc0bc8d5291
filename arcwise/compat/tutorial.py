"""The `config.yaml` of the arcface-pytorch tutorial on LFW, understood as our configuration.

It reads no files and trains nothing: values in, values out, and a note for everything that was
decided on the way. Its keys may stand in sections (model, loss, training, paths) or without, under
the names they have in the `Config` class that the tutorial descends from.

Source: the keys of the tutorial's README; what they do from ronghuaiyang/arcface-pytorch
(config/config.py, train.py, models/metrics.py, models/focal_loss.py, data/dataset.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from arcwise.data.augment import Augmentation
from arcwise.errors import SettingsError

Kind = TypeVar("Kind", str, bool, int, float)

_SECTIONS = ("model", "loss", "training", "paths", "data", "dataset", "logging")
_OWN = {"training", "paths", "max_epoch", "lr_step"}  # keys that none of our configs has
_FACTOR = 0.1  # of the rate at each lr_step; train.py, which does not read lr_decay
_USEFUL_DROPS = 2  # of the rate; with a thousandth of it little is learned any more
_MOMENTUM = 0.9  # the tutorial's; its ancestor has none
_DROPOUT = 0.5  # models/resnet.py
_DIMENSION = 512
_SIZE_PX = 128

_METRICS: dict[str, dict[str, Any]] = {
    "arc_margin": {"loss": "arcface", "margin": 0.5, "scale": 30.0},
    "add_margin": {"loss": "cosface", "margin": 0.35, "scale": 30.0},
    "sphere": {
        "loss": "a_softmax",
        "margin": 4.0,
        "options": {"start": 1000.0, "least": 5.0, "decay": 0.12},
    },
    "linear": {"loss": "softmax"},
}
"""What train.py builds for each metric; models/metrics.py."""

_SPELLINGS = {  # of one key; the first is looked for in messages
    "batch_size": ("train_batch_size",),
    "loss": ("type", "loss_type"),
    "gamma": ("focal_gamma",),
    "s": ("scale",),
    "m": ("margin",),
    "lr": ("learning_rate",),
    "max_epoch": ("epochs", "num_epochs"),
    "print_freq": ("log_interval", "log_every"),
    "save_interval": ("save_every",),
}

_UNUSED = {
    "num_classes": "people are counted in the data",
    "classify": "the tutorial itself does not read it",
    "lr_decay": f"the tutorial itself does not read it; the rate falls to {_FACTOR:g} of itself",
    "num_workers": "set `threads`",
    "gpu_id": "torch's first GPU is used; CUDA_VISIBLE_DEVICES chooses",
    "display": "set tensorboard=true",
    "env": "it named a window of visdom",
    "test_batch_size": "validation finds its own",
    "test_model_path": "name it to `arcwise export` or `arcwise evaluate`",
    "val_list": "people are kept apart by data.validation_share",
    "val_root": "people are kept apart by data.validation_share",
    "test_root": "`arcwise evaluate` takes it",
    "test_list": "`arcwise evaluate` takes it",
    "lfw_root": "`arcwise evaluate` takes it",
    "lfw_test_list": "`arcwise evaluate` takes it",
    "debug_file": "there is no debugger to enter",
    "result_file": "RUN/log.jsonl has the results",
}
"""Keys without an equal here, and why or what to use."""


@dataclass
class _Reader:
    """Gives each key once, in the kind it should have, and knows which were not asked for."""

    values: dict[str, Any]
    notes: list[str]

    def take(self, key: str, kind: Callable[[Any], Kind], default: Kind) -> Kind:
        """The value of a key, under any of its names."""
        for name in (key, *_SPELLINGS.get(key, ())):
            if name in self.values:
                return self._convert(name, self.values.pop(name), kind, default)
        return default

    def _convert(self, name: str, value: Any, kind: Callable[[Any], Kind], default: Kind) -> Kind:
        if value is None:
            return default
        is_switch = isinstance(value, bool)
        if is_switch is (kind is bool) and not isinstance(value, Mapping | list):
            try:
                found = kind(value)
            except ValueError:
                found = None
            if found is not None and (kind is not int or float(found) == float(value)):
                return found
        raise SettingsError(
            f"{name} of the tutorial's config is {value!r:.60}",
            hint=f"it should be {_KINDS[kind]}, such as {default!r}",
        )

    def has(self, key: str) -> bool:
        return any(name in self.values for name in (key, *_SPELLINGS.get(key, ())))

    def note(self, text: str) -> None:
        self.notes.append(text)


_KINDS: dict[Any, str] = {
    str: "a word",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def is_tutorial_config(values: Mapping[str, Any]) -> bool:
    """Whether a mapping is a config of the tutorial, and none of ours.

    Args:
        values: of a YAML file.
    """
    return not _OWN.isdisjoint(values)


def translate_tutorial(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Make our configuration of the tutorial's.

    Args:
        values: of its config.yaml.

    Returns:
        Nested values for `TrainConfig.from_dict`, and what was decided, a sentence each.

    Raises:
        SettingsError: a value is of the wrong kind, or names what neither knows.
    """
    reader = _Reader(_flatten(values), [])
    found = {
        **_translate_run(reader),
        "data": _translate_data(reader),
        "network": _translate_network(reader),
        "head": _translate_head(reader),
        "optimizer": _translate_optimizer(reader),
        "schedule": _translate_schedule(reader),
        "augment": _translate_augment(reader),
    }
    for name in list(reader.values):
        value = reader.values.pop(name)
        why = _UNUSED.get(name, "it is not known")
        reader.note(f"{name} ({value!r:.40}) is not used: {why}")
    return found, reader.notes


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys without their sections; of two of one name the later one counts, as in YAML."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in _SECTIONS and isinstance(value, Mapping):
            found.update(value)
        else:
            found[name] = value
    return found


def _translate_run(reader: _Reader) -> dict[str, Any]:
    folder = reader.take("checkpoints_path", str, "checkpoints")
    reader.note(f"the run goes into {folder}; `arcwise export {folder}` makes a model of it")
    found: dict[str, Any] = {"run": folder, "seed": reader.take("seed", int, 1)}
    if reader.has("print_freq"):
        found["log_every_steps"] = reader.take("print_freq", int, 10)
    if reader.has("save_interval"):
        found["keep_every_epochs"] = float(reader.take("save_interval", int, 10))
    if reader.has("use_gpu"):
        found["device"] = "auto" if reader.take("use_gpu", bool, True) else "cpu"
    if reader.has("device"):
        found["device"] = "cuda" if reader.take("device", str, "cpu").startswith("cuda") else "cpu"
    return found


def _translate_data(reader: _Reader) -> dict[str, Any]:
    root, names = reader.take("train_root", str, ""), reader.take("train_list", str, "")
    if not root and not names:
        raise SettingsError(
            "the tutorial's config names no photos",
            hint="set paths.train_root to a folder of aligned crops, one folder for each person",
        )
    where = {"root": root} if names and root else {}
    reader.note("nobody is validated on, as there: data.validation_share=0.1 would be wiser")
    return {"folder": names or root, "validation_share": 0.0} | where


def _translate_network(reader: _Reader) -> dict[str, Any]:
    name = reader.take("backbone", str, "resnet18").removesuffix("_face")
    depth = name.removeprefix("resnet_face").removeprefix("resnet")
    if depth not in {"18", "34", "50"}:
        raise SettingsError(
            f"backbone of the tutorial's config is {name!r}",
            hint="it knows resnet18, resnet34 and resnet50",
        )
    if depth != "18":
        reader.note(
            f"{name} becomes resnet_face{depth}, the tutorial's blocks and output at that depth; "
            "its own is an ImageNet network without BatchNorm at the end"
        )
    _check_shape(reader)
    found: dict[str, Any] = {
        "name": f"resnet_face{depth}",
        "dimension": _DIMENSION,
        "dropout": _DROPOUT,
        "options": {"se": reader.take("use_se", bool, False)},
    }
    is_wanted = reader.take("finetune", bool, False)
    weights = reader.take("load_model_path", str, "")
    if is_wanted and weights:
        reader.note(f"weights start from {weights}; `arcwise convert` must have made it ours")
        found["weights"] = weights
    return found


def _check_shape(reader: _Reader) -> None:
    shape = reader.values.pop("input_shape", None)
    if shape not in (None, [1, _SIZE_PX, _SIZE_PX], (1, _SIZE_PX, _SIZE_PX)):
        raise SettingsError(
            f"input_shape of the tutorial's config is {shape!r}",
            hint=f"its network takes gray crops of {_SIZE_PX} px, [1, {_SIZE_PX}, {_SIZE_PX}]",
        )


def _translate_head(reader: _Reader) -> dict[str, Any]:
    metric = reader.take("metric", str, "linear")
    known = _METRICS.get(metric)
    if known is None:
        reader.note(f"metric {metric!r} is none of {', '.join(_METRICS)}: linear, as there")
        known = _METRICS["linear"]
    found = {**known, "options": dict(known.get("options", {}))}
    if "scale" in found:
        found["scale"] = reader.take("s", float, found["scale"])
    if "margin" in found:
        found["margin"] = reader.take("m", float, found["margin"])
    is_easy = reader.take("easy_margin", bool, False)
    if metric == "arc_margin":
        found["options"] |= {"beyond_pi": "linear", "easy_margin": is_easy}
    kind, gamma = reader.take("loss", str, "cross_entropy"), reader.take("gamma", float, 2.0)
    if kind.replace("-", "_") in {"focal_loss", "focal"}:
        found |= {"focal_gamma": gamma, "focal_form": "batch_mean"}
        reader.note(
            "focal_loss weighs the mean of a batch, as there (head.focal_form=batch_mean); "
            "per_sample is the published one"
        )
    elif kind.replace("-", "_") not in {"cross_entropy", "softmax"}:
        raise SettingsError(
            f"loss of the tutorial's config is {kind!r}",
            hint="it knows focal_loss and cross_entropy",
        )
    return found


def _translate_optimizer(reader: _Reader) -> dict[str, Any]:
    name = reader.take("optimizer", str, "sgd").lower()
    if name not in {"sgd", "adam", "adamw"}:
        raise SettingsError(
            f"optimizer of the tutorial's config is {name!r}", hint="it knows sgd and adam"
        )
    found = {
        "name": name,
        "learning_rate": reader.take("lr", float, 0.1),
        "weight_decay": reader.take("weight_decay", float, 5e-4),
        "decay_on": "all",
        "clip_norm": None,
        "nesterov": False,
    }
    momentum = reader.take("momentum", float, _MOMENTUM)
    return found | ({"momentum": momentum} if name == "sgd" else {})


def _translate_schedule(reader: _Reader) -> dict[str, Any]:
    n_epochs = reader.take("max_epoch", int, 50)
    every = reader.take("lr_step", int, 10)
    if every < 1:
        raise SettingsError(
            f"lr_step of the tutorial's config is {every}", hint="after how many epochs, such as 20"
        )
    found: dict[str, Any] = {
        "epochs": float(n_epochs),
        "batch_size": reader.take("batch_size", int, 16),
        "warmup_epochs": 0.0,
    }
    milestones = [float(epoch) for epoch in range(every, n_epochs, every)]
    if not milestones:
        return found | {"shape": "constant"}
    reader.note(
        f"the rate falls to {_FACTOR:g} of itself every {every} epochs (schedule.milestones)"
    )
    late = milestones[_USEFUL_DROPS:]
    if late:
        reader.note(
            f"from epoch {late[0]:g} of {n_epochs} on the rate is "
            f"{_FACTOR ** (_USEFUL_DROPS + 1):g} of the first one and less: little is learned there"
        )
    return found | {"shape": "step", "milestones": milestones, "factor": _FACTOR}


def _translate_augment(reader: _Reader) -> dict[str, float]:
    reader.note(
        "crops are mirrored, and nothing else: the tutorial's random crop does nothing on crops of "
        f"{_SIZE_PX} px (augment.shift_px=2.5 moves them a little)"
    )
    return asdict(Augmentation.none()) | {"mirror": 0.5}
