"""ResNet for gray crops of 128 px, as the much-copied arcface-pytorch tutorial has it.

It does not know losses, nor where weights come from. Names and shapes of the weights of depth 18
are those of the published `resnet_face18`, so that such a state dict loads once the `module.` of
DataParallel is taken off its names.

The tutorial's own networks of 34 and 50 layers are other ones: ImageNet's blocks with a linear
layer and no BatchNorm after it, which its author does not use with ArcFace. Here depth 34 and 50
continue the network that is used: the same blocks and output, as many of them as IResNet has.

Source: ronghuaiyang/arcface-pytorch, models/resnet.py; the block after Han et al. (2017), "Deep
Pyramidal Residual Networks"; squeeze and excitation after Hu et al. (2018),
"Squeeze-and-Excitation Networks".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.crops import check_crops
from arcwise.nn.prelu import PReLU
from arcwise.nn.recompute import run_blocks

BLOCKS: Mapping[int, tuple[int, int, int, int]] = MappingProxyType(
    {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3)}
)
"""Depth to the number of blocks in each of the four stages."""

_SIZE_PX = 128
_STEM_WIDTH = 64
_WIDTHS = (64, 128, 256, 512)
_LAST_SIDE = 8  # the pooling after the stem and three stages halve 128
_SQUEEZE = 16  # channels for one that squeeze and excitation keeps


class _SqueezeExcite(nn.Module):
    """Each channel is weighed by what the means of all channels say."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        n_inside = n_channels // _SQUEEZE
        self.fc = nn.Sequential(
            nn.Linear(n_channels, n_inside),
            PReLU(),
            nn.Linear(n_inside, n_channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        weighed: Tensor = x * self.fc(x.mean((2, 3)))[:, :, None, None]
        return weighed


class _Block(nn.Module):
    """BN, conv, BN, PReLU, conv, BN; the shortcut is added, and the same PReLU follows the sum.

    Args:
        n_in, n_out: channels.
        stride: of the second convolution and the shortcut.
        se: weigh the channels by squeeze and excitation before the sum.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, *, se: bool) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_in, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_in)
        self.prelu = PReLU()
        self.conv2 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.se = _SqueezeExcite(n_out) if se else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        inside = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        total: Tensor = self.prelu(self.se(self.bn2(self.conv2(inside))) + self.downsample(x))
        return total


class ResNetFace(nn.Module):
    """Residual network for one gray channel.

    Args:
        depth: a key of `BLOCKS`.
        dimension: D, length of the embeddings.
        dropout: share of the 32,768 features left out before the linear layer while training;
            the tutorial has 0.5.
        se: weigh the channels of each block by squeeze and excitation.

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.

    Raises:
        LearningError: no such depth.

    Source: see the module; initialization (normal, Glorot and Bengio 2010; biases 0) as the
    tutorial has it.
    """

    def __init__(
        self, depth: int, *, dimension: int = 512, dropout: float = 0.0, se: bool = False
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise LearningError(
                f"there is no ResNetFace of depth {depth}",
                hint=f"choose from {', '.join(map(str, BLOCKS))}",
            )
        self.recompute = False
        self.conv1 = nn.Conv2d(1, _STEM_WIDTH, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.prelu = PReLU()
        self.maxpool = nn.MaxPool2d(2)
        n_blocks = BLOCKS[depth]
        self.layer1 = _build_stage(_STEM_WIDTH, _WIDTHS[0], n_blocks[0], stride=1, se=se)
        self.layer2 = _build_stage(_WIDTHS[0], _WIDTHS[1], n_blocks[1], stride=2, se=se)
        self.layer3 = _build_stage(_WIDTHS[1], _WIDTHS[2], n_blocks[2], stride=2, se=se)
        self.layer4 = _build_stage(_WIDTHS[2], _WIDTHS[3], n_blocks[3], stride=2, se=se)
        self.bn4 = nn.BatchNorm2d(_WIDTHS[3])
        self.dropout = nn.Dropout(dropout)
        self.fc5 = nn.Linear(_WIDTHS[3] * _LAST_SIDE * _LAST_SIDE, dimension)
        self.bn5 = nn.BatchNorm1d(dimension)
        self._initialize()

    def _initialize(self) -> None:
        """BatchNorm (1 and 0) and PReLU (0.25) start as torch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Embed crops.

        Args:
            x: (B, 1, 128, 128) float, gray, (x - 127.5) / 127.5.

        Returns:
            (B, D) float32, not normalized; also under autocast, which rules the stages only.

        Raises:
            LearningError: not of that shape.
        """
        check_crops(x, n_channels=1, size_px=_SIZE_PX)
        x = self.maxpool(self.prelu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = run_blocks(stage, x, recompute=self.recompute)
        x = self.bn4(x)
        with torch.autocast(x.device.type, enabled=False):
            x = self.dropout(x.float()).flatten(1)  # (B, 32768) in the order C, H, W
            embeddings: Tensor = self.bn5(self.fc5(x))
        return embeddings


def _build_stage(n_in: int, n_out: int, n_blocks: int, *, stride: int, se: bool) -> nn.Sequential:
    later = [_Block(n_out, n_out, 1, se=se) for _ in range(n_blocks - 1)]
    return nn.Sequential(_Block(n_in, n_out, stride, se=se), *later)
