"""`arcwise evaluate clusters`: do clusters of faces become people, and at which threshold?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.labeled import (
    FailedOption,
    OnlyOption,
    Wanted,
    embed_wanted,
    label_photos,
    list_failed,
    make_table,
)
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
from arcwise.cli.reporting import (
    DEFAULT_TOLERANCE,
    ExpectedOption,
    OutOption,
    ToleranceOption,
    check_out,
    describe_run,
    digest_photos,
    name_apart,
    tell,
    wants_drawings,
)
from arcwise.cli.show import count, print_note
from arcwise.cli.thresholds import ThresholdOption, find_calibration, list_thresholds
from arcwise.cli.vectors import (
    AlignedOption,
    CacheOption,
    EmbeddingsOption,
    PhotosOption,
    check_one_source,
)

if TYPE_CHECKING:
    from arcwise.compare import Threshold
    from arcwise.evaluate.clusters import ClusterReport, CutScores, Merges
    from arcwise.evaluate.report import Figure, Section, Table
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
    from arcwise.recognizer import Recognizer
    from arcwise.types import Floats

_N_POINTS = 200  # of a curve
_BEST = "At the best BCubed F"
_GIVEN = "At the given threshold"
_USUAL = "At the threshold of compare"
_LINKAGES = {
    "average": "average: the mean similarity of all pairs of photos of the two",
    "components": "components: the similarity of the two most alike photos of the two",
}
LinkageOption = Annotated[
    Literal["average", "components"], typer.Option("--linkage", help="When two clusters are one.")
]


def clusters(
    photos: PhotosOption = None,
    embeddings: EmbeddingsOption = None,
    only: OnlyOption = None,
    linkage: LinkageOption = "average",
    threshold: ThresholdOption = None,
    failed: FailedOption = "count_as_wrong",
    aligned: AlignedOption = False,
    flip: FlipOption = False,
    select: SelectOption = "center",
    cache: CacheOption = True,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    out: OutOption = None,
    expected: ExpectedOption = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
    as_json: JsonOption = False,
) -> None:
    """Do clusters become people? Merges, splits, pairwise and BCubed F over all thresholds."""
    from arcwise.evaluate.clusters.linkage import LINKAGES  # without scipy, told before the work

    check_one_source(photos, embeddings)
    check_out(out, [place for place in (photos, embeddings) if place], expected=expected)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector)
    wanted = Wanted(
        photos=photos,
        embeddings=embeddings,
        only=only or (),
        select=select,
        is_aligned=aligned,
        has_flip=flip,
        use_cache=cache,
        has_model=model is not None,
    )
    embedded = embed_wanted(wanted, recognizer)
    report = _measure(
        embedded,
        wanted,
        LINKAGES[linkage],
        linkage=_LINKAGES[linkage],
        skip_missing=failed == "leave_out",
        thresholds=_fixed_thresholds(recognizer, embedded, wanted, threshold),
    )
    document = describe_run(
        "Clusters",
        embedded,
        data=wanted.data,
        data_digest=digest_photos(embedded),
        sections=_describe(report, has_figure=wants_drawings(out)),
        values=report.to_dict() | {"failed_photos": list_failed(embedded.reasons)},
    )
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)
    if embedded.reasons and not as_json:
        n_failed = count(len(embedded.reasons), "photo")
        print_note(f"{n_failed} gave no embedding; --json or --out names them")


def _fixed_thresholds(
    recognizer: Recognizer, embedded: EmbeddedPhotos, wanted: Wanted, given: float | None
) -> list[Threshold]:
    """Thresholds that were chosen elsewhere: the calibrated one of `compare`, and the given one."""
    is_maker = wanted.embeddings is None or wanted.has_model
    calibration = find_calibration(
        recognizer.settings, recognizer if is_maker else None, embedded.model_digest
    )
    return list_thresholds(calibration, given, views=wanted.views)


def _measure(
    embedded: EmbeddedPhotos,
    wanted: Wanted,
    link: Callable[[Floats], Merges],
    *,
    linkage: str,
    skip_missing: bool,
    thresholds: Sequence[Threshold],
) -> ClusterReport:
    from arcwise.evaluate.clusters import evaluate_clusters
    from arcwise.evaluate.retrieval.relevance import LabeledVectors

    items = LabeledVectors.collect(
        label_photos(embedded), embedded.vectors(wanted.views), skip_missing=skip_missing
    )
    return evaluate_clusters(
        link(items.vectors),
        items.labels,
        linkage=linkage,
        missing=items.missing,
        thresholds=thresholds,
    )


def _describe(report: ClusterReport, *, has_figure: bool) -> list[Section]:
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.row import Row

    head = Section(
        title="Clusters",
        rows=tuple(report.head_rows()),
        tables=(_tabulate(report),),
        figures=(_draw(report),) if has_figure else (),
    )
    cuts = [
        Section(title, (Row("threshold", f"{cut.similarity:.4f}", cut.why), *cut.scores.rows()))
        for title, cut in (*zip(_name_cuts(report), report.at, strict=True), (_BEST, report.best))
    ]
    return [head, *cuts]


def _name_cuts(report: ClusterReport) -> list[str]:
    """Titles by the role of each threshold, so that those of two models stand side by side."""
    return name_apart(_GIVEN if cut.why.startswith("given") else _USUAL for cut in report.at)


def _tabulate(report: ClusterReport) -> Table:
    """One line for each threshold, rising; those chosen elsewhere and the best among them."""
    marked = [(cut, "chosen elsewhere") for cut in report.at]
    marked += [(report.best, "highest BCubed F"), *((cut, "") for cut in report.table)]
    marked.sort(key=lambda entry: entry[0].similarity)
    columns = ("threshold", "", "clusters", "merged people", "split people")
    measures = ("pairwise F", "BCubed F", "NMI", "ARI")
    lines = [_line(cut, mark) for cut, mark in marked]
    return make_table("Over thresholds", (*columns, *measures), lines)


def _line(cut: CutScores, mark: str) -> tuple[str, ...]:
    scores = cut.scores
    shares = (scores.pairwise.f, scores.bcubed.f, scores.nmi, scores.ari)
    counts = (scores.n_clusters, scores.n_merged_classes, scores.n_split_classes)
    return (
        f"{cut.similarity:.4f}",
        mark,
        *(f"{n:,}" for n in counts),
        *("n/a" if share is None else f"{share:.4f}" for share in shares),
    )


def _draw(report: ClusterReport) -> Figure:
    from arcwise.evaluate.report import Figure
    from arcwise.evaluate.report.plots import plot_sweep

    trace = report.trace.thin(_N_POINTS)
    curves = {"BCubed F": trace.bcubed_f.tolist(), "pairwise F": trace.pairwise_f.tolist()}
    svg = plot_sweep(trace.similarity, curves, x_label="threshold, cosine", y_label="F")
    caption = "Left, clusters of several people; right, people in several clusters."
    return Figure("F against the threshold", svg, caption)
