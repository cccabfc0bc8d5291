"""Photos per person: the numbers and the histogram, against counting by hand."""

from __future__ import annotations

import json

import pytest

from arcwise.data.split import Sample
from arcwise.data.stats import count_photos, describe_counts
from arcwise.errors import DatasetError, InputError

COUNTS = {"Ann": 1, "Bob": 1, "Cleo": 4, "Dan": 12, "Eve": 12, "Fay": 30}


def test_the_numbers_are_those_that_counting_gives() -> None:
    stats = describe_counts(COUNTS, least=10)
    assert (stats.n_people, stats.n_photos) == (6, 60)
    assert (stats.mean, stats.median) == (10.0, 8.0)
    assert (stats.fewest, stats.most, stats.person_with_most) == (1, 30, "Fay")
    assert (stats.n_below, stats.n_photos_below) == (3, 6)


def test_every_person_and_photo_is_in_one_bin_and_the_bins_leave_no_gap() -> None:
    counts = {str(n): n for n in range(1, 1500)}
    bins = describe_counts(counts).bins
    assert sum(row.n_people for row in bins) == 1499
    assert sum(row.n_photos for row in bins) == sum(range(1, 1500))
    assert [row.least for row in bins[1:]] == [row.most + 1 for row in bins[:-1] if row.most]
    assert (bins[0].name, bins[3].name, bins[-1].name) == ("1", "5-9", "1000+")
    assert bins[-1].n_people == 500


def test_the_histogram_ends_with_the_last_person_and_draws_bars_in_proportion() -> None:
    lines = describe_counts(COUNTS).to_text().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["1", "2"],
        ["2", "0"],
        ["3-4", "1"],
        ["5-9", "0"],
        ["10-19", "2"],
        ["20-49", "1"],
    ]
    assert [line.count("#") for line in lines] == [40, 0, 20, 0, 40, 20]


def test_a_bin_with_one_person_among_thousands_is_still_seen() -> None:
    counts = {str(n): 1 for n in range(5000)} | {"Ann": 7}
    assert describe_counts(counts).to_text().splitlines()[-1].count("#") == 1


def test_photos_of_nobody_are_not_counted() -> None:
    samples = [Sample("a.jpg", ""), Sample("B/1.jpg", "B"), Sample("A/1.jpg", "A")] * 2
    assert list(count_photos(samples).items()) == [("A", 2), ("B", 2)]


def test_the_values_are_plain_enough_for_json() -> None:
    plain = json.loads(json.dumps(describe_counts(COUNTS).to_dict()))
    assert plain["n_people"] == 6
    assert plain["bins"][2] == {
        "least": 3,
        "most": 4,
        "n_people": 1,
        "n_photos": 4,
        "name": "3-4",
    }


@pytest.mark.parametrize("counts", [{}, {"Ann": 0}])
def test_nobody_with_a_photo_is_an_error(counts: dict[str, int]) -> None:
    with pytest.raises(DatasetError, match=f"none of {len(counts)} people"):
        describe_counts(counts)


def test_a_least_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="least must be at least 1, got 0"):
        describe_counts(COUNTS, least=0)
