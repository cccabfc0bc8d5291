"""A fixed margin is the same for all samples, or the one of each sample's identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.fixed import FixedMargin, adaptive_margins
from arcwise.nn.head import MarginHead
from arcwise.nn.losses import build_rule
from arcwise.nn.margin import Margin, arcface, cosface
from arcwise.nn.rule import Observed

OWN = torch.tensor([0.1, 0.5, 0.25, 0.4])


def make_head(rule: FixedMargin) -> MarginHead:
    torch.manual_seed(1)
    return MarginHead(8, 4, rule).double()


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    embeddings = 3 * torch.randn(7, 8, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.tensor([0, 1, 2, 3, 3, 0, 2])


def naive_loss(x: np.ndarray, weight: np.ndarray, labels: list[int], own: list[float]) -> float:
    """ArcFace of scale 16 with margin own[y], linear beyond pi, one sample after the other."""
    losses = []
    for row, label in zip(x, labels, strict=True):
        cosines = [row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in weight]
        margin = own[label]
        if math.acos(cosines[label]) + margin > math.pi:
            cosines[label] -= margin * math.sin(margin)
        else:
            cosines[label] = math.cos(math.acos(cosines[label]) + margin)
        logits = [16 * c for c in cosines]
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
    return sum(losses) / len(losses)


def test_each_identity_has_its_own_margin():
    head, (x, labels) = (
        make_head(FixedMargin(arcface(), 16, margins_by_class=OWN.double())),
        make_batch(),
    )
    expected = naive_loss(
        x.detach().numpy(), head.weight.detach().numpy(), labels.tolist(), OWN.tolist()
    )
    assert head(x, labels).loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["arcface", "cosface"])
@pytest.mark.parametrize("margin", [None, 0.0, 0.2])
def test_equal_margins_of_identities_are_the_margin(name: str, margin: float | None):
    x, labels = make_batch()
    plain = make_head(build_rule(name, margin=0.35, scale=16))
    own = torch.full((4,), 0.35, dtype=torch.float64)
    each = make_head(build_rule(name, margin=margin, scale=16, margins_by_class=own))
    for strength in (0.0, 0.5, 1.0):
        first, second = plain(x, labels, strength), each(x, labels, strength)
        assert second.loss.item() == pytest.approx(first.loss.item(), rel=1e-7)
        assert second.share_beyond_pi == first.share_beyond_pi


def test_the_gradient_with_margins_of_identities_is_the_exact_one():
    head, (x, labels) = make_head(FixedMargin(arcface(), 16, margins_by_class=OWN)), make_batch()
    weight = head.weight.detach().clone().requires_grad_()

    def find_loss(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.func.functional_call(head, {"weight": weight}, (x, labels))
        return found.loss

    assert torch.autograd.gradcheck(find_loss, (x, weight))


def test_a_sample_that_does_not_count_needs_no_margin():
    head, (x, labels) = make_head(FixedMargin(arcface(), 16, margins_by_class=OWN)), make_batch()
    some = labels.clone()
    some[2] = -1
    kept = some >= 0
    assert head(x, some).loss.item() == pytest.approx(head(x[kept], labels[kept]).loss.item())


def test_the_limit_is_where_each_angle_reaches_pi_with_its_margin():
    labels = torch.tensor([1, 0, -1])
    batch = Observed(torch.zeros(3), torch.ones(3), labels, 0.5)
    limit = FixedMargin(arcface(), 16, margins_by_class=OWN).find_limit(batch)
    assert isinstance(limit, Tensor)
    assert limit[:2].tolist() == pytest.approx([math.pi - 0.25, math.pi - 0.05])
    assert FixedMargin(arcface(), 16).find_limit(batch) == math.pi - 0.25
    of_cosface = FixedMargin(cosface(), 16, margins_by_class=OWN, in_place_of="m3")
    assert of_cosface.find_limit(batch) == math.pi
    doubled = FixedMargin(Margin(2, beyond_pi="extend"), 16, margins_by_class=OWN)
    whole = Observed(torch.zeros(3), torch.ones(3), labels, 1.0)
    assert doubled.find_limit(whole)[0].item() == pytest.approx((math.pi - 0.5) / 2)


def test_margins_of_identities_are_kept_in_the_checkpoint():
    rule = FixedMargin(arcface(), 16, margins_by_class=OWN)
    other = FixedMargin(arcface(), 16, margins_by_class=torch.zeros(4))
    other.load_state_dict(rule.state_dict())
    assert torch.equal(other.margins_by_class, OWN)
    assert FixedMargin(arcface(), 16).state_dict() == {}
    assert "4 margins of identities" in repr(rule)


@pytest.mark.parametrize(
    ("own", "place", "words"),
    [
        (torch.tensor([0.5, 1.6]), "m2", r"margin of identity 1 is 1\.6"),
        (torch.tensor([-0.1, 0.5]), "m3", r"margin of identity 0 is -0\.1"),
        (torch.tensor([0.5, math.nan]), "m3", "margin of identity 1 is nan"),
        (torch.tensor([math.inf]), "m3", "margin of identity 0 is inf"),
        (torch.zeros(2, 2), "m2", r"of shape \(2, 2\)"),
        (torch.zeros(0), "m2", r"of shape \(0,\)"),
    ],
)
def test_margins_of_identities_out_of_range_are_refused(own: Tensor, place: Any, words: str):
    with pytest.raises(LearningError, match=words) as caught:
        FixedMargin(arcface(), 16, margins_by_class=own, in_place_of=place)
    assert caught.value.hint


# ── margins by number of photos ──


def naive_adaptive(counts: list[int], least: float, most: float, power: float) -> list[float]:
    rarities = [max(n, 1) ** power for n in counts]
    low, high = min(rarities), max(rarities)
    return [(most - least) * (r - low) / (high - low) + least for r in rarities]


@pytest.mark.parametrize(("least", "most", "power"), [(0.05, 0.5, -0.25), (0.1, 0.3, -1.0)])
def test_adaptive_margins_equal_the_formula(least: float, most: float, power: float):
    counts = [1, 3, 0, 100, 12, 100_000]
    found = adaptive_margins(torch.tensor(counts), least=least, most=most, power=power)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(naive_adaptive(counts, least, most, power), rel=1e-6)


def test_the_rarest_gets_the_largest_margin_and_the_most_frequent_the_least():
    margins = adaptive_margins(torch.tensor([5, 500, 50]))
    assert margins.tolist()[:2] == pytest.approx([0.5, 0.05])
    assert 0.05 < margins[2] < 0.5


def test_identities_with_equally_many_photos_get_the_usual_margin():
    assert adaptive_margins(torch.full((3,), 7)).tolist() == [0.5, 0.5, 0.5]
    assert adaptive_margins(torch.tensor([4]), most=0.3).tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("counts", "options", "words"),
    [
        (torch.zeros(0), {}, r"of shape \(0,\)"),
        (torch.ones(2, 2), {}, r"of shape \(2, 2\)"),
        (torch.tensor([1, -1]), {}, "or below 0"),
        (torch.ones(3), {"least": 0.6}, r"from 0\.6 to 0\.5"),
        (torch.ones(3), {"least": -0.1}, r"from -0\.1 to 0\.5"),
        (torch.ones(3), {"power": 0.25}, r"below 0, got 0\.25"),
        (torch.ones(3), {"power": -math.inf}, "below 0, got -inf"),
    ],
)
def test_what_makes_no_margins_is_refused(counts: Tensor, options: dict[str, float], words: str):
    with pytest.raises(LearningError, match=words) as caught:
        adaptive_margins(counts, **options)
    assert caught.value.hint
