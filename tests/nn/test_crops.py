"""Crops to try a network with are always the same, and look like what a camera could give."""

from __future__ import annotations

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.crops import check_crops, draw_crops


@pytest.mark.parametrize("shape", [(3, 112, 112), (1, 128, 128), (3, 448, 448)])
def test_drawn_crops_are_five_of_the_asked_shape_and_values_of_photos(
    shape: tuple[int, int, int],
) -> None:
    crops = draw_crops(shape)
    assert crops.shape == (5, *shape)
    assert torch.equal(crops, draw_crops(shape))
    levels = crops * 127.5 + 127.5
    assert levels.min() >= 0
    assert levels.max() <= 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


def test_one_of_them_is_noise_and_one_is_black_below() -> None:
    crops = draw_crops((3, 112, 112))
    roughness = (crops[:, :, 1:] - crops[:, :, :-1]).abs().mean((1, 2, 3))
    assert roughness.argmax() == 1
    assert (crops[2, :, 80:] == -1).all()
    assert (crops[[0, 1, 3, 4], :, 80:] > -1).any()


def test_crops_of_another_shape_are_refused_with_what_is_taken() -> None:
    check_crops(torch.zeros(0, 1, 128, 128), n_channels=1, size_px=128)
    with pytest.raises(LearningError, match=r"\(2, 3, 112, 112\).*\(B, 1, 128, 128\)") as caught:
        check_crops(torch.zeros(2, 3, 112, 112), n_channels=1, size_px=128)
    assert "128 px, one gray channel" in caught.value.hint
