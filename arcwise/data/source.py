"""Where crops come from: one look for folders, record files and lists, and what opens any of them.

It does not change crops and does not know training. What a source must be able to do is a
Protocol; the sources are in folder.py and records.py, lists are read by lists.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from arcwise.data.folder import CropFiles, CropFolder
from arcwise.data.lists import read_list
from arcwise.data.manifest import is_prepared
from arcwise.data.records import Records
from arcwise.data.split import Sample
from arcwise.errors import DatasetError
from arcwise.types import Image

_PHOTO_FOLDERS = "Img", "images", "imgs"
_NOT_CROPS = {
    ".idx": "it is the index of a record file: give the .rec",
    ".bin": "it is a verification set, for `arcwise evaluate`",
    ".zip": "`arcwise prepare` makes crops of the photos of an archive",
}


class CropSource(Protocol):
    """Crops of people, by position. Many threads may read at once."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Of every crop: photo, person, perceptual hash if known."""
        ...

    @property
    def border_px(self) -> int:
        """What lies around the aligned face on each side."""
        ...

    @property
    def side_px(self) -> int:
        """S, side of the crops, border included."""
        ...

    def read(self, position: int) -> Image:
        """One crop, (S, S, 3) uint8 RGB.

        Raises:
            DatasetError: it is missing, broken, or has another size.
        """
        ...


class StoredCrops(CropSource, Protocol):
    """Crops whose files can be had as they are, so that nothing is compressed twice."""

    def content(self, position: int) -> bytes:
        """The bytes of the file of one crop.

        Raises:
            DatasetError: it cannot be read.
        """
        ...


def open_crops(
    place: Path | str, *, size_px: int = 112, root: Path | str | None = None
) -> StoredCrops:
    """Open crops in whatever form they lie.

    Args:
        place: a folder that `arcwise prepare` made; a folder with a folder of crops for each
            person; a record file (.rec), or a folder with one; a list of crops (docs/data.md), of
            which a partition gives its photos for training.
        size_px: side of the aligned face that the network takes.
        root: where the paths of a list begin; by default it is looked for beside the list.

    Raises:
        DatasetError: it is none of these, or not what it should be.
        InputError: it is missing or cannot be read.
    """
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path.expanduser fails for "~nobody"
    if path.is_dir():
        if is_prepared(path):
            return _cut_template(CropFolder(path, size_px=size_px), size_px)
        if not any(path.glob("*.rec")):
            return CropFolder(path, size_px=size_px)
        return Records(path, size_px=size_px)
    if path.suffix in _NOT_CROPS:
        raise DatasetError(f"{path} holds no crops to learn from", hint=_NOT_CROPS[path.suffix])
    if path.suffix == ".rec":
        return Records(path, size_px=size_px)
    listed = open_listed(path, size_px=size_px, root=root)
    return (
        _cut_template(listed, size_px) if root is not None and is_prepared(Path(root)) else listed
    )


class TemplateCrops:
    """Crops for 128 px out of those that were prepared for 112, as `align_faces` would cut them.

    The template of 128 px shows 8 px more on each side and 16 px more below, at the same scale.

    Args:
        source: of crops of 112 px with a border of 16 px or more on each side.
    """

    border_px = 0
    side_px = 128

    def __init__(self, source: StoredCrops) -> None:
        self._source = source
        top = (source.side_px - 112) // 2
        self._rows, self._columns = slice(top, top + 128), slice(top - 8, top + 120)

    @property
    def samples(self) -> Sequence[Sample]:
        """Those of the source."""
        return self._source.samples

    def read(self, position: int) -> Image:
        """(128, 128, 3) uint8 RGB; see `CropSource.read`."""
        return self._source.read(position)[self._rows, self._columns]

    def content(self, position: int) -> bytes:
        """The whole file, border included."""
        return self._source.content(position)


def _cut_template(source: StoredCrops, size_px: int) -> StoredCrops:
    is_larger = size_px == TemplateCrops.side_px and source.side_px >= 112 + 2 * 16
    return TemplateCrops(source) if is_larger else source


def open_listed(path: Path, *, size_px: int, root: Path | str | None = None) -> CropFiles:
    """Open the crops that a list names, in its order.

    Args:
        path: the list.
        size_px: side of the aligned face.
        root: where its paths begin; by default the folder of the list, the one above, or one of
            `Img`, `images` or `imgs` in these, whichever has the first photo.

    Raises:
        DatasetError: as `read_list`; it names photos that are no crops, or one for two people; its
            photos are not found.
        InputError: it cannot be read.
    """
    photos = [photo for photo in read_list(path).photos if photo.part in (None, "train")]
    if not photos:
        raise DatasetError(f"{path} names no photos for training")
    people: dict[str, str] = {}
    for photo in photos:
        if not photo.is_aligned:
            raise DatasetError(
                f"{path} says that {photo.path} is not cut out yet",
                hint="`arcwise prepare` makes crops of photos",
            )
        if people.setdefault(photo.path, photo.person) != photo.person:
            raise DatasetError(
                f"{path} says that {photo.path} shows {people[photo.path]} and {photo.person}",
                hint="take one of the two lines away",
            )
    folder = _find_root(path, photos[0].path) if root is None else Path(root)
    samples = [Sample(photo, person) for photo, person in people.items()]
    return CropFiles(samples, [folder / sample.photo for sample in samples], size_px=size_px)


def _find_root(path: Path, photo: str) -> Path:
    above = [path.parent, path.parent.parent]
    places = [*above, *(folder / name for folder in above for name in _PHOTO_FOLDERS)]
    for place in places:
        if (place / photo).is_file():
            return place
    raise DatasetError(
        f"{photo}, the first photo of {path}, is in none of {', '.join(map(str, places))}",
        hint="put the list beside its photos, or say where its paths begin",
    )
