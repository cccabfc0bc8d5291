"""The partition of DeepFashion In-Shop: which photos are learned, asked for, and searched.

It opens no photo and measures nothing. Source: Liu et al. 2016, DeepFashion, README of the In-Shop
Clothes Retrieval Benchmark, `Eval/list_eval_partition.txt`: a count, the column titles, then
`image_name item_id evaluation_status` parted by white space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from arcwise.errors import DatasetError
from arcwise.files import read_bytes

IN_SHOP_SIZES = {"train": 25_882, "query": 14_218, "gallery": 12_612}
"""Photos of each part as published; 52,712 in all."""

_IN_SHOP_TRAIN_ITEMS = 3_997  # the same README
_PLACE = Path("Eval") / "list_eval_partition.txt"
_TITLES = ["image_name", "item_id", "evaluation_status"]
_HINT = (
    "the list is Eval/list_eval_partition.txt: a count, the titles `image_name item_id "
    "evaluation_status`, then a line for each photo"
)


@dataclass(frozen=True, slots=True)
class ShopPhoto:
    """One line of the list.

    Attributes:
        name: of the photo, relative to the folder `Img`, with "/".
        item: what it shows, such as id_00000002.
    """

    name: str
    item: str


@dataclass(frozen=True, slots=True)
class InShop:
    """The three parts, each in the order of the list.

    Attributes:
        train: photos to learn from; their items are in no other part.
        query: photos to ask with.
        gallery: photos that are searched.
        notes: in which counts the list differs from the published one; empty where it does not.
    """

    train: tuple[ShopPhoto, ...]
    query: tuple[ShopPhoto, ...]
    gallery: tuple[ShopPhoto, ...]
    notes: tuple[str, ...]


def read_inshop(path: Path | str) -> InShop:
    """Read the partition, and hold it against its own count and the published sizes.

    Args:
        path: the list, UTF-8, or the folder that holds `Eval/list_eval_partition.txt`.

    Raises:
        DatasetError: no such list, another number of lines than the first one says, a line that
            is no photo, item and part, a photo listed twice, an item both learned and asked for
            or searched, or no query or no gallery.
        InputError: the file cannot be read.
    """
    path = Path(path)
    path = path / _PLACE if path.is_dir() else path
    lines = _read_lines(path)
    parts: dict[str, list[ShopPhoto]] = {part: [] for part in IN_SHOP_SIZES}
    seen: set[str] = set()
    for number, text in lines:
        photo, part = _parse_line(f"{path}:{number}", text)
        if photo.name in seen:
            raise DatasetError(f"{path}:{number}: {photo.name} is listed twice", hint=_HINT)
        seen.add(photo.name)
        parts[part].append(photo)
    for part in ("query", "gallery"):
        if not parts[part]:
            raise DatasetError(f"{path} lists no photo as {part}", hint=_HINT)
    _refuse_leak(path, parts)
    train, query, gallery = (tuple(parts[part]) for part in ("train", "query", "gallery"))
    return InShop(train, query, gallery, tuple(_tell_sizes(path, parts)))


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines after the two of the head, with their numbers; blank ones are left out."""
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        number = content.count(b"\n", 0, exc.start) + 1
        raise DatasetError(
            f"{path}:{number}: not UTF-8 text ({exc.reason})", hint="save the list as UTF-8"
        ) from exc
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) < 2 or not (lines[0][1].isascii() and lines[0][1].isdecimal()):
        raise DatasetError(f"{path} does not begin with a count and titles", hint=_HINT)
    if lines[1][1].split() != _TITLES:
        raise DatasetError(
            f"{path}:{lines[1][0]}: {lines[1][1][:200]!r} are not the titles", hint=_HINT
        )
    if len(lines) - 2 != _count_of(lines[0][1]):
        raise DatasetError(
            f"{path} promises {lines[0][1][:20]} photos, {len(lines) - 2} follow",
            hint="the list is cut short or edited; download it again",
        )
    return lines[2:]


def _count_of(text: str) -> int:
    return int(text) if len(text) < 12 else -1  # more lines than any file has


def _parse_line(place: str, text: str) -> tuple[ShopPhoto, str]:
    words = text.rsplit(None, 2)  # from the right: a path may hold spaces
    if len(words) != 3 or words[2] not in IN_SHOP_SIZES:
        raise DatasetError(
            f"{place}: {text[:200]!r} is not a path, an item and one of train, query, gallery",
            hint=_HINT,
        )
    name = words[0].strip().replace("\\", "/").removeprefix("./")
    return ShopPhoto(name, words[1]), words[2]


def _refuse_leak(path: Path, parts: dict[str, list[ShopPhoto]]) -> None:
    scored = _items_of([*parts["query"], *parts["gallery"]])
    both = sorted(_items_of(parts["train"]) & scored)
    if both:
        raise DatasetError(
            f"{path}: {both[0]} is learned, and asked for or searched, too"
            + (f"; so are {len(both) - 1} more items" if len(both) > 1 else ""),
            hint="the parts of the benchmark share no item with train; download the list again",
        )


def _items_of(photos: Iterable[ShopPhoto]) -> set[str]:
    return {photo.item for photo in photos}


def _tell_sizes(path: Path, parts: dict[str, list[ShopPhoto]]) -> list[str]:
    sizes = Counter({part: len(photos) for part, photos in parts.items()})
    notes = [
        f"{path.name}: {sizes[part]:,} photos of {part}, the published list has {n:,}"
        for part, n in IN_SHOP_SIZES.items()
        if sizes[part] != n
    ]
    n_items = len(_items_of(parts["train"]))
    if n_items != _IN_SHOP_TRAIN_ITEMS:
        notes.append(
            f"{path.name}: {n_items:,} items in train, the published list has "
            f"{_IN_SHOP_TRAIN_ITEMS:,}"
        )
    return notes
