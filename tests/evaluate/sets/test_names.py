"""Photos of a published list are found under the names they have at hand."""

from __future__ import annotations

import pytest

from arcwise.evaluate.sets.names import match_names
from arcwise.types import Pair

NAME = "Data/Images/001/frontal/01.jpg"


@pytest.mark.parametrize(
    ("photos", "found"),
    [
        ([NAME], NAME),
        (["Images/001/frontal/01.jpg"], "Images/001/frontal/01.jpg"),
        (["001/frontal/01.png"], "001/frontal/01.png"),
        (["01.jpg", "001/frontal/01.png"], "001/frontal/01.png"),  # the longest ending first
        (["001/frontal/01.jpg", "001/frontal/01.png"], "001/frontal/01.jpg"),  # its own suffix
        (["1/frontal/01.jpg", "01.jpeg"], NAME),
        ([], NAME),
    ],
)
def test_the_longest_ending_that_is_there_is_the_photo(photos, found):
    (pair,) = match_names([Pair(NAME, "x", True, 3)], photos)
    assert pair == Pair(found, "x", True, 3)


def test_a_name_without_ending_is_found_too():
    (pair,) = match_names([Pair("a/b", "a/b.c", False, 0)], ["b.png", "b.jpg"])
    assert (pair.a, pair.b) == ("b.jpg", "b.jpg")
