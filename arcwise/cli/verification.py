"""`arcwise evaluate verification`: are two photos of one person?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcwise.cli.folds import parse_folds
from arcwise.cli.leakage import find_leak
from arcwise.cli.options import (
    DetectorOption,
    JsonOption,
    MinFaceOption,
    ModelOption,
    ProviderOption,
    SelectOption,
    StrictOption,
    build_settings,
    open_recognizer,
)
from arcwise.cli.pairset import FailedName, PairSet, Wanted, check_sources, read_set
from arcwise.cli.reporting import (
    DEFAULT_TOLERANCE,
    ExpectedOption,
    OutOption,
    ToleranceOption,
    check_out,
    describe_run,
    tell,
    wants_drawings,
)
from arcwise.cli.vectors import (
    AlignedOption,
    CacheOption,
    EmbeddingsOption,
    MirrorOption,
    PhotosOption,
)
from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.compare import Calibration, Threshold
    from arcwise.evaluate.report import Document, Section
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, Views
    from arcwise.evaluate.verification.scored import ScoredPairs
    from arcwise.evaluate.verification.summary import VerificationReport
    from arcwise.recognizer import Recognizer
    from arcwise.settings import Settings
    from arcwise.types import Pair


class ProtocolName(StrEnum):  # typer has no lists of literals
    """How pairs become an accuracy."""

    exact = "exact"
    insightface = "insightface"
    concat = "concat"
    facex = "facex"
    magface = "magface"


PairsOption = Annotated[
    list[Path],
    typer.Option(
        "--pairs",
        metavar="FILE|FOLDER",
        help="A list, a pack (.bin, .npz), or the folder of CFP or AgeDB; may be given again.",
    ),
]
SetOption = Annotated[
    str,
    typer.Option("--set", metavar="NAME", help="Which set of a folder: cfp-ff, agedb-5 …"),
]
ProtocolOption = Annotated[
    list[ProtocolName] | None,
    typer.Option("--protocol", help="May be given again.  [default: exact]"),
]
OnlyFoldsOption = Annotated[
    str | None,
    typer.Option("--only-folds", metavar="1,2", help="Score these folds only, from 1."),
]
LeaveOutOption = Annotated[
    Path | None,
    typer.Option("--leave-out", metavar="LIST", help="Only pairs without anybody of this list."),
]
TrainedOnOption = Annotated[
    Path | None,
    typer.Option("--trained-on", metavar="LIST", help="Tell who of this training list is scored."),
]
ThresholdOption = Annotated[
    float | None, typer.Option("--threshold", help="Also score this similarity, cosine.")
]


def verification(
    pairs: PairsOption,
    photos: PhotosOption = None,
    embeddings: EmbeddingsOption = None,
    set_name: SetOption = "",
    protocol: ProtocolOption = None,
    failed: Annotated[
        FailedName, typer.Option("--failed", help="What becomes of failed reads.")
    ] = "count_as_wrong",
    flip: MirrorOption = True,
    aligned: AlignedOption = False,
    select: SelectOption = "center",
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="For a list that does not state its own.")
    ] = 10,
    only_folds: OnlyFoldsOption = None,
    leave_out: LeaveOutOption = None,
    trained_on: TrainedOnOption = None,
    threshold: ThresholdOption = None,
    cache: CacheOption = True,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the hardest pairs in .html.")
    ] = True,
    out: OutOption = None,
    expected: ExpectedOption = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Are two photos of one person? Ten-fold accuracy, TAR@FAR, EER over a list of pairs."""
    wanted = Wanted(
        photos=photos,
        embeddings=embeddings,
        set_name=set_name,
        protocols=tuple(dict.fromkeys(protocol or [ProtocolName.exact])),
        failed=failed,
        has_mirror=flip,
        select=select,
        n_folds=folds,
        folds=parse_folds("--only-folds", only_folds),
        leave_out=leave_out,
        trained_on=trained_on,
        threshold=threshold,
        is_aligned=aligned,
        use_cache=cache,
        has_drawings=wants_drawings(out),
        has_pictures=pictures,
    )
    check_sources(pairs, wanted)
    sources = [*pairs, photos, embeddings, leave_out, trained_on]
    check_out(out, [source for source in sources if source], expected=expected)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = None
    if embeddings is None or model is not None:
        recognizer = open_recognizer(settings, model=model, detector=detector)
    document = _measure_sets(pairs, wanted, settings, recognizer)
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)


def _measure_sets(
    paths: Sequence[Path], wanted: Wanted, settings: Settings, recognizer: Recognizer | None
) -> Document:
    from arcwise.evaluate.report import digest_lines

    sections: list[Section] = []
    values: list[dict[str, Any]] = []
    lines: list[str] = []
    for path in paths:
        found = read_set(path, wanted, recognizer)
        calibration = _find_calibration(settings, recognizer, found.embedded)
        thresholds = _list_thresholds(calibration, wanted.threshold, found.pairs)
        made, results = _measure_set(found, wanted, thresholds, is_alone=len(paths) == 1)
        sections += made
        values += results
        lines += [f"{p.a} {p.b} {int(p.is_same)} {p.fold}" for p in found.pairs]
        lines += [f"{name} {digest}" for name, digest in sorted(found.embedded.digest_of().items())]
    names = ", ".join(path.name for path in paths)
    place = wanted.photos or wanted.embeddings
    return describe_run(
        "Verification",
        recognizer or found.embedded,
        data=f"{names}, {place.name}" if place else names,
        data_digest=digest_lines(lines),
        sections=sections,
        values=values,
    )


def _find_calibration(
    settings: Settings, recognizer: Recognizer | None, embedded: EmbeddedPhotos
) -> Calibration | None:
    """Of the model: the recognizer's, or of saved vectors the one in the user's folder."""
    from arcwise.compare import Calibration

    if recognizer is not None:
        return recognizer.calibration
    place = settings.calibrations_dir / f"{embedded.model_digest}.json"
    return Calibration.load(place) if embedded.model_digest and place.is_file() else None


def _list_thresholds(
    calibration: Calibration | None, given: float | None, pairs: Sequence[Pair]
) -> list[Threshold]:
    """Thresholds that were chosen elsewhere: the calibrated one of `compare`, and the given one.

    Raises:
        InputError: there are none, and one fold leaves no other to choose one on.
    """
    from arcwise.compare import Threshold, choose_threshold

    thresholds = []
    if calibration is not None:
        rests_on = f"on {calibration.n_people:,} people, {calibration.date[:10]}"
        thresholds.append(choose_threshold(calibration, None).with_caveat(rests_on))
    if given is not None:
        thresholds.append(Threshold(given, None, False, "given"))
    folds = {pair.fold + 1 for pair in pairs}
    if len(folds) == 1 and not thresholds:
        raise InputError(
            f"fold {min(folds)} alone leaves no other fold to choose a threshold on",
            hint="score two folds or more, calibrate the model on other people (arcwise "
            "calibrate), or give --threshold",
        )
    return thresholds


def _measure_set(
    found: PairSet, wanted: Wanted, thresholds: Sequence[Threshold], *, is_alone: bool
) -> tuple[list[Section], list[dict[str, Any]]]:
    from arcwise.evaluate.verification import evaluate_scored
    from arcwise.evaluate.verification.exhibits import make_section
    from arcwise.evaluate.verification.scored import score_pairs

    leak = find_leak(found.pairs, wanted.trained_on)
    sections, values = list(leak.sections), []
    scored: dict[Views, ScoredPairs] = {}
    for number, protocol in enumerate(wanted.protocols):
        views = wanted.views_of(protocol)
        if views not in scored:
            scored[views] = score_pairs(
                found.pairs, found.embedded.vectors(views), failed=found.embedded.reasons
            )
        report = evaluate_scored(
            scored[views],
            protocol=protocol,
            failed_policy=wanted.failed,
            thresholds=thresholds,
        )
        title = protocol if is_alone else f"{found.name}, {protocol}"
        section = make_section(report, title=title)
        if number == 0:
            section = _illustrate(section, report, found, wanted, scored[views])
        sections.append(section)
        values.append({"set": found.name} | leak.to_dict() | report.to_dict())
    return sections, values


def _illustrate(
    section: Section,
    report: VerificationReport,
    found: PairSet,
    wanted: Wanted,
    scored: ScoredPairs,
) -> Section:
    """The section with its curves; drawn, and with the hardest pairs, where there is a page."""
    from dataclasses import replace

    from arcwise.evaluate.verification.exhibits import list_curves

    counts_failed = wanted.failed == "count_as_wrong"
    n_failed = sum(pair.is_same for pair in scored.failed) if counts_failed else 0
    figures = list_curves(scored, name=found.embedded.model or "model", n_failed=n_failed)
    if not wanted.has_drawings:
        return replace(section, figures=tuple(figures))
    from arcwise.evaluate.verification.drawn import draw_scores, sheet_of_pairs

    threshold = report.best.similarity if report.similarity is None else report.similarity
    figures += draw_scores(scored, threshold=threshold, n_failed=n_failed)
    pictures = []
    if wanted.has_pictures and found.read is not None:
        for title, pairs, caption in (
            ("Hardest genuine pairs", report.hardest_genuine, "Said to be one person, least alike"),
            ("Hardest impostor pairs", report.hardest_impostor, "Two people, most alike"),
        ):
            pictures.append(sheet_of_pairs(title, pairs, found.read, caption=f"{caption} first."))
    return replace(section, figures=tuple(figures), pictures=tuple(pictures))
