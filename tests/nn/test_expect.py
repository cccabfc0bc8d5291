"""The loss of the first step is known beforehand, for every loss."""

from __future__ import annotations

import math

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.expect import automatic_scale, expected_first_loss
from arcwise.nn.fixed import FixedMargin
from arcwise.nn.head import MarginHead
from arcwise.nn.losses import LOSSES, build_rule
from arcwise.nn.margin import Margin, arcface, cosface
from arcwise.nn.rule import Rule

CM1 = Margin(1, 0.3, 0.2)
A_SOFTMAX = Margin(4, beyond_pi="extend")


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
    rule = FixedMargin(margin, scale)
    head = MarginHead(512, n_identities, rule)
    labels = torch.randint(0, n_identities, (256,))
    result = head(torch.randn(256, 512), labels)
    expected = expected_first_loss(n_identities, rule, 512)
    assert result.loss.item() == pytest.approx(expected, abs=allowed)
    assert result.target_angle_rad.item() == pytest.approx(math.pi / 2, abs=0.01)
    assert result.share_beyond_pi.item() == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_loss_begins_as_expected(name: str, strength: float):
    torch.manual_seed(4)
    rule = build_rule(name, scale=16)
    expected = expected_first_loss(1000, rule, 512, strength=strength)
    head = MarginHead(512, 1000, rule)
    labels = torch.randint(0, 1000, (256,))
    found = head(torch.randn(256, 512), labels, strength).loss.item()
    assert found == pytest.approx(expected, abs=0.25)


def test_the_expected_first_loss_is_the_closed_form_of_the_papers():
    closed = math.log(9999) + 64**2 / 1024
    for margin, psi in ((arcface(), -math.sin(0.5)), (cosface(), -0.4), (A_SOFTMAX, -3)):
        found = expected_first_loss(10_000, FixedMargin(margin, 64), 512)
        assert found == pytest.approx(closed - 64 * psi)
    assert expected_first_loss(2, Rule(1e-3), 512) == pytest.approx(math.log(2))
    assert expected_first_loss(1, FixedMargin(arcface(), 64), 512) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_large_scale_in_few_dimensions_is_finite(name: str):
    """No cosine is beyond 1, so that the mean of exp(s c) is at most exp(s)."""
    rule = build_rule(name, scale=64)
    assert 0 < expected_first_loss(100, rule, 4) < math.log(100) + 64 * 5 + 35


def test_margins_of_identities_are_averaged():
    own = torch.tensor([0.1, 0.5, 0.3])
    rule = FixedMargin(arcface(), 16, margins_by_class=own)
    each = [expected_first_loss(3, FixedMargin(arcface(m), 16), 512) for m in own.tolist()]
    assert expected_first_loss(3, rule, 512) == pytest.approx(sum(each) / 3)


def test_looking_ahead_changes_no_rule():
    rule = build_rule("elasticface", scale=16)
    expected_first_loss(100, rule, 512)
    assert rule.training
    assert int(rule.state_dict()["n_drawn"]) == 0


def test_the_automatic_scale_grows_with_the_identities_from_2():
    assert automatic_scale(1) == automatic_scale(2) == automatic_scale(5) == 2
    assert automatic_scale(1001) == pytest.approx(math.sqrt(2) * math.log(1000))


def test_nothing_is_expected_of_no_identities():
    with pytest.raises(LearningError, match="0 identities"):
        automatic_scale(0)
    for n_identities, dimension in ((0, 8), (5, 0)):
        with pytest.raises(LearningError, match=f"{n_identities} identities and {dimension} dim"):
            expected_first_loss(n_identities, Rule(16), dimension)
    with pytest.raises(LearningError, match=r"got 1\.5"):
        expected_first_loss(5, Rule(16), 8, strength=1.5)
