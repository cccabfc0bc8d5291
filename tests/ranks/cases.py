"""What ranks compute, so that one process and several can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from arcwise.nn.collective import ALONE, Ranks, gather_rows, gather_values
from arcwise.nn.head import HeadResult
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train.rows import RowOptimizer

N_IDENTITIES = 37
DIMENSION = 16
N_SAMPLES = 16  # of all ranks
N_STEPS = 3
RATE = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """A head and how it learns.

    Attributes:
        loss: its name.
        options: of the loss.
        head: of the head.
        optimizer: of its rows.
        is_sampled: whether a step uses some identities only, the same for any number of ranks.
        class_margins: whether every identity has a margin of its own.
    """

    loss: str
    options: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    is_sampled: bool = False
    class_margins: bool = False


ADAMW = {"name": "adamw", "weight_decay": 0.05}
CASES: dict[str, Case] = {
    "arcface": Case("arcface"),
    "arcface, each its margin": Case("arcface", class_margins=True),
    "cosface": Case("cosface", optimizer=ADAMW),
    "combined": Case("combined"),
    "curricularface": Case("curricularface"),
    "adaface": Case("adaface"),
    "magface": Case("magface", {"least_norm": 2.0, "most_norm": 8.0}),
    "elasticface": Case("elasticface", {"ranked": True}),
    "a_softmax": Case("a_softmax"),
    "softmax": Case("softmax"),
    "norm_softmax": Case("norm_softmax"),
    "sub-centers": Case("arcface", head={"subcenters": 3}),
    "softmax, sub-centers": Case("softmax", head={"subcenters": 2}),
    "focal": Case("arcface", head={"focal_gamma": 2.0}),
    "focal of the batch": Case("arcface", head={"focal_gamma": 2.0, "focal_form": "batch_mean"}),
    "filter": Case("arcface", head={"filter_above": 0.1}),
    "some": Case("arcface", is_sampled=True),
    "some, adam": Case("arcface", optimizer={"name": "adam"}, is_sampled=True),
    "some, all decay": Case("arcface", optimizer={"dense_update": True}, is_sampled=True),
    "some, curricularface, sub-centers": Case(
        "curricularface", head={"subcenters": 2}, is_sampled=True
    ),
    "some, softmax": Case("softmax", is_sampled=True),
    "some, magface": Case("magface", {"least_norm": 2.0, "most_norm": 8.0}, is_sampled=True),
}


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """Raw embeddings, labels and drawn identities of each step, of all ranks."""

    embeddings: Tensor
    labels: Tensor
    identities: list[Tensor]


def make_data() -> Data:
    """The same everywhere; one sample of a step does not count, one embedding is 0."""
    generator = torch.Generator().manual_seed(5)
    shape = (N_STEPS, N_SAMPLES)
    lengths = 0.2 + 2 * torch.rand(*shape, 1, generator=generator)
    embeddings = lengths * torch.randn(*shape, DIMENSION, generator=generator)
    embeddings[0, 3] = 0
    labels = torch.randint(0, N_IDENTITIES, shape, generator=generator)
    labels[:, 6] = -1
    others = [torch.randperm(N_IDENTITIES, generator=generator)[:9] for _ in range(N_STEPS)]
    chosen = [torch.cat((kept[kept >= 0], some)) for kept, some in zip(labels, others, strict=True)]
    return Data(embeddings, labels, [identities.unique() for identities in chosen])


def build_head(case: Case, ranks: Ranks) -> PartialHead:
    """A new head of a case; the same rows for any number of ranks."""
    margins = torch.linspace(0.1, 0.6, N_IDENTITIES) if case.class_margins else None
    return PartialHead(
        DIMENSION,
        N_IDENTITIES,
        build_rule(case.loss, scale=16, options=case.options, margins_by_class=margins),
        ranks=ranks,
        sample_rate=RATE if case.is_sampled else 1.0,
        seed=3,
        **case.head,
    )


def take_steps(
    case: Case, head: PartialHead, optimizer: RowOptimizer, steps: range
) -> list[dict[str, Tensor]]:
    """Learn from some steps of the data; what each of them found on this rank.

    The gradient of the embeddings is divided by the number of ranks, as a data-parallel network
    does.
    """
    data, ranks, found = make_data(), head.ranks, []
    own = slice(*(rank * N_SAMPLES // ranks.size for rank in (ranks.rank, ranks.rank + 1)))
    for step in steps:
        embeddings = data.embeddings[step, own].to(head.weight.dtype, copy=True).requires_grad_()
        if case.is_sampled:
            head.use_rows(data.identities[step])
        result = head(embeddings, data.labels[step, own], 0.5 + 0.5 * (step > 0))
        result.loss.backward()
        assert embeddings.grad is not None
        numbers = describe(result)
        found.append(numbers | {"embeddings": embeddings.grad / ranks.size})
        optimizer.step(0.1 / (1 + step))
    return found


def describe(result: HeadResult) -> dict[str, Tensor]:
    """All numbers of a result, by name."""
    named = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "details"}
    return {name: value.detach() for name, value in named.items()} | result.details


def describe_state(head: PartialHead, optimizer: RowOptimizer) -> dict[str, Tensor]:
    """What a checkpoint would hold of the rows of this rank."""
    return {"weight": head.weight.detach()} | optimizer.state_dict()


def run_case(
    case: Case, ranks: Ranks = ALONE, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """A whole run of a case on this rank."""
    head = build_head(case, ranks).to(dtype)
    optimizer = RowOptimizer(head, **case.optimizer)
    steps = take_steps(case, head, optimizer, range(N_STEPS))
    state = {name: rows.clone() for name, rows in describe_state(head, optimizer).items()}
    rule = {name: value.clone() for name, value in head.rule.state_dict().items()}
    head.eval()
    data = make_data()
    own = slice(*(rank * N_SAMPLES // ranks.size for rank in (ranks.rank, ranks.rank + 1)))
    with torch.no_grad():
        checked = describe(head(data.embeddings[0, own], data.labels[0, own]))
    return {"steps": steps, "state": state, "rule": rule, "validation": checked}


def run_network(ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """Gradients of a network before the head, averaged over ranks by torch itself."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, DIMENSION))
    images = torch.randn(N_SAMPLES, 8)
    forward: nn.Module = network
    if ranks.size > 1:
        forward = DistributedDataParallel(network, process_group=ranks.group)
    head = build_head(CASES["magface"], ranks)
    own = slice(*(rank * N_SAMPLES // ranks.size for rank in (ranks.rank, ranks.rank + 1)))
    head(forward(images[own]), make_data().labels[0, own]).loss.backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert head.weight.grad is not None
    return found | {"centers": head.weight.grad}


def run_gathered(ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """A loss every rank computes whole, and gradients as a data-parallel network averages them."""
    rows = make_data().embeddings[1]
    own = slice(*(rank * N_SAMPLES // ranks.size for rank in (ranks.rank, ranks.rank + 1)))
    mine = rows[own].clone().requires_grad_()
    gathered = gather_rows(mine, ranks)
    weights = torch.linspace(-1, 1, N_SAMPLES)[:, None]
    (gathered.sin() * weights).sum().backward()
    assert mine.grad is not None
    return {
        "rows": gathered.detach(),
        "gradient": mine.grad / ranks.size,
        "values": gather_values(torch.tensor([ranks.rank]), ranks),
    }
