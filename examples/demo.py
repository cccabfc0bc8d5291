"""arcwise in a minute, offline, with two public-domain portraits that come inside wheels.

Run it with `make demo`. It enrolls Grace Hopper (from matplotlib's sample data), then Eileen
Collins (from scikit-image's) as well, names them in changed copies of their portraits, and writes
what it saw to demo-output/ in the current folder. Your own gallery and models stay as they are.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from rich.console import Console
from rich.table import Table
from rich.text import Text

from arcwise.draw import STATUS_COLORS, contact_sheet, draw_faces
from arcwise.encode import encode_image, write_image
from arcwise.errors import ArcwiseError
from arcwise.gallery import Gallery
from arcwise.image import read_image
from arcwise.recognizer import Recognizer
from arcwise.types import Face, Image, Match
from arcwise.zoo.registry import default_model

HOPPER, COLLINS = "Grace Hopper", "Eileen Collins"
PORTRAITS = (
    (HOPPER, "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    (COLLINS, "skimage", "data/astronaut.png"),
)
OUTPUT = Path("demo-output")
GALLERY = OUTPUT / "people.db"
TOGETHER = OUTPUT / "together.png"
NAMED = OUTPUT / "named.png"
CELL_PX = 242

Answer = list[tuple[Face, Match]]
"""The faces of one copy from left to right, each with who it is."""


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
        change: what was done.
        people: who is in it, from left to right.
        image: (H, W, 3) uint8 RGB.
    """

    change: str
    people: tuple[str, ...]
    image: Image


def mirror(image: Image) -> Image:
    """Left and right swapped."""
    return np.ascontiguousarray(image[:, ::-1])


def dim(image: Image) -> Image:
    """Less light."""
    return (image * 0.4).astype(np.uint8)


def turn(image: Image) -> Image:
    """The head leans to the left."""
    return np.array(PillowImage.fromarray(image).rotate(15, PillowImage.Resampling.BICUBIC))


def shrink(image: Image) -> Image:
    """Half as wide and half as high."""
    return np.array(PillowImage.fromarray(image).reduce(2))


def recompress(image: Image) -> Image:
    """As a strongly compressed JPEG."""
    return read_image(encode_image(image, suffix=".jpg", quality=10))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "mirrored": mirror,
    "dimmed to 40 %": dim,
    "turned by 15°": turn,
    "shrunk to half": shrink,
    "JPEG quality 10": recompress,
}


def put_together(hopper: Image, collins: Image) -> Image:
    """Both in one frame: a strip of each portrait, the faces about equally large."""
    left = PillowImage.fromarray(mirror(hopper)).crop((100, 0, 400, 600))
    larger = PillowImage.fromarray(collins).resize((820, 820), PillowImage.Resampling.BICUBIC)
    return np.hstack([left, larger.crop((210, 0, 510, 600))])


def make_copies(portraits: dict[str, Path]) -> list[Copy]:
    """Every change of every portrait, then both together."""
    images = {person: read_image(path) for person, path in portraits.items()}
    copies = [
        Copy(change, (person,), make(image))
        for person, image in images.items()
        for change, make in CHANGES.items()
    ]
    both = put_together(images[HOPPER], images[COLLINS])
    return [*copies, Copy("both in one frame", (HOPPER, COLLINS), both)]


# ── answers ──


def identify(gallery: Gallery, copies: list[Copy]) -> list[Answer]:
    """Who is in each copy, as far as the gallery knows."""
    found = [gallery.identify(copy.image) for copy in copies]
    return [sorted(faces, key=lambda pair: float(pair[0].box_xyxy_px[0])) for faces in found]


def count_right(copies: list[Copy], answers: list[Answer], known: set[str]) -> int:
    """How many people were named if they are known, and not named if they are not."""
    n_right = 0
    for copy, faces in zip(copies, answers, strict=True):
        wanted = [person if person in known else None for person in copy.people]
        named = [match.person for _, match in faces]
        if len(named) == len(wanted):
            n_right += sum(a == b for a, b in zip(named, wanted, strict=True))
    return n_right


def label_of(match: Match) -> str:
    """What stands beside a face."""
    word = match.person or match.status.replace("_", " ")
    return word if match.similarity is None else f"{word} {match.similarity:.2f}"


def threshold_of(answers: list[Answer]) -> Match:
    """Any answer of one round: all have the same threshold."""
    return next(match for faces in answers for _, match in faces)


# ── what is shown ──


def show_model(console: Console, recognizer: Recognizer) -> None:
    """Which model decides and how far to trust it, from its card."""
    default = default_model(recognizer.settings)
    card = default.model.card
    uses = {True: "commercial use allowed", False: "no commercial use"}
    may = uses.get(card.license.commercial_use, "commercial use unclear")
    lines = [f"Model      {card.name}: {default.why}, {card.grade} grade, {may}"]
    measured = [name for name in card.metrics if "accuracy" in name]
    measured += [name for name in card.metrics if name.endswith("eer")]
    measured.sort(key=lambda name: "without_mirror" not in name)  # as it is used here
    for name in measured[:1]:
        words = name.replace("_", " ").replace("lfw", "LFW").replace("eer", "EER")
        lines.append(f"           {words} {card.metrics[name]:.1%}, says its card (docs/models.md)")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def show_answers(
    console: Console, copies: list[Copy], before: list[Answer], after: list[Answer]
) -> None:
    """The table: each person of each copy, and both answers."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("in the copy", "changed", "Grace is enrolled", "both are enrolled"):
        table.add_column(column, no_wrap=True)
    for copy, *answers in zip(copies, before, after, strict=True):
        for place, person in enumerate(copy.people):
            cells = [color_cell(faces, place) for faces in answers]
            table.add_row(person, copy.change, *cells)
    console.print(table)


def show_caveats(console: Console, before: Match, after: Match) -> None:
    """What the answers rest on, and what they do not show."""
    aim = "set so that 1 stranger in 100 is named" if after.calibrated else "not calibrated"
    console.print(
        f"A name needs a similarity of {before.threshold:.2f} with one person enrolled, "
        f"{after.threshold:.2f} with two:\n{aim} (docs/thresholds.md).\n\n"
        "[bold]All of these are altered copies of the enrolled portraits, not new photos:[/bold]\n"
        "much easier than life. They show how it works, not how well."
    )


def color_cell(faces: Answer, place: int) -> Text:
    """One answer in the color it has in the picture."""
    if place >= len(faces):
        return Text("no face found")
    match = faces[place][1]
    red, green, blue = STATUS_COLORS[match.status]
    return Text(label_of(match), style=f"rgb({red},{green},{blue})")


def draw(copy: Copy, faces: Answer) -> Image:
    """The copy with boxes, points and answers."""
    return draw_faces(
        copy.image,
        [face for face, _ in faces],
        labels=[label_of(match) for _, match in faces],
        colors=[STATUS_COLORS[match.status] for _, match in faces],
    )


def draw_cell(copy: Copy, faces: Answer) -> Image:
    """The first face of a copy, cut out and enlarged or made smaller to one size, with its answer.

    Drawn after that, so that all names are equally large.
    """
    image = PillowImage.fromarray(copy.image)
    if not faces:
        return np.array(image)
    face, match = faces[0]
    left, top, right, bottom = face.box_xyxy_px
    side = float(min(2 * (bottom - top), *image.size))
    corner = np.array([left + right - side, top + bottom - side]) / 2
    corner = corner.clip(0, np.array(image.size) - side)
    window = (*corner, *(corner + side))
    cell = image.resize((CELL_PX, CELL_PX), PillowImage.Resampling.BICUBIC, box=window)
    scale = CELL_PX / side
    moved = Face(
        box_xyxy_px=(face.box_xyxy_px - np.tile(corner, 2)) * scale,
        score=face.score,
        points_px=(face.points_px - corner) * scale,
    )
    return draw(replace(copy, image=np.array(cell)), [(moved, match)])


def write_picture(copies: list[Copy], before: list[Answer], after: list[Answer]) -> None:
    """The frame with both, before and after, large; below it the faces of the other copies."""
    frames = [draw(copies[-1], faces) for faces in (before[-1], after[-1])]
    captions = ["Grace is enrolled", "both are enrolled"]
    upper = contact_sheet(frames, labels=captions, columns=2, cell_px=600)
    cells = [draw_cell(*pair) for pair in zip(copies[:-1], after[:-1], strict=True)]
    changes = [copy.change for copy in copies[:-1]]
    lower = contact_sheet(cells, labels=changes, columns=len(CHANGES), cell_px=CELL_PX)
    width = max(upper.shape[1], lower.shape[1])
    rows = [
        np.pad(sheet, ((0, 0), (0, width - sheet.shape[1]), (0, 0)), mode="edge")
        for sheet in (upper, lower)
    ]
    write_image(NAMED, np.vstack(rows))


def find_command() -> str:
    """How to call arcwise from this folder."""
    beside = shutil.which("arcwise", path=str(Path(sys.executable).parent))
    if beside is None:
        return f"{shlex.quote(sys.executable)} -m arcwise"
    if shutil.which("arcwise") == beside:
        return "arcwise"
    place, here = Path(beside), Path.cwd()
    return shlex.quote(str(place.relative_to(here) if here in place.parents else place))


def show_next_steps(console: Console) -> None:
    """One line for each thing to do next, ready to be typed."""
    command = find_command()
    for purpose, rest in (
        ("once more", f"identify {TOGETHER} --gallery {GALLERY}"),
        ("forget", f'forget "{COLLINS}" --gallery {GALLERY}'),
        ("your people", "enroll FOLDER    # in it, a folder of photos for each person who agreed"),
        ("your photos", "identify FOLDER --out FOLDER_FOR_PICTURES"),
        (
            "better model",
            "models add FILE.onnx --input rgb,127.5,127.5 --license WORDS    # then --model NAME",
        ),
    ):
        console.print(f"  {purpose:<14}{command} {rest}", soft_wrap=True, markup=False)


def main() -> None:
    """Enroll one, identify; enroll the other, identify; show, and say how to go on."""
    began = time.monotonic()
    console = Console(highlight=False)
    portraits = find_portraits()
    recognizer = Recognizer()
    console.print("\n[bold]arcwise: who is who, offline[/bold]\n")
    show_model(console, recognizer)
    console.print(f"Portraits  {HOPPER}, {COLLINS}: public domain, one of each\n")

    copies = make_copies(portraits)
    write_image(TOGETHER, copies[-1].image)
    for old in (GALLERY, GALLERY.with_name(f"{GALLERY.name}-journal")):
        old.unlink(missing_ok=True)  # of an earlier demo
    with Gallery(GALLERY, recognizer=recognizer) as gallery:
        gallery.enroll(HOPPER, [portraits[HOPPER]])
        before = identify(gallery, copies)
        gallery.enroll(COLLINS, [portraits[COLLINS]])
        after = identify(gallery, copies)

    show_answers(console, copies, before, after)
    n_right = count_right(copies, before, {HOPPER}) + count_right(copies, after, {HOPPER, COLLINS})
    n_asked = 2 * sum(len(copy.people) for copy in copies)
    console.print(f"\n{n_right} of {n_asked} answers are right.")
    show_caveats(console, threshold_of(before), threshold_of(after))
    write_picture(copies, before, after)
    console.print(f"\nWritten to {OUTPUT}/ in {time.monotonic() - began:.0f} s:")
    console.print(f"  {NAMED.name:<14}the picture of all this: look at it")
    console.print(f"  {GALLERY.name:<14}the gallery with both people")
    console.print(f"  {TOGETHER.name:<14}the frame with both, to try on your own\n")
    show_next_steps(console)


if __name__ == "__main__":
    try:
        main()
    except ArcwiseError as error:
        sys.exit(f"{error}\n  try: {error.hint}")
    except OSError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(130)
