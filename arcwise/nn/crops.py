"""What a network takes: its batch checked, and crops drawn to try it with.

It does not know photos or faces. Values are (x - 127.5) / 127.5, as every backbone takes them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError

_COARSE = 9  # cells along a side of what becomes smooth
_GRAIN = 0.05  # share of noise in what is smooth


def check_crops(crops: Tensor, *, n_channels: int = 3, size_px: int = 112) -> None:
    """Refuse what is no batch of crops for a network of one size.

    Args:
        crops: to be (B, n_channels, size_px, size_px).
        n_channels: 3 for RGB, 1 for gray.
        size_px: side of the square crop.

    Raises:
        LearningError: not of that shape.
    """
    if crops.shape[1:] != (n_channels, size_px, size_px):
        kind = "color" if n_channels > 1 else "one gray channel"
        raise LearningError(
            f"a batch of shape {tuple(crops.shape)}, the network takes "
            f"(B, {n_channels}, {size_px}, {size_px})",
            hint=f"align the faces to crops of {size_px} px, {kind} before height and width",
        )


def draw_crops(crop_shape: tuple[int, int, int]) -> Tensor:
    """Five crops to compare two forms of a network with; always the same.

    Args:
        crop_shape: channels, height and width.

    Returns:
        (5, *crop_shape) float32, values a photo could have as (x - 127.5) / 127.5: four smooth
        as photos are, one of them black below as beyond the edge of a photo, and one of noise.
    """
    height, width = crop_shape[1:]
    dice = torch.Generator().manual_seed(height)
    coarse = torch.rand(5, crop_shape[0], _COARSE, _COARSE, generator=dice)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    grain = torch.rand(smooth.shape, generator=dice)
    pixels = (1 - _GRAIN) * smooth + _GRAIN * grain
    pixels[1] = grain[1]
    pixels[2, :, 5 * height // 7 :] = 0
    return ((pixels.clamp(0, 1) * 255).round() - 127.5) / 127.5
