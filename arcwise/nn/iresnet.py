"""IResNet: the residual network that ArcFace is published with, at five depths.

It does not know losses, nor where weights come from. Names and shapes of the weights are those
of the layout InsightFace publishes, so that such a state dict loads without renaming.

Source: Deng et al. (2019), "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
section 3.1; the block after Han et al. (2017), "Deep Pyramidal Residual Networks", and Duta et
al. (2020), "Improved Residual Networks for Image and Video Recognition"; squeeze and excitation
after Hu et al. (2018), "Squeeze-and-Excitation Networks"; the outputs as ArcFace's section 3.1 and
its MXNet code name them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.crops import check_crops
from arcwise.nn.grouped import GroupedConv2d
from arcwise.nn.prelu import PReLU
from arcwise.nn.recompute import run_blocks

BLOCKS: Mapping[int, tuple[int, int, int, int]] = MappingProxyType(
    {
        18: (2, 2, 2, 2),
        34: (3, 4, 6, 3),
        50: (3, 4, 14, 3),
        100: (3, 13, 30, 3),
        200: (6, 26, 60, 6),
    }
)
"""Depth to the number of blocks in each of the four stages."""

_STEM_WIDTH = 64
_WIDTHS = (64, 128, 256, 512)
_LAST_SIDE = 7  # every stage halves 112
_EPS = 1e-5  # of every BatchNorm
_CONV_STD = 0.1  # of the initial convolutions
_SQUEEZE = 16  # channels for one that squeeze and excitation keeps; Hu et al. (2018), section 6.1


class _SqueezeExcite(nn.Module):
    """Each channel is weighed by what the means of all channels say."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(n_channels, n_channels // _SQUEEZE, 1, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(n_channels // _SQUEEZE, n_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        means = x.mean((2, 3), keepdim=True)
        weighed: Tensor = x * self.fc2(self.relu(self.fc1(means))).sigmoid()
        return weighed


class _Block(nn.Module):
    """BN, conv, BN, PReLU, conv, BN; then the shortcut is added, and nothing follows the sum.

    Args:
        n_in, n_out: channels.
        stride: of the second convolution and the shortcut.
        se: weigh the channels by squeeze and excitation before the sum.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, *, se: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in, eps=_EPS)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.prelu = PReLU(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.se = _SqueezeExcite(n_out) if se else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(n_out, eps=_EPS),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        inside = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        total: Tensor = self.se(self.bn3(self.conv2(inside))) + self.downsample(x)
        return total


def _build_gap() -> nn.Sequential:
    return nn.Sequential(PReLU(_WIDTHS[3]), nn.AdaptiveAvgPool2d(1))


def _build_gdc() -> nn.Sequential:
    width = _WIDTHS[3]
    convolution = GroupedConv2d(width, width, _LAST_SIDE, groups=width, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width, eps=_EPS))


OUTPUTS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"e": nn.Identity, "gap": _build_gap, "gdc": _build_gdc}
)
"""How the last map of 512 channels and 7x7 places becomes features for the linear layer.

"e" takes all 25,088 values (12.8 million weights for 512 dimensions), "gap" the mean of each
channel, "gdc" one weight for each place of a channel (global depth-wise convolution).
"""


class IResNet(nn.Module):
    """Residual network with BatchNorm before every block and a linear layer at the end.

    Args:
        depth: a key of `BLOCKS`.
        dimension: D, length of the embeddings.
        dropout: share of the features left out before the linear layer while training.
        se: weigh the channels of each block by squeeze and excitation.
        output: a key of `OUTPUTS`; the published weights have "e".

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.

    Raises:
        LearningError: no such depth or output.

    Source: see the module; initialization as in the layout InsightFace publishes.
    """

    def __init__(
        self,
        depth: int,
        *,
        dimension: int = 512,
        dropout: float = 0.0,
        se: bool = False,
        output: str = "e",
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise LearningError(
                f"there is no IResNet of depth {depth}",
                hint=f"choose from {', '.join(map(str, BLOCKS))}",
            )
        if output not in OUTPUTS:
            close = get_close_matches(output.lower(), OUTPUTS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(OUTPUTS)}"
            raise LearningError(f"no output of IResNet is called {output!r}", hint=hint)
        self.recompute = False
        self.conv1 = nn.Conv2d(3, _STEM_WIDTH, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH, eps=_EPS)
        self.prelu = PReLU(_STEM_WIDTH)
        n_blocks = BLOCKS[depth]
        self.layer1 = _build_stage(_STEM_WIDTH, _WIDTHS[0], n_blocks[0], se=se)
        self.layer2 = _build_stage(_WIDTHS[0], _WIDTHS[1], n_blocks[1], se=se)
        self.layer3 = _build_stage(_WIDTHS[1], _WIDTHS[2], n_blocks[2], se=se)
        self.layer4 = _build_stage(_WIDTHS[2], _WIDTHS[3], n_blocks[3], se=se)
        self.bn2 = nn.Identity() if output == "gdc" else nn.BatchNorm2d(_WIDTHS[3], eps=_EPS)
        self.pool = OUTPUTS[output]()
        self.dropout = nn.Dropout(dropout)
        n_places = _LAST_SIDE * _LAST_SIDE if output == "e" else 1
        self.fc = nn.Linear(_WIDTHS[3] * n_places, dimension)
        self.features = nn.BatchNorm1d(dimension, eps=_EPS)
        self._initialize()

    def _initialize(self) -> None:
        """BatchNorm (1 and 0), PReLU (0.25) and the linear layer start as torch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_CONV_STD)
        # Fixed at 1 as published: the loss normalizes, only the bias centers the embeddings.
        self.features.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Embed crops.

        Args:
            x: (B, 3, 112, 112) float, RGB, (x - 127.5) / 127.5.

        Returns:
            (B, D) float32, not normalized; also under autocast, which rules the stages only.

        Raises:
            LearningError: not of that shape.
        """
        check_crops(x)
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = run_blocks(stage, x, recompute=self.recompute)
        x = self.bn2(x)
        with torch.autocast(x.device.type, enabled=False):
            x = self.pool(x.float()).flatten(1)  # of "e": (B, 25088) in the order C, H, W
            embeddings: Tensor = self.features(self.fc(self.dropout(x)))
        return embeddings


def _build_stage(n_in: int, n_out: int, n_blocks: int, *, se: bool) -> nn.Sequential:
    """The first block halves the map; its shortcut is a convolution even where n_in is n_out."""
    later = [_Block(n_out, n_out, 1, se=se) for _ in range(n_blocks - 1)]
    return nn.Sequential(_Block(n_in, n_out, 2, se=se), *later)
