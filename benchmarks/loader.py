"""How fast crops are read, decoded, changed and stacked: `python benchmarks/loader.py`.

Drawn crops of 144 px (112 and a border of 16 on each side) as JPEG, in a record file and in a
folder for each person, by the loader that training uses, on one thread; beside it what one would
write down first: open file handles, a dict of offsets, cv2.imdecode. Nothing is kept decoded, but
for the row that says so. Times are processor time, so that other work on the machine counts
little. Then how long it takes to open a record file of many records.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from machine import describe_machine, pin_to

from arcwise.data import folder
from arcwise.data.augment import Augmentation, augment
from arcwise.data.contents import read_contents
from arcwise.data.idx import read_index
from arcwise.data.loader import Loader
from arcwise.data.recordio import Header, RecordFile, RecordWriter, pack_payload
from arcwise.data.records import write_records
from arcwise.data.sampler import Sampler
from arcwise.data.source import CropSource, open_crops
from arcwise.encode import encode_image
from arcwise.files import write_atomically
from arcwise.testing import draw_person
from arcwise.types import Image

SIZE_PX, BORDER_PX = 112, 16
BATCH = 64
ROUNDS = 7


class PlainRecords:
    """A record file as one would read it first: a dict of offsets, a file handle, cv2."""

    border_px, side_px, samples = BORDER_PX, SIZE_PX + 2 * BORDER_PX, ()

    def __init__(self, rec: Path, n_crops: int) -> None:
        lines = rec.with_suffix(".idx").read_text().splitlines()
        self._offsets = {int(key): int(at) for key, at in (line.split("\t") for line in lines)}
        self._file = rec.open("rb")
        self._n_crops = n_crops

    def read(self, position: int) -> Image:
        """One crop, decoded."""
        self._file.seek(self._offsets[position + 1])
        length = int.from_bytes(self._file.read(8)[4:], "little") & (1 << 29) - 1
        return decode_plainly(self._file.read(length)[24:])


class PlainFolder:
    """Files as one would read them first."""

    border_px, side_px, samples = BORDER_PX, SIZE_PX + 2 * BORDER_PX, ()

    def __init__(self, root: Path) -> None:
        self._paths = sorted(root.rglob("*.jpg"))

    def read(self, position: int) -> Image:
        """One crop, decoded."""
        with self._paths[position].open("rb") as file:
            return decode_plainly(file.read())


def decode_plainly(content: bytes) -> Image:
    """(H, W, 3) uint8 RGB by OpenCV."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def batch_plainly(source: PlainRecords | PlainFolder, sampler: Sampler, step: int) -> torch.Tensor:
    """One batch as one would make it first."""
    rng = np.random.default_rng(step)
    crops = [
        augment(source.read(int(row)), border_px=BORDER_PX, augmentation=Augmentation(), rng=rng)
        for row in sampler.batch(step)
    ]
    pixels = torch.stack([torch.from_numpy(crop).permute(2, 0, 1).float() for crop in crops])
    return (pixels - 127.5) / 127.5


def make_crops(root: Path, n_crops: int, n_people: int) -> None:
    """The same crops as folders and as a record file."""
    contents = []
    for i in range(n_crops):
        person, variation = i * n_people // n_crops, i % (n_crops // n_people)
        crop, _ = draw_person(person, variation=variation, size_px=SIZE_PX + 2 * BORDER_PX)
        contents.append((encode_image(crop, suffix=".jpg", quality=95), person))
        place = root / "folder" / f"{person:04d}" / f"{variation:04d}.jpg"
        write_atomically(place, contents[-1][0])
    write_records(root / "rec" / "train.rec", contents)
    mean_bytes = sum(len(content) for content, _ in contents) / n_crops
    print(f"{n_crops} crops of {n_people} drawn people, JPEG 95, {mean_bytes / 1024:.1f} KiB each")


@dataclass(frozen=True)
class Row:
    """One line of the table: what reads the crops of a step, and what makes a batch of them."""

    name: str
    read: Callable[[int], object]
    make: Callable[[int], object]


def make_row(name: str, source: CropSource, n_crops: int) -> Row:
    """A source of ours, read by the loader."""
    sampler = Sampler(n_crops, BATCH, seed=0)
    loader = Loader(
        source,
        np.arange(n_crops),
        np.zeros(n_crops, np.int64),
        targets=None,
        sampler=sampler,
        augmentation=Augmentation(),
    )
    return Row(name, lambda step: read_step(source, sampler, step), loader.make)


def make_plain_row(name: str, source: PlainRecords | PlainFolder, n_crops: int) -> Row:
    """The same written plainly."""
    sampler = Sampler(n_crops, BATCH, seed=0)
    return Row(
        name,
        lambda step: read_step(source, sampler, step),
        lambda step: batch_plainly(source, sampler, step),
    )


def read_step(source: CropSource | PlainRecords | PlainFolder, sampler: Sampler, step: int) -> None:
    """Read the crops of a step."""
    for row in sampler.batch(step).tolist():
        source.read(row)


def measure_rows(rows: list[Row], n_steps: int) -> None:
    """Print the table: of each number the best of some rounds after one that is not counted.

    The best, since other work on the machine can only make it slower; the rows take turns, so that
    it hinders all of them alike.
    """
    best_s = {row.name: [np.inf, np.inf] for row in rows}
    for number in range(ROUNDS + 1):
        for row, i in product(rows, (0, 1)):
            act = (row.read, row.make)[i]
            spent_s = seconds(lambda act=act: [act(step) for step in range(n_steps)])
            if number:
                best_s[row.name][i] = min(best_s[row.name][i], spent_s)
    print(f"{'crops/s on one thread':40} {'decoded':>9} {'batches':>9}")
    for name, (read_s, make_s) in best_s.items():
        n_crops = n_steps * BATCH
        print(f"{name:40} {n_crops / read_s:9,.0f} {n_crops / make_s:9,.0f}")


def measure_opening(root: Path, n_records: int) -> None:
    """Print how long it takes to open a file of many small records."""
    rec = root / "many.rec"
    with RecordWriter(rec) as writer:
        for key in range(n_records):
            writer.append(key, pack_payload(Header((float(key // 50),), key), bytes(76)))
    idx_bytes = rec.with_suffix(".idx").stat().st_size
    print(f"\nopening {n_records:,} records, .idx of {idx_bytes / 1e6:.0f} MB; seconds")
    print(f"{'read the .idx':40} {seconds(lambda: read_index(rec.with_suffix('.idx'))):9.2f}")
    with RecordFile(rec) as file:
        print(f"{'.idx and every header':40} {seconds(lambda: read_contents(file)):9.2f}")
        rec.with_suffix(".idx").unlink()
        print(f"{'no .idx: look for every record':40} {seconds(lambda: read_contents(file)):9.2f}")


def seconds(act: Callable[[], object]) -> float:
    """Processor seconds of one call; what a disk takes comes on top of it."""
    start = time.process_time()
    act()
    return time.process_time() - start


def main() -> None:
    """Print crops per second of each source, and what opening costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--records", type=int, default=1_000_000)
    given = parser.parse_args()
    print(describe_machine(pin_to(given.cores)))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    n = given.crops // 20 * 20
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_crops(root, n, n_people=n // 20)
        kept = make_row("record file, kept decoded", open_crops(root / "rec"), n)
        folder._KEPT_BYTES = 0
        rows = [
            make_row("record file", open_crops(root / "rec"), n),
            make_plain_row(
                "record file, file handle and cv2", PlainRecords(root / "rec" / "train.rec", n), n
            ),
            make_row("folder", open_crops(root / "folder"), n),
            make_plain_row("folder, open and cv2", PlainFolder(root / "folder"), n),
            kept,
        ]
        measure_rows(rows, n // BATCH)
        measure_opening(root, given.records)


if __name__ == "__main__":
    main()
