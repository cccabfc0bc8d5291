"""MobileFaceNet: a small network of depth-wise convolutions, for phones and plain processors.

It does not know losses, nor where weights come from. Names and shapes of the weights are those
of the layout InsightFace publishes, so that such a state dict loads without renaming.

Source: Chen et al. (2018), "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face
Verification on Mobile Devices".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn.crops import check_crops
from arcwise.nn.grouped import GroupedConv2d
from arcwise.nn.prelu import PReLU
from arcwise.nn.recompute import run_blocks

_LAST_WIDTH = 512
_LAST_SIDE = 7


class _Chain(nn.Module):
    """Layers one after the other, below the name `layers` as in the published weights.

    Args:
        layers: in order.
        is_residual: add the input to the output.
    """

    def __init__(self, *layers: nn.Module, is_residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.is_residual = is_residual

    def forward(self, x: Tensor) -> Tensor:
        """Any input the first layer takes, to the output of the last."""
        out: Tensor = self.layers(x)
        return x + out if self.is_residual else out


class MobileFaceNet(nn.Module):
    """Inverted bottlenecks, then one weight for each place of the last map (global depth-wise).

    Args:
        dimension: D, length of the embeddings.
        dropout: share of the 512 features left out before the linear layer while training.
        scale: multiplies the widths; 1 is the paper's, 2 the published `mbf`, 4 `mbf_large`.
        blocks: residual bottlenecks at 56, 28, 14 and 7 px. A 1 in the first place is one
            grouped convolution, as in the paper; `mbf_large` has (2, 8, 12, 4).

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.

    Raises:
        LearningError: a scale or a number of blocks below 1, or other than four numbers.

    Source: Chen et al. (2018), table 1; widths and initialization (normal, He et al. 2015, by
    fan-out) as in the layout InsightFace publishes.
    """

    def __init__(
        self,
        *,
        dimension: int = 512,
        dropout: float = 0.0,
        scale: int = 2,
        blocks: Sequence[int] = (1, 4, 6, 2),
    ) -> None:
        super().__init__()
        if scale < 1 or len(blocks) != 4 or min(blocks) < 1:
            raise LearningError(
                f"MobileFaceNet of scale {scale} and blocks {tuple(blocks)}",
                hint="scale and each of four numbers of blocks are at least 1",
            )
        self.recompute = False
        narrow, wide = 64 * scale, 128 * scale
        first = (
            _convolution(narrow, narrow, 3, groups=64)
            if blocks[0] == 1
            else _residuals(narrow, 128, blocks[0])
        )
        self.layers = nn.Sequential(
            _convolution(3, narrow, 3, stride=2),
            first,
            _bottleneck(narrow, 128, narrow, stride=2),
            _residuals(narrow, 128, blocks[1]),
            _bottleneck(narrow, 256, wide, stride=2),
            _residuals(wide, 256, blocks[2]),
            _bottleneck(wide, 512, wide, stride=2),
            _residuals(wide, 256, blocks[3]),
        )
        self.conv_sep = _convolution(wide, _LAST_WIDTH, 1)
        self.features = _Chain(
            _projection(_LAST_WIDTH, _LAST_WIDTH, _LAST_SIDE, groups=_LAST_WIDTH),
            nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            nn.Linear(_LAST_WIDTH, dimension, bias=False),
            nn.BatchNorm1d(dimension),
        )
        self._initialize()

    def _initialize(self) -> None:
        """BatchNorm (1 and 0) and PReLU (0.25) start as torch has them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Embed crops.

        Args:
            x: (B, 3, 112, 112) float, RGB, (x - 127.5) / 127.5.

        Returns:
            (B, D) float32, not normalized; also under autocast, which rules all before the global
            depth-wise convolution only.

        Raises:
            LearningError: not of that shape.
        """
        check_crops(x)
        x = self.conv_sep(run_blocks(self.layers, x, recompute=self.recompute))
        with torch.autocast(x.device.type, enabled=False):
            embeddings: Tensor = self.features(x.float())
        return embeddings


def _projection(
    n_in: int, n_out: int, side: int, *, stride: int = 1, groups: int = 1, padding: int = 0
) -> _Chain:
    """Convolution and BatchNorm, without activation."""
    kind = nn.Conv2d if groups == 1 else GroupedConv2d
    convolution = kind(n_in, n_out, side, stride=stride, padding=padding, groups=groups, bias=False)
    return _Chain(convolution, nn.BatchNorm2d(n_out))


def _convolution(n_in: int, n_out: int, side: int, *, stride: int = 1, groups: int = 1) -> _Chain:
    """Convolution that keeps the size but for its stride, BatchNorm and PReLU."""
    unit = _projection(n_in, n_out, side, stride=stride, groups=groups, padding=side // 2)
    unit.layers.append(PReLU(n_out))
    return unit


def _bottleneck(
    n_in: int, n_inside: int, n_out: int, *, stride: int = 1, is_residual: bool = False
) -> _Chain:
    """Widen, look around in each channel alone, narrow."""
    return _Chain(
        _convolution(n_in, n_inside, 1),
        _convolution(n_inside, n_inside, 3, stride=stride, groups=n_inside),
        _projection(n_inside, n_out, 1),
        is_residual=is_residual,
    )


def _residuals(n_channels: int, n_inside: int, n_blocks: int) -> _Chain:
    return _Chain(
        *(_bottleneck(n_channels, n_inside, n_channels, is_residual=True) for _ in range(n_blocks))
    )
