"""MTCNN: three networks, each looking closer at what the one before proposed.

Many photos in one call: the scales of photos of one size, and the crops of all photos, go
through the networks in batches. A large scale goes through in tiles, so that the memory of a run
does not grow with the photo. It does not read photos from files.

Source: Zhang et al. (2016); scale step, thresholds and suppression limits as published with the
original code. Weights: see detect/networks.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arcwise.detect.networks import (
    WEIGHTS_DIGEST,
    build_output_net,
    build_proposal_net,
    build_refine_net,
)
from arcwise.errors import InputError
from arcwise.geometry import square_boxes, suppress_boxes
from arcwise.pyramid import Pyramid
from arcwise.session import Session, choose_provider
from arcwise.settings import Provider
from arcwise.types import Face, Floats, Image

_WINDOW_PX = 12  # what one cell of the proposal net sees
_STRIDE_PX = 2
_SCALE_STEP = 0.709  # about 1/sqrt(2): the area halves
_BORDER = 128  # gray: 0 after normalization, as the networks were trained with
_CROPS_PER_RUN = 32  # measured: more crops leave the processor's cache and take longer
_PIXELS_PER_RUN = 60_000  # likewise for the proposal net
_TILE_PX = 256  # likewise, and memory does not grow with the photo; a multiple of the stride
_CROPS_HELD = 1024  # cut at once: 7 MB of 48 px
_LEAST_SIDE_PX = 1.0  # of a box, or of the five points: what is smaller is no face


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least face probability after each of the three networks."""

    proposal: float = 0.6
    refine: float = 0.7
    output: float = 0.8

    def for_second_look(self) -> Thresholds:
        """Lower bars for the first two networks; the last word stays as strict as it was.

        0.3 and 0.3: measured on rotated, blurred and darkened photos (docs/experiments.md).
        """
        return Thresholds(min(self.proposal, 0.3), min(self.refine, 0.3), self.output)


@dataclass(slots=True)
class _Candidates:
    """Boxes of several photos: boxes (N, 4), scores (N,), owners (N,) index of the photo."""

    boxes: Floats
    scores: Floats
    owners: NDArray[np.intp]

    def pick(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> _Candidates:
        return _Candidates(self.boxes[chosen], self.scores[chosen], self.owners[chosen])

    def __len__(self) -> int:
        return len(self.scores)


class MTCNN:
    """The embedded detector: boxes and five points, no download needed.

    Args:
        min_face_px: the smallest face looked for, px of its box; smaller is slower.
        thresholds: least probability after each network.
        provider: where the networks run.
        strict: fail when the provider does not really run.
        threads: of one run; 0 lets the runtime choose.

    Raises:
        InputError: min_face_px is below 12.
        UnknownModelError, ChecksumError, SessionError: the weights cannot be used.
    """

    name = "mtcnn"
    digest = WEIGHTS_DIGEST

    def __init__(
        self,
        *,
        min_face_px: int = 40,
        thresholds: Thresholds | None = None,
        provider: Provider = "cpu",
        strict: bool = False,
        threads: int = 0,
    ) -> None:
        if min_face_px < _WINDOW_PX:
            raise InputError(
                f"min_face_px is {min_face_px}", hint=f"use {_WINDOW_PX} or more; 40 is usual"
            )
        self.min_face_px = min_face_px
        self.thresholds = thresholds or Thresholds()
        choice = choose_provider(provider, strict=strict)
        sessions = []
        for build in (build_proposal_net, build_refine_net, build_output_net):
            session = Session(build(), provider=choice, strict=strict, threads=threads)
            sessions.append(session)
            choice = session.choice  # what did not start once is not tried, and told, again
        self._proposal, self._refine, self._output = sessions

    @property
    def provider(self) -> str:
        """Where the networks really run: cpu, cuda or coreml."""
        return self._proposal.choice.provider

    def detect(self, images: list[Image]) -> list[list[Face]]:
        """Find the faces of many photos. Where none is found, look once more, more patiently.

        Args:
            images: each (H, W, 3) uint8 RGB, of any sizes.

        Returns:
            For each photo its faces, largest box first.

        Raises:
            ImageError: one of them is not such an image.
            SessionError: the runtime failed.
        """
        photos = [Pyramid(image) for image in images]
        faces = self._search(photos, self.thresholds)
        without = [number for number, found in enumerate(faces) if not found]
        patient = self.thresholds.for_second_look()
        again = self._search([photos[number] for number in without], patient)
        for number, found in zip(without, again, strict=True):
            faces[number] = found
        return faces

    def _search(self, photos: list[Pyramid], thresholds: Thresholds) -> list[list[Face]]:
        found = self._propose(photos, thresholds)
        found = self._look_again(photos, found, thresholds)
        return self._decide(photos, found, thresholds)

    def _propose(self, photos: list[Pyramid], thresholds: Thresholds) -> _Candidates:
        boxes, scores, owners, levels = [], [], [], []
        for members, level, scaled, factors in self._scaled_batches(photos):
            seen = _scan(self._proposal, scaled, thresholds.proposal)
            if not len(seen):
                continue
            boxes.append(seen.boxes * np.tile(factors, 2))
            scores.append(seen.scores)
            owners.append(np.asarray(members)[seen.owners])
            levels.append(np.full(len(seen), level))
        if not boxes:
            return _nothing()
        found = _Candidates(np.concatenate(boxes), np.concatenate(scores), np.concatenate(owners))
        groups = found.owners * 64 + np.concatenate(levels)
        found = found.pick(suppress_boxes(found.boxes, found.scores, 0.5, groups=groups))
        return found.pick(suppress_boxes(found.boxes, found.scores, 0.7, groups=found.owners))

    def _scaled_batches(
        self, photos: list[Pyramid]
    ) -> Iterator[tuple[list[int], int, NDArray[np.uint8], Floats]]:
        """Photos of one size, scaled: (their numbers, level, (B, h, w, 3), px per scaled px)."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, photo in enumerate(photos):
            by_size[photo.size_wh_px].append(number)
        for (width, height), numbers in by_size.items():
            scale = _WINDOW_PX / self.min_face_px
            level = 0
            while min(height, width) * scale >= _WINDOW_PX:
                small_wh = max(round(width * scale), 12), max(round(height * scale), 12)
                factors = np.array([width / small_wh[0], height / small_wh[1]], np.float32)
                step = max(1, _PIXELS_PER_RUN // (small_wh[0] * small_wh[1]))
                for start in range(0, len(numbers), step):
                    members = numbers[start : start + step]
                    scaled = np.empty((len(members), small_wh[1], small_wh[0], 3), np.uint8)
                    for target, number in zip(scaled, members, strict=True):
                        photos[number].resize_into(target)
                    yield members, level, scaled, factors
                level += 1
                scale *= _SCALE_STEP

    def _look_again(
        self, photos: list[Pyramid], found: _Candidates, thresholds: Thresholds
    ) -> _Candidates:
        if not len(found):
            return found
        squares = square_boxes(found.boxes)
        moves, chances = _run_on_crops(
            self._refine, photos, replace(found, boxes=squares), 24, ["boxes", "scores"]
        )
        sides = (squares[:, 2:] - squares[:, :2]).repeat(2, axis=1)
        refined = _Candidates(squares + moves * sides, chances[:, 1], found.owners)
        sure = refined.scores > thresholds.refine
        refined = refined.pick(sure & _have_size(refined.boxes))
        kept = suppress_boxes(refined.boxes, refined.scores, 0.7, groups=refined.owners)
        return refined.pick(kept)

    def _decide(
        self, photos: list[Pyramid], found: _Candidates, thresholds: Thresholds
    ) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in photos]
        if not len(found):
            return faces
        squares = square_boxes(found.boxes)
        moves, spots, chances = _run_on_crops(
            self._output, photos, replace(found, boxes=squares), 48, ["boxes", "points", "scores"]
        )
        corners, sides = squares[:, :2], squares[:, 2:] - squares[:, :2]
        points = corners[:, None] + spots.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None]
        final = _Candidates(squares + moves * sides.repeat(2, axis=1), chances[:, 1], found.owners)
        sure = final.scores > thresholds.output
        sure &= _have_size(final.boxes) & _are_apart(points)
        final, points = final.pick(sure), points[sure]
        kept = suppress_boxes(
            final.boxes, final.scores, 0.7, relative_to="smaller", groups=final.owners
        )
        for index in kept:
            face = Face(final.boxes[index], float(final.scores[index]), points[index])
            faces[final.owners[index]].append(face)
        for of_photo in faces:
            of_photo.sort(key=lambda face: -np.prod(face.size_wh_px))
        return faces


def _scan(proposal: Session, scaled: NDArray[np.uint8], least: float) -> _Candidates:
    """Where the proposal net sees a face in (B, h, w, 3) scaled photos, in px of these.

    Cell (i, j) sees the window of 12 px at (2·i, 2·j), so that tiles which begin at even pixels
    and overlap by 10 have exactly the cells of the whole. They come in the order of the whole.
    """
    tiles: list[_Candidates] = []
    corners = []
    overlap_px = _WINDOW_PX - _STRIDE_PX
    for top in range(0, scaled.shape[1] - overlap_px, _TILE_PX):
        for left in range(0, scaled.shape[2] - overlap_px, _TILE_PX):
            right, bottom = left + _TILE_PX + overlap_px, top + _TILE_PX + overlap_px
            tile = np.ascontiguousarray(scaled[:, top:bottom, left:right])
            moves, chances = proposal.run(tile, ["boxes", "scores"])
            faces = chances[:, 1]
            which, rows, columns = np.nonzero(faces > least)
            if not which.size:
                continue
            x, y = columns * _STRIDE_PX + left, rows * _STRIDE_PX + top
            windows = np.stack([x, y, x + _WINDOW_PX, y + _WINDOW_PX], axis=1).astype(np.float32)
            boxes = windows + moves[which, :, rows, columns] * _WINDOW_PX
            tiles.append(_Candidates(boxes, faces[which, rows, columns], which))
            corners.append((x, y))
    if len(tiles) < 2:
        return tiles[0] if tiles else _nothing()
    found = _Candidates(
        np.concatenate([tile.boxes for tile in tiles]),
        np.concatenate([tile.scores for tile in tiles]),
        np.concatenate([tile.owners for tile in tiles]),
    )
    x, y = np.hstack(corners)
    return found.pick(np.lexsort([x, y, found.owners]))


def _nothing() -> _Candidates:
    empty = np.zeros(0, np.float32)
    return _Candidates(np.zeros((0, 4), np.float32), empty, np.zeros(0, np.intp))


def _have_size(boxes: Floats) -> NDArray[np.bool_]:
    """Which of (N, 4) boxes are finite and at least 1 px wide and high."""
    known = np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, 0)
    return np.asarray((known[:, 2:] - known[:, :2] >= _LEAST_SIDE_PX).all(axis=1))


def _are_apart(points: Floats) -> NDArray[np.bool_]:
    """Which of (N, 5, 2) points are finite and do not lie in one pixel."""
    known = np.where(np.isfinite(points).all(axis=(1, 2), keepdims=True), points, 0)
    spreads = (known.max(axis=1) - known.min(axis=1)).max(axis=1)
    return np.asarray(spreads >= _LEAST_SIDE_PX)


def _cut(
    photos: list[Pyramid], squares: Floats, owners: NDArray[np.intp], size_px: int
) -> NDArray[np.uint8]:
    crops = np.empty((len(squares), size_px, size_px, 3), np.uint8)
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        crops[mine] = photos[owner].cut_squares(squares[mine], size_px=size_px, border=_BORDER)
    return crops


def _run_on_crops(
    session: Session,
    photos: list[Pyramid],
    found: _Candidates,
    size_px: int,
    outputs: list[str],
) -> list[Floats]:
    """Answers of a network to crops of the boxes of N > 0 candidates, each (N, …)."""
    parts = []
    for start in range(0, len(found), _CROPS_HELD):
        held = slice(start, start + _CROPS_HELD)
        crops = _cut(photos, found.boxes[held], found.owners[held], size_px)
        parts += [
            session.run(crops[first : first + _CROPS_PER_RUN], outputs)
            for first in range(0, len(crops), _CROPS_PER_RUN)
        ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
