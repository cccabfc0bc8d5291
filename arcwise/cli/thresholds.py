"""Thresholds that were chosen elsewhere: what is calibrated for a model, and what is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcwise.cli.labeled import find_maker
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.compare import Calibration, Threshold
    from arcwise.evaluate.vectors.embedded import Views
    from arcwise.recognizer import Recognizer
    from arcwise.settings import Settings


def check_threshold(given: float | None) -> float | None:
    """The threshold that was given.

    Raises:
        SettingsError: it is no cosine.
    """
    if given is not None and not -1 <= given <= 1:
        raise SettingsError(f"--threshold is {given}", hint="a cosine lies in -1..1")
    return given


ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", callback=check_threshold, help="Score this similarity, cosine."),
]


def find_calibration(
    settings: Settings, recognizer: Recognizer | None, model_digest: str
) -> Calibration | None:
    """Of the model that made some vectors, found where its recognizer would find it.

    Args:
        settings: where calibrations and models lie.
        recognizer: of this model, or None: the vectors were saved and no model was named.
        model_digest: "" where it is not known.

    Raises:
        InputError: the file of the calibration cannot be read.
        ModelMismatchError: it belongs to another model.
    """
    from arcwise.compare import Calibration, calibration_beside

    if recognizer is not None:
        return recognizer.calibration
    if not model_digest:
        return None
    place = settings.calibrations_dir / f"{model_digest}.json"
    if not place.is_file():
        maker = find_maker(settings, model_digest)
        if maker is None:
            return None
        place = calibration_beside(Path(maker))
    if not place.is_file():
        return None
    calibration = Calibration.load(place)
    calibration.check_model(model_digest, place=place)
    return calibration


def list_thresholds(
    calibration: Calibration | None,
    given: float | None,
    *,
    views: Views,
    n_people: int | None = None,
    published: tuple[float, float | None] | None = None,
    caveat: str = "",
) -> list[Threshold]:
    """The one that `compare` or `identify` takes, and the one that was given.

    Args:
        calibration: of the model, or None.
        given: similarity, cosine, or None.
        views: of the vectors that the thresholds are applied to.
        n_people: in the gallery, for `identify`; None for `compare`.
        published: by the model's publisher, for want of a calibration.
        caveat: what must be said of the model.
    """
    from arcwise.compare import Threshold, choose_threshold, identify_threshold

    thresholds = []
    if calibration is not None or published is not None:
        if n_people is None:
            usual = choose_threshold(calibration, published)
        else:
            usual = identify_threshold(calibration, published, n_people=n_people)
        if calibration is not None:
            usual = usual.with_caveat(
                f"on {calibration.n_people:,} people, {calibration.date[:10]}"
            )
            usual = usual.with_caveat(calibration.caveat_of(views))
        thresholds.append(usual.with_caveat(caveat))
    if given is not None:
        thresholds.append(Threshold(given, None, False, "given"))
    return thresholds
