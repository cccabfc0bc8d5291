"""Readers of the meta files of IJB-B and IJB-C, as InsightFace publishes them.

It opens no image and knows no model. The files: `{set}_face_tid_mid.txt` (image, template, media),
`{set}_name_5pts_score.txt` (image, five points, detector score), `{set}_template_pair_label.txt`
(template, template, 1 or 0), and for 1:N `{set}_1N_gallery_G1.csv`, `_G2` (IJB-B: `_S1`, `_S2`) and
`{set}_1N_probe_mixed.csv` (a header; template_id, subject_id). Source: recognition/_evaluation_/ijb
of InsightFace. The images themselves are withdrawn from public download: bring your own.
"""

from __future__ import annotations

import csv
import hashlib
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.curve import Counts, Doubles, Flags
from arcwise.files import read_bytes
from arcwise.types import Floats

PUBLISHED_SIZES: dict[str, dict[str, int]] = {
    "ijbb": {"images": 227_630, "templates": 12_115, "genuine pairs": 10_270, "people": 1_845},
    "ijbc": {"images": 469_375, "templates": 23_124, "genuine pairs": 19_557, "people": 3_531},
}
"""Sizes of the published sets (InsightFace's evaluation code and Maze et al. 2018)."""

_MEDIA_END, _POINTS_END = "_face_tid_mid.txt", "_name_5pts_score.txt"
_PAIRS_END, _PROBES_END = "_template_pair_label.txt", "_1N_probe_mixed.csv"
_CHUNK_BYTES = 1 << 24
_PAIR_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class MetaFiles:
    """The files of one set.

    Attributes:
        name: of the set: ijbb, ijbc, or whatever precedes the names of its files.
        media: image, template, media.
        points: image, five points, detector score.
        pairs: the pairs of templates of 1:1, or None.
        galleries: name -> gallery of 1:N, such as G1 and G2; may be empty.
        probes: the probes of 1:N, or None.
        images: loose_crop beside the meta files, a folder or loose_crop.zip; or None.
    """

    name: str
    media: Path
    points: Path
    pairs: Path | None
    galleries: dict[str, Path]
    probes: Path | None
    images: Path | None


@dataclass(frozen=True, eq=False, slots=True)
class TemplateImages:
    """The images of all templates, one row each.

    Attributes:
        names: (N,) file of each image; one image may stand in several rows.
        points_px: (N, 5, 2) float32, px in the image.
        scores: (N,) float32 the detector's confidence, at least 0.
        templates: (N,) int64 number of the template the image belongs to.
        media: (N,) int64 number of the photo or video it comes from.
        digest: SHA-256 of both files.
    """

    names: tuple[str, ...]
    points_px: Floats
    scores: Floats
    templates: Counts
    media: Counts
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class TemplatePairs:
    """Pairs of templates.

    Attributes:
        first, second: (P,) int32 numbers of templates.
        is_same: (P,) bool.
        digest: SHA-256 of the file.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    is_same: Flags
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class TemplatePeople:
    """Whose templates they are, of a gallery or of the probes.

    Attributes:
        templates: (T,) int64 numbers, rising, each once.
        people: (T,) the subject of each.
        digest: SHA-256 of the file.
    """

    templates: Counts
    people: tuple[str, ...]
    digest: str


def find_meta(root: Path | str, name: str | None = None) -> MetaFiles:
    """The meta files of a set.

    Args:
        root: the folder that holds `meta` and `loose_crop`, or `meta` itself.
        name: of the set, such as ijbc, in any case; needed where there are several.

    Raises:
        InputError: no such files, or several sets and no name.
    """
    root = Path(root).expanduser()
    meta = root / "meta" if (root / "meta").is_dir() else root
    found = {
        path.name.removesuffix(_MEDIA_END): path for path in sorted(meta.glob(f"*{_MEDIA_END}"))
    }
    wanted = name.lower() if name else next(iter(found), "")
    if not found or wanted not in found:
        what = f"{name} " if name else ""
        raise InputError(
            f"{root} holds no {what}meta files",
            hint=f"give the folder with meta/SET{_MEDIA_END}, where SET is ijbb or ijbc"
            + (f"; there are {', '.join(found)}" if found else ""),
        )
    if len(found) > 1 and not name:
        raise InputError(f"{meta} holds {', '.join(found)}", hint="say which one: --set ijbc")
    start = f"{wanted}_1N_gallery_"
    galleries = {path.stem.removeprefix(start): path for path in sorted(meta.glob(f"{start}*.csv"))}
    places = (meta.parent / "loose_crop", meta.parent / "loose_crop.zip")
    return MetaFiles(
        name=wanted,
        media=found[wanted],
        points=meta / f"{wanted}{_POINTS_END}",
        pairs=_if_there(meta / f"{wanted}{_PAIRS_END}"),
        galleries=galleries,
        probes=_if_there(meta / f"{wanted}{_PROBES_END}"),
        images=next((place for place in places if place.exists()), None),
    )


def read_images(files: MetaFiles) -> TemplateImages:
    """The images of all templates, with points, detector scores, templates and media.

    Raises:
        DatasetError: a line of another form, no line, a number that is not finite, a negative
            score, a name that leads out of the folder, or the two files name other images.
        InputError: a file cannot be read.
    """
    names, numbers, media_digest = _read_named(files.media, n_numbers=2)
    again, values, points_digest = _read_named(files.points, n_numbers=11)
    for line, (one, other) in enumerate(zip(names, again, strict=False), start=1):
        if one != other:
            raise DatasetError(
                f"line {line} is {one!r} in {files.media.name}, but {other!r} in "
                f"{files.points.name}",
                hint="both files name the same images in the same order",
            )
        if _leads_out(one):
            raise DatasetError(f"{files.media.name}:{line}: {one!r} leads out of the folder")
    if len(names) != len(again):
        raise DatasetError(
            f"{files.media.name} names {len(names):,} images, {files.points.name} {len(again):,}",
            hint="one of the files is cut off: fetch it again",
        )
    _check_values(files, numbers, values)
    whole = numbers.astype(np.int64)
    return TemplateImages(
        names=tuple(names),
        points_px=values[:, :10].reshape(-1, 5, 2).astype(np.float32),
        scores=values[:, 10].astype(np.float32),
        templates=whole[:, 0].copy(),
        media=whole[:, 1].copy(),
        digest=hashlib.sha256(f"{media_digest} {points_digest}".encode()).hexdigest(),
    )


def _leads_out(name: str) -> bool:
    if name[0] != "/" and ":" not in name and ".." not in name:  # half a million names, quickly
        return False
    path = PureWindowsPath(name)
    return bool(path.anchor) or ".." in path.parts


def _check_values(files: MetaFiles, numbers: Doubles, values: Doubles) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1) | (values[:, 10] < 0))
    if len(bad):
        shown = " ".join(f"{value:g}" for value in values[bad[0]])
        raise DatasetError(
            f"{files.points.name}:{bad[0] + 1}: {shown}",
            hint="a line is an image, five points x y in pixels, and a score of at least 0",
        )
    bad = np.flatnonzero((~np.isfinite(numbers) | (numbers != np.floor(numbers))).any(axis=1))
    if len(bad):
        raise DatasetError(
            f"{files.media.name}:{bad[0] + 1}: a number is not whole",
            hint="a line is an image, the number of its template and that of its media",
        )


def _read_named(path: Path, *, n_numbers: int) -> tuple[list[str], Doubles, str]:
    """Names, (N, n_numbers) values and the digest of a file of lines `name number number ...`."""
    content = read_bytes(path)
    names: list[str] = []
    values = array("d")
    for line, text in enumerate(_decode(path, content).splitlines(), start=1):
        words = text.strip().rsplit(maxsplit=n_numbers)  # from the right: a name may hold spaces
        if not words:
            continue
        try:
            values.extend(map(float, words[1:]))
            is_whole = len(words) == n_numbers + 1
        except ValueError:
            is_whole = False
        if not is_whole:
            raise DatasetError(
                f"{path.name}:{line}: {text[:80]!r}",
                hint=f"a line is the name of an image and {n_numbers} numbers",
            )
        names.append(words[0].replace("\\", "/"))
    if not names:
        raise DatasetError(f"{path} is empty", hint="fetch it again")
    table = np.array(values, np.float64).reshape(-1, n_numbers)
    return names, table, hashlib.sha256(content).hexdigest()


def read_template_pairs(path: Path | str) -> TemplatePairs:
    """The pairs of templates of 1:1, tens of millions of lines in seconds.

    Raises:
        DatasetError: a line that is not three whole numbers, a label that is not 0 or 1, no
            line, or a number beyond 2**31.
        InputError: the file cannot be read.
    """
    path = Path(path)
    content = read_bytes(path)
    parts = []
    line = 1
    for chunk in _cut_lines(content):
        parts.append(_parse_pairs(path, chunk, line))
        line += chunk.count(b"\n")
    table = np.concatenate(parts) if parts else np.empty((0, _PAIR_COLUMNS), np.int32)
    if not len(table):
        raise DatasetError(f"{path} is empty", hint="fetch it again")
    digest = hashlib.sha256(content).hexdigest()
    is_same = table[:, 2] == 1
    return TemplatePairs(table[:, 0].copy(), table[:, 1].copy(), is_same, digest)


def _cut_lines(content: bytes) -> Iterator[bytes]:
    """Parts of whole lines."""
    start = 0
    while start < len(content):
        end = content.rfind(b"\n", start, start + _CHUNK_BYTES) + 1
        end = end or content.find(b"\n", start) + 1 or len(content)
        yield content[start:end]
        start = end


def _parse_pairs(path: Path, chunk: bytes, first_line: int) -> NDArray[np.int32]:
    """(P, 3) of some whole lines; every line holds exactly three words of digits, or nothing."""
    letters = np.frombuffer(chunk, np.uint8)
    is_digit = (letters >= ord("0")) & (letters <= ord("9"))
    is_space = np.isin(letters, np.frombuffer(b" \t\r\n", np.uint8))
    starts_word = is_digit.copy()
    starts_word[1:] &= ~is_digit[:-1]
    n_words = np.cumsum(starts_word, dtype=np.int64)
    ends = np.flatnonzero(letters == ord("\n"))
    if not len(ends) or ends[-1] != len(letters) - 1:
        ends = np.append(ends, len(letters) - 1)  # the last line may lack its end
    in_line = np.diff(n_words[ends], prepend=0)
    bad = np.flatnonzero((in_line != _PAIR_COLUMNS) & (in_line != 0))
    strange = np.flatnonzero(~(is_digit | is_space))
    if len(strange):
        bad = np.append(bad, np.searchsorted(ends, strange[0]))
    if len(bad):
        _refuse_pair(path, chunk, first_line, int(bad.min()))
    if not n_words[-1]:
        return np.empty((0, _PAIR_COLUMNS), np.int32)
    numbers = np.fromstring(chunk, dtype=np.int64, sep=" ").reshape(-1, _PAIR_COLUMNS)
    wrong = np.flatnonzero((numbers[:, 2] > 1) | (numbers >= 2**31).any(axis=1))
    if len(wrong):
        lines = np.flatnonzero(in_line)  # without the empty ones
        _refuse_pair(path, chunk, first_line, int(lines[wrong[0]]))
    return numbers.astype(np.int32)


def _refuse_pair(path: Path, chunk: bytes, first_line: int, number: int) -> None:
    text = chunk.split(b"\n")[number].decode(errors="replace")
    raise DatasetError(
        f"{path.name}:{first_line + number}: {text[:80]!r}",
        hint="a line is two numbers of templates and 1 (same person) or 0",
    )


def read_template_people(path: Path | str) -> TemplatePeople:
    """Whose templates they are: a csv with a header, template_id and subject_id.

    Columns of these names in any case, else the first two, as the published reader takes them. A
    template may have a line for each of its images; they must agree.

    Raises:
        DatasetError: no line, a line without the two columns, a template that is not a number, or
            one template of two people.
        InputError: the file cannot be read.
    """
    path = Path(path)
    content = read_bytes(path)
    rows = csv.reader(io.StringIO(_decode(path, content)))
    header = [word.strip().lower() for word in next(rows, [])]
    columns = [
        header.index(word) if word in header else place
        for place, word in enumerate(("template_id", "subject_id"))
    ]
    people: dict[int, str] = {}
    for row in rows:
        if not row:
            continue
        template, person = _read_person(path, rows.line_num, row, columns)
        if people.setdefault(template, person) != person:
            raise DatasetError(
                f"{path.name}:{rows.line_num}: template {template} is of {people[template]} and "
                f"of {person}",
                hint="a template shows one person",
            )
    if not people:
        raise DatasetError(f"{path} names no template", hint="fetch it again")
    ordered = sorted(people)
    return TemplatePeople(
        np.array(ordered, np.int64),
        tuple(people[template] for template in ordered),
        hashlib.sha256(content).hexdigest(),
    )


def _read_person(path: Path, line: int, row: list[str], columns: Sequence[int]) -> tuple[int, str]:
    words = [row[place].strip() for place in columns if place < len(row)]
    if len(words) != 2 or not words[0].isdecimal() or not words[1]:
        raise DatasetError(
            f"{path.name}:{line}: {','.join(row)[:80]!r}",
            hint="a line begins with the number of a template and its subject",
        )
    return int(words[0]), words[1]


def note_sizes(name: str, sizes: dict[str, int]) -> list[str]:
    """What of a set has another size than published, in words; nothing for an unknown set.

    Args:
        name: of the set, such as ijbc.
        sizes: of images, templates, genuine pairs, people: those that are known.
    """
    published = PUBLISHED_SIZES.get(name, {})
    return [
        f"{sizes[what]:,} {what}, the published {name} has {wanted:,}"
        for what, wanted in published.items()
        if what in sizes and sizes[what] != wanted
    ]


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path} is not text: {exc}", hint="fetch it again") from exc
