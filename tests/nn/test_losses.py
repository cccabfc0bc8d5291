"""What holds for every loss of the table: exact gradients, no NaN, float32, state, strength."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.elasticface import ElasticFace
from arcwise.nn.fixed import FixedMargin
from arcwise.nn.head import HeadResult, MarginHead
from arcwise.nn.losses import LOSSES, build_rule
from arcwise.nn.margin import Margin
from arcwise.nn.rule import Observed, Rule

ANGULAR = [name for name in LOSSES if build_rule(name, scale=16).is_angular]
DIRECTIONAL = [name for name in ANGULAR if name not in {"a_softmax", "magface"}]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("arcface", {"beyond_pi": "clip"}),
    ("arcface", {"easy_margin": True}),
    ("arcface", {"beyond_pi": "none", "gradient": "straight_through"}),
    ("magface", {"easy_margin": False}),
    ("elasticface", {"kind": "cos", "ranked": True}),
]


def make_head(name: str, n: int = 5, *, options: Any = None, **others: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, n, build_rule(name, scale=16.0, options=options or {}), **others)


def make_batch(n_samples: int = 6, n: int = 5) -> tuple[Tensor, Tensor]:
    """Embeddings as long as MagFace expects them: 12 and more."""
    generator = torch.Generator().manual_seed(2)
    embeddings = torch.nn.functional.normalize(torch.randn(n_samples, 8, generator=generator))
    embeddings = embeddings * torch.linspace(12, 60, n_samples)[:, None]
    return embeddings.requires_grad_(), torch.randint(0, n, (n_samples,), generator=generator)


def check_finite(head: MarginHead, embeddings: Tensor, result: HeadResult) -> None:
    result.loss.backward()
    numbers = [result.loss, result.target_angle_rad, result.share_beyond_pi, result.mean_norm]
    numbers += [result.accuracy, *result.details.values(), *head.buffers()]
    assert embeddings.grad is not None
    assert head.weight.grad is not None
    assert all(torch.isfinite(t).all() for t in (*numbers, embeddings.grad, head.weight.grad))


# ── the gradient ──


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "adaface"])
@pytest.mark.parametrize("options", [{}, {"subcenters": 2, "focal_gamma": 2.0}], ids=repr)
def test_the_gradient_of_the_whole_head_is_exact(name: str, options: dict[str, Any]):
    """AdaFace, whose lengths pass none on purpose, has its own test."""
    head = make_head(name, 3, **options).double().eval()
    embeddings, labels = make_batch(4, 3)
    x = embeddings.detach().double().requires_grad_()
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels, 0.8))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))


@pytest.mark.parametrize("name", DIRECTIONAL)
def test_only_directions_count_but_for_losses_of_lengths(name: str):
    head, (embeddings, labels) = make_head(name), make_batch()
    head(embeddings, labels).loss.backward()
    assert embeddings.grad is not None
    assert (embeddings.grad * embeddings).sum(dim=1).abs().max() < 1e-5


# ── corners ──


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
@pytest.mark.parametrize("length", [1e-3, 30.0, 1e4])
def test_embeddings_on_and_opposite_of_their_centers_are_finite(
    name: str, options: Any, length: float
):
    for strength in (0.0, 0.5, 1.0):
        head = make_head(name, options=options)
        centers = torch.nn.functional.normalize(head.weight.detach()[:, :8])
        embeddings = (length * torch.cat((centers, -centers))).requires_grad_()
        check_finite(head, embeddings, head(embeddings, torch.arange(10) % 5, strength))


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
def test_the_other_corners_are_finite(name: str, options: Any):
    embeddings, labels = make_batch()
    with torch.no_grad():
        embeddings[3] = 0
    elsewhere = labels.clone()
    elsewhere[[0, 4]] = -1
    one_row = embeddings.detach()[:1].clone().requires_grad_()
    none = torch.zeros(0, 8, requires_grad=True)
    for n, x, y in (
        (5, embeddings, labels),  # one embedding is zero
        (5, embeddings, elsewhere),  # some do not count
        (5, embeddings, torch.full_like(labels, -1)),  # none counts
        (1, embeddings, torch.zeros_like(labels)),  # one identity alone
        (5, one_row, labels[:1]),  # a batch of one
        (5, none, labels[:0]),  # and of none
    ):
        head = make_head(name, n, options=options)
        for _ in range(2):
            x.grad = None
            check_finite(head, x, head(x, y))


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
def test_centers_that_are_zero_or_equal_are_finite(name: str, options: Any):
    head, (embeddings, labels) = make_head(name, options=options), make_batch()
    with torch.no_grad():
        head.weight[4] = head.weight[0]
        head.weight[2] = 0
    check_finite(head, embeddings, head(embeddings, labels))


@pytest.mark.parametrize(
    ("name", "options"), [row for row in VARIANTS if row[0] != "elasticface"], ids=repr
)
def test_a_sample_that_does_not_count_changes_nothing_of_the_others(name: str, options: Any):
    """ElasticFace's margins are drawn by the place in the batch; see its own test."""
    embeddings, labels = make_batch()
    some = labels.clone()
    some[[1, 4]] = -1
    kept = some >= 0
    first = make_head(name, options=options)(embeddings, some)
    second = make_head(name, options=options)(embeddings[kept], labels[kept])
    assert first.loss.item() == pytest.approx(second.loss.item(), rel=1e-5)
    assert first.accuracy.item() == pytest.approx(second.accuracy.item())
    assert first.target_angle_rad.item() == pytest.approx(second.target_angle_rad.item())
    for key, value in second.details.items():
        assert first.details[key].item() == pytest.approx(value.item(), rel=1e-5)


# ── precision ──


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_all_of_it_is_float32_under_autocast(name: str, options: Any, dtype: torch.dtype):
    embeddings, labels = make_batch()
    half = embeddings.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        head = make_head(name, options=options)
        result = head(half, labels)
    wide = make_head(name, options=options)(half.detach().float(), labels)
    assert torch.equal(result.loss, wide.loss)
    assert result.loss.dtype == torch.float32
    check_finite(head, half, result)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
def test_float64_stays_float64_and_float32_is_near_it(name: str, options: Any):
    embeddings, labels = make_batch()
    double = make_head(name, options=options).double()(embeddings.double(), labels)
    single = make_head(name, options=options)(embeddings, labels)
    assert double.loss.dtype == torch.float64
    assert single.loss.item() == pytest.approx(double.loss.item(), rel=1e-5)


# ── state ──


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
def test_a_run_that_goes_on_has_the_same_next_losses(name: str, options: Any):
    head, (embeddings, labels) = make_head(name, options=options), make_batch()
    for _ in range(3):
        head(embeddings, labels)
    other = make_head(name, options=options)
    other.load_state_dict(head.state_dict())
    for _ in range(2):
        assert torch.equal(other(embeddings, labels).loss, head(embeddings, labels).loss)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=repr)
def test_validation_changes_nothing_and_draws_nothing(name: str, options: Any):
    head, (embeddings, labels) = make_head(name, options=options), make_batch()
    head(embeddings, labels)
    kept = {key: value.clone() for key, value in head.state_dict().items()}
    head.eval()
    first, second = head(embeddings, labels), head(embeddings, labels)
    assert torch.equal(first.loss, second.loss)
    assert all(torch.equal(value, kept[key]) for key, value in head.state_dict().items())


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_rule_says_of_itself_is_detached_and_lasts(name: str):
    head, (embeddings, labels) = make_head(name), make_batch()
    first = head(embeddings, labels).details
    kept = {key: value.item() for key, value in first.items()}
    head(2 * embeddings, labels)
    assert {key: value.item() for key, value in first.items()} == kept
    assert all(not value.requires_grad and value.shape == () for value in first.values())


# ── strength ──


@pytest.mark.parametrize("name", ANGULAR)
def test_strength_0_is_no_margin(name: str):
    head, (embeddings, labels) = make_head(name), make_batch()
    bare = make_head("norm_softmax")(embeddings, labels).loss
    if name == "a_softmax":  # its scale is each embedding's length
        cosines = (
            torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(head.weight).T
        )
        logits = cosines * embeddings.norm(dim=1, keepdim=True)
        bare = torch.nn.functional.cross_entropy(logits, labels)
    if name == "magface":
        bare = bare + head.rule.find_penalty(embeddings.norm(dim=1))
    assert head(embeddings, labels, 0.0).loss.item() == pytest.approx(bare.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_strength_beyond_0_to_1_is_refused(name: str):
    head, (embeddings, labels) = make_head(name), make_batch()
    for strength in (-0.1, 1.5, math.nan):
        with pytest.raises(LearningError, match=f"got {strength}"):
            head(embeddings, labels, strength)


@pytest.mark.parametrize("name", [name for name in ANGULAR if name != "norm_softmax"])
def test_a_stronger_margin_makes_a_larger_loss(name: str):
    options = {"start": 5.0} if name == "a_softmax" else {}
    losses = []
    for strength in (0.0, 0.5, 1.0):
        head, (embeddings, labels) = make_head(name, options=options), make_batch(40)
        losses.append(head(embeddings, labels, strength).loss.item())
    assert losses == sorted(losses)
    assert losses[2] > losses[0]


# ── learning ──


@pytest.mark.parametrize("name", LOSSES)
def test_a_few_steps_bring_embeddings_to_their_centers(name: str):
    head, (embeddings, labels) = make_head(name), make_batch(10)
    optimizer = torch.optim.Adam([embeddings, head.weight], lr=0.3)
    first = head(embeddings, labels)
    for _ in range(60):
        optimizer.zero_grad()
        head(embeddings, labels).loss.backward()
        optimizer.step()
    last = head(embeddings, labels)
    assert last.loss < 0.5 * first.loss
    assert last.accuracy.item() == 1


# ── the table ──


@pytest.mark.parametrize("name", LOSSES)
def test_the_table_repeats_the_defaults_of_the_builders(name: str):
    loss = LOSSES[name]
    known = dict(inspect.signature(loss.build).parameters)
    margin = known.pop("margin", None)
    assert (known.pop("scale", None) is not None) == loss.has_scale
    assert (known.pop("margins_by_class", None) is not None) == loss.takes_class_margins
    assert {key: value.default for key, value in known.items()} == dict(loss.options)
    assert (margin is not None) == (loss.margin is not None)
    if margin is not None and margin.default is not None:
        assert margin.default == loss.margin
    assert loss.about


def test_the_options_reach_the_rule():
    rule = build_rule("arcface", margin=0.3, scale=32, options={"beyond_pi": "clip"})
    assert isinstance(rule, FixedMargin)
    assert (rule.margin, rule.scale) == (Margin(m2=0.3, beyond_pi="clip"), 32)
    combined = build_rule("combined", margin=[0.9, 0.4, 0.15], scale=64)
    assert isinstance(combined, FixedMargin)
    assert combined.margin == Margin(0.9, 0.4, 0.15, beyond_pi="extend")
    elastic = build_rule("elasticface", scale=64, options={"kind": "cos", "seed": 3})
    assert isinstance(elastic, ElasticFace)
    assert (elastic.margin.m3, elastic.seed) == (0.35, 3)


@pytest.mark.parametrize(
    ("name", "given", "words", "hint"),
    [
        ("arcfase", {}, "no loss of the name 'arcfase'", "did you mean arcface"),
        ("triplet!", {}, "no loss of the name 'triplet!'", "softmax, norm_softmax"),
        ("arcface", {"options": {"beyondpi": "none"}}, "no option 'beyondpi'", "mean beyond_pi"),
        ("arcface", {"options": {"sigma": 1.0}}, "arcface has no option 'sigma'", "beyond_pi"),
        ("softmax", {"options": {"sigma": 1.0}}, "softmax has no option 'sigma'", "takes none"),
        ("arcface", {"options": {"easy_margin": 1}}, "easy_margin of arcface is 1", "true or"),
        ("arcface", {"options": {"beyond_pi": 2}}, "beyond_pi of arcface is 2", "a word"),
        ("adaface", {"options": {"h": True}}, "h of adaface is True", "a number"),
        ("adaface", {"options": {"h": -1}}, "h must be above 0, got -1", "0.333"),
        ("arcface", {"margin": 28.6}, r"got 28\.6", "radians"),
        ("arcface", {"margin": [1.0, 0.5, 0.0]}, r"takes 1 number\(s\) as its margin", "0.5"),
        ("combined", {"margin": 0.5}, r"takes 3 number\(s\) as its margin, got 0\.5", "1.0, 0.3"),
        ("combined", {"margin": [1.0, 0.5]}, r"takes 3 number\(s\)", "1.0, 0.3"),
        ("magface", {"margin": 0.5}, "magface takes no margin, got 0.5", "least_margin"),
        ("softmax", {"margin": 0.5}, "softmax takes no margin", "none"),
        ("arcface", {"scale": 0.0}, r"scale must be above 0, got 0\.0", "64"),
        ("softmax", {"scale": math.nan}, "scale must be above 0, got nan", "64"),
        ("adaface", {"margins_by_class": torch.ones(2)}, "takes no margins of", "arcface and"),
    ],
)
def test_what_a_loss_does_not_take_is_refused(
    name: str, given: dict[str, Any], words: str, hint: str
):
    with pytest.raises(LearningError, match=words) as caught:
        build_rule(name, **{"scale": 16.0, **given})
    assert hint in (caught.value.hint or "")


def test_the_page_names_every_loss_and_option():
    page = Path(__file__).parents[2].joinpath("docs", "losses.md").read_text(encoding="utf-8")
    words = {f"`{name}`" for name in LOSSES}
    words |= {f"`{key}`" for loss in LOSSES.values() for key in loss.options}
    assert sorted(word for word in words if word not in page) == []


# ── the seam ──


def test_a_rule_without_changes_is_the_normalized_softmax():
    rule = Rule(7.0)
    cosines = torch.tensor([0.5, 1.1])
    batch = Observed(cosines, torch.ones(2), torch.zeros(2, dtype=torch.int64), 1.0)
    assert torch.equal(rule.find_psi(cosines, torch.ones(2), batch, torch.arange(2)), cosines)
    assert rule.find_scale(torch.ones(2)) == 7
    assert rule.find_penalty(torch.ones(2)) is None
    assert rule.find_limit(batch) == math.pi
    assert rule.describe() == {}


@pytest.mark.parametrize("name", LOSSES)
def test_a_rule_has_a_penalty_or_says_that_it_has_none(name: str):
    rule = build_rule(name, scale=16)
    penalty = rule.find_penalty(torch.tensor([20.0, 30.0]))
    assert (penalty is not None) == rule.has_penalty
    nothing = rule.find_penalty(torch.zeros(0))
    assert nothing is None or nothing.item() == 0
