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
    StopSoon,
    StrictOption,
    Watched,
    build_settings,
    open_people_recognizer,
    resolve_photos,
)
from arcwise.cli.show import count, make_printable, print_json, print_note, print_table

if TYPE_CHECKING:
    from arcwise.image import PhotoSource
    from arcwise.types import Enrollment, Rejection


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
    from arcwise.gallery import Gallery

    people, refused = _find_people(photos, name)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_people_recognizer(
        settings, gallery, model=model, detector=detector, flip=flip
    )
    n_photos = sum(len(theirs) for theirs in people.values())
    stop = StopSoon()
    watched = Watched(recognizer, total=n_photos, doing="enrolling", stop=stop)
    enrolled: list[tuple[str, Enrollment]] = []
    with stop, Gallery(gallery or settings.gallery, recognizer=watched) as opened:
        try:
            answers = opened.enroll_many(people, select=select)
            enrolled += zip(people, answers, strict=True)
        except KeyboardInterrupt:
            print_note("who was finished is enrolled; run the same again to go on")
            raise
    if as_json:
        print_json([_to_plain(wanted, enrollment) for wanted, enrollment in enrolled])
    else:
        _print_people(enrolled)
    rejected = [r for _, enrollment in enrolled for r in enrollment.rejected]
    if refused or any(rejection.code == "unreadable" for rejection in rejected):
        raise typer.Exit(3)
    if any(enrollment.person is None for _, enrollment in enrolled):
        raise typer.Exit(1)


def _find_people(
    photos: list[Path], name: str | None
) -> tuple[Mapping[str, Sequence[PhotoSource]], list[str]]:
    """Photos by clean name; and the folders and files whose name cannot be a person's."""
    from arcwise.errors import InputError, SettingsError
    from arcwise.gallery import clean_name
    from arcwise.photos import find_people

    if name is not None:
        return {clean_name(name): resolve_photos(photos)}, []
    if len(photos) != 1 or photos[0].is_file() or str(photos[0]) == "-":
        raise SettingsError(
            "these are photos, and nobody said whose",
            hint="give --name NAME for photos of one person, or one folder with a folder for each",
        )
    found = find_people(photos[0])
    for empty in found.empty:
        print_note(f"arcwise: no photo of {make_printable(empty)}: its folder is empty")
    people: dict[str, list[PhotoSource]] = {}
    refused = []
    for written, theirs in found.people.items():
        try:
            people.setdefault(clean_name(written), []).extend(str(photo) for photo in theirs)
        except InputError as exc:
            refused.append(written)
            print_note(f"arcwise: {make_printable(str(photos[0] / written))}: {exc}")
    return people, refused


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
        rows += [["", "-", "", _explain(r)] for r in enrollment.rejected]
    print_table(["person", "new", "faces", "note"], rows)
    n_accepted = sum(len(enrollment.accepted) for _, enrollment in enrolled)
    faces, people = count(n_accepted, "new face"), count(len(enrolled), "person", "people")
    print_note(f"{faces} of {people}")


def _explain(rejection: Rejection) -> str:
    """Which photo and why; an unreadable one names itself in its text."""
    if rejection.text.startswith(rejection.source):
        return rejection.text
    return f"{rejection.source}: {rejection.text}"
