"""`arcwise calibrate`: which similarity lets how many strangers pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.folds import parse_folds
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
)
from arcwise.cli.reporting import check_beside, check_out
from arcwise.cli.show import make_printable, print_json, print_note, print_table
from arcwise.cli.sources import (
    FoldsOption,
    GalleryPeopleOption,
    LabeledPhotosOption,
    PairsOption,
    Source,
    Wanted,
    open_source,
)
from arcwise.cli.thresholds import find_calibration
from arcwise.cli.vectors import AlignedOption, CacheOption, EmbeddingsOption
from arcwise.errors import ArcwiseError, DatasetError, SettingsError

if TYPE_CHECKING:
    from arcwise.compare import Calibration
    from arcwise.evaluate.calibrate.labeled import ScoredPhotos
    from arcwise.evaluate.calibrate.probability import ProbabilityReport
    from arcwise.evaluate.calibrate.thresholds import CalibrationReport

FmrOption = Annotated[
    float | None,
    typer.Option("--fmr", metavar="RATE", help="A false match rate that is wanted: 0.0005."),
]
FpirOption = Annotated[
    float | None,
    typer.Option("--fpir", metavar="RATE", help="Or how often a stranger may be named."),
]
PeopleCountOption = Annotated[
    int | None,
    typer.Option("--people", metavar="N", min=1, help="For --fpir: people in the gallery."),
]
PriorOption = Annotated[
    float,
    typer.Option("--prior", help="Share of pairs of one person, for the probability."),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The file (.json; default: your calibrations folder)."),
]
IntoGalleryOption = Annotated[
    Path | None,
    typer.Option(
        "--into-gallery",
        parser=lambda text: Path(text).expanduser(),
        metavar="FILE",
        help="Write it beside this gallery, for its answers alone.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Also write a report (.json, .md or .html)."),
]
_MOST_NOTES = 10  # of one kind; --json names all


def calibrate(
    photos: LabeledPhotosOption = None,
    gallery: GalleryPeopleOption = None,
    embeddings: EmbeddingsOption = None,
    pairs: PairsOption = None,
    folds: FoldsOption = None,
    fmr: FmrOption = None,
    fpir: FpirOption = None,
    people: PeopleCountOption = None,
    prior: PriorOption = 0.5,
    out: FileOption = None,
    into_gallery: IntoGalleryOption = None,
    report: ReportOption = None,
    select: SelectOption = "center",
    flip: FlipOption = False,
    aligned: AlignedOption = False,
    cache: CacheOption = True,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure which similarity lets how many strangers pass. Later decisions rest on it."""
    wanted = Wanted(
        photos, gallery, embeddings, pairs, parse_folds("--folds", folds), select, aligned, flip,
        cache, model, detector,
    )  # fmt: skip
    rate = _choose_rate(fmr, fpir, people, prior)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    source = open_source(wanted, settings)
    place = _choose_place(out, into_gallery, settings.calibrations_dir, source)
    check_beside(place, wanted.places, (".json",))
    check_out(report, [*wanted.places, place])
    data = ", ".join(map(str, wanted.places))
    aim = f"FPIR {fpir:g} among {people:,} people, " if fpir and people else ""
    former = find_calibration(settings, source.recognizer, source.model_digest)
    if out is not None or into_gallery is not None:
        former = None  # what decides without being named stays as it is
    _measure(source, rate, prior, place, report, former, aim=aim, as_json=as_json, data=data)


def _choose_rate(
    fmr: float | None, fpir: float | None, people: int | None, prior: float
) -> float | None:
    """The false match rate that is wanted, or None."""
    from arcwise.compare import fmr_for_gallery

    for option, value in (("--fmr", fmr), ("--fpir", fpir), ("--prior", prior)):
        if value is not None and not 0 < value < 1:
            raise SettingsError(f"{option} is {value}", hint="give a rate between 0 and 1")
    if (fpir is None) != (people is None):
        hint = "say both, such as --fpir 0.01 --people 200"
        raise SettingsError("--fpir and --people belong together", hint=hint)
    if fmr is not None and fpir is not None:
        raise SettingsError("--fmr and --fpir are two wishes", hint="give one of them")
    if fpir is None or people is None:
        return fmr
    return fmr_for_gallery(people, fpir=fpir)


def _choose_place(out: Path | None, gallery: Path | None, folder: Path, source: Source) -> Path:
    """Where the calibration goes."""
    from contextlib import closing

    from arcwise.compare import calibration_beside
    from arcwise.errors import ModelMismatchError
    from arcwise.store import SQLStore

    if gallery is None:
        return out or folder / f"{source.model_digest}.json"
    if out is not None:
        raise SettingsError("--out and --into-gallery are two places", hint="give one of them")
    with closing(SQLStore.open(gallery, create=False)) as store:
        stamp = store.stamp()
    if stamp is not None and stamp.model_digest != source.model_digest:
        raise ModelMismatchError(
            f"{gallery} was filled by model {stamp.model_name} ({stamp.model_digest[:12]}), this "
            f"calibrates {source.model} ({source.model_digest[:12]})",
            hint=f"calibrate model {stamp.model_name}",
        )
    return calibration_beside(gallery)


def _measure(
    source: Source,
    rate: float | None,
    prior: float,
    place: Path,
    out: Path | None,
    former: Calibration | None,
    *,
    aim: str,
    as_json: bool,
    data: str,
) -> None:
    from datetime import UTC, datetime

    from arcwise.compare import choose_threshold
    from arcwise.decide import uncertain_band
    from arcwise.evaluate.calibrate import calibrate

    scored = source.score()
    report = calibrate(scored, fmr=rate)
    found = _fit_probability(scored, prior)
    calibration = report.to_calibration(
        model_digest=source.model_digest,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        probability=found.curve if found else None,
        views=source.views,
    )
    change = _tell_change(former, calibration)
    calibration.save(place)
    threshold = choose_threshold(calibration, None).similarity
    band = uncertain_band(found.curve, threshold) if found else None
    if out is not None:
        from arcwise.cli.calibration import write_sheet

        write_sheet(out, source, scored, report, found, band, data=data)
    if as_json:
        print_json(
            {"model": source.model, "model_digest": source.model_digest, "date": calibration.date}
            | {"path": str(place)}
            | report.to_dict()
            | {"probability": found.to_dict() if found else None, "uncertain": band}
        )
    else:
        _show(report, source.model, aim)
        _show_probability(found, band)
        typer.echo(f"wrote {make_printable(str(place))}")
        if change:
            typer.echo(change)
    for note in _list_notes(report):
        print_note(make_printable(note))


def _tell_change(former: Calibration | None, calibration: Calibration) -> str:
    """What becomes of decisions when this calibration takes the place of the former one.

    Raises:
        DatasetError: the former one reaches the rate that `compare` aims at, this one does not.
    """
    from arcwise.compare import COMPARE_FMR, choose_threshold

    if former is None:
        return ""
    before, after = choose_threshold(former, None), choose_threshold(calibration, None)
    change = (
        f"compare decides at {after.similarity:.4f} instead of {before.similarity:.4f} (that rests "
        f"on {former.n_people:,} people)"
    )
    if before.calibrated and not after.calibrated:
        raise DatasetError(
            f"{calibration.n_people:,} people do not support FMR {COMPARE_FMR:.0e}, which the "
            f"calibration in use does: {change}. Nothing was written",
            hint="give photos of more people, or another place: --out FILE, --into-gallery FILE",
        )
    return f"from now on, {change}"


def _fit_probability(scored: ScoredPhotos, prior: float) -> ProbabilityReport | None:
    """The probability, or a note why there is none: a library or people are missing."""
    try:
        from arcwise.evaluate.calibrate.probability import fit_probability

        return fit_probability(scored, prior=prior)
    except ArcwiseError as exc:
        print_note(f"note: no probability: {exc}; {exc.hint}")
        return None


def _show(report: CalibrationReport, model: str, aim: str) -> None:
    from arcwise.evaluate.calibrate.thresholds import show_rate

    rows = [
        [
            show_rate(point.fmr),
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
    if report.wanted:
        point = report.wanted
        typer.echo(
            f"wanted: {aim}FMR {show_rate(point.fmr)} at similarity {point.similarity:.4f}, 95 % "
            f"interval {point.low:.4f} to {point.high:.4f}"
        )
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


def _show_probability(found: ProbabilityReport | None, band: tuple[float, float] | None) -> None:
    if found is None or band is None:
        return
    tried = "; ".join(
        f"{trial.method} log loss {trial.log_loss:.4f}, Brier {trial.brier:.4f}"
        for trial in found.trials
    )
    typer.echo(
        f"probability of one person, {found.curve.prior:g} beforehand: {found.curve.method} is "
        f"kept ({tried}; on people that were not fitted, slightly optimistic as they chose it)"
    )
    typer.echo(f"uncertain from {band[0]:.4f} to {band[1]:.4f}")


def _list_notes(report: CalibrationReport) -> Iterator[str]:
    """What to know about the numbers, one line each."""
    from arcwise.evaluate.calibrate.thresholds import lacks_twice

    if report.next_rate:
        yield f"note: {report.next_rate.text}"
    if not report.n_genuine:
        yield "note: nobody has two photos, so nothing is known of FNMR, EER and accuracy"
    elif lack := lacks_twice(report.n_twice):
        yield f"note: an interval of FNMR {lack}"
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
