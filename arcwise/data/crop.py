"""The crops of many photos, cut by one process or by several at once, each line kept when done.

It does not know which photos there are, nor what was done before (prepare.py does).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path, PurePosixPath

from arcwise.align import align_faces
from arcwise.choose import choose_face
from arcwise.data.manifest import CropContract, Manifest, PreparedPhoto
from arcwise.detect import build_detector
from arcwise.encode import encode_image
from arcwise.errors import InputError, LearningError
from arcwise.files import write_atomically
from arcwise.image import perceptual_hash, read_image
from arcwise.photos import Photos, open_photos
from arcwise.settings import Settings
from arcwise.types import Detector, Face, Image

_BATCH_PIXELS = 8_000_000  # 24 MB of photos held at once by each process, or one larger photo
_CHUNKS_AHEAD = 2  # of each process: none waits, and little must be finished when all stop


@dataclass(frozen=True, slots=True)
class Job:
    """What every process must know.

    Attributes:
        source: folder or archive of the photos.
        out: the prepared folder.
        contract: how crops are made.
        detector: its name in the table of detectors.
        settings: of the detector, and the limit of pixels.
    """

    source: Path
    out: Path
    contract: CropContract
    detector: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Chunk:
    """Photos that go through the detector together.

    Attributes:
        names: all of them, the same ones whenever a run began, so that a crop never depends on
            where the run before was interrupted.
        places: of those that still need it, the crop's file in the prepared folder.
    """

    names: tuple[str, ...]
    places: dict[str, str]


class Cropper:
    """Reads, detects, aligns and writes in one process.

    Args:
        job: what and how.
        detector: finds the faces; by default the job's is loaded.
        must_stop: asked between photos.
    """

    def __init__(
        self,
        job: Job,
        *,
        detector: Detector | None = None,
        must_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._job = job
        self._given_detector = detector
        self._must_stop = must_stop

    @cached_property
    def _detector(self) -> Detector:
        if self._given_detector is not None:
            return self._given_detector
        return build_detector(self._job.detector, self._job.settings)

    @cached_property
    def _archive(self) -> Photos | None:
        """The open archive; None for a folder, which need not be listed again."""
        return None if self._job.source.is_dir() else open_photos(self._job.source)

    def close(self) -> None:
        """Close the archive, if it was opened."""
        archive: Photos | None = vars(self).get("_archive")
        if archive is not None:
            archive.close()

    def crop(self, chunk: Chunk) -> list[PreparedPhoto]:
        """Make the crops of a chunk.

        Returns:
            What became of each photo that has a place; of fewer when it must stop.

        Raises:
            InputError: the archive cannot be opened, or a crop cannot be written.
            ModelError: the detector cannot be used.
        """
        lines: list[PreparedPhoto] = []
        for batch in self._read(chunk.names):
            lines += self._crop_batch(batch, chunk.places)
            batch.clear()  # before the next one is read: a photo may take 200 MB
        return lines

    def _crop_batch(
        self, batch: list[tuple[str, Image | InputError]], places: dict[str, str]
    ) -> Iterator[PreparedPhoto]:
        images = [found for _, found in batch if not isinstance(found, InputError)]
        detected = iter(self._detector.detect(images))
        for name, found in batch:
            faces = [] if isinstance(found, InputError) else next(detected)
            place = places.get(name)
            if place is None:
                continue
            if isinstance(found, InputError):
                yield _failed(name, found)
            else:
                yield self._crop_face(name, place, found, faces)

    def _read(self, names: Sequence[str]) -> Iterator[list[tuple[str, Image | InputError]]]:
        source = self._job.source
        photos = self._archive or Photos(source, {name: source / name for name in names})
        batch: list[tuple[str, Image | InputError]] = []
        n_pixels = 0
        for name in names:
            if self._must_stop():
                return
            batch.append((name, self._read_one(photos, name)))
            n_pixels += _count_pixels(batch[-1][1])
            if n_pixels >= _BATCH_PIXELS:
                yield batch
                batch, n_pixels = [], 0
        if batch:
            yield batch

    def _read_one(self, photos: Photos, name: str) -> Image | InputError:
        try:
            return read_image(photos.open(name), max_pixels=self._job.settings.max_pixels)
        except InputError as exc:
            return exc

    def _crop_face(self, name: str, place: str, image: Image, faces: list[Face]) -> PreparedPhoto:
        contract = self._job.contract
        border = contract.border_px
        try:
            face = choose_face(faces, (image.shape[1], image.shape[0]), contract.select)
            (crop,) = align_faces(image, face.points_px[None], border_px=border)
        except InputError as exc:  # no face, several, or five points in one place
            return _failed(name, exc, n_faces=len(faces))
        content = encode_image(crop, suffix=f".{contract.format}", quality=contract.quality)
        write_atomically(self._job.out / place, content)
        inner = slice(border, border + contract.size_px)
        plain = face.to_dict()
        return PreparedPhoto(
            photo=name,
            person=_person_of(name),
            crop=place,
            box=tuple(plain["box_xyxy_px"]),
            score=plain["score"],
            points=tuple((x, y) for x, y in plain["points_px"]),
            n_faces=len(faces),
            hash=f"{perceptual_hash(crop[inner, inner]):016x}",
        )


def _count_pixels(found: Image | InputError) -> int:
    return 0 if isinstance(found, InputError) else found.shape[0] * found.shape[1]


def _failed(name: str, error: InputError, *, n_faces: int = 0) -> PreparedPhoto:
    return PreparedPhoto(name, _person_of(name), n_faces=n_faces, error=str(error))


def _person_of(name: str) -> str:
    return PurePosixPath(name).parent.name


def crop_chunks(
    job: Job,
    chunks: Sequence[Chunk],
    manifest: Manifest,
    *,
    detector: Detector,
    n_workers: int,
) -> Generator[PreparedPhoto, None, None]:
    """Make the crops of many chunks. Close the generator to stop early; what is done is kept.

    Args:
        job: what and how.
        chunks: the work.
        manifest: is given the lines of each chunk when all its crops are on the disk.
        detector: works here when there is one worker; several load their own.
        n_workers: processes; 1 works in this one.

    Yields:
        What became of each photo, after its line was written.

    Raises:
        InputError: the archive cannot be opened, or a crop or line cannot be written.
        ModelError: the detector cannot be used.
        LearningError: a process was killed from outside.
    """
    if n_workers > 1:
        yield from _crop_in_processes(job, chunks, manifest, n_workers)
        return
    with closing(Cropper(job, detector=detector)) as cropper:
        for chunk in chunks:
            lines = cropper.crop(chunk)
            manifest.append(lines)
            yield from lines


_croppers: list[Cropper] = []  # one in each worker, none elsewhere: a pool has no better place


def _start_worker(job: Job, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who says when to stop
    logging.getLogger("arcwise").setLevel(logging.ERROR)  # the parent has warned already
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _croppers.append(Cropper(job, must_stop=stop.is_set))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only workers watch their parent"
    parent.join()
    os._exit(1)


def _crop_in_worker(chunk: Chunk) -> list[PreparedPhoto]:
    return _croppers[0].crop(chunk)


def _crop_in_processes(
    job: Job, chunks: Sequence[Chunk], manifest: Manifest, n_workers: int
) -> Iterator[PreparedPhoto]:
    context = multiprocessing.get_context("spawn")  # threads and fork do not go together
    stop = context.Event()
    pool = ProcessPoolExecutor(
        n_workers, mp_context=context, initializer=_start_worker, initargs=(job, stop)
    )
    waiting = iter(chunks)
    pending: set[Future[list[PreparedPhoto]]] = set()
    try:
        while True:
            n_more = n_workers * _CHUNKS_AHEAD - len(pending)
            with _interrupts_held():
                pending.update(pool.submit(_crop_in_worker, c) for c in islice(waiting, n_more))
            if not pending:
                return
            # Not for ever: Windows hears Ctrl-C only in between.
            finished, _ = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
            for future in finished:
                lines = future.result()
                manifest.append(lines)
                pending.discard(future)
                yield from lines
    except BrokenProcessPool as exc:
        raise LearningError(
            "a worker process ended all of a sudden",
            hint="is the memory full? Use fewer with --workers, and run the same again to go on. "
            'In a script, call this below `if __name__ == "__main__":`',
        ) from exc
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        for future in pending:
            if future.done() and not future.cancelled() and future.exception() is None:
                manifest.append(future.result())


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C is heard afterwards, and by this process alone: those started meanwhile never hear it.

    Interrupted halfway, the start of a process would leave one that complains loudly.
    """
    is_heard = threading.Event()
    former = signal.getsignal(signal.SIGINT)
    is_ours = threading.current_thread() is threading.main_thread() and former is not None
    if is_ours:  # nobody else is interrupted, or may change who is
        signal.signal(signal.SIGINT, lambda *_: is_heard.set())
    mask = None
    if hasattr(signal, "pthread_sigmask"):  # inherited; not on Windows
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_ours:
            signal.signal(signal.SIGINT, former)
    if is_heard.is_set():
        signal.raise_signal(signal.SIGINT)
