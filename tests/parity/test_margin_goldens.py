"""Psi, its slope and the first loss against numbers worked out beside the code.

Sources: Deng et al., ArcFace (2022), for the combined margins CM1 and CM2; Wang et al., CosFace
(2018); Liu et al., SphereFace (2017), psi of A-Softmax; the fallback beyond pi as in the published
training code of CurricularFace and MagFace, the bare formula as in that of InsightFace; Zhang et
al., AdaCos (2019), for the scale; Kim et al., AdaFace (2022); Meng et al., MagFace (2021); Huang et
al., CurricularFace (2020); margins by number of photos as mmpretrain has them. The numbers were
worked out from those formulae apart from this package.
"""

from __future__ import annotations

import math

import pytest
import torch

from arcwise.nn.adaface import AdaFace
from arcwise.nn.curricularface import CurricularFace
from arcwise.nn.expect import automatic_scale, expected_first_loss
from arcwise.nn.fixed import FixedMargin, adaptive_margins
from arcwise.nn.magface import MagFace
from arcwise.nn.margin import Margin, apply_margin, arcface, cosface
from arcwise.nn.rule import Observed
from arcwise.nn.sphereface import ASoftmax

BARE = Margin(m2=0.5, beyond_pi="none")


@pytest.mark.parametrize(
    ("margin", "cosine", "psi"),
    [
        (arcface(0.5), 0.5, 0.0235966),
        (cosface(0.4), 0.5, 0.1),
        (Margin(1, 0.3, 0.2), 0.5, 0.0217402),
        (Margin(1.35, beyond_pi="extend"), 0.5, 0.1564345),
        (Margin(1.35, beyond_pi="none"), 0.5, 0.1564345),
        (Margin(4, beyond_pi="extend"), 0.5, -1.5),
        (arcface(0.5), -0.95, -1.1897128),
        (BARE, -0.95, -0.9834040),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_psi_is_the_published_one(margin: Margin, cosine: float, psi: float, dtype: torch.dtype):
    found = apply_margin(torch.tensor([cosine], dtype=dtype), margin)
    assert found.item() == pytest.approx(psi, abs=5e-7 if dtype == torch.float32 else 6e-8)


@pytest.mark.parametrize(
    ("angle_deg", "slope", "allowed"),
    [
        (0.03, 916.5, 0.05),
        (1, 28.3, 0.05),
        (5, 6.36, 0.005),
        (10, 3.60, 0.005),
        (30, 1.71, 0.005),
        (60, 1.15, 0.005),
        (90, 0.878, 0.0005),
        (120, 0.60, 0.005),
        (math.degrees(math.pi - 0.5), 0.0, 1e-6),
    ],
)
def test_the_exact_slope_of_arcface_is_sin_of_theta_plus_m_by_sin_theta(
    angle_deg: float, slope: float, allowed: float
):
    cosine = torch.tensor([math.cos(math.radians(angle_deg))], dtype=torch.float64)
    apply_margin(cosine.requires_grad_(), BARE).backward()
    assert cosine.grad is not None
    assert cosine.grad.item() == pytest.approx(slope, abs=allowed)


@pytest.mark.parametrize(
    ("margin", "n_identities", "loss"),
    [
        (arcface(0.5), 100, 39.3),
        (arcface(0.5), 85_742, 46.0),
        (arcface(0.5), 93_431, 46.1),
        (arcface(0.5), 360_232, 47.5),
        (cosface(0.4), 85_742, 41.0),
        (cosface(0.4), 93_431, 41.0),
    ],
)
def test_the_first_loss_is_the_one_such_runs_begin_with(
    margin: Margin, n_identities: int, loss: float
):
    rule = FixedMargin(margin, 64)
    assert expected_first_loss(n_identities, rule, 512) == pytest.approx(loss, abs=0.05)


@pytest.mark.parametrize(("n_identities", "scale"), [(100, 6.5), (10_000, 13.0), (93_431, 16.2)])
def test_the_automatic_scale_is_that_of_adacos(n_identities: int, scale: float):
    assert automatic_scale(n_identities) == pytest.approx(scale, abs=0.05)


# ── at cos theta = 0.5, an angle of 60 degrees ──


def observe(norm: float, strength: float = 1.0) -> Observed:
    cosines = torch.tensor([0.5], dtype=torch.float64)
    return Observed(cosines, torch.tensor([norm]), torch.tensor([0]), strength)


@pytest.mark.parametrize(("norm", "psi"), [(0.0, 0.1232843), (20.0, 0.1), (100.0, -0.0022233)])
def test_adaface_at_low_medium_and_high_quality(norm: float, psi: float):
    rule, batch = AdaFace(64, margin=0.4), observe(norm)
    rule.deviation.fill_(1.0)  # around a mean length of 20
    found = rule.find_psi(batch.cosines, batch.norms, batch, torch.tensor([0]))
    assert found.item() == pytest.approx(psi, abs=1e-7)


def test_magface_at_a_length_of_30():
    rule, batch = MagFace(64, easy_margin=False, penalty=1.0), observe(30.0)
    assert rule.find_margins(batch.norms).item() == pytest.approx(0.52)
    found = rule.find_psi(batch.cosines, batch.norms, batch, torch.tensor([0]))
    assert found.item() == pytest.approx(0.0035988, abs=1e-7)
    assert rule.find_penalty(batch.norms).item() == pytest.approx(0.0358127, abs=1e-7)


def test_curricularface_at_a_hard_identity_of_cosine_06():
    rule = CurricularFace(64)
    rule.t.fill_(0.1)
    others = rule.change_others(torch.tensor([[0.5, 0.6]], dtype=torch.float64), observe(1.0))
    assert others[0, 1].item() == pytest.approx(0.42)


def test_a_softmax_when_nothing_is_left_of_the_bare_cosine():
    rule, batch = ASoftmax(start=0.0, least=0.0), observe(3.0)
    found = rule.find_psi(batch.cosines, batch.norms, batch, torch.tensor([0]))
    assert found.item() == pytest.approx(-1.5)
    assert rule.find_scale(batch.norms).item() == 3


@pytest.mark.parametrize(("it", "lam"), [(1, 892.857), (100, 76.923), (1658, 5.001), (10**6, 5.0)])
def test_the_annealing_of_a_softmax(it: int, lam: float):
    rule = ASoftmax()
    rule.it.fill_(it)
    assert rule.describe()["lambda"].item() == pytest.approx(lam, abs=1e-3)


def test_adaptive_margins_of_10_100_and_1000_photos():
    """n^-0.25: 0.5623, 0.3162, 0.1778; stretched to 0.05..0.5."""
    found = adaptive_margins(torch.tensor([10, 100, 1000]))
    assert found.tolist() == pytest.approx([0.5, 0.211971, 0.05], abs=1e-5)
