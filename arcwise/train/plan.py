"""How much memory a run will need on each rank, before anything is allocated.

It adds up weights, gradients, optimizer state, averaged weights, what autograd keeps of the
network (train/meter.py), and the head with its logits. It does not know data, nor what libraries
take for themselves (a CUDA context, the workspaces of cuDNN, the gaps of the allocator).

Source: Mem = 3 weights + 2 logits is what InsightFace answers for the head (issue 1989 of
deepinsight/insightface); docs/plan.md says where ours is finer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arcwise.errors import LearningError
from arcwise.train.config import TrainConfig
from arcwise.train.meter import Footprint, measure_network

GIB = 1 << 30

_WORD = 4  # bytes of a float32
_STATES = {"sgd": 1, "adam": 2, "adamw": 2}  # numbers kept for each weight that learns
_COPIES = {"curricularface": 6, "a_softmax": 4}  # of the logits, in the backward pass
_COPIES_MOST_LOSSES = 3
_PART_ROWS = 1 << 16  # centers whose gradient is found at a time, on a GPU; nn/cosines.py
_MOST = 1 << 40  # identities; more than any memory holds


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that lies in the memory of each rank.

    Attributes:
        part: "network" or "head".
        name: what it is.
        n_bytes: how much.
        formula: how it is counted; letters in docs/plan.md.
    """

    part: str
    name: str
    n_bytes: int
    formula: str


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What decides the size of a head on one rank.

    Attributes:
        dimension: D.
        n_photos: B, photos of one pass over all ranks.
        n_states: numbers the optimizer keeps for each weight.
        n_labels: photos of one step, whose identities are always drawn; 0: those of one pass.
        subcenters: K.
        n_ranks: W.
        sample_rate: share of the identities whose centers take part in a step; 0: the batch's own.
        n_copies: of the logits, L, at most, in the backward pass.
        is_dense: the optimizer changes all rows in every step.
    """

    dimension: int
    n_photos: int
    n_states: int
    n_labels: int = 0
    subcenters: int = 1
    n_ranks: int = 1
    sample_rate: float = 1.0
    n_copies: int = _COPIES_MOST_LOSSES
    is_dense: bool = False

    def count_own(self, n_identities: int) -> int:
        """Identities of the largest rank, n."""
        return -(-n_identities // self.n_ranks)

    def count_drawn(self, n_identities: int) -> int:
        """Identities of it that take part in a step, S: at most, where the batch asks for more."""
        n_own = self.count_own(n_identities)
        if self.sample_rate == 1:
            return n_own
        n_asked = min(max(self.n_photos, self.n_labels), n_own)
        return max(int(self.sample_rate * n_own), n_asked)

    def weight_bytes(self, n_identities: int) -> int:
        """Of the centers of one rank."""
        return _WORD * self.count_own(n_identities) * self.subcenters * self.dimension

    def logits_bytes(self, n_identities: int) -> int:
        """Of the logits that one rank finds for the photos of all."""
        return _WORD * self.n_photos * self.count_drawn(n_identities)


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory of a run.

    Attributes:
        network: name of the backbone.
        n_network_weights: its parameters.
        n_head_weights: parameters of the head, over all ranks.
        n_identities: C.
        n_ranks: W.
        photos_per_pass: that go through the network at once, on each rank.
        needs: everything counted, for the rank with the most identities.
        memory_bytes: what a rank has; None: not asked.
        most_identities: how many would fit into that; None: not asked.
    """

    network: str
    n_network_weights: int
    n_head_weights: int
    n_identities: int
    n_ranks: int
    photos_per_pass: int
    needs: tuple[Need, ...]
    memory_bytes: int | None = None
    most_identities: int | None = None

    @property
    def total_bytes(self) -> int:
        """Of each rank."""
        return sum(need.n_bytes for need in self.needs)

    @property
    def fits(self) -> bool | None:
        """Whether a rank has that much; None: not asked."""
        return None if self.memory_bytes is None else self.total_bytes <= self.memory_bytes

    def rows(self) -> list[list[str]]:
        """Part, thing, size and formula, for a table; the last row is the sum."""
        lines = [
            [need.part, need.name, format_bytes(need.n_bytes), need.formula] for need in self.needs
        ]
        return [*lines, ["", "sum", format_bytes(self.total_bytes), ""]]

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON's kinds."""
        return asdict(self) | {
            "needs": [asdict(need) for need in self.needs],
            "total_bytes": self.total_bytes,
            "fits": self.fits,
        }


def make_plan(
    config: TrainConfig,
    *,
    n_identities: int,
    n_ranks: int = 1,
    memory_bytes: int | None = None,
) -> Plan:
    """Count the memory of a run.

    Args:
        config: of the run.
        n_identities: C, people to learn.
        n_ranks: W, processes that share the batch and the centers.
        memory_bytes: what each of them has.

    Raises:
        LearningError: a number below 1, a batch that does not divide, or a configuration that
            makes no network.
    """
    schedule, wanted, head = config.schedule, config.network, config.head
    for what, number in (("identities", n_identities), ("ranks", n_ranks)):
        if number < 1:
            raise LearningError(f"a plan for {number} {what}", hint="at least 1 is needed")
    per_step = n_ranks * schedule.accumulate
    if schedule.batch_size % per_step:
        raise LearningError(
            f"a batch of {schedule.batch_size} photos does not divide into {per_step} passes "
            f"({n_ranks} ranks, schedule.accumulate {schedule.accumulate})",
            hint="make schedule.batch_size a multiple of it",
        )
    photos = schedule.batch_size // per_step
    found = measure_network(
        wanted.name,
        dimension=wanted.dimension,
        n_photos=photos,
        options=wanted.options,
        size_px=wanted.size_px,
        is_half=config.precision != "float32",
        recompute=wanted.gradient_checkpointing,
    )
    n_states = _STATES[config.optimizer.name]
    if config.optimizer.name == "sgd" and not config.optimizer.momentum:
        n_states = 0
    shape = shape_head(config, n_ranks=n_ranks, n_photos=photos * n_ranks, n_states=n_states)
    of_network = need_network(
        found, n_states=n_states, is_averaged=config.average > 0, n_ranks=n_ranks
    )
    most = None
    if memory_bytes is not None:
        left = memory_bytes - sum(need.n_bytes for need in of_network)
        most = find_most_identities(shape, left)
    return Plan(
        network=wanted.name,
        n_network_weights=found.n_weights,
        n_head_weights=n_identities * head.subcenters * wanted.dimension,
        n_identities=n_identities,
        n_ranks=n_ranks,
        photos_per_pass=photos,
        needs=(*of_network, *need_head(shape, n_identities)),
        memory_bytes=memory_bytes,
        most_identities=most,
    )


def need_network(found: Footprint, *, n_states: int, is_averaged: bool, n_ranks: int) -> list[Need]:
    """What the network needs on each rank.

    Args:
        found: of the photos of one pass.
        n_states: numbers the optimizer keeps for each weight.
        is_averaged: an average of the weights is kept.
        n_ranks: W; several send each other their gradients, which lie in memory twice then.
    """
    state, gradients = found.state_bytes, found.gradient_bytes
    needs = [
        Need("network", "weights", state, "4 P, and running statistics"),
        Need("network", "gradients", gradients, "4 P"),
        Need("network", "optimizer state", n_states * gradients, f"{n_states} x 4 P"),
    ]
    if n_ranks > 1:
        needs.append(Need("network", "gradients on their way", gradients, "4 P"))
    if is_averaged:
        needs.append(Need("network", "averaged weights", state, "4 P, and running statistics"))
    text = "measured, B / W photos"
    needs.append(Need("network", "activations", found.activation_bytes, text))
    if found.passing_bytes:
        text = "measured, beyond the rows above"
        needs.append(Need("network", "backward pass", found.passing_bytes, text))
    return needs


def shape_head(config: TrainConfig, *, n_ranks: int, n_photos: int, n_states: int) -> HeadShape:
    """What decides the size of the head of a run.

    Args:
        config: of the run.
        n_ranks: W.
        n_photos: B, of one pass over all ranks.
        n_states: numbers the optimizer keeps for each weight.
    """
    head = config.head
    n_copies = _COPIES.get(head.loss, _COPIES_MOST_LOSSES)
    if head.subcenters > 1:  # the cosines to all of them, their gradient, and which was largest
        n_copies = max(n_copies, 3 + 2 * head.subcenters)
    return HeadShape(
        dimension=config.network.dimension,
        n_photos=n_photos,
        n_states=n_states,
        n_labels=config.schedule.batch_size,
        subcenters=head.subcenters,
        n_ranks=n_ranks,
        sample_rate=head.sample_rate,
        n_copies=n_copies,
        is_dense=head.dense_update,
    )


def need_head(shape: HeadShape, n_identities: int) -> list[Need]:
    """What the head of one rank needs.

    Args:
        shape: of the head.
        n_identities: C, over all ranks.
    """
    weights = shape.weight_bytes(n_identities)
    n_rows = shape.count_drawn(n_identities) * shape.subcenters
    row = _WORD * shape.dimension
    drawn = n_rows * row
    copies = shape.n_copies * shape.logits_bytes(n_identities)
    needs = [
        Need("head", "weights", weights, "4 n K D"),
        Need("head", "gradients", drawn, "4 S K D"),
        Need("head", "optimizer state", shape.n_states * weights, f"{shape.n_states} x 4 n K D"),
        Need("head", "logits and gradients", copies, f"{shape.n_copies} x 4 B S"),
        Need("head", "a part of the centers", min(_PART_ROWS, n_rows) * row, "4 x 65,536 D"),
    ]
    if shape.sample_rate < 1:
        needs.insert(3, Need("head", "drawn centers", drawn, "4 S K D"))
        if shape.is_dense:
            needs.insert(3, Need("head", "gradients of all centers", weights, "4 n K D"))
    return needs


def find_most_identities(shape: HeadShape, memory_bytes: int) -> int:
    """The largest number of identities whose head fits; 0: none does.

    Args:
        shape: of the head.
        memory_bytes: what is left for the head on each rank.
    """
    least, beyond = 0, _MOST
    while beyond - least > 1:
        middle = (least + beyond) // 2
        if sum(need.n_bytes for need in need_head(shape, middle)) <= memory_bytes:
            least = middle
        else:
            beyond = middle
    return least


def format_bytes(n_bytes: int) -> str:
    """A size for people: 4.50 GiB, 12.3 MiB."""
    if n_bytes >= GIB:
        return f"{n_bytes / GIB:.2f} GiB"
    return f"{n_bytes / (1 << 20):.1f} MiB"
