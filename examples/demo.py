"""arcwise in a minute, offline, with two public-domain portraits that come inside wheels.

Run it with `make demo`. It enrolls Grace Hopper (from matplotlib's sample data), then Eileen
Collins (from scikit-image's) as well, names both in changed copies of their portraits, and writes
what it saw to demo-output/ in the current folder. Your own gallery and models stay as they are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from rich.console import Console
from rich.table import Table
from rich.text import Text

import arcwise

if TYPE_CHECKING:
    from arcwise.types import Image

HOPPER, COLLINS = "Grace Hopper", "Eileen Collins"
PORTRAITS = (
    (HOPPER, "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    (COLLINS, "skimage", "data/astronaut.png"),
)
OUTPUT = Path("demo-output")
Answers = list[list[tuple[arcwise.Face, arcwise.Match]]]
"""For each copy its faces from left to right, each with who it is."""


def find_portraits() -> dict[str, Path]:
    """The portraits by person, where their wheels keep them; the packages are not imported."""
    found = {}
    for person, package, place in PORTRAITS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            sys.exit(f"{package} is missing: pip install 'arcwise[demo]'")
        found[person] = Path(spec.origin).parent / place
    return found


# ── copies ──


@dataclass(frozen=True)
class Copy:
    """A changed copy of a portrait, or of both.

    Attributes:
        change: what was done to it.
        people: who is in it, from left to right.
        image: (H, W, 3) uint8 RGB.
    """

    change: str
    people: tuple[str, ...]
    image: Image


def mirror(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def dim(image: Image) -> Image:
    return (image * 0.4).astype(np.uint8)


def turn(image: Image) -> Image:
    return np.array(PillowImage.fromarray(image).rotate(15, PillowImage.Resampling.BICUBIC))


def shrink(image: Image) -> Image:
    return np.array(PillowImage.fromarray(image).reduce(2))


def recompress(image: Image) -> Image:
    return arcwise.read_image(arcwise.encode.encode_image(image, suffix=".jpg", quality=10))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "mirrored": mirror,
    "dimmed to 40 %": dim,
    "turned by 15°": turn,
    "shrunk to half": shrink,
    "JPEG quality 10": recompress,
}


def put_together(hopper: Image, collins: Image) -> Image:
    """Both in one frame: a strip of each portrait, faces about equally large."""
    left = PillowImage.fromarray(mirror(hopper)).crop((100, 0, 400, 600))
    larger = PillowImage.fromarray(collins).resize((820, 820), PillowImage.Resampling.BICUBIC)
    right = larger.crop((210, 0, 510, 600))
    return np.hstack([left, right])


def make_copies(portraits: dict[str, Path]) -> list[Copy]:
    images = {person: arcwise.read_image(path) for person, path in portraits.items()}
    copies = [
        Copy(change, (person,), make(image))
        for person, image in images.items()
        for change, make in CHANGES.items()
    ]
    return [*copies, Copy("both in one frame", (HOPPER, COLLINS), put_together(*images.values()))]


# ── answers ──


def identify(gallery: arcwise.Gallery, copies: list[Copy]) -> Answers:
    found = (gallery.identify(copy.image) for copy in copies)
    return [sorted(faces, key=lambda pair: float(pair[0].box_xyxy_px[0])) for faces in found]


def count_right(copies: list[Copy], answers: Answers, known: set[str]) -> tuple[int, int]:
    """How many people were named when they are known, and not named when not; of how many."""
    n_right = 0
    for copy, faces in zip(copies, answers, strict=True):
        wanted = [person if person in known else None for person in copy.people]
        named = [match.person for _, match in faces]
        if len(named) == len(wanted):
            n_right += sum(a == b for a, b in zip(named, wanted, strict=True))
    return n_right, sum(len(copy.people) for copy in copies)


# ── what is shown ──


def show_model(console: Console, recognizer: arcwise.Recognizer) -> None:
    """Which model decides, and how far to trust it: from its card."""
    card = recognizer.embedder.card
    console.print(f"Model     {card.name}, {card.dimension} numbers for a face, grade: {card.grade}")
    measured = [name for name in card.metrics if "accuracy" in name]
    measured = measured or [name for name in card.metrics if name.endswith("eer")]
    told = [f"{name.replace('_', ' ')} {card.metrics[name]:.1%}" for name in measured[:1]]
    source = "measured on other people, real photos: docs/models.md"
    console.print(f"          {f'{told[0]} ({source})' if told else 'its card states no accuracy'}")


def show_answers(console: Console, copies: list[Copy], before: Answers, after: Answers) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("who is in the copy", "change", "Grace enrolled", "both enrolled"):
        table.add_column(column, no_wrap=True)
    for copy, first, second in zip(copies, before, after, strict=True):
        for place, person in enumerate(copy.people):
            answers = [describe(faces, place) for faces in (first, second)]
            table.add_row(person, copy.change, *answers)
    console.print(table)


def describe(faces: list[tuple[arcwise.Face, arcwise.Match]], place: int) -> Text:
    if place >= len(faces):
        return Text("no face found")
    match = faces[place][1]
    return Text(label_of(match), style="rgb({},{},{})".format(*color_of(match)))


def label_of(match: arcwise.Match) -> str:
    return f"{match.person or match.status} {match.similarity or 0:.2f}"


def color_of(match: arcwise.Match) -> tuple[int, int, int]:
    return arcwise.draw.STATUS_COLORS[match.status]


def draw(copy: Copy, faces: list[tuple[arcwise.Face, arcwise.Match]]) -> Image:
    return arcwise.draw_faces(
        copy.image,
        [face for face, _ in faces],
        labels=[label_of(match) for _, match in faces],
        colors=[color_of(match) for _, match in faces],
    )


def write_pictures(copies: list[Copy], before: Answers, after: Answers) -> None:
    """named.png: every copy with its answer; the frame with both twice, before and after."""
    drawn = [draw(copy, faces) for copy, faces in zip(copies, after, strict=True)]
    labels = [copy.change for copy in copies]
    # The frame of the first round ends the first row, that of the second round the second row.
    drawn.insert(len(CHANGES), draw(copies[-1], before[-1]))
    labels.insert(len(CHANGES), "Grace is enrolled")
    labels[-1] = "both are enrolled"
    sheet = arcwise.draw.contact_sheet(drawn, labels=labels, columns=len(CHANGES) + 1, cell_px=300)
    arcwise.write_image(OUTPUT / "named.png", sheet)
    arcwise.write_image(OUTPUT / "together.jpg", copies[-1].image)


def show_commands(console: Console) -> None:
    """What to type next, as it works in this folder."""
    command = "arcwise"
    if not shutil.which(command):
        here = shutil.which(command, path=str(Path(sys.executable).parent)) or command
        command = os.path.relpath(here) if os.path.isabs(here) else here
    gallery = OUTPUT / "people.db"
    for purpose, line in (
        ("ask once more", f"identify {OUTPUT / 'together.jpg'} --gallery {gallery}"),
        ("forget for good", f'forget "{COLLINS}" --gallery {gallery}'),
        ("your own people", "enroll FOLDER    (with a folder of photos for each person)"),
        ("your own photos", "identify PHOTOS --out named.jpg"),
        ("a better model", "models add FILE.onnx --input rgb,127.5,127.5 --license WORDS"),
    ):
        console.print(f"  {purpose:<17}{command} {line}", soft_wrap=True)


def main() -> None:
    """Enroll, identify, show, and say how to go on."""
    began = time.monotonic()
    console = Console(highlight=False)
