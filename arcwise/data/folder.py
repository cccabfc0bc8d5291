"""Aligned crops in a folder: one that `arcwise prepare` made, or a folder of crops per person.

It does not change crops and does not know training. Decoded crops are kept in memory as far as
there is a gigabyte for them, since a training run reads each of them many times.
"""

from __future__ import annotations

from pathlib import Path

from arcwise.data.manifest import CropContract, is_prepared, read_manifest
from arcwise.data.split import Sample
from arcwise.errors import DatasetError, ImageError, InputError
from arcwise.image import read_image
from arcwise.photos import find_people
from arcwise.types import Image

SIZE_PX = 112  # what networks take
_MOST_BORDER_PX = 32  # a larger square is a photo, or a crop of another size
_KEPT_BYTES = 1 << 30


class CropFolder:
    """Crops that lie ready.

    Attributes:
        samples: of every crop: photo, person, perceptual hash; sorted by name of the photo.
        border_px: what lies around the 112 px of the aligned face on each side.

    Args:
        root: a folder made by `arcwise prepare`, or one with a folder of square aligned crops
            of one size for each person: 112 px, or up to 176 px, whose middle 112 px are then
            the aligned face and the rest is its border.

    Raises:
        DatasetError: there are no crops in it.
        InputError: it cannot be read.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        found = _find_prepared(self.root) if is_prepared(self.root) else _find_plain(self.root)
        self.samples = tuple(sample for sample, _ in found)
        self._paths = [path for _, path in found]
        if not found:
            raise DatasetError(
                f"{self.root} holds no crops", hint="`arcwise prepare` makes them from photos"
            )
        if is_prepared(self.root):
            self.border_px = CropContract.load(self.root).border_px
        else:
            self.border_px = self._measure_border()
        self._kept: dict[int, Image] = {}
        self._n_kept = _KEPT_BYTES // (3 * self.side_px**2)

    @property
    def side_px(self) -> int:
        """Side of the crops, border included."""
        return SIZE_PX + 2 * self.border_px

    def read(self, position: int) -> Image:
        """One crop.

        Args:
            position: in `samples`.

        Returns:
            (S, S, 3) uint8 RGB, S = 112 + 2 * border_px.

        Raises:
            DatasetError: it is missing, broken, or has another size.
        """
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        image = self._decode(position)
        if image.shape[:2] != (self.side_px, self.side_px):
            height, width = image.shape[:2]
            raise DatasetError(
                f"{self._paths[position]} has {width}x{height} px, the crops of this folder have "
                f"{self.side_px}x{self.side_px}",
                hint="all crops must be cut alike: `arcwise prepare` does that from photos",
            )
        if len(self._kept) < self._n_kept:
            self._kept[position] = image
        return image

    def _decode(self, position: int) -> Image:
        path = self._paths[position]
        try:
            return read_image(path)
        except (ImageError, InputError) as exc:
            raise DatasetError(
                f"the crop of {self.samples[position].photo} cannot be read: {exc}",
                hint="take it away, or run `arcwise prepare` again: it makes what is missing",
            ) from exc

    def _measure_border(self) -> int:
        height, width = self._decode(0).shape[:2]
        most_px = SIZE_PX + 2 * _MOST_BORDER_PX
        if height != width or not SIZE_PX <= height <= most_px or height % 2:
            raise DatasetError(
                f"{self._paths[0]} has {width}x{height} px, networks take {SIZE_PX}x{SIZE_PX}",
                hint=f"give aligned crops of {SIZE_PX} px (with a border, up to {most_px} px); "
                "`arcwise prepare` cuts them from photos",
            )
        return int(height - SIZE_PX) // 2


def _find_prepared(root: Path) -> list[tuple[Sample, Path]]:
    return [
        (Sample(line.photo, line.person, line.hash), root / line.crop)
        for line in sorted(read_manifest(root), key=lambda line: line.photo)
        if line.crop is not None
    ]


def _find_plain(root: Path) -> list[tuple[Sample, Path]]:
    found = [
        (Sample(path.relative_to(root).as_posix(), person), path)
        for person, paths in find_people(root).people.items()
        for path in paths
        if path.parent != root
    ]
    return sorted(found, key=lambda pair: pair[0].photo)
