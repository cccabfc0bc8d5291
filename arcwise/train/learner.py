"""Everything that changes while training: network, head, projection, optimizers, averaged weights.

It does not know files or time: a step takes the parts of a batch, a learning rate and how much of
the margin to use, and gives back what the losses were. On several ranks each learner takes its
part of the batch; gradients of the network are averaged, the head is shared out (nn/partial_fc.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from arcwise.data.loader import Batch
from arcwise.errors import NotFiniteError
from arcwise.nn import build_backbone
from arcwise.nn.collective import Ranks, any_rank, gather_values, sum_over
from arcwise.nn.distill import cosine_term, relational_term
from arcwise.nn.expect import automatic_scale, expected_first_loss
from arcwise.nn.head import HeadResult
from arcwise.nn.losses import LOSSES, build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.nn.triplet import TripletLoss
from arcwise.nn.weights import load_weights
from arcwise.train.checkpoint import restore
from arcwise.train.config import TrainConfig
from arcwise.train.guard import find_broken_gradient, find_broken_layer, find_first_doubt
from arcwise.train.optimizer import build_optimizer, set_rate
from arcwise.train.precision import LossScale
from arcwise.train.rows import RowOptimizer
from arcwise.train.sections import Option

_AVERAGE_START = 10  # steps after which the average counts for half: (1 + n) / (10 + n)
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_STATISTICS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step found, before it changed the weights.

    Attributes:
        losses: by name, before their weights; "loss" is the weighted sum.
        values: what else is worth a look: gradient_norm (of the network, before clipping),
            target_angle_deg, share_beyond_pi, accuracy (of the batch, without margin), mean_norm,
            and what the loss reports of itself.
        is_skipped: float16 overflowed; no weight was changed.
    """

    losses: dict[str, float]
    values: dict[str, float]
    is_skipped: bool = False


class Learner:
    """A network that learns.

    Args:
        config: of the run.
        n_people: C, whom it learns to tell apart.
        n_targets: T, length of the vectors to learn from; 0 without.
        device: where it learns.
        ranks: who else learns the same network.
        class_margins: (C,) margins, or None.

    Raises:
        LearningError: the configuration does not make a network.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        n_people: int,
        n_targets: int,
        device: torch.device,
        ranks: Ranks | None = None,
        class_margins: Tensor | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.ranks = config, device, ranks or Ranks.alone()
        wanted = config.network
        network = build_backbone(
            wanted.name,
            dimension=wanted.dimension,
            dropout=wanted.dropout,
            options=wanted.options,
        ).to(device)
        self._order = _choose_order(config)
        self.network: nn.Module = network.to(memory_format=self._order)  # type: ignore[call-overload]
        if wanted.gradient_checkpointing:
            setattr(network, "recompute", True)  # noqa: B010 - no attribute of every module
        self.head = self._build_head(n_people, class_margins)
        self.triplet = (
            None
            if config.triplet is None
            else TripletLoss(config.triplet.margin, mining=config.triplet.mining, ranks=self.ranks)
        )
        self.projection: nn.Module = nn.Identity()
        if n_targets and n_targets != wanted.dimension:
            self.projection = nn.Linear(wanted.dimension, n_targets, bias=False).to(device)
        self.average = copy.deepcopy(self.network).eval() if config.average else None
        self.n_steps = 0
        self.loss_scale = LossScale.for_precision(config.precision)
        self.optimizer = build_optimizer(config.optimizer, self.network, (self.projection,))
        self.row_optimizer = RowOptimizer(
            self.head,
            name=config.optimizer.name,
            momentum=config.optimizer.momentum,
            nesterov=config.optimizer.nesterov,
            weight_decay=config.optimizer.weight_decay,
            dense_update=config.head.dense_update,
        )
        self._learned = [p for p in self.network.parameters() if p.requires_grad]
        self._is_frozen: bool | None = None
        self._forward: nn.Module = self.network

    def _build_head(self, n_people: int, class_margins: Tensor | None) -> PartialHead:
        head = self.config.head
        scale = automatic_scale(n_people) if head.scale == "auto" else head.scale
        draws: dict[str, Option] = (
            {"seed": self.config.seed} if "seed" in LOSSES[head.loss].options else {}
        )
        rule = build_rule(
            head.loss,
            margin=head.margin,
            scale=scale,
            options=draws | head.options,
            margins_by_class=class_margins,
        )
        return PartialHead(
            self.config.network.dimension,
            n_people,
            rule,
            ranks=self.ranks,
            sample_rate=head.sample_rate,
            subcenters=head.subcenters,
            filter_above=head.filter_above,
            focal_gamma=head.focal_gamma,
            focal_form=head.focal_form,
            seed=self.config.seed,
        ).to(self.device)

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
        """What a checkpoint holds whole, by name; the head's rows are kept apart."""
        found = {"network": self.network, "projection": self.projection}
        return found if self.average is None else found | {"average": self.average}

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and export: of averaged weights where they are kept."""
        return self.average if self.average is not None else self.network

    def freeze(self, is_frozen: bool) -> None:
        """Let the network learn, or keep all of it as it is while the head learns.

        Args:
            is_frozen: whether it is kept; asked before every step, does nothing when nothing
                changes.
        """
        if is_frozen is self._is_frozen:
            return
        self._is_frozen = is_frozen
        for parameter in self._learned:
            parameter.requires_grad_(not is_frozen)
            parameter.grad = None
        forward = self.network
        if self.ranks.size > 1 and not is_frozen:
            forward = DistributedDataParallel(
                forward, process_group=self.ranks.group, broadcast_buffers=False
            )
        if self.config.compile:
            forward = torch.compile(forward)  # type: ignore[assignment]
        self._forward = forward

    def step(self, parts: Sequence[Batch], *, learning_rate: float, strength: float) -> StepResult:
        """Learn from one batch.

        Args:
            parts: of the loader: micro-batches of equal size, whose gradients are averaged.
            learning_rate: of this step.
            strength: share of the margin that is used, 0 to 1.

        Raises:
            NotFiniteError: a loss or the gradient is not finite; no weight was changed.
            LearningError: float16 overflowed too often in a row, or a rank was lost.
        """
        # Dropout must differ between ranks, and be the same when a run goes on.
        seed = self.config.seed * 1_000_003 + self.n_steps
        torch.manual_seed(seed * self.ranks.size + self.ranks.rank)
        if self._is_frozen is None:
            self.freeze(is_frozen=False)
        self._set_mode()
        remembered = {name: value.clone() for name, value in self.head.rule.named_buffers()}
        self.head.draw_rows(torch.cat([part.labels for part in parts]).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        found = [self._learn_part(part, parts, strength) for part in parts]
        losses, values = (_mean(dicts) for dicts in zip(*found, strict=True))
        result = StepResult(losses, values)
        norm, is_finite = self._unscale()
        result.values["gradient_norm"] = norm
        if not is_finite and not self.loss_scale.is_on:
            where = find_broken_gradient(self.network) or "the head"
            _complain({"gradient": norm} | result.losses, f"the gradient of {where} is not finite")
        self.loss_scale.update(is_finite=is_finite)
        self.n_steps += 1
        if not is_finite:
            for name, value in self.head.rule.named_buffers():
                value.copy_(remembered[name])  # as if the step had not been
            return StepResult(result.losses, result.values, is_skipped=True)
        set_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        self.row_optimizer.step(learning_rate)
        self._update_average()
        return result

    def _set_mode(self) -> None:
        self.network.train(not self._is_frozen)
        self.head.train()
        if self.config.network.freeze_statistics:
            for module in self.network.modules():
                if isinstance(module, _STATISTICS):
                    module.eval()

    def _learn_part(
        self, part: Batch, parts: Sequence[Batch], strength: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Forward and backward of one micro-batch; gradients add up."""
        with self._wait_for_ranks(is_last=part is parts[-1]):
            crops = part.crops.to(self.device, memory_format=self._order, non_blocking=True)
            embeddings = self.embed(crops)
            losses, weights, found = self._find_losses(embeddings, part, strength)
            total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
            numbers = {"loss": total} | losses | _describe(found)
            known = dict(zip(numbers, torch.stack([*numbers.values()]).tolist(), strict=True))
            told = {name: known.pop(name) for name in ("loss", *losses)}
            if not all(math.isfinite(value) for value in told.values()):
                with self._autocast():
                    where = find_broken_layer(self.network, crops) or "the loss"
                _complain(told, f"the loss is not finite; {where} was the first that was not")
            torch.autograd.backward(total * (self.loss_scale.value / len(parts)))
        return told, known

    def embed(self, crops: Tensor) -> Tensor:
        """(B, D) float32 embeddings of crops, as the network is being trained."""
        with self._autocast(), torch.set_grad_enabled(not self._is_frozen):
            embeddings: Tensor = self._forward(crops)
        return embeddings.float()

    def _autocast(self) -> torch.autocast:
        wanted = _AUTOCAST.get(self.config.precision)
        return torch.autocast(self.device.type, wanted, enabled=wanted is not None)

    def _wait_for_ranks(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Gradients travel between ranks once a step, with its last micro-batch."""
        forward = self._forward
        if isinstance(forward, DistributedDataParallel) and not is_last:
            return forward.no_sync()
        return nullcontext()

    def _find_losses(
        self, embeddings: Tensor, batch: Batch, strength: float
    ) -> tuple[dict[str, Tensor], dict[str, float], HeadResult]:
        config = self.config
        labels = batch.labels.to(self.device)
        found = self.head(embeddings, labels, strength)
        losses, weights = {config.head.loss: found.loss}, {config.head.loss: config.head.weight}
        if self.triplet is not None and config.triplet is not None:
            losses["triplet"] = self.triplet(embeddings, labels).loss
            weights["triplet"] = config.triplet.weight
        if config.distill is not None and batch.targets is not None:
            targets = batch.targets.to(self.device)
            losses["cosine"] = cosine_term(self.projection(embeddings), targets)
            losses["relational"] = relational_term(embeddings, targets)
            weights |= {
                "cosine": config.distill.cosine,
                "relational": config.distill.relational,
            }
        return losses, weights, found

    def _unscale(self) -> tuple[float, bool]:
        """Divide the loss scale out and clip; the norm before that, and whether all is finite."""
        scale = self.loss_scale.value
        modules = (self.network, self.projection)
        grads = [p.grad for m in modules for p in m.parameters() if p.grad is not None]
        if self.ranks.size > 1:
            for parameter in self.projection.parameters():
                if parameter.grad is not None:
                    sum_over(parameter.grad, self.ranks).div_(self.ranks.size)
        if scale != 1:
            for grad in grads:  # none while the network is frozen
                grad.div_(scale)
            self.row_optimizer.unscale(scale)
        limit = self.config.optimizer.clip_norm
        norm = clip_grad_norm_(self.network.parameters(), limit or math.inf).item()
        is_finite = math.isfinite(norm) and self.row_optimizer.is_finite()
        return norm, not any_rank(not is_finite, self.ranks)

    def doubt_first(self, found: StepResult, parts: Sequence[Batch], strength: float) -> str | None:
        """What is wrong with the loss of the first step of a new head, in a sentence, or None."""
        head = self.config.head
        if head.focal_gamma is not None or head.start != "random" or not self.head.rule.is_angular:
            return None  # what it should be is not known
        rule = copy.deepcopy(self.head.rule).cpu()
        dimension = self.head.dimension
        labels = gather_values(torch.cat([part.labels for part in parts]), self.ranks)
        n_drawn = int(head.sample_rate * self.head.n_identities)
        n_drawn = max(n_drawn, len(torch.unique(labels)))  # the true ones are always drawn
        expected = expected_first_loss(n_drawn, rule, dimension, strength=strength)
        norms = torch.tensor([found.values["mean_norm"]])
        return find_first_doubt(
            found.losses[head.loss],
            expected,
            scale=float(torch.as_tensor(rule.find_scale(norms)).mean()),
            dimension=dimension,
            labels=labels,
        )

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Give all ranks the running statistics of the first, which a checkpoint keeps."""
        if self.ranks.size == 1:
            return
        for module in (self.network, self.average):
            for value in module.buffers() if module is not None else ():
                if value.dtype.is_floating_point:
                    sum_over(value if self.ranks.is_first else value.zero_(), self.ranks)

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


def _choose_order(config: TrainConfig) -> torch.memory_format:
    """Channels last unless told otherwise: faster for every network (docs/experiments.md)."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _describe(found: HeadResult) -> dict[str, Tensor]:
    return {
        "target_angle_deg": torch.rad2deg(found.target_angle_rad),
        "share_beyond_pi": found.share_beyond_pi,
        "accuracy": found.accuracy,
        "mean_norm": found.mean_norm,
        **found.details,
    }


def _mean(dicts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(values[name] for values in dicts) / len(dicts) for name in dicts[0]}


def _complain(values: dict[str, float], what: str) -> None:
    known = ", ".join(f"{name} {value:g}" for name, value in values.items())
    raise NotFiniteError(
        f"{what}: {known}",
        hint="begin again in a new folder (run=...) with a lower optimizer.learning_rate, a "
        "longer schedule.warmup_epochs, or precision=float32",
    )
