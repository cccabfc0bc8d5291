"""A learner comes back to the last bit, on any number of ranks, or an error says why not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.data.loader import Batch
from arcwise.errors import CheckpointError, LearningError
from arcwise.nn.collective import ALONE, Ranks
from arcwise.train.checkpoint import Checkpoint, flatten_optimizer, load_checkpoint, save_checkpoint
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.snapshot import restore_learner, save_learner
from tests.ranks.threads import join_threads, run_threads

pytestmark = pytest.mark.slow

Configure = Callable[..., TrainConfig]
CPU = torch.device("cpu")
N_PEOPLE = 12


def make_batch(step: int, n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(step)
    crops = torch.rand(n, 3, 112, 112, generator=generator) * 2 - 1
    labels = torch.randint(0, 4, (n,), generator=generator)
    return Batch(crops, labels, torch.randn(n, 12, generator=generator), np.arange(n))


def make_learner(
    config: TrainConfig, *, n: int = N_PEOPLE, n_targets: int = 0, ranks: Ranks = ALONE
) -> Learner:
    return Learner(config, n_people=n, n_targets=n_targets, device=CPU, ranks=ranks)


def take_steps(learner: Learner, steps: range) -> list[float]:
    return [
        learner.step([make_batch(step)], learning_rate=0.01, strength=1.0).losses["loss"]
        for step in steps
    ]


def state_of(learner: Learner) -> dict[str, Tensor]:
    """Every number that a step may change."""
    scale = learner.loss_scale
    groups = {
        **{name: module.state_dict() for name, module in learner.modules.items()},
        "head": learner.head.state_dict(),
        "rows": learner.row_optimizer.state_dict(),
        "optimizer": flatten_optimizer(learner.optimizer),
        "counts": {"all": torch.tensor([learner.n_steps, scale.value, scale.n_good]).double()},
    }
    return {f"{g}.{name}": value for g, named in groups.items() for name, value in named.items()}


def assert_same_bits(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


def make_note(learner: Learner) -> Checkpoint:
    return Checkpoint(
        tensors={},
        step=0,
        config=learner.config.to_dict(),
        n_identities=learner.head.n_identities,
        people_digest="ab" * 32,
        best={"eer": 0.1, "step": 4},
    )


def save(learner: Learner, path: Path) -> Path:
    save_learner(learner, path, make_note(learner))
    return path


def restore(learner: Learner, path: Path) -> Learner:
    restore_learner(learner, load_checkpoint(path), path)
    return learner


# There and back

WORDS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "plain sgd": ("optimizer.momentum=0",),
    "adam": ("optimizer.name=adam",),
    "some rows, adamw": ("optimizer.name=adamw", "head.sample_rate=0.5", "head.subcenters=2"),
    "some rows, all decay": ("head.sample_rate=0.5", "head.dense_update=true"),
    "curricularface": ("head.loss=curricularface",),
    "adaface": ("head.loss=adaface",),
    "elasticface": ("head.loss=elasticface",),
    "a_softmax": ("head.loss=a_softmax",),
    "softmax": ("head.loss=softmax",),
    "average": ("average=0.5", "network.dropout=0.3"),
    "float16": ("precision=float16",),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_learner_comes_back_and_goes_on_as_if_nothing_had_happened(
    configure: Configure, tmp_path: Path, name: str
) -> None:
    config = configure(*WORDS[name])
    learner = make_learner(config)
    take_steps(learner, range(3))
    path = save(learner, tmp_path / "last.safetensors")
    other = make_learner(config)
    take_steps(other, range(7, 8))  # what it held before does not matter
    restore(other, path)
    assert_same_bits(state_of(other), state_of(learner))
    assert take_steps(other, range(3, 5)) == take_steps(learner, range(3, 5))
    assert_same_bits(state_of(other), state_of(learner))


def test_a_projection_to_targets_comes_back(configure: Configure, tmp_path: Path) -> None:
    config = configure(f"distill.targets={tmp_path}")
    learner, other = (make_learner(config, n_targets=12) for _ in range(2))
    take_steps(learner, range(2))
    restore(other, save(learner, tmp_path / "last.safetensors"))
    assert_same_bits(state_of(other), state_of(learner))


def test_what_a_rule_and_a_draw_remember_is_in_the_file(
    configure: Configure, tmp_path: Path
) -> None:
    learner = make_learner(configure("head.loss=elasticface", "head.sample_rate=0.5"))
    take_steps(learner, range(3))
    found = load_checkpoint(save(learner, tmp_path / "last.safetensors"))
    assert found.tensors["rule"]["n_draws"].item() == 3
    assert found.tensors["rule"]["rule.n_drawn"].item() > 0
    assert (found.step, found.best) == (3, {"eer": 0.1, "step": 4})


def test_a_loss_scale_and_its_count_are_in_the_file(configure: Configure, tmp_path: Path) -> None:
    config = configure("precision=float16")
    learner = make_learner(config)
    learner.loss_scale.value, learner.loss_scale.n_good = 2.0**-3, -7
    path = save(learner, tmp_path / "last.safetensors")
    assert load_checkpoint(path).loss_scale == [0.125, -7.0]
    found = restore(make_learner(config), path).loss_scale
    assert (found.value, found.n_good, found.is_on) == (0.125, -7, True)


# Several ranks


def learn_rows(learners: list[Learner], steps: range) -> None:
    """Steps of the head alone: the network stays, so that it needs no data-parallel gradients."""
    for learner in learners:
        learner.freeze(is_frozen=True)
    size = len(learners)

    def work(rank: int) -> None:
        for step in steps:
            batch = make_batch(step, n=12)
            own = slice(rank * 12 // size, (rank + 1) * 12 // size)
            labels = batch.labels[own] % learners[rank].head.n_identities
            part = replace(batch, crops=batch.crops[own], labels=labels)
            learners[rank].step([part], learning_rate=0.05, strength=1.0)

    run_threads(size, work)


def rows_of(learners: list[Learner]) -> dict[str, Tensor]:
    """The whole head, weights and memory, from the parts of all ranks."""
    parts = [
        {"weight": learner.head.weight.detach()} | learner.row_optimizer.state_dict()
        for learner in learners
    ]
    return {kind: torch.cat([part[kind] for part in parts]) for kind in parts[0]}


def build_all(config: TrainConfig, size: int, n: int = N_PEOPLE) -> list[Learner]:
    return [make_learner(config, n=n, ranks=ranks) for ranks in join_threads(size)]


def save_all(learners: list[Learner], path: Path) -> Path:
    run_threads(len(learners), lambda rank: save(learners[rank], path))
    return path


@pytest.mark.parametrize(("n_before", "n_now"), [(1, 3), (2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("words", [("optimizer.name=adam", "head.subcenters=2"), ()])
def test_any_number_of_ranks_goes_on_with_what_any_number_saved(
    configure: Configure, tmp_path: Path, n_before: int, n_now: int, words: tuple[str, ...]
) -> None:
    config = configure("head.sample_rate=0.5", *words)
    before = build_all(config, n_before, n=11)
    learn_rows(before, range(2))
    path = save_all(before, tmp_path / "last.safetensors")
    now = build_all(config, n_now, n=11)
    for learner in now:
        restore(learner, path)
        assert learner.n_steps == 2
        assert learner.head.n_draws.item() == 2
        for name, value in before[0].network.state_dict().items():
            assert torch.equal(learner.network.state_dict()[name], value)
    assert_same_bits(rows_of(now), rows_of(before))
    names = {path.name for path in tmp_path.iterdir()}
    shards = {f"last-2-{rank}of{n_before}.safetensors" for rank in range(n_before)}
    assert names == {path.name} | (shards if n_before > 1 else set())


def test_more_ranks_than_people_save_and_go_on(configure: Configure, tmp_path: Path) -> None:
    """Some own no row at all."""
    config = configure()
    four = build_all(config, 4, n=2)
    learn_rows(four, range(2))
    path = save_all(four, tmp_path / "last.safetensors")
    for size in (1, 3):
        now = build_all(config, size, n=2)
        for learner in now:
            restore(learner, path)
        assert_same_bits(rows_of(now), rows_of(four))
    alone = restore(make_learner(config, n=2), path)
    save(alone, path)
    again = build_all(config, 4, n=2)
    for learner in again:
        restore(learner, path)
    assert_same_bits(rows_of(again), rows_of(four))


def test_a_later_checkpoint_takes_the_shards_before_it_away(
    configure: Configure, tmp_path: Path
) -> None:
    two = build_all(configure(), 2)
    for steps in (range(1), range(1, 2)):
        learn_rows(two, steps)
        save_all(two, tmp_path / "last.safetensors")
        save_all(two, tmp_path / f"epoch_{steps.stop}.safetensors")
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"last-2-{rank}of2.safetensors" for rank in (0, 1)} <= names
    assert not {f"last-1-{rank}of2.safetensors" for rank in (0, 1)} & names
    for step in (1, 2):
        path = tmp_path / f"epoch_{step}.safetensors"
        assert restore(make_learner(configure()), path).n_steps == step


# What is refused


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda learner: learner.network.fc.weight, r"network\.fc\.weight"),
        (lambda learner: learner.network.features.running_var, r"network\.features\.running_var"),
        (lambda learner: learner.head.weight, r"head\.weight"),
        (lambda learner: learner.row_optimizer.state_dict()["momentum"], r"head\.memory\.momentum"),
        (lambda learner: learner.average.fc.bias, r"average\.fc\.bias"),
    ],
    ids=["network", "statistics", "centers", "memory", "average"],
)
def test_what_is_not_finite_is_not_saved_and_the_file_before_stays(
    configure: Configure, tmp_path: Path, spoil: Callable[[Learner], Tensor], where: str, value: Any
) -> None:
    learner = make_learner(configure("average=0.5"))
    path = save(learner, tmp_path / "last.safetensors")
    content = path.read_bytes()
    take_steps(learner, range(1))
    spoil(learner).detach().view(-1)[-1] = value
    with pytest.raises(LearningError, match=f"{where} is not finite after step 1"):
        save(learner, path)
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_what_is_not_finite_on_one_rank_is_saved_by_none(
    configure: Configure, tmp_path: Path
) -> None:
    two = build_all(configure(), 2)
    two[1].head.weight.detach()[0, 0] = math.nan

    def work(rank: int) -> str:
        with pytest.raises(LearningError) as caught:
            save(two[rank], tmp_path / "last.safetensors")
        return str(caught.value)

    first, second = run_threads(2, work)
    assert first.startswith("a center of another rank is not finite")
    assert second.startswith("head.weight is not finite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (("optimizer.name=adam",), ()),
        ((), ("optimizer.name=adamw",)),
        ((), ("optimizer.momentum=0",)),
        (("optimizer.momentum=0",), ()),
        (("head.loss=curricularface",), ()),
        ((), ("head.loss=adaface",)),
        (("head.loss=softmax",), ()),
        ((), ("head.loss=softmax",)),
        (("head.subcenters=2",), ()),
        ((), ("head.subcenters=2",)),
        (("network.dimension=8",), ()),
        ((), ("average=0.5",)),
    ],
    ids=" ".join,
)
def test_a_checkpoint_of_another_run_is_refused(
    configure: Configure, tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...]
) -> None:
    learner = make_learner(configure(*before))
    take_steps(learner, range(1))
    path = save(learner, tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        restore(make_learner(configure(*now)), path)


@pytest.mark.parametrize(("n_before", "n_now"), [(12, 11), (11, 12)])
@pytest.mark.parametrize("size", [1, 2])
def test_a_checkpoint_of_other_people_is_refused(
    configure: Configure, tmp_path: Path, n_before: int, n_now: int, size: int
) -> None:
    """Also where there are more rows than are needed: they would be of others."""
    path = save_all(build_all(configure(), size, n=n_before), tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match=f"holds {n_before} rows of a head, not {n_now}"):
        restore(make_learner(configure(), n=n_now), path)


def test_a_checkpoint_without_a_head_is_refused(configure: Configure, tmp_path: Path) -> None:
    learner = make_learner(configure())
    path = save(learner, tmp_path / "last.safetensors")
    found = load_checkpoint(path)
    rest = {name: group for name, group in found.tensors.items() if name != "head"}
    save_checkpoint(path, replace(found, tensors=rest))
    with pytest.raises(CheckpointError, match="holds no head"):
        restore(learner, path)


def test_a_checkpoint_whose_shard_is_gone_is_refused(configure: Configure, tmp_path: Path) -> None:
    path = save_all(build_all(configure(), 2), tmp_path / "last.safetensors")
    (tmp_path / "last-0-1of2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"last-0-1of2\.safetensors is missing"):
        restore(make_learner(configure()), path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../last-0-0of1.safetensors"},
        {"file": 3},
        {"first": "0"},
        {"n_rows": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_note_that_names_no_shard_beside_it_is_refused(
    configure: Configure, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    learner = make_learner(configure())
    path = save(learner, tmp_path / "last.safetensors")
    shard = {"file": "last-0-0of1.safetensors", "first": 0, "n_rows": 12, "step": 0} | wrong
    save_checkpoint(path, replace(load_checkpoint(path), shards=[shard]))
    with pytest.raises(CheckpointError, match="names a shard in words we do not know"):
        restore(learner, path)
