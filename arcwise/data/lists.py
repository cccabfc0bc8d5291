"""Lists of training photos, in every dialect that is in use, as paths with people.

It opens no photo. Dialects, found out from the content (docs/data.md shows a line of each):
`path label` parted by a space, a tab or a comma; MagFace (`path 0 label 0`); `index path label` of
CVLface; InsightFace .lst (`aligned path label`, with a box and five points where the photo is no
crop); im2rec .lst (`index label path`); a header that names the columns; the partition of In-Shop.
Paths may hold spaces: a line is split from the right. Sources: face2rec2.py and
face_preprocess.parse_lst_line of InsightFace, im2rec.py of MXNet, dataloader.py of MagFace, README
of DeepFashion In-Shop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from arcwise.errors import DatasetError, InputError
from arcwise.files import read_bytes, write_atomically
from arcwise.photos import PHOTO_SUFFIXES

_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_SHOWN = re.compile(r"[^\s]([^\t\r\n]*[^\s])?")  # nothing that stripping or splitting would change
_PATH_TITLES = {"path", "image", "image_path", "image_name", "img", "file", "filename", "photo"}
_LABEL_TITLES = {"label", "id", "person", "identity", "class", "item_id", "target"}
_PARTS = {"train", "query", "gallery"}
_LST_COLUMNS = (3, 7, 17)  # face_preprocess.parse_lst_line: a crop, with a box, with five points
_HINT = (
    "a line is `path label`, `path 0 label 0`, `index path label`, `aligned path label ..`, "
    "`index label path`, or the first line names the columns; see docs/data.md"
)


@dataclass(frozen=True, slots=True)
class ListedPhoto:
    """One line of a list.

    Attributes:
        path: as written, with "/".
        person: who it is; a number is written with 7 digits, as people of record files are.
        part: train, query or gallery where the list says so, else None.
        is_aligned: whether the photo is a crop; False where the list says that it is not.
        box_xyxy_px: left, top, right, bottom of the face in a photo that is no crop, or None.
        points_px: its five points, or None.
    """

    path: str
    person: str
    part: str | None = None
    is_aligned: bool = True
    box_xyxy_px: tuple[float, ...] | None = None
    points_px: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class PhotoList:
    """A list that was read.

    Attributes:
        dialect: one of `path_label`, `magface`, `index_path_label`, `insightface`, `im2rec`,
            `titled`, `in_shop`.
        photos: its lines, in their order.
    """

    dialect: str
    photos: tuple[ListedPhoto, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """One line that is not blank, and where it stands."""

    place: str
    text: str

    def refuse(self, why: str, *, hint: str = _HINT) -> DatasetError:
        return DatasetError(f"{self.place}: {self.text[:200]!r} {why}", hint=hint)


def name_label(label: int) -> str:
    """What a person without a name is called: the label, as 7 digits, so that names sort as it."""
    return f"{label:07d}"


def read_list(path: Path | str) -> PhotoList:
    """Read a list; the dialect is found out from its content.

    Args:
        path: the list, UTF-8.

    Raises:
        DatasetError: it is empty, or a line is none of its dialect, has a label that is no whole
            number among those that are, or leads out of the folder of photos; the message quotes
            the line.
        InputError: it cannot be read.
    """
    path = Path(path)
    lines = _read_lines(path)
    if not lines:
        raise DatasetError(f"{path} names no photos", hint=_HINT)
    if lines[0].text.strip().isdecimal():
        return PhotoList("in_shop", _parse_in_shop(lines))
    titles = [word.lower() for word in _split_any(lines[0].text)]
    if _PATH_TITLES & set(titles) and _LABEL_TITLES & set(titles):
        return PhotoList("titled", _parse_titled(lines, titles))
    dialect = _find_dialect(lines)
    parse = _DIALECTS[dialect]
    found = [parse(line) for line in lines]
    has_numbers = _NUMBER.fullmatch(found[0].person) is not None
    photos = [_check(photo, line, has_numbers) for photo, line in zip(found, lines, strict=True)]
    return PhotoList(dialect, tuple(photos))


def write_list(path: Path | str, lines: Iterable[tuple[str, int | str]]) -> Path:
    """Write a list of `path label`, parted by a tab, atomically.

    Readers that split at any white space, as most training code does, take it where neither path
    nor name holds a space.

    Args:
        path: where to.
        lines: path of each photo, and its label or the name of the person.

    Raises:
        InputError: a path or name that could not be read back, or the place cannot be written.
    """
    written: list[str] = []
    has_numbers = False
    for photo, label in lines:
        words = [photo, str(label)]
        if not written:
            has_numbers = _is_number(words[1])
        if (
            any(not _SHOWN.fullmatch(word) for word in words)
            or _why_no_path(photo)
            or (has_numbers and not _is_plain_number(words[1]))
        ):
            raise InputError(
                f"{photo!r} of {label!r} cannot be a line of a list",
                hint="paths end like photos; no line breaks, no tabs, no spaces at the ends; "
                "labels are all whole numbers, or all names",
            )
        written.append("\t".join(words))
    try:
        content = "".join(f"{line}\n" for line in written).encode()
    except UnicodeEncodeError as exc:
        raise InputError(
            f"a name of the list is no text: {exc.object[:80]!r}", hint="rename the file"
        ) from exc
    return write_atomically(path, content)


def _read_lines(path: Path) -> list[_Line]:
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        number = content.count(b"\n", 0, exc.start) + 1
        raise DatasetError(
            f"{path}:{number}: not UTF-8 text ({exc.reason})", hint="save the list as UTF-8"
        ) from exc
    return [
        _Line(f"{path}:{number}", raw.strip("\r"))
        for number, raw in enumerate(text.split("\n"), start=1)
        if raw.strip()
    ]


# ── one line ──


def _is_photo(word: str) -> bool:
    return PurePosixPath(word).suffix.lower() in PHOTO_SUFFIXES


def _is_number(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None


def _is_plain_number(word: str) -> bool:
    """A label as we write it: two of them never are one person."""
    return word.isdecimal() and word in {str(int(word)), name_label(int(word))}


def _split_any(text: str) -> list[str]:
    """Words of a line with columns: by tabs, else by commas, else by spaces."""
    for separator in ("\t", ","):
        if separator in text:
            return [word.strip().strip('"') for word in text.split(separator)]
    return text.split()


def _split_tabs(line: _Line) -> list[str]:
    return [word.strip() for word in line.text.split("\t")]


def _parse_path_label(line: _Line) -> ListedPhoto:
    """The separator is the last one: a tab, else a comma before a label, else a space."""
    text = line.text.rstrip()
    if "\t" in text:
        parts = text.rsplit("\t", 1)
    elif "," in text and len(text.rsplit(",", 1)[1].split()) == 1 and _ends_photo(text, ","):
        parts = text.rsplit(",", 1)
    else:
        parts = text.rsplit(None, 1)
    if len(parts) != 2 or not parts[0].strip():
        raise line.refuse("is not a path and a label")
    return ListedPhoto(parts[0].strip(), parts[1].strip())


def _ends_photo(text: str, separator: str) -> bool:
    return _is_photo(text.rsplit(separator, 1)[0].strip())


def _parse_magface(line: _Line) -> ListedPhoto:
    words = line.text.rsplit(None, 3)
    if len(words) != 4 or not (words[1] == words[3] == "0"):
        raise line.refuse("is not `path 0 label 0`")
    return ListedPhoto(words[0].strip(), words[2])


def _parse_index(line: _Line) -> ListedPhoto:
    words = _split_tabs(line)
    if len(words) != 3 or not words[0].isdecimal():
        raise line.refuse("is not an index, a path and a label")
    return ListedPhoto(words[1], words[2])


def _parse_im2rec(line: _Line) -> ListedPhoto:
    words = _split_tabs(line)
    if len(words) < 3 or not all(map(_is_number, words[:-1])) or not words[0].isdecimal():
        raise line.refuse("is not an index, labels and a path")
    return ListedPhoto(words[-1], words[1])


def _parse_insightface(line: _Line) -> ListedPhoto:
    words = _split_tabs(line)
    n_columns = len(words)
    if n_columns not in _LST_COLUMNS or words[0] not in {"0", "1"}:
        raise line.refuse("is not `aligned path label` with a box and five points, or without")
    if not all(map(_is_number, words[3:])):
        raise line.refuse("has a box or points that are no numbers")
    numbers = [float(word) for word in words[3:]]
    points = zip(numbers[4:9], numbers[9:14], strict=True)  # x1..x5, then y1..y5
    return ListedPhoto(
        words[1],
        words[2],
        is_aligned=words[0] == "1",
        box_xyxy_px=tuple(numbers[:4]) if n_columns > 3 else None,
        points_px=tuple(points) if n_columns > 7 else None,
    )


_DIALECTS: dict[str, Callable[[_Line], ListedPhoto]] = {
    "path_label": _parse_path_label,
    "magface": _parse_magface,
    "index_path_label": _parse_index,
    "im2rec": _parse_im2rec,
    "insightface": _parse_insightface,
}


# ── the whole list ──


def _find_dialect(lines: Sequence[_Line]) -> str:
    words = _split_tabs(lines[0])
    if len(words) > 2 and _is_number(words[0]):
        if len(words) in _LST_COLUMNS and _is_number(words[2]) and not _is_number(words[1]):
            return _tell_flag_from_index(lines)
        return "im2rec" if _is_number(words[1]) else "index_path_label"
    if len(words) == 1:
        parts = lines[0].text.rsplit(None, 3)
        if len(parts) == 4 and parts[1] == parts[3] == "0" and _is_photo(parts[0]):
            return "magface"
    if len(words) > 2:
        raise lines[0].refuse("has columns of no known meaning")
    return "path_label"


def _tell_flag_from_index(lines: Sequence[_Line]) -> str:
    """`1 path label` may say that the photo is aligned, or that it is number 1."""
    firsts = [line.text.split("\t", 1)[0].strip() for line in lines]
    if len(_split_tabs(lines[0])) > 3 or set(firsts) == {"1"}:
        return "insightface"
    counted = [str(i) for i in range(len(lines))], [str(i + 1) for i in range(len(lines))]
    if firsts in counted or set(firsts) - {"0", "1"}:
        return "index_path_label"
    return "insightface"


def _parse_titled(lines: Sequence[_Line], titles: list[str]) -> tuple[ListedPhoto, ...]:
    path_column = next(i for i, title in enumerate(titles) if title in _PATH_TITLES)
    label_column = next(i for i, title in enumerate(titles) if title in _LABEL_TITLES)
    found = []
    for line in lines[1:]:
        words = _split_any(line.text)
        if len(words) != len(titles):
            raise line.refuse(f"has {len(words)} columns, the first line has {len(titles)}")
        found.append(ListedPhoto(words[path_column], words[label_column]))
    if not found:
        raise lines[0].refuse("is followed by no photos")
    has_numbers = _is_number(found[0].person)
    pairs = zip(found, lines[1:], strict=True)
    return tuple(_check(photo, line, has_numbers) for photo, line in pairs)


def _parse_in_shop(lines: Sequence[_Line]) -> tuple[ListedPhoto, ...]:
    """A count, the titles, then `image_name item_id evaluation_status`."""
    n_promised, body = int(lines[0].text), lines[2:]
    if len(lines) < 3 or lines[1].text.split()[:1] != ["image_name"]:
        raise lines[0].refuse("stands where a photo is expected; no titles of a partition follow")
    if len(body) != n_promised:
        raise lines[0].refuse(f"promises {n_promised} photos, {len(body)} follow")
    found = []
    for line in body:
        words = line.text.rsplit(None, 2)
        if len(words) != 3 or words[2] not in _PARTS:
            raise line.refuse("is not a path, an item and one of train, query, gallery")
        photo = ListedPhoto(words[0].strip(), words[1], part=words[2])
        found.append(_check(photo, line, has_numbers=False))
    return tuple(found)


def _why_no_path(path: str) -> str:
    """Why a word is not the path of a photo; nothing when it is one."""
    if ".." in PureWindowsPath(path).parts:  # knows both separators
        return "leads out of the folder of photos"
    if not _is_photo(path) and not {"/", "\\"} & set(path):
        return f"has no path of a photo but {path[:80]!r}"
    if any(map(_is_photo, path.split()[:-1])):
        return "names two photos; a list of pairs is for `data.pairs`"
    return ""


def _check(photo: ListedPhoto, line: _Line, has_numbers: bool) -> ListedPhoto:
    """The photo with a path as we write them, and with a person's name."""
    why = _why_no_path(photo.path)
    if why:
        raise line.refuse(why)
    if not photo.person:
        raise line.refuse("has no label")
    person = photo.person
    if has_numbers:
        label = float(person) if _is_number(person) else -1.0
        if label < 0 or label != int(label):
            raise line.refuse(
                f"has label {person!r}, which is no whole number from 0",
                hint="labels of a list are all whole numbers, or all names",
            )
        person = name_label(int(label))
    path = photo.path.replace("\\", "/").removeprefix("./")
    return ListedPhoto(
        path, person, photo.part, photo.is_aligned, photo.box_xyxy_px, photo.points_px
    )
