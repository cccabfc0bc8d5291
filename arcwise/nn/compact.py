"""A compact network for training on a CPU and for the edge: plain convolutions, few of them wide.

A face crop is aligned, so its first layer cuts it into patches of 4x4 px at once instead of
looking at 112x112 px for long, which is where the time of the larger networks goes. After that
come residual blocks of two 3x3 convolutions, each followed by its normalization, so that all of
them can be folded away for inference, and ReLU, which every runtime has fast (PReLU has not).
The end is that of MobileFaceNet: a depthwise convolution over the whole map weighs each place.

It does not normalize the embedding and does not know losses. Source: our own; the residual block
after He et al. 2016, patches after Dosovitskiy et al. 2021, the global depthwise convolution after
Chen et al. 2018 (MobileFaceNets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.contrast import LocalContrast
from arcwise.nn.crops import check_crops
from arcwise.nn.grouped import GroupedConv2d
from arcwise.nn.recompute import run_blocks

PATCH_PX = 4
WIDTHS, BLOCKS = (48, 96, 192), (2, 6, 2)
_MAP = 7  # side of the last map: 112 / 4 / 2 / 2


class CompactBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Args:
        n_in, n_out: channels.
        stride: 1, or 2 to halve the map.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, stride, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        result: Tensor = self.second(self.first(maps)) + self.shortcut(maps)
        return result


FRONTS: dict[str, Callable[[], nn.Module]] = {"color": nn.Identity, "contrast": LocalContrast}
"""What the first layer sees: the crop as it is, or its local contrast (nn/contrast.py)."""

_POOLED = 2  # channels that the global depthwise convolution makes of each one


class CompactNet(nn.Module):
    """The compact network.

    Args:
        dimension: length of the embedding.
        dropout: share of the pooled values that are dropped in training.
        widths: channels of the three stages.
        blocks: residual blocks of each stage; every stage but the first halves the map.
        front: a name of `FRONTS`; contrast suits few photos.

    Raises:
        LearningError: a width or a number of blocks below 1, or no such front.

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.
    """

    def __init__(
        self,
        *,
        dimension: int = 128,
        dropout: float = 0.0,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        front: str = "color",
    ) -> None:
        super().__init__()
        if len(widths) != len(WIDTHS) or len(blocks) != len(BLOCKS) or min(*widths, *blocks) < 1:
            raise LearningError(
                f"a compact network of widths {list(widths)} and blocks {list(blocks)}",
                hint=f"give three of each, at least 1, such as {list(WIDTHS)} and {list(BLOCKS)}",
            )
        if front not in FRONTS:
            raise LearningError(f"no front is called {front!r}", hint=f"use {' or '.join(FRONTS)}")
        self.recompute = False
        self.front = FRONTS[front]()
        width = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, PATCH_PX, PATCH_PX, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages = []
        for stage, (n_out, n_blocks) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(n_blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                stages.append(CompactBlock(width, n_out, stride=stride))
                width = n_out
        self.blocks = nn.Sequential(*stages)
        n_pooled = width * _POOLED
        self.pool = nn.Sequential(
            GroupedConv2d(width, n_pooled, _MAP, groups=width, bias=False),
            nn.BatchNorm2d(n_pooled),
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(n_pooled, dimension)
        self.features = nn.BatchNorm1d(dimension)

    def forward(self, crops: Tensor) -> Tensor:
        """Embed crops.

        Args:
            crops: (B, 3, 112, 112) float32, (RGB - 127.5) / 127.5.

        Returns:
            (B, D) float32, not normalized.

        Raises:
            LearningError: not of that shape.
        """
        check_crops(crops)
        maps = run_blocks(self.blocks, self.stem(self.front(crops)), recompute=self.recompute)
        pooled = self.pool(maps)
        with torch.autocast(crops.device.type, enabled=False):
            vector = self.dropout(pooled.float().flatten(1))
            embedding: Tensor = self.features(self.fc(vector))
        return embedding
