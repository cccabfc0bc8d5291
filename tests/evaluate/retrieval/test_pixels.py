"""Pixels as embeddings: correlation of small gray pictures, whatever the light."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import ImageError
from arcwise.evaluate.retrieval.pixels import PixelEmbedder


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = rng.integers(50, 150, (28, 28, 1), np.uint8)
    return np.repeat(np.repeat(np.repeat(cells, 4, 0), 4, 1), 3, 2)


def test_the_cosine_is_the_correlation_of_the_small_gray_pictures():
    crops = np.stack([draw(0), draw(1)])
    found = PixelEmbedder().embed(crops).vectors
    small = [crop[::4, ::4, 0].astype(float).ravel() for crop in crops]
    assert found[0] @ found[1] == pytest.approx(np.corrcoef(*small)[0, 1], abs=1e-5)
    assert found.shape == (2, PixelEmbedder.dimension)


def test_more_light_is_no_difference():
    found = PixelEmbedder().embed(np.stack([draw(0), draw(0) + np.uint8(50)])).vectors
    assert found[0] @ found[1] == pytest.approx(1, abs=1e-6)


def test_a_blank_picture_has_no_direction():
    blank = np.full((1, 112, 112, 3), 255, np.uint8)
    assert PixelEmbedder().embed(blank).norms[0] == 0


@pytest.mark.parametrize("shape", [(1, 105, 105, 3), (112, 112, 3), (1, 112, 112)])
def test_other_crops_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ImageError, match="uint8 crops"):
        PixelEmbedder().embed(np.zeros(shape, np.uint8))
