"""The loss is the paper's, so is its gradient, and no batch turns it into NaN."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.head import (
    HeadResult,
    MarginHead,
    automatic_scale,
    expected_first_loss,
    normalize_rows,
)
from arcwise.nn.margin import Margin, apply_margin, arcface, cosface

CM1 = Margin(1, 0.3, 0.2)
A_SOFTMAX = Margin(4, beyond_pi="extend")
SIX = (arcface(), Margin(m2=0.5, beyond_pi="none"), cosface(), CM1, A_SOFTMAX, Margin())


def make_head(n: int = 5, *, margin: Margin | None = None, scale: float = 16.0) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, n, margin=margin or arcface(), scale=scale)


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
    numbers = (result.loss, result.target_angle_rad, result.share_beyond_pi, result.mean_norm)
    return all(bool(torch.isfinite(t).all()) for t in (*numbers, *gradients(head, embeddings)))


# ── against a loop from the paper ──


def naive_loss(x: np.ndarray, weight: np.ndarray, labels: list[int], head: MarginHead) -> float:
    """-log softmax of s psi(theta_y) among s cos(theta_j), one sample after the other, float64."""
    margin, losses = head.margin, []
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
            logits.append(head.scale * (psi - margin.m3 if j == label else cosine))
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


# ── what it costs ──


def test_backward_keeps_one_matrix_of_all_samples_by_all_identities():
    head, (embeddings, labels) = make_head(), make_batch()
    kept = set()

    def remember(tensor: Tensor) -> Tensor:
        if tensor.shape == (6, 5):
            kept.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = head(embeddings, labels)
    result.loss.backward()
    assert len(kept) == 1


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch):
    """A meta tensor has no values: whatever asks for one raises. Autocast does not know it."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    head = make_head().to("meta")
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


def test_only_the_loss_carries_a_gradient():
    result = make_head()(*make_batch())
    assert result.loss.requires_grad
    others = (result.target_angle_rad, result.share_beyond_pi, result.mean_norm)
    assert not any(tensor.requires_grad for tensor in others)
    assert all(tensor.shape == () for tensor in (result.loss, *others))


# ── a new head ──


def test_a_new_head_holds_one_center_per_identity_of_deviation_001():
    head = MarginHead(512, 300, margin=arcface(), scale=64)
    assert head.weight.shape == (300, 512)
    assert head.weight.dtype == torch.float32
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert list(head.state_dict()) == ["weight"]
    assert "300" in repr(head)
    assert "scale=64" in repr(head)


@pytest.mark.parametrize(
    ("n_identities", "scale", "margin", "allowed"),
    [
        (100, 64.0, arcface(), 1.5),  # few identities: the true mean is 0.6 lower
        (1000, 64.0, cosface(), 0.8),
        (1000, automatic_scale(1000), arcface(), 0.1),
        (1000, 16.0, CM1, 0.2),
    ],
)
def test_the_first_loss_is_as_expected(
    n_identities: int, scale: float, margin: Margin, allowed: float
):
    torch.manual_seed(4)
    head = MarginHead(512, n_identities, margin=margin, scale=scale)
    labels = torch.randint(0, n_identities, (256,))
    result = head(torch.randn(256, 512), labels)
    expected = expected_first_loss(n_identities, margin, scale, 512)
    assert result.loss.item() == pytest.approx(expected, abs=allowed)
    assert result.target_angle_rad.item() == pytest.approx(math.pi / 2, abs=0.01)
    assert result.share_beyond_pi.item() == 0


def test_the_expected_first_loss_is_the_closed_form_of_the_papers():
    closed = math.log(9999) + 64**2 / 1024
    assert expected_first_loss(10_000, arcface(), 64, 512) == pytest.approx(
        closed + 64 * math.sin(0.5)
    )
    assert expected_first_loss(10_000, cosface(), 64, 512) == pytest.approx(closed + 64 * 0.4)
    assert expected_first_loss(10_000, A_SOFTMAX, 64, 512) == pytest.approx(closed + 64 * 3)
    assert expected_first_loss(2, Margin(), 1e-3, 512) == pytest.approx(math.log(2))
    assert expected_first_loss(1, arcface(), 64, 512) == 0


def test_the_automatic_scale_grows_with_the_identities_from_2():
    assert automatic_scale(1) == automatic_scale(2) == automatic_scale(5) == 2
    assert automatic_scale(1001) == pytest.approx(math.sqrt(2) * math.log(1000))


@pytest.mark.parametrize(
    ("dimension", "n_identities", "scale", "words"),
    [
        (0, 5, 64.0, "5 identities and 0 dimensions"),
        (8, 0, 64.0, "0 identities and 8 dimensions"),
        (8, 5, 0.0, r"above 0, got 0\.0"),
        (8, 5, math.nan, "above 0, got nan"),
        (8, 5, math.inf, "above 0, got inf"),
    ],
)
def test_a_head_of_nothing_is_refused(dimension: int, n_identities: int, scale: float, words: str):
    with pytest.raises(LearningError, match=words):
        MarginHead(dimension, n_identities, margin=arcface(), scale=scale)
    with pytest.raises(LearningError, match=words):
        expected_first_loss(n_identities, arcface(), scale, dimension)


def test_no_identities_have_no_scale():
    with pytest.raises(LearningError, match="0 identities"):
        automatic_scale(0)


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
