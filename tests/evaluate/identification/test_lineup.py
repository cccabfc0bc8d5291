"""Who is in the gallery and who is searched for, photo by photo."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.identification.lineup import Lineup, Side, split_people, split_photos

PEOPLE = {f"{p}/{i}.jpg": p for p, n in [("Ann", 3), ("Bob", 1), ("Cid", 2)] for i in range(n)}


def test_the_first_photos_by_name_make_the_gallery():
    split = split_photos(PEOPLE, 1)
    assert split.gallery == {"Ann/0.jpg": "Ann", "Bob/0.jpg": "Bob", "Cid/0.jpg": "Cid"}
    assert set(split.probes) == {"Ann/1.jpg", "Ann/2.jpg", "Cid/1.jpg"}
    assert split.left_out == ()


def test_a_seed_draws_the_photos_and_repeats_them():
    people = {f"p{i % 20}/{i}.jpg": f"p{i % 20}" for i in range(200)}
    first, again, other = (split_photos(people, 2, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.gallery != other.gallery != split_photos(people, 2).gallery
    assert len(first.gallery) == 40
    assert not set(first.gallery) & set(first.probes)
    assert {**first.gallery, **first.probes} == people


def test_people_left_out_are_searched_for_with_all_photos():
    split = split_photos(PEOPLE, 1, non_mated=1)
    (person,) = split.left_out
    assert person not in split.gallery.values()
    assert {n for n, p in PEOPLE.items() if p == person} <= set(split.probes)


@pytest.mark.parametrize(("wanted", "n"), [(0.5, 2), (0.34, 1), (2, 2), (0, 0)])
def test_a_share_or_a_number_of_people_is_left_out(wanted, n):
    assert len(split_photos(PEOPLE, 1, non_mated=wanted).left_out) == n


@pytest.mark.parametrize("wanted", [-1, 1.5, 3, 0.99, math.nan, math.inf])
def test_a_number_of_people_out_of_range_is_refused(wanted):
    with pytest.raises(InputError, match="cannot leave"):
        split_photos(PEOPLE, 1, non_mated=wanted)


def test_without_a_second_photo_of_anybody_there_is_no_probe():
    with pytest.raises(InputError, match="no probe is left: nobody has more than 3 photos"):
        split_photos(PEOPLE, 3)
    with pytest.raises(InputError, match=r"nobody has more than 1 photo$"):
        split_photos({"Ann/0.jpg": "Ann"}, 1)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_a_seed_that_not_all_can_draw_with_is_refused(seed):
    with pytest.raises(InputError, match=f"the seed is {seed}"):
        split_photos(PEOPLE, 1, seed=seed)
    with pytest.raises(InputError, match=f"the seed is {seed}"):
        split_people(PEOPLE, PEOPLE, seed=seed)


def test_the_last_seed_draws():
    assert split_photos(PEOPLE, 1, seed=2**32 - 1).gallery
    assert split_photos(PEOPLE, 1, seed=np.int64(7)) == split_photos(PEOPLE, 1, seed=7)


@pytest.mark.parametrize(("people", "per_person"), [({}, 1), (PEOPLE, 0)])
def test_nothing_to_split_is_refused(people, per_person):
    with pytest.raises(InputError):
        split_photos(people, per_person)


def test_probes_given_apart_may_have_the_names_of_the_gallery():
    split = split_people({"Ann/0.jpg": "Ann"}, {"Ann/0.jpg": "Ann", "Xi/0.jpg": "Xi"})
    assert (split.gallery, len(split.probes)) == ({"Ann/0.jpg": "Ann"}, 2)


def test_only_people_with_probes_are_taken_out_of_a_gallery_given_apart():
    gallery = {f"p{i}/0.jpg": f"p{i}" for i in range(50)}
    probes = {f"p{i}/1.jpg": f"p{i}" for i in range(4)}
    split = split_people(gallery, probes, non_mated=0.5)
    assert len(split.left_out) == 2
    assert set(split.left_out) <= set(probes.values())
    assert len(split.gallery) == 48


@pytest.mark.parametrize(("gallery", "probes"), [({}, PEOPLE), (PEOPLE, {})])
def test_an_empty_side_is_refused(gallery, probes):
    with pytest.raises(InputError, match="for the gallery and"):
        split_people(gallery, probes)


def make_side(people, *, failed=()):
    vectors = {n: np.ones(4, np.float32) for n in people if n not in failed}
    return Side(people, vectors, dict.fromkeys(failed, "no face"))


def test_failed_photos_and_people_without_any_are_sorted_out():
    gallery = {"Ann/0": "Ann", "Bob/0": "Bob", "Bob/1": "Bob", "Cid/0": "Cid"}
    probes = {"Ann/1": "Ann", "Ann/2": "Ann", "Cid/1": "Cid", "Xi/0": "Xi", "Xi/1": "Xi"}
    lineup = Lineup.gather(
        make_side(gallery, failed=["Bob/0", "Cid/0"]), make_side(probes, failed=["Ann/2", "Xi/1"])
    )
    assert lineup.gallery_names == ("Ann/0", "Bob/1")
    assert lineup.probe_names == ("Ann/1", "Xi/0")
    assert lineup.not_enrolled == ("Cid",)
    assert sorted(lineup.failed_mates) == ["Ann", "Cid"]
    assert lineup.n_failed_strangers == 1
    assert [photo.name for photo in lineup.failed_probes] == ["Ann/2", "Xi/1"]
    assert lineup.search().is_mated.tolist() == [True, False]


def test_a_photo_that_nothing_is_known_of_is_refused():
    with pytest.raises(InputError, match=r"nothing is known of 'Ann/0.jpg' and 5 more$"):
        Side(PEOPLE, {}, {})
    with pytest.raises(InputError, match=r"nothing is known of 'a'$"):
        Side({"a": "A"}, {}, {})


def test_no_photo_to_search_with_is_refused():
    with pytest.raises(InputError, match="no photo of the gallery"):
        Lineup.gather(make_side(PEOPLE, failed=PEOPLE), make_side(PEOPLE))


def test_vectors_of_two_models_are_refused():
    mixed = Side({"a": "A", "b": "B"}, {"a": np.ones(3), "b": np.ones(4)}, {})
    with pytest.raises(InputError, match="different shapes"):
        Lineup.gather(mixed, mixed)
