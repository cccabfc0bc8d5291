"""`arcwise evaluate gallery`: who of a gallery is it, and who is a stranger?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcwise.cli.folds import parse_folds
from arcwise.cli.labeled import FailedOption
from arcwise.cli.leak import (
    Copied,
    LeakOption,
    describe_photos,
    find_copies,
    find_equal,
    tell_doubles,
    treat_leaks,
)
from arcwise.cli.lineup import (
    NonMatedOption,
    PerPersonOption,
    PhotosArgument,
    ProbesOption,
    SeedOption,
    Sides,
    Sources,
    Wanted,
    choose_sides,
    embed_sides,
    gather_lineup,
    open_sources,
    split_sources,
)
from arcwise.cli.options import (
    DetectorOption,
    JsonOption,
    MinFaceOption,
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
from arcwise.cli.thresholds import ThresholdOption, find_calibration, list_thresholds
from arcwise.cli.vectors import AlignedOption, CacheOption, EmbeddingsOption, MirrorOption
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.compare import Threshold
    from arcwise.evaluate.identification.contest import Entrant
    from arcwise.evaluate.identification.lineup import Split
    from arcwise.evaluate.identification.scope import Scope
    from arcwise.evaluate.identification.tally import IdentificationReport
    from arcwise.evaluate.report import Document, Picture
    from arcwise.evaluate.row import FailedPolicy
    from arcwise.recognizer import Recognizer
    from arcwise.settings import Settings

_MOST_PAIRS = 8  # on a sheet of pictures
_CAPTION = "Each probe with the photo of the gallery that is most alike, and their similarity."

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", help="Embedding model: a name or an .onnx file. May be given again."
    ),
]
TopOption = Annotated[str, typer.Option("--topk", metavar="1,3,5", help="Ranks that are told.")]
SizesOption = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="10,100", help="Smaller galleries to try; 0 for none.  [default: auto]"
    ),
]
BaselineOption = Annotated[
    bool, typer.Option("--baseline", help="Also what PCA and an SVM find, on gray crops.")
]
PicturesOption = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Show the worst mistakes in .html.")
]


def gallery(
    photos: PhotosArgument = None,
    probes: ProbesOption = None,
    embeddings: EmbeddingsOption = None,
    per_person: PerPersonOption = 1,
    non_mated: NonMatedOption = 0.0,
    seed: SeedOption = None,
    on_leak: LeakOption = "warn",
    topk: TopOption = "1,3,5",
    sizes: SizesOption = None,
    threshold: ThresholdOption = None,
    baseline: BaselineOption = False,
    failed: FailedOption = "count_as_wrong",
    flip: MirrorOption = True,
    aligned: AlignedOption = False,
    select: SelectOption = "center",
    cache: CacheOption = True,
    pictures: PicturesOption = True,
    out: OutOption = None,
    expected: ExpectedOption = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
    model: ModelsOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Who of a gallery is it? Top-k, CMC, DIR@FAR, FNIR@FPIR, effect of the gallery's size."""
    wanted = Wanted(
        photos=photos,
        probes=probes,
        embeddings=embeddings,
        per_person=per_person,
        non_mated=non_mated,
        seed=seed,
        on_leak=on_leak,
        has_baseline=baseline,
        select=select,
        is_aligned=aligned,
        has_mirror=flip,
        use_cache=cache,
        has_pictures=pictures and wants_drawings(out),
        threshold=threshold,
        scope=_make_scope(topk, sizes, failed, seed),
    )
    _check_sources(wanted, n_models=len(model or ()))
    check_out(out, [s for s in (photos, probes, embeddings) if s], expected=expected)
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    names: Sequence[str | None] = model or ([] if embeddings else [None])
    recognizers = [open_recognizer(settings, model=name, detector=detector) for name in names]
    document = _measure(wanted, settings, recognizers)
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)


def _make_scope(topk: str, sizes: str | None, failed: FailedPolicy, seed: int | None) -> Scope:
    from arcwise.evaluate.identification.scope import Scope

    tried: tuple[int, ...] | None = None
    if sizes is not None:
        tried = () if sizes == "0" else parse_folds("--sizes", sizes)
    ranks = parse_folds("--topk", topk)
    return Scope(ranks=ranks, failed_policy=failed, sizes=tried, seed=seed or 0)


def _check_sources(wanted: Wanted, *, n_models: int) -> None:
    if (wanted.photos is None) == (wanted.embeddings is None):
        said = "both photos and --embeddings were" if wanted.photos else "no photos were"
        raise SettingsError(
            f"{said} given", hint="name a folder of PERSON/FILE, or --embeddings FILE alone"
        )
    if wanted.embeddings and (wanted.probes or wanted.has_baseline or n_models > 1):
        raise SettingsError(
            "--embeddings holds the vectors of one model and no photos",
            hint="leave out --probes, --baseline and all models but one, or give the photos",
        )


def _measure(
    wanted: Wanted,
    settings: Settings,
    recognizers: Sequence[Recognizer],
) -> Document:
    """All of it: split, look for leaks, embed with each model, search."""
    from arcwise.evaluate.identification.contest import Entrant, make_sections

    with ExitStack() as stack:
        sources = open_sources(wanted, recognizers, stack)
        split = split_sources(wanted, sources)
        copied = _find_copied(wanted, sources, split, settings)
        if copied is not None:
            split = treat_leaks(wanted.on_leak, split, copied.leaks)
            copied = copied.keep(split)
            tell_doubles(copied)
        if wanted.has_baseline:
            from arcwise.evaluate.identification.baseline import check_people

            check_people(set(split.gallery.values()))
        made = _make_sides(wanted, sources, split, recognizers)
        searched_with: list[Recognizer | None] = [*recognizers] or [None]
        reports = [
            _search(wanted, settings, sides, split, recognizer)
            for sides, recognizer in zip(made, searched_with, strict=True)
        ]
        names = name_apart([sides.gallery.model or "saved embeddings" for sides in made])
        entrants = list(map(Entrant, names, reports))
        if wanted.has_baseline:
            found = _search_baseline(wanted, sources, split, recognizers[0])
            entrants.append(Entrant("PCA + SVM", found, is_baseline=True))
        sections = [describe_photos(wanted, split, copied), *make_sections(entrants)]
        if wanted.has_pictures and wanted.photos:
            sheets = _show(wanted, recognizers[0], reports[0])
            sections[2] = replace(sections[2], pictures=tuple(sheets))
    document = describe_run(
        "Identification",
        recognizers[0] if recognizers else made[0].gallery,
        data=" and ".join(str(p) for p in (wanted.photos, wanted.probes, wanted.embeddings) if p),
        data_digest=digest_photos(made[0].gallery, made[0].probes),
        sections=sections,
        values=_to_values(entrants, made, split, copied),
    )
    digests = ", ".join(sides.gallery.model_digest for sides in made)
    return replace(document, model=", ".join(e.name for e in entrants), model_digest=digests)


def _find_copied(
    wanted: Wanted, sources: Sources, split: Split, settings: Settings
) -> Copied | None:
    """None where nobody looks."""
    if wanted.on_leak == "ignore":
        return None
    if sources.saved is not None:
        return find_equal(sources.saved.digest_of(), split)
    assert sources.gallery is not None, "photos or saved embeddings"
    assert sources.probes is not None
    return find_copies(sources.gallery, sources.probes, split, settings)


def _make_sides(
    wanted: Wanted, sources: Sources, split: Split, recognizers: Sequence[Recognizer]
) -> list[Sides]:
    if sources.saved is not None:
        return [choose_sides(sources.saved, split)]
    views, use_cache = wanted.views, wanted.use_cache
    return [
        embed_sides(wanted, sources, split, recognizer, views=views, use_cache=use_cache)
        for recognizer in recognizers
    ]


def _search(
    wanted: Wanted, settings: Settings, sides: Sides, split: Split, recognizer: Recognizer | None
) -> IdentificationReport:
    from arcwise.evaluate.identification import evaluate_gallery

    lineup = gather_lineup(sides, split, wanted.views)
    thresholds = _list_thresholds(
        wanted, settings, recognizer, sides.gallery.model_digest, len(set(split.gallery.values()))
    )
    return evaluate_gallery(lineup, replace(wanted.scope, thresholds=tuple(thresholds)))


def _list_thresholds(
    wanted: Wanted,
    settings: Settings,
    recognizer: Recognizer | None,
    model_digest: str,
    n_people: int,
) -> list[Threshold]:
    """The one that `identify` takes for a gallery of this size, and the one that was given."""
    return list_thresholds(
        find_calibration(settings, recognizer, model_digest),
        wanted.threshold,
        views=wanted.views,
        n_people=n_people,
        published=recognizer.published_threshold if recognizer else None,
        caveat=recognizer.caveat if recognizer else "",
    )


def _search_baseline(
    wanted: Wanted, sources: Sources, split: Split, recognizer: Recognizer
) -> IdentificationReport:
    """Eigenfaces and a support vector machine, on the faces that the same detector finds."""
    from arcwise.evaluate.identification import measure_searches
    from arcwise.evaluate.identification.baseline import GrayEmbedder, search_eigenfaces
    from arcwise.recognizer import Recognizer

    gray = Recognizer(
        model=GrayEmbedder(), detector=recognizer.detector, settings=recognizer.settings
    )
    sides = embed_sides(wanted, sources, split, gray, views="none", use_cache=False)
    lineup = gather_lineup(sides, split, "none")
    scope = wanted.scope
    return measure_searches(lineup, search_eigenfaces(lineup, seed=scope.seed), scope)


def _show(
    wanted: Wanted, recognizer: Recognizer, report: IdentificationReport
) -> Iterator[Picture]:
    """The worst mistakes: each probe beside the photo that it was most like."""
    from arcwise.cli.faces import face_reader
    from arcwise.evaluate.identification.tally import ALARMS, MISSES
    from arcwise.evaluate.verification.drawn import sheet_of_pairs
    from arcwise.evaluate.verification.scored import ScoredPair
    from arcwise.types import Image, Pair

    assert wanted.photos is not None, "saved embeddings have no pictures"
    places = {"gallery": wanted.photos, "probes": wanted.probes or wanted.photos}
    readers = {
        side: face_reader(recognizer, place, wanted.select, is_aligned=wanted.is_aligned)
        for side, place in places.items()
    }

    def read(name: str) -> Image | None:
        side, _, photo = name.partition("/")
        return readers[side](photo)

    for title, mistakes in ((MISSES, report.misses), (ALARMS, report.alarms)):
        pairs = [
            ScoredPair(
                Pair(f"probes/{found.probe}", f"gallery/{found.taken_for}", False, 0),
                found.other_similarity,
            )
            for found in mistakes[:_MOST_PAIRS]
        ]
        if pairs:
            yield sheet_of_pairs(title, pairs, read, caption=_CAPTION)


def _to_values(
    entrants: Sequence[Entrant], made: Sequence[Sides], split: Split, copied: Copied | None
) -> dict[str, Any]:
    digests = [sides.gallery.model_digest for sides in made] + [""]
    return {
        "gallery": split.gallery,
        "probes": split.probes,
        "left_out": split.left_out,
        "leaks": copied and copied.leaks,
        "doubles": copied and copied.doubles,
        "rows": [
            {"name": entrant.name, "model_digest": digest} | entrant.report.to_dict()
            for entrant, digest in zip(entrants, digests, strict=False)
        ],
    }
