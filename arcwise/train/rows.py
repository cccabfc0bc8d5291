"""The optimizer of a head's rows, which works on the rows that a step used and on no others.

It does not know losses or ranks: every rank owns its rows and what is remembered of them. A row
that was not drawn keeps its center and its memory as they are: no decay, no momentum that drifts
on, and as many steps for Adam's correction as the row itself has had. So gradients and everything
temporary are as large as the draw, not as the head. Where all rows are used, this is torch's own
optimizer.

Source: the first release of Partial FC, with which the published memory tables were measured (An
et al., 2021); `dense_update` is the second, in which all rows decay and drift in every step. SGD,
Adam and AdamW as torch.optim defines them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from arcwise.errors import CheckpointError, LearningError
from arcwise.nn.centers import copy_rows
from arcwise.nn.partial_fc import PartialHead

Name = Literal["sgd", "adam", "adamw"]

STEPS = "steps"
"""Of Adam: (n,) how many steps each row has had."""

_KINDS: dict[Name, tuple[str, ...]] = {
    "sgd": ("momentum",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
}
_PART_ROWS = {"cpu": 2048}  # rows of 512 numbers: 4 MB, the size of a cache
_PART_ROWS_DEVICE = 1 << 16  # 128 MB: enough for a GPU to be busy


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows, all changed in place: centers, gradient, and what is remembered by kind."""

    centers: Tensor
    gradient: Tensor
    memory: dict[str, Tensor]


class RowOptimizer:
    """SGD, Adam or AdamW over the rows of a head.

    Args:
        head: whose rows they are; what it has drawn when `step` is called is what changes.
        name: which optimizer.
        momentum: of SGD; 0 remembers nothing.
        nesterov: of SGD.
        weight_decay: added to the gradient (sgd, adam) or taken from the center (adamw).
        betas: of Adam and AdamW.
        eps: likewise.
        dense_update: every step changes all rows, those that were not drawn by decay and momentum
            alone; needs a gradient of all rows.

    Raises:
        LearningError: an unknown name, or a value out of range.
    """

    def __init__(
        self,
        head: PartialHead,
        *,
        name: Name = "sgd",
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        dense_update: bool = False,
    ) -> None:
        if name not in get_args(Name):
            raise LearningError(
                f"no optimizer of rows of the name {name!r}",
                hint=f"use one of {', '.join(get_args(Name))}",
            )
        if not all(0 <= value < 1 for value in (momentum, *betas)):
            raise LearningError(
                f"momentum and betas must lie in 0..1, below 1, got {momentum} and {betas}",
                hint="0.9, and 0.9 and 0.999, are usual",
            )
        if not (weight_decay >= 0 and eps > 0):
            raise LearningError(
                f"weight decay {weight_decay} and eps {eps} of the rows",
                hint="a decay is 0 or more, such as 0.0005; eps is above 0",
            )
        self.head = head
        self.name, self.momentum, self.nesterov = name, momentum, nesterov
        self.weight_decay, self.betas, self.eps = weight_decay, betas, eps
        self.dense_update = dense_update
        kinds = () if name == "sgd" and momentum == 0 else _KINDS[name]
        weight = head.weight.detach()
        self._memory = {kind: torch.zeros_like(weight) for kind in kinds}
        if name != "sgd":
            self._memory[STEPS] = weight.new_zeros(len(weight), dtype=torch.float32)

    def unscale(self, scale: float) -> None:
        """Divide the gradient that waits by a loss scale; nothing where none waits."""
        gradient = self._find_gradient()
        if gradient is not None and scale != 1:
            gradient.mul_(1 / scale)

    def is_finite(self) -> bool:
        """Whether the gradient that waits is, on this rank; this waits for the device.

        A step must be left out on every rank when it is not on one (`any_rank`).
        """
        gradient = self._find_gradient()
        if gradient is None or not gradient.numel():
            return True
        return bool(torch.linalg.vector_norm(gradient, ord=torch.inf).isfinite())

    @torch.no_grad()
    def step(self, learning_rate: float, *, grad_scale: float = 1.0) -> None:
        """Change the rows that were drawn, and end the step: the head forgets its draw.

        Args:
            learning_rate: of this step.
            grad_scale: what the loss was multiplied by, if `unscale` was not called.
        """
        self.unscale(grad_scale)
        gradient, drawn = self._find_gradient(), self.head.drawn
        if gradient is not None and drawn is not None:
            identities = drawn.identities
            rows = None if identities is None else self.head.find_rows(identities)
            if rows is not None and self.dense_update:
                whole = torch.zeros_like(self.head.weight)
                gradient, rows = whole.index_copy_(0, rows, gradient.to(whole.dtype)), None
            self._update(gradient, rows, learning_rate)
        self.head.forget_rows()

    def state_dict(self) -> dict[str, Tensor]:
        """What is remembered of all rows of this rank, by kind; (n, D) or (n,), not copied."""
        return dict(self._memory)

    @torch.no_grad()
    def load_rows(self, first_row: int, memory: Mapping[str, Tensor]) -> int:
        """Take over what was remembered, however the head was shared out.

        Args:
            first_row: which row of the whole head the first one given is.
            memory: kind -> (n, ...) rows one after the other, as `state_dict` names them.

        Returns:
            How many rows were taken; those of other ranks are ignored.

        Raises:
            CheckpointError: it is of another optimizer.
            LearningError: rows of another length.
        """
        if memory.keys() != self._memory.keys():
            raise CheckpointError(
                f"the head was learned with an optimizer that remembers {_list(memory)}; "
                f"{self.name} remembers {_list(self._memory)}",
                hint="optimizer.name and optimizer.momentum must be those of the run",
            )
        taken = [
            copy_rows(own, self.head.first_row, first_row, memory[kind])
            for kind, own in self._memory.items()
        ]
        return min(taken, default=0)

    def _find_gradient(self) -> Tensor | None:
        drawn = self.head.drawn
        centers = self.head.weight if drawn is None else drawn.centers
        return centers.grad

    def _update(self, gradient: Tensor, rows: Tensor | None, learning_rate: float) -> None:
        """Some rows at a time, which stay in the cache from the first operation to the last."""
        weight = self.head.weight.detach()
        n_rows = _PART_ROWS.get(weight.device.type, _PART_ROWS_DEVICE)
        for start in range(0, len(gradient), n_rows):
            part = slice(start, start + n_rows)
            where = part if rows is None else rows[part]
            # A slice is a view and is changed in place; chosen rows are a copy and are put back.
            some = _Part(
                weight[where],
                gradient[part],
                {kind: kept[where] for kind, kept in self._memory.items()},
            )
            if self.name == "sgd":
                self._update_sgd(some, learning_rate)
            else:
                self._update_adam(some, learning_rate)
            if rows is None:
                continue
            weight[where] = some.centers
            for kind, kept in self._memory.items():
                kept[where] = some.memory[kind]

    def _update_sgd(self, part: _Part, learning_rate: float) -> None:
        gradient = part.gradient
        if self.weight_decay:
            gradient.add_(part.centers, alpha=self.weight_decay)
        if self.momentum:
            velocity = part.memory["momentum"]
            velocity.mul_(self.momentum).add_(gradient)
            if self.nesterov:
                gradient.add_(velocity, alpha=self.momentum)
            else:
                gradient = velocity
        part.centers.add_(gradient, alpha=-learning_rate)

    def _update_adam(self, part: _Part, learning_rate: float) -> None:
        gradient, memory = part.gradient, part.memory
        if self.weight_decay and self.name == "adam":
            gradient.add_(part.centers, alpha=self.weight_decay)
        elif self.weight_decay:
            part.centers.mul_(1 - learning_rate * self.weight_decay)
        beta_1, beta_2 = self.betas
        memory[STEPS].add_(1)
        memory["exp_avg"].lerp_(gradient, 1 - beta_1)
        memory["exp_avg_sq"].mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        n_steps = memory[STEPS].double()[:, None]  # 1 - 0.999 would keep 4 digits in float32
        size = (learning_rate / (1 - beta_1**n_steps)).to(gradient.dtype)
        root = (1 - beta_2**n_steps).sqrt().to(gradient.dtype)
        below = memory["exp_avg_sq"].sqrt().div_(root).add_(self.eps)
        part.centers.sub_(size * memory["exp_avg"] / below)


def _list(kinds: Mapping[str, Tensor]) -> str:
    return ", ".join(kinds) or "nothing"
