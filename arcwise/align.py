"""Photos and five points become crops on the ArcFace template, all faces of a photo at once.

It does not find faces and does not know models. Source: the five-point template published with
ArcFace (Deng et al. 2019) for 112 px; larger crops as InsightFace cuts them, so that models
trained on its crops see the same picture.
"""

from __future__ import annotations

import numpy as np

from arcwise.errors import InputError
from arcwise.geometry import fit_similarity
from arcwise.pyramid import Pyramid
from arcwise.types import Crops, Floats, Image

TEMPLATE_PX: Floats = np.array(
    [
        [38.2946, 51.6963],  # eye, left as the viewer sees it
        [73.5318, 51.5014],  # eye, right
        [56.0252, 71.7366],  # nose
        [41.5493, 92.3655],  # mouth corner, left
        [70.7299, 92.2041],  # mouth corner, right
    ],
    dtype=np.float32,
)
"""(5, 2) px on a crop of 112 px, as published with ArcFace."""
TEMPLATE_PX.setflags(write=False)


def scale_template(size_px: int) -> Floats:
    """The template for a crop of another size.

    Args:
        size_px: side of the crop; a multiple of 112, or of 128 (whose template lies 8 px of
            128 further right, as InsightFace cuts it).

    Returns:
        (5, 2) float32 px.

    Raises:
        InputError: any other size.
    """
    if size_px > 0 and size_px % 112 == 0:
        return TEMPLATE_PX * np.float32(size_px / 112)
    if size_px > 0 and size_px % 128 == 0:
        return (TEMPLATE_PX + np.array([8, 0], np.float32)) * np.float32(size_px / 128)
    raise InputError(
        f"no template for crops of {size_px} px", hint="use a multiple of 112 or of 128"
    )


def align_faces(image: Image, points: Floats, *, size_px: int = 112, border_px: int = 0) -> Crops:
    """Warp faces of one photo onto the ArcFace template.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (N, 5, 2) float32, px in `image`; order in docs/conventions.md.
        size_px: side of the square crops; see `scale_template`.
        border_px: of the photo around them that is cut out with them: room to move a crop in.

    Returns:
        (N, S, S, 3) uint8 RGB, S = size_px + 2·border_px; the middle is exactly the crop without
        border. Outside the photo is black.

    Raises:
        ImageError: not an RGB image.
        InputError: not five points, those of one face coincide, no template of that size, or a
            negative border.

    Source: least-squares similarity (Umeyama 1991) and bilinear warp, as published with
    ArcFace. A face more than twice as large as the crop is read from a copy of the photo that
    was halved with an area filter (see pyramid.py), so that no pixel is skipped.
    """
    if border_px < 0:
        raise InputError(f"border_px must be at least 0, got {border_px}")
    pyramid = Pyramid(image)
    points = np.asarray(points, dtype=np.float32)
    if not points.size:  # no faces, however they are written
        points = points.reshape(0, 5, 2)
    matrices = fit_similarity(points, scale_template(size_px))
    crops = pyramid.warp(matrices, size_px=size_px, border=0)
    if not border_px:
        return crops
    matrices[:, :, 2] += border_px
    wide = pyramid.warp(matrices, size_px=size_px + 2 * border_px, border=0)
    # Warping rounds coordinates: the middle of the wide crop may be one gray value off.
    wide[:, border_px:-border_px, border_px:-border_px] = crops
    return wide


def align_face(image: Image, points: Floats, *, size_px: int = 112) -> Image:
    """Warp one face onto the ArcFace template; see `align_faces`.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (5, 2) float32, px in `image`.
        size_px: side of the square crop.

    Returns:
        (size_px, size_px, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: the points coincide, or there is no template of that size.
    """
    if np.shape(points) != (5, 2):
        raise InputError(f"points must have shape (5, 2), got {np.shape(points)}")
    crop: Image = align_faces(image, np.asarray(points)[None], size_px=size_px)[0]
    return crop
