"""A plan counts what a run will take: the published numbers, and what torch really allocates.

Sources of the numbers: the answer to issue 1989 of deepinsight/insightface (memory of the head),
An et al., Partial FC (2021).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn import build_backbone
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train.config import TrainConfig
from arcwise.train.meter import Meter
from arcwise.train.plan import (
    GIB,
    HeadShape,
    find_most_identities,
    format_bytes,
    make_plan,
    need_head,
    shape_head,
)
from arcwise.train.rows import RowOptimizer


def configure(**sections: Any) -> TrainConfig:
    values = {"run": "runs/x", "data": {"folder": "people"}, "augment": {}} | sections
    return TrainConfig.from_dict(values)


def total(needs: list[Any]) -> int:
    return sum(need.n_bytes for need in needs)


def by_name(needs: Any) -> dict[str, int]:
    return {f"{need.part}: {need.name}": need.n_bytes for need in needs}


@pytest.mark.parametrize(
    ("n_identities", "gib", "digits"),
    [  # float32 weights of 512 dimensions; the reference's table
        (93_431, 0.18, 2),
        (360_232, 0.69, 2),
        (617_970, 1.18, 2),
        (2_059_906, 3.93, 2),
        (10_000_000, 19.1, 1),
        (29_000_000, 55.3, 1),
    ],
)
def test_weights_of_the_head_are_those_of_the_published_table(
    n_identities: int, gib: float, digits: int
) -> None:
    shape = HeadShape(dimension=512, n_photos=1024, n_states=1)
    assert round(shape.weight_bytes(n_identities) / GIB, digits) == gib


def test_logits_are_those_of_the_published_number() -> None:
    shape = HeadShape(dimension=512, n_photos=1024, n_states=1)
    assert round(shape.logits_bytes(2_059_906) / GIB, 2) == 7.86  # insightface, issue 1989


def test_the_head_is_three_weights_and_some_logits() -> None:
    """Published with two copies of the logits; ours are three, in the backward pass."""
    shape = HeadShape(dimension=512, n_photos=1024, n_states=1)
    weights, logits = shape.weight_bytes(617_970), shape.logits_bytes(617_970)
    part = 65_536 * 512 * 4  # centers whose gradient is found at a time
    assert total(need_head(shape, 617_970)) == 3 * weights + 3 * logits + part


def test_ranks_share_the_centers_and_the_logits() -> None:
    alone = HeadShape(dimension=512, n_photos=1024, n_states=1)
    shared = HeadShape(dimension=512, n_photos=1024, n_states=1, n_ranks=8)
    all_of, some = by_name(need_head(alone, 80_000)), by_name(need_head(shared, 80_000))
    for name in ("weights", "gradients", "optimizer state", "logits and gradients"):
        assert some[f"head: {name}"] == all_of[f"head: {name}"] // 8


def test_the_largest_rank_counts_where_centers_do_not_divide() -> None:
    shape = HeadShape(dimension=1, n_photos=2, n_states=1, n_ranks=3)
    assert shape.count_own(10) == 4  # 4, 3 and 3


def test_a_sample_rate_saves_logits_and_gradients_but_no_weights() -> None:
    whole = HeadShape(dimension=512, n_photos=1024, n_states=1)
    part = HeadShape(dimension=512, n_photos=1024, n_states=1, sample_rate=0.1)
    all_of, some = by_name(need_head(whole, 100_000)), by_name(need_head(part, 100_000))
    assert some["head: weights"] == all_of["head: weights"]
    assert some["head: optimizer state"] == all_of["head: optimizer state"]
    assert some["head: gradients"] == all_of["head: gradients"] // 10
    assert some["head: logits and gradients"] == all_of["head: logits and gradients"] // 10


@pytest.mark.parametrize("rate", [0.0, 0.001])
def test_the_identities_of_the_batch_are_always_drawn(rate: float) -> None:
    shape = HeadShape(dimension=8, n_photos=512, n_states=1, sample_rate=rate)
    assert shape.count_drawn(100_000) == 512
    assert shape.count_drawn(100) == 100


def test_several_passes_of_a_step_draw_the_identities_of_all_of_them() -> None:
    shape = HeadShape(dimension=8, n_photos=64, n_labels=256, n_states=1, sample_rate=0.0)
    assert shape.count_drawn(100_000) == 256


def measure_head(config: TrainConfig, n_identities: int, n_photos: int) -> int:
    """The peak of the tensors of a real head, its optimizer and two steps."""
    head_of, network, optimizer = config.head, config.network, config.optimizer
    with Meter() as meter:
        head = PartialHead(
            network.dimension,
            n_identities,
            build_rule(head_of.loss, margin=head_of.margin, scale=64.0),
            sample_rate=head_of.sample_rate,
            subcenters=head_of.subcenters,
        )
        rows = RowOptimizer(
            head,
            name=optimizer.name,
            momentum=optimizer.momentum,
            dense_update=head_of.dense_update,
        )
        embeddings = torch.randn(n_photos, network.dimension, requires_grad=True)
        labels = torch.arange(n_photos) % n_identities
        for _ in range(2):
            head.draw_rows(labels)
            head(embeddings, labels).loss.backward()
            rows.step(0.1)
    return meter.peak_bytes


@pytest.mark.parametrize("n_photos", [4, 256], ids=["weights rule", "logits rule"])
@pytest.mark.parametrize(
    ("head", "optimizer"),
    [
        ({}, {}),
        ({"sample_rate": 0.1}, {}),
        ({"sample_rate": 0.1, "dense_update": True}, {}),
        ({"subcenters": 3}, {}),
        ({"subcenters": 3, "sample_rate": 0.1}, {}),
        ({"loss": "curricularface"}, {}),
        ({"loss": "a_softmax"}, {}),
        ({"loss": "adaface"}, {"name": "adamw"}),
        ({}, {"momentum": 0.0, "nesterov": False}),
    ],
    ids=str,
)
def test_a_plan_agrees_with_what_a_head_really_allocates(
    head: dict[str, Any], optimizer: dict[str, Any], n_photos: int
) -> None:
    """Never less than 0.9 of it, never more than 1.4: not all peaks fall together."""
    config = configure(head=head, optimizer=optimizer, network={"dimension": 64})
    n_states = {"adamw": 2, "sgd": int(config.optimizer.momentum > 0)}[config.optimizer.name]
    shape = shape_head(config, n_ranks=1, n_photos=n_photos, n_states=n_states)
    planned = total(need_head(shape, 10_000))
    assert 0.9 < planned / measure_head(config, 10_000, n_photos) < 1.4


def measure_run(config: TrainConfig, n_identities: int) -> int:
    """The peak of the tensors of two steps of a whole small run."""
    network_of, n_photos = config.network, config.schedule.batch_size
    with Meter() as meter:
        network = build_backbone(network_of.name, dimension=network_of.dimension)
        rule = build_rule(config.head.loss, scale=64.0)
        head = PartialHead(network_of.dimension, n_identities, rule)
        rows = RowOptimizer(head)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        labels = torch.arange(n_photos) % n_identities
        for _ in range(2):
            crops = torch.randn(n_photos, 3, 112, 112)
            optimizer.zero_grad(set_to_none=True)
            head.draw_rows(labels)
            head(network(crops), labels).loss.backward()
            optimizer.step()
            rows.step(0.1)
            del crops
    return meter.peak_bytes


@pytest.mark.parametrize("n_identities", [100, 30_000])
def test_a_plan_agrees_with_what_a_small_run_really_allocates(n_identities: int) -> None:
    """Above it, as the gradients of a step are counted beside all activations, by a fifth."""
    config = configure(network={"name": "compact", "dimension": 64}, schedule={"batch_size": 16})
    planned = make_plan(config, n_identities=n_identities).total_bytes
    assert 1.0 <= planned / measure_run(config, n_identities) < 1.2


def test_the_most_identities_fit_and_one_more_does_not() -> None:
    config = configure(schedule={"batch_size": 64})
    plan = make_plan(config, n_identities=1000, memory_bytes=GIB)
    most = plan.most_identities
    assert most is not None
    assert plan.fits is True
    assert make_plan(config, n_identities=most, memory_bytes=GIB).fits is True
    assert make_plan(config, n_identities=most + 1, memory_bytes=GIB).fits is False


def test_nobody_fits_where_the_network_does_not() -> None:
    plan = make_plan(configure(), n_identities=10, memory_bytes=1 << 20)
    assert plan.fits is False
    assert plan.most_identities == 0


def test_more_memory_means_more_identities() -> None:
    shape = HeadShape(dimension=512, n_photos=1024, n_states=1, n_ranks=8, sample_rate=0.1)
    found = [find_most_identities(shape, gib * GIB) for gib in (8, 16, 32)]
    assert found == sorted(found)
    # 8 V100 of 32 GB were published to learn 29 million identities at rate 0.1, with R50.
    assert 29_000_000 < found[-1] < 60_000_000


def test_a_batch_is_shared_out_over_ranks_and_passes() -> None:
    config = configure(schedule={"batch_size": 1024, "accumulate": 4})
    plan = make_plan(config, n_identities=10, n_ranks=8)
    assert plan.photos_per_pass == 32


def test_accumulating_saves_activations_and_logits() -> None:
    whole, parts = (
        by_name(
            make_plan(
                configure(schedule={"batch_size": 64, "accumulate": n}), n_identities=1000
            ).needs
        )
        for n in (1, 4)
    )
    assert parts["network: activations"] < 0.3 * whole["network: activations"]
    assert parts["head: logits and gradients"] == whole["head: logits and gradients"] // 4
    assert parts["network: weights"] == whole["network: weights"]


def test_an_average_costs_the_weights_once_more() -> None:
    plan = make_plan(configure(average=0.99), n_identities=10)
    needs = by_name(plan.needs)
    assert needs["network: averaged weights"] == needs["network: weights"]


def test_ranks_hold_gradients_on_their_way() -> None:
    alone, shared = (
        by_name(make_plan(configure(), n_identities=10, n_ranks=n).needs) for n in (1, 2)
    )
    assert "network: gradients on their way" not in alone
    assert shared["network: gradients on their way"] == shared["network: gradients"]


@pytest.mark.parametrize(
    ("optimizer", "n_states"),
    [({}, 1), ({"momentum": 0.0, "nesterov": False}, 0), ({"name": "adamw"}, 2)],
)
def test_the_optimizer_remembers_as_much_as_it_says(
    optimizer: dict[str, Any], n_states: int
) -> None:
    needs = by_name(make_plan(configure(optimizer=optimizer), n_identities=10).needs)
    assert needs["network: optimizer state"] == n_states * needs["network: gradients"]
    assert needs["head: optimizer state"] == n_states * needs["head: weights"]


def test_a_plan_is_a_table_and_json() -> None:
    plan = make_plan(configure(), n_identities=10, memory_bytes=GIB)
    rows = plan.rows()
    assert rows[-1][:3] == ["", "sum", format_bytes(plan.total_bytes)]
    assert {len(row) for row in rows} == {4}
    found = json.loads(json.dumps(plan.to_dict()))
    assert found["total_bytes"] == sum(need["n_bytes"] for need in found["needs"])
    assert found["fits"] is True


def test_sizes_are_told_in_two_units() -> None:
    assert format_bytes(3 * GIB // 2) == "1.50 GiB"
    assert format_bytes(1 << 19) == "0.5 MiB"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"n_identities": 0}, "0 identities"),
        ({"n_identities": 5, "n_ranks": 0}, "0 ranks"),
        ({"n_identities": 5, "n_ranks": 3}, "64 photos does not divide into 3"),
        ({"n_identities": 5, "n_ranks": 64}, "1 photos in one pass"),
    ],
)
def test_a_plan_of_what_cannot_be_is_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        make_plan(configure(), **numbers)  # type: ignore[arg-type]
