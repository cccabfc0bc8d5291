"""`arcwise evaluate retrieval`: does a search find the photos of the same class?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    tell,
    wants_drawings,
)
from arcwise.cli.show import count, print_note
from arcwise.cli.vectors import (
    AlignedOption,
    CacheOption,
    EmbeddingsOption,
    PhotosOption,
    check_one_source,
)
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Picture, Section
    from arcwise.evaluate.retrieval import RetrievalReport
    from arcwise.evaluate.row import Row
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
    from arcwise.recognizer import Recognizer

_RANKS = [1, 5, 10]  # evaluate.retrieval.RANKS; importing it would load numpy for --help
_N_WORST = 10
_PIXELS = "Searches by plain pixels"
ReferencesOption = Annotated[
    Path | None,
    typer.Option(
        "--references", metavar="FOLDER|ZIP", help="Search these photos, not the other queries."
    ),
]
InShopOption = Annotated[
    Path | None,
    typer.Option("--inshop", metavar="FILE", help="Queries and gallery of this In-Shop list."),
]
RanksOption = Annotated[
    list[int] | None,
    typer.Option("--at", "-k", min=1, help="Measure at this k (default: 1 5 10). May be repeated."),
]
BaselineOption = Annotated[
    bool, typer.Option("--baseline", help="Measure plain pixels too, as the naive row.")
]


def retrieval(
    photos: PhotosOption = None,
    embeddings: EmbeddingsOption = None,
    references: ReferencesOption = None,
    inshop: InShopOption = None,
    only: OnlyOption = None,
    at: RanksOption = None,
    baseline: BaselineOption = False,
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
    """Does a search find the photos of the same class? Recall@k, mAP, MRR; a folder per class."""
    check_one_source(photos, embeddings)
    _check_choice(embeddings, references, inshop, only, baseline)
    sources = [place for place in (photos, embeddings, references, inshop) if place]
    check_out(out, sources, expected=expected)
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
    search = _Search(wanted, references, inshop, tuple(at or _RANKS), failed == "leave_out")
    queries, searched, report = search.run(recognizer)
    section, values = _describe("Searches", queries, searched, report)
    sections = [section]
    if wants_drawings(out):
        sections[0] = replace(section, pictures=tuple(_show_misses(search, recognizer, report)))
    if baseline:
        section, values["baseline"] = _describe(_PIXELS, *search.run(_open_pixels(recognizer)))
        sections.append(section)
    document = describe_run(
        "Retrieval",
        queries,
        data=wanted.data + (f" among {references or inshop}" if references or inshop else ""),
        data_digest=digest_photos(queries, *([searched] if searched else [])),
        sections=sections,
        values=values,
    )
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)
    n_failed = len(values["failed_photos"])
    if n_failed and not as_json:
        print_note(f"{count(n_failed, 'photo')} gave no embedding; --json or --out names them")


def _check_choice(
    embeddings: Path | None,
    references: Path | None,
    inshop: Path | None,
    only: list[str] | None,
    baseline: bool,
) -> None:
    if embeddings and (references or baseline):
        option = "--references" if references else "--baseline"
        raise SettingsError(f"{option} needs photos, not --embeddings", hint="give --photos FOLDER")
    if inshop and (references or only):
        option = "--references" if references else "--only"
        raise SettingsError(f"--inshop and {option} exclude each other", hint="give one of them")


class _Search:
    """What is searched among what, with any model.

    Args:
        wanted: the queries.
        references: other photos that are searched, or None.
        inshop: the list that says which photos are queries and which are searched, or None.
        ranks: the k.
        skip_missing: leave out photos without an embedding.
    """

    def __init__(
        self,
        wanted: Wanted,
        references: Path | None,
        inshop: Path | None,
        ranks: tuple[int, ...],
        skip_missing: bool,
    ) -> None:
        self.wanted = wanted
        self.references = references
        self._ranks = ranks
        self._skip_missing = skip_missing
        self._parts = None if inshop is None else self._read_parts(inshop)

    def run(
        self, recognizer: Recognizer
    ) -> tuple[EmbeddedPhotos, EmbeddedPhotos | None, RetrievalReport]:
        """Embed, search, measure; the photos that are searched are None where they are one set."""
        from arcwise.evaluate.retrieval import evaluate_retrieval
        from arcwise.evaluate.retrieval.relevance import LabeledVectors

        searched: EmbeddedPhotos | None = None
        if self._parts is not None:
            labels = {**self._parts[0], **self._parts[1]}
            both = embed_wanted(self.wanted, recognizer, list(labels))
            queries, searched = (both.choose(list(part)) for part in self._parts)
        else:
            queries = embed_wanted(self.wanted, recognizer)
            labels = label_photos(queries)
            if self.references is not None:
                other = replace(self.wanted, photos=self.references)
                searched = embed_wanted(other, recognizer)

        def collect(embedded: EmbeddedPhotos, labels: dict[str, str]) -> LabeledVectors:
            own = {name: labels[name] for name in (*embedded.names, *embedded.reasons)}
            vectors = embedded.vectors(self.wanted.views)
            return LabeledVectors.collect(own, vectors, skip_missing=self._skip_missing)

        gallery = None
        if searched is not None:
            gallery = collect(searched, labels if self._parts else label_photos(searched))
        report = evaluate_retrieval(collect(queries, labels), gallery, ranks=self._ranks)
        return queries, searched, report

    def _read_parts(self, inshop: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Item of each query and of each photo of the gallery, by the names the photos have."""
        from arcwise.evaluate.sets.inshop import read_inshop
        from arcwise.photos import open_photos

        listed = read_inshop(inshop)
        for note in listed.notes:
            print_note(f"note: {note}")
        prefix = ""
        if self.wanted.photos is not None:
            with open_photos(self.wanted.photos) as archive:
                there = set(archive.names)
            first = next(("Img/" for photo in listed.query if f"Img/{photo.name}" in there), "")
            prefix = "" if any(photo.name in there for photo in listed.query) else first
        queries, gallery = (
            {prefix + photo.name: photo.item for photo in part}
            for part in (listed.query, listed.gallery)
        )
        return queries, gallery


def _open_pixels(recognizer: Recognizer) -> Recognizer:
    from arcwise.evaluate.retrieval.pixels import PixelEmbedder
    from arcwise.recognizer import Recognizer

    return Recognizer(
        model=PixelEmbedder(), detector=recognizer.detector, settings=recognizer.settings
    )


def _describe(
    title: str,
    queries: EmbeddedPhotos,
    searched: EmbeddedPhotos | None,
    report: RetrievalReport,
) -> tuple[Section, dict[str, Any]]:
    from arcwise.evaluate.report import Section

    copies, n_copies = _count_copies(queries, searched)
    is_part = report.n_classes > _N_WORST
    classes = make_table(
        f"Worst {_N_WORST} of {report.n_classes:,} classes" if is_part else "Classes, worst first",
        ("class", "queries", "Recall@1", "mAP"),
        [
            (
                one.name,
                f"{one.n_queries:,}",
                f"{one.recall_at_1:.2%}",
                f"{one.average_precision:.2%}",
            )
            for one in report.classes[:_N_WORST]
        ],
    )
    misses = make_table(
        "Wrong nearest references, those that find their own last",
        ("query", "nearest", "first right at"),
        [
            (miss.query, miss.nearest, "none" if miss.rank is None else f"{miss.rank:,}")
            for miss in report.misses
        ],
    )
    reasons = queries.reasons | (searched.reasons if searched else {})
    section = Section(
        title=title,
        rows=(*report.rows(), copies),
        tables=(classes, misses) if report.misses else (classes,),
    )
    more = {"n_copies": n_copies, "failed_photos": list_failed(reasons)}
    return section, report.to_dict() | more


def _count_copies(queries: EmbeddedPhotos, searched: EmbeddedPhotos | None) -> tuple[Row, int]:
    """Queries whose very pixels are searched too: to find those shows nothing."""
    from collections import Counter

    from arcwise.evaluate.row import Row

    own = queries.digest_of()
    there = Counter((searched or queries).digest_of().values())
    least = 1 if searched is not None else 2  # itself
    n_copies = sum(there[digest] >= least for digest in own.values())
    if len(own) < len(queries):
        return Row("copies", "n/a: not all pixels are known", _COPIES), n_copies
    return Row("copies", f"{n_copies:,} queries", _COPIES), n_copies


_COPIES = "whose very pixels (SHA-256) are among the references too: to find those shows nothing"


def _show_misses(
    search: _Search, recognizer: Recognizer, report: RetrievalReport
) -> Iterator[Picture]:
    """Queries and their wrong nearest references, side by side."""
    from arcwise.cli.faces import face_reader, sheet_of_photos
    from arcwise.evaluate.vectors.embedded import person_of_photo

    wanted = search.wanted
    if wanted.photos is None or not report.misses:
        return
    asked, searched = (
        face_reader(recognizer, place, wanted.select, is_aligned=wanted.is_aligned)
        for place in (wanted.photos, search.references or wanted.photos)
    )
    photos = [
        (f"{what}: {person_of_photo(name).rpartition('/')[2]}", read(name))
        for miss in report.misses
        for what, read, name in (("query", asked, miss.query), ("nearest", searched, miss.nearest))
    ]
    caption = "Two at a time: a query, and the reference of another class that is nearest to it."
    yield sheet_of_photos("Wrong nearest references", photos, caption=caption)
