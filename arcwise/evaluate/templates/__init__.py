"""Many images of a person become one template; many pairs of templates become scores.

It reads no file and knows no set: embeddings, numbers of templates and of media come in as arrays.
Pooling after the IJB evaluation code of InsightFace: the images of one media (a photo, or the
frames of a video) are averaged, the media of a template are summed, the sum is normalized.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Counts, Flags
from arcwise.evaluate.vectors.cosines import fetch_cosines
from arcwise.evaluate.vectors.embedded import Views
from arcwise.types import Floats

_CHUNK_IMAGES = 8192  # 64 MB of two views of 512 numbers in float64
_BLOCK_ROWS = 1024  # times 23,124 templates of IJB-C: 95 MB of products
_WORTH_A_PRODUCT = 200  # products per pair, above which fetching is faster; measured: about 240


@dataclass(frozen=True, slots=True)
class Pooling:
    """How images become a template.

    Attributes:
        views: "sum" adds the embedding of the mirror image, "concat" puts it behind the
            original's, "none" leaves it out.
        keep_norms: an image counts as much as its embedding is long; else all count alike.
        weigh_scores: an image is multiplied by the confidence of its detection.
    """

    views: Views = "sum"
    keep_norms: bool = True
    weigh_scores: bool = True

    def __post_init__(self) -> None:
        if self.views not in get_args(Views):
            raise InputError(f"views is {self.views!r}", hint=f"use {', '.join(get_args(Views))}")

    @property
    def name(self) -> str:
        """The abbreviation of InsightFace's eval_ijbc.py, such as N1D1F1.

        N1 keeps norms (in its ijb_evals.py N0 does), D1 weighs by detector score, F1 embeds the
        mirror image too; it does not tell whether that is added or put behind.
        """
        return f"N{self.keep_norms:d}D{self.weigh_scores:d}F{self.views != 'none':d}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the name, and what it leaves open."""
        return {"name": self.name} | asdict(self)

    def describe(self) -> str:
        """The same in words."""
        views = {
            "sum": "original + mirror image",
            "concat": "mirror image behind the original",
            "none": "original alone",
        }[self.views]
        norms = "norms kept" if self.keep_norms else "images normalized"
        scores = "weighed by detector score" if self.weigh_scores else "not weighed"
        return f"{views}; {norms}; {scores}; mean of each media, sum over media, normalized"


@dataclass(frozen=True, eq=False, slots=True)
class Templates:
    """Templates of one set.

    Attributes:
        numbers: (T,) int64 of the templates, rising.
        vectors: (T, D) float32 of norm 1; 0 for a template without direction.
        has_vector: (T,) bool; false where no image of it has an embedding, or they sum to 0.
    """

    numbers: Counts
    vectors: Floats
    has_vector: Flags

    def places(self, numbers: NDArray[Any]) -> Counts:
        """Rows of some templates by their numbers.

        Raises:
            InputError: a template that has no images.
        """
        found = np.searchsorted(self.numbers, numbers)
        found[found == len(self.numbers)] = 0
        strange = np.flatnonzero(self.numbers[found] != numbers)
        if len(strange):
            raise InputError(
                f"template {numbers[strange[0]]} has no images: "
                f"{len(np.unique(numbers[strange])):,} such templates",
                hint="the meta files are of different sets, or one of them is cut off",
            )
        return found


def pool_templates(
    images: NDArray[np.float32],
    templates: Counts,
    media: Counts,
    scores: Floats,
    *,
    pooling: Pooling | None = None,
    is_failed: Flags | None = None,
) -> Templates:
    """One vector for each template.

    Args:
        images: (N, V, D) float32 raw embeddings, not normalized; V is 1, or 2 with the mirror
            image. May be memory-mapped: it is read in parts.
        templates: (N,) number of each image's template.
        media: (N,) number of each image's media; media are told apart within a template only.
        scores: (N,) the detector's confidence.
        pooling: by default norms kept, detector scores, mirror images added.
        is_failed: (N,) images without an embedding; they are left out of every mean and sum.

    Raises:
        InputError: other shapes, no image, no mirror images where they are asked for, or an
            embedding that is not finite.
    """
    pooling = pooling or Pooling()
    failed = np.zeros(len(images), np.bool_) if is_failed is None else np.asarray(is_failed)
    _check_shapes(images, templates, media, scores, failed, pooling)
    numbers = np.unique(templates)
    good = np.flatnonzero(~failed)
    order = good[np.lexsort((media[good], templates[good]))]
    weights = _weigh_images(templates[order], media[order])
    if pooling.weigh_scores:
        weights *= scores[order]
    n_columns = images.shape[2] * (2 if pooling.views == "concat" else 1)
    sums = np.zeros((len(numbers), n_columns))
    rows = np.searchsorted(numbers, templates[order])
    for part in _cut_templates(rows):
        values = _view_images(images[order[part]], pooling, order[part])
        values *= weights[part, None]
        begins = np.flatnonzero(np.diff(rows[part], prepend=-1))
        sums[rows[part][begins]] = np.add.reduceat(values, begins, axis=0)
    norms = np.linalg.norm(sums, axis=1)
    has_vector = norms > 0
    sums[has_vector] /= norms[has_vector, None]
    return Templates(numbers, sums.astype(np.float32), has_vector)


def _check_shapes(
    images: NDArray[np.float32],
    templates: Counts,
    media: Counts,
    scores: Floats,
    failed: Flags,
    pooling: Pooling,
) -> None:
    if images.ndim != 3 or not images.size or images.shape[1] not in (1, 2):
        raise InputError(
            f"embeddings of images have the shape {images.shape}", hint="give (N, 1 or 2, D)"
        )
    for name, column in (
        ("templates", templates),
        ("media", media),
        ("scores", scores),
        ("is_failed", failed),
    ):
        if column.shape != (len(images),):
            raise InputError(f"{name} have the shape {column.shape} for {len(images)} images")
    if pooling.views != "none" and images.shape[1] != 2:
        raise InputError(
            "the mirror images were not embedded", hint="embed them too, or use --views none"
        )


def _weigh_images(templates: Counts, media: Counts) -> NDArray[np.float64]:
    """1 / the number of images of each image's media; both are sorted by template, then media."""
    is_new = np.ones(len(templates), np.bool_)
    is_new[1:] = (templates[1:] != templates[:-1]) | (media[1:] != media[:-1])
    counts = np.diff(np.append(np.flatnonzero(is_new), len(templates)))
    weights: NDArray[np.float64] = np.repeat(1.0 / counts, counts)
    return weights


def _cut_templates(rows: Counts) -> Iterator[slice]:
    """Parts of about 8192 images that hold whole templates; `rows` rise."""
    start = 0
    while start < len(rows):
        end = min(start + _CHUNK_IMAGES, len(rows))
        if end < len(rows):
            whole = int(np.searchsorted(rows, rows[end], side="left"))
            end = whole if whole > start else int(np.searchsorted(rows, rows[end], side="right"))
        yield slice(start, end)
        start = end


def _view_images(
    images: NDArray[np.float32], pooling: Pooling, rows: Counts
) -> NDArray[np.float64]:
    """(n, D) or (n, 2D) float64 of some images, normalized where norms do not count."""
    values: NDArray[np.float64]
    match pooling.views:
        case "sum":
            values = images.sum(axis=1, dtype=np.float64)
        case "concat":
            values = images.reshape(len(images), -1).astype(np.float64)
        case _:
            values = images[:, 0].astype(np.float64)
    norms = np.linalg.norm(values, axis=1)
    strange = np.flatnonzero(~np.isfinite(norms))
    if len(strange):
        raise InputError(f"the embedding of image {rows[strange[0]]} is not finite")
    if not pooling.keep_norms:
        values /= np.where(norms > 0, norms, 1.0)[:, None]
    return values


def score_pairs(
    vectors: NDArray[np.float32], first: NDArray[np.integer], second: NDArray[np.integer]
) -> Floats:
    """The cosine of many pairs of templates.

    Pairs that share a first template stand in one row of a matrix product, from which they are
    picked: some twenty times faster than fetching two vectors for each pair. Where pairs lie too
    thin for that, they are fetched.

    Args:
        vectors: (T, D) float32 of norm 1; may be memory-mapped.
        first: (P,) rows of `vectors`.
        second: (P,) likewise.

    Returns:
        (P,) float32. Products of float32: two equal pairs may differ in the last bit.

    Raises:
        InputError: other shapes, or a row that is not there.
    """
    if vectors.ndim != 2 or first.ndim != 1 or first.shape != second.shape:
        raise InputError(
            f"vectors of shape {vectors.shape} and pairs of {first.shape} and {second.shape}",
            hint="give (T, D) and two lists of one length",
        )
    scores = np.empty(len(first), np.float32)
    if not len(first):
        return scores
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= len(vectors):
        raise InputError(f"a pair names a row beyond the {len(vectors)} vectors")
    order = np.argsort(first, kind="stable")
    sorted_first = first[order]
    lefts = np.unique(sorted_first)
    for start in range(0, len(lefts), _BLOCK_ROWS):
        rows = lefts[start : start + _BLOCK_ROWS]
        begin = int(np.searchsorted(sorted_first, rows[0], side="left"))
        end = int(np.searchsorted(sorted_first, rows[-1], side="right"))
        pairs = order[begin:end]
        scores[pairs] = _score_block(vectors, rows, sorted_first[begin:end], second[pairs])
    np.clip(scores, -1.0, 1.0, out=scores)
    return scores


def _score_block(
    vectors: NDArray[np.float32],
    rows: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
) -> Floats:
    is_wanted = np.zeros(len(vectors), np.bool_)
    is_wanted[second] = True
    columns = np.flatnonzero(is_wanted)
    if len(rows) * len(columns) > _WORTH_A_PRODUCT * len(first):
        return fetch_cosines(vectors, first, second)
    place = np.empty(len(vectors), np.int32)
    place[columns] = np.arange(len(columns), dtype=np.int32)
    products = np.asarray(vectors[rows]) @ np.asarray(vectors[columns]).T
    picked: Floats = products[np.searchsorted(rows, first), place[second]]
    return picked
