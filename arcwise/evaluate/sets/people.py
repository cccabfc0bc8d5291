"""Whom the photos of a list or a public set show, as far as their names say it.

It opens no photo. A pack names nobody, and the people of CFP are numbers, which say nothing beside
another set. The label of one's own folder of photos, with the folders above it, is another thing:
evaluate/vectors/embedded.py has it. Source: the layouts of LFW (PERSON/FILE), CFP
(PERSON/frontal/FILE), CALFW and CPLFW (PERSON_0001.jpg) and AgeDB (NUMBER_PERSON_AGE_GENDER.jpg).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from arcwise.errors import DatasetError, InputError
from arcwise.types import Pair

_AGE_NAME = re.compile(r"([0-9]+)_(.+)_([0-9]{1,3})_([mf])(\.jpe?g|\.png)?", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"_[0-9]+$")
_NUMBERED = re.compile(r"[ _-]*\d+$")
_VIEWS = ("frontal", "profile")  # folders of CFP, inside that of the person
_HINT = (
    "photos are called PERSON/FILE, PERSON_0001.jpg or as AgeDB and CFP have them; a pack names "
    "nobody: take the list and photos it was made from"
)


@dataclass(frozen=True, slots=True)
class AgeRecord:
    """What the name of a photo of AgeDB tells.

    Attributes:
        number: the number in front, as it is written.
        person: the name, without the number that some lists put behind it.
        age_years: of the person in the photo.
        gender: "m" or "f", as the set has it.
    """

    number: str
    person: str
    age_years: int
    gender: Literal["m", "f"]


def parse_age_name(name: str) -> AgeRecord:
    """What the name of a photo of AgeDB tells: number, person, age and gender.

    Args:
        name: of a photo, with or without folders and ending: `0_MariaCallas_35_f.jpg`, or with a
            number behind the person, as protocols have it.

    Raises:
        DatasetError: another form.
    """
    match = _AGE_NAME.fullmatch(PurePosixPath(name).name)
    if match is None:
        raise DatasetError(
            f"{name[:120]!r} is no name of AgeDB", hint="it is NUMBER_PERSON_AGE_GENDER"
        )
    person = _LAST_NUMBER.sub("", match[2])
    gender: Literal["m", "f"] = "m" if match[4].lower() == "m" else "f"
    return AgeRecord(match[1], person, int(match[3]), gender)


def person_of(photo: str) -> str:
    """Whom a photo of a set shows, as its name has it; "" where the name does not say.

    That is the person in a name of AgeDB, else the folder it lies in (of CFP the one above
    `frontal` or `profile`), else, in no folder, its name without ending and number.
    """
    folders, _, file = photo.rpartition("/")
    if _AGE_NAME.fullmatch(file):
        return parse_age_name(file).person
    above, _, folder = folders.rpartition("/")
    if folder.lower() in _VIEWS:
        return above.rpartition("/")[2]
    return folder or _NUMBERED.sub("", PurePosixPath(file).stem)


def name_people(pairs: Sequence[Pair]) -> dict[str, str]:
    """Whom each photo of the pairs shows.

    The pairs themselves are the proof that the names are understood: those of one person, and
    only those, must have one name. Folders such as `crops` do not pass for people so.

    Args:
        pairs: of both classes.

    Returns:
        Photo -> person.

    Raises:
        InputError: a photo does not say whom it shows, or a pair says otherwise than its names.
    """
    photos = {pair.a for pair in pairs} | {pair.b for pair in pairs}
    people = {photo: person_of(photo) for photo in photos}
    unknown = [photo for photo, person in people.items() if not person]
    if unknown:
        raise InputError(f"{min(unknown)} does not say whom it shows", hint=_HINT)
    for pair in pairs:
        if (people[pair.a] == people[pair.b]) != pair.is_same:
            kind = "one person" if pair.is_same else "two people"
            raise InputError(
                f"the list says that {pair.a} and {pair.b} show {kind}, their names say "
                f"{people[pair.a]!r} and {people[pair.b]!r}",
                hint=_HINT,
            )
    return people
