"""IResNet: the residual network that ArcFace is published with, at five depths.

It does not know losses, nor where weights come from. Names and shapes of the weights are those
of the layout InsightFace publishes, so that such a state dict loads without renaming.

Source: Deng et al. (2019), "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
section 3.1; the block after Han et al. (2017), "Deep Pyramidal Residual Networks", and Duta et
al. (2020), "Improved Residual Networks for Image and Video Recognition".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError

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

_SIZE_PX = 112
_STEM_WIDTH = 64
_WIDTHS = (64, 128, 256, 512)
_LAST_SIDE = 7  # every stage halves 112
_EPS = 1e-5  # of every BatchNorm
_CONV_STD = 0.1  # of the initial convolutions


class _Block(nn.Module):
    """BN, conv, BN, PReLU, conv, BN; then the shortcut is added, and nothing follows the sum."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in, eps=_EPS)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.prelu = nn.PReLU(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(n_out, eps=_EPS),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        inside = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        total: Tensor = self.bn3(self.conv2(inside)) + self.downsample(x)
        return total


class IResNet(nn.Module):
    """Residual network with BatchNorm before every block and a linear layer over the whole map.

    Args:
        depth: a key of `BLOCKS`.
        dimension: D, length of the embeddings.
        dropout: share of the 25,088 features left out before the linear layer while training.

    Raises:
        LearningError: no such depth.

    Source: see the module; initialization as in the layout InsightFace publishes.
    """

    def __init__(self, depth: int, *, dimension: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise LearningError(
                f"there is no IResNet of depth {depth}",
                hint=f"choose from {', '.join(map(str, BLOCKS))}",
            )
        self.conv1 = nn.Conv2d(3, _STEM_WIDTH, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH, eps=_EPS)
        self.prelu = nn.PReLU(_STEM_WIDTH)
        n_blocks = BLOCKS[depth]
        self.layer1 = _build_stage(_STEM_WIDTH, _WIDTHS[0], n_blocks[0])
        self.layer2 = _build_stage(_WIDTHS[0], _WIDTHS[1], n_blocks[1])
        self.layer3 = _build_stage(_WIDTHS[1], _WIDTHS[2], n_blocks[2])
        self.layer4 = _build_stage(_WIDTHS[2], _WIDTHS[3], n_blocks[3])
        self.bn2 = nn.BatchNorm2d(_WIDTHS[3], eps=_EPS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(_WIDTHS[3] * _LAST_SIDE * _LAST_SIDE, dimension)
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
            (B, D) float32, not normalized; also under autocast, which rules the convolutions only.

        Raises:
            LearningError: not of that shape.
        """
        if x.shape[1:] != (3, _SIZE_PX, _SIZE_PX):
            raise LearningError(
                f"a batch of shape {tuple(x.shape)}, the network takes (B, 3, 112, 112)",
                hint="align the faces to crops of 112 px, color before height and width",
            )
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))  # (B, 25088) in the order C, H, W
        with torch.autocast(x.device.type, enabled=False):
            embeddings: Tensor = self.features(self.fc(x.float()))
        return embeddings


def _build_stage(n_in: int, n_out: int, n_blocks: int) -> nn.Sequential:
    """The first block halves the map; its shortcut is a convolution even where n_in is n_out."""
    later = [_Block(n_out, n_out, 1) for _ in range(n_blocks - 1)]
    return nn.Sequential(_Block(n_in, n_out, 2), *later)
