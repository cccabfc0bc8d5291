"""Which face of several is meant: the largest, the one nearest the center, or the only one.

It does not know photos or people; it looks at boxes alone. Source of "center": area minus twice
the squared offset from the middle of the image, as facenet's align_dataset_mtcnn.py selects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from arcwise.errors import InputError, ManyFacesError, NoFaceError
from arcwise.types import Face, Select


def choose_face(faces: Sequence[Face], size_wh_px: tuple[int, int], select: Select) -> Face:
    """The face that is meant, by one of the three rules.

    Args:
        faces: of one photo, in any order; of two that are equal the first is chosen.
        size_wh_px: width and height of the photo, px; only "center" looks at it.
        select: "largest" box, "center" (area - 2 * squared offset, px²), or "only".

    Returns:
        One of `faces`.

    Raises:
        NoFaceError: `faces` is empty.
        ManyFacesError: `select` is "only" and there are several.
        InputError: `select` is another word.
    """
    if select not in _RULES:
        raise InputError(f"select is {select!r}", hint=f"use one of {', '.join(get_args(Select))}")
    if not faces:
        raise NoFaceError("no face was found", hint="use a photo that shows the face larger")
    return _RULES[select](faces, size_wh_px)


def _largest(faces: Sequence[Face], _size_wh_px: tuple[int, int]) -> Face:
    return max(faces, key=_area)


def _center(faces: Sequence[Face], size_wh_px: tuple[int, int]) -> Face:
    def score(face: Face) -> float:
        left, top, right, bottom = (float(v) for v in face.box_xyxy_px)
        offset_x = (left + right - size_wh_px[0]) / 2
        offset_y = (top + bottom - size_wh_px[1]) / 2
        return _area(face) - 2.0 * (offset_x**2 + offset_y**2)

    return max(faces, key=score)


def _only(faces: Sequence[Face], _size_wh_px: tuple[int, int]) -> Face:
    if len(faces) > 1:
        raise ManyFacesError(
            f"{len(faces)} faces were found where one was expected",
            hint="crop the photo, or select the largest or the center face",
        )
    return faces[0]


def _area(face: Face) -> float:
    width, height = face.size_wh_px
    return width * height


_RULES: dict[str, Callable[[Sequence[Face], tuple[int, int]], Face]] = {
    "largest": _largest,
    "center": _center,
    "only": _only,
}
