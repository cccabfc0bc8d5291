"""ElasticFace's margins are normal, everybody draws the same, and the hardest get the largest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.elasticface import ElasticFace
from arcwise.nn.head import MarginHead
from arcwise.nn.losses import build_rule
from arcwise.nn.rule import Observed


def make_head(**options: Any) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, 5, ElasticFace(16, **options)).double()


def make_batch(n: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = 3 * torch.randn(n, 8, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.randint(0, 5, (n,), generator=generator)


def observe(n: int, *, cosines: Tensor | None = None, labels: Tensor | None = None) -> Observed:
    cosines = torch.zeros(n) if cosines is None else cosines
    labels = torch.zeros(n, dtype=torch.int64) if labels is None else labels
    return Observed(cosines, torch.ones(n), labels, 1.0)


def naive_loss(
    x: np.ndarray, weight: np.ndarray, labels: list[int], margins: list[float], *, kind: str
) -> float:
    losses = []
    for row, label, m in zip(x, labels, margins, strict=True):
        cosines = [row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in weight]
        theta = math.acos(cosines[label])
        logits = [16 * c for c in cosines]
        if kind == "cos":
            logits[label] = 16 * (cosines[label] - m)
        elif theta + m > math.pi:
            logits[label] = 16 * (cosines[label] - m * math.sin(m))
        else:
            logits[label] = 16 * math.cos(theta + m)
        losses.append(math.log(sum(math.exp(v) for v in logits)) - logits[label])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", ["arc", "cos"])
@pytest.mark.parametrize("ranked", [False, True])
def test_the_loss_equals_the_naive_loop_with_the_margins_drawn(kind: str, ranked: bool):
    head, (x, labels) = make_head(kind=kind, ranked=ranked, sigma=0.1), make_batch()
    units, centers = (torch.nn.functional.normalize(t.detach()) for t in (x, head.weight))
    cosines = (units * centers[labels]).sum(dim=1)
    numbers = x.detach().numpy(), head.weight.detach().numpy(), labels.tolist()
    seen = set()
    for _ in range(3):
        result = head(x, labels)
        margins = head.rule.draw_margins(observe(9, cosines=cosines, labels=labels)).tolist()
        expected = naive_loss(*numbers, margins, kind=kind)
        assert result.loss.item() == pytest.approx(expected, rel=1e-7)  # drawn in float32
        seen.add(result.loss.item())
    assert len(seen) == 3


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_the_gradient_is_the_exact_one_of_the_margins_drawn(kind: str):
    head, (x, labels) = make_head(kind=kind), make_batch()
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        head.rule.n_drawn.zero_()
        return torch.func.functional_call(head, {"weight": weight}, (x, labels)).loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))


def test_margins_are_normal_around_their_mean():
    rule = ElasticFace(16, sigma=0.05)
    margins = rule.draw_margins(observe(100_000))
    assert margins.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert margins.std().item() == pytest.approx(0.05, rel=0.01)
    within = ((margins - 0.5).abs() < 0.05).float().mean().item()
    assert within == pytest.approx(0.6827, abs=0.005)  # one deviation of a normal distribution


def test_each_batch_and_each_seed_draws_other_margins():
    rule, draws = ElasticFace(16), []
    for _ in range(200):
        rule.observe(observe(64))
        draws.append(rule.draw_margins(observe(64)))
    drawn = torch.stack(draws)
    assert len(set(drawn[:, 0].tolist())) == 200
    assert drawn.T.corrcoef().triu(1).abs().max() < 0.35  # 5 deviations of 1 / sqrt(200)
    others = [ElasticFace(16, seed=seed).draw_margins(observe(64)) for seed in (1, 2)]
    assert not torch.equal(*others)


def test_the_same_seed_and_batch_draw_the_same_whatever_torch_drew_meanwhile():
    draws = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        rule = ElasticFace(16, seed=7)
        for _ in range(5):
            rule.observe(observe(8))
            torch.randn(3)
        before = torch.get_rng_state()
        draws.append(rule.draw_margins(observe(8)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*draws)


def test_the_larger_margins_go_to_the_harder_samples():
    cosines = torch.tensor([0.9, -0.2, 0.3, 0.7, 0.1])
    plain = ElasticFace(16, sigma=0.1).draw_margins(observe(5))
    ranked = ElasticFace(16, sigma=0.1, ranked=True).draw_margins(observe(5, cosines=cosines))
    by_hardness = [ranked[i].item() for i in (1, 4, 2, 3, 0)]
    assert by_hardness == sorted(plain.tolist(), reverse=True)
    order = cosines.argsort()  # what the published code uses for the rank
    assert plain.sort(descending=True).values[order].tolist() != ranked.tolist()


def test_samples_that_do_not_count_take_none_of_the_ranked_margins():
    labels = torch.tensor([0, -1, 0, 0, -1])
    cosines = torch.tensor([0.9, 0.0, 0.3, 0.7, 0.0])
    plain = ElasticFace(16, sigma=0.1).draw_margins(observe(5))
    rule = ElasticFace(16, sigma=0.1, ranked=True)
    ranked = rule.draw_margins(observe(5, cosines=cosines, labels=labels))
    counts = labels >= 0
    assert sorted(ranked[counts].tolist()) == sorted(plain[counts].tolist())
    assert ranked[2] > ranked[3] > ranked[0]


def test_validation_uses_the_mean_and_draws_nothing():
    for kind, name, margin in (("arc", "arcface", 0.5), ("cos", "cosface", 0.35)):
        head, (x, labels) = make_head(kind=kind), make_batch()
        head.eval()
        torch.manual_seed(1)
        plain = MarginHead(8, 5, build_rule(name, margin=margin, scale=16)).double()
        assert torch.equal(head(x, labels).loss, plain(x, labels).loss)
        assert head.rule.n_drawn.item() == 0


def test_a_run_that_goes_on_draws_the_same_next_margins():
    head, (x, labels) = make_head(), make_batch()
    for _ in range(4):
        head(x, labels)
    other = make_head()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(x, labels).loss, head(x, labels).loss)


def test_margins_stay_in_range_however_wide_they_are_drawn():
    arc = ElasticFace(16, sigma=5.0).draw_margins(observe(1000))
    assert arc.min() == 0
    assert arc.max().item() == pytest.approx(math.pi / 2)
    cos = ElasticFace(16, kind="cos", sigma=5.0).draw_margins(observe(1000))
    assert cos.min() == 0
    assert cos.max() > 5


def test_the_limit_is_where_each_angle_reaches_pi_with_its_margin():
    rule, batch = ElasticFace(16), observe(6)
    limit = rule.find_limit(batch)
    assert isinstance(limit, Tensor)
    assert limit.tolist() == pytest.approx((math.pi - rule.draw_margins(batch)).tolist())
    assert ElasticFace(16, kind="cos").find_limit(batch) == math.pi
    assert rule.eval().find_limit(batch) == math.pi - 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "sphere"}, "no kind of the name 'sphere'"),
        ({"sigma": -0.1}, r"0 or more, got -0\.1"),
        ({"seed": 1.5}, r"0 or more, got 1\.5"),
        ({"seed": -1}, "0 or more, got -1"),
        ({"margin": 2.0}, r"got 2\.0"),
        ({"beyond_pi": "linaer"}, "no beyond_pi of the name"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        ElasticFace(16, **wrong)
    assert caught.value.hint
