"""Aligned crops in files: a folder that `arcwise prepare` made, one of crops per person, or any.

It does not change crops and does not know training. Decoded crops are kept in memory as far as
there is a gigabyte for them, since a training run reads each of them many times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from arcwise.data.manifest import CropContract, is_prepared, read_manifest
from arcwise.data.split import Sample
from arcwise.errors import DatasetError, ImageError, InputError
from arcwise.files import read_bytes
from arcwise.image import read_crop
from arcwise.photos import find_people
from arcwise.types import Image

SIZE_PX = 112  # what most networks take
_MOST_BORDER = 2 / 7  # of the size: 32 of 112 px; a larger square is a photo, or another crop
_KEPT_BYTES = 1 << 30


class KeptCrops:
    """Decoded crops by position, the first ones that fill a gigabyte.

    Args:
        side_px: of every crop.
    """

    def __init__(self, side_px: int) -> None:
        self._kept: dict[int, Image] = {}
        self._side_px = side_px
        self._most = _KEPT_BYTES // (3 * side_px**2)

    def read(
        self, position: int, decode: Callable[[int], Image], *, name: Callable[[int], str]
    ) -> Image:
        """A crop that was kept, or else decoded now, and kept while there is room.

        Args:
            position: of the crop.
            decode: makes the crop of a position.
            name: what to call it in an error.

        Raises:
            DatasetError: it has another size.
        """
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        crop = decode(position)
        side_px, (height, width) = self._side_px, crop.shape[:2]
        if (height, width) != (side_px, side_px):
            raise DatasetError(
                f"{name(position)} has {width}x{height} px, the crops beside it have "
                f"{side_px}x{side_px}",
                hint="all crops must be cut alike: `arcwise prepare` does that from photos",
            )
        if len(self._kept) < self._most:
            self._kept[position] = crop
        return crop


def measure_border(crop: Image, size_px: int, name: str) -> int:
    """What lies around the middle `size_px` of a crop on each side.

    Args:
        crop: (H, W, 3) uint8 RGB.
        size_px: side of the aligned face.
        name: of the crop, for the message.

    Raises:
        DatasetError: it is not square, smaller than that, too large for a crop, or has no middle.
    """
    height, width = crop.shape[:2]
    most_px = size_px + 2 * int(size_px * _MOST_BORDER)
    if height != width or not size_px <= height <= most_px or (height - size_px) % 2:
        raise DatasetError(
            f"{name} has {width}x{height} px, networks take {size_px}x{size_px}",
            hint=f"give aligned crops of {size_px} px (with a border, up to {most_px} px); "
            "`arcwise prepare` cuts them from photos",
        )
    return int(height - size_px) // 2


class CropFiles:
    """Crops that lie ready, each in a file of its own. Many threads may read at once.

    Attributes:
        samples: of every crop: photo, person, perceptual hash if known.
        size_px: side of the aligned face.
        border_px: what lies around it on each side.

    Args:
        samples: what is known of each crop.
        paths: of their files, in the same order.
        size_px: see above.
        border_px: see above; None measures the first crop.

    Raises:
        DatasetError: the first crop cannot be read or has no size that fits.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        paths: Sequence[Path],
        *,
        size_px: int = SIZE_PX,
        border_px: int | None = None,
    ) -> None:
        self.samples = tuple(samples)
        self._paths = list(paths)
        self.size_px = size_px
        if border_px is None:
            border_px = measure_border(self._decode(0), size_px, str(self._paths[0]))
        self.border_px = border_px
        self._kept = KeptCrops(self.side_px)

    @property
    def side_px(self) -> int:
        """Side of the crops, border included."""
        return self.size_px + 2 * self.border_px

    def read(self, position: int) -> Image:
        """One crop.

        Args:
            position: in `samples`.

        Returns:
            (S, S, 3) uint8 RGB, S = size_px + 2 * border_px.

        Raises:
            DatasetError: it is missing, broken, or has another size.
        """
        return self._kept.read(position, self._decode, name=lambda i: str(self._paths[i]))

    def content(self, position: int) -> bytes:
        """The file of one crop as it is stored.

        Raises:
            DatasetError: it cannot be read.
        """
        path = self._paths[position]
        with suppress(OSError), path.open("rb", buffering=0) as file:
            return file.readall()
        try:
            return read_bytes(path)  # slower, but its error says what to try
        except InputError as exc:
            raise self._broken(position, exc) from exc

    def _decode(self, position: int) -> Image:
        try:
            return read_crop(self.content(position), name=str(self._paths[position]))
        except ImageError as exc:
            raise self._broken(position, exc) from exc

    def _broken(self, position: int, why: InputError) -> DatasetError:
        return DatasetError(
            f"the crop of {self.samples[position].photo} cannot be read: {why}",
            hint="take it away, or run `arcwise prepare` again: it makes what is missing",
        )


class CropFolder(CropFiles):
    """The crops of a folder, sorted by name of the photo.

    Args:
        root: a folder made by `arcwise prepare`, or one with a folder of square aligned crops
            of one size for each person: that of the network, or up to 11/7 of it (112 to 176 px),
            whose middle is then the aligned face and the rest is its border.
        size_px: side that the network takes: the middle of the crops. Of a prepared folder any that
            its crops hold: with another one than the 112 px they were aligned for, the face fills
            more or less of what the network sees.

    Raises:
        DatasetError: there are no crops in it, or they have no middle of that size.
        InputError: it cannot be read.
    """

    def __init__(self, root: Path | str, *, size_px: int = SIZE_PX) -> None:
        self.root = Path(root)
        border_px = None
        if is_prepared(self.root):
            border_px = _read_border(self.root, size_px)
            found = _find_prepared(self.root)
        else:
            found = _find_plain(self.root)
        if not found:
            raise DatasetError(
                f"{self.root} holds no crops", hint="`arcwise prepare` makes them from photos"
            )
        samples, paths = zip(*found, strict=True)
        super().__init__(samples, paths, size_px=size_px, border_px=border_px)


def _read_border(root: Path, size_px: int) -> int:
    contract = CropContract.load(root)
    side_px = contract.size_px + 2 * contract.border_px
    border_px, is_odd = divmod(side_px - size_px, 2)
    if border_px < 0 or is_odd or size_px < 1:
        raise DatasetError(
            f"{root} holds crops of {side_px}x{side_px} px, which have no middle of "
            f"{size_px}x{size_px}",
            hint="`arcwise prepare --border` keeps more around the face, "
            "the same whole number of px on each side",
        )
    return border_px


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
