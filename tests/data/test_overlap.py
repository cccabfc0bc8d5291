"""Who will be scored and is in the set: by name, and by photo whatever the names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from arcwise.data.facts import PhotoFacts
from arcwise.data.near import take_look
from arcwise.data.overlap import are_numbers, find_overlap, find_seen, people_of_pairs
from arcwise.data.selection import SelectionRules, select_samples
from arcwise.data.split import Sample
from arcwise.errors import InputError
from arcwise.evaluate.sets.pairs import read_pairs
from arcwise.testing import draw_person
from arcwise.types import Pair


def test_the_person_of_a_pair_is_the_folder_or_the_name_before_the_number() -> None:
    pairs = [
        Pair("Ann/Ann_0001.jpg", "lfw/Bob_Lee/Bob_Lee_0002.jpg", False, 0),
        Pair("AJ_Cook_0001.jpg", "Jean-Luc_2.jpg", False, 0),
    ]
    assert people_of_pairs(iter(pairs)) == {"Ann", "Bob_Lee", "AJ_Cook", "Jean-Luc"}


def test_people_of_a_pack_cannot_be_known() -> None:
    with pytest.raises(InputError, match="show two people, their names say 'lfw' and 'lfw'"):
        people_of_pairs([Pair("lfw/000000", "lfw/000001", False, 0)])


def test_names_are_compared_without_case_accents_and_signs() -> None:
    found = find_overlap(
        ["Ann_Lee", "Zoe", "Jörg Groß", "Bob"], ["ann lee", "zoë", "JÖRG_GROSS", "Cleo"]
    )
    assert [finding.people for finding in found] == [
        ("Ann_Lee", "ann lee"),
        ("Jörg Groß", "JÖRG_GROSS"),
        ("Zoe", "zoë"),
    ]
    assert found[0].text == "Ann_Lee will be scored, there called ann lee"


def test_names_in_other_scripts_are_compared_too() -> None:
    assert len(find_overlap(["王毅", "Бо"], ["王毅", "бо"])) == 2


def test_numbers_mean_nothing_in_another_set() -> None:
    assert find_overlap(["0000001", "12"], ["1", "12", "0000001"]) == []
    assert are_numbers(["0000001", "12"])
    assert not are_numbers(["0000001", "m.012"])


def test_a_photo_is_found_under_any_name_and_broken_ones_are_passed_over() -> None:
    looks = [take_look(draw_person(person)[0]) for person in range(4)]
    facts = [PhotoFacts(look=look) for look in looks[:3]]
    scored = [PhotoFacts(error="broken"), PhotoFacts(look=looks[3]), PhotoFacts(look=looks[1])]
    samples = [Sample(f"{name}/1.png", name) for name in "ABC"]
    found = find_seen(samples, facts, [Sample(f"{name}/9.png", name) for name in "XYZ"], scored)
    assert [finding.photos for finding in found] == [("B/1.png", "Z/9.png")]
    assert found[0].text == "B/1.png will be scored as Z/9.png"
    assert found[0].people == ("B", "Z")


@pytest.mark.real
def test_all_hundred_people_of_the_lfw_tutorial_are_also_scored(real_data: Path) -> None:
    """It trains on the first 100 people with ten photos, and calls the test set independent."""
    with zipfile.ZipFile(real_data / "lfw" / "lfw-deepfunneled.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    samples = [Sample(name, name.split("/")[1]) for name in names]
    chosen = select_samples(samples, SelectionRules(min_photos=10, n_people=100))
    scored = people_of_pairs(read_pairs(real_data / "lfw" / "pairs_6000.txt"))
    assert len(find_overlap(chosen.people, scored)) == 100
