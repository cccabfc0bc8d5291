"""Grouped convolutions that learn quickly on a CPU.

Where a kernel covers the whole map (global depthwise convolution), each channel is a matrix
product of (B, places) with (places, outputs), which torch's convolution does not see: it takes two
to thirty times as long to learn. And in bfloat16 the gradient of a grouped convolution takes up to
27 times what it takes in float32, so under autocast it stays in float32.

It does not know networks. Weights, names and, without a gradient, every bit of the answer are those
of nn.Conv2d, so that checkpoints, folding (nn/fuse.py) and export see nothing else. Source: our own
measurements, docs/experiments.md; the layer is that of Chen et al. (2018), "MobileFaceNets".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedConv2d(nn.Conv2d):
    """nn.Conv2d, computed in another way where a gradient is asked for on a CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        """(B, C, H, W) to (B, O, H', W'); under autocast of its type."""
        is_learning = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if not is_learning or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        if self._covers(input):
            return self._weigh_places(input)
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            output = super().forward(input.float())
        return output.to(torch.get_autocast_dtype("cpu"))

    def _covers(self, maps: Tensor) -> bool:
        """Whether there is one place for the kernel, so that it sees each value once."""
        is_plain = self.padding == (0, 0) and self.dilation == (1, 1) and self.bias is None
        return is_plain and tuple(maps.shape[2:]) == self.kernel_size

    def _weigh_places(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, 1, 1): for each group, (B, places) times (places, outputs)."""
        n_inside = self.in_channels // self.groups
        # A copy of a small map: from channels last, the product would make several.
        places = maps.contiguous().view(len(maps), self.groups, n_inside * maps[0, 0].numel())
        weights = self.weight.reshape(self.groups, self.out_channels // self.groups, -1)
        outputs = torch.bmm(places.transpose(0, 1), weights.transpose(1, 2))
        return outputs.transpose(0, 1).reshape(len(maps), self.out_channels, 1, 1)
