"""The loss and each way of picking triplets are the naive loops; no batch turns them into NaN."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.collective import Ranks
from arcwise.nn.triplet import FORMS, MININGS, TripletLoss, TripletResult

MINING_NAMES = list(MININGS)
MARGIN = {"squared": 0.2, "angular": 0.35}


def make_batch(
    n_people: int = 4, n_each: int = 3, *, dimension: int = 6, seed: int = 1, spread: float = 0.7
) -> tuple[Tensor, Tensor]:
    """Embeddings (float64) about one direction per person, people mixed, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(n_people), n_each))
    centers = rng.standard_normal((n_people, dimension))
    rows = centers[labels] + spread * rng.standard_normal((len(labels), dimension))
    return torch.from_numpy(rows * rng.uniform(0.5, 3, (len(rows), 1))), torch.from_numpy(labels)


def gap(a: np.ndarray, b: np.ndarray, form: str) -> float:
    """From the definition: of the vectors of length 1."""
    a, b = a / math.sqrt(a @ a), b / math.sqrt(b @ b)
    return math.fsum((a - b) ** 2) if form == "squared" else math.acos(a @ b)


def naive_triplets(rows: Tensor, labels: Tensor, mining: str, form: str, margin: float):
    """[(positive gap, negative gap)] of the triplets that count, by loops over photos."""
    vectors, names = rows.numpy(), labels.tolist()
    people = [i for i, name in enumerate(names) if name != -1]
    found = []
    for anchor in people:
        positives, negatives = [], []
        for other in people:
            if other == anchor:
                continue
            one = gap(vectors[anchor], vectors[other], form)
            (positives if names[other] == names[anchor] else negatives).append(one)
        if not positives or not negatives:
            continue
        if mining == "hard":
            found.append((max(positives), min(negatives)))
        elif mining == "all":
            found += itertools.product(positives, negatives)
        else:
            for positive in positives:
                behind = [one for one in negatives if positive < one < positive + margin]
                found.append((positive, min(behind or negatives)))
    return found


def expect(rows: Tensor, labels: Tensor, mining: str, form: str, margin: float) -> list[float]:
    """Loss, triplets, share active, mean gaps."""
    found = naive_triplets(rows, labels, mining, form, margin)
    losses = [max(0.0, positive - negative + margin) for positive, negative in found]
    n_active = sum(one > 0 for one in losses)
    n_counted = n_active if mining == "all" else len(found)
    loss = math.fsum(losses) / max(n_counted, 1)
    n = max(len(found), 1)
    return [loss, len(found), n_active / n, *(sum(one[i] for one in found) / n for i in (0, 1))]


def as_list(found: TripletResult) -> list[float]:
    gaps = found.share_active, found.positive_gap, found.negative_gap
    return [found.loss.item(), found.n_triplets, *(value.item() for value in gaps)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mining", MINING_NAMES)
@pytest.mark.parametrize(("n_people", "n_each", "seed"), [(4, 3, 1), (2, 5, 2), (7, 2, 3)])
def test_the_loss_equals_the_naive_loop(mining, form, n_people: int, n_each: int, seed: int):
    rows, labels = make_batch(n_people, n_each, seed=seed)
    labels[:2] = -1
    found = TripletLoss(MARGIN[form], mining=mining, form=form)(rows, labels)
    expected = expect(rows, labels, mining, form, MARGIN[form])
    assert expected[0] > 0
    assert as_list(found) == pytest.approx(expected, abs=1e-12)


@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=9),
    seed=st.integers(0, 999),
    mining=st.sampled_from(MINING_NAMES),
    margin=st.floats(0.01, 4),
)
def test_any_labels_give_what_the_naive_loop_gives(
    labels: list[int], seed: int, mining: str, margin: float
):
    rows = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(labels), 4)))
    tensor = torch.tensor(labels)
    found = TripletLoss(margin, mining=mining)(rows, tensor)
    assert as_list(found) == pytest.approx(
        expect(rows, tensor, mining, "squared", margin), abs=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mining", MINING_NAMES)
def test_the_gradient_is_that_of_the_value(mining, form):
    rows, labels = make_batch(3, 3, dimension=4)
    loss = TripletLoss(MARGIN[form], mining=mining, form=form)
    assert torch.autograd.gradcheck(
        lambda embeddings: loss(embeddings, labels).loss, rows.requires_grad_()
    )


def test_one_triplet_by_hand():
    # 60 and 90 degrees from the anchor: squared gaps 1 and 2.
    rows = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)], [0.0, 2.0]])
    labels = torch.tensor([5, 5, 9])
    found = TripletLoss(1.5, mining="hard")(rows, labels)
    # The other anchor is 30 degrees from the negative: 2 - sqrt(3).
    assert found.loss.item() == pytest.approx((0.5 + 1 - (2 - math.sqrt(3)) + 1.5) / 2)
    angular = TripletLoss(math.pi / 2, mining="hard", form="angular")(rows, labels)
    assert angular.loss.item() == pytest.approx(
        (math.pi / 3 + math.pi * (1 / 3 - 1 / 6 + 1 / 2)) / 2
    )


@pytest.mark.parametrize(
    ("negatives_deg", "picked_deg"),
    [
        ([20, 40, 45], 40),  # in the margin behind the positive: the nearest there
        ([20, 80], 20),  # one too near, one beyond the margin: the nearest of all
        ([70, 80], 70),  # all beyond the margin: nothing to learn
        ([5, 20], 5),  # all nearer than the positive
    ],
)
def test_semi_hard_is_behind_the_positive_within_the_margin(
    negatives_deg: list[int], picked_deg: int
):
    turns_rad = torch.tensor([0, 30, *negatives_deg]).double().deg2rad()
    rows = torch.stack([turns_rad.cos(), turns_rad.sin()], dim=1)
    labels = torch.tensor([0, 0, *range(1, 1 + len(negatives_deg))])
    margin = math.radians(20)
    gaps = (turns_rad[:, None] - turns_rad).abs()
    is_positive = (labels[:, None] == labels).fill_diagonal_(fill_value=False)
    is_negative = labels[:, None] != labels
    picked = MININGS["semihard"](gaps, is_positive, is_negative, margin)
    assert (picked.anchors[0], picked.positives[0]) == (0, 1)
    assert [0, 30, *negatives_deg][picked.negatives[0]] == picked_deg
    found = TripletLoss(margin, mining="semihard", form="angular")(rows, labels)
    assert found.n_triplets == 2


@pytest.mark.parametrize("mining", MINING_NAMES)
@pytest.mark.parametrize(
    "labels",
    [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [0, 0, -1, -1], [-1, 0, 1, 2]],
    ids=["one person", "one photo each", "nobody", "no negative", "no positive"],
)
def test_without_a_triplet_loss_and_gradient_are_zero(mining, labels: list[int]):
    rows = make_batch(2, 2)[0].requires_grad_()
    found = TripletLoss(mining=mining)(rows, torch.tensor(labels))
    found.loss.backward()
    assert as_list(found) == [0, 0, 0, 0, 0]
    assert rows.grad is not None
    assert not rows.grad.any()


@pytest.mark.parametrize("mining", MINING_NAMES)
def test_people_far_apart_are_left_alone(mining):
    rows = torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0).requires_grad_()
    found = TripletLoss(mining=mining)(rows, torch.arange(4).repeat_interleave(2))
    found.loss.backward()
    assert as_list(found)[0] == found.share_active == 0
    assert not rows.grad.any()
    assert found.negative_gap == 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mining", MINING_NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_duplicates_opposites_and_zeros_are_finite(mining, form, dtype: torch.dtype):
    rows, labels = make_batch(3, 4, seed=5)
    same = (labels == 0).nonzero().squeeze(1)
    rows[same[1]] = rows[same[0]]  # the same photo twice
    rows[labels == 1] = 0  # a dead network
    other = (labels == 2).nonzero().squeeze(1)
    rows[other[0]] = rows[same[0]]  # one photo under two names
    rows[other[1]] = -rows[same[0]]
    rows = rows.to(dtype).requires_grad_()
    found = TripletLoss(MARGIN[form], mining=mining, form=form)(rows, labels)
    found.loss.backward()
    assert math.isfinite(found.loss.item())
    assert torch.isfinite(rows.grad).all()
    assert not rows.grad[labels == 1].any()
    assert rows.grad.abs().max() < 1e4


@pytest.mark.parametrize("mining", MINING_NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_and_autocast_are_computed_in_float32(mining, dtype: torch.dtype):
    rows, labels = make_batch()
    rows = rows.to(dtype)
    loss = TripletLoss(mining=mining)
    expected = loss(rows.float(), labels).loss
    with torch.autocast("cpu", dtype):
        found = loss(rows, labels).loss
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("mining", MINING_NAMES)
def test_samples_that_do_not_count_change_nothing(mining):
    rows, labels = make_batch()
    loss = TripletLoss(mining=mining)
    alone = loss(rows, labels)
    more = torch.cat([rows, make_batch(seed=9)[0]]).requires_grad_()
    among = loss(more, torch.cat([labels, torch.full_like(labels, -1)]))
    among.loss.backward()
    assert as_list(among) == pytest.approx(as_list(alone))
    assert not more.grad[len(rows) :].any()


def test_a_step_along_the_gradient_pulls_people_apart():
    rows, labels = make_batch(5, 4, spread=2.0)
    loss = TripletLoss(mining="semihard")
    rows = rows.requires_grad_()
    before = loss(rows, labels)
    for _ in range(200):
        (slope,) = torch.autograd.grad(loss(rows, labels).loss, rows)
        rows = (rows - 5 * slope).detach().requires_grad_()
    after = loss(rows, labels)
    assert after.loss < 0.1 * before.loss
    assert after.negative_gap - after.positive_gap > before.negative_gap - before.positive_gap


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64), r"shape \(4,\)"),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), r"shape \(0, 4\)"),
        (torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64), r"labels of \(3,\)"),
        (torch.zeros(4, 2), torch.zeros(4), "labels are float32"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(embeddings: Tensor, labels: Tensor, words: str):
    with pytest.raises(LearningError, match=words) as caught:
        TripletLoss()(embeddings, labels)
    assert caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": 0.0},
        {"margin": math.nan},
        {"margin": 4.1},
        {"margin": 3.2, "form": "angular"},
        {"mining": "easy"},
        {"form": "cosine"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict):
    with pytest.raises(LearningError, match=str(next(iter(wrong.values())))) as caught:
        TripletLoss(**wrong)
    assert caught.value.hint


# ── two ranks ──


def learn_on_rank(rank: int, folder: Path, mining: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(folder / "meet").as_uri(), rank=rank, world_size=2)
    rows, labels = make_batch(4, 4)
    own = slice(8 * rank, 8 * rank + 8)
    part = rows[own].clone().requires_grad_()
    ranks = Ranks(rank, 2, dist.group.WORLD)
    found = TripletLoss(mining=mining, ranks=ranks)(part, labels[own])
    found.loss.backward()
    torch.save([found.loss.detach(), part.grad], folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("mining", MINING_NAMES)
def test_two_ranks_find_the_loss_of_the_whole_batch(mining: str, tmp_path: Path):
    mp.spawn(learn_on_rank, (tmp_path, mining), nprocs=2)
    rows, labels = make_batch(4, 4)
    rows.requires_grad_()
    loss = TripletLoss(mining=mining)(rows, labels).loss
    loss.backward()
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for value, _ in found:
        torch.testing.assert_close(value, loss)
    # Each rank's gradient is W times its share: averaging over the ranks divides by W.
    torch.testing.assert_close(torch.cat([grad for _, grad in found]) / 2, rows.grad)
