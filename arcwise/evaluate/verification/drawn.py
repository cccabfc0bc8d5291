"""What only the page of a verification report shows: histogram, error rates, pairs as pictures.

It does not know where photos are: whoever has them gives a function from name to picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from arcwise.draw import contact_sheet
from arcwise.encode import encode_image
from arcwise.evaluate.rates import error_rates
from arcwise.evaluate.report import Figure, Picture
from arcwise.evaluate.report.plots import plot_histogram, plot_rates
from arcwise.evaluate.verification.scored import ScoredPair, ScoredPairs
from arcwise.types import Image

ReadPhoto = Callable[[str], Image | None]
"""The picture of a photo by its name, (H, W, 3) uint8 RGB; None where there is none to show."""

_CELL_PX = 168
_N_COLUMNS = 4  # two pairs in a row
_N_THRESHOLDS = 401
_QUALITY = 82
_GRAY = 128  # in the place of a photo that cannot be shown


def draw_scores(scored: ScoredPairs, *, threshold: float, n_failed: int = 0) -> list[Figure]:
    """The histogram of both classes, and both error rates against the threshold.

    Args:
        scored: pairs of both classes.
        threshold: cosine, marked in the figures.
        n_failed: same-person pairs without a score.
    """
    genuine, impostor = scored.scores[scored.is_same], scored.scores[~scored.is_same]
    spread = np.linspace(scored.scores.min(), scored.scores.max(), _N_THRESHOLDS)
    rates = error_rates(genuine, impostor, spread, n_failed=n_failed)
    histogram = Figure(
        "Scores",
        plot_histogram(genuine, impostor, threshold=threshold),
        f"How alike pairs of one person and of two people are, with the threshold {threshold:.4f}.",
    )
    sweep = Figure(
        "Errors against the threshold",
        plot_rates(rates.thresholds, rates.fmr, rates.fnmr, marks={"threshold": threshold}),
        "A lower threshold lets more strangers pass, a higher one refuses more of the same "
        "person's photos.",
    )
    return [histogram, sweep]


def sheet_of_pairs(
    title: str, pairs: Sequence[ScoredPair], read: ReadPhoto, *, caption: str
) -> Picture:
    """Pairs of photos on one sheet, two pairs in a row, each with its number and similarity.

    Args:
        title: above the sheet.
        pairs: at least one.
        read: gives the photos.
        caption: below it.
    """
    images, labels = [], []
    for number, scored in enumerate(pairs, start=1):
        for name in (scored.pair.a, scored.pair.b):
            image = read(name)
            images.append(np.full((112, 112, 3), _GRAY, np.uint8) if image is None else image)
        labels += [f"{number}: {scored.similarity:.3f}", ""]
    sheet = contact_sheet(images, labels=labels, columns=_N_COLUMNS, cell_px=_CELL_PX)
    return Picture(title, encode_image(sheet, suffix=".jpg", quality=_QUALITY), caption)
