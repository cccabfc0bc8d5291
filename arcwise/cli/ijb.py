"""`arcwise evaluate ijb`: IJB-B and IJB-C, 1:1 and 1:N, from their published meta files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arcwise.cli.options import (
    JsonOption,
    ModelOption,
    ProviderOption,
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
    tell,
)
from arcwise.cli.show import count, make_printable, print_note, watch
from arcwise.cli.vectors import EmbeddingsOption, load_vectors
from arcwise.errors import InputError, SettingsError

if TYPE_CHECKING:
    from arcwise.evaluate.report import Figure, Section
    from arcwise.evaluate.row import Row
    from arcwise.evaluate.sets.ijb import MetaFiles, TemplateImages
    from arcwise.evaluate.templates import Pooling, Templates
    from arcwise.evaluate.templates.openset import OpenSetReport
    from arcwise.evaluate.templates.pairwise import TemplateScores
    from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
    from arcwise.evaluate.vectors.work import EmbeddedImages, Work, WorkFolder
    from arcwise.recognizer import Recognizer
    from arcwise.types import Image

ViewsName = Literal["sum", "concat", "none"]
TaskName = Literal["1:1", "1:N"]

RootArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Holds meta/ and loose_crop/.", show_default=False)
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", metavar="FOLDER|ZIP", help="Instead of loose_crop."),
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work", metavar="FOLDER", help="Where embeddings grow (default: in your folder)."
    ),
]
SetOption = Annotated[
    str | None, typer.Option("--set", metavar="ijbb|ijbc", help="Where there are both.")
]
OnlyOption = Annotated[TaskName | None, typer.Option("--only", help="Not the other one.")]
ViewsOption = Annotated[ViewsName, typer.Option("--views", help="What becomes of mirror images.")]
NormsOption = Annotated[
    bool, typer.Option("--norms/--no-norms", help="Longer embeddings count for more.")
]
ScoresOption = Annotated[
    bool,
    typer.Option("--detector-scores/--no-detector-scores", help="Surer detections count for more."),
]


def ijb(
    root: RootArgument,
    images: ImagesOption = None,
    embeddings: EmbeddingsOption = None,
    work: WorkOption = None,
    which: SetOption = None,
    only: OnlyOption = None,
    views: ViewsOption = "sum",
    norms: NormsOption = True,
    detector_scores: ScoresOption = True,
    out: OutOption = None,
    expected: ExpectedOption = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
    model: ModelOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """IJB-B and IJB-C: templates compared 1:1, and searched in galleries 1:N."""
    from arcwise.evaluate.sets.ijb import find_meta, read_images
    from arcwise.evaluate.templates import Pooling, pool_templates

    _check_source(embeddings, images or work)
    pooling = Pooling(views, keep_norms=norms, weigh_scores=detector_scores)
    files = find_meta(root, which)
    tasks = _choose_tasks(files, only)
    check_out(out, (root, *([images] if images else [])), expected=expected)
    listed = read_images(files)
    source: Recognizer | EmbeddedPhotos
    if embeddings is not None:
        source, embedded = _load(embeddings, model, listed)
    else:
        settings = build_settings(provider=provider, strict=strict)
        source = open_recognizer(settings, model=model)
        embedded = _embed(source, listed, files, images=images, work=work, views=views)
    templates = pool_templates(
        embedded.rows,
        listed.templates,
        listed.media,
        listed.scores,
        pooling=pooling,
        is_failed=embedded.is_failed,
    )
    _tell_failed(embedded)
    run = _Run(files, templates)
    for task in tasks:
        run.measure(task)
    document = describe_run(
        f"{files.name.upper()} templates",
        source,
        data=f"{files.name}: {len(listed.names):,} images, {len(templates.numbers):,} templates",
        data_digest=run.data_digest(listed.digest),
        sections=[
            _describe_pooling(files.name, pooling, listed, embedded, templates),
            *run.sections,
        ],
        values={"pooling": pooling.to_dict(), "failed_images": len(embedded.reasons)} | run.values,
    )
    tell(document, out=out, as_json=as_json, expected=expected, tolerance=tolerance)


def _check_source(embeddings: Path | None, other: Path | None) -> None:
    if embeddings is not None and other is not None:
        raise SettingsError(
            "--embeddings was given, and --images or --work", hint="vectors need neither of them"
        )


def _choose_tasks(files: MetaFiles, only: TaskName | None) -> list[TaskName]:
    """What the meta files allow.

    Raises:
        InputError: the wanted task, or both, lack their files.
    """
    there: dict[TaskName, bool] = {
        "1:1": files.pairs is not None,
        "1:N": bool(files.galleries) and files.probes is not None,
    }
    lacking = {
        "1:1": f"{files.name}_template_pair_label.txt",
        "1:N": f"{files.name}_1N_gallery_*.csv and {files.name}_1N_probe_mixed.csv",
    }
    wanted = [only] if only else [task for task, is_there in there.items() if is_there]
    if not wanted or not all(there[task] for task in wanted):
        missing = " or ".join(lacking[task] for task in ([only] if only else there))
        raise InputError(f"{files.media.parent} holds no {missing}", hint="fetch the meta files")
    for task in there:
        if task not in wanted and not only:
            print_note(f"{task} is left out: there is no {lacking[task]}")
    return wanted


def _load(
    place: Path, model: str | None, listed: TemplateImages
) -> tuple[EmbeddedPhotos, EmbeddedImages]:
    from arcwise.evaluate.vectors.work import gather_images

    digest = open_recognizer(build_settings(), model=model).embedder.digest if model else ""
    embedded = load_vectors(place, None, digest=digest)
    return embedded, gather_images(embedded, listed.names)


def _embed(
    recognizer: Recognizer,
    listed: TemplateImages,
    files: MetaFiles,
    *,
    images: Path | None,
    work: Path | None,
    views: ViewsName,
) -> EmbeddedImages:
    """Embed all images, in a work folder that a killed run leaves behind for the next."""
    from arcwise.data.manifest import lock_folder
    from arcwise.evaluate.vectors.work import BLOCK_IMAGES, LOCK_NAME, Work, WorkFolder

    place = images or files.images
    if place is None:
        raise InputError(
            f"there is no loose_crop beside {files.media.parent}",
            hint="say where the images are: --images FOLDER, or their vectors: --embeddings FILE",
        )
    embedder = recognizer.embedder
    wanted = Work(
        model_digest=embedder.digest,
        images_digest=listed.digest,
        n_images=len(listed.names),
        n_views=1 if views == "none" else 2,
        dimension=embedder.dimension,
        crop_size_px=embedder.crop_size_px,
        block=BLOCK_IMAGES,
    )
    folder = WorkFolder(
        work or _choose_folder(recognizer.settings.home, files.name, wanted), wanted
    )
    if not folder.is_done:
        with lock_folder(folder.folder, name=LOCK_NAME, doing="embedding into"):
            folder = WorkFolder(folder.folder, wanted)  # another process may have gone on with it
            _fill(folder, recognizer, listed, place)
    else:
        print_note(f"{folder.n_done:,} of {wanted.n_images:,} images are in {folder.folder}")
    return folder.load(listed.names)


def _choose_folder(home: Path, name: str, wanted: Work) -> Path:
    """In the user's own folder; whole work with mirror images serves work without them too."""
    from arcwise.evaluate.vectors.work import is_whole

    key = f"{name}-{wanted.model_digest[:12]}-{wanted.images_digest[:12]}"
    with_mirror = home / "ijb" / f"{key}-2"
    return with_mirror if is_whole(with_mirror) else home / "ijb" / f"{key}-{wanted.n_views}"


def _fill(folder: WorkFolder, recognizer: Recognizer, listed: TemplateImages, place: Path) -> None:
    from arcwise.image import read_image
    from arcwise.photos import open_photos

    n_images = len(listed.names)
    if folder.n_done:
        print_note(f"{folder.n_done:,} of {n_images:,} images are in {folder.folder}")
    else:
        print_note(f"embeddings grow in {folder.folder}; delete it when you are done")
    with open_photos(place) as archive:
        there = set(archive.names)

        def read(name: str) -> Image:
            if name not in there:
                raise InputError("not among the images")
            return read_image(archive.open(name), max_pixels=recognizer.settings.max_pixels)

        done = folder.fill(listed.names, listed.points_px, recognizer.embedder, read)
        for _ in watch(done, total=n_images - folder.n_done, doing="embedding"):
            pass


def _tell_failed(embedded: EmbeddedImages) -> None:
    reasons = embedded.reasons
    if reasons:
        name, why = next(iter(reasons.items()))
        failed = count(len(reasons), "image")
        print_note(make_printable(f"{failed} gave no embedding, such as {name}: {why}"))


class _Run:
    """Sections and values of a report, task by task."""

    def __init__(self, files: MetaFiles, templates: Templates) -> None:
        self.sections: list[Section] = []
        self.values: dict[str, object] = {}
        self._files = files
        self._templates = templates
        self._digests: list[str] = []

    def data_digest(self, images_digest: str) -> str:
        """SHA-256 over every list that was read."""
        from arcwise.evaluate.report import digest_lines

        return digest_lines([images_digest, *self._digests])

    def measure(self, task: TaskName) -> None:
        """Run one task."""
        if task == "1:1":
            self._compare()
        else:
            self._search()

    def _compare(self) -> None:
        from arcwise.evaluate.report import Section
        from arcwise.evaluate.sets.ijb import note_sizes, read_template_pairs
        from arcwise.evaluate.templates.pairwise import measure_templates, score_templates

        assert self._files.pairs is not None
        pairs = read_template_pairs(self._files.pairs)
        self._digests.append(pairs.digest)
        for note in note_sizes(self._files.name, {"genuine pairs": int(pairs.is_same.sum())}):
            print_note(note)
        scores = score_templates(self._templates, pairs)
        report = measure_templates(scores)
        figures = (_plot_roc(scores),)
        self.sections.append(Section("1:1", tuple(report.rows()), figures=figures))
        self.values["1:1"] = report.to_dict()

    def _search(self) -> None:
        from arcwise.evaluate.report import Section
        from arcwise.evaluate.sets.ijb import read_template_people
        from arcwise.evaluate.templates.openset import search_galleries

        assert self._files.probes is not None
        galleries = {
            name: read_template_people(path) for name, path in self._files.galleries.items()
        }
        probes = read_template_people(self._files.probes)
        self._digests += [people.digest for people in (*galleries.values(), probes)]
        report = search_galleries(self._templates, galleries, probes)
        for gallery in report.galleries:
            self.sections.append(Section(f"1:N, gallery {gallery.name}", tuple(gallery.rows())))
        figures = tuple(_plot_searches(report))
        self.sections.append(Section("1:N, together", tuple(report.rows()), figures=figures))
        self.values["1:N"] = report.to_dict()


def _describe_pooling(
    name: str,
    pooling: Pooling,
    listed: TemplateImages,
    embedded: EmbeddedImages,
    templates: Templates,
) -> Section:
    from arcwise.evaluate.report import Section
    from arcwise.evaluate.row import Row
    from arcwise.evaluate.sets.ijb import PUBLISHED_SIZES

    n_images, n_templates = len(listed.names), len(templates.numbers)
    sizes = PUBLISHED_SIZES.get(name, {})
    published = {what: f"; published: {number:,}" for what, number in sizes.items()}
    n_empty = n_templates - int(templates.has_vector.sum())
    rows: Sequence[Row] = (
        Row("pooling", pooling.name, pooling.describe()),
        Row("images", f"{n_images:,}", "rows of the meta files" + published.get("images", "")),
        Row(
            "templates",
            f"{n_templates:,}",
            "sets of images of one person" + published.get("templates", ""),
        ),
        Row("failed images", f"{int(embedded.is_failed.sum()):,}", "left out of their template"),
        Row("failed templates", f"{n_empty:,}", "without a vector: no image of them was read"),
    )
    return Section("Templates", tuple(rows))


def _plot_roc(scores: TemplateScores) -> Figure:
    from arcwise.evaluate.rates import roc_points
    from arcwise.evaluate.report.curves import roc_figure

    points = roc_points(scores.genuine, scores.impostor, n_failed=scores.n_failed_same)
    caption = "TAR of the pairs of templates against FAR."
    return roc_figure("ROC of 1:1", {"1:1": points}, caption=caption)


def _plot_searches(report: OpenSetReport) -> Iterator[Figure]:
    from arcwise.evaluate.report.curves import cmc_figure, det_figure

    cmc = {g.name: g.cmc for g in report.galleries}
    yield cmc_figure("CMC of 1:N", cmc, caption="Mates among the first k people.")
    det = {g.name: (g.det.fpir, g.det.fnir) for g in report.galleries if g.det is not None}
    if det:
        caption = "Mated searches without their mate against strangers who get a name."
        yield det_figure("DET of 1:N", det, x_label="FPIR", y_label="FNIR", caption=caption)
