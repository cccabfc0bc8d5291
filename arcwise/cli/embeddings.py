"""`arcwise evaluate embeddings`: how vectors lie in their space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.labeled import Wanted, embed_wanted
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
from arcwise.cli.vectors import (
    AlignedOption,
    CacheOption,
    EmbeddingsOption,
    PhotosOption,
    check_one_source,
)

if TYPE_CHECKING:
    from arcwise.evaluate.report import Figure
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos

MapName = Literal["pca", "tsne"]
_LARGEST_SEED = 2**32 - 1  # evaluate.tsne's; importing it would load scikit-learn for --help
_MOST_ON_MAP = 2_000  # photos: more hide each other, and t-SNE takes minutes


def embeddings(
    photos: PhotosOption = None,
    embeddings: EmbeddingsOption = None,
    map_by: Annotated[
        MapName, typer.Option("--map", help="How the page lays the photos out.")
    ] = "pca",
    seed: Annotated[int, typer.Option("--seed", min=0, max=_LARGEST_SEED, help="Of the map.")] = 0,
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

    check_one_source(photos, embeddings)
    check_out(out, [photos, embeddings], expected=expected)
    wanted = Wanted(
        photos=photos,
        embeddings=embeddings,
        only=(),
        select=select,
        is_aligned=aligned,
        has_flip=False,
        use_cache=cache,
        has_model=model is not None,
    )
    recognizer = None
    if photos is not None or wanted.has_model:
        settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
        recognizer = open_recognizer(settings, model=model, detector=detector)
    embedded = embed_wanted(wanted, recognizer)
    people = [person_of_photo(name) for name in embedded.names]
    found = analyze_embeddings(embedded.raw, people)
    figures = _draw(embedded, people, map_by, seed) if wants_drawings(out) else []
    counts = f"{len(embedded.names):,} photos, {len(embedded.reasons):,} failed reads"
    document = describe_run(
        "Embeddings",
        embedded,
        data=f"{wanted.data}: {counts}",
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
