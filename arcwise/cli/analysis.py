"""`arcwise evaluate embeddings` and `report`: how vectors lie, and reports side by side."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
from arcwise.cli.show import print_note
from arcwise.cli.vectors import (
    AlignedOption,
    CacheOption,
    EmbeddingsOption,
    PhotosOption,
    check_one_source,
    embed_names,
    load_vectors,
)
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Document, Figure
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos

MapName = Literal["pca", "tsne"]
_MOST_ON_MAP = 2_000  # photos: more hide each other, and t-SNE takes minutes


def embeddings(
    photos: PhotosOption = None,
    embeddings: EmbeddingsOption = None,
    map_by: Annotated[
        MapName, typer.Option("--map", help="How the page lays the photos out.")
    ] = "pca",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the map.")] = 0,
    aligned: AlignedOption = False,
    cache: CacheOption = True,
    select: SelectOption = "center",
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
    """How do embeddings lie? Norms, angles within and between people, dimensions used, a map."""
    from arcwise.evaluate.analysis import analyze_embeddings
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.vectors.embedded import person_of_photo
    from arcwise.photos import open_photos

    check_one_source(photos, embeddings)
    check_out(out, [photos, embeddings], expected=expected)
    if embeddings is not None:
        embedded = load_vectors(embeddings, None, digest="")
    else:
        assert photos is not None
        settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
        recognizer = open_recognizer(settings, model=model, detector=detector)
        with open_photos(photos) as archive:
            embedded = embed_names(
                recognizer,
                archive,
                archive.names,
                select=select,
                views="none",
                aligned=aligned,
                use_cache=cache,
            )
    people = [person_of_photo(name) for name in embedded.names]
    found = analyze_embeddings(embedded.raw, people)
    figures = _draw(embedded, people, map_by, seed) if wants_drawings(out) else []
    place = photos or embeddings
    document = describe_run(
        "Embeddings",
        embedded,
        data=f"{place}: {len(embedded.names):,} photos, {len(embedded.reasons):,} failed reads",
        data_digest=digest_photos(embedded),
        sections=[Section("Embeddings", rows=tuple(found.rows()), figures=tuple(figures))],
        values=found.to_dict() | {"failed": embedded.reasons},
    )
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)


def _draw(embedded: EmbeddedPhotos, people: list[str], map_by: MapName, seed: int) -> list[Figure]:
    import numpy as np

    from arcwise.evaluate.analysis import count_pairs, project_embeddings
    from arcwise.evaluate.report import Figure
    from arcwise.evaluate.report.maps import plot_map
    from arcwise.evaluate.report.plots import plot_counts, plot_spread

    chosen = np.arange(len(people))
    if len(people) > _MOST_ON_MAP:
        chosen = np.random.default_rng(seed).choice(len(people), _MOST_ON_MAP, replace=False)
    raw = embedded.raw[chosen]
    if map_by == "tsne":
        from arcwise.evaluate.tsne import project_neighbors

        points = project_neighbors(raw / np.linalg.norm(raw, axis=1, keepdims=True), seed=seed)
        caption = f"t-SNE, seed {seed}: groups are neighbors; gaps between groups say nothing."
    else:
        points = project_embeddings(raw)
        caption = "The plane of the first two principal components of the unit vectors."
    left_out = len(people) - len(chosen)
    caption += f" {left_out:,} photos are left out, drawn by lot." if left_out else ""
    pairs = count_pairs(embedded.raw, people)
    similarities = plot_counts(pairs.edges, pairs.genuine, pairs.impostor)
    norms = plot_spread(embedded.norms(), x_label="norm of the embedding", y_label="photos")
    title = "t-SNE" if map_by == "tsne" else "PCA"
    names = [people[number] for number in chosen]
    return [
        Figure("Similarities of all pairs", similarities, "Each class adds up to 100 %."),
        Figure("Norms", norms, "Lengths before normalizing, as the model gives them."),
        Figure("Map", plot_map(points, names, title=title), caption),
    ]


def report(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Reports that are JSON.")
    ],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page of one JSON report, or lay several side by side, one column for each."""
    from arcwise.evaluate.report import read_document

    check_out(out, reports)
    documents = [read_document(place) for place in reports]
    if len(documents) == 1:
        document = documents[0]
        print_note("the photos of a report are not in its JSON")
    else:
        from arcwise.evaluate.report.beside import place_beside

        document = place_beside(
            _name_columns(reports, documents),
            command=shlex.join(["arcwise", *sys.argv[1:]]),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    tell(document, out=out, as_json=as_json)


def _name_columns(places: list[Path], documents: list[Document]) -> dict[str, Document]:
    """The model's name of each report, or its file's where models are not told apart.

    Raises:
        SettingsError: one file is named twice.
    """
    if len({place.resolve() for place in places}) < len(places):
        raise SettingsError("a report is named twice", hint="name each file once")
    names = [document.model for document in documents]
    if len(set(names)) < len(names) or "" in names:
        names = [place.stem for place in places]
    if len(set(names)) < len(names):
        names = [str(place) for place in places]
    return dict(zip(names, documents, strict=True))
