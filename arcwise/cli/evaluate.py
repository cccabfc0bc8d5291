"""`arcwise evaluate`: how good a model is, by the standard protocols."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from arcwise.cli.show import check_output, print_json, print_note, print_table, watch
from arcwise.errors import InputError

if TYPE_CHECKING:
    from arcwise.evaluate.summary import VerificationReport
    from arcwise.photos import Photos
    from arcwise.recognizer import Recognizer
    from arcwise.types import Pair, Select

evaluate_app = typer.Typer(help="Measure a model by the standard protocols.", no_args_is_help=True)


@evaluate_app.callback()
def evaluate() -> None:
    """Measure a model by the standard protocols."""


class ProtocolName(StrEnum):  # typer has no lists of literals
    """How pairs become an accuracy."""

    exact = "exact"
    insightface = "insightface"


FailedName = Literal["count_as_wrong", "leave_out"]


@evaluate_app.command()
def verification(
    pairs: Annotated[Path, typer.Option("--pairs", metavar="FILE", help="The list of pairs.")],
    photos: Annotated[Path, typer.Option("--photos", metavar="FOLDER|ZIP", help="The photos.")],
    protocol: Annotated[
        list[ProtocolName] | None,
        typer.Option("--protocol", help="May be given twice.  [default: exact]"),
    ] = None,
    failed: Annotated[
        FailedName, typer.Option("--failed", help="What becomes of failed reads.")
    ] = "count_as_wrong",
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Embed the mirror image too.")
    ] = True,
    select: SelectOption = "center",
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="For a list that does not state its own.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the report (.md or .json).")
    ] = None,
    model: ModelOption = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFaceOption = None,
    provider: ProviderOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Are two photos of one person? Ten-fold accuracy, TAR@FAR, EER over a list of pairs."""
    from arcwise.evaluate.pairs import read_pairs
    from arcwise.evaluate.verification import evaluate_pairs
    from arcwise.photos import open_photos

    if out:
        check_output(out, (pairs, photos), (".md", ".json"))
        if photos.is_dir() and out.resolve().is_relative_to(photos.resolve()):
            raise InputError(f"{out} lies among the photos", hint="name another place")
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    with open_photos(photos) as archive:
        listed = read_pairs(pairs, photos=archive.names, n_folds=folds)
        vectors, reasons = _embed_photos(recognizer, archive, listed, select)
    reports = [
        evaluate_pairs(listed, vectors, protocol=name, failed=reasons, failed_policy=failed)
        for name in (protocol or [ProtocolName.exact])
    ]
    plain = {"model": recognizer.embedder.name, "model_digest": recognizer.embedder.digest}
    documents = [plain | report.to_dict() for report in reports]
    if out:
        _write_report(out, plain, documents, reports)
    if as_json:
        print_json(documents)
        return
    for report in reports:
        rows = [[row.name, row.value, row.definition] for row in report.rows()]
        print_table(["what", "value", "definition"], rows, title=plain["model"])
    if reasons:
        print_note(f"{len(reasons)} photos gave no embedding; --json or --out names them")


def _embed_photos(
    recognizer: Recognizer, archive: Photos, pairs: list[Pair], select: Select
) -> tuple[dict[str, Any], dict[str, str]]:
    """Vectors by name of the photo, and why the others have none."""
    there = set(archive.names)
    wanted = sorted({name for pair in pairs for name in (pair.a, pair.b)})
    reasons = {name: "not among the photos" for name in wanted if name not in there}
    names = [name for name in wanted if name in there]
    results = recognizer.choose_many(map(archive.open, names), select=select)
    vectors = {}
    watched = watch(results, total=len(names), doing="embedding")
    for name, result in zip(names, watched, strict=True):
        if result.error is not None:
            reasons[name] = str(result.error)
        else:
            vectors[name] = result.faces[0].embedding
    return vectors, reasons


def _write_report(
    out: Path,
    plain: dict[str, str],
    documents: list[dict[str, Any]],
    reports: list[VerificationReport],
) -> None:
    import json

    from arcwise.files import write_atomically

    if out.suffix == ".json":
        text = json.dumps(documents, indent=2) + "\n"
    else:
        text = _to_markdown(plain, reports)
    write_atomically(out, text.encode())


def _to_markdown(plain: dict[str, str], reports: list[VerificationReport]) -> str:
    head = f"# Verification of {plain['model']}\n\nModel digest `{plain['model_digest']}`.\n"
    return head + "".join(
        f"\n## Protocol {report.protocol}\n\n{report.to_markdown()}" for report in reports
    )
