"""What is drawn is seen, stays inside, and leaves the photo it was given alone."""

from __future__ import annotations

from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest

from arcwise import draw
from arcwise.draw import PLAIN_COLOR, STATUS_COLORS, contact_sheet, draw_faces
from arcwise.errors import ImageError, InputError
from arcwise.types import Face

GRAY = 90


def make_photo(width: int = 400, height: int = 300) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def face_in(left: float, top: float, right: float, bottom: float) -> Face:
    across = np.array([0.3, 0.7, 0.5, 0.35, 0.65]) * (right - left) + left
    down = np.array([0.4, 0.4, 0.6, 0.8, 0.8]) * (bottom - top) + top
    return Face(
        box_xyxy_px=np.array([left, top, right, bottom]),
        score=0.9,
        points_px=np.stack([across, down], axis=1),
    )


def find_color(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) x, y of the pixels that have exactly this color."""
    return np.argwhere((image == color).all(axis=2))[:, ::-1]


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


# ── boxes and points ──


def test_the_photo_itself_is_not_changed() -> None:
    photo = make_photo()
    drawn = draw_faces(photo, [face_in(100, 80, 200, 200)], labels=["Ann"])
    assert (photo == GRAY).all()
    assert (drawn != GRAY).any()


def test_no_faces_give_an_equal_copy() -> None:
    photo = make_photo()
    drawn = draw_faces(photo, [])
    assert (drawn == photo).all()
    assert not np.shares_memory(drawn, photo)


def test_the_box_lies_where_the_face_is() -> None:
    drawn = draw_faces(make_photo(), [face_in(100, 80, 200, 200)])
    spots = find_color(drawn, PLAIN_COLOR)
    assert np.abs(spots.min(axis=0) - [100, 80]).max() <= 1
    assert np.abs(spots.max(axis=0) - [199, 199]).max() <= 1


def test_each_of_the_five_points_has_its_dot() -> None:
    face = face_in(100, 80, 200, 200)
    drawn = draw_faces(make_photo(), [face], colors=[(255, 0, 0)])
    for x, y in np.rint(face.points_px).astype(int):
        assert tuple(drawn[y, x]) == (255, 0, 0)


def test_lines_and_letters_grow_with_the_photo() -> None:
    shares = []
    for scale in (1, 4, 16):
        face = face_in(*(np.array([75, 75, 175, 175]) * scale))
        photo = make_photo(250 * scale, 250 * scale)
        shares.append(changed(photo, draw_faces(photo, [face], labels=["Ann"])).mean())
    # From 1000 px on the same share of the picture; below, the least size keeps it readable.
    assert shares[2] == pytest.approx(shares[1], rel=0.2)
    assert shares[0] > shares[1]


def test_a_face_beyond_the_photo_is_drawn_as_far_as_it_is_inside() -> None:
    drawn = draw_faces(make_photo(), [face_in(-50, -40, 60, 80), face_in(1e8, 1e8, 2e8, 2e8)])
    assert len(find_color(drawn, PLAIN_COLOR)) > 50


# ── labels ──


def plate_of(drawn: np.ndarray, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    spots = find_color(drawn, color)
    return (*spots.min(axis=0), *(spots.max(axis=0) + 1))


def draw_plate_only(photo: np.ndarray, faces: list[Face], number: int, label: str) -> np.ndarray:
    """The pixels of one label: what changes when it alone is added."""
    labels = [label if i == number else "" for i in range(len(faces))]
    return changed(draw_faces(photo, faces), draw_faces(photo, faces, labels=labels))


def test_the_label_stands_above_its_face() -> None:
    faces = [face_in(100, 80, 200, 200)]
    plate = np.argwhere(draw_plate_only(make_photo(), faces, 0, "Ann"))
    assert plate[:, 0].max() < 80 + 2
    assert plate[:, 1].min() >= 100 - 2


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 100, 120),
        (300, 0, 400, 120),
        (0, 180, 100, 300),
        (300, 180, 400, 300),
        (-60, -60, 20, 20),
        (150, 2, 250, 140),
    ],
)
def test_a_label_is_drawn_whole_wherever_the_face_is(box: tuple[int, int, int, int]) -> None:
    usual = draw_plate_only(make_photo(), [face_in(150, 100, 250, 220)], 0, "Grace Hopper")
    plate = draw_plate_only(make_photo(), [face_in(*box)], 0, "Grace Hopper")
    rows, columns = np.flatnonzero(plate.any(axis=1)), np.flatnonzero(plate.any(axis=0))
    wanted_rows = np.flatnonzero(usual.any(axis=1))
    wanted_columns = np.flatnonzero(usual.any(axis=0))
    # Where the plate lies on the box's own line, some of its pixels do not change.
    assert abs(np.ptp(rows) - np.ptp(wanted_rows)) <= 4
    assert abs(np.ptp(columns) - np.ptp(wanted_columns)) <= 4


def test_a_label_does_not_hide_a_neighbor() -> None:
    below, above = face_in(100, 150, 200, 250), face_in(90, 30, 210, 148)
    plate = draw_plate_only(make_photo(), [below, above], 0, "Ann")
    assert not plate[30:148, 90:210].any()
    assert plate.any()


def test_labels_do_not_hide_each_other() -> None:
    photo = make_photo(600, 400)
    faces = [face_in(200 + 12 * i, 150 + 5 * i, 300 + 12 * i, 260 + 5 * i) for i in range(4)]
    labels = ["Ann Miller", "Bob Baker", "Cid Carter", "Dan Dyer"]
    colors = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10)]
    plain = draw_faces(photo, faces, colors=colors)
    drawn = draw_faces(photo, faces, labels=labels, colors=colors)
    plates = []
    for color in colors:
        mask = ((drawn == color).all(axis=2) & changed(plain, drawn)).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        assert count > 1, f"the plate in {color} is hidden"
        left, top, width, height, _ = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()]
        plates.append((left, top, left + width, top + height))
    for a, b in combinations(plates, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{a} and {b} overlap"


def test_a_label_too_long_for_the_photo_is_shortened() -> None:
    photo = make_photo(120, 120)
    faces = [face_in(20, 40, 100, 110)]
    full = draw_faces(photo, faces, labels=["A name that is very much longer than the photo"])
    short = draw_faces(photo, faces, labels=["A"])
    assert changed(full, short).any()
    assert full.shape == photo.shape


def test_a_photo_narrower_than_any_letter_is_drawn_without_label() -> None:
    photo = make_photo(4, 4)
    faces = [face_in(0, 0, 4, 4)]
    assert (draw_faces(photo, faces, labels=["Ann"]) == draw_faces(photo, faces)).all()


def test_an_empty_label_draws_no_plate() -> None:
    faces = [face_in(100, 80, 200, 200)]
    with_empty = draw_faces(make_photo(), faces, labels=["  "])
    assert (with_empty == draw_faces(make_photo(), faces)).all()


def test_a_line_break_in_a_label_is_a_space() -> None:
    faces = [face_in(100, 80, 200, 200)]
    one, two = (draw_faces(make_photo(), faces, labels=[t]) for t in ("Ann\n Miller", "Ann Miller"))
    assert (one == two).all()


@pytest.mark.parametrize("color", STATUS_COLORS.values())
def test_the_letters_stand_out_from_their_plate(color: tuple[int, int, int]) -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])  # WCAG 2.2, relative luminance

    def luminance(rgb: tuple[int, int, int]) -> float:
        share = np.array(rgb) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(weights @ linear)

    low, high = sorted([luminance(color), luminance(draw._choose_ink(color))])
    assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.2, 1.4.11


def test_every_two_statuses_differ_in_color_for_the_color_blind() -> None:
    # Source: Viénot, Brettel and Mollon (1999), projections for protanopes and deuteranopes
    # in linear RGB.
    protanope = np.array([[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]])
    deuteranope = np.array([[0.292, 0.708, 0], [0.292, 0.708, 0], [-0.022, 0.022, 1]])
    for simulate in (np.eye(3), protanope, deuteranope):
        seen = [simulate @ (np.array(color) / 255) ** 2.2 for color in STATUS_COLORS.values()]
        for a, b in combinations(seen, 2):
            assert np.abs(a.clip(0) ** (1 / 2.2) - b.clip(0) ** (1 / 2.2)).max() > 0.15


# ── letters ──

RENDERERS = [
    pytest.param(
        draw._render_with_opencv,
        marks=pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV 4 has no font"),
    ),
    draw._render_with_pillow,
]


@pytest.mark.parametrize("render", RENDERERS)
def test_letters_are_rendered_whole(render: object) -> None:
    mask = render("Ågy 0.71", 40)  # type: ignore[operator]
    assert mask.shape[0] == 56
    assert mask.max() == 255
    assert not mask[0].any()
    assert not mask[-1].any()


@pytest.mark.parametrize("render", RENDERERS)
def test_a_longer_text_is_wider(render: object) -> None:
    widths = [render("Ann"[:n], 40).shape[1] for n in (1, 2, 3)]  # type: ignore[operator]
    assert all(a < b for a, b in pairwise(widths))


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV 4 has no font")
@pytest.mark.parametrize(
    "name", ["José", "Łukasz", "Şahin", "Ελένη", "Владимир", "王小明", "김철수", "שלום", "محمد"]
)
def test_names_of_many_scripts_have_their_own_letters(name: str) -> None:
    mask = draw._render_with_opencv(name, 40)
    missing = draw._render_with_opencv("?" * len(name), 40)
    assert mask.shape != missing.shape or (mask != missing).any()


def test_without_opencv_5_accents_are_dropped_and_other_scripts_become_question_marks() -> None:
    render = draw._render_with_pillow
    assert (render("José", 30) == render("Jose", 30)).all()
    assert (render("王?", 30) == render("??", 30)).all()


def test_without_opencv_5_labels_are_drawn_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [face_in(100, 80, 200, 200)]
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    plain = draw_faces(make_photo(), faces)
    assert changed(plain, draw_faces(make_photo(), faces, labels=["Ann"])).sum() > 300


# ── wrong input ──


def test_labels_and_colors_must_be_one_per_face() -> None:
    faces = [face_in(100, 80, 200, 200)]
    with pytest.raises(InputError, match="2 labels for 1"):
        draw_faces(make_photo(), faces, labels=["a", "b"])
    with pytest.raises(InputError, match="0 colors for 1"):
        draw_faces(make_photo(), faces, colors=[])


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)],
)
def test_what_is_no_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ImageError, match="RGB"):
        draw_faces(image, [])
    with pytest.raises(ImageError, match="RGB"):
        contact_sheet([image])


# ── contact sheets ──


def test_a_sheet_shows_every_picture_in_its_cell() -> None:
    pictures = [np.full((50, 50, 3), 40 * (i + 1), np.uint8) for i in range(5)]
    sheet = contact_sheet(pictures, columns=3, cell_px=64)
    assert sheet.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    for i in range(5):
        row, column = divmod(i, 3)
        assert (sheet[2 + row * 66 + 32, 2 + column * 66 + 32] == 40 * (i + 1)).all()
    assert sheet[2 + 66 + 32, 2 + 2 * 66 + 32].min() > 240


@pytest.mark.parametrize("shape", [(30, 300, 3), (300, 30, 3), (1, 1, 3), (1, 5000, 3)])
def test_a_picture_of_any_shape_is_fitted_whole(shape: tuple[int, int, int]) -> None:
    sheet = contact_sheet([np.zeros(shape, np.uint8)], cell_px=100)
    dark = np.argwhere((sheet == 0).all(axis=2))
    assert dark.min() >= 3
    assert np.ptp(dark, axis=0).max() == 99


def test_labels_of_a_sheet_lie_below_the_pictures() -> None:
    pictures = [np.full((80, 80, 3), 128, np.uint8)] * 2
    plain, named = contact_sheet(pictures), contact_sheet(pictures, labels=["Ann", "王小明"])
    assert named.shape[0] > plain.shape[0]
    assert (named[5 + 160 : -5] < 100).any()


def test_rows_and_columns_of_a_sheet_are_about_as_many() -> None:
    sheet = contact_sheet([np.zeros((8, 8, 3), np.uint8)] * 10, cell_px=32)
    assert sheet.shape == (3 * 34 + 2, 4 * 34 + 2, 3)


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        contact_sheet([])


def test_a_sheet_without_columns_is_refused() -> None:
    with pytest.raises(InputError, match="0 columns"):
        contact_sheet([np.zeros((8, 8, 3), np.uint8)], columns=0)


def test_a_name_that_is_no_text_is_drawn_with_question_marks() -> None:
    odd = "\udce4.jpg"  # as Python has a file name that is not UTF-8
    assert np.array_equal(
        contact_sheet([make_photo()], labels=[odd]), contact_sheet([make_photo()], labels=["?.jpg"])
    )
