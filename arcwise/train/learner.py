"""Everything that changes while training: network, head, projection, optimizer, averaged weights.

It does not know files, data or time: a step takes a batch, a learning rate and how much of the
margin to use, and gives back what the losses were.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from arcwise.data.loader import Batch
from arcwise.errors import LearningError
from arcwise.nn import build_backbone
from arcwise.nn.distill import cosine_term, relational_term
from arcwise.nn.head import HeadResult, MarginHead, automatic_scale
from arcwise.nn.weights import load_weights
from arcwise.train.checkpoint import restore
from arcwise.train.config import TrainConfig

_AVERAGE_START = 10  # steps after which the average counts for half: (1 + n) / (10 + n)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step found, before it changed the weights.

    Attributes:
        losses: by name, before their weights; "loss" is the weighted sum.
        gradient_norm: of the network, before clipping.
        target_angle_deg: mean angle between an embedding and its class center.
        mean_norm: mean length of the embeddings.
    """

    losses: dict[str, float]
    gradient_norm: float
    target_angle_deg: float
    mean_norm: float


class Learner:
    """A network that learns.

    Args:
        config: of the run.
        n_people: C, whom it learns to tell apart.
        n_targets: T, length of the vectors to learn from; 0 without.
        device: where it learns.

    Raises:
        LearningError: the configuration does not make a network.
    """

    def __init__(
        self, config: TrainConfig, *, n_people: int, n_targets: int, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        wanted = config.network
        network = build_backbone(wanted.name, dimension=wanted.dimension, dropout=wanted.dropout)
        # PReLU in channels-last order is many times slower on a CPU (docs/experiments.md).
        has_prelu = any(isinstance(module, nn.PReLU) for module in network.modules())
        self._order = torch.contiguous_format if has_prelu else torch.channels_last
        network = network.to(device)
        self.network: nn.Module = network.to(memory_format=self._order)  # type: ignore[call-overload]
        head = config.head
        scale = automatic_scale(n_people) if head.scale == "auto" else head.scale
        margin = head.build_margin()
        self.head = MarginHead(wanted.dimension, n_people, margin=margin, scale=scale).to(device)
        self.projection: nn.Module = nn.Identity()
        if n_targets and n_targets != wanted.dimension:
            self.projection = nn.Linear(wanted.dimension, n_targets, bias=False).to(device)
        self.average = copy.deepcopy(self.network).eval() if config.average else None
        self.n_steps = 0
        self.optimizer = self._build_optimizer()

    def _build_optimizer(self) -> torch.optim.Optimizer:
        modules = (self.network, self.head, self.projection)
        learned = [p for module in modules for p in module.parameters() if p.requires_grad]
        wanted = self.config.optimizer
        groups = [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": wanted.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if wanted.name == "adamw":
            return torch.optim.AdamW(groups, lr=wanted.learning_rate)
        return torch.optim.SGD(
            groups,
            lr=wanted.learning_rate,
            momentum=wanted.momentum,
            nesterov=wanted.momentum > 0,
        )

    def start_from(self, path: Path) -> None:
        """Take the weights of a network that was trained before, to train them further.

        Args:
            path: a file of `arcwise export --weights`.

        Raises:
            CheckpointError: it is no such file, or of another network or dimension.
            InputError: it cannot be read.
        """
        found = load_weights(path)
        holds = f"{found.network['name']}, dimension {found.network['dimension']}"
        for module in (self.network, self.average):
            if module is not None:
                restore(module, found.tensors, what="network", origin=str(path), holds=holds)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name; a network without averages has none."""
        found = {"network": self.network, "head": self.head, "projection": self.projection}
        return found if self.average is None else found | {"average": self.average}

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and export: of averaged weights where they are kept."""
        return self.average if self.average is not None else self.network

    def step(self, batch: Batch, *, learning_rate: float, strength: float) -> StepResult:
        """Learn from one batch.

        Args:
            batch: of the loader.
            learning_rate: of this step.
            strength: share of the margin that is used, 0 to 1.

        Raises:
            LearningError: a loss or the gradient is not finite; no weight was changed.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + self.n_steps)  # of dropout
        self.network.train()
        crops = batch.crops.to(self.device, memory_format=self._order)
        is_half = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_half):
            embeddings = self.network(crops)
        parts, weights, found = self._find_losses(embeddings.float(), batch, strength)
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        losses = {"loss": total.item()} | {name: part.item() for name, part in parts.items()}
        _check_finite(losses, "the loss is not finite")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        limit = self.config.optimizer.clip_norm
        norm = clip_grad_norm_(self.network.parameters(), limit or math.inf).item()
        _check_finite({"gradient": norm} | losses, "the gradient is not finite")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.n_steps += 1
        self._update_average()
        angle = math.degrees(found.target_angle_rad.item())
        return StepResult(losses, norm, angle, found.mean_norm.item())

    def _find_losses(
        self, embeddings: Tensor, batch: Batch, strength: float
    ) -> tuple[dict[str, Tensor], dict[str, float], HeadResult]:
        config = self.config
        found = self.head(embeddings, batch.labels.to(self.device), strength)
        parts, weights = {config.head.loss: found.loss}, {config.head.loss: config.head.weight}
        if config.distill is not None and batch.targets is not None:
            targets = batch.targets.to(self.device)
            parts["cosine"] = cosine_term(self.projection(embeddings), targets)
            parts["relational"] = relational_term(embeddings, targets)
            weights |= {
                "cosine": config.distill.cosine,
                "relational": config.distill.relational,
            }
        return parts, weights, found

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        early = (1 + self.n_steps) / (_AVERAGE_START + self.n_steps)
        share = 1.0 - min(self.config.average, early)
        ours = self.average.state_dict()
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                ours[name].lerp_(value, share)
            else:
                ours[name].copy_(value)


def _check_finite(values: dict[str, float], what: str) -> None:
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        known = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise LearningError(
            f"{what} ({', '.join(bad)}): {known}",
            hint="begin again in a new folder (run=...) with a lower optimizer.learning_rate, a "
            "longer schedule.warmup_epochs, or precision=float32",
        )
