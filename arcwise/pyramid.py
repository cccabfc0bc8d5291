"""A photo and its halved copies: scaling and warping read from the copy that fits.

Four-pixel interpolation skips pixels when it shrinks by more than two; an area filter over the
whole photo does not, but costs ten times as much for each of the dozen sizes a detector asks
for. Halving once with an area filter and interpolating from the copy that is at most twice too
large is both fast and clean. It does not know faces.
"""

from __future__ import annotations

import cv2
import numpy as np

from arcwise.types import Crops, Floats, Image, check_image


class Pyramid:
    """One photo with copies of a half, a quarter, … of its size, made when first needed.

    Args:
        image: (H, W, 3) uint8 RGB; not copied, not changed.

    Raises:
        ImageError: not such an image.
    """

    def __init__(self, image: Image) -> None:
        self._copies: list[Image] = [check_image(image)]

    @property
    def size_wh_px(self) -> tuple[int, int]:
        """Width and height of the photo, px."""
        height, width = self._copies[0].shape[:2]
        return width, height

    def _copy(self, shrink: float) -> Image:
        """The smallest copy that still holds every pixel a shrink by this factor needs."""
        level = 0
        while shrink >= 2 and min(self._copies[level].shape[:2]) >= 2:
            shrink /= 2
            level += 1
            if level == len(self._copies):
                height, width = self._copies[-1].shape[:2]
                half = np.empty((height // 2, width // 2, 3), np.uint8)
                half_wh = width // 2, height // 2
                cv2.resize(self._copies[-1], half_wh, dst=half, interpolation=cv2.INTER_AREA)
                self._copies.append(half)
        return self._copies[level]

    def resize_into(self, out: Image) -> None:
        """Scale the whole photo into an array of another size.

        Args:
            out: (h, w, 3) uint8, C-contiguous, is overwritten; the sides may shrink differently.
        """
        width, height = self.size_wh_px
        new_height, new_width = out.shape[:2]
        source = self._copy(min(width / new_width, height / new_height))
        cv2.resize(source, (new_width, new_height), dst=out, interpolation=cv2.INTER_LINEAR)

    def warp(self, matrices: Floats, *, size_px: int, border: int) -> Crops:
        """Cut square crops out of the photo.

        Args:
            matrices: (N, 2, 3) similarity transforms, photo px to crop px.
            size_px: side of the crops.
            border: gray value outside the photo.

        Returns:
            (N, size_px, size_px, 3) uint8 RGB.
        """
        crops = np.empty((len(matrices), size_px, size_px, 3), dtype=np.uint8)
        scales = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
        shrinks = (1 / np.maximum(scales, 1e-9)).tolist()
        width, height = self.size_wh_px
        for crop, matrix, shrink in zip(crops, matrices, shrinks, strict=True):
            source = self._copy(shrink)
            if source is not self._copies[0]:
                # Pixel centers: x_photo = (x_copy + 0.5)·factor - 0.5.
                factors = np.array([width / source.shape[1], height / source.shape[0]])
                shift = matrix[:, 2] + matrix[:, :2] @ (factors / 2 - 0.5)
                matrix = np.column_stack([matrix[:, :2] * factors, shift])
            cv2.warpAffine(
                source,
                matrix,
                (size_px, size_px),
                dst=crop,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(border, border, border),
            )
        return crops

    def cut_squares(self, squares: Floats, *, size_px: int, border: int) -> Crops:
        """Cut square regions and scale them to one size, without rotation.

        Args:
            squares: (N, 4) left, top, right, bottom px; may reach beyond the photo.
            size_px: side of the crops.
            border: gray value outside the photo.

        Returns:
            (N, size_px, size_px, 3) uint8 RGB.
        """
        scales = size_px / np.maximum(squares[:, 2] - squares[:, 0], 1e-3)
        matrices = np.zeros((len(squares), 2, 3), np.float32)
        matrices[:, 0, 0] = matrices[:, 1, 1] = scales
        # Pixel centers: x_crop + 0.5 = (x_photo + 0.5 - left)·scale.
        matrices[:, :, 2] = (0.5 - squares[:, :2]) * scales[:, None] - 0.5
        return self.warp(matrices, size_px=size_px, border=border)
