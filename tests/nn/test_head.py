"""The loss is the paper's, so is its gradient, and no batch turns it into NaN."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.fixed import FixedMargin
from arcwise.nn.focal import focus
from arcwise.nn.head import HeadResult, MarginHead, normalize_rows
from arcwise.nn.losses import LOSSES, build_rule
from arcwise.nn.margin import Margin, apply_margin, arcface, cosface
from arcwise.nn.rule import Rule

CM1 = Margin(1, 0.3, 0.2)
A_SOFTMAX = Margin(4, beyond_pi="extend")
TWO = {"a_softmax", "curricularface"}  # lengths with gradient; slopes at hard identities
WAITING = {"elasticface", "magface"}  # for the seed of the draws; for which samples count
SIX = (arcface(), Margin(m2=0.5, beyond_pi="none"), cosface(), CM1, A_SOFTMAX, Margin())


def make_head(
    n: int = 5, *, margin: Margin | None = None, scale: float = 16.0, **options: Any
) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, n, FixedMargin(margin or arcface(), scale), **options)


def make_batch(n_samples: int = 6, n: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    embeddings = 3 * torch.randn(n_samples, 8, generator=generator)
    return embeddings.requires_grad_(), torch.randint(0, n, (n_samples,), generator=generator)


def gradients(head: MarginHead, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    assert embeddings.grad is not None
    assert head.weight.grad is not None
    return embeddings.grad, head.weight.grad


def all_finite(head: MarginHead, embeddings: Tensor, result: HeadResult) -> bool:
    result.loss.backward()
    numbers = [getattr(result, field.name) for field in fields(result) if field.name != "details"]
    return all(bool(torch.isfinite(t).all()) for t in (*numbers, *gradients(head, embeddings)))


# ── against a loop from the paper ──


def naive_loss(x: np.ndarray, weight: np.ndarray, labels: list[int], head: MarginHead) -> float:
    """-log softmax of s psi(theta_y) among s cos(theta_j), one sample after the other, float64."""
    assert isinstance(head.rule, FixedMargin)
    margin, losses = head.rule.margin, []
    for row, label in zip(x, labels, strict=True):
        logits = []
        for j, center in enumerate(weight):
            cosine = sum(a * b for a, b in zip(row, center, strict=True))
            cosine /= math.sqrt(sum(a * a for a in row)) * math.sqrt(sum(b * b for b in center))
            theta = math.acos(max(-1.0, min(1.0, cosine)))
            phi = margin.m1 * theta + margin.m2
            psi = math.cos(phi)
            if margin.beyond_pi == "linear" and phi > math.pi:
                psi = cosine - margin.m2 * math.sin(margin.m2)
            if margin.beyond_pi == "extend":
                psi = (-1) ** int(phi // math.pi) * psi - 2 * (phi // math.pi)
            logits.append(head.rule.scale * (psi - margin.m3 if j == label else cosine))
        greatest = max(logits)
        total = sum(math.exp(logit - greatest) for logit in logits)
        losses.append(math.log(total) + greatest - logits[label])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("margin", SIX, ids=repr)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_the_loss_equals_the_naive_loop(margin: Margin, dtype: torch.dtype, allowed: float):
    head = make_head(margin=margin).to(dtype)
    embeddings, labels = make_batch(40)
    result = head(embeddings.to(dtype), labels)
    x, weight = embeddings.detach().double().numpy(), head.weight.detach().double().numpy()
    expected = naive_loss(x, weight, labels.tolist(), head)
    assert result.loss.dtype == dtype
    assert result.loss.item() == pytest.approx(expected, rel=allowed)


@pytest.mark.parametrize("margin", SIX, ids=repr)
def test_the_gradient_equals_finite_differences_of_the_naive_loop(margin: Margin):
    head = make_head(3, margin=margin).double()
    embeddings, labels = make_batch(5, 3)
    x = embeddings.detach().double().requires_grad_()
    with torch.no_grad():  # one sample far from its center, one near
        x[0] = -40 * head.weight[labels[0]] + 0.02 * x[0]
        x[1] = 40 * head.weight[labels[1]] + 0.02 * x[1]
    head(x, labels).loss.backward()
    at = [x.detach().numpy(), head.weight.detach().numpy()]
    for found, values in zip(gradients(head, x), at, strict=True):
        expected = np.empty_like(values)
        for index in np.ndindex(values.shape):
            kept, step, losses = values[index], 1e-6 * max(1e-2, abs(values[index])), []
            for sign in (1, -1):
                values[index] = kept + sign * step
                losses.append(naive_loss(*at, labels.tolist(), head))
            values[index] = kept
            expected[index] = (losses[0] - losses[1]) / (2 * step)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


def test_the_gradient_of_float32_is_that_of_float64():
    for margin in SIX:
        single, double = make_head(margin=margin), make_head(margin=margin).double()
        embeddings, labels = make_batch()
        wide = embeddings.detach().double().requires_grad_()
        single(embeddings, labels).loss.backward()
        double(wide, labels).loss.backward()
        pairs = zip(gradients(single, embeddings), gradients(double, wide), strict=True)
        for narrow, exact in pairs:
            atol = 1e-5 * float(exact.abs().max())
            torch.testing.assert_close(narrow.double(), exact, rtol=1e-4, atol=atol)


def test_straight_through_changes_the_gradient_and_not_the_loss():
    embeddings, labels = make_batch()
    exact = make_head()
    through = make_head(margin=replace(arcface(), gradient="straight_through"))
    first, second = exact(embeddings, labels), through(embeddings, labels)
    assert torch.equal(first.loss, second.loss)
    first.loss.backward()
    second.loss.backward()
    assert not torch.allclose(exact.weight.grad, through.weight.grad)


def test_only_directions_count():
    head, (embeddings, labels) = make_head(), make_batch()
    loss = head(embeddings, labels).loss
    loss.backward()
    for_samples, for_centers = gradients(head, embeddings)
    assert (for_samples * embeddings).sum(dim=1).abs().max() < 1e-6
    assert (for_centers * head.weight).sum(dim=1).abs().max() < 1e-6
    with torch.no_grad():
        head.weight *= 7
    assert head(100 * embeddings, labels).loss.item() == pytest.approx(loss.item(), rel=1e-6)


def test_a_few_steps_bring_embeddings_to_their_centers():
    head, (embeddings, labels) = make_head(), make_batch()
    first = head(embeddings, labels)
    for _ in range(60):
        found = torch.autograd.grad(head(embeddings, labels).loss, (embeddings, head.weight))
        with torch.no_grad():
            for values, gradient in zip((embeddings, head.weight), found, strict=True):
                values -= 0.1 * gradient
    last = head(embeddings, labels)
    assert last.loss < 0.1 * first.loss
    assert last.target_angle_rad < 0.6 * first.target_angle_rad


# ── strength ──


def test_strength_weakens_the_margin():
    head, (embeddings, labels) = make_head(), make_batch()
    half, quarter = make_head(margin=arcface(0.25)), head(embeddings, labels, strength=0.25)
    assert torch.equal(head(embeddings, labels, 0.5).loss, half(embeddings, labels).loss)
    bare = make_head(margin=Margin())(embeddings, labels)
    assert torch.equal(head(embeddings, labels, 0.0).loss, bare.loss)
    assert bare.loss < quarter.loss < head(embeddings, labels).loss


def test_a_strength_above_1_is_refused():
    with pytest.raises(LearningError, match=r"got 1\.5"):
        make_head()(*make_batch(), strength=1.5)


# ── labels ──


def test_a_sample_whose_identity_lives_elsewhere_does_not_count():
    head, (embeddings, labels) = make_head(), make_batch()
    some = labels.clone()
    some[[1, 4]] = -1
    kept = some >= 0
    result = head(embeddings, some)
    alone = head(embeddings[kept], labels[kept])
    assert result.loss.item() == pytest.approx(alone.loss.item(), rel=1e-6)
    assert result.target_angle_rad.item() == pytest.approx(alone.target_angle_rad.item())
    assert result.mean_norm.item() == pytest.approx(embeddings.norm(dim=1).mean().item())
    result.loss.backward()
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad.abs().sum(dim=1) > 0, kept)


@pytest.mark.parametrize("n_samples", [3, 0])
def test_a_batch_without_any_own_identity_gives_0_and_passes_zeros(n_samples: int):
    head, (embeddings, _) = make_head(), make_batch(n_samples)
    result = head(embeddings, torch.full((n_samples,), -1))
    assert result.loss.item() == 0
    assert all_finite(head, embeddings, result)
    assert all(not gradient.any() for gradient in gradients(head, embeddings))


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, torch.float16, torch.uint8])
def test_labels_that_are_not_int64_are_refused(dtype: torch.dtype):
    embeddings, labels = make_batch()
    with pytest.raises(LearningError, match=f"labels are {str(dtype)[6:]}, they must be int64"):
        make_head()(embeddings, labels.to(dtype))


@pytest.mark.parametrize("wrong", [5, 1000, -2])
def test_a_label_out_of_range_is_refused(wrong: int):
    embeddings, labels = make_batch()
    labels[2] = wrong
    with pytest.raises(LearningError, match=f"label {wrong} for a head of 5 identities"):
        make_head()(embeddings, labels)


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (torch.zeros(4, 9), torch.zeros(4, dtype=torch.int64), r"\(4, 9\), the head takes \(B, 8"),
        (torch.zeros(8), torch.zeros(8, dtype=torch.int64), r"embeddings of shape \(8,\)"),
        (torch.zeros(4, 8), torch.zeros(3, dtype=torch.int64), r"shape \(3,\) for 4 embeddings"),
        (torch.zeros(4, 8), torch.zeros(4, 1, dtype=torch.int64), r"shape \(4, 1\) for 4 embedd"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(embeddings: Tensor, labels: Tensor, words: str):
    with pytest.raises(LearningError, match=words):
        make_head()(embeddings, labels)


# ── what turns losses into NaN ──


@pytest.mark.parametrize("margin", SIX, ids=repr)
@pytest.mark.parametrize("scale", [2.0, 64.0])
def test_embeddings_on_and_opposite_of_their_centers_are_finite(margin: Margin, scale: float):
    head = make_head(margin=margin, scale=scale)
    embeddings = torch.cat((head.weight.detach(), -head.weight.detach())).requires_grad_()
    assert all_finite(head, embeddings, head(embeddings, torch.arange(10) % 5))


def test_a_zero_embedding_is_finite_and_gets_no_gradient():
    head, (embeddings, labels) = make_head(), make_batch()
    with torch.no_grad():
        embeddings[3] = 0
    assert all_finite(head, embeddings, head(embeddings, labels))
    for_samples, for_centers = gradients(head, embeddings)
    assert not for_samples[3].any()
    assert for_samples.abs().max() < 100
    assert for_centers.any()


def test_torch_would_pass_a_zero_embedding_a_million_million_times_the_gradient():
    """Why `normalize_rows` is not torch's own."""
    theirs, ours = torch.zeros(1, 4, requires_grad=True), torch.zeros(1, 4, requires_grad=True)
    torch.nn.functional.normalize(theirs).sum().backward()
    normalize_rows(ours).sum().backward()
    assert theirs.grad is not None
    assert ours.grad is not None
    assert theirs.grad.max() > 9e11
    assert not ours.grad.any()


def test_a_class_that_occurs_twice_is_finite():
    head, (embeddings, labels) = make_head(), make_batch()
    with torch.no_grad():
        head.weight[4] = head.weight[0]
        embeddings[:2] = head.weight[0]
    labels[:2] = torch.tensor([0, 4])
    result = head(embeddings, labels)
    assert all_finite(head, embeddings, result)
    assert result.loss > math.log(2) / len(labels)


def test_one_identity_alone_gives_0_and_passes_zeros():
    head, (embeddings, _) = make_head(1, scale=64.0), make_batch()
    result = head(embeddings, torch.zeros(6, dtype=torch.int64))
    assert result.loss.item() == 0
    assert all_finite(head, embeddings, result)
    assert all(not gradient.any() for gradient in gradients(head, embeddings))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_changes_nothing(dtype: torch.dtype):
    head, (embeddings, labels) = make_head(scale=64.0), make_batch()
    plain = head(embeddings, labels)
    with torch.autocast("cpu", dtype):
        cast = head(embeddings, labels)
    assert torch.equal(cast.loss, plain.loss)
    assert cast.loss.dtype == cast.mean_norm.dtype == torch.float32
    assert all_finite(head, embeddings, cast)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_embeddings_of_half_precision_are_computed_in_float32(dtype: torch.dtype):
    head, (embeddings, labels) = make_head(scale=64.0), make_batch()
    half = embeddings.detach().to(dtype)
    half[0] = 0  # float16 has no 1e-12 to guard a division by zero with
    half[1] = head.weight[labels[1]].detach().to(dtype)  # and no exp of 64
    with torch.autocast("cpu", dtype):
        result = head(half.requires_grad_(), labels)
    wide = head(half.detach().float(), labels)
    assert torch.equal(result.loss, wide.loss)
    assert result.loss.dtype == torch.float32
    assert all_finite(head, half, result)
    assert half.grad is not None
    assert half.grad.dtype == dtype


def test_a_head_of_half_precision_still_computes_in_float32():
    head, (embeddings, labels) = make_head(scale=64.0).half(), make_batch()
    half = embeddings.detach().half().requires_grad_()
    result = head(half, labels)
    assert result.loss.dtype == torch.float32
    assert torch.equal(result.loss, head(half.float(), labels).loss)
    assert all_finite(head, half, result)


# ── several centers, filter, focal factor ──


def naive_head(
    x: np.ndarray,
    weight: np.ndarray,
    labels: list[int],
    *,
    subcenters: int = 1,
    above: float | None = None,
    gamma: float | None = None,
) -> float:
    """ArcFace 0.5 of scale 16 in float64: largest of K cosines, twins at 0, focal factor."""
    losses = []
    for row, label in zip(x, labels, strict=True):
        logits = []
        for j in range(len(weight) // subcenters):
            cosine = max(
                float(row @ center / np.linalg.norm(row) / np.linalg.norm(center))
                for center in weight[j * subcenters : (j + 1) * subcenters]
            )
            if j == label:
                theta = math.acos(cosine)
                assert theta < math.pi - 0.5
                cosine = math.cos(theta + 0.5)
            elif above is not None and cosine > above:
                cosine = 0.0
            logits.append(16 * cosine)
        loss = math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
        losses.append(loss if gamma is None else (1 - math.exp(-loss)) ** gamma * loss)
    return sum(losses) / len(losses)


OPTIONS: list[dict[str, Any]] = [
    {"subcenters": 1},
    {"subcenters": 3},
    {"filter_above": 0.1},
    {"subcenters": 2, "filter_above": 0.2, "focal_gamma": 2.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_a_head_with_options_equals_the_naive_loop(options: dict[str, Any]):
    head = make_head(**options).double()
    embeddings, labels = make_batch(12)
    x = embeddings.detach().double()
    expected = naive_head(
        x.numpy(),
        head.weight.detach().numpy(),
        labels.tolist(),
        subcenters=options.get("subcenters", 1),
        above=options.get("filter_above"),
        gamma=options.get("focal_gamma"),
    )
    assert head(x, labels).loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_gradient_of_a_head_with_options_is_the_exact_one(options: dict[str, Any]):
    head = make_head(3, **options).double()
    embeddings, labels = make_batch(4, 3)
    x, weight = embeddings.detach().double().requires_grad_(), head.weight.detach().clone()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight.requires_grad_()))


def test_one_center_is_the_plain_head_and_equal_ones_change_nothing():
    plain, (embeddings, labels) = make_head(), make_batch()
    thrice = make_head(subcenters=3)
    assert thrice.weight.shape == (15, 8)
    with torch.no_grad():
        thrice.weight.copy_(plain.weight.repeat_interleave(3, dim=0))
    assert torch.equal(
        make_head(subcenters=1)(embeddings, labels).loss, plain(embeddings, labels).loss
    )
    thrice_loss = thrice(embeddings, labels).loss
    assert thrice_loss.item() == pytest.approx(plain(embeddings, labels).loss.item(), rel=1e-6)


def test_only_the_nearest_center_of_an_identity_learns():
    head, (embeddings, labels) = make_head(subcenters=3), make_batch(1)
    with torch.no_grad():
        head.weight[3] = head.weight[4]  # the second identity's first two centers are equal
    head(embeddings, labels).loss.backward()
    assert head.weight.grad is not None
    learned = head.weight.grad.abs().sum(dim=1).view(5, 3) > 0
    assert learned.sum(dim=1).tolist() == [1, 1, 1, 1, 1]


def test_a_filtered_identity_counts_as_orthogonal_and_gets_no_gradient():
    head, embeddings = make_head(3, filter_above=0.4), torch.zeros(1, 8)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[0, 0] = head.weight[1, 1] = 1
        head.weight[2, :2] = torch.tensor([0.8, 0.6])  # another name of the same person
        embeddings[0, :2] = torch.tensor([0.8, 0.6])
    result = head(embeddings, torch.tensor([0]))
    logits = 16 * torch.tensor([math.cos(math.acos(0.8) + 0.5), 0.0, 0.0])
    expected = torch.logsumexp(logits, 0) - logits[0]
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-3)  # 0.6 is filtered, too
    result.loss.backward()
    assert head.weight.grad is not None
    assert head.weight.grad[0].any()
    assert not head.weight.grad[1:].any()
    assert head(embeddings, torch.tensor([2])).loss > 0  # the true one is never filtered
    assert result.accuracy.item() == 0  # as it is by the bare cosines


def test_the_focal_factor_is_of_each_sample_or_of_the_batch():
    embeddings, labels = make_batch()
    labels[2] = -1
    counts = labels >= 0
    head = make_head()
    each = torch.stack([head(embeddings[i : i + 1], labels[i : i + 1]).loss for i in range(6)])
    for form in ("per_sample", "batch_mean"):
        expected = focus(each, 2.0, form, counts=counts).sum() / 5
        result = make_head(focal_gamma=2.0, focal_form=form)(embeddings, labels)
        assert result.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(
        make_head(focal_gamma=0.0)(embeddings, labels).loss, head(embeddings, labels).loss
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"filter_above": 1.5}, r"left out above 1\.5"),
        ({"filter_above": math.nan}, "left out above nan"),
        ({"focal_gamma": -1.0}, r"0 or more, got -1\.0"),
        ({"focal_form": "mean"}, "no form of the focal loss of the name 'mean'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        make_head(**options)
    assert caught.value.hint


def test_inner_products_are_not_filtered():
    with pytest.raises(LearningError, match=r"above 0\.4 with Softmax"):
        MarginHead(8, 5, build_rule("softmax", scale=1), filter_above=0.4)


# ── what it costs ──


@pytest.mark.parametrize(("name", "n_kept"), [(name, 1 + (name in TWO)) for name in LOSSES])
def test_backward_keeps_one_matrix_of_all_samples_by_all_identities(name: str, n_kept: int):
    head, (embeddings, labels) = MarginHead(8, 5, build_rule(name, scale=16)), make_batch()
    kept = set()

    def remember(tensor: Tensor) -> Tensor:
        if tensor.shape == (6, 5):
            kept.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = head(embeddings, labels)
    result.loss.backward()
    assert len(kept) == n_kept


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WAITING])
def test_nothing_waits_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch):
    """A meta tensor has no values: whatever asks for one raises. Autocast does not know it."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    head = MarginHead(8, 5, build_rule(name, scale=16), filter_above=None, focal_gamma=2.0)
    head = head.to("meta")
    embeddings = torch.zeros(6, 8, device="meta", requires_grad=True)
    labels = torch.zeros(6, dtype=torch.int64, device="meta")
    head(embeddings, labels).loss.backward()
    with pytest.raises(RuntimeError, match="meta"):
        labels.max().item()


# ── diagnostics ──


def test_the_diagnostics_say_where_the_embeddings_are():
    head = make_head()
    center = head.weight.detach()[:1] / head.weight.detach()[:1].norm()
    across = torch.linalg.qr(torch.cat((center, torch.randn(1, 8))).T).Q.T[1:]
    angles = torch.tensor([0.5, 1.0, 2.5, 3.0])[:, None]
    embeddings = 4 * (angles.cos() * center + angles.sin() * across)
    result = head(embeddings, torch.zeros(4, dtype=torch.int64))
    assert result.target_angle_rad.item() == pytest.approx(1.75, abs=1e-5)
    assert result.share_beyond_pi.item() == 0.25  # beyond pi - 0.5 = 2.64 rad
    assert result.mean_norm.item() == pytest.approx(4, abs=1e-5)
    weak = head(embeddings, torch.zeros(4, dtype=torch.int64), strength=0.2)
    assert weak.share_beyond_pi.item() == 0  # beyond pi - 0.1 = 3.04 rad


def test_nothing_is_beyond_pi_with_cosface():
    head = make_head(margin=cosface())
    result = head(-head.weight.detach(), torch.arange(5))
    assert result.share_beyond_pi.item() == 0


def test_accuracy_is_the_share_of_samples_nearest_to_their_own_center_without_margin():
    head = make_head(margin=arcface(1.5))
    own = head.weight.detach().clone()
    labels = torch.tensor([0, 1, 2, 0, -1])  # the fourth is at the center of another
    result = head(own, labels)
    assert result.accuracy.item() == pytest.approx(3 / 4)
    assert head(torch.zeros(2, 8), labels[:2]).accuracy.item() == 0  # near to none
    assert head(own, torch.full((5,), -1)).accuracy.item() == 0


def test_the_details_are_what_the_rule_knows():
    torch.manual_seed(1)
    head, (embeddings, labels) = MarginHead(8, 5, build_rule("adaface", scale=16)), make_batch()
    result = head(embeddings, labels)
    assert list(result.details) == ["norm_mean", "norm_deviation"]
    assert all(not value.requires_grad for value in result.details.values())
    assert make_head()(embeddings, labels).details == {}


def test_only_the_loss_carries_a_gradient():
    result = make_head()(*make_batch())
    assert result.loss.requires_grad
    others = (result.target_angle_rad, result.share_beyond_pi, result.mean_norm, result.accuracy)
    assert not any(tensor.requires_grad for tensor in others)
    assert all(tensor.shape == () for tensor in (result.loss, *others))


# ── a new head ──


def test_a_new_head_holds_one_center_per_identity_of_deviation_001():
    head = MarginHead(512, 300, FixedMargin(arcface(), 64))
    assert head.weight.shape == (300, 512)
    assert head.weight.dtype == torch.float32
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert list(head.state_dict()) == ["weight"]
    assert "300" in repr(head)
    assert "scale=64" in repr(head)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((0, 5, 1), "5 identities and 0 dimensions"),
        ((8, 0, 1), "0 identities and 8 dimensions"),
        ((8, 5, 0), "0 centers each"),
    ],
)
def test_a_head_of_nothing_is_refused(sizes: tuple[int, int, int], words: str):
    dimension, n_identities, subcenters = sizes
    with pytest.raises(LearningError, match=words):
        MarginHead(dimension, n_identities, Rule(16), subcenters=subcenters)


def test_a_rule_for_other_identities_is_refused():
    rule = FixedMargin(arcface(), 16, margins_by_class=torch.full((4,), 0.3))
    assert MarginHead(8, 4, rule).n_identities == 4
    with pytest.raises(LearningError, match="margins of 4 identities, a head of 5"):
        MarginHead(8, 5, rule)


def test_the_head_says_psi_as_apply_margin_does():
    head, (embeddings, labels) = make_head(2, scale=1.0), make_batch(1, 2)
    cosines = (normalize_rows(embeddings) @ normalize_rows(head.weight).T).detach()[0]
    logits = cosines.clone()
    logits[labels] = apply_margin(cosines[labels], arcface())
    expected = torch.nn.functional.cross_entropy(logits[None], labels)
    assert head(embeddings, labels).loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_page_explains_every_diagnostic():
    page = Path(__file__).parents[2].joinpath("docs", "losses.md").read_text(encoding="utf-8")
    missing = [field.name for field in fields(HeadResult) if f"| `{field.name}` |" not in page]
    assert missing == []
