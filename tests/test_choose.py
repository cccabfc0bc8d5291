from __future__ import annotations

import numpy as np
import pytest

from arcwise.choose import choose_face
from arcwise.errors import InputError, ManyFacesError, NoFaceError
from arcwise.types import Face


def face(left: float, top: float, right: float, bottom: float) -> Face:
    box = np.array([left, top, right, bottom], np.float32)
    return Face(box_xyxy_px=box, score=0.9, points_px=np.zeros((5, 2), np.float32))


BIG_AT_THE_EDGE = face(0, 0, 60, 60)
SMALL_IN_THE_MIDDLE = face(80, 80, 120, 120)
BOTH = [SMALL_IN_THE_MIDDLE, BIG_AT_THE_EDGE]


def test_largest_takes_the_biggest_box() -> None:
    assert choose_face(BOTH, (200, 200), "largest") is BIG_AT_THE_EDGE


def test_center_prefers_the_middle_of_the_image() -> None:
    assert choose_face(BOTH, (200, 200), "center") is SMALL_IN_THE_MIDDLE


def test_center_is_area_minus_twice_the_squared_offset() -> None:
    # area 10000 at offset (50, 0): 10000 - 2 * 2500 = 5000; the other has area 71² = 5041 or 70²
    aside = face(100, 50, 200, 150)
    for side, wins in ((71, True), (70, False)):
        middle = face(100 - side / 2, 100 - side / 2, 100 + side / 2, 100 + side / 2)
        assert (choose_face([aside, middle], (200, 200), "center") is middle) == wins


def test_only_takes_the_single_face() -> None:
    assert choose_face([BIG_AT_THE_EDGE], (200, 200), "only") is BIG_AT_THE_EDGE


def test_only_refuses_two_faces() -> None:
    with pytest.raises(ManyFacesError, match="2 faces"):
        choose_face(BOTH, (200, 200), "only")


@pytest.mark.parametrize("select", ["largest", "center", "only"])
def test_no_face_is_an_error_of_its_own(select: str) -> None:
    with pytest.raises(NoFaceError):
        choose_face([], (200, 200), select)  # type: ignore[arg-type]


def test_another_word_is_refused_with_the_words_that_work() -> None:
    with pytest.raises(InputError, match="'biggest'") as caught:
        choose_face(BOTH, (200, 200), "biggest")  # type: ignore[arg-type]
    assert "largest, center, only" in caught.value.hint
