"""Networks that turn crops into embeddings, by name; the losses lie in the modules beside them.

It does not know photos or training. A backbone takes (B, 3, S, S) float32, RGB, or (B, 1, S, S),
gray, as (x - 127.5) / 127.5; S and color stand in its row, most take RGB of 112 px. It gives
(B, D) float32, not normalized. Its convolutions may run under autocast, its last linear layer and
the BatchNorm after it run in float32. With `network.recompute = True` it computes its blocks again
for the gradient, to save memory. To add one: a module with the class, and a row here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import Literal

from arcwise.errors import LearningError

try:
    from torch import nn
except ModuleNotFoundError as exc:
    if exc.name != "torch":
        raise
    raise LearningError("torch is not installed", hint="pip install 'arcwise[train]'") from exc

from arcwise.nn.compact import BLOCKS, WIDTHS, CompactNet
from arcwise.nn.iresnet import IResNet
from arcwise.nn.mobilefacenet import MobileFaceNet
from arcwise.nn.resnet import LEAST_PX, N_FEATURES, ResNet50
from arcwise.nn.resnet_face import ResNetFace
from arcwise.nn.vit import VisionTransformer

Option = bool | int | float | str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Backbone:
    """How to build a network, and what it takes.

    Attributes:
        build: takes `dimension`, `dropout` and the options as keywords.
        size_px: side of the square crops it is made for.
        color: of the crops.
        options: name to default; a value is of the kind of its default.
        about: one line for people.
        least_px: smallest side it takes; None: it takes `size_px` and nothing else.
        dimension: the only length of embedding it can give; None: any.
    """

    build: Callable[..., nn.Module]
    size_px: int = 112
    color: Literal["rgb", "gray"] = "rgb"
    options: Mapping[str, Option] = field(default_factory=dict)
    about: str = ""
    least_px: int | None = None
    dimension: int | None = None

    def crop_shape(self, size_px: int | None = None) -> tuple[int, int, int]:
        """Channels, height and width of the crops it takes.

        Args:
            size_px: side; None takes the one it is made for.

        Raises:
            LearningError: it does not take crops of that side.
        """
        side = self.size_px if size_px is None else size_px
        if not self.takes(side):
            which = (
                f"{self.size_px} px" if self.least_px is None else f"{self.least_px} px and more"
            )
            raise LearningError(
                f"the network takes crops of {which}, not of {side}",
                hint=f"it is made for {self.size_px} px",
            )
        return (1 if self.color == "gray" else 3, side, side)

    def takes(self, size_px: int) -> bool:
        """Whether it takes square crops of that side."""
        return size_px == self.size_px if self.least_px is None else size_px >= self.least_px


def _iresnet(depth: int, about: str) -> Backbone:
    return Backbone(partial(IResNet, depth), options={"output": "e", "se": False}, about=about)


def _vit(width: int, depth: int, share: float, about: str) -> Backbone:
    """With the shares of stochastic depth and masking of InsightFace's configurations."""
    options = {"drop_path": share, "mask": share}
    return Backbone(partial(VisionTransformer, width, depth), options=options, about=about)


def _resnet_face(depth: int, about: str) -> Backbone:
    build = partial(ResNetFace, depth)
    return Backbone(build, size_px=128, color="gray", options={"se": False}, about=about)


def _build_gap(*, dimension: int, dropout: float) -> nn.Module:
    assert dimension == N_FEATURES, "its row allows no other"
    return ResNet50(dimension=None, dropout=dropout)


BACKBONES: dict[str, Backbone] = {
    "iresnet18": _iresnet(18, "ArcFace's residual network, the smallest"),
    "iresnet34": _iresnet(34, "ArcFace's residual network, small"),
    "iresnet50": _iresnet(50, "ArcFace's residual network, the usual one"),
    "iresnet100": _iresnet(100, "ArcFace's residual network, of the paper's best numbers"),
    "iresnet200": _iresnet(200, "ArcFace's residual network, for tens of millions of photos"),
    "mobilefacenet": Backbone(
        MobileFaceNet,
        options={"scale": 2, "blocks": (1, 4, 6, 2)},
        about="depth-wise convolutions, for phones; scale 1 is the paper's",
    ),
    "mobilefacenet_large": Backbone(
        MobileFaceNet,
        options={"scale": 4, "blocks": (2, 8, 12, 4)},
        about="MobileFaceNet twice as wide and twice as deep",
    ),
    "compact": Backbone(
        CompactNet,
        options={"widths": WIDTHS, "blocks": BLOCKS, "front": "color"},
        about="our own, plain convolutions, to train on a CPU",
    ),
    "vit_t": _vit(256, 12, 0.1, "vision transformer, tiny; for AdamW and much data"),
    "vit_s": _vit(512, 12, 0.1, "vision transformer, small"),
    "vit_b": _vit(512, 24, 0.1, "vision transformer, twice as deep as small"),
    "vit_l": _vit(768, 24, 0.05, "vision transformer, large"),
    "resnet_face18": _resnet_face(18, "for gray crops, the arcface-pytorch tutorial's"),
    "resnet_face34": _resnet_face(34, "for gray crops, the tutorial's blocks, more of them"),
    "resnet_face50": _resnet_face(50, "for gray crops, the tutorial's blocks, most of them"),
    "resnet50": Backbone(
        ResNet50, least_px=LEAST_PX, about="ImageNet's ResNet-50 with a neck for faces"
    ),
    "resnet50_gap": Backbone(
        _build_gap,
        size_px=448,
        about="ImageNet's ResNet-50 up to its mean of the map, to find photos",
        least_px=LEAST_PX,
        dimension=N_FEATURES,
    ),
}
"""Name to how it is built."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "r18": "iresnet18",
        "r34": "iresnet34",
        "r50": "iresnet50",
        "r100": "iresnet100",
        "r200": "iresnet200",
        "mbf": "mobilefacenet",
        "mbf_large": "mobilefacenet_large",
    }
)
"""What InsightFace calls them."""


def find_backbone(name: str) -> str:
    """The name in `BACKBONES` for a name or an alias.

    Raises:
        LearningError: no backbone is called so.
    """
    found = ALIASES.get(name, name)
    if found in BACKBONES:
        return found
    known = [*BACKBONES, *ALIASES]
    # Names of other projects carry options behind them, such as vit_b_dp005_mask_005.
    begun = sorted((k for k in known if name.startswith(k)), key=len, reverse=True)
    close = [*begun, *get_close_matches(name, known, n=1)]
    hint = f"there are: {', '.join(BACKBONES)}"
    if close:
        meant = ALIASES.get(close[0], close[0])
        options = ", ".join(BACKBONES[meant].options)
        hint = f"did you mean {meant}?" + (f" its options: {options}" if options else "")
    raise LearningError(f"no backbone is called {name!r}", hint=hint)


def build_backbone(
    name: str,
    *,
    dimension: int = 512,
    dropout: float = 0.0,
    options: Mapping[str, Option] = MappingProxyType({}),
) -> nn.Module:
    """A backbone of that name with new weights, in training mode.

    Args:
        name: a name of `BACKBONES` or `ALIASES`.
        dimension: D, length of the embeddings.
        dropout: share of the features left out before the last linear layer while training.
        options: of this backbone, those that differ from its row; docs/backbones.md lists them.

    Raises:
        LearningError: no backbone of that name, a dimension below 1 or one it cannot give, a
            dropout outside [0, 1), an option it does not have or cannot use.
    """
    name = find_backbone(name)
    row = BACKBONES[name]
    if dimension < 1:
        raise LearningError(f"embeddings of {dimension} dimensions", hint="128 and 512 are usual")
    if row.dimension not in (None, dimension):
        raise LearningError(
            f"{name} gives {row.dimension} dimensions, not {dimension}",
            hint=f"set dimension to {row.dimension}, or take a network with a last linear layer",
        )
    if not 0 <= dropout < 1:
        raise LearningError(
            f"dropout is {dropout}, it is a share from 0 (nothing left out) to below 1",
            hint="large data needs 0, small data 0.4",
        )
    for option, value in options.items():
        _check_option(name, option, value)
    return row.build(dimension=dimension, dropout=dropout, **{**row.options, **options})


def _check_option(name: str, option: str, value: object) -> None:
    known = BACKBONES[name].options
    if option not in known:
        close = get_close_matches(option, known, n=1)
        rest = f"its options are {', '.join(known)}" if known else "it has no options"
        raise LearningError(
            f"{name} has no option {option!r}",
            hint=f"did you mean {close[0]}?" if close else rest,
        )
    default = known[option]
    if not _is_alike(value, default):
        shown = list(default) if isinstance(default, tuple) else default
        raise LearningError(
            f"option {option} of {name} is {value!r}",
            hint=f"give something like its default, {shown!r}",
        )


def _is_alike(value: object, default: Option) -> bool:
    """Whether a value is of the kind of a default; a whole number is a number, True is none."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and math.isfinite(value)
    if isinstance(default, tuple):
        is_list = isinstance(value, list | tuple) and len(value) == len(default)
        return is_list and all(type(part) is int for part in value)  # type: ignore[attr-defined]
    return isinstance(value, type(default))
