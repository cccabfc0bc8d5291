"""Photos become aligned crops and a manifest, on all cores, and again from where it stopped.

One folder for each person, in a folder or a zip archive. It does not know training and no
embedding model. The folder it fills is described in manifest.py and in docs/prepare.md.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from arcwise.data.crop import Chunk, Job, crop_chunks
from arcwise.data.manifest import (
    CROPS_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    CropContract,
    DetectorStamp,
    Manifest,
    PreparedPhoto,
    is_prepared,
    lock_folder,
)
from arcwise.detect import build_detector
from arcwise.errors import DatasetError, InputError
from arcwise.files import translate_os_errors
from arcwise.photos import open_photos
from arcwise.settings import Settings
from arcwise.types import Detector, Select

CropFormat = Literal["jpg", "png"]

_MOST_BORDER_PX = 112  # twice the face is far around it; more is a slip of the keyboard
_CHUNK_PHOTOS = 32  # half a second of work, and one write to the manifest
_MOST_WORKERS = 61  # Windows waits for no more at once
_MOST_NAME_BYTES = 255  # of one file, on every usual file system
_NO_PERSON = "it lies in no folder of a person"

Watch = Callable[[Iterable[PreparedPhoto], int], Iterable[PreparedPhoto]]
"""Is given what gets done, and how much that will be; passes everything on."""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How photos become crops.

    Attributes:
        select: which face of several is meant: "center", "largest" or "only".
        border_px: what is kept around the aligned 112 px on each side: room for augmentation.
        detector: name of the face detector.
        format: of the crop files: "jpg" (quality 95) or "png" (without loss, larger).
        n_workers: processes that work at once; 0 takes all cores.
        retry_failed: try again the photos that gave no crop before.

    Raises:
        InputError: a value cannot be used.
    """

    select: Select = "center"
    border_px: int = 16
    detector: str = "mtcnn"
    format: CropFormat = "jpg"
    n_workers: int = 0
    retry_failed: bool = False

    def __post_init__(self) -> None:
        for name, words in (("select", get_args(Select)), ("format", get_args(CropFormat))):
            value = getattr(self, name)
            if value not in words:
                raise InputError(f"{name} is {value!r}", hint=f"use one of {', '.join(words)}")
        if not 0 <= self.border_px <= _MOST_BORDER_PX:
            raise InputError(
                f"border_px must lie in 0..{_MOST_BORDER_PX}, got {self.border_px}",
                hint="16 is usual",
            )
        if self.n_workers < 0:
            raise InputError(
                f"n_workers must be at least 0, got {self.n_workers}", hint="0 takes all cores"
            )


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What lies in a prepared folder.

    Attributes:
        root: the folder.
        n_photos: all that were looked at, now or before.
        n_crops: how many gave a crop.
        n_done_before: how many were done when this run began.
        people: name -> number of crops.
        failures: photo -> why it gave no crop.
        equal_photos: photos of different people whose crops have one perceptual hash: most
            likely one photo under two names.
    """

    root: Path
    n_photos: int
    n_crops: int
    n_done_before: int
    people: Mapping[str, int]
    failures: Mapping[str, str]
    equal_photos: tuple[tuple[str, ...], ...]

    @property
    def people_without_crop(self) -> tuple[str, ...]:
        """Names of the people all of whose photos failed."""
        return tuple(name for name, n_crops in self.people.items() if not n_crops)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "out": str(self.root),
            "n_photos": self.n_photos,
            "n_crops": self.n_crops,
            "n_done_before": self.n_done_before,
            "people": dict(self.people),
            "people_without_crop": list(self.people_without_crop),
            "failures": [{"photo": name, "why": why} for name, why in self.failures.items()],
            "equal_photos": [list(group) for group in self.equal_photos],
        }


def prepare_photos(
    photos: Path | str,
    out: Path | str,
    *,
    options: PrepareOptions | None = None,
    settings: Settings | None = None,
    watch: Watch = lambda done, _n_photos: done,
) -> PrepareReport:
    """Find, align and cut out the face of every photo; go on where an earlier run stopped.

    Processes are started afresh ("spawn"): a script that calls this with several workers needs
    `if __name__ == "__main__":` around what it does.

    Args:
        photos: folder or zip archive, with a folder for each person somewhere in it.
        out: the folder to fill: new, empty, or prepared before from the same photos in the same
            way. Photos that are done are left alone.
        options: how; by default `PrepareOptions()`.
        settings: by default read from the environment; its least face and most pixels matter.
        watch: shows progress.

    Raises:
        InputError: no photos; `out` is not such a folder, lies among the photos, is used by
            another process, or cannot be written (what is done, stays).
        DatasetError: no photo at all gave a crop, or the manifest is broken.
        ModelError: the detector cannot be used.
        LearningError: a process was killed from outside.
    """
    options = options or PrepareOptions()
    # One thread each: the processes share the cores. With one process, too: the same crops.
    settings = replace(settings or Settings.from_environment(), threads=1)
    source = Path(os.path.expanduser(photos))  # noqa: PTH111 - Path.expanduser fails for "~nobody"
    out = Path(out)
    _check_places(source, out)
    detector = build_detector(options.detector, settings)
    contract = _make_contract(source, detector, options, settings)
    with open_photos(source) as opened:
        names = opened.names
    with _open_folder(out, contract) as manifest:
        found = {line.photo: line for line in manifest.found}
        done = {name for name, line in found.items() if _is_done(line, out, options)}
        homeless = [name for name in names if "/" not in name and name not in done]
        chunks = _make_chunks([name for name in names if "/" in name], done, contract.format)
        n_left = len(homeless) + sum(len(chunk.places) for chunk in chunks)
        _sweep(out, chunks)
        job = Job(source, out, contract, options.detector, settings)
        n_workers = min(options.n_workers or _count_cores(), len(chunks), _MOST_WORKERS)
        work = _work(job, homeless, chunks, manifest, detector, n_workers)
        with closing(work):
            found.update((line.photo, line) for line in watch(work, n_left))
    report = _make_report(out, found, n_done_before=len(done))
    if not report.n_crops:
        name, why = next(iter(report.failures.items()))
        raise DatasetError(
            f"none of the {report.n_photos} photos gave a crop; {name}: {why}",
            hint="each person needs a folder of photos that show the face; "
            f"{out / MANIFEST_NAME} has the reason for every photo",
        )
    return report


def _work(
    job: Job,
    homeless: Sequence[str],
    chunks: Sequence[Chunk],
    manifest: Manifest,
    detector: Detector,
    n_workers: int,
) -> Generator[PreparedPhoto, None, None]:
    lines = [PreparedPhoto(name, person="", error=_NO_PERSON) for name in homeless]
    manifest.append(lines)
    yield from lines
    yield from crop_chunks(job, chunks, manifest, detector=detector, n_workers=n_workers)


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ── places ──


def _check_places(source: Path, out: Path) -> None:
    with translate_os_errors(out, doing="look at"):
        if _lies_in(out, source):
            raise InputError(
                f"{out} lies among the photos", hint="name another folder for the crops"
            )
        if _lies_in(source, out):
            raise InputError(f"the photos lie in {out}", hint="name another folder for the crops")
    if not is_prepared(out) and out.is_dir():
        with translate_os_errors(out, doing="list"):
            strangers = sorted(p.name for p in out.iterdir() if not _is_leftover(p.name))
        if strangers:
            raise InputError(
                f"{out} is neither empty nor a prepared folder: it holds {strangers[0]}",
                hint="name a new folder for the crops",
            )


def _lies_in(place: Path, folder: Path) -> bool:
    """Also through links, and where the file system ignores case."""
    real = place.resolve()
    above = (parent for parent in (real, *real.parents) if parent.exists())
    return folder.is_dir() and any(parent.samefile(folder) for parent in above)


def _is_leftover(name: str) -> bool:
    """What a killed run leaves: its lock, and a file that it was about to write."""
    return name == LOCK_NAME or (name.startswith(".") and name.endswith(".part"))


def _make_contract(
    source: Path, detector: Detector, options: PrepareOptions, settings: Settings
) -> CropContract:
    return CropContract(
        border_px=options.border_px,
        select=options.select,
        detector=DetectorStamp(name=detector.name, digest=detector.digest),
        min_face_px=settings.min_face_px,
        format=options.format,
        source=source.resolve().name.encode(errors="replace").decode(),
    )


@contextmanager
def _open_folder(out: Path, contract: CropContract) -> Iterator[Manifest]:
    """The folder's manifest, while nobody else may write to the folder."""
    with translate_os_errors(out, doing="make"):
        out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out):
        if is_prepared(out):
            CropContract.load(out).check_same(contract, out)
        else:
            contract.save(out)
        with closing(Manifest(out)) as manifest:
            yield manifest


def _is_done(line: PreparedPhoto, out: Path, options: PrepareOptions) -> bool:
    if line.crop is None:
        return not options.retry_failed
    return (out / line.crop).is_file()


def _make_chunks(names: Sequence[str], done: set[str], suffix: str) -> list[Chunk]:
    n_alike = Counter(map(_fold, names))
    chunks = []
    for start in range(0, len(names), _CHUNK_PHOTOS):
        members = tuple(names[start : start + _CHUNK_PHOTOS])
        places = {
            name: _place_crop(name, suffix, is_alone=n_alike[_fold(name)] == 1)
            for name in members
            if name not in done
        }
        if places:
            chunks.append(Chunk(members, places))
    return chunks


def _fold(name: str) -> str:
    """Equal for names that are one file where case, and how accents are written, is ignored."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _place_crop(name: str, suffix: str, *, is_alone: bool) -> str:
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    place = PurePosixPath(
        CROPS_NAME, f"{name}.{suffix}" if is_alone else f"{name}~{digest}.{suffix}"
    )
    if len(os.fsencode(place.name)) > _MOST_NAME_BYTES:
        place = place.with_name(f"{digest}.{suffix}")
    return str(place)


def _sweep(out: Path, chunks: Sequence[Chunk]) -> None:
    """Remove the half-written files of a killed run; they lie where crops are still to come."""
    folders = {(out / place).parent for chunk in chunks for place in chunk.places.values()}
    for folder in (out, *folders):
        with translate_os_errors(folder, doing="clean"):
            for leftover in folder.glob(".*.part") if folder.is_dir() else ():
                leftover.unlink(missing_ok=True)


# ── report ──


def _make_report(
    root: Path, found: Mapping[str, PreparedPhoto], *, n_done_before: int
) -> PrepareReport:
    lines = [found[name] for name in sorted(found)]
    crops = [line for line in lines if line.crop is not None]
    n_crops = Counter(line.person for line in crops)
    by_hash: dict[str | None, list[PreparedPhoto]] = {}
    for line in crops:
        by_hash.setdefault(line.hash, []).append(line)
    return PrepareReport(
        root=root,
        n_photos=len(lines),
        n_crops=len(crops),
        n_done_before=n_done_before,
        people={name: n_crops[name] for name in sorted({line.person for line in lines} - {""})},
        failures={line.photo: line.error for line in lines if line.error is not None},
        equal_photos=tuple(
            tuple(line.photo for line in group)
            for group in by_hash.values()
            if len({line.person for line in group}) > 1
        ),
    )
