"""`arcwise enroll`: remember people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.options import (
    DetectorOption,
    FlipOption,
    GalleryOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    ProviderOption,
    SelectOption,
    StrictOption,
    build_settings,
    open_people,
)
from arcwise.cli.show import count, print_json, print_note, print_table, watch

if TYPE_CHECKING:
    from arcwise.types import Enrollment


def enroll(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PEOPLE_DIR|PHOTO...",
            help="A folder with one folder for each person (single photos in it are named after "
            "their person); or, with --name, photos of one person.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="All photos show this person.")
    ] = None,
    gallery: GalleryOption = None,
    select: SelectOption = "largest",
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    flip: FlipOption = False,
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remember the faces of people. Run again after an interruption, it goes on."""
    people = _find_people(photos, name)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    enrolled: list[tuple[str, Enrollment]] = []
    with open_people(settings, gallery, model=model, detector=detector, flip=flip) as opened:
        answers = opened.enroll_many(people, select=select)
        for enrollment in watch(answers, total=len(people), doing="enrolling"):
            enrolled.append((list(people)[len(enrolled)], enrollment))
    if as_json:
        print_json([_to_plain(wanted, enrollment) for wanted, enrollment in enrolled])
    else:
        _print_people(enrolled)
    rejected = [r for _, enrollment in enrolled for r in enrollment.rejected]
    if any(rejection.code == "unreadable" for rejection in rejected):
        raise typer.Exit(3)
    if any(enrollment.person is None for _, enrollment in enrolled):
        raise typer.Exit(1)


def _find_people(photos: list[Path], name: str | None) -> Mapping[str, Sequence[str]]:
    from arcwise.errors import InputError
    from arcwise.photos import find_people, find_photos

    if name is not None:
        return {name: [str(photo) for photo in find_photos(photos)]}
    if len(photos) != 1 or photos[0].is_file():
        raise InputError(
            "several photos and no name",
            hint="give --name NAME for photos of one person, or one folder with a folder for each",
        )
    found = find_people(photos[0])
    for empty in found.empty:
        print_note(f"arcwise: no photo of {empty}: its folder is empty")
    return {person: [str(photo) for photo in theirs] for person, theirs in found.people.items()}


def _to_plain(wanted: str, enrollment: Enrollment) -> dict[str, object]:
    return {
        "name": wanted,
        "n_templates": enrollment.person.n_templates if enrollment.person else 0,
        "accepted": list(enrollment.accepted),
        "rejected": [
            {"photo": r.source, "code": r.code, "why": r.text} for r in enrollment.rejected
        ],
        "look_alike": enrollment.look_alike,
    }


def _print_people(enrolled: list[tuple[str, Enrollment]]) -> None:
    rows = []
    for wanted, enrollment in enrolled:
        total = enrollment.person.n_templates if enrollment.person else 0
        note = f"looks like {enrollment.look_alike}" if enrollment.look_alike else ""
        rows.append([wanted, f"+{len(enrollment.accepted)}", str(total), note])
        rows += [["", "-", "", f"{r.source}: {r.text}"] for r in enrollment.rejected]
    print_table(["person", "new", "faces", "note"], rows)
    n_accepted = sum(len(enrollment.accepted) for _, enrollment in enrolled)
    faces, people = count(n_accepted, "new face"), count(len(enrolled), "person", "people")
    print_note(f"{faces} of {people}")
