"""`arcwise evaluate verification`: are two photos of one person?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcwise.cli.folds import parse_folds
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
from arcwise.cli.overlap import find_learned
from arcwise.cli.pairset import FailedName, PairSet, Wanted, check_sources, read_set
from arcwise.cli.reporting import (
    DEFAULT_TOLERANCE,
    ExpectedOption,
    OutOption,
    ToleranceOption,
    check_out,
    describe_run,
    digest_photos,
    tell,
    wants_drawings,
)
from arcwise.cli.thresholds import ThresholdOption, find_calibration, list_thresholds
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
PicturesOption = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Show the hardest pairs in .html.")
]
NamesOption = Annotated[
    bool, typer.Option("--names/--no-names", help="Name photos and people in the report.")
]
TrainedOnOption = Annotated[
    Path | None,
    typer.Option("--trained-on", metavar="LIST", help="Tell who of this training list is scored."),
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
    pictures: PicturesOption = True,
    names: NamesOption = True,
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
        has_pictures=pictures and names,
        has_names=names,
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
    sections: list[Section] = []
    values: list[dict[str, Any]] = []
    lines: list[str] = []
    parts: list[EmbeddedPhotos] = []
    for path in paths:
        found = read_set(path, wanted, recognizer)
        calibration = find_calibration(settings, recognizer, found.embedded.model_digest)
        made, results = _measure_set(found, wanted, calibration, is_alone=len(paths) == 1)
        sections += made
        values += results
        lines += [f"{p.a} {p.b} {int(p.is_same)} {p.fold}" for p in found.pairs]
        parts.append(found.embedded)
    names = ", ".join(path.name for path in paths)
    place = wanted.photos or wanted.embeddings
    return describe_run(
        "Verification",
        recognizer or found.embedded,
        data=f"{names}, {place.name}" if place else names,
        data_digest=digest_photos(*parts, more=lines),
        sections=sections,
        values=values,
    )


def _list_thresholds(
    calibration: Calibration | None, given: float | None, pairs: Sequence[Pair], views: Views
) -> list[Threshold]:
    """Thresholds that were chosen elsewhere: the calibrated one of `compare`, and the given one.

    Raises:
        InputError: there are none, and one fold leaves no other to choose one on.
    """
    thresholds = list_thresholds(calibration, given, views=views)
    folds = {pair.fold + 1 for pair in pairs}
    if len(folds) == 1 and not thresholds:
        raise InputError(
            f"fold {min(folds)} alone leaves no other fold to choose a threshold on",
            hint="score two folds or more, calibrate the model on other people (arcwise "
            "calibrate), or give --threshold",
        )
    return thresholds


def _measure_set(
    found: PairSet, wanted: Wanted, calibration: Calibration | None, *, is_alone: bool
) -> tuple[list[Section], list[dict[str, Any]]]:
    from dataclasses import replace

    from arcwise.evaluate.verification import evaluate_scored
    from arcwise.evaluate.verification.exhibits import make_section
    from arcwise.evaluate.verification.scored import score_pairs

    learned = replace(find_learned(found.pairs, wanted.trained_on), is_named=wanted.has_names)
    sections, values = learned.list_sections(), []
    scored: dict[Views, ScoredPairs] = {}

    def name_apart(title: str) -> str:
        return title if is_alone else f"{found.name}, {title}"

    for number, protocol in enumerate(wanted.protocols):
        views = wanted.views_of(protocol)
        thresholds = _list_thresholds(calibration, wanted.threshold, found.pairs, views)
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
        if not wanted.has_names:
            report = report.without_names()
        sections.append(make_section(report, title=name_apart(protocol)))
        values.append({"set": found.name} | learned.to_dict() | report.to_dict())
        if number == 0:
            curves = _illustrate(name_apart("Curves"), report, found, wanted, scored[views])
    return [*sections, curves], values


def _illustrate(
    title: str,
    report: VerificationReport,
    found: PairSet,
    wanted: Wanted,
    scored: ScoredPairs,
) -> Section:
    """A section of curves and of the hardest pairs; with pictures where there is a page.

    It is one for all protocols, so that reports of other protocols have it under the same title.
    """
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.verification.exhibits import list_curves, list_hardest

    counts_failed = wanted.failed == "count_as_wrong"
    n_failed = sum(pair.is_same for pair in scored.failed) if counts_failed else 0
    figures = list_curves(scored, name=found.embedded.model or "model", n_failed=n_failed)
    tables = list_hardest(report) if wanted.has_names else ()
    if not wanted.has_drawings:
        return Section(title, tables=tables, figures=tuple(figures))
    from arcwise.evaluate.verification.drawn import draw_scores, sheet_of_pairs

    threshold = report.best.similarity if report.similarity is None else report.similarity
    figures += draw_scores(scored, threshold=threshold, n_failed=n_failed)
    pictures = []
    if wanted.has_pictures and found.read is not None:
        for table, pairs in zip(
            tables, (report.hardest_genuine, report.hardest_impostor), strict=True
        ):
            caption = "Numbers as in the table; then the similarity."
            pictures.append(sheet_of_pairs(table.title, pairs, found.read, caption=caption))
    return Section(title, tables=tables, figures=tuple(figures), pictures=tuple(pictures))
