"""`arcwise calibrate`: which similarity lets how many strangers pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.evaluate import check_beside, embed_photos, parse_folds
from arcwise.cli.options import (
    DetectorOption,
    FlipOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    ProviderOption,
    SelectOption,
    StrictOption,
    build_settings,
    open_recognizer,
)
from arcwise.cli.show import make_printable, print_json, print_note, print_table
from arcwise.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.calibrate import CalibrationReport
    from arcwise.photos import Photos

_MOST_NOTES = 10  # of one kind; --json names all


def calibrate(
    photos: Annotated[
        Path,
        typer.Option("--photos", metavar="FOLDER|ZIP", help="A folder of photos for each person."),
    ],
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE", help="Only people of this list of pairs."),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            "--folds", metavar="3", help="Only these folds of the list, from 1: 3 or 1,2."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file (.json; default: your calibrations folder)."),
    ] = None,
    select: SelectOption = "center",
    flip: FlipOption = False,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure which similarity lets how many strangers pass. Later decisions rest on it."""
    from datetime import UTC, datetime

    from arcwise.evaluate.calibrate import LabeledPhoto, calibrate_photos
    from arcwise.photos import open_photos

    if (pairs is None) != (folds is None):
        hint = "say both, such as --pairs pairs.txt --folds 3, or neither for all people"
        raise SettingsError("--pairs and --folds belong together", hint=hint)
    chosen = parse_folds("--folds", folds)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    digest = recognizer.embedder.digest
    place = out or settings.calibrations_dir / f"{digest}.json"
    check_beside(place, [photos, pairs] if pairs else [photos], (".json",))
    with open_photos(photos) as archive:
        people, strays = _find_people(archive, pairs, chosen)
        embedded = embed_photos(recognizer, archive, sorted(people), select)
    labeled = [
        LabeledPhoto(name, people[name], vector, embedded.digests[name])
        for name, vector in embedded.vectors.items()
    ]
    report = calibrate_photos(labeled, failed=strays | embedded.reasons)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    report.to_calibration(model_digest=digest, date=date).save(place)
    if as_json:
        plain = {"model": recognizer.embedder.name, "model_digest": digest, "date": date}
        print_json(plain | {"path": str(place)} | report.to_dict())
    else:
        _show(report, recognizer.embedder.name, place)
    for note in _list_notes(report):
        print_note(make_printable(note))


def _find_people(
    archive: Photos, pairs: Path | None, folds: tuple[int, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Whom each photo shows, and why some photos show nobody."""
    from arcwise.evaluate.pairs import keep_folds, read_pairs

    people, strays = {}, {}
    for name in archive.names:
        person, _, file = name.rpartition("/")
        if person and "/" not in person:
            people[name] = person
        else:
            where = f"lies deeper than PERSON/{file}" if person else "lies in no person's folder"
            strays[name] = where
    if pairs is None:
        return people, strays
    listed = keep_folds(read_pairs(pairs, photos=archive.names), folds)
    wanted = {name.rpartition("/")[0] for pair in listed for name in (pair.a, pair.b)}
    chosen = {name: person for name, person in people.items() if person in wanted}
    if not chosen:
        raise DatasetError(
            f"nobody of the {len(wanted)} people of {pairs} has a photo among the "
            f"{len(archive.names):,} there are",
            hint="a photo is called PERSON/FILE, in the list as in the folder",
        )
    missing = sorted(wanted - set(chosen.values()))
    return chosen, {f"{person}/": "no photo of this person is there" for person in missing}


def _show(report: CalibrationReport, model: str, place: Path) -> None:
    rows = [
        [
            f"{point.fmr:.0e}",
            f"{point.similarity:.4f}",
            f"{point.low:.4f} to {point.high:.4f}",
            "n/a" if point.fnmr is None else f"{point.fnmr:.2%}",
            "n/a"
            if point.fnmr_low is None or point.fnmr_high is None
            else f"{point.fnmr_low:.2%} to {point.fnmr_high:.2%}",
            f"{point.n_false:,}",
            f"{point.n_couples:,}",
        ]
        for point in report.points
    ]
    interval = "95 % interval"
    columns = ["FMR", "similarity", interval, "FNMR", interval, "false matches", "couples"]
    print_table(columns, rows, title=model)
    if report.eer and report.best:
        typer.echo(f"EER {report.eer.rate:.3%} at {report.eer.similarity:.4f}")
        typer.echo(
            f"highest balanced accuracy {report.best.rate:.2%} at {report.best.similarity:.4f}, "
            "optimistic"
        )
    typer.echo(
        f"{report.n_photos:,} photos of {report.n_people:,} people: {report.n_genuine:,} pairs of "
        f"one person, {report.n_impostors:,} of two"
    )
    typer.echo(f"wrote {make_printable(str(place))}")


def _list_notes(report: CalibrationReport) -> Iterator[str]:
    """What to know about the numbers, one line each."""
    if report.next_rate:
        yield f"note: {report.next_rate.text}"
    if not report.n_genuine:
        yield "note: nobody has two photos, so nothing is known of FNMR, EER and accuracy"
    first = report.closest[0]
    yield (
        f"note: the most alike strangers are {first.a} and {first.b}, {first.similarity:.3f}: "
        "look whether they are one person"
    )
    for twin in report.twins[:_MOST_NOTES]:
        whose = f"said to be of {len(twin.people)} people" if len(twin.people) > 1 else "twice"
        yield f"note: {' and '.join(twin.names)} are one photo, {whose}"
    for photo in report.failed_photos[:_MOST_NOTES]:
        yield f"left out: {photo.name}: {photo.reason}"
    n_untold = sum(max(0, len(p) - _MOST_NOTES) for p in (report.twins, report.failed_photos))
    if n_untold:
        yield f"… and {n_untold:,} more; --json names them"
