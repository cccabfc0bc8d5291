"""What arcwise does today, offline, on two public-domain portraits that come inside wheels.

Run it with `make demo`. It finds and aligns the faces of Grace Hopper (in matplotlib's sample
data) and Eileen Collins (in scikit-image's) and writes what it saw to demo-output/.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arcwise.align import align_faces
from arcwise.draw import contact_sheet, draw_faces
from arcwise.encode import write_image
from arcwise.errors import ArcwiseError
from arcwise.recognizer import Recognizer

PORTRAITS = (
    ("Grace Hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ("Eileen Collins", "skimage", "data/astronaut.png"),
)
OUTPUT = Path("demo-output")


def find_portraits() -> dict[str, Path]:
    """The portraits by person, where their wheels keep them; the packages are not imported."""
    found = {}
    for person, package, place in PORTRAITS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            sys.exit(f"{package} is missing: pip install 'arcwise[demo]'")
        found[person] = Path(spec.origin).parent / place
    return found


def main() -> None:
    """Detect, align, draw, and say what is still to come."""
    console = Console(highlight=False)
    portraits = find_portraits()
    recognizer = Recognizer()
    recognizer.detect(portraits["Grace Hopper"])  # loads the networks, so that the times are fair
    table = Table("person", "photo", "face found at (px)", "score", "ms", box=None)
    crops = []
    for person, path in portraits.items():
        start = time.perf_counter()
        ((photo, faces),) = recognizer.detect_photos([path])
        spent_ms = (time.perf_counter() - start) * 1000
        if photo.image is None or not faces.faces:
            sys.exit(f"no face found in {path}: {faces.error or 'none'}")
        width, height = faces.size_wh_px
        for face in faces:
            left, top, right, bottom = face.box_xyxy_px
            place = f"{left:.0f} {top:.0f} .. {right:.0f} {bottom:.0f}"
            score = f"{face.score:.3f}"
            table.add_row(person, f"{width}x{height} px", place, score, f"{spent_ms:.0f}")
            crops.append(align_faces(photo.image, face.points_px[None])[0])
        picture = draw_faces(photo.image, faces.faces, labels=[person] * len(faces))
        write_image(OUTPUT / f"{person.lower().replace(' ', '-')}.jpg", picture)
    write_image(OUTPUT / "aligned.png", contact_sheet(crops, labels=list(portraits), cell_px=224))

    console.print("\n[bold]arcwise: faces found and aligned, offline[/bold]\n")
    console.print(table)
    console.print(
        f"\nWritten to {OUTPUT}/: both photos with boxes and points, and the crops on the"
    )
    console.print("ArcFace template (aligned.png), ready for any ArcFace model.\n")
    console.print(
        "[bold]Still to come:[/bold] arcwise does not ship an embedding model yet, so this"
    )
    console.print("demo names nobody. With an ArcFace model of your own it already does:")
    console.print("  arcwise models add MODEL.onnx --input rgb,127.5,127.5 --license WORDS")
    console.print("  arcwise enroll PEOPLE_FOLDER     (one folder of photos for each person)")
    console.print("  arcwise identify PARTY.jpg --out named.jpg")


if __name__ == "__main__":
    try:
        main()
    except ArcwiseError as error:
        sys.exit(f"{error}\n  try: {error.hint}")
