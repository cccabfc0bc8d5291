"""The name of a photo says whom it shows, and where it does not, nobody is made up."""

from __future__ import annotations

import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.packs import Pack, pack_pairs
from arcwise.evaluate.sets.people import AgeRecord, name_people, parse_age_name, person_of
from arcwise.types import Pair


@pytest.mark.parametrize(
    ("photo", "person"),
    [
        ("Ann/Ann_0001.jpg", "Ann"),
        ("lfw/Bob_Lee/Bob_Lee_0002.jpg", "Bob_Lee"),
        ("/data/Ann/1", "Ann"),
        ("AJ_Cook_0001.jpg", "AJ_Cook"),  # CALFW, CPLFW
        ("Jean-Luc_2.jpg", "Jean-Luc"),
        ("03_Protocol_Images/9_Mick_Jagger_2_30_m.jpg", "Mick_Jagger"),  # AgeDB
        ("12_J.Lo_40_f.png", "J.Lo"),
        ("Data/Images/001/frontal/01.jpg", "001"),  # CFP
        ("001/profile/04.png", "001"),
        ("frontal/01.jpg", ""),
        ("000001.jpg", ""),
        ("", ""),
    ],
)
def test_the_person_is_the_one_the_name_of_the_photo_has(photo: str, person: str) -> None:
    assert person_of(photo) == person


def test_photos_are_named_where_all_pairs_agree() -> None:
    pairs = [Pair("Ann/1.jpg", "Ann/2.jpg", True, 0), Pair("Ann/1.jpg", "Bob/1.jpg", False, 0)]
    assert name_people(pairs) == {"Ann/1.jpg": "Ann", "Ann/2.jpg": "Ann", "Bob/1.jpg": "Bob"}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair("crops/a.jpg", "crops/b.jpg", False, 0), "show two people, their names say 'crops'"),
        (Pair("Ann/1.jpg", "Bob/1.jpg", True, 0), "show one person, their names say 'Ann' and"),
        (Pair("01.jpg", "Ann/1.jpg", False, 0), "01.jpg does not say whom it shows"),
    ],
)
def test_one_pair_that_says_otherwise_is_enough_to_name_nobody(pair: Pair, message: str) -> None:
    pairs = [Pair("Ann/1.jpg", "Ann/2.jpg", True, 0), pair]
    with pytest.raises(InputError, match=message):
        name_people(pairs)


def test_a_pack_names_nobody() -> None:
    pack = Pack("lfw", (b"",) * 8, [True, False, True, False])
    with pytest.raises(InputError, match="names say 'lfw'") as caught:
        name_people(pack_pairs(pack, n_folds=2))
    assert "the list and photos it was made from" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("0_MariaCallas_35_f.jpg", AgeRecord("0", "MariaCallas", 35, "f")),
        ("03_Protocol_Images/9_Mick_Jagger_2_30_m", AgeRecord("9", "Mick_Jagger", 30, "m")),
        ("12_J.Lo_40_F.PNG", AgeRecord("12", "J.Lo", 40, "f")),
        ("1_José_101_m", AgeRecord("1", "José", 101, "m")),
    ],
)
def test_a_name_tells_person_age_and_gender(name, record):
    assert parse_age_name(name) == record


@pytest.mark.parametrize(
    "name", ["", "a.jpg", "1_Ann_f.jpg", "1_Ann_20_x.jpg", "1__20_f", "Ann_20_f"]
)
def test_another_name_is_refused(name):
    with pytest.raises(DatasetError, match="no name of AgeDB"):
        parse_age_name(name)
