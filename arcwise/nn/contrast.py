"""Local contrast: what light, skin and camera make alike over a region is taken out of a crop.

Each color of each pixel is compared with the mean around it, and divided by how much its
surroundings vary. Nothing here is learned, so a network on few photos need not learn that light
does not matter (docs/experiments.md). It does not know networks.

Source: local contrast normalization as in Jarrett et al. (2009), "What is the Best Multi-Stage
Architecture for Object Recognition?", with box means on a coarse map in place of a Gaussian, which
cost little and export to every runtime.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

_CELL_PX = 4  # of the coarse map
_BOX = 5  # cells: the surroundings are about 20 px, a sixth of a face crop
_TINY = 1e-12  # whose root has a finite slope
_LEAST = 0.05  # of (RGB - 127.5) / 127.5: below 6 levels of deviation, noise is not raised further


class LocalContrast(nn.Module):
    """(x - mean around it) / (deviation around it + 0.05), the deviation over all channels."""

    def forward(self, crops: Tensor) -> Tensor:
        """(B, C, H, W) floating to (B, C, H, W) float32; sides are multiples of 4.

        The gradient with respect to the crops is the true one. Runs in float32 under autocast.
        """
        with torch.autocast(crops.device.type, enabled=False):
            values = crops.float()
            rest = values - _smooth(values)
            deviation = _smooth(rest.square().mean(dim=1, keepdim=True)).clamp_min(_TINY).sqrt()
            return rest / (deviation + _LEAST)


def _smooth(maps: Tensor) -> Tensor:
    """The mean of the surroundings; at the edge, of what there is."""
    coarse = F.avg_pool2d(maps, _CELL_PX)
    coarse = F.avg_pool2d(coarse, _BOX, stride=1, padding=_BOX // 2, count_include_pad=False)
    return F.interpolate(coarse, scale_factor=float(_CELL_PX), mode="bilinear")
