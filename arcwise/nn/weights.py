"""The weights of a network as a small file: half precision, with the name of what they fit.

It does not know training or checkpoints. A file is safetensors (nothing in it is unpickled), its
metadata has one entry, "arcwise-weights": {"version": 1, "network": {"name", "dimension"}}; a
network with options has "options" beside its dimension.

Weights are float16: rounding them by 1/2048 turns an embedding by far less than another photo
does. The running statistics of a BatchNorm stay float32. A variance may be below the least or
above the largest float16 (6e-8, 65504), and the root of it divides a whole channel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from arcwise.errors import CheckpointError, LearningError
from arcwise.files import read_bytes, write_atomically

VERSION = 1
_KEY = "arcwise-weights"
_STATISTICS = ("running_mean", "running_var")
_HINT = "`arcwise export RUN --weights FILE` writes such a file"


class Weights(NamedTuple):
    """What a file of weights holds.

    Attributes:
        network: "name" of the backbone, "dimension" of its embeddings, and "options" where it has
            any: what `build_backbone` takes.
        tensors: by name, as in the network's `state_dict`; floating ones are float32.
    """

    network: dict[str, Any]
    tensors: dict[str, Tensor]


def save_weights(
    path: Path | str,
    network: nn.Module,
    *,
    name: str,
    dimension: int,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write the weights of a backbone; missing folders are made, an older file is replaced.

    Args:
        path: of the file, usually .safetensors.
        network: as `build_backbone` makes it of what follows, not fused.
        name: a name of `BACKBONES`.
        dimension: D, length of the embeddings.
        options: of the backbone, those that differ from its row.

    Returns:
        The path.

    Raises:
        LearningError: a weight is not finite, or too large for float16.
        InputError: the disk is full, or the place cannot be written.
    """
    made_of = {"name": name, "dimension": dimension}
    # Without options the file is as it was before there were any.
    made_of |= {"options": dict(options)} if options else {}
    note = {"version": VERSION, "network": made_of}
    tensors = {key: _shrink(key, value) for key, value in network.state_dict().items()}
    return write_atomically(
        path, safetensors.torch.save(tensors, metadata={_KEY: json.dumps(note)})
    )


def load_weights(path: Path | str) -> Weights:
    """Read a file that `save_weights` wrote, onto the CPU.

    Returns:
        What network they are of, and the weights in float32.

    Raises:
        CheckpointError: it is no such file, cut off, or of a newer format.
        InputError: it cannot be read.
    """
    path = Path(path)
    content = read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError) as exc:  # KeyError: a kind torch lacks
        raise CheckpointError(
            f"{path} is no whole safetensors file: {exc}",
            hint=f"it may be cut off, or of another kind; {_HINT}",
        ) from exc
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # was checked above
    network = _read_note((header.get("__metadata__") or {}).get(_KEY), path)
    floats = {
        key: value.float() if value.is_floating_point() else value for key, value in tensors.items()
    }
    return Weights(network, floats)


def _read_note(text: str | None, path: Path) -> dict[str, Any]:
    if text is None:
        raise CheckpointError(f"{path} holds no weights of arcwise", hint=_HINT)
    try:
        note = json.loads(text)
        version = note["version"]
        if version != VERSION:
            raise CheckpointError(
                f"{path} has format {version}, this arcwise reads format {VERSION}",
                hint="use a newer arcwise",
            )
        network = note["network"]
        found = {"name": str(network["name"]), "dimension": int(network["dimension"])}
        return found | ({"options": dict(network["options"])} if "options" in network else {})
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(f"the note in {path} is damaged: {text!r:.80}", hint=_HINT) from exc


def _shrink(key: str, value: Tensor) -> Tensor:
    """A copy of its own, in plain order: the format knows neither strides nor shared memory."""
    copied = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if not copied.is_floating_point():
        return copied
    small = copied.float() if key.rpartition(".")[2] in _STATISTICS else copied.half()
    if not small.isfinite().all():
        largest = copied.abs().max().item()
        raise LearningError(
            f"{key} cannot be saved, its largest value is {largest:g}",
            hint="weights must be finite and below 65504; did the training diverge?",
        )
    return small
