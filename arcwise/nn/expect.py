"""What to expect of a head before it has learned: a suitable scale, and the loss of the first step.

It does not know data; it knows that the centers of a new head point in random directions.

Sources: Zhang et al., AdaCos (2019), for the scale; the first loss is the mean over random
directions, in closed form for ArcFace and CosFace.
"""

from __future__ import annotations

import copy
import math

import torch

from arcwise.nn.head import INITIAL_STD, check_rule, check_size
from arcwise.nn.rule import Observed, Rule

_TAIL, _POINTS = 12.0, 50  # deviations of a normal distribution, and points in each
_NEAR = 1e-9  # cosines just below and above 90 degrees, between which easy margins change


def automatic_scale(n_identities: int) -> float:
    """The scale that suits a number of identities, sqrt(2) ln(C - 1), at least 2.

    100 identities get 6.5, 10,000 get 13.0; with few, the usual 64 learns slowly.

    Raises:
        LearningError: fewer than 1 identity.

    Source: Zhang et al., AdaCos (2019), the fixed scale.
    """
    check_size(1, n_identities)
    return max(2.0, math.sqrt(2) * math.log(max(1, n_identities - 1)))


@torch.no_grad()
def expected_first_loss(
    n_identities: int, rule: Rule, dimension: int, *, strength: float = 1.0
) -> float:
    """The loss a new head should show at the first step, to tell wrong labels from right ones.

    At the start every angle is about 90 degrees, the other cosines are normal with deviation
    1 / sqrt(D), and lengths are about sqrt(D) behind a batch normalization: the loss is
    ln(1 + (C - 1) mean(exp(s c)) / exp(s psi(90 degrees))), which for many identities is
    ln C + s sin m + s^2 / 2D with ArcFace and ln C + s m + s^2 / 2D with CosFace. With few
    identities and a large scale the true mean is a little lower: by 0.6 for 100 of scale 64.

    Args:
        n_identities: C.
        rule: of the loss, new.
        dimension: D.
        strength: of the margin at the first step.

    Raises:
        LearningError: a size below 1, a strength beyond 0..1, or a rule for others.
    """
    check_size(dimension, n_identities)
    check_rule(rule, n_identities, None)
    rule = copy.deepcopy(rule).eval().cpu()  # for validation, where nothing is drawn or noted
    n_kinds = rule.n_identities or 1
    labels = torch.arange(n_kinds).repeat(2)
    cosines = torch.tensor([_NEAR, -_NEAR], dtype=torch.float64).repeat_interleave(n_kinds)
    norms = torch.full_like(cosines, math.sqrt(dimension))
    batch = Observed(cosines, norms, labels, strength)
    psi = rule.find_psi(cosines, norms, batch, torch.arange(len(labels)))
    scale = torch.as_tensor(rule.find_scale(norms), dtype=torch.float64).flatten()[0]
    deviation = 1 / math.sqrt(dimension) if rule.is_angular else INITIAL_STD * float(norms[0])
    reach = deviation * float(scale) + _TAIL  # exp(s c) weighs cosines far out the most
    if rule.is_angular:
        reach = min(reach, 1 / deviation)  # and there are none beyond 1
    z = torch.linspace(-reach, reach, 2 * math.ceil(_POINTS * reach) + 1, dtype=torch.float64)
    one = Observed(cosines[:1], norms[:1], labels[:1], strength)
    others = scale * rule.change_others((deviation * z)[None], one)[0]
    ahead = torch.logsumexp(others - z.square() / 2, 0) - torch.logsumexp(-z.square() / 2, 0)
    ahead = ahead + (math.log(n_identities - 1) if n_identities > 1 else -math.inf) - scale * psi
    loss = torch.logaddexp(torch.zeros_like(ahead), ahead).mean()
    penalty = rule.find_penalty(norms)
    return float(loss if penalty is None else loss + penalty)
