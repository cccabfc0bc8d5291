"""A calibration says what its pairs support, names what is odd about them, and invents nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from arcwise.compare import Calibration
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate import calibrate as calibrating
from arcwise.evaluate.calibrate import calibrate, calibrate_photos
from arcwise.evaluate.calibrate.labeled import (
    LabeledPhoto,
    digest_names,
    score_listed,
    score_photos,
)
from arcwise.evaluate.calibrate.thresholds import CalibrationReport, show_rate
from arcwise.types import Pair


def make_photos(n_people: int, n_photos: int, *, seed: int = 3) -> list[LabeledPhoto]:
    """Vectors of 16 signs: their cosines are exact multiples of 1/8, with many ties."""
    rng = np.random.default_rng(seed)
    photos = []
    for i in range(n_people):
        center = rng.choice([-1, 1], 16)
        for j in range(n_photos):
            vector = np.where(rng.random(16) < 0.1, -center, center).astype(np.float32)
            photos.append(LabeledPhoto(f"p{i:02}/{j}.jpg", f"p{i:02}", vector, f"{i}-{j}"))
    return photos


def similarity(a: LabeledPhoto, b: LabeledPhoto) -> float:
    return float(a.vector @ b.vector) / 16


def split_scores(photos: Sequence[LabeledPhoto]) -> tuple[list[float], list[float]]:
    pairs = list(combinations(photos, 2))
    return (
        [similarity(a, b) for a, b in pairs if a.person == b.person],
        [similarity(a, b) for a, b in pairs if a.person != b.person],
    )


def naive_points(photos: Sequence[LabeledPhoto]) -> list[tuple[float, float, int, int, float]]:
    """Rate, threshold, false matches, pairs of people they are of, FNMR; from the definitions."""
    genuine, impostor = split_scores(photos)
    points = []
    for fmr in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        fitting = [t for t in set(impostor) if sum(s >= t for s in impostor) / len(impostor) <= fmr]
        if not fitting or sum(s >= min(fitting) for s in impostor) < 10:
            return points
        t = min(fitting)
        couples = {
            (a.person, b.person)
            for a, b in combinations(photos, 2)
            if a.person != b.person and similarity(a, b) >= t
        }
        n_false, fnmr = sum(s >= t for s in impostor), np.mean([s < t for s in genuine])
        points.append((fmr, t, n_false, len(couples), float(fnmr)))
    return points


@pytest.mark.parametrize("seed", range(5))
def test_the_points_are_those_of_the_naive_loop_over_all_pairs(seed: int):
    photos = make_photos(25, 3, seed=seed)
    report = calibrate_photos(photos)
    found = [(p.fmr, p.similarity, p.n_false, p.n_couples, p.fnmr) for p in report.points]
    assert found == naive_points(photos)
    assert len(found) >= 1
    genuine, impostor = split_scores(photos)
    assert (report.n_genuine, report.n_impostors) == (len(genuine), len(impostor)) == (75, 2700)
    assert all(p.fmr_found == p.n_false / 2700 <= p.fmr for p in report.points)


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_balanced_accuracy_is_that_of_the_naive_loop(seed: int):
    photos = make_photos(25, 3, seed=seed)
    genuine, impostor = split_scores(photos)

    def balanced(t: float) -> float:
        accepted, refused = np.mean([s >= t for s in genuine]), np.mean([s < t for s in impostor])
        return float(accepted + refused) / 2

    best = calibrate_photos(photos).best
    assert best is not None
    assert best.rate == pytest.approx(max(balanced(t) for t in {*genuine, *impostor}))
    assert balanced(best.similarity) == pytest.approx(best.rate)


def test_equal_scores_that_cannot_be_parted_support_no_rate():
    eye = np.eye(15, dtype=np.float32)
    photos = [LabeledPhoto(f"{i}{j}", f"{i}", eye[i], f"{i}{j}") for i in range(15) for j in "ab"]
    photos.append(replace(photos[0], name="lean", vector=eye[0] + 0.5 * eye[1], digest="lean"))
    # All impostors score 0 but the two pairs of the leaning photo with the second person.
    with pytest.raises(DatasetError, match="equal scores leave 2 of 448"):
        calibrate_photos(photos)


def test_people_who_are_told_apart_have_no_errors_within_the_gap():
    photos = make_photos(40, 2)
    eye = np.repeat(np.eye(40), 2, axis=0) + 0.01 * np.random.default_rng(0).random((80, 40))
    apart = [replace(photo, vector=row) for photo, row in zip(photos, eye, strict=True)]
    report = calibrate_photos(apart)
    assert report.eer is not None
    assert report.best is not None
    assert (report.eer.rate, report.best.rate) == (pytest.approx(0, abs=1e-12), 1.0)
    assert 0.1 < report.best.similarity < 0.99
    assert [point.fnmr for point in report.points] == [0.0] * 2


def test_intervals_hold_the_threshold_and_narrow_with_more_people():
    widths = []
    for n_people in (20, 80):
        rng = np.random.default_rng(0)
        photos = [
            LabeledPhoto(f"{i}", f"{i}", rng.normal(size=16), f"{i}") for i in range(n_people)
        ]
        point = calibrate_photos(photos).points[0]
        assert point.low <= point.similarity <= point.high
        widths.append(point.high - point.low)
    assert widths[1] < 0.6 * widths[0]


def test_a_rate_is_refused_with_the_number_of_pairs_it_needs():
    report = calibrate_photos(make_photos(15, 2))
    assert [point.fmr for point in report.points] == [0.1]
    assert report.next_rate is not None
    assert (report.next_rate.fmr, report.next_rate.n_needed) == (0.01, 1000)
    assert report.next_rate.text == "FMR 1e-02 needs 1,000 impostor pairs, there are 420"


def test_too_few_pairs_for_any_rate_are_refused():
    with pytest.raises(DatasetError, match="FMR 1e-01 needs 100 impostor pairs, there are 45"):
        calibrate_photos(make_photos(10, 1))


@pytest.mark.parametrize(
    ("n_people", "n_photos", "message"),
    [
        (0, 0, "0 photos with an embedding show nobody"),
        (1, 4, "4 photos with an embedding show one person, p00: no pair of strangers"),
        (9, 9, "81 photos of 9 people: too few"),
    ],
)
def test_too_few_people_are_refused(n_people: int, n_photos: int, message: str):
    with pytest.raises(DatasetError, match=message) as caught:
        calibrate_photos(make_photos(n_people, n_photos))
    assert "10 people" in caught.value.hint


def test_without_two_photos_of_anybody_there_are_thresholds_but_no_fnmr():
    report = calibrate_photos(make_photos(40, 1))
    assert report.n_genuine == 0
    assert (report.eer, report.best) == (None, None)
    point = report.points[0]
    assert (point.fnmr, point.fnmr_low, point.fnmr_high) == (None, None, None)
    assert point.low <= point.similarity <= point.high


def test_the_order_of_the_photos_changes_nothing_and_the_seed_only_intervals():
    photos = make_photos(15, 2)
    report = calibrate_photos(photos)
    assert calibrate_photos(photos[::-1]) == report
    other = calibrate_photos(photos, seed=1)
    assert other.points[0].similarity == report.points[0].similarity


def test_the_length_of_a_vector_changes_nothing():
    photos = make_photos(15, 2)
    stretched = [replace(photo, vector=7 * photo.vector) for photo in photos]
    assert calibrate_photos(stretched) == calibrate_photos(photos)


def test_photos_that_failed_are_listed_and_left_out():
    photos = make_photos(15, 2)
    empty = LabeledPhoto("p00/z.jpg", "p00", np.zeros(16), "z")
    report = calibrate_photos([*photos, empty], failed={"p01/x.jpg": "no face was found"})
    assert [(p.name, p.reason) for p in report.failed_photos] == [
        ("p00/z.jpg", "its embedding has length 0"),
        ("p01/x.jpg", "no face was found"),
    ]
    assert replace(report, failed_photos=()) == calibrate_photos(photos)


def test_one_photo_under_two_names_is_named_with_its_people():
    photos = make_photos(15, 2)
    photos[5] = replace(photos[5], digest=photos[0].digest)
    photos[9] = replace(photos[9], digest=photos[8].digest)
    twins = calibrate_photos(photos).twins
    assert [(twin.names, twin.people) for twin in twins] == [
        (("p00/0.jpg", "p02/1.jpg"), ("p00", "p02")),
        (("p04/0.jpg", "p04/1.jpg"), ("p04",)),
    ]


def test_the_most_alike_strangers_are_named_once_for_each_two_people():
    photos = make_photos(15, 2)
    photos[4] = replace(photos[4], vector=photos[0].vector)
    photos[5] = replace(photos[5], vector=photos[0].vector)
    closest = calibrate_photos(photos).closest
    assert (closest[0].a, closest[0].b, closest[0].similarity) == ("p00/0.jpg", "p02/0.jpg", 1.0)
    assert len({(row.a[:3], row.b[:3]) for row in closest}) == len(closest) == 3


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.full(16, np.nan), "embedding of p01/0.jpg holds values that are not finite"),
        (np.ones(8), r"embedding of p01/0.jpg must be \(16,\), got \(8,\)"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused_by_the_name_of_its_photo(vector, message: str):
    photos = make_photos(15, 2)
    photos[2] = replace(photos[2], vector=vector)
    with pytest.raises(InputError, match=message):
        calibrate_photos(photos)


def test_a_photo_given_twice_and_no_replicates_are_refused():
    photos = make_photos(15, 2)
    with pytest.raises(InputError, match=r"p03/1\.jpg is given twice"):
        calibrate_photos([*photos, photos[7]])
    with pytest.raises(InputError, match="n_replicates must be at least 1, got 0"):
        calibrate_photos(photos, n_replicates=0)


def test_the_data_digest_names_photos_and_contents_in_any_order():
    expected = hashlib.sha256(b"a/1.jpg\x00ff\nb/2.jpg\x00ee\n").hexdigest()
    assert digest_names({"b/2.jpg": "ee", "a/1.jpg": "ff"}) == expected
    assert digest_names({"b/2.jpg": "ee", "a/1.jpg": "fe"}) != expected
    photos = make_photos(15, 2)
    report = calibrate_photos(photos)
    assert report.data_digest == digest_names({p.name: p.digest for p in photos})


def make_calibration(report: CalibrationReport) -> Calibration:
    return report.to_calibration(model_digest="a" * 64, date="2026-11-22T00:00:00+00:00")


def test_a_report_becomes_the_file_that_decisions_read(tmp_path):
    report = calibrate_photos(make_photos(60, 2))
    calibration = make_calibration(report)
    assert Calibration.load(calibration.save(tmp_path / "new" / "c.json")) == calibration
    assert [p.fmr for p in calibration.points] == [0.1, 0.01]
    assert calibration.similarity_at(0.01) == report.points[1].similarity
    assert (calibration.n_people, calibration.n_impostors) == (60, 7080)
    assert not calibration.similarity_at(0.001)


def test_a_report_survives_json():
    plain = calibrate_photos(make_photos(15, 2), failed={"x": "no face"}).to_dict()
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text)["points"][0]["similarity"] == plain["points"][0]["similarity"]


def test_a_wanted_rate_is_a_point_among_the_others():
    photos = make_photos(60, 2)
    report = calibrate_photos(photos, fmr=0.005)
    assert [p.fmr for p in report.points] == [0.1, 0.01, 0.005]
    assert report.wanted == report.points[2]
    _, impostor = split_scores(photos)
    passing = [sum(s >= t for s in impostor) for t in set(impostor)]
    assert report.wanted.n_false == max(n for n in passing if n <= 0.005 * 7080)
    plain = calibrate_photos(photos)
    assert (plain.points, plain.wanted) == (report.points[:2], None)
    assert calibrate_photos(photos, fmr=0.01).wanted == plain.points[1]
    assert make_calibration(report).similarity_at(0.005) == report.wanted.similarity


def test_a_wanted_rate_that_the_pairs_do_not_reach_is_refused_with_the_number_that_would():
    with pytest.raises(
        DatasetError, match="FMR 5e-04 needs 20,000 impostor pairs, there are 7,080"
    ):
        calibrate_photos(make_photos(60, 2), fmr=5e-4)
    with pytest.raises(DatasetError, match="FMR 3e-04 needs 33,334"):
        calibrate_photos(make_photos(60, 2), fmr=3e-4)


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, float("nan")])
def test_a_wanted_rate_that_is_none_is_refused(fmr: float):
    with pytest.raises(InputError, match="the false match rate is"):
        calibrate_photos(make_photos(15, 2), fmr=fmr)


@pytest.mark.parametrize("fmr", [None, 0.4])
@pytest.mark.parametrize("tail", [1.5, 1.0])
def test_of_many_pairs_only_the_most_alike_are_kept_and_nothing_changes(fmr, tail, monkeypatch):
    rng = np.random.default_rng(0)
    photos = [
        LabeledPhoto(f"{i}/{j}", f"{i}", rng.normal(size=8), f"{i}{j}")
        for i in range(40)
        for j in range(1 + i % 3)
    ]
    expected = calibrate_photos(photos, fmr=fmr)
    monkeypatch.setattr(calibrating, "_FEW_PAIRS", 0)
    monkeypatch.setattr(calibrating, "_TAIL", tail)  # 1.0 is too few for some draws
    assert calibrate_photos(photos, fmr=fmr) == expected


def test_the_pairs_of_a_list_are_all_that_counts():
    photos = make_photos(30, 2)
    pairs = [
        Pair(a.name, b.name, a.person == b.person, 0)
        for a, b in combinations(photos, 2)
        if a.name.endswith("0.jpg") or a.person == b.person
    ]
    report = calibrate(score_listed(pairs, photos))
    by_name = {photo.name: photo for photo in photos}
    scores = [similarity(by_name[p.a], by_name[p.b]) for p in pairs if not p.is_same]
    assert (report.n_impostors, report.is_complete) == (len(scores), False)
    point = report.points[0]
    assert point.n_false == sum(s >= point.similarity for s in scores) <= 0.1 * len(scores)
    assert report.data_digest != calibrate_photos(photos).data_digest


def test_a_list_of_all_pairs_gives_what_all_pairs_give():
    photos = make_photos(20, 2)
    pairs = [Pair(a.name, b.name, a.person == b.person, 0) for a, b in combinations(photos, 2)]
    listed, whole = calibrate(score_listed(pairs, photos)), calibrate(score_photos(photos))
    assert listed.points == whole.points
    assert (listed.eer, listed.best, listed.closest) == (whole.eer, whole.best, whole.closest)


def list_pairs(*couples: tuple[int, int], n_photos: int = 8) -> list[Pair]:
    """Every pair of photos of some couples."""
    return [
        Pair(f"p{a:02}/{i}.jpg", f"p{b:02}/{j}.jpg", False, 0)
        for a, b in couples
        for i in range(n_photos)
        for j in range(n_photos)
    ]


def test_people_count_who_are_in_pairs_of_two_not_all_who_are_on_photos():
    photos = make_photos(12, 20)
    own = [Pair(f"p{k:02}/0.jpg", f"p{k:02}/1.jpg", True, 0) for k in range(12)]
    pairs = list_pairs((0, 1), n_photos=20) + own
    with pytest.raises(DatasetError, match="pairs of two people show 2 people: too few"):
        calibrate(score_listed(pairs, photos))


def test_an_fnmr_of_too_few_people_has_no_interval_and_says_so():
    photos = make_photos(30, 1) + [p for p in make_photos(9, 4) if not p.name.endswith("/0.jpg")]
    report = calibrate_photos(photos)
    point = report.points[0]
    assert report.n_twice == 9
    assert point.fnmr is not None
    assert (point.fnmr_low, point.fnmr_high) == (None, None)
    rows = {row.name: row.value for row in report.rows()}
    assert rows["FNMR at FMR 1e-01"].endswith("[n/a: needs 10 people with two photos, has 9]")
    tenth = calibrate_photos([*photos, replace(photos[9], name="p09/9.jpg", digest="new")])
    assert tenth.n_twice == 10
    assert tenth.points[0].fnmr_low is not None


def test_where_no_draw_of_people_has_a_pair_of_two_that_is_told():
    photos = make_photos(10, 8)
    scored = score_listed(list_pairs((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)), photos)
    assert calibrate(scored, n_replicates=1, seed=0).points
    with pytest.raises(DatasetError, match="none of 1 draws of people has a pair of two"):
        calibrate(scored, n_replicates=1, seed=92)  # draws nobody together with the other


def test_a_list_without_strangers_is_refused():
    photos = make_photos(15, 2)
    pairs = [Pair(f"p{i:02}/0.jpg", f"p{i:02}/1.jpg", True, 0) for i in range(15)]
    with pytest.raises(DatasetError, match="no pair of two people"):
        calibrate(score_listed(pairs, photos))


def test_every_number_has_a_row_with_its_definition():
    rows = {row.name: row for row in calibrate_photos(make_photos(60, 2)).rows()}
    assert rows["similarity at FMR 1e-03"].value == (
        "n/a: FMR 1e-03 needs 10,000 impostor pairs, there are 7,080"
    )
    assert "EER" in rows
    assert "false matches at FMR 1e-02" in rows
    assert all(row.value and row.definition for row in rows.values())
    alone = {row.name: row.value for row in calibrate_photos(make_photos(40, 1)).rows()}
    assert alone["FNMR at FMR 1e-01"] == alone["EER"] == "n/a: needs two photos of somebody"


@pytest.mark.parametrize(("rate", "shown"), [(1e-3, "1e-03"), (2.512e-4, "2.51e-04")])
def test_a_rate_is_shown_with_as_many_digits_as_it_needs(rate: float, shown: str):
    assert show_rate(rate) == shown
