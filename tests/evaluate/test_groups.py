"""Error rates of groups at one threshold, counted against loops over every pair."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import draw_people
from arcwise.evaluate.calibrate.labeled import LabeledPhoto, score_listed, score_photos
from arcwise.evaluate.groups import Group, Grouping, GroupRate, GroupReport, measure_groups
from arcwise.evaluate.sets.metadata import Metadata
from arcwise.types import Pair

N_PEOPLE = 26


def make_photos() -> list[LabeledPhoto]:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(N_PEOPLE, 6))
    return [
        LabeledPhoto(f"{i:02}/{j}", f"{i:02}", centers[i] + 0.7 * rng.normal(size=6), f"{i}-{j}")
        for i in range(N_PEOPLE)
        for j in range(1 + i % 3)
    ]


def given(similarity: float, fmr: float | None = None) -> Threshold:
    return Threshold(similarity, fmr, False, "given")


def list_all(photos: list[LabeledPhoto]) -> list[Pair]:
    return [Pair(a.name, b.name, a.person == b.person, 0) for a, b in combinations(photos, 2)]


PEOPLE = Metadata(True, ("side",), {f"{i:02}": ("ab"[i % 2],) for i in range(N_PEOPLE)})
BY_PHOTO = Metadata(False, ("side",), {p.name: ("ab"[int(p.name[-1]) % 2],) for p in make_photos()})


def group_of(metadata: Metadata, photo: LabeledPhoto) -> str:
    return metadata.rows[photo.person if metadata.is_of_people else photo.name][0]


def naive(metadata: Metadata, name: str, similarity: float):
    """Pairs inside the group: label, number of both people, whether the decision is wrong."""
    rows = []
    for a, b in combinations(make_photos(), 2):
        if not name == group_of(metadata, a) == group_of(metadata, b):
            continue
        cosine = a.vector @ b.vector / np.linalg.norm(a.vector) / np.linalg.norm(b.vector)
        is_same = a.person == b.person
        rows.append((is_same, int(a.person), int(b.person), (cosine >= similarity) != is_same))
    return rows


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("metadata", [PEOPLE, BY_PHOTO], ids=["people", "photos"])
def test_rates_and_intervals_are_those_of_loops_over_the_pairs(metadata, is_complete: bool):
    photos = make_photos()
    scored = score_photos(photos) if is_complete else score_listed(list_all(photos), photos)
    report = measure_groups(scored, metadata, given(0.45), n_replicates=60, seed=4)
    (grouping,) = report.groupings
    assert [group.name for group in grouping.groups] == ["a", "b"]
    draws = draw_people(N_PEOPLE, 60, 4)
    for group in grouping.groups:
        rows = naive(metadata, group.name, 0.45)
        for is_same, rate in ((True, group.fnmr), (False, group.fmr)):
            own = [row for row in rows if row[0] is is_same]
            assert (rate.n_errors, rate.n_pairs) == (sum(r[3] for r in own), len(own))
            if rate.rate is None:
                assert rate.text.startswith("n/a: needs 10 people with two photos")
                continue
            assert rate.rate == rate.n_errors / rate.n_pairs
            shares = []
            for times in draws:
                weights = [times[r[1]] if is_same else times[r[1]] * times[r[2]] for r in own]
                wrong = sum(w for w, r in zip(weights, own, strict=True) if r[3])
                shares.append(wrong / sum(weights))
            assert (rate.low, rate.high) == pytest.approx(tuple(np.percentile(shares, [2.5, 97.5])))


def measure(
    metadata: Metadata = PEOPLE,
    similarity: float = 0.45,
    fmr: float | None = None,
    **options: object,
) -> GroupReport:
    return measure_groups(score_photos(make_photos()), metadata, given(similarity, fmr), **options)


def test_everybody_is_one_group_of_all_pairs():
    everybody = measure().everybody
    assert (everybody.n_people, everybody.n_photos) == (N_PEOPLE, len(make_photos()))
    n = everybody.n_photos
    assert everybody.fmr.n_pairs + everybody.fnmr.n_pairs == n * (n - 1) // 2


def test_the_ratio_is_the_greatest_rate_over_the_least():
    (grouping,) = measure().groupings
    rates = [group.fmr.rate for group in grouping.groups]
    assert grouping.fmr_ratio == pytest.approx(max(rates) / min(rates))


def test_a_small_group_has_no_rate_and_says_what_it_needs():
    few = {f"{i:02}": ("few" if i < 9 else "many",) for i in range(N_PEOPLE)}
    (grouping,) = measure(Metadata(True, ("size",), few)).groupings
    small = grouping.groups[0]
    assert (small.fmr.rate, small.fmr.low) == (None, None)
    assert small.fmr.text == "n/a: needs 10 people, has 9"
    assert small.fnmr.text == "n/a: needs 10 people with two photos, has 6"
    assert grouping.fmr_ratio is None


def test_of_a_list_only_people_in_pairs_of_the_group_count():
    """Twenty people in the group, but its strangers are of one couple and its own of one person."""
    photos = [
        LabeledPhoto(f"{i:02}/{j}", f"{i:02}", np.eye(20)[i] + 0.3 * j, f"{i}-{j}")
        for i in range(20)
        for j in range(3)
    ]
    own = [Pair("00/0", "00/1", True, 0), Pair("00/0", "00/2", True, 0)]
    couple = [Pair(f"00/{i}", f"01/{j}", False, 0) for i in range(3) for j in range(3)]
    across = [Pair(f"{i:02}/0", f"{i:02}/1", True, 0) for i in range(2, 20)]
    dim = Metadata(False, ("light",), {p.name: ("dim",) for p in photos if p.name[-2:] != "/1"})
    scored = score_listed([*own, *couple, *across], photos)
    (group,) = measure_groups(scored, dim, given(0.2)).groupings[0].groups
    assert group.n_people == 20
    assert group.fmr.text == "n/a: needs 10 people in its pairs of two, has 2"
    assert group.fnmr.text == "n/a: needs 10 people with two photos, has 1"
    assert (group.fmr.rate, group.fmr.low, group.fnmr.low) == (None, None, None)


def test_where_no_draw_has_a_pair_there_is_a_rate_and_no_interval():
    photos = [LabeledPhoto(f"{i}/0", f"{i}", np.ones(3) + i / 99, f"{i}") for i in range(10)]
    pairs = [Pair(f"{i}/0", f"{i + 1}/0", False, 0) for i in range(0, 10, 2)]
    everyone = Metadata(True, ("all",), {f"{i}": ("yes",) for i in range(10)})
    scored = score_listed(pairs, photos)
    report = measure_groups(scored, everyone, given(0.5), n_replicates=1, seed=92)
    rate = report.everybody.fmr  # the draw has nobody together with the other
    assert (rate.rate, rate.low, rate.high) == (1.0, None, None)
    assert rate.text == "100.000%, 5 of 5; no interval, as no draw of people has any of these pairs"


def test_a_ratio_over_a_rate_of_0_says_that_the_least_is_0():
    rates = [GroupRate(0, 9, rate, None, None, "") for rate in (0.1, 0.2, 0.0)]
    groups = tuple(Group("g", 9, 9, rate, rate) for rate in rates)
    rows = {row.name: row.value for row in Grouping("age", groups, 0, None, None).rows()}
    assert rows["age: FMR ratio"] == rows["age: FNMR ratio"] == "n/a: the least rate is 0"
    rows = {row.name: row.value for row in Grouping("age", groups[:1], 0, None, None).rows()}
    assert rows["age: FMR ratio"] == "n/a: needs two groups with a rate"


def test_a_threshold_of_a_known_rate_asks_for_the_pairs_that_can_show_it():
    (grouping,) = measure(fmr=1e-3).groupings
    group = grouping.groups[0]
    assert group.fmr.text == f"n/a: needs 10,000 pairs of two people, has {group.fmr.n_pairs:,}"
    assert group.fnmr.rate is not None or "two photos" in group.fnmr.text


@pytest.mark.parametrize("similarity", [1.0, -1.0])
def test_without_errors_there_is_a_rate_of_0_and_no_interval(similarity: float):
    report = measure(similarity=similarity)
    rate = report.everybody.fmr if similarity == 1.0 else report.everybody.fnmr
    assert (rate.n_errors, rate.rate, rate.low, rate.high) == (0, 0.0, None, None)
    assert rate.text == f"0, 0 of {rate.n_pairs:,}; no interval without errors"
    assert report.groupings[0].fmr_ratio is None or similarity == -1.0


def test_photos_without_a_value_are_in_no_group():
    some = Metadata(True, ("side",), {f"{i:02}": ("a",) for i in range(0, N_PEOPLE, 2)})
    (grouping,) = measure(some).groupings
    assert grouping.groups[0].n_people == 13
    assert grouping.n_unknown == sum(int(p.person) % 2 for p in make_photos())


def test_metadata_of_others_is_refused():
    strangers = Metadata(True, ("side",), {"nobody": ("a",)})
    with pytest.raises(DatasetError, match="says nothing of any of the 26 people") as caught:
        measure(strangers)
    assert "00" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": 1.5}, "the threshold is 1.5"),
        ({"similarity": float("nan")}, "the threshold is nan"),
        ({"fmr": 0.0}, "the false match rate is 0.0"),
        ({"n_replicates": 0}, "n_replicates"),
        ({"edges": {"height": [1.0]}}, "no column"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        measure(**options)


def test_a_report_survives_json_and_every_number_has_a_row():
    report = measure()
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["groupings"][0]["groups"][0]["name"] == "a"
    rows = {row.name: row for row in report.rows()}
    assert {"threshold", "everybody FMR", "side: a FNMR", "side: FMR ratio"} <= set(rows)
    assert all(row.value and row.definition for row in rows.values())
    assert isinstance(report.everybody, Group)
