"""One safetensors file that holds all a run needs to go on, or a network to be exported.

It does not know the loop: it takes tensors by group and gives them back, bit for bit. A file is
whole or absent. Nothing in it is unpickled, so a file from anywhere can be opened.

Format 2: tensors are named GROUP.NAME, in the groups network, projection, average (of the
network), optimizer (INDEX.KIND, the index of torch's own state), rule (what the loss remembers)
and head (centers and their optimizer's memory, row by row), which a run on several ranks keeps in
shards beside the file (train/shards.py). The metadata has one entry, "arcwise": a JSON object with
the fields of `_Note`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from arcwise.errors import CheckpointError
from arcwise.files import read_bytes, write_atomically

GROUPS = ("network", "head", "rule", "projection", "average", "optimizer")
VERSION: Final = 2
STATE_KINDS: dict[type[Optimizer], frozenset[str]] = {
    SGD: frozenset({"momentum_buffer"}),
    Adam: frozenset({"exp_avg", "exp_avg_sq", "step"}),
    AdamW: frozenset({"exp_avg", "exp_avg_sq", "step"}),
}
"""What each optimizer remembers of each parameter."""

_KEY = "arcwise"
_N_EXAMPLES = 3
_WHERE = "checkpoints are in RUN/checkpoints: last.safetensors and best.safetensors"


class _Note(BaseModel):
    """The JSON beside the tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[2] = VERSION
    config: dict[str, Any]
    step: int = Field(ge=0)
    n_identities: int = Field(ge=1)
    people_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    best: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    loss_scale: list[float] = Field(default=[1.0, 0.0], min_length=2, max_length=2)
    shards: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """A run at one step.

    Attributes:
        tensors: group -> name -> tensor; groups are those of `GROUPS`.
        step: steps that are done.
        config: as `TrainConfig.to_dict` gives it.
        n_identities: C.
        people_digest: SHA-256 of the class list.
        best: the best validation so far, or None.
        validation: the last one, or None.
        loss_scale: of float16: value and good steps, see train/precision.py.
        shards: where the head lies if not in the file (fields of `train.shards.Shard`).
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    step: int
    config: Mapping[str, Any]
    n_identities: int
    people_digest: str
    best: Mapping[str, Any] | None = None
    validation: Mapping[str, Any] | None = None
    loss_scale: Sequence[float] = (1.0, 0.0)
    shards: Sequence[Mapping[str, Any]] = ()

    @property
    def holds(self) -> str:
        """What is in it, for an error: the network by name, its dimension, people and step."""
        network = self.config.get("network")
        known = network if isinstance(network, Mapping) else {}
        name, dimension = known.get("name", "an unknown network"), known.get("dimension", "?")
        return f"{name}, dimension {dimension}, {self.n_identities} people, step {self.step}"


def save_checkpoint(path: Path | str, state: Checkpoint) -> Path:
    """Write a checkpoint; an older one of that name stays whole until this one is.

    The file is readable by its owner alone (mode 0600): a row of the head describes a person.

    Returns:
        The path.

    Raises:
        CheckpointError: a group of another name, or a note that is no JSON (such as NaN).
        InputError: the disk is full, or the place cannot be written.
    """
    strange = [group for group in state.tensors if group not in GROUPS]
    if strange:
        raise CheckpointError(
            f"a checkpoint has no group {strange[0]!r}", hint=f"use one of {', '.join(GROUPS)}"
        )
    values = {name: getattr(state, name) for name in _Note.model_fields if name != "version"}
    try:
        note = _Note.model_validate({name: _make_plain(value) for name, value in values.items()})
        text = json.dumps(note.model_dump(), allow_nan=False)
    except (ValidationError, TypeError, ValueError) as exc:
        raise CheckpointError(f"the note of a checkpoint cannot be written: {exc}") from exc
    tensors = {
        f"{group}.{name}": _make_own(tensor, is_large=group == "head")
        for group, named in state.tensors.items()
        for name, tensor in named.items()
    }
    content = safetensors.torch.save(tensors, metadata={_KEY: text})
    return write_atomically(path, content, private=True)


def _make_own(tensor: Tensor, *, is_large: bool) -> Tensor:
    """In plain order and memory of its own: the format knows neither strides nor sharing.

    The head, which may be gigabytes, shares its memory with nothing, and is not copied.
    """
    plain = tensor.detach().cpu()
    if is_large:
        return plain.contiguous()
    return plain.clone(memory_format=torch.contiguous_format)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint, all of it, onto the CPU.

    Raises:
        CheckpointError: there is none, it is no safetensors file, cut off, not ours, or of a newer
            format.
        InputError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}", hint=_WHERE)
    content = read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError) as exc:  # KeyError: a kind torch lacks
        raise CheckpointError(
            f"{path} is no whole safetensors file: {exc}",
            hint=f"it may be cut off, or of another kind; {_WHERE}",
        ) from exc
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # was checked above
    note = _read_note((header.get("__metadata__") or {}).get(_KEY), path)
    groups: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        group, dot, name = full.partition(".")
        if not dot or group not in GROUPS:
            raise CheckpointError(f"{path} holds {full!r}, which is no tensor of ours", hint=_WHERE)
        groups.setdefault(group, {})[name] = tensor
    parts = {name: getattr(note, name) for name in _Note.model_fields if name != "version"}
    return Checkpoint(tensors=groups, **parts)


def _read_note(text: str | None, path: Path) -> _Note:
    if text is None:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of arcwise", hint=_WHERE
        )
    try:
        values = json.loads(text)
        version = values.get("version") if isinstance(values, dict) else None
        if isinstance(version, int) and version != VERSION:
            raise CheckpointError(
                f"{path} has format {version}, this arcwise reads format {VERSION}",
                hint="use a newer arcwise" if version > VERSION else "use the arcwise it is from",
            )
        return _Note.model_validate(values)
    except ValueError as exc:  # not JSON, or not these fields
        raise CheckpointError(f"the note in {path} is damaged: {exc}", hint=_WHERE) from exc


def restore(
    module: nn.Module, tensors: Mapping[str, Tensor], *, what: str, origin: str, holds: str = ""
) -> None:
    """Copy tensors into a module; all of them fit, or nothing is copied.

    Args:
        module: with parameters and buffers of the same names and shapes.
        tensors: one group of a checkpoint.
        what: to call the module in an error, such as "network".
        origin: to call the checkpoint, usually its path.
        holds: what is in it (`Checkpoint.holds`).

    Raises:
        CheckpointError: it is of another architecture or size.
    """
    wanted = module.state_dict()
    problems = _list_some("missing", [name for name in wanted if name not in tensors])
    problems += _list_some("unexpected", [name for name in tensors if name not in wanted])
    problems += _list_some(
        "of another shape",
        [
            f"{name} {_shape(tensor)} instead of {_shape(wanted[name])}"
            for name, tensor in tensors.items()
            if name in wanted and not _is_alike(tensor, wanted[name])
        ],
    )
    if problems:
        about = f" ({holds})" if holds else ""
        raise CheckpointError(
            f"the {what} of {origin}{about} does not fit: {'; '.join(problems)}",
            hint="network and dimension must be those it was trained with",
        )
    module.load_state_dict(dict(tensors))


def flatten_optimizer(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers, as a group of a checkpoint.

    Returns:
        "INDEX.KIND" -> tensor; empty before the first step.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{kind}": value
        for index, kinds in state.items()
        for kind, value in kinds.items()
        if isinstance(value, Tensor)  # SGD without momentum keeps a None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Give an optimizer back what it remembered; its rates and decays stay as they are.

    Args:
        optimizer: SGD or AdamW over the same parameters in the same order.
        tensors: as `flatten_optimizer` gave them.
        origin: to call the checkpoint in an error.

    Raises:
        CheckpointError: it is of another optimizer or of other parameters; nothing was changed.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kinds = STATE_KINDS[type(optimizer)]
    state: dict[int, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        number, _, kind = full.partition(".")
        index = int(number) if number.isdecimal() else len(parameters)
        if kind not in kinds or index >= len(parameters):
            raise _optimizer_error(origin, f"{full} has no place in {type(optimizer).__name__}")
        parameter = parameters[index]
        is_count = kind == "step"
        if tensor.shape != (() if is_count else parameter.shape):
            raise _optimizer_error(
                origin, f"{full} is {_shape(tensor)}, its parameter {_shape(parameter)}"
            )
        # In the memory order of the parameter: the same sums, to the last bit, as without a stop.
        like = tensor if is_count else parameter
        state.setdefault(index, {})[kind] = torch.empty_like(like, requires_grad=False).copy_(
            tensor
        )
    for index, found in state.items():
        if missing := kinds - found.keys():
            raise _optimizer_error(origin, f"{index}.{min(missing)} is missing")
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _make_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _make_plain(inner) for key, inner in value.items()}
    return [_make_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _optimizer_error(origin: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"the optimizer of {origin} does not fit: {why}",
        hint="optimizer.name and the network must be those of the run",
    )


def _is_alike(tensor: Tensor, wanted: Tensor) -> bool:
    same_kind = tensor.is_floating_point() == wanted.is_floating_point()
    return tensor.shape == wanted.shape and same_kind


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _list_some(what: str, names: list[str]) -> list[str]:
    """One sentence on some names, none on none."""
    if not names:
        return []
    more = ", …" if len(names) > _N_EXAMPLES else ""
    return [f"{len(names)} {what} ({', '.join(names[:_N_EXAMPLES])}{more})"]
