"""The one face of each of many photos as raw vectors, from the cache where they are there.

It does not know what the vectors are for, nor people. Each photo is read once: its bytes are its
key in the cache, and are decoded only when the cache does not know them, while the batch before is
embedded. A photo that comes again in a batch is not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from arcwise.decode import decode_photo
from arcwise.embed import TwoViews, to_raw
from arcwise.errors import ImageError, InputError
from arcwise.evaluate.vectors.cache import Cache, Entry
from arcwise.evaluate.vectors.embedded import ABSENT, ZERO, EmbeddedPhotos
from arcwise.image import OpenFile, pixel_digest, read_image, resize_image
from arcwise.recognizer import Recognizer
from arcwise.types import Embedder, Floats, Image, Select

Source = bytes | Image | OpenFile
"""A photo of many: the bytes of its file, its pixels (H, W, 3) uint8 RGB, or an open file."""

MAKING = 2
"""Raised when a photo becomes another entry than before: what is in the cache is then old."""

_BATCH_PIXELS = 32_000_000  # about 100 MB of photos held at once, as recognizer.py does
_BATCH_ITEMS = 256  # so that the progress moves where the cache knows all of them
_NAME = "it"  # in reasons: equal files share an entry, whatever they are called


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a photo becomes vectors.

    Attributes:
        select: which face of several is meant.
        is_aligned: the photos are crops already: no face is looked for.
        has_mirror: the mirror images are embedded too.
    """

    select: Select = "center"
    is_aligned: bool = False
    has_mirror: bool = True


@dataclass(eq=False, slots=True)
class _Item:
    """A photo on its way: with pixels or an entry, and a key when that entry is to be kept.

    Attributes:
        name: of the photo.
        key: in the cache.
        image: of a crop in the size the model takes.
        digest: of the pixels as they were read, before a crop got another size.
        entry: what became of it.
        same: an earlier one of the batch with the same key, whose entry it takes.
    """

    name: str
    key: bytes = b""
    image: Image | None = None
    digest: str = ""
    entry: Entry | None = None
    same: _Item | None = None


def embed_photos(
    recognizer: Recognizer,
    photos: Iterable[tuple[str, Source]],
    *,
    recipe: Recipe,
    cache: Cache | None = None,
) -> Iterator[tuple[str, Entry]]:
    """Embed the one face that is meant in each photo.

    Args:
        recognizer: does the work; its model must not embed the mirror image by itself.
        photos: unique name, and the photo.
        recipe: how it becomes vectors. Of crops, a square one is resized to the size the model
            takes, of another the square in the middle.
        cache: of this model; what it knows is not made again, what is new is kept there.

    Yields:
        Name and what became of it, in order.

    Raises:
        InputError: the recognizer's model embeds the mirror image by itself.
        ModelError: a model cannot be used.
    """
    embedder = TwoViews(recognizer.embedder)  # refuses a model with a flip of its own
    maker = _Maker(recognizer, embedder if recipe.has_mirror else recognizer.embedder, recipe)
    batches = _read_batches(photos, maker, cache)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="arcwise-read") as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            maker.complete(batch)
            if cache is not None:
                cache.add({item.key: item.entry for item in batch if item.key and item.entry})
            for item in batch:
                entry = (item.same or item).entry
                assert entry is not None
                yield item.name, entry


def gather_photos(
    recognizer: Recognizer,
    found: Iterable[tuple[str, Entry]],
    *,
    total: int,
    recipe: Recipe,
    lost: Mapping[str, str] | None = None,
) -> EmbeddedPhotos:
    """Put what `embed_photos` yields into one value, row by row.

    Args:
        recognizer: the one that embedded them.
        found: name and what became of the photo.
        total: how many there are at most.
        recipe: the same as then.
        lost: photos that are not there, and how that is told.

    Raises:
        InputError: a name comes twice, or there are more than `total`.
    """
    raw = np.empty((total, recognizer.embedder.dimension), np.float32)
    mirrored = np.empty_like(raw) if recipe.has_mirror else None
    names: list[str] = []
    digests: list[str] = []
    reasons = dict(lost or {})
    failed_digests = dict.fromkeys(reasons, ABSENT)
    for name, entry in found:
        if entry.raw is None:
            reasons[name] = entry.reason
            if entry.digest:
                failed_digests[name] = entry.digest
            continue
        if len(names) == total:
            raise InputError(f"there are more than the {total} photos that were announced")
        raw[len(names)] = entry.raw
        if mirrored is not None and entry.mirrored is not None:
            mirrored[len(names)] = entry.mirrored
        names.append(name)
        digests.append(entry.digest)
    return EmbeddedPhotos(
        names=tuple(names),
        raw=raw[: len(names)],
        mirrored=None if mirrored is None else mirrored[: len(names)],
        digests=tuple(digests),
        reasons=reasons,
        model=recognizer.embedder.name,
        model_digest=recognizer.embedder.digest,
        failed_digests=failed_digests,
    )


class _Maker:
    """Makes keys, crops and vectors as the recipe says."""

    def __init__(self, recognizer: Recognizer, embedder: Embedder, recipe: Recipe) -> None:
        self.settings = recognizer.settings
        self.recipe = recipe
        self._embedder = embedder
        self._dimension = recognizer.embedder.dimension
        self._chooser: Recognizer | None = None
        way = "aligned"
        if not recipe.is_aligned:
            self._chooser = Recognizer(
                model=embedder, detector=recognizer.detector, settings=self.settings
            )
            way = f"{recognizer.detector.digest} {self.settings.min_face_px} {recipe.select}"
        # The same model gives a little different numbers on another device.
        provider = getattr(recognizer.embedder, "provider", "")
        text = f"{MAKING} {way} {self.settings.max_pixels} {provider}"
        self._salt = hashlib.sha256(text.encode()).digest()

    def key_of(self, content: bytes | Image) -> bytes:
        """The key of a photo in the cache: SHA-256 of its file and of how it becomes vectors."""
        digest = content if isinstance(content, bytes) else pixel_digest(content).encode()
        return hashlib.sha256(self._salt + hashlib.sha256(digest).digest()).digest()

    def is_enough(self, entry: Entry) -> bool:
        """Whether an entry has all the views that are asked for."""
        return entry.raw is None or entry.mirrored is not None or not self.recipe.has_mirror

    def prepare(self, name: str, key: bytes, content: bytes | Image) -> _Item:
        """The photo decoded, a crop in the size the model takes; or why it cannot be decoded."""
        image = content
        if isinstance(content, bytes):
            try:
                image = decode_photo(content, name=_NAME, max_pixels=self.settings.max_pixels)
            except ImageError as exc:
                return _Item(name, key, entry=Entry(digest_file(content), reason=str(exc)))
        assert not isinstance(image, bytes)
        if self._chooser is not None:
            return _Item(name, key, image)
        crop = fit_crop(image, self._embedder.crop_size_px)
        return _Item(name, key, crop, pixel_digest(image))

    def complete(self, batch: Sequence[_Item]) -> None:
        """Give every photo of a batch that has pixels its entry."""
        items = [item for item in batch if item.image is not None]
        images = [item.image for item in items if item.image is not None]
        if not images:
            return
        if self._chooser is None:
            entries = self._embed(images, [item.digest for item in items])
        else:
            entries = self._choose(images)
        for item, entry in zip(items, entries, strict=True):
            item.entry, item.image = entry, None

    def _embed(self, crops: list[Image], digests: list[str]) -> Iterator[Entry]:
        rows = to_raw(self._embedder.embed(np.stack(crops)))
        return (self._to_entry(row, digest) for row, digest in zip(rows, digests, strict=True))

    def _choose(self, images: list[Image]) -> Iterator[Entry]:
        assert self._chooser is not None
        for found in self._chooser.choose_many(images, select=self.recipe.select):
            if found.error is not None:
                yield Entry(found.digest, reason=str(found.error))
                continue
            (face,) = found.faces
            assert face.embedding is not None
            assert face.norm is not None
            yield self._to_entry(face.embedding * np.float32(face.norm), found.digest)

    def _to_entry(self, row: Floats, digest: str) -> Entry:
        raw, mirrored = row[: self._dimension], row[self._dimension :]
        if not raw.any():
            return Entry(digest, reason=ZERO)
        return Entry(digest, raw, mirrored if self.recipe.has_mirror else None)


def digest_file(content: bytes) -> str:
    """SHA-256 that names a photo which cannot be decoded: of the bytes of its file, hex."""
    return hashlib.sha256(b"file " + content).hexdigest()


def fit_crop(image: Image, size_px: int) -> Image:
    """A crop in the size a model takes: of a picture that is not square, the square in the middle.

    Args:
        image: (H, W, 3) uint8 RGB.
        size_px: S.

    Returns:
        (S, S, 3) uint8 RGB; the same picture when it has that size.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return square if side == size_px else resize_image(square, (size_px, size_px))


def _read_batches(
    photos: Iterable[tuple[str, Source]], maker: _Maker, cache: Cache | None
) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    first: dict[bytes, _Item] = {}
    n_decoded, n_pixels = 0, 0
    for name, source in photos:
        item = _read_item(name, source, maker, cache, first)
        batch.append(item)
        if item.image is not None:
            n_decoded += 1
            n_pixels += item.image.size // 3
        is_full = n_decoded >= maker.settings.batch_size or n_pixels >= _BATCH_PIXELS
        if is_full or len(batch) >= _BATCH_ITEMS:
            yield batch
            batch, first, n_decoded, n_pixels = [], {}, 0, 0
    if batch:
        yield batch


def _read_item(
    name: str, source: Source, maker: _Maker, cache: Cache | None, first: dict[bytes, _Item]
) -> _Item:
    """A photo with its key, and its entry where that is known or it cannot be decoded.

    `first` has the photos of this batch by their keys.
    """
    try:
        content = _fetch(source)
    except InputError as exc:  # of the disk, not of the photo: no key, so it is not kept
        return _Item(name, entry=Entry(reason=str(exc)))
    key = maker.key_of(content)
    if key in first:
        return _Item(name, same=first[key])
    entry = cache.find(key) if cache is not None else None
    if entry is not None and maker.is_enough(entry):
        return _Item(name, entry=entry)
    return first.setdefault(key, maker.prepare(name, key, content))


def _fetch(source: Source) -> bytes | Image:
    if isinstance(source, bytes):
        return source
    if isinstance(source, np.ndarray):
        return read_image(source)
    return source.read()
