"""The losses by name, with their defaults and options: docs/losses.md says which one for what.

It does not know embeddings, centers or cross-entropies; it makes the rules that heads use.

Sources: the module of each loss names its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.adaface import AdaFace
from arcwise.nn.curricularface import CurricularFace
from arcwise.nn.elasticface import ElasticFace
from arcwise.nn.fixed import FixedMargin
from arcwise.nn.magface import MagFace
from arcwise.nn.margin import BeyondPi, Gradient, Margin
from arcwise.nn.rule import Rule
from arcwise.nn.softmax import Softmax
from arcwise.nn.sphereface import ASoftmax

Option = float | bool | str


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of the table.

    Attributes:
        build: called with scale (where the loss has one), margin (where it has one and it is
            given), margins_by_class (where it takes them) and the options, all by keyword.
        about: one line.
        margin: its default; one number, or as many as it takes; None: it has none to give.
        options: their names and defaults.
        has_scale: whether s changes anything.
        takes_class_margins: whether identities may have margins of their own.
    """

    build: Callable[..., Rule]
    about: str
    margin: float | tuple[float, ...] | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    has_scale: bool = True
    takes_class_margins: bool = False


def _build_arcface(
    *,
    scale: float,
    margin: float = 0.5,
    beyond_pi: BeyondPi = "linear",
    gradient: Gradient = "exact",
    easy_margin: bool = False,
    margins_by_class: Tensor | None = None,
) -> Rule:
    added = Margin(1, margin, 0, easy_margin, beyond_pi, gradient)
    return FixedMargin(added, scale, margins_by_class=margins_by_class)


def _build_cosface(
    *,
    scale: float,
    margin: float = 0.4,
    beyond_pi: BeyondPi = "linear",
    gradient: Gradient = "exact",
    margins_by_class: Tensor | None = None,
) -> Rule:
    taken = Margin(m3=margin, beyond_pi=beyond_pi, gradient=gradient)
    return FixedMargin(taken, scale, margins_by_class=margins_by_class, in_place_of="m3")


def _build_sphereface(
    *,
    scale: float,
    margin: float = 1.35,
    beyond_pi: BeyondPi = "extend",
    gradient: Gradient = "exact",
) -> Rule:
    return FixedMargin(Margin(margin, beyond_pi=beyond_pi, gradient=gradient), scale)


def _build_combined(
    *,
    scale: float,
    margin: Sequence[float] = (1.0, 0.3, 0.2),
    beyond_pi: BeyondPi = "extend",
    gradient: Gradient = "exact",
) -> Rule:
    m1, m2, m3 = margin
    return FixedMargin(Margin(m1, m2, m3, beyond_pi=beyond_pi, gradient=gradient), scale)


LOSSES: dict[str, Loss] = {
    "softmax": Loss(Softmax, "inner products and a bias, no angles", has_scale=False),
    "norm_softmax": Loss(Rule, "cosines, no margin"),
    "arcface": Loss(
        _build_arcface,
        "a margin added to the angle",
        0.5,
        {"beyond_pi": "linear", "gradient": "exact", "easy_margin": False},
        takes_class_margins=True,
    ),
    "cosface": Loss(
        _build_cosface,
        "a margin taken from the cosine",
        0.4,
        {"beyond_pi": "linear", "gradient": "exact"},
        takes_class_margins=True,
    ),
    "sphereface": Loss(
        _build_sphereface,
        "a factor of the angle, on normalized embeddings",
        1.35,
        {"beyond_pi": "extend", "gradient": "exact"},
    ),
    "a_softmax": Loss(
        ASoftmax,
        "a factor of the angle, reached by annealing; embeddings keep their length",
        4.0,
        {"start": 1000.0, "least": 5.0, "decay": 0.12},
        has_scale=False,
    ),
    "combined": Loss(
        _build_combined,
        "cos(m1 theta + m2) - m3",
        (1.0, 0.3, 0.2),
        {"beyond_pi": "extend", "gradient": "exact"},
    ),
    "curricularface": Loss(
        CurricularFace,
        "ArcFace; nearer identities than the true one count more as training goes on",
        0.5,
        {"momentum": 0.99},
    ),
    "adaface": Loss(
        AdaFace,
        "a margin that follows the quality of the photo",
        0.4,
        {"h": 0.333, "momentum": 0.99},
    ),
    "magface": Loss(
        MagFace,
        "a margin that grows with the length of the embedding, which is rewarded",
        None,
        {
            "least_margin": 0.45,
            "most_margin": 0.8,
            "least_norm": 10.0,
            "most_norm": 110.0,
            "penalty": 35.0,
            "easy_margin": True,
        },
    ),
    "elasticface": Loss(
        ElasticFace,
        "a margin drawn for every sample; 0.35 by default for kind cos",
        0.5,
        {"kind": "arc", "sigma": 0.05, "ranked": False, "beyond_pi": "linear", "seed": 0},
    ),
}


def build_rule(
    name: str,
    *,
    margin: float | Sequence[float] | None = None,
    scale: float,
    options: Mapping[str, object] | None = None,
    margins_by_class: Tensor | None = None,
) -> Rule:
    """Make the rule of a loss.

    Args:
        name: of `LOSSES`.
        margin: what the loss calls its margin; None: its default.
        scale: s; checked, but without effect, for losses that have none.
        options: what to change of the loss's options.
        margins_by_class: (C,) one per identity in place of the margin; see `adaptive_margins`.

    Raises:
        LearningError: an unknown name or option, a value of another kind or out of range, or
            something the loss does not take.
    """
    loss = _find_loss(name)
    given: dict[str, object] = dict(options or {})
    for key, value in given.items():
        _check_option(name, key, value)
    if margin is not None:
        given["margin"] = _read_margin(name, margin)
    if margins_by_class is not None:
        if not loss.takes_class_margins:
            known = [key for key, row in LOSSES.items() if row.takes_class_margins]
            raise LearningError(
                f"{name} takes no margins of identities", hint=f"{' and '.join(known)} do"
            )
        given["margins_by_class"] = margins_by_class
    Rule(scale)  # a wrong scale is wrong for every loss
    if loss.has_scale:
        given["scale"] = scale
    return loss.build(**given)


def _find_loss(name: str) -> Loss:
    if name not in LOSSES:
        close = get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(LOSSES)}"
        raise LearningError(f"no loss of the name {name!r}", hint=hint)
    return LOSSES[name]


def _check_option(name: str, key: str, value: object) -> None:
    known = LOSSES[name].options
    if key not in known:
        close = get_close_matches(key, known, n=1)
        hint = f"there are {', '.join(known)}" if known else "it takes none"
        raise LearningError(
            f"{name} has no option {key!r}", hint=f"did you mean {close[0]}?" if close else hint
        )
    kind = type(known[key])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number if kind in {int, float} else isinstance(value, kind)):
        words = {bool: "true or false", str: "a word"}.get(kind, "a number")
        raise LearningError(
            f"{key} of {name} is {value!r}", hint=f"it should be {words}, such as {known[key]}"
        )


def _read_margin(name: str, margin: float | Sequence[float]) -> float | tuple[float, ...]:
    default = LOSSES[name].margin
    if default is None:
        raise LearningError(
            f"{name} takes no margin, got {margin}",
            hint="leave it away; what can be set are its options: "
            f"{', '.join(LOSSES[name].options) or 'none'}",
        )
    wanted = len(default) if isinstance(default, tuple) else 1
    numbers = tuple(margin) if isinstance(margin, Sequence) else (margin,)
    if len(numbers) != wanted or not all(isinstance(number, int | float) for number in numbers):
        raise LearningError(
            f"{name} takes {wanted} number(s) as its margin, got {margin}",
            hint=f"such as {default}",
        )
    return numbers if isinstance(default, tuple) else numbers[0]
