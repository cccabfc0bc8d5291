"""`arcwise evaluate groups`: is one threshold as good for everybody?"""

from __future__ import annotations

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
from arcwise.cli.reporting import (
    DEFAULT_TOLERANCE,
    ExpectedOption,
    OutOption,
    ToleranceOption,
    check_out,
    describe_run,
    tell,
)
from arcwise.cli.show import make_printable
from arcwise.cli.sources import (
    FoldsOption,
    LabeledPhotosOption,
    PairsOption,
    Source,
    Wanted,
    open_source,
)
from arcwise.cli.thresholds import ThresholdOption, find_calibration, list_thresholds
from arcwise.cli.vectors import AlignedOption, CacheOption, EmbeddingsOption
from arcwise.errors import InputError, SettingsError

if TYPE_CHECKING:
    from arcwise.compare import Threshold
    from arcwise.evaluate.groups import GroupReport
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.vectors.embedded import Views
    from arcwise.settings import Settings

MetadataOption = Annotated[
    Path,
    typer.Option(
        "--metadata", metavar="CSV", help="What is known: photo or person, then age, gender, …"
    ),
]
EdgesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--edges",
        metavar="COLUMN=18,30",
        help="Ranges of a column of numbers. May be repeated.  [default: quarters]",
    ),
]


def groups(
    metadata: MetadataOption,
    photos: LabeledPhotosOption = None,
    embeddings: EmbeddingsOption = None,
    pairs: PairsOption = None,
    folds: FoldsOption = None,
    threshold: ThresholdOption = None,
    edges: EdgesOption = None,
    out: OutOption = None,
    expected: ExpectedOption = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
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
    """How often is each group taken for a stranger, or a stranger for it, at one threshold?"""
    from arcwise.evaluate.groups import measure_groups
    from arcwise.evaluate.sets.metadata import read_metadata

    wanted = Wanted(
        photos, None, embeddings, pairs, parse_folds("--folds", folds), select, aligned, flip,
        cache, model, detector,
    )  # fmt: skip
    check_out(out, [*wanted.places, metadata], expected=expected)
    ranges = dict(_parse_edges(text) for text in edges or ())
    known = read_metadata(metadata)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    source = open_source(wanted, settings)
    chosen = _choose_threshold(threshold, source, settings, wanted.views)
    report = measure_groups(source.score(), known, chosen, edges=ranges)
    document = describe_run(
        "Groups",
        source,
        data=f"{wanted.places[0]}, groups of {metadata}",
        data_digest=report.data_digest,
        sections=_list_sections(report),
        values=report.to_dict(),
    )
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)


def _parse_edges(text: str) -> tuple[str, tuple[float, ...]]:
    """A column and its edges, from COLUMN=18,30."""
    column, _, numbers = text.rpartition("=")
    try:
        edges = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        edges = ()
    if not column or not edges:
        raise SettingsError(f"--edges is {text!r}", hint="such as --edges age=18,30,50")
    return column, edges


def _choose_threshold(
    given: float | None, source: Source, settings: Settings, views: Views
) -> Threshold:
    """The one that was given, else the calibrated one of `compare`."""
    calibration = None
    if given is None:
        calibration = find_calibration(settings, source.recognizer, source.model_digest)
    thresholds = list_thresholds(calibration, given, views=views)
    if not thresholds:
        raise InputError(
            f"model {source.model} has no calibration, so there is no threshold to hold fixed",
            hint="measure one on other people (arcwise calibrate), or give --threshold",
        )
    return thresholds[0]


def _list_sections(report: GroupReport) -> list[Section]:
    from arcwise.evaluate.report import Section, Table

    columns = ("group", "photos", "people", "FMR", "FNMR")
    tables = []
    for grouping in report.groupings:
        cells = tuple(
            (make_printable(group.name), f"{group.n_photos:,}", f"{group.n_people:,}",
             group.fmr.text, group.fnmr.text)
            for group in (*grouping.groups, report.everybody)
        )  # fmt: skip
        tables.append(Table(make_printable(grouping.column), columns, cells))
    return [Section("Groups", rows=tuple(report.rows()), tables=tuple(tables))]
