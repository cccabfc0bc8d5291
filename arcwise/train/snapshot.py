"""A learner written to a checkpoint and taken up again, on the same or another number of ranks.

It does not know when, or what a run is; it puts what a learner holds into the groups of
train/checkpoint.py, and on several ranks the rows of the head into shards beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from arcwise.errors import CheckpointError, LearningError
from arcwise.nn.centers import find_block
from arcwise.nn.collective import any_rank
from arcwise.train.checkpoint import (
    Checkpoint,
    flatten_optimizer,
    restore,
    restore_optimizer,
    save_checkpoint,
)
from arcwise.train.learner import Learner
from arcwise.train.shards import Shard, name_shard, read_rows, remove_stale, save_shard

_MEMORY = "memory."  # before the names of what the optimizer of the head remembers


def save_learner(learner: Learner, path: Path, note: Checkpoint) -> None:
    """Write a checkpoint, all ranks together; the one before stays whole until this one is.

    Args:
        learner: of this rank.
        path: of the checkpoint; on several ranks the head lies in shards beside it.
        note: all of it but what the learner holds.

    Raises:
        LearningError: a weight is not finite.
        InputError: the disk is full, or the place cannot be written.
    """
    ranks = learner.ranks
    groups: dict[str, Mapping[str, Tensor]] = {
        name: module.state_dict() for name, module in learner.modules.items()
    }
    groups["optimizer"] = flatten_optimizer(learner.optimizer)
    groups["rule"] = _rule_of(learner)
    groups["head"] = _rows_of(learner)
    _check_finite(groups, learner)
    scale = learner.loss_scale
    note = replace(note, loss_scale=(scale.value, float(scale.n_good)), step=learner.n_steps)
    if ranks.size == 1:
        save_checkpoint(path, replace(note, tensors=groups))
        remove_stale(path.parent, path.stem, keep=())
        return
    rows = groups.pop("head")
    shards = [_place_of(learner, path.stem, rank) for rank in range(ranks.size)]
    save_shard(path.parent, shards[ranks.rank], rows)
    any_rank(False, ranks)  # all shards are whole before the checkpoint names them
    if ranks.is_first:
        named = [shard.to_dict() for shard in shards]
        save_checkpoint(path, replace(note, tensors=groups, shards=named))
        remove_stale(path.parent, path.stem, keep=[shard.file for shard in shards])
    any_rank(False, ranks)


def restore_learner(learner: Learner, found: Checkpoint, path: Path) -> None:
    """Give a learner everything back that a checkpoint holds; of the head, its own rows.

    Raises:
        CheckpointError: it is of another network, head or optimizer, or a shard is missing.
    """
    origin = str(path)
    for name, module in learner.modules.items():
        tensors = found.tensors.get(name, {})
        restore(module, tensors, what=name, origin=origin, holds=found.holds)
    restore_optimizer(learner.optimizer, found.tensors.get("optimizer", {}), origin=origin)
    head = learner.head
    kept = {"weight": head.weight} | dict(found.tensors.get("rule", {}))
    restore(head, kept, what="head", origin=origin, holds=found.holds)
    first, n_rows = _rows_of_rank(learner, learner.ranks.rank)
    rows = _read_rows(learner, found, path)
    try:
        weight = rows.pop("weight")
    except KeyError as exc:
        raise CheckpointError(f"{origin} ({found.holds}) holds no head") from exc
    try:
        memory = {name.removeprefix(_MEMORY): tensor for name, tensor in rows.items()}
        n_taken = head.load_rows(first, weight)
        learner.row_optimizer.load_rows(first, memory)
    except LearningError as exc:
        raise CheckpointError(f"the head of {origin} does not fit: {exc}", hint=exc.hint) from exc
    if n_taken != n_rows:
        raise CheckpointError(f"{origin} ({found.holds}) holds {n_taken} of {n_rows} centers")
    learner.loss_scale.value, n_good = found.loss_scale
    learner.loss_scale.n_good = int(n_good)
    learner.n_steps = found.step


def _rows_of(learner: Learner) -> dict[str, Tensor]:
    memory = learner.row_optimizer.state_dict()
    return {"weight": learner.head.weight.detach()} | {
        f"{_MEMORY}{name}": tensor for name, tensor in memory.items()
    }


def _rule_of(learner: Learner) -> dict[str, Tensor]:
    """What the head remembers beside its centers."""
    return {name: value for name, value in learner.head.state_dict().items() if name != "weight"}


def _rows_of_rank(learner: Learner, rank: int) -> tuple[int, int]:
    """First row and number of rows of the head that a rank owns."""
    head = learner.head
    block = find_block(head.n_identities, replace(learner.ranks, rank=rank))
    return block.start * head.subcenters, len(block) * head.subcenters


def _place_of(learner: Learner, stem: str, rank: int) -> Shard:
    first, n_rows = _rows_of_rank(learner, rank)
    step, size = learner.n_steps, learner.ranks.size
    return Shard(name_shard(stem, step=step, rank=rank, size=size), first, n_rows, step)


def _read_rows(learner: Learner, found: Checkpoint, path: Path) -> dict[str, Tensor]:
    """The rows of this rank by kind, from the file or from its shards."""
    head, group = learner.head, found.tensors.get("head", {})
    shards = [_read_shard(value, path) for value in found.shards]
    wanted = head.n_identities * head.subcenters
    ends = [shard.first + shard.n_rows for shard in shards]
    sizes = {max(ends)} if ends else {sum(tensor.shape[:1]) for tensor in group.values()}
    if wrong := sizes - {wanted}:
        raise CheckpointError(
            f"{path} ({found.holds}) holds {max(wrong)} rows of a head, not {wanted}",
            hint="the people and head.subcenters must be those it was trained with",
        )
    first, n_rows = _rows_of_rank(learner, learner.ranks.rank)
    if shards:
        return read_rows(path.parent, shards, first, n_rows)
    return {name: tensor[first : first + n_rows] for name, tensor in group.items()}


def _read_shard(value: Mapping[str, Any], path: Path) -> Shard:
    kinds = {name: type(part) for name, part in value.items()}
    is_known = kinds == {"file": str, "first": int, "n_rows": int, "step": int}
    if not is_known or Path(value["file"]).name != value["file"]:
        raise CheckpointError(f"{path} names a shard in words we do not know: {dict(value)}")
    return Shard(**value)


def _check_finite(groups: Mapping[str, Mapping[str, Tensor]], learner: Learner) -> None:
    """Refuse on all ranks when a weight of any is not finite."""
    broken = [
        f"{group}.{name}"
        for group, named in groups.items()
        for name, tensor in named.items()
        if not tensor.isfinite().all()
    ]
    if any_rank(bool(broken), learner.ranks):
        where = broken[0] if broken else "a center of another rank"
        raise LearningError(
            f"{where} is not finite after step {learner.n_steps}; the checkpoint from before stays",
            hint="begin again in a new folder (run=...) with a lower optimizer.learning_rate",
        )
