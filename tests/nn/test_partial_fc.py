"""Centers on several ranks learn what they would learn on one; drawing some leaves others alone."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.collective import ALONE, Ranks
from arcwise.nn.head import MarginHead
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.train.rows import RowOptimizer
from tests.ranks.cases import (
    CASES,
    DIMENSION,
    N_IDENTITIES,
    N_STEPS,
    build_head,
    describe,
    describe_state,
    make_data,
    run_case,
    run_network,
    take_steps,
)
from tests.ranks.start import run_ranks
from tests.ranks.work import RESUMED

SIZES = [2, pytest.param(4, marks=pytest.mark.slow)]
ANGULAR = tuple(name for name in CASES if "softmax" not in name and "some" not in name)


def make_head(n: int = 40, rate: float = 0.25, *, name: str = "arcface", **options: Any):
    return PartialHead(8, n, build_rule(name, scale=16), sample_rate=rate, seed=1, **options)


def make_batch(n: int = 40, n_samples: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    embeddings = 3 * torch.randn(n_samples, 8, generator=generator)
    return embeddings.requires_grad_(), torch.randint(0, n, (n_samples,), generator=generator)


def drawn_by(head: PartialHead, labels: Tensor) -> list[int]:
    head.draw_rows(labels)
    assert head.drawn is not None
    assert head.drawn.identities is not None
    return head.drawn.identities.tolist()


def assert_alike(found: Tensor, expected: Tensor, what: object) -> None:
    """To rounding, of the size of the whole tensor; that of a few steps adds up."""
    greatest = float(expected.abs().max()) if expected.numel() else 0.0
    allowed = 1e-5 if expected.dtype == torch.float32 else 1e-12
    torch.testing.assert_close(
        found, expected, rtol=allowed, atol=allowed * greatest, msg=lambda m: f"{what}: {m}"
    )


# ── on several ranks as on one ──


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_ranks_find_what_one_process_finds(size: int, dtype: torch.dtype, name: str):
    """Losses, diagnostics, gradients of embeddings, and rows after steps of their optimizer."""
    alone = run_case(CASES[name], dtype=dtype)
    parts = [found["cases"][name, dtype] for found in run_ranks(size)]
    for step, expected in enumerate(alone["steps"]):
        embeddings = torch.cat([part["steps"][step]["embeddings"] for part in parts])
        assert_alike(embeddings, expected.pop("embeddings"), (name, step, "embeddings"))
        for number, value in expected.items():
            for part in parts:
                assert_alike(part["steps"][step][number], value, (name, step, number))
    for kind, rows in alone["state"].items():
        together = torch.cat([part["state"][kind] for part in parts])
        assert_alike(together, rows, (name, kind))
    for part in parts:
        for number, value in alone["validation"].items():
            assert_alike(part["validation"][number], value, (name, "validation", number))


@pytest.mark.parametrize("size", SIZES)
def test_every_rank_knows_the_same_to_the_last_bit(size: int):
    """Or what a rule remembers would drift apart."""
    first, *others = (found["cases"] for found in run_ranks(size))
    for name in CASES:
        key_of_case = name, torch.float32
        for other in others:
            for key, value in first[key_of_case]["rule"].items():
                assert torch.equal(other[key_of_case]["rule"][key], value)
            runs = first[key_of_case]["steps"], other[key_of_case]["steps"]
            for mine, theirs in zip(*runs, strict=True):
                same = {key: theirs[key] for key in mine if key != "embeddings"}
                assert all(torch.equal(mine[key], value) for key, value in same.items())


@pytest.mark.parametrize("size", SIZES)
def test_the_network_before_the_head_gets_the_gradients_of_one_process(size: int):
    """With MagFace, whose penalty must count once and not once for each rank."""
    alone, parts = run_network(), [found["network"] for found in run_ranks(size)]
    centers = torch.cat([part.pop("centers") for part in parts])
    assert_alike(centers, alone.pop("centers"), "centers")
    for part in parts:
        for name, gradient in alone.items():
            assert_alike(part[name], gradient, name)


@pytest.mark.parametrize("size", SIZES)
def test_a_rank_without_any_identity_takes_part(size: int):
    for found in run_ranks(size):
        assert found["few"]["loss"].item() == 0
        assert not found["few"]["gradient"].any()


def test_another_number_of_ranks_goes_on_as_if_nothing_had_happened():
    """From two ranks to one, all optimizer memory included."""
    for name in RESUMED:
        parts = [found["stopped"][name] for found in run_ranks(2)]
        head = build_head(CASES[name], ALONE)
        optimizer = RowOptimizer(head, **CASES[name].optimizer)
        for part in parts:
            memory = dict(part["state"])
            head.load_rows(part["first_row"], memory.pop("weight"))
            optimizer.load_rows(part["first_row"], memory)
        head.rule.load_state_dict(parts[0]["rule"])
        take_steps(CASES[name], head, optimizer, range(N_STEPS - 1, N_STEPS))
        for kind, rows in run_case(CASES[name])["state"].items():
            assert_alike(describe_state(head, optimizer)[kind], rows, (name, kind))


@pytest.mark.slow
def test_four_ranks_go_on_with_what_two_began():
    for name in RESUMED:
        parts = [found["resumed"][name] for found in run_ranks(4)]
        alone = run_case(CASES[name])
        loss = alone["steps"][-1]["loss"]
        for part in parts:
            assert_alike(part["steps"][0]["loss"], loss, name)
        for kind, rows in alone["state"].items():
            assert_alike(torch.cat([part["state"][kind] for part in parts]), rows, (name, kind))


@pytest.mark.parametrize("size", SIZES)
def test_each_rank_draws_its_own_and_all_true_identities(size: int):
    """Labels 1 and 30 of 37; the other labels do not count."""
    for step, label in enumerate((1, 30)):
        drawn = torch.cat([found["drawn"][step] for found in run_ranks(size)])
        assert label in drawn
        assert torch.equal(drawn, drawn.unique())


@pytest.mark.parametrize("size", SIZES)
def test_a_label_that_nobody_drew_is_refused_on_every_rank(size: int):
    for found in run_ranks(size):
        assert found["refused"]["not drawn"].startswith("label 21 is not among the rows drawn")


# ── one process, all rows: the plain head ──


@pytest.mark.parametrize("name", [name for name in CASES if "some" not in name])
def test_alone_and_with_all_rows_it_is_the_plain_head(name: str):
    case, data = CASES[name], make_data()
    ours = build_head(case, ALONE)
    plain = MarginHead(DIMENSION, N_IDENTITIES, build_head(case, ALONE).rule, **case.head)
    with torch.no_grad():
        plain.weight.copy_(ours.weight)
    for step in range(N_STEPS):
        first, second = (data.embeddings[step].clone().requires_grad_() for _ in range(2))
        result = ours(first, data.labels[step], 0.7)
        expected = plain(second, data.labels[step], 0.7)
        (gradients, *_), (for_plain, *_) = (
            torch.autograd.grad(found.loss, (rows, head.weight))
            for found, rows, head in ((result, first, ours), (expected, second, plain))
        )
        assert_alike(gradients, for_plain, name)
        for key, value in describe(expected).items():
            assert_alike(describe(result)[key], value, (name, key))


def naive_loss(x: np.ndarray, weight: np.ndarray, labels: list[int], drawn: list[int]) -> float:
    """ArcFace among the identities drawn, one sample after the other, float64."""
    losses = []
    for row, label in zip(x, labels, strict=True):
        logits = {}
        for j in drawn:
            cosine = row @ weight[j] / (np.linalg.norm(row) * np.linalg.norm(weight[j]))
            theta = math.acos(cosine)
            psi = math.cos(theta + 0.5) if theta + 0.5 <= math.pi else cosine - 0.5 * math.sin(0.5)
            logits[j] = 16 * (psi if j == label else cosine)
        total = sum(math.exp(logit) for logit in logits.values())
        losses.append(math.log(total) - logits[label])
    return sum(losses) / len(losses)


def test_the_loss_of_drawn_rows_equals_the_naive_loop_and_its_differences():
    head, (embeddings, labels) = make_head().double(), make_batch()
    x = embeddings.detach().double().requires_grad_()
    drawn = drawn_by(head, labels)
    result = head(x, labels)
    result.loss.backward()
    at = [x.detach().numpy(), head.weight.detach().numpy()]
    assert result.loss.item() == pytest.approx(naive_loss(*at, labels.tolist(), drawn), rel=1e-12)
    assert head.drawn is not None
    assert x.grad is not None
    whole = torch.zeros_like(head.weight)
    whole[drawn] = head.drawn.centers.grad
    for found, values in zip((x.grad, whole), at, strict=True):
        for index in [*np.ndindex(values.shape)][::7]:
            kept, step, losses = values[index], 1e-6 * max(1e-2, abs(values[index])), []
            for sign in (1, -1):
                values[index] = kept + sign * step
                losses.append(naive_loss(*at, labels.tolist(), drawn))
            values[index] = kept
            expected = (losses[0] - losses[1]) / (2 * step)
            assert float(found[index]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


# ── drawing ──


def test_a_draw_holds_all_true_identities_and_fills_its_share():
    labels = torch.tensor([3, 39, 3, 0, -1])
    drawn = drawn_by(make_head(), labels)
    assert len(drawn) == 10  # a quarter of 40
    assert {0, 3, 39} <= set(drawn)
    assert drawn == sorted(set(drawn))


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_true_identities_alone_are_drawn_where_the_share_is_smaller(rate: float):
    assert drawn_by(make_head(rate=rate), torch.tensor([7, 3, -1, 7])) == [3, 7]


def test_nothing_is_drawn_for_samples_that_do_not_count():
    head, (embeddings, _) = make_head(rate=0.0), make_batch()
    result = head(embeddings, torch.full((6,), -1))
    result.loss.backward()
    assert head.drawn is not None
    assert head.drawn.centers.shape == (0, 8)
    assert result.loss.item() == result.accuracy.item() == 0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


def test_every_identity_is_drawn_equally_often():
    head, labels = make_head(), torch.tensor([5])
    n_drawn = np.zeros(40)
    for _ in range(2000):
        n_drawn[drawn_by(head, labels)] += 1
    assert n_drawn[5] == 2000
    others = np.delete(n_drawn, 5) / 2000
    assert others.mean() == pytest.approx(9 / 39)
    assert np.abs(others - 9 / 39).max() < 5 * math.sqrt(9 / 39 * 30 / 39 / 2000)


def test_a_run_that_goes_on_draws_what_it_would_have_drawn():
    labels = torch.tensor([5])
    whole, begun, resumed = make_head(), make_head(), make_head()
    expected = [drawn_by(whole, labels) for _ in range(4)]
    assert [drawn_by(begun, labels) for _ in range(2)] == expected[:2]
    resumed.load_state_dict(begun.state_dict())
    assert [drawn_by(resumed, labels) for _ in range(2)] == expected[2:]
    assert len({tuple(drawn) for drawn in expected}) == 4


def test_another_seed_draws_others():
    other = PartialHead(8, 40, build_rule("arcface", scale=16), sample_rate=0.25, seed=2)
    labels = torch.tensor([5])
    assert drawn_by(make_head(), labels) != drawn_by(other, labels)


def test_sub_centers_are_drawn_together():
    head = make_head(subcenters=3)
    head.use_rows(torch.tensor([2, 7]))
    assert head.drawn is not None
    assert torch.equal(head.drawn.centers, head.weight[[6, 7, 8, 21, 22, 23]])


def test_validation_uses_all_rows_and_draws_none():
    head, (embeddings, labels) = make_head(), make_batch()
    whole = make_head(rate=1.0).eval()
    found = head.eval()(embeddings, labels)
    assert found.loss.item() == pytest.approx(whole(embeddings, labels).loss.item())
    assert head.drawn is None
    assert head.n_draws.item() == 0


def test_micro_batches_add_up_to_the_gradient_of_their_draw():
    head, (embeddings, labels) = make_head(), make_batch()
    head.draw_rows(labels)
    for part in (slice(0, 3), slice(3, 6)):
        (head(embeddings[part], labels[part]).loss / 2).backward()
    assert head.drawn is not None
    found = head.drawn.centers.grad
    whole = make_head()
    whole(embeddings, labels).loss.backward()
    assert whole.drawn is not None
    torch.testing.assert_close(found, whole.drawn.centers.grad)


def test_a_gradient_that_nobody_took_is_not_lost_in_silence():
    head, (embeddings, labels) = make_head(), make_batch()
    head(embeddings, labels).loss.backward()
    with pytest.raises(LearningError, match="still waits for the optimizer's step"):
        head(embeddings, labels)
    head.forget_rows()
    assert head(embeddings, labels).loss > 0


def test_gradients_of_batches_add_up_where_all_rows_are_used():
    head, (embeddings, labels) = make_head(rate=1.0), make_batch()
    head(embeddings, labels).loss.backward()
    assert head.weight.grad is not None
    once = head.weight.grad.clone()
    head(embeddings, labels).loss.backward()
    torch.testing.assert_close(head.weight.grad, 2 * once)
    head.draw_rows(labels)
    assert head.weight.grad is None


def test_a_label_beside_the_rows_is_refused():
    head, (embeddings, _) = make_head(), make_batch()
    head.use_rows(torch.tensor([2, 7]))
    with pytest.raises(LearningError, match="label 39 is not among the rows drawn"):
        head(embeddings, torch.tensor([2, 7, -1, 39, 2, 2]))


# ── memory and time ──


def test_a_step_holds_one_matrix_of_logits_and_rows_of_the_draw_only():
    head, (embeddings, labels) = make_head(n=400), make_batch(400)
    head.draw_rows(labels)
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = head(embeddings, labels)
    assert sorted(size for size in kept.values() if size > 150) == [6 * 100, 100 * 8]
    result.loss.backward()
    assert head.weight.grad is None


def test_nothing_waits_for_the_device_with_all_rows(monkeypatch: pytest.MonkeyPatch):
    """A meta tensor has no values: whatever asks for one raises. Autocast does not know it."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    head = make_head(rate=1.0).to("meta")
    embeddings = torch.zeros(6, 8, device="meta", requires_grad=True)
    head(embeddings, torch.zeros(6, dtype=torch.int64, device="meta")).loss.backward()
    assert embeddings.grad is not None


# ── corners ──


@pytest.mark.parametrize("name", ANGULAR)
def test_embeddings_on_opposite_of_and_without_a_center_are_finite(name: str):
    case = CASES[name]
    head = build_head(case, ALONE)
    centers = head.weight.detach()[:: head.subcenters]
    embeddings = torch.cat((centers, -centers, 0 * centers)).requires_grad_()
    result = head(embeddings, torch.arange(N_IDENTITIES).repeat(3))
    result.loss.backward()
    assert embeddings.grad is not None
    assert head.weight.grad is not None
    for tensor in (*describe(result).values(), embeddings.grad, head.weight.grad):
        assert tensor.isfinite().all()
    assert not embeddings.grad[2 * N_IDENTITIES :].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype):
    head, (embeddings, labels) = make_head(rate=1.0), make_batch()
    half = embeddings.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        result = head(half, labels)
    assert torch.equal(result.loss, head(half.detach().float(), labels).loss)
    result.loss.backward()
    assert half.grad is not None
    assert half.grad.dtype == dtype


def test_a_network_of_zeros_is_never_right():
    head, (embeddings, labels) = make_head(rate=1.0), make_batch()
    assert head(0 * embeddings, labels).accuracy.item() == 0


# ── rows ──


def test_new_centers_are_normal_with_deviation_001_and_hang_on_the_seed_alone():
    rule = build_rule("arcface", scale=64)
    first, again, other = (PartialHead(512, 1300, rule, seed=seed) for seed in (1, 1, 2))
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert first.weight.mean().abs() < 1e-4
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert len(first.weight.unique()) > 0.9 * first.weight[:1000].unique().numel()


def test_more_identities_keep_the_centers_of_the_first():
    rule = build_rule("arcface", scale=64)
    few, many = PartialHead(8, 1030, rule), PartialHead(8, 3000, rule)
    assert torch.equal(few.weight, many.weight[:1030])


def test_means_become_the_directions_of_centers():
    head = make_head(rate=1.0)
    before, means = head.weight.detach().clone(), 7 * torch.randn(12, 8)
    means[4] = 0
    head.set_centers(means, first=35)
    assert torch.equal(head.weight[:35], before[:35])
    assert torch.equal(head.weight[39], before[39])
    length = 0.01 * math.sqrt(8)
    torch.testing.assert_close(head.weight[35:39].norm(dim=1), torch.full((4,), length))
    cosines = torch.cosine_similarity(head.weight[35:39], means[:4])
    torch.testing.assert_close(cosines, torch.ones(4))
    head.set_centers(means, first=40)  # of identities that are not here


def test_sub_centers_start_beside_the_mean_and_apart():
    head, means = make_head(rate=1.0, subcenters=3), torch.randn(40, 8)
    head.set_centers(means)
    centers = head.weight.detach().view(40, 3, 8)
    cosines = torch.cosine_similarity(centers, means[:, None], dim=2)
    torch.testing.assert_close(cosines[:, 0], torch.ones(40))
    assert cosines.min() > 0.99
    assert (centers[:, 1] - centers[:, 2]).norm(dim=1).min() > 0


def test_rows_of_other_ranks_are_ignored():
    head = make_head(rate=1.0)
    rows = torch.arange(5 * 8, dtype=torch.float32).view(5, 8)
    assert head.load_rows(38, rows) == 2
    assert torch.equal(head.weight[38:], rows[:2])
    assert head.load_rows(40, rows) == 0
    assert head.load_rows(0, head.weight.detach().clone()) == 40


# ── what is refused ──


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample_rate": 1.1}, r"in 0\.\.1, got 1\.1"),
        ({"sample_rate": -0.1}, r"in 0\.\.1, got -0\.1"),
        ({"sample_rate": math.nan}, "got nan"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"subcenters": 0}, "0 centers each"),
        ({"focal_gamma": -1.0}, "gamma"),
        ({"filter_above": 2.0}, "above 2"),
    ],
)
def test_a_head_that_cannot_be_is_refused(options: dict[str, Any], words: str):
    with pytest.raises(LearningError, match=words):
        PartialHead(8, 40, build_rule("arcface", scale=16), **options)


def test_margins_of_other_identities_are_refused():
    rule = build_rule("arcface", scale=16, margins_by_class=torch.full((5,), 0.4))
    with pytest.raises(LearningError, match="5 identities"):
        PartialHead(8, 40, rule)


def test_batches_that_do_not_fit_are_refused():
    head, (embeddings, labels) = make_head(), make_batch()
    with pytest.raises(LearningError, match="label 40 for a head of 40"):
        head(embeddings, labels.index_fill(0, torch.tensor([2]), 40))
    with pytest.raises(LearningError, match="they must be int64"):
        head(embeddings, labels.float())
    with pytest.raises(LearningError, match=r"\(6, 7\), the head takes"):
        head(embeddings[:, :7], labels)
    for wrong in (labels.float(), labels[:, None]):
        with pytest.raises(LearningError, match="to draw their centers"):
            head.draw_rows(wrong)


def test_rows_and_means_of_another_dimension_are_refused():
    with pytest.raises(LearningError, match=r"rows of shape \(9,\)"):
        make_head().load_rows(0, torch.zeros(3, 9))
    with pytest.raises(LearningError, match=r"means of shape \(3, 9\)"):
        make_head().set_centers(torch.zeros(3, 9))
    with pytest.raises(LearningError, match="Softmax"):
        make_head(name="softmax").set_centers(torch.zeros(3, 8))


def test_the_head_says_what_it_is():
    assert "8, 40, subcenters=1, sample_rate=0.25, rank=0 of 1" in repr(make_head())


def test_alone_is_what_a_head_is_unless_it_is_told():
    assert make_head().ranks == Ranks.alone()
