"""Partial FC: the margin softmax with its centers shared out over ranks, and a part of them used.

It does not know photos, backbones or the optimizer (train/rows.py has the one of its rows). Rank r
of W owns a block of identities and their centers, computes their logits for the samples of all
ranks, and no rank ever holds the logits of all identities. With a sample rate below 1 a step uses
the true identities of its samples and others drawn at random; the rest is not read, gets no
gradient and does not change. One rank and rate 1 is the plain head, by the same arithmetic, which
is float32 even under autocast.

Do not wrap it in DistributedDataParallel, which would make the centers of all ranks one; the
network before it is wrapped alone. See docs/partial-fc.md.

Source: An et al., Partial FC (2021) and Killing Two Birds with One Stone (2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.centers import (
    check_draw,
    copy_rows,
    draw_identities,
    find_block,
    point_centers,
    start_centers,
)
from arcwise.nn.collective import (
    ALONE,
    Ranks,
    check_even,
    gather_rows,
    gather_values,
    max_over,
    sum_over,
)
from arcwise.nn.cosines import MIN_NORM, find_cosines
from arcwise.nn.entropy import find_losses
from arcwise.nn.focal import Form, check_focus, focus
from arcwise.nn.head import (
    HeadResult,
    check_batch,
    check_rule,
    check_size,
    diagnose,
    normalize_rows,
)
from arcwise.nn.rule import Observed, Places, Rule, make_logits, observe_batch

_ALIGN = 8  # spare columns fill a row of logits up to 32 bytes, as matrix products like it


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """The centers that take part in a step.

    Attributes:
        identities: (S,) int64 within the block of this rank, from 0, ascending; None: all.
        centers: (S K, D) a copy of their rows, or the weight itself if all: a leaf whose gradient
            the optimizer takes.
        is_lasting: whether it stays until the optimizer's step, or is of one batch.
    """

    identities: Tensor | None
    centers: Tensor
    is_lasting: bool


class PartialHead(nn.Module):
    """Margin softmax over identities that are shared out over ranks.

    Args:
        dimension: D, length of the embeddings.
        n_identities: C, over all ranks; 1 works (the loss is 0).
        rule: of the loss.
        ranks: who holds the other identities.
        sample_rate: share of its identities that each rank uses in a step, at least the true ones
            of the batch; 0 uses these alone. Validation uses all.
        subcenters: K centers of an identity; its cosine is the largest of theirs.
        filter_above: see `make_logits`.
        focal_gamma: see `focus`; None: without.
        focal_form: likewise.
        seed: of new centers and of what is drawn; 0 or more.

    Attributes:
        weight: (n_own K, D) centers of this rank, not normalized, the K of an identity side by
            side; (n_own K, D + 1) with a rule that is not angular, the last number being the bias.
            It requires a gradient only at rate 1; below, the rows drawn do.
        first, n_own: the identities of this rank.
        n_draws: () int64 buffer, steps drawn so far: with the seed it decides the next draw, which
            waits for a GPU to read it (below rate 1).
        drawn: the centers of the step that is under way; None between steps.

    Raises:
        LearningError: a size below 1, a rate beyond 0..1, a negative seed, a focal loss that is
            not defined, or a rule of another number of identities.
    """

    n_draws: Tensor

    def __init__(
        self,
        dimension: int,
        n_identities: int,
        rule: Rule,
        *,
        ranks: Ranks = ALONE,
        sample_rate: float = 1.0,
        subcenters: int = 1,
        filter_above: float | None = None,
        focal_gamma: float | None = None,
        focal_form: Form = "per_sample",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_size(dimension, n_identities, subcenters)
        check_rule(rule, n_identities, filter_above)
        check_focus(focal_gamma or 0, focal_form)
        check_draw(sample_rate, seed)
        self.dimension, self.n_identities, self.subcenters = dimension, n_identities, subcenters
        self.rule, self.ranks, self.sample_rate, self.seed = rule, ranks, sample_rate, seed
        self.filter_above = filter_above
        self.focal_gamma, self.focal_form = focal_gamma, focal_form
        own = find_block(n_identities, ranks)
        self.first, self.n_own = own.start, len(own)
        centers = start_centers(own, n_rows=subcenters, dimension=dimension, seed=seed)
        if not rule.is_angular:
            centers = F.pad(centers, (0, 1))
        self.weight = nn.Parameter(centers, requires_grad=sample_rate == 1)
        self.register_buffer("n_draws", torch.zeros((), dtype=torch.int64))
        self.drawn: Drawn | None = None

    # ── which centers take part ──

    def draw_rows(self, labels: Tensor) -> None:
        """Begin a step: forget gradients, and choose the centers that take part in it.

        Without this call each batch of training draws for itself; it is needed where the gradients
        of several batches add up to one step. All ranks must call it.

        Args:
            labels: (n,) int64 of all samples of this rank in the step, as many on every rank.

        Raises:
            LearningError: labels that are not (n,) int64, uneven numbers, or a rank was lost.
        """
        if labels.dtype != torch.int64 or labels.ndim != 1:
            raise LearningError(
                f"labels of shape {tuple(labels.shape)} and {labels.dtype}, to draw their centers",
                hint="give those of all samples of the step, (n,) int64",
            )
        check_even(len(labels), self.ranks)
        self.forget_rows()
        self._draw(gather_values(labels, self.ranks), is_lasting=True)

    def use_rows(self, identities: Tensor) -> None:
        """Begin a step with centers that are given, to repeat or prove something.

        Args:
            identities: (n,) int64 of all 0..C-1, in any order; every rank takes its own of them.
                The true ones of the batches to come must be among them.
        """
        self.forget_rows()
        within = torch.unique(identities) - self.first
        self._keep(within[(within >= 0) & (within < self.n_own)], is_lasting=True)

    def forget_rows(self) -> None:
        """End a step: its centers, and their gradient, are no longer held."""
        self.drawn = None
        self.weight.grad = None

    def _draw(self, labels: Tensor, *, is_lasting: bool) -> Drawn:
        if self.sample_rate == 1:
            self.drawn = Drawn(None, self.weight, is_lasting)
            return self.drawn
        identities = draw_identities(
            labels.to(self.weight.device),
            find_block(self.n_identities, self.ranks),
            rate=self.sample_rate,
            seed=self.seed,
            n_draw=int(self.n_draws),
            rank=self.ranks.rank,
        )
        self.n_draws += 1
        return self._keep(identities, is_lasting=is_lasting)

    def _keep(self, identities: Tensor, *, is_lasting: bool) -> Drawn:
        centers = self.weight.detach()[self.find_rows(identities)]
        self.drawn = Drawn(identities, centers.requires_grad_(), is_lasting)
        return self.drawn

    def find_rows(self, identities: Tensor) -> Tensor:
        """(n K,) which rows of the weight belong to (n,) identities of this rank, from 0."""
        if self.subcenters == 1:
            return identities
        offsets = torch.arange(self.subcenters, device=identities.device)
        return (identities[:, None] * self.subcenters + offsets).flatten()

    # ── the loss ──

    def forward(self, embeddings: Tensor, labels: Tensor, strength: float = 1.0) -> HeadResult:
        """The loss of the batches of all ranks; in training mode, the rule takes note of them.

        Args:
            embeddings: (B, D) floating, raw: not normalized; of this rank, and on every rank as
                many. A zero embedding counts as orthogonal to every center and gets no gradient
                (of an angular rule).
            labels: (B,) int64 in 0..C-1, or -1: the sample does not count.
            strength: of the margin, 0..1, see `Margin.weaken`.

        Returns:
            The loss, float32 (float64 when head or embeddings are), and its diagnostics: all of
            them the same on every rank. Backward gives the embeddings W times their gradient, as
            a data-parallel network divides it by W, and centers theirs; all ranks must go
            backward, or none.

        Raises:
            LearningError: as `MarginHead.forward`; batches of different sizes on the ranks, a
                gradient that nobody took, labels beside the rows drawn (on a GPU the loss is NaN
                then), or a rank was lost.
        """
        check_batch(embeddings, labels, self.dimension, self.n_identities)
        check_even(len(labels), self.ranks)
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        dtype = torch.promote_types(embeddings.dtype, dtype)
        with torch.autocast(embeddings.device.type, enabled=False):
            raw = gather_rows(embeddings.to(dtype), self.ranks, is_part=True)
            labels = gather_values(labels, self.ranks)
            drawn = self._choose_drawn(labels)
            norms = torch.linalg.vector_norm(raw, dim=1)
            cosines, n_spare = self._find_cosines(raw, drawn.centers.to(dtype))
            n_columns = cosines.shape[1] - n_spare
            places, is_here = self._find_places(labels, drawn, n_columns)
            targets, is_known = self._share_targets(cosines.detach(), places, is_here)
            batch = observe_batch(
                self.rule, targets, norms, labels, strength=strength, learns=self.training
            )
            nearest = self._find_nearest(cosines.detach()[:, :n_columns])
            filter_above = self.filter_above
            logits = make_logits(
                self.rule, cosines, places, batch=batch, norms=norms, filter_above=filter_above
            )
            losses = find_losses(logits, places.columns, is_here, self.ranks, n_spare=n_spare)
            if drawn.identities is not None:
                losses = _mark_missing(losses, batch, is_known)
            loss = self._add_up(losses, norms, batch)
            # A zero embedding is as near to all.
            is_right = (targets >= nearest) & (batch.norms > MIN_NORM)
            return diagnose(loss, self.rule, batch, is_right)

    def _choose_drawn(self, labels: Tensor) -> Drawn:
        """The centers for a batch of all ranks, drawn now unless they were before."""
        if not self.training:
            return Drawn(None, self.weight, is_lasting=False)
        kept = self.drawn
        if kept is not None and kept.is_lasting:
            return kept
        if kept is not None and kept.identities is not None and kept.centers.grad is not None:
            raise LearningError(
                "the gradient of the batch before still waits for the optimizer's step",
                hint="where batches add up to one step, call draw_rows with the labels of all of "
                "them first; to drop a gradient, call forget_rows",
            )
        return self._draw(labels, is_lasting=False)

    def _find_cosines(self, raw: Tensor, centers: Tensor) -> tuple[Tensor, int]:
        """(B, S + spare) cosines, or inner products, and how many columns are spare.

        A sample whose true identity lies on another rank has its place in a spare column, so that
        nothing has to wait for the device to know which samples these are.
        """
        n_columns = len(centers) // self.subcenters
        needs_spare = self.ranks.size > 1 or n_columns == 0
        n_spare = _ALIGN - n_columns % _ALIGN if needs_spare else 0
        if self.rule.is_angular and self.subcenters == 1:
            return find_cosines(normalize_rows(raw), centers, n_spare=n_spare), n_spare
        if self.rule.is_angular:
            cosines = find_cosines(normalize_rows(raw), centers)
        else:
            cosines = F.linear(raw, centers[:, :-1], centers[:, -1])
        if self.subcenters > 1:
            # Of equal ones the first alone learns, so that they part.
            cosines = cosines.view(len(raw), n_columns, self.subcenters).max(dim=2).values
        return (F.pad(cosines, (0, n_spare)) if n_spare else cosines), n_spare

    def _find_places(self, labels: Tensor, drawn: Drawn, n_columns: int) -> tuple[Places, Tensor]:
        """Columns of the true identities, spare for those elsewhere, and (B,) which are here."""
        within = labels - self.first
        is_here = (within >= 0) & (within < self.n_own)  # -1 is below every block
        columns = within
        if drawn.identities is not None:
            # One more at the end, for what lies beyond all of them; it is nobody's.
            known = F.pad(drawn.identities, (0, 1), value=self.n_own)
            columns = torch.searchsorted(known, within).clamp_max(n_columns)
            is_here = is_here & (known[columns] == within)
        # With one rank there is no spare column, and only samples that do not count are elsewhere.
        elsewhere = n_columns if self.ranks.size > 1 or not n_columns else 0
        rows = torch.arange(len(labels), device=labels.device)
        return Places(rows, torch.where(is_here, columns, elsewhere)), is_here

    def _share_targets(
        self, cosines: Tensor, places: Places, is_here: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B,) cosines to the true identities, whichever rank has them, and whether one has."""
        own = torch.where(is_here, cosines[places.rows, places.columns], 0.0)
        targets, found = sum_over(torch.stack((own, is_here.to(own.dtype))), self.ranks)
        return targets, found > 0

    def _find_nearest(self, cosines: Tensor) -> Tensor:
        """(B,) the largest cosine to any identity on any rank."""
        nobody = cosines.new_full((len(cosines),), -torch.inf)
        return max_over(cosines.amax(dim=1) if cosines.shape[1] else nobody, self.ranks)

    def _add_up(self, losses: Tensor, norms: Tensor, batch: Observed) -> Tensor:
        """() the loss of (B,) cross-entropies."""
        losses = torch.where(batch.counts, losses, 0.0)
        if self.focal_gamma is not None:
            losses = focus(losses, self.focal_gamma, self.focal_form, counts=batch.counts)
        loss = losses.sum() / batch.counts.sum().clamp_min(1)
        penalty = self.rule.find_penalty(norms[batch.counts]) if self.rule.has_penalty else None
        if penalty is None:
            return loss
        # Every rank has the whole penalty, not a part: its gradient would arrive W times.
        share = penalty / self.ranks.size
        return loss + (penalty - share).detach() + share

    # ── its rows, for checkpoints ──

    @property
    def first_row(self) -> int:
        """Which row of the whole head the first row of this rank is."""
        return self.first * self.subcenters

    @torch.no_grad()
    def load_rows(self, first_row: int, weight: Tensor) -> int:
        """Take over (n, D) rows of a head, however it was shared out.

        Args:
            first_row: which row of the whole head the first one given is.
            weight: the rows; those of other ranks are ignored.

        Returns:
            How many were taken; over all calls it should be n_own K.

        Raises:
            LearningError: rows of another length.
        """
        return copy_rows(self.weight, self.first_row, first_row, weight)

    @torch.no_grad()
    def set_centers(self, means: Tensor, *, first: int = 0) -> None:
        """Start from the mean embeddings of identities, as for a network that is trained already.

        Centers take their directions and keep the length that new ones have, so that the learning
        rate means the same. Sub-centers beyond the first lie a little beside.

        Args:
            means: (n, D) of any length; an identity whose mean is 0 keeps the center it has.
            first: the identity of the first mean; identities of other ranks are ignored.

        Raises:
            LearningError: means of another dimension, or a rule that is not angular.
        """
        if not self.rule.is_angular or means.ndim != 2 or means.shape[1] != self.dimension:
            raise LearningError(
                f"means of shape {tuple(means.shape)} for centers of {self.dimension} numbers and "
                f"{type(self.rule).__name__}",
                hint="give (n, D) means, to a loss that knows cosines",
            )
        start = max(first, self.first)
        stop = min(first + len(means), self.first + self.n_own)
        if stop <= start:
            return
        rows = slice((start - self.first) * self.subcenters, (stop - self.first) * self.subcenters)
        old = self.weight[rows].view(-1, self.subcenters, self.dimension)
        old.copy_(point_centers(old, means[start - first : stop - first]))

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return (
            f"{self.dimension}, {self.n_identities}, subcenters={self.subcenters}, "
            f"sample_rate={self.sample_rate:g}, rank={self.ranks.rank} of {self.ranks.size}"
        )


def _mark_missing(losses: Tensor, batch: Observed, is_known: Tensor) -> Tensor:
    """Losses, NaN for samples that count and whose true identity nobody has drawn."""
    is_missing = batch.counts & ~is_known
    if losses.device.type == "cpu" and bool(is_missing.any()):
        label = int(batch.labels[is_missing][0])
        raise LearningError(
            f"label {label} is not among the rows drawn for this step",
            hint="draw_rows must be given the labels of all batches of the step",
        )
    return torch.where(is_missing, torch.nan, losses)
