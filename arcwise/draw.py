"""Faces, names and scores onto pictures, and many pictures onto one sheet.

It does not know models or galleries: labels and colors are the caller's. Everything scales with
the photo, so that a label reads the same on 250x250 and on 4000x3000.

Letters: OpenCV 5 brings a font for Latin, Greek, Cyrillic, Hebrew, Arabic, Chinese, Japanese and
Korean. With OpenCV 4 Pillow's own font is used, which has ASCII only: "José" becomes "Jose", and
a letter that has no plain form becomes "?". A letter that no font has is a "?" in both.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from arcwise.errors import InputError
from arcwise.geometry import box_areas, overlap_boxes
from arcwise.image import resize_image
from arcwise.types import Face, Floats, Image, Status, check_image

Color = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

# Source: Okabe and Ito (2008), "Color Universal Design": told apart with every common kind of
# color blindness. Low quality is gray, as it is no verdict.
STATUS_COLORS: dict[Status, Color] = {
    "match": (0, 158, 115),  # bluish green
    "unknown": (213, 94, 0),  # vermillion
    "ambiguous": (240, 228, 66),  # yellow
    "low_quality": (190, 190, 190),
}
"""The color of each answer to "who is this face?"."""
PLAIN_COLOR: Color = (86, 180, 233)
"""Sky blue, for faces without a verdict."""

_HALO: Color = (20, 20, 20)  # around every line, so that it shows on any background
_PAPER: Color = (250, 250, 250)
_INK: Color = (20, 20, 20)
_LEAST_TEXT_PX = 12  # smaller letters cannot be read
_TEXT_SHARE = 1 / 45  # height of a letter per side of a square of the photo's area
_PLATE_HEIGHT = 1.4  # in text heights: room for accents above and tails below
_BASELINE = 1.02


def draw_faces(
    image: Image,
    faces: Sequence[Face],
    *,
    labels: Sequence[str] | None = None,
    colors: Sequence[Color] | None = None,
) -> Image:
    """Draw boxes, five points and labels on a copy of a photo.

    A label lies on a plate inside the photo: above its face, or below, right or left of it,
    wherever it hides the least of other faces and labels. One too long for the photo ends in
    "...". Which letters can be drawn: see the top of this module.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        faces: N faces, px of this photo.
        labels: N texts; an empty one draws no plate. None draws none.
        colors: N colors, for example of STATUS_COLORS; None draws all in PLAIN_COLOR.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: not an RGB image.
        InputError: not one label or one color per face.
    """
    check_image(image)
    _check_count("labels", labels, len(faces))
    _check_count("colors", colors, len(faces))
    canvas = np.ascontiguousarray(image).copy()
    text_px = _choose_text_px(image)
    line_px = max(1, round(text_px / 9))
    colors = colors if colors is not None else [PLAIN_COLOR] * len(faces)
    for face, color in zip(faces, colors, strict=True):
        _draw_face(canvas, face, color, line_px)
    if labels is not None:
        _draw_labels(canvas, faces, labels, colors, text_px)
    return canvas


def contact_sheet(
    images: Sequence[Image],
    *,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    cell_px: int = 160,
) -> Image:
    """Put many pictures onto one sheet, row by row.

    Args:
        images: (H, W, 3) uint8 RGB each, of any size; each is fitted into its cell whole.
        labels: one text under each picture; None leaves no room for text.
        columns: pictures in a row; by default about as many as rows.
        cell_px: side of a cell.

    Returns:
        (H, W, 3) uint8 RGB, light gray between the pictures.

    Raises:
        ImageError: one of them is not an RGB image.
        InputError: no picture, not one label per picture, or a cell or row that is too small.
    """
    if not images:
        raise InputError("a contact sheet needs at least one picture")
    _check_count("labels", labels, len(images))
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1 or cell_px < 16:
        raise InputError(
            f"a sheet of {columns} columns of {cell_px} px cannot be drawn",
            hint="use at least 1 column and 16 px",
        )
    columns = min(columns, len(images))
    gap_px = max(2, cell_px // 32)
    text_px = max(_LEAST_TEXT_PX, cell_px // 11)
    strip_px = round(text_px * _PLATE_HEIGHT) if labels is not None else 0
    rows = math.ceil(len(images) / columns)
    step_x, step_y = cell_px + gap_px, cell_px + strip_px + gap_px
    sheet = np.full((rows * step_y + gap_px, columns * step_x + gap_px, 3), _PAPER, np.uint8)
    for number, image in enumerate(images):
        check_image(image)
        row, column = divmod(number, columns)
        left, top = gap_px + column * step_x, gap_px + row * step_y
        _paste_fitted(sheet, image, (left, top), cell_px)
        if labels is not None:
            text = _render_fitted(labels[number], text_px, cell_px)
            shift = (cell_px - text.shape[1]) // 2
            _blend(sheet, text, (left + shift, top + cell_px), _INK)
    return sheet


def _check_count(name: str, values: Sequence[Any] | None, wanted: int) -> None:
    if values is not None and len(values) != wanted:
        raise InputError(f"{len(values)} {name} for {wanted} pictures or faces")


def _choose_text_px(image: Image) -> int:
    side = math.sqrt(image.shape[0] * image.shape[1])
    return max(_LEAST_TEXT_PX, round(side * _TEXT_SHARE))


# ── boxes and points ──


def _draw_face(canvas: Image, face: Face, color: Color, line_px: int) -> None:
    height, width = canvas.shape[:2]
    # cv2 counts in 32 bit and a box may lie far outside.
    far = 2 * max(height, width)
    box = np.clip(np.rint(face.box_xyxy_px), -far, far).astype(int).tolist()
    points = np.clip(np.rint(face.points_px), -far, far).astype(int).tolist()
    corners = (box[0], box[1]), (box[2] - 1, box[3] - 1)
    rim_px = max(1, line_px // 3)
    cv2.rectangle(canvas, *corners, _HALO, line_px + 2 * rim_px)
    cv2.rectangle(canvas, *corners, color, line_px)
    for point in points:
        cv2.circle(canvas, tuple(point), line_px + 1 + rim_px, _HALO, -1, cv2.LINE_AA)
        cv2.circle(canvas, tuple(point), line_px + 1, color, -1, cv2.LINE_AA)


# ── labels ──


def _draw_labels(
    canvas: Image,
    faces: Sequence[Face],
    labels: Sequence[str],
    colors: Sequence[Color],
    text_px: int,
) -> None:
    boxes = np.array([face.box_xyxy_px for face in faces], np.float32).reshape(-1, 4)
    taken = boxes
    for box, label, color in zip(boxes, labels, colors, strict=True):
        margin_px = text_px // 3
        text = _render_fitted(label, text_px, canvas.shape[1] - 2 * margin_px)
        if not text.size:
            continue
        plate_wh = text.shape[1] + 2 * margin_px, text.shape[0]
        plate = _place_plate(box, plate_wh, taken, canvas)
        taken = np.vstack([taken, plate])
        left, top, right, bottom = (int(value) for value in plate)
        canvas[max(top, 0) : bottom, max(left, 0) : right] = color
        _blend(canvas, text, (left + margin_px, top), _choose_ink(color))


def _place_plate(box: Floats, plate_wh: tuple[int, int], taken: Floats, canvas: Image) -> Floats:
    """The free place nearest to the usual one: (4,) left, top, right, bottom inside the photo."""
    height, width = canvas.shape[:2]
    plate_width, plate_height = plate_wh
    # Rounded outward, so that a plate beside the box does not touch it.
    (left, top), (right, bottom) = np.floor(box[:2]), np.ceil(box[2:])
    corners = np.array(
        [
            (left, top - plate_height),  # above
            (left, bottom),  # below
            (right, top),  # right
            (left - plate_width, top),  # left
            (right - plate_width, top - plate_height),  # above, flush right
            (right - plate_width, bottom),  # below, flush right
        ]
    )
    largest = np.array([max(width - plate_width, 0), max(height - plate_height, 0)])
    corners = np.clip(corners, 0, largest)
    plates = np.hstack([corners, corners + plate_wh]).astype(np.float32)
    shares = overlap_boxes(plates, taken, relative_to="smaller")
    smaller = np.minimum(box_areas(plates)[:, None], box_areas(taken)[None, :])
    hidden = (shares * smaller).sum(axis=1)
    best: Floats = plates[int(hidden.argmin())]
    return best


def _choose_ink(color: Color) -> Color:
    # Weights of ITU-R BT.601; black letters on light plates, white on dark ones.
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return _INK if brightness > 115 else _PAPER


def _blend(canvas: Image, mask: NDArray[np.uint8], at_xy: tuple[int, int], color: Color) -> None:
    """Color the canvas where the mask (0..255) covers it; what reaches outside is cut."""
    left, top = at_xy
    area = canvas[max(top, 0) : top + mask.shape[0], max(left, 0) : left + mask.shape[1]]
    part = mask[max(-top, 0) :, max(-left, 0) :][: area.shape[0], : area.shape[1]]
    share = part[:, :, None].astype(np.float32) / 255
    area[:] = np.rint(area * (1 - share) + np.array(color, np.float32) * share)


def _paste_fitted(sheet: Image, image: Image, at_xy: tuple[int, int], cell_px: int) -> None:
    height, width = image.shape[:2]
    scale = cell_px / max(height, width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    small = resize_image(image, size_wh)
    left = at_xy[0] + (cell_px - size_wh[0]) // 2
    top = at_xy[1] + (cell_px - size_wh[1]) // 2
    sheet[top : top + size_wh[1], left : left + size_wh[0]] = small


# ── letters ──


def _render_fitted(label: str, text_px: int, width_px: int) -> NDArray[np.uint8]:
    """The label on one line, shortened until it fits: (h, w) 0..255, w is 0 when none is left."""
    # OpenCV 5 ends the process at a letter that is none, as a file name that is no text has it.
    text = "".join(c if c.isprintable() else "?" for c in " ".join(label.split()))
    mask = _render_text(text, text_px)
    while mask.shape[1] > width_px and text:
        # The share that fits is a good guess; one letter less each time makes sure of an end.
        keep = min(len(text) - 1, int(len(text) * width_px / mask.shape[1]))
        text = text[:keep]
        mask = _render_text(text.rstrip() + "..." if text else "", text_px)
    return mask


def _render_text(text: str, text_px: int) -> NDArray[np.uint8]:
    """How much each pixel is covered by the letters: (1.4 text_px, w) uint8."""
    if not text:
        return np.zeros((round(text_px * _PLATE_HEIGHT), 0), np.uint8)
    if hasattr(cv2, "FontFace"):
        return _render_with_opencv(text, text_px)
    return _render_with_pillow(text, text_px)


def _render_with_opencv(text: str, text_px: int) -> NDArray[np.uint8]:
    font = cv2.FontFace("uni")
    left, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), font, text_px)
    mask = np.zeros((round(text_px * _PLATE_HEIGHT), width), np.uint8)
    origin = -left, round(text_px * _BASELINE)
    cv2.putText(mask, text, origin, (255, 255, 255), font, text_px)
    return mask


def _render_with_pillow(text: str, text_px: int) -> NDArray[np.uint8]:
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    plain = plain.encode("ascii", errors="replace").decode("ascii")
    font = ImageFont.load_default(size=text_px)
    width = math.ceil(font.getlength(plain))
    picture = PillowImage.new("L", (width, round(text_px * _PLATE_HEIGHT)))
    baseline = 0, round(text_px * _BASELINE)
    ImageDraw.Draw(picture).text(baseline, plain, fill=255, font=font, anchor="ls")
    return np.array(picture, dtype=np.uint8)
