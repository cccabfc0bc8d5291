"""`arcwise evaluate`: how good a model is, by the standard protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from arcwise.errors import InputError, SettingsError

if TYPE_CHECKING:
    from arcwise.compare import Threshold
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
OnlyFoldsOption = Annotated[
    str | None,
    typer.Option("--only-folds", metavar="1,2", help="Score these folds only, from 1."),
]
LeaveOutOption = Annotated[
    Path | None,
    typer.Option("--leave-out", metavar="LIST", help="Only pairs without anybody of this list."),
]
ThresholdOption = Annotated[
    float | None, typer.Option("--threshold", help="Also score this similarity, cosine.")
]


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
    only_folds: OnlyFoldsOption = None,
    leave_out: LeaveOutOption = None,
    threshold: ThresholdOption = None,
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

    chosen = parse_folds("--only-folds", only_folds)
    if out:
        check_beside(out, (pairs, photos), (".md", ".json"))
    settings = build_settings(provider=provider, strict=strict, min_face_px=min_face)
    recognizer = open_recognizer(settings, model=model, detector=detector, flip=flip)
    with open_photos(photos) as archive:
        listed = read_pairs(pairs, photos=archive.names, n_folds=folds)
        listed = _keep_pairs(listed, chosen, leave_out)
        thresholds = _fixed_thresholds(recognizer, threshold, listed)
        embedded = embed_photos(recognizer, archive, _list_photos(listed), select)
    reports = [
        evaluate_pairs(
            listed,
            embedded.vectors,
            protocol=name,
            failed=embedded.reasons,
            failed_policy=failed,
            thresholds=thresholds,
        )
        for name in (protocol or [ProtocolName.exact])
    ]
    _tell(recognizer, reports, out=out, as_json=as_json)


def _keep_pairs(pairs: list[Pair], folds: tuple[int, ...], place: Path | None) -> list[Pair]:
    """The pairs of some folds, without people of a training list of PERSON/FILE."""
    from arcwise.data.lists import read_list
    from arcwise.evaluate.pairs import drop_people, keep_folds

    pairs = keep_folds(pairs, folds) if folds else pairs
    if place is None:
        return pairs
    people = {Path(photo.path).parent.name for photo in read_list(place).photos} - {""}
    left = drop_people(pairs, people)
    print_note(
        f"{len(left)} of {len(pairs)} pairs show nobody of the {len(people)} people left out"
    )
    return left


def parse_folds(option: str, text: str | None) -> tuple[int, ...]:
    """Numbers of folds, such as 1,2; each once.

    Args:
        option: the name it has for the user, for the error.
        text: what was given, or None for no numbers.

    Raises:
        SettingsError: a part is not a number from 1.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise SettingsError(
            f"{option} is {text!r}", hint="give numbers from 1, parted by commas, such as 1,2"
        )
    return tuple(sorted({int(word) for word in words}))


def check_beside(out: Path, sources: Sequence[Path], suffixes: Sequence[str]) -> None:
    """As `check_output`; and the file must not lie in one of the folders that are read."""
    check_output(out, sources, suffixes)
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{out} lies among the photos", hint="name another place")


def _list_photos(pairs: Sequence[Pair]) -> list[str]:
    return sorted({name for pair in pairs for name in (pair.a, pair.b)})


def _fixed_thresholds(
    recognizer: Recognizer, given: float | None, pairs: Sequence[Pair]
) -> list[Threshold]:
    """Thresholds that were chosen elsewhere: the calibrated one of `compare`, and the given one.

    Raises:
        SettingsError: the given one is no cosine.
        InputError: there are none, and one fold leaves no other to choose one on.
    """
    from arcwise.compare import Threshold, choose_threshold

    thresholds = []
    calibration = recognizer.calibration
    if calibration is not None:
        rests_on = f"on {calibration.n_people:,} people, {calibration.date[:10]}"
        thresholds.append(choose_threshold(calibration, None).with_caveat(rests_on))
    if given is not None:
        if not -1 <= given <= 1:
            raise SettingsError(f"--threshold is {given}", hint="a cosine lies in -1..1")
        thresholds.append(Threshold(given, None, False, "given"))
    folds = {pair.fold + 1 for pair in pairs}
    if len(folds) == 1 and not thresholds:
        raise InputError(
            f"fold {min(folds)} alone leaves no other fold to choose a threshold on",
            hint="score two folds or more, calibrate the model on other people (arcwise "
            "calibrate), or give --threshold",
        )
    return thresholds


@dataclass(frozen=True, slots=True)
class EmbeddedPhotos:
    """What became of some photos, by name.

    Attributes:
        vectors: (D,) float32 of norm 1.
        digests: SHA-256 of the pixels, of the photos with a vector.
        reasons: why the others have none.
    """

    vectors: dict[str, Any]
    digests: dict[str, str]
    reasons: dict[str, str]


def embed_photos(
    recognizer: Recognizer, archive: Photos, names: Sequence[str], select: Select
) -> EmbeddedPhotos:
    """Embed the one face that is meant in each photo, and show progress.

    Args:
        recognizer: does the work.
        archive: where the photos are.
        names: of the photos; one that is not there is a failed read.
        select: which face of several is meant.
    """
    there = set(archive.names)
    found = EmbeddedPhotos({}, {}, dict.fromkeys(set(names) - there, "not among the photos"))
    names = [name for name in names if name in there]
    results = recognizer.choose_many(map(archive.open, names), select=select)
    watched = watch(results, total=len(names), doing="embedding")
    for name, result in zip(names, watched, strict=True):
        if result.error is not None:
            found.reasons[name] = str(result.error)
        else:
            found.vectors[name] = result.faces[0].embedding
            found.digests[name] = result.digest
    return found


def _tell(
    recognizer: Recognizer, reports: list[VerificationReport], *, out: Path | None, as_json: bool
) -> None:
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
    n_failed = len(reports[0].failed_photos)
    if n_failed:
        print_note(f"{n_failed} photos gave no embedding; --json or --out names them")


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
