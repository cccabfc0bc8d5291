"""Verification lists, in every dialect that is in use, as pairs with folds.

It does not know photos: a pair holds names, relative to a folder of photos that others open.
The dialects are those of LFW (Huang et al., 2007), CALFW and CPLFW (Zheng et al., 2017 and 2018),
RFW (Wang et al., 2019) and of the lists that public ArcFace training code ships; docs/evaluate.md
shows one line of each.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.folds import assign_folds, check_classes
from arcwise.evaluate.sets.people import name_people
from arcwise.files import read_bytes
from arcwise.types import Pair

_NUMBER = re.compile(r"-?\d+")
_PHOTO = re.compile(r"[/\\]|\.[A-Za-z]\w{1,4}$")
_PHOTO_END = re.compile(r"\.[A-Za-z]\w{1,4}$")
_CSV_SAME = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class _Line:
    """One line that is not blank: where it stands, its words, and whether tabs parted them."""

    place: str
    text: str
    words: list[str]
    has_tabs: bool

    def refuse(self, why: str, *, hint: str = "") -> DatasetError:
        return DatasetError(f"{self.place}: {self.text!r} {why}", hint=hint or _HINT)


_HINT = (
    "a line is `name i j`, `name1 i name2 j`, `path1 path2 0/1`, `0/1 path1 path2`, or half a "
    "pair, `path label`; or a csv with the columns a,b,is_same; part the columns by tabs where "
    "names hold spaces"
)


def read_pairs(
    path: Path | str, *, photos: Collection[str] | None = None, n_folds: int = 10
) -> list[Pair]:
    """Read a verification list; the dialect is found out from its first lines.

    A list that states its folds keeps them (`pairs.txt` by its header, a csv by its column
    `fold`). Any other list is cut into `n_folds` contiguous parts, as the first ones are one pair
    larger where the cut is not even. Where that would leave a fold with one class only, as in a
    list with all same-person pairs first, each class is cut on its own instead: its k-th block
    goes to fold k.

    Args:
        path: the list, UTF-8.
        photos: names of the photos there are, relative to their folder, with "/". A .jpg that is
            not among them becomes the .png of the same name where that one is (`name i j` means
            name/name_000i.jpg).
        n_folds: number of folds for a list that does not state them.

    Returns:
        The pairs in the order of the list; folds are numbered from 0.

    Raises:
        DatasetError: a line that is no pair of its dialect or fits two of them, a header that
            promises another number of pairs, an empty list, one class only, or too few pairs of
            a class to fill the folds.
        InputError: the file cannot be read, or `n_folds` is less than 2.
    """
    if n_folds < 2:
        raise InputError(f"n_folds must be at least 2, got {n_folds}")
    lines = _read_lines(Path(path))
    if not lines:
        raise DatasetError(f"{path} holds no pairs", hint=_HINT)
    columns = [word.strip().lower() for word in lines[0].text.split(",")]
    if {"a", "b"} <= set(columns):
        pairs, has_folds = _parse_csv(lines, columns), "fold" in columns
    elif all(_NUMBER.fullmatch(word) for word in lines[0].words) and len(lines[0].words) <= 2:
        pairs, has_folds = _parse_official(lines), len(lines[0].words) == 2
    else:
        body = lines[1:] if _is_header(lines[0]) else lines
        pairs, has_folds = _parse_plain(body), False
    if not pairs:
        raise DatasetError(f"{path} holds no pairs", hint=_HINT)
    check_classes(pairs, 1 if has_folds else n_folds, name=str(path))
    if photos is not None:
        pairs = _prefer_present(pairs, frozenset(photos))
    return _check_folds(pairs, path) if has_folds else assign_folds(pairs, n_folds, name=str(path))


def keep_folds(pairs: Sequence[Pair], folds: Collection[int]) -> list[Pair]:
    """The pairs of some folds only, in their order and with the numbers of their folds.

    Args:
        pairs: as `read_pairs` gives them.
        folds: numbers counted from 1, as people say them; 1 is `Pair.fold` 0.

    Raises:
        InputError: no folds, or one that the list has not.
    """
    n_folds = len({pair.fold for pair in pairs})
    missing = sorted(set(folds) - {pair.fold + 1 for pair in pairs})
    if missing or not folds:
        raise InputError(
            f"no fold {missing[0]} in a list of {n_folds} folds" if missing else "no folds chosen",
            hint=f"folds are counted from 1 to {n_folds}",
        )
    return [pair for pair in pairs if pair.fold + 1 in folds]


def drop_people(pairs: Sequence[Pair], people: Collection[str]) -> list[Pair]:
    """The pairs in which none of some people occurs, such as those a model was trained on.

    Args:
        pairs: of photos whose names say whom they show; see people.py.
        people: as `person_of` names them.

    Raises:
        InputError: no pair is left, or the names do not say whom the photos show.
    """
    person_of, unwanted = name_people(pairs), frozenset(people)
    left = [p for p in pairs if unwanted.isdisjoint((person_of[p.a], person_of[p.b]))]
    if not left:
        raise InputError(
            f"each of the {len(pairs)} pairs shows one of the {len(people)} people left out",
            hint="score another list, with people the model has not learned",
        )
    return left


def _read_lines(path: Path) -> list[_Line]:
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        number = content.count(b"\n", 0, exc.start) + 1
        raise DatasetError(
            f"{path}:{number}: not UTF-8 text ({exc.reason})", hint="save the list as UTF-8"
        ) from exc
    lines = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line:
            has_tabs = "\t" in line
            words = [word.strip() for word in line.split("\t")] if has_tabs else line.split()
            lines.append(_Line(f"{path}:{number}", line, words, has_tabs))
    return lines


def _is_header(line: _Line) -> bool:
    """Column titles: several words, none of them a number, a path or a file name."""
    return len(line.words) > 1 and not any(
        _NUMBER.fullmatch(word) or _PHOTO.search(word) for word in line.words
    )


# Dialects of one line per pair: each gives the pair, or None where the line is none of its own.


def _parse_names(line: _Line) -> Pair | None:
    """`name i j` is one person, `name1 i name2 j` are two."""
    words = line.words
    if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
        a, b = (_photo_of(words[0], number) for number in words[1:])
        return Pair(a, b, True, 0)
    if len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
        a, b = (_photo_of(words[i], words[i + 1]) for i in (0, 2))
        return Pair(a, b, False, 0)
    return None


def _photo_of(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _parse_label_last(line: _Line) -> Pair | None:
    return _pair_of(line.words[:-1], line.words[-1], line.has_tabs)


def _parse_label_first(line: _Line) -> Pair | None:
    return _pair_of(line.words[1:], line.words[0], line.has_tabs)


def _pair_of(words: list[str], label: str, has_tabs: bool) -> Pair | None:
    """Two paths and a label. Spaces inside a path are bridged where file endings allow one way."""
    if label not in ("0", "1"):
        return None
    ways = [(words[0], words[1])] if len(words) == 2 else []
    if len(words) > 2 and not has_tabs:
        cuts = ((" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words)))
        ways = [way for way in cuts if all(_PHOTO_END.search(path) for path in way)]
    if len(ways) != 1 or any(not path or _NUMBER.fullmatch(path) for path in ways[0]):
        return None
    a, b = (_clean_path(path) for path in ways[0])
    return Pair(a, b, label == "1", 0)


def _clean_path(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./")


_NAMES = "`name i j` or `name1 i name2 j`"
_DIALECTS: dict[str, Callable[[_Line], Pair | None]] = {
    _NAMES: _parse_names,
    "`path1 path2 0/1`": _parse_label_last,
    "`0/1 path1 path2`": _parse_label_first,
}


def _parse_plain(lines: list[_Line]) -> list[Pair]:
    """A list without a header of numbers; its first line decides the dialect."""
    if not lines:
        return []
    first = lines[0]
    if len(first.words) == 2 and _NUMBER.fullmatch(first.words[1]):
        return _parse_halves(lines)
    fitting = [name for name, parse in _DIALECTS.items() if parse(first) is not None]
    if not fitting:
        raise first.refuse("is not a pair of any known dialect")
    if len(fitting) > 1:
        raise first.refuse(
            f"can be read as {' and as '.join(fitting)}", hint="part the columns by tabs"
        )
    return [_parse_line(fitting[0], line) for line in lines]


def _parse_line(dialect: str, line: _Line) -> Pair:
    pair = _DIALECTS[dialect](line)
    if pair is None:
        raise line.refuse(f"is not a pair; this list is read as {dialect}")
    return pair


def _parse_halves(lines: list[_Line]) -> list[Pair]:
    """Two lines per pair, `path label` each (CALFW, CPLFW); any label but 0 means same person."""
    for line in lines:
        if len(line.words) != 2 or not _NUMBER.fullmatch(line.words[1]):
            raise line.refuse(
                "is not half a pair; this list is read as `path label`, two lines each"
            )
    if len(lines) % 2:
        raise lines[-1].refuse("has no second half: the list has an odd number of lines")
    pairs = []
    for one, two in zip(lines[::2], lines[1::2], strict=True):
        if one.words[1] != two.words[1]:
            raise two.refuse(f"has another label than the first half of its pair, {one.text!r}")
        is_same = int(one.words[1]) != 0
        pairs.append(Pair(_clean_path(one.words[0]), _clean_path(two.words[0]), is_same, 0))
    return pairs


def _parse_official(lines: list[_Line]) -> list[Pair]:
    """`pairs.txt` of LFW: a header, then in each fold n pairs of one person and n of two.

    The header is `folds n`, or `n` alone for the one part of pairsDevTrain and pairsDevTest.
    """
    header, *body = lines
    n_parts, n_each = [1, *map(int, header.words)][-2:]
    if len(body) != 2 * n_parts * n_each:
        raise header.refuse(
            f"promises {2 * n_parts * n_each} pairs, the list has {len(body)}",
            hint="the list is cut short or edited; download it again",
        )
    pairs = []
    for i, line in enumerate(body):
        pair = _parse_line(_NAMES, line)
        fold, place = divmod(i, 2 * n_each)
        if pair.is_same != (place < n_each):
            wanted = "one person" if place < n_each else "two people"
            raise line.refuse(
                f"stands where the header {header.text!r} promises a pair of {wanted}"
            )
        pairs.append(replace(pair, fold=fold))
    return pairs


def _parse_csv(lines: list[_Line], columns: list[str]) -> list[Pair]:
    """A csv with a header: a, b, is_same (or label), and fold if the list states its folds."""
    same_column = next((name for name in ("is_same", "label") if name in columns), None)
    if same_column is None:
        raise lines[0].refuse("names no column `is_same` or `label`")
    pairs = []
    for line in lines[1:]:
        values = [value.strip() for value in next(csv.reader([line.text]))]
        if len(values) != len(columns):
            raise line.refuse(f"has {len(values)} columns, the header has {len(columns)}")
        row = dict(zip(columns, values, strict=True))
        is_same, fold = _CSV_SAME.get(row[same_column].lower()), row.get("fold", "0")
        if is_same is None or not fold.isdecimal() or not row["a"] or not row["b"]:
            raise line.refuse(f"is not a pair; {same_column} is 0, 1, true or false, fold a number")
        pairs.append(Pair(_clean_path(row["a"]), _clean_path(row["b"]), is_same, int(fold)))
    return pairs


def _prefer_present(pairs: Sequence[Pair], photos: frozenset[str]) -> list[Pair]:
    def find(name: str) -> str:
        png = name.removesuffix(".jpg") + ".png"
        return png if name.endswith(".jpg") and name not in photos and png in photos else name

    return [replace(pair, a=find(pair.a), b=find(pair.b)) for pair in pairs]


def _check_folds(pairs: Sequence[Pair], path: Path | str) -> list[Pair]:
    """Number the stated folds from 0 and refuse those that hold one class only."""
    stated = sorted({pair.fold for pair in pairs})
    if len(stated) < 2:
        raise DatasetError(f"{path} states one fold only, {stated[0]}", hint="state at least two")
    for fold in stated:
        classes = {pair.is_same for pair in pairs if pair.fold == fold}
        if len(classes) < 2:
            kind = "one person" if True in classes else "two people"
            raise DatasetError(
                f"{path}: fold {fold} holds only pairs of {kind}",
                hint="every fold needs both kinds of pairs",
            )
    number = {fold: i for i, fold in enumerate(stated)}
    return [replace(pair, fold=number[pair.fold]) for pair in pairs]
