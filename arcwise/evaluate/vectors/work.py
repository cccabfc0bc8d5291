"""Embeddings of very many images, written block after block, so that a killed run can go on.

It does not know templates or protocols. A work folder holds `images.npy` (float32, mapped when it
is whole) and `progress.json`, which is replaced only after the vectors it counts are on the disk:
after a kill at any moment the last block is made again. Blocks always hold the same images, so
that a resumed run gives the same bits as one that was never stopped. It does not keep another
process out: who fills a folder locks `LOCK_NAME` in it, as cli/ijb.py does.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from arcwise.align import align_faces
from arcwise.embed import TwoViews, to_raw
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import Flags
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
from arcwise.files import read_bytes, translate_os_errors, write_atomically
from arcwise.types import Crops, Embedder, Floats, Image

BLOCK_IMAGES = 256  # our choice: a few seconds of work on a CPU, lost at most by a kill
LOCK_NAME = ".embed.lock"
_ROWS, _PROGRESS = "images.npy", "progress.json"
_VERSION = 1  # of the folder; another way to align or embed needs another

ReadImage = Callable[[str], Image]


@dataclass(frozen=True, slots=True)
class Work:
    """What is embedded, and how; a folder takes only equal work.

    Attributes:
        model_digest: of the embedding model.
        images_digest: of the list of images and their points.
        n_images: how many.
        n_views: 1, or 2 with the mirror image of each.
        dimension: of one embedding.
        crop_size_px: of the aligned crops.
        block: images in a block.
    """

    model_digest: str
    images_digest: str
    n_images: int
    n_views: int
    dimension: int
    crop_size_px: int
    block: int


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddedImages:
    """Embeddings of all images.

    Attributes:
        rows: (N, V, D) float32, not normalized, perhaps memory-mapped; the second view is the
            mirror image. Rows of failed images are 0.
        is_failed: (N,) bool.
        reasons: image -> why it has no embedding; of each name once.
    """

    rows: NDArray[np.float32]
    is_failed: Flags
    reasons: dict[str, str]


class WorkFolder:
    """A folder in which embeddings of many images grow; made when it is missing.

    Args:
        folder: where; only its owner can read what is written there.
        work: what shall be in it. A folder with two views serves work with one.

    Raises:
        InputError: the folder holds other work, is damaged, cannot be written, or
            the disk has too little room for all of it.
    """

    def __init__(self, folder: Path | str, work: Work) -> None:
        self.folder = Path(folder).expanduser()
        self.work = work
        self.n_done = 0
        self._failed: dict[int, str] = {}
        with translate_os_errors(self.folder, doing="make"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (self.folder / _PROGRESS).exists():
            self._resume()
        elif (self.folder / _ROWS).exists() or self._is_empty():
            self._check_room()
        else:
            raise InputError(
                f"{self.folder} holds other files", hint="name an empty folder, or a new one"
            )

    @property
    def is_done(self) -> bool:
        """Every image was embedded, or found to be unreadable."""
        return self.n_done == self.work.n_images

    def fill(
        self, names: Sequence[str], points_px: Floats, embedder: Embedder, read: ReadImage
    ) -> Iterator[str]:
        """Align and embed what is not done yet.

        Args:
            names: (N,) of the images, as `read` takes them.
            points_px: (N, 5, 2) float32.
            embedder: of the work's digest.
            read: the pixels of an image; an InputError makes it a failed read.

        Yields:
            The name of each image that is on the disk now; those done before are left out.

        Raises:
            DatasetError: no image of a whole block can be read: the wrong folder, or a disk that
                went away. The block is not marked as done.
            InputError: the disk is full or the folder cannot be written; or the model embeds the
                mirror image by itself.
            ModelError: the model cannot be used.
        """
        work = self.work
        if getattr(embedder, "flip", False):
            raise InputError(
                f"{embedder.name} embeds the mirror image by itself",
                hint="make the embedder without flip: both views are kept apart here",
            )
        assert len(names) == len(points_px) == work.n_images
        assert embedder.digest == work.model_digest
        starts = range(self.n_done, work.n_images, work.block)

        def cut(start: int) -> _Block:
            part = slice(start, start + work.block)
            return _cut_block(start, names[part], points_px[part], work.crop_size_px, read)

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="arcwise-read") as reader:
            following = reader.submit(cut, starts[0]) if starts else None
            for number, start in enumerate(starts, start=1):
                assert following is not None
                block = following.result()
                if number < len(starts):
                    following = reader.submit(cut, starts[number])
                _refuse_wrong_folder(start, block, names, work.block)
                self._write(start, _embed_block(block, embedder, work))
                self._failed |= block.reasons
                self._mark(start + len(block.is_good))
                yield from names[start : self.n_done]

    def load(self, names: Sequence[str]) -> EmbeddedImages:
        """All embeddings, mapped; what is not done is an error of the caller.

        Raises:
            InputError: the file of embeddings is damaged.
        """
        assert self.is_done, f"{self.n_done} of {self.work.n_images} images are done"
        path = self.folder / _ROWS
        try:
            with translate_os_errors(path, doing="read"):
                rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as exc:
            raise InputError(f"{path} is damaged: {exc}", hint="delete the work folder") from exc
        is_failed = np.zeros(len(names), np.bool_)
        is_failed[list(self._failed)] = True
        return EmbeddedImages(rows, is_failed, {names[i]: why for i, why in self._failed.items()})

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.work.n_images, self.work.n_views, self.work.dimension

    def _is_empty(self) -> bool:
        return all(path.name == LOCK_NAME for path in self.folder.iterdir())

    def _resume(self) -> None:
        plain = _read_progress(self.folder / _PROGRESS)
        there = plain["work"]
        self.work = replace(self.work, n_views=max(self.work.n_views, there["n_views"]))
        wanted = asdict(self.work) | {"version": _VERSION}
        for name, value in wanted.items():
            if there.get(name) != value:
                raise InputError(
                    f"{self.folder} holds other work: its {name} is {there.get(name)}, not {value}",
                    hint="name another folder for it, or delete this one",
                )
        self.n_done = plain["n_done"]
        self._failed = {int(number): why for number, why in plain["failed"].items()}
        path = self.folder / _ROWS
        if (path.stat().st_size if path.exists() else 0) < self._place(self.n_done):
            raise InputError(
                f"{path} holds less than {self.n_done:,} images", hint="delete the work folder"
            )
        self._check_room()

    def _check_room(self) -> None:
        needed = self._place(self.work.n_images) - self._place(self.n_done)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"the embeddings need {needed / 1e9:.1f} GB more in {self.folder}, which has "
                f"{free / 1e9:.1f} GB",
                hint="free some room, or choose another folder: --work",
            )

    def _head(self) -> bytes:
        buffer = io.BytesIO()
        facts = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        npy.write_array_header_1_0(buffer, facts)
        return buffer.getvalue()

    def _place(self, row: int) -> int:
        """Where a row begins in the file, bytes."""
        return len(self._head()) + row * self.work.n_views * self.work.dimension * 4

    def _write(self, start: int, rows: Floats) -> None:
        """Written at its place and not appended: what a kill left half done is replaced."""
        path = self.folder / _ROWS
        with translate_os_errors(path, doing="write"):
            handle = os.open(path, os.O_CREAT | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(self._head())
                file.seek(self._place(start))
                file.write(np.ascontiguousarray(rows, dtype="<f4").data)
                file.flush()
                os.fsync(file.fileno())

    def _mark(self, n_done: int) -> None:
        self.n_done = n_done
        plain = {
            "work": asdict(self.work) | {"version": _VERSION},
            "n_done": n_done,
            "failed": self._failed,
        }
        write_atomically(self.folder / _PROGRESS, json.dumps(plain).encode(), private=True)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds the embeddings of all images of its work; not where there is none.

    Raises:
        InputError: its count is damaged.
    """
    path = folder / _PROGRESS
    if not path.exists():
        return False
    plain = _read_progress(path)
    return bool(plain["n_done"] == plain["work"]["n_images"])


def _read_progress(path: Path) -> dict[str, Any]:
    hint = "delete the work folder"
    try:
        plain: Any = json.loads(read_bytes(path))
        fits = isinstance(plain["work"]["n_views"], int) and isinstance(plain["failed"], dict)
        fits = fits and 0 <= plain["n_done"] <= plain["work"]["n_images"]
    except (ValueError, TypeError, KeyError) as exc:
        raise InputError(f"{path} is damaged: {exc}", hint=hint) from exc
    if not fits:
        raise InputError(f"{path} is damaged: its numbers do not fit", hint=hint)
    checked: dict[str, Any] = plain
    return checked


@dataclass(frozen=True, eq=False, slots=True)
class _Block:
    """Images that were read: crops of the good ones, and why the others have none, by number."""

    is_good: Flags
    crops: Crops
    reasons: dict[int, str]


def _cut_block(
    start: int, names: Sequence[str], points_px: Floats, size_px: int, read: ReadImage
) -> _Block:
    is_good = np.zeros(len(names), np.bool_)
    crops, reasons = [], {}
    for place, (name, points) in enumerate(zip(names, points_px, strict=True)):
        try:
            crops.append(align_faces(read(name), points[None], size_px=size_px)[0])
            is_good[place] = True
        except InputError as exc:
            reasons[start + place] = str(exc)
    shape = (len(crops), size_px, size_px, 3)
    return _Block(is_good, np.array(crops, np.uint8).reshape(shape), reasons)


def _refuse_wrong_folder(start: int, block: _Block, names: Sequence[str], whole: int) -> None:
    if not len(block.crops) and (start == 0 or len(block.is_good) == whole):
        raise DatasetError(
            f"none of the {len(block.is_good):,} images from {names[start]} on can be read: "
            f"{block.reasons[start]}",
            hint="check where the images are: --images",
        )


def _embed_block(block: _Block, embedder: Embedder, work: Work) -> Floats:
    """(n, V, D) float32; 0 for a failed image."""
    rows = np.zeros((len(block.is_good), work.n_views, work.dimension), np.float32)
    if len(block.crops):
        whole: Embedder = TwoViews(embedder) if work.n_views == 2 else embedder
        raw = to_raw(whole.embed(block.crops))
        rows[block.is_good] = raw.reshape(-1, work.n_views, work.dimension)
    return rows


def gather_images(embedded: EmbeddedPhotos, names: Sequence[str]) -> EmbeddedImages:
    """Embeddings that were made elsewhere, in the order of a list of images.

    Args:
        embedded: with or without mirror images; an image that is not in it is a failed read.
        names: (N,) of the images; a name may come again.
    """
    views = [embedded.raw] if embedded.mirrored is None else [embedded.raw, embedded.mirrored]
    place = {name: row for row, name in enumerate(embedded.names)}
    found = np.array([place.get(name, -1) for name in names], np.int64)
    rows = np.zeros((len(names), len(views), embedded.raw.shape[1]), np.float32)
    for view, vectors in enumerate(views):
        rows[found >= 0, view] = vectors[found[found >= 0]]
    reasons = {
        name: embedded.reasons.get(name, "not among the embeddings")
        for name, row in zip(names, found, strict=True)
        if row < 0
    }
    return EmbeddedImages(rows, found < 0, reasons)
