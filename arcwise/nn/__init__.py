"""Networks that turn crops into embeddings, by name; the losses lie in the modules beside them.

It does not know photos or training. A backbone takes (B, 3, 112, 112) float32, RGB as
(x - 127.5) / 127.5, and gives (B, D) float32, not normalized. Its convolutions may run under
autocast, its last linear layer and the BatchNorm after it run in float32. To add one: a module
with the class, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from arcwise.errors import LearningError

try:
    from torch import nn
except ModuleNotFoundError as exc:
    if exc.name != "torch":
        raise
    raise LearningError("torch is not installed", hint="pip install 'arcwise[train]'") from exc

from arcwise.nn.compact import CompactNet
from arcwise.nn.iresnet import IResNet
from arcwise.nn.mobilefacenet import MobileFaceNet


def _iresnet(depth: int) -> Callable[[int, float], nn.Module]:
    return lambda dimension, dropout: IResNet(depth, dimension=dimension, dropout=dropout)


BACKBONES: dict[str, Callable[[int, float], nn.Module]] = {
    "iresnet18": _iresnet(18),
    "iresnet34": _iresnet(34),
    "iresnet50": _iresnet(50),
    "iresnet100": _iresnet(100),
    "iresnet200": _iresnet(200),
    "mobilefacenet": lambda dimension, dropout: MobileFaceNet(dimension=dimension, dropout=dropout),
    "compact": lambda dimension, dropout: CompactNet(dimension=dimension, dropout=dropout),
}
"""Name to builder, which takes the dimension of the embedding and the dropout before it."""


def build_backbone(name: str, *, dimension: int = 512, dropout: float = 0.0) -> nn.Module:
    """A backbone of that name with new weights, in training mode.

    Args:
        name: a name of `BACKBONES`.
        dimension: D, length of the embeddings.
        dropout: share of the features left out before the last linear layer while training.

    Raises:
        LearningError: no backbone of that name, a dimension below 1, or a dropout outside [0, 1).
    """
    if name not in BACKBONES:
        close = get_close_matches(name, BACKBONES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(BACKBONES)}"
        raise LearningError(f"no backbone is called {name!r}", hint=hint)
    if dimension < 1:
        raise LearningError(f"embeddings of {dimension} dimensions", hint="128 and 512 are usual")
    if not 0 <= dropout < 1:
        raise LearningError(
            f"dropout is {dropout}, it is a share from 0 (nothing left out) to below 1",
            hint="large data needs 0, small data 0.4",
        )
    return BACKBONES[name](dimension, dropout)
