"""ResNet-50 as ImageNet has it: with a neck for faces, or as it is for photos of any size.

It does not know losses, nor where weights come from. Names and shapes of the weights are those
of torchvision's `resnet50` up to its last layer, so that such a state dict, without `fc`, loads
without renaming.

Source: He et al. (2016), "Deep Residual Learning for Image Recognition", table 1; the stride in
the second convolution of a block, and initialization (normal, He et al. 2015, by fan-out), as in
torchvision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.recompute import run_blocks

LEAST_PX = 32
"""Five halvings leave one place of it."""

_STEM_WIDTH = 64
_N_BLOCKS = (3, 4, 6, 3)
_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4  # channels that a block gives, for one inside
N_FEATURES = _EXPANSION * _WIDTHS[-1]  # 2048


class _Bottleneck(nn.Module):
    """Narrow, look around, widen; then the shortcut is added, and ReLU follows the sum.

    Args:
        n_in: channels.
        n_inside: channels inside; four times as many come out.
        stride: of the second convolution and the shortcut.
    """

    def __init__(self, n_in: int, n_inside: int, stride: int) -> None:
        super().__init__()
        n_out = _EXPANSION * n_inside
        self.conv1 = nn.Conv2d(n_in, n_inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_inside)
        self.conv2 = nn.Conv2d(n_inside, n_inside, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_inside)
        self.conv3 = nn.Conv2d(n_inside, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) to (B, 4 n_inside, H / stride, W / stride)."""
        inside = self.relu(self.bn1(self.conv1(x)))
        inside = self.relu(self.bn2(self.conv2(inside)))
        total: Tensor = self.relu(self.bn3(self.conv3(inside)) + self.downsample(x))
        return total


class ResNet50(nn.Module):
    """ResNet-50 whose last map is averaged, so that it takes any size.

    Args:
        dimension: D, length of the embeddings: a linear layer and a BatchNorm follow. None: none
            follows, and the 2,048 means are what it gives.
        dropout: share of the 2,048 means left out while training.

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.

    Source: see the module; the neck as IResNet has it.
    """

    def __init__(self, *, dimension: int | None = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.recompute = False
        self.conv1 = nn.Conv2d(3, _STEM_WIDTH, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        given = [_STEM_WIDTH, *(_EXPANSION * width for width in _WIDTHS)]
        self.layer1 = _build_stage(given[0], _WIDTHS[0], _N_BLOCKS[0], stride=1)
        self.layer2 = _build_stage(given[1], _WIDTHS[1], _N_BLOCKS[1], stride=2)
        self.layer3 = _build_stage(given[2], _WIDTHS[2], _N_BLOCKS[2], stride=2)
        self.layer4 = _build_stage(given[3], _WIDTHS[3], _N_BLOCKS[3], stride=2)
        self.dropout = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Identity()
        self.features: nn.Module = nn.Identity()
        if dimension is not None:
            self.fc = nn.Linear(N_FEATURES, dimension)
            self.features = nn.BatchNorm1d(dimension)
        self._initialize()

    def _initialize(self) -> None:
        """BatchNorm (1 and 0) and the linear layer start as torch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(self.features, nn.BatchNorm1d):
            # Fixed at 1: the loss normalizes, only the bias centers the embeddings.
            self.features.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Embed crops, or photos.

        Args:
            x: (B, 3, H, W) float, RGB, (x - 127.5) / 127.5; H and W of 32 px and more.

        Returns:
            (B, D) float32, not normalized, or (B, 2048) without neck; also under autocast, which
            rules the stages only.

        Raises:
            LearningError: not of that shape.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < LEAST_PX:
            raise LearningError(
                f"a batch of shape {tuple(x.shape)}, the network takes (B, 3, H, W)",
                hint=f"H and W are {LEAST_PX} px and more; color stands before height and width",
            )
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = run_blocks(stage, x, recompute=self.recompute)
        with torch.autocast(x.device.type, enabled=False):
            means = self.dropout(x.float().mean((2, 3)))
            embeddings: Tensor = self.features(self.fc(means))
        return embeddings


def _build_stage(n_in: int, n_inside: int, n_blocks: int, *, stride: int) -> nn.Sequential:
    later = [_Bottleneck(_EXPANSION * n_inside, n_inside, 1) for _ in range(n_blocks - 1)]
    return nn.Sequential(_Bottleneck(n_in, n_inside, stride), *later)
