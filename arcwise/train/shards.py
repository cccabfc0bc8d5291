"""The centers of a head in files of their own, one for each rank, readable by any number of ranks.

It does not know heads or optimizers: it keeps tensors whose first axis is that of all rows of the
head, in the part that a rank owns, and gives back any range of rows. A shard is written under a
new name before the checkpoint that names it, so that a checkpoint is whole at any moment.

Format: safetensors, one tensor for each kind ("weight", "momentum"...), with the metadata entry
"arcwise": {"first", "n_rows", "step"}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from arcwise.errors import CheckpointError
from arcwise.files import translate_os_errors, write_atomically

_KEY = "arcwise"
_NAME = re.compile(r"^(?P<stem>.+)-(?P<step>\d+)-(?P<rank>\d+)of(?P<size>\d+)\.safetensors$")


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows of the head in one file.

    Attributes:
        file: its name, beside the checkpoint.
        first, n_rows: which rows.
        step: of the checkpoint it belongs to.
    """

    file: str
    first: int
    n_rows: int
    step: int

    def to_dict(self) -> dict[str, str | int]:
        """As a checkpoint notes it."""
        return {name: getattr(self, name) for name in self.__slots__}


def name_shard(stem: str, *, step: int, rank: int, size: int) -> str:
    """The name of a shard: STEM-STEP-RANKofSIZE.safetensors."""
    return f"{stem}-{step}-{rank}of{size}.safetensors"


def save_shard(folder: Path, shard: Shard, tensors: Mapping[str, Tensor]) -> None:
    """Write the rows of one rank; readable by the owner alone, since a row describes a person.

    Raises:
        InputError: the disk is full, or the place cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    note = json.dumps({name: getattr(shard, name) for name in ("first", "n_rows", "step")})
    content = safetensors.torch.save(plain, metadata={_KEY: note})
    write_atomically(folder / shard.file, content, private=True)


def read_rows(folder: Path, shards: Sequence[Shard], first: int, n_rows: int) -> dict[str, Tensor]:
    """The rows from `first` on, whoever wrote them; only these are read.

    Returns:
        kind -> (n_rows, ...) tensor.

    Raises:
        CheckpointError: a file is missing, cut off, of another step, or not all rows are there.
    """
    parts: dict[str, list[Tensor]] = {}
    reached = first
    for shard in sorted(shards, key=lambda shard: shard.first):
        start, stop = max(reached, shard.first), min(first + n_rows, shard.first + shard.n_rows)
        if start != reached or stop < start or (n_rows and stop == start):
            continue  # a rank without rows of its own still needs to know which kinds there are
        for name, rows in _read_part(folder, shard, start, stop).items():
            parts.setdefault(name, []).append(rows)
        reached = stop
    if reached != first + n_rows:
        raise CheckpointError(
            f"the shards in {folder} hold no row {reached} of the head",
            hint="all files of the checkpoint must lie beside it",
        )
    return {name: torch.cat(rows) for name, rows in parts.items()}


def _read_part(folder: Path, shard: Shard, start: int, stop: int) -> dict[str, Tensor]:
    path = folder / shard.file
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing, which holds {shard.n_rows} rows of the head",
            hint="all files of the checkpoint must lie beside it",
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(_KEY, "null"))
            wanted = {"first": shard.first, "n_rows": shard.n_rows, "step": shard.step}
            if note != wanted:
                raise CheckpointError(f"{path} holds {note}, the checkpoint names {wanted}")
            inside = slice(start - shard.first, stop - shard.first)
            return {name: file.get_slice(name)[inside] for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as exc:
        raise CheckpointError(
            f"{path} is no whole safetensors file: {exc}",
            hint="it may be cut off; an older checkpoint of the run may be whole",
        ) from exc


def remove_stale(folder: Path, stem: str, keep: Collection[str]) -> None:
    """Delete the shards of a checkpoint's name that it no longer names.

    Raises:
        InputError: they cannot be deleted.
    """
    with translate_os_errors(folder, doing="write"):
        for path in folder.glob(f"{stem}-*.safetensors"):
            match = _NAME.match(path.name)
            if match and match["stem"] == stem and path.name not in keep:
                path.unlink(missing_ok=True)
