"""The naive row of a comparison: a picture is its own embedding, small, gray, without its mean.

What a model finds beyond this, it has learned. It knows no faces and no files.
"""

from __future__ import annotations

import hashlib

import numpy as np

from arcwise.errors import ImageError
from arcwise.image import luma
from arcwise.types import Crops, Embeddings, Floats

_CROP_PX = 112
_SIDE = 28
_CELL_PX = _CROP_PX // _SIDE


class PixelEmbedder:
    """Embeds a crop as 28x28 mean brightnesses less their mean; the cosine is their correlation.

    The sizes are our choice: those of the model's crops, and what is left of a drawing in few
    numbers.
    """

    name = "pixels"
    crop_size_px = _CROP_PX
    dimension = _SIDE * _SIDE
    digest = hashlib.sha256(f"pixels {_SIDE} of {_CROP_PX}".encode()).hexdigest()

    def embed(self, crops: Crops) -> Embeddings:
        """Embed crops; one of a single brightness gives a vector of length 0.

        Args:
            crops: (N, 112, 112, 3) uint8 RGB.

        Raises:
            ImageError: they have another shape or type.
        """
        if crops.shape[1:] != (_CROP_PX, _CROP_PX, 3) or crops.dtype != np.uint8:
            raise ImageError(
                f"pixels are taken of (N, {_CROP_PX}, {_CROP_PX}, 3) uint8 crops, "
                f"got {crops.shape} {crops.dtype}"
            )
        cells = luma(crops).reshape(len(crops), _SIDE, _CELL_PX, _SIDE, _CELL_PX)
        flat: Floats = cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(crops), -1)
        return Embeddings.from_raw(flat - flat.mean(axis=1, keepdims=True))
