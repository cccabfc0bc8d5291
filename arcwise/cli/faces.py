"""Photos of a report by their names: the face that was meant, or the crop itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arcwise.evaluate.report import Picture
    from arcwise.evaluate.verification.drawn import ReadPhoto
    from arcwise.recognizer import Recognizer
    from arcwise.types import Image, Select

_SIZE_PX = 224
_GRAY = 128  # in the place of a photo that cannot be shown


def face_reader(
    recognizer: Recognizer, place: Path, select: Select, *, is_aligned: bool
) -> ReadPhoto:
    """A function from the name of a photo to the face that is meant in it; None if unreadable.

    Args:
        recognizer: finds the face.
        place: folder or zip archive of the photos.
        select: which face of several is meant.
        is_aligned: the photos are crops: shown as they are.
    """
    from arcwise.align import align_faces
    from arcwise.choose import choose_face
    from arcwise.errors import InputError
    from arcwise.photos import open_photos

    def read(name: str) -> Image | None:
        with open_photos(place) as archive:
            if is_aligned:
                return next(recognizer.read([archive.open(name)]))[0].image
            ((photo, found),) = recognizer.detect_photos([archive.open(name)])
        if photo.image is None:
            return None
        try:
            face = choose_face(found.faces, found.size_wh_px, select)
        except InputError:  # no face in it: the photo itself shows why
            return photo.image
        crop: Image = align_faces(photo.image, face.points_px[None], size_px=_SIZE_PX)[0]
        return crop

    return read


def crop_reader(images: Mapping[str, bytes]) -> ReadPhoto:
    """A function from the name of a crop of a pack to the crop."""
    from arcwise.errors import InputError
    from arcwise.image import read_image

    def read(name: str) -> Image | None:
        try:
            return read_image(images[name])
        except InputError:
            return None

    return read


def sheet_of_photos(
    title: str, photos: Sequence[tuple[str, Image | None]], *, caption: str
) -> Picture:
    """Photos on one sheet, four in a row, each with its label.

    Args:
        title: above the sheet.
        photos: label and picture, at least one; None is shown gray.
        caption: below it.
    """
    import numpy as np

    from arcwise.draw import contact_sheet
    from arcwise.encode import encode_image
    from arcwise.evaluate.report import Picture

    gray = np.full((_SIZE_PX, _SIZE_PX, 3), _GRAY, np.uint8)
    images = [gray if image is None else image for _, image in photos]
    labels = [label for label, _ in photos]
    sheet = contact_sheet(images, labels=labels, columns=4, cell_px=220)
    return Picture(title, encode_image(sheet), caption)
