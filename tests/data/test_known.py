"""Known public sets: the table, counts that differ, and the page that must agree with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcwise.data.known import (
    KNOWN,
    check_counts,
    find_known,
    format_known,
    recognize_counts,
)
from arcwise.errors import InputError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_the_page_has_the_table_of_the_code() -> None:
    assert format_known() in PAGE.read_text(encoding="utf-8")


def test_every_set_has_terms_a_holder_and_a_source_and_a_name_of_its_own() -> None:
    assert all(row.terms and row.holder and row.source for row in KNOWN.values())
    words = [
        word
        for row in KNOWN.values()
        for word in {name.casefold() for name in (row.name, row.title, *row.aliases)}
    ]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("MS1MV2", "ms1mv2"),
        ("ms1m_arcface", "ms1mv2"),
        ("WebFace600K", "webface12m"),
        ("Labeled faces in the wild", "lfw"),
        ("IJBC", "ijb-c"),
    ],
)
def test_a_set_is_found_by_the_names_people_use(given: str, name: str) -> None:
    assert find_known(given).name == name


def test_an_unknown_set_is_refused_with_the_nearest_name_and_all_names() -> None:
    with pytest.raises(InputError, match="no known set is called 'glint-360'") as caught:
        find_known("glint-360")
    assert "did you mean glint360k?" in caught.value.hint
    assert "agedb" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "n_people", "n_photos"),
    [
        # arcface-spec 4.9: training set sizes
        ("casia", 10_572, 490_623),
        ("ms1m-ibug", 85_164, 3_804_846),
        ("ms1mv2", 85_742, 5_822_653),
        ("ms1mv3", 93_431, 5_179_510),
        ("glint360k", 360_232, 17_091_657),
        ("wf4m", 205_990, 4_235_242),
        ("wf12m", 617_970, 12_720_066),
        ("wf42m", 2_059_906, 42_474_557),
        ("lfw", 5_749, 13_233),
    ],
)
def test_the_published_counts_are_accepted_and_lead_to_the_set(
    name: str, n_people: int, n_photos: int
) -> None:
    assert check_counts(name, n_people, n_photos) == ()
    found = recognize_counts(n_people, n_photos)
    assert found is not None
    assert found.name == find_known(name).name


def test_what_differs_is_said_with_the_difference() -> None:
    assert check_counts("ms1mv3", 93_431, 5_179_509) == (
        "5,179,509 photos, 1 fewer than the 5,179,510 of MS1MV3 (MS1M-RetinaFace)",
    )
    assert check_counts("lfw", 5_760, 13_233) == (
        "5,760 people, 11 more than the 5,749 of Labeled Faces in the Wild",
    )
    assert len(check_counts("casia", 1, 2)) == 2


def test_rounded_counts_may_differ_by_two_percent_and_missing_ones_by_anything() -> None:
    assert check_counts("rfw", 11_800, 40_000) == ()
    assert len(check_counts("rfw", 11_000, 40_000)) == 1
    assert check_counts("calfw", 1, 1) == ()


def test_counts_of_no_set_are_not_recognized() -> None:
    assert recognize_counts(85_742, 1) is None
