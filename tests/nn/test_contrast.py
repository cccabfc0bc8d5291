from __future__ import annotations

import numpy as np
import torch

from arcwise.nn import build_backbone
from arcwise.nn.contrast import LocalContrast
from arcwise.nn.crops import draw_crops


def naive_smooth(maps: np.ndarray) -> np.ndarray:
    """Means of 4x4 px, means of up to 5x5 of these, lines between their middles."""
    height, width = maps.shape[0] // 4, maps.shape[1] // 4
    coarse = maps.reshape(height, 4, width, 4).mean(axis=(1, 3))
    boxes = np.empty_like(coarse)
    for y in range(height):
        for x in range(width):
            boxes[y, x] = coarse[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean()
    found = np.empty_like(maps)
    for y in range(maps.shape[0]):
        for x in range(maps.shape[1]):
            v = np.clip([(y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5], 0, None)
            i, j = (min(int(v[0]), height - 1), min(int(v[1]), width - 1))
            below, right = min(i + 1, height - 1), min(j + 1, width - 1)
            s, t = v[0] - i, v[1] - j
            upper = (1 - t) * boxes[i, j] + t * boxes[i, right]
            lower = (1 - t) * boxes[below, j] + t * boxes[below, right]
            found[y, x] = (1 - s) * upper + s * lower
    return found


def test_it_is_the_plain_formula() -> None:
    crops = draw_crops((3, 24, 24))[:2].double()
    found = LocalContrast()(crops)
    for crop, ours in zip(crops.numpy(), found, strict=True):
        rest = np.stack([channel - naive_smooth(channel) for channel in crop])
        deviation = np.sqrt(naive_smooth((rest**2).mean(axis=0)))
        assert np.allclose(ours.numpy(), rest / (deviation + 0.05), atol=1e-5)


def test_light_and_contrast_do_not_matter_where_there_is_some() -> None:
    crops = draw_crops((3, 112, 112))[1:2]  # noise: deviations far above 0.05
    contrast = LocalContrast()
    plain, changed = contrast(crops), contrast(0.8 * crops + 0.1)
    assert (plain - changed).abs().mean() < 0.05 * plain.abs().mean()


def test_a_crop_of_one_color_is_0_and_has_a_finite_gradient() -> None:
    crops = torch.full((1, 3, 112, 112), 0.3, requires_grad=True)
    found = LocalContrast()(crops)
    assert found.abs().max() < 1e-5
    found.sum().backward()
    assert crops.grad is not None
    assert crops.grad.isfinite().all()


def test_a_network_with_it_answers_in_float32_and_has_no_more_weights() -> None:
    plain = build_backbone("compact", dimension=8)
    network = build_backbone("compact", dimension=8, options={"front": "contrast"})
    assert network.state_dict().keys() == plain.state_dict().keys()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(draw_crops((3, 112, 112))).dtype is torch.float32
