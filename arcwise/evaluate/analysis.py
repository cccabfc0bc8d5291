"""How embeddings lie in their space: lengths, angles within and between people, dimensions used.

It does not know photos, thresholds or error rates. Each photo is a vector with a person; the
pairs are all pairs of photos. The margin is the tutorial's of system E, with its one known word:
more than 0.20 is "Excellent".

Sources: effective rank after Roy and Vetterli, "The effective rank" (2007); participation ratio
as in Gao et al. (2017), both of the eigenvalues of the covariance of the unit vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.curve import Spread, describe_spread
from arcwise.evaluate.row import Row
from arcwise.evaluate.vectors.rows import row_norms
from arcwise.types import Floats

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

EXCELLENT = 0.20
"""Above this margin system E's validate_model.py says "Excellent (>0.20)"."""
N_BINS = 200
"""Bars of a histogram over -1..1, each 0.01 wide: our choice."""

_BLOCK = 4_000_000  # similarities that are held at once
_SHARES = (0.5, 0.9, 0.99)
_EQUAL = 1e-12  # variance of unit vectors below which they differ by the rounding of float32 alone


@dataclass(frozen=True, eq=False, slots=True)
class PairCounts:
    """Similarities of all pairs, counted in bars of equal width over -1..1.

    Attributes:
        edges: (201,) cosine.
        genuine: (200,) pairs of one person in each bar; the last one holds 1 itself.
        impostor: (200,) pairs of two people.
    """

    edges: Doubles
    genuine: Counts
    impostor: Counts


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """What is known of some embeddings. Angles are in degrees.

    Attributes:
        n_photos, n_people: what was given.
        n_single: people with one photo; they are in no genuine pair.
        dimension: of a vector.
        norms: lengths as the model gives them.
        genuine, impostor: cosines of all pairs of one person, of two people; None without one.
        to_own: angle of a photo to the center of its person, of people with two photos or more.
        to_nearest: angle of a person's center to the nearest other one; None for one person.
        mean_length: length of the mean unit vector: 0 all around, 1 all alike.
        effective_rank: exp of the entropy of the eigenvalues' shares; 0 where all are equal.
        participation: (sum of the eigenvalues)^2 / sum of their squares.
        n_axes: share of the variance -> principal axes that hold it.
    """

    n_photos: int
    n_people: int
    n_single: int
    dimension: int
    norms: Spread
    genuine: Spread | None
    impostor: Spread | None
    to_own: Spread | None
    to_nearest: Spread | None
    mean_length: float
    effective_rank: float
    participation: float
    n_axes: dict[str, int]

    @property
    def margin(self) -> float | None:
        """Mean genuine minus mean impostor similarity; None where a class has no pair."""
        if self.genuine is None or self.impostor is None:
            return None
        return self.genuine.mean - self.impostor.mean

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"margin": self.margin}

    def rows(self) -> list[Row]:
        """Every number with its definition."""
        margin, word = "n/a: needs pairs of both classes", "n/a"
        if self.margin is not None:
            margin = f"{self.margin:.4f}"
            word = (
                "Excellent (> 0.20)" if self.margin > EXCELLENT else "not Excellent (0.20 or less)"
            )
        people = f"{self.n_people:,}, {self.n_single:,} of them with one photo"
        axes = ", ".join(f"{share}: {n}" for share, n in self.n_axes.items())
        return [
            Row("photos", f"{self.n_photos:,}", "photos with an embedding"),
            Row("people", people, "people of these photos"),
            Row("dimension", str(self.dimension), "numbers in an embedding"),
            Row("norm", _show(self.norms), "length of the embedding before it is normalized"),
            Row("same person", _show(self.genuine, _NO_PAIR), _PAIRS.format("one person")),
            Row("different people", _show(self.impostor, _NO_PEOPLE), _PAIRS.format("two people")),
            Row("margin", margin, "mean of the same minus mean of the different"),
            Row("feature quality", word, _WORD),
            Row("to own center", _show(self.to_own, _NO_PAIR, 1), _OWN),
            Row("to nearest center", _show(self.to_nearest, _NO_PEOPLE, 1), _NEAREST),
            Row("mean length", f"{self.mean_length:.4f}", _MEAN),
            Row("effective rank", f"{self.effective_rank:.1f} of {self.dimension}", _RANK),
            Row("participation", f"{self.participation:.1f} of {self.dimension}", _PARTICIPATION),
            Row("axes for variance", axes, "principal axes that hold this share of the variance"),
        ]


_NO_PAIR = "n/a: needs a person with two photos"
_NO_PEOPLE = "n/a: needs two people"
_PAIRS = "cosine of all pairs of {}: mean ± population standard deviation, least to greatest"
_WORD = (
    "the margin in the words of system E's tutorial, of which we know one: more than 0.20 is "
    "Excellent; it says nothing about errors at any threshold"
)
_OWN = "degrees from a photo to the center of its person, who has two photos or more; as above"
_NEAREST = "degrees from the center of a person to the nearest other center; as above"
_MEAN = "length of the mean of all unit vectors: 0 lies all around, 1 all in one place"
_RANK = "exp of the entropy of the covariance's eigenvalues: axes in use, were they used alike"
_PARTICIPATION = "(sum of the eigenvalues)^2 / sum of their squares: the same, led by the largest"


def analyze_embeddings(raw: Floats, people: Sequence[str]) -> EmbeddingReport:
    """Measure how embeddings lie.

    Args:
        raw: (N, D) as the model gives them, of any length but 0.
        people: N names.

    Raises:
        InputError: fewer than two photos, not one name each, a NaN or a vector of length 0.
    """
    unit, norms = _normalize(raw, people)
    codes, n_photos = _number_people(people)
    centers = _center(unit, codes, len(n_photos))
    has_pair = n_photos[codes] > 1
    to_own = _angles(np.einsum("nd,nd->n", unit, centers[codes]))[has_pair]
    spreads = _describe_pairs(unit, codes)
    eigenvalues = _eigenvalues(unit)
    return EmbeddingReport(
        n_photos=len(unit),
        n_people=len(n_photos),
        n_single=int((n_photos == 1).sum()),
        dimension=unit.shape[1],
        norms=describe_spread(norms),
        genuine=spreads[0],
        impostor=spreads[1],
        to_own=describe_spread(to_own) if len(to_own) else None,
        to_nearest=describe_spread(_nearest_angles(centers)) if len(centers) > 1 else None,
        mean_length=float(np.linalg.norm(unit.mean(axis=0, dtype=np.float64))),
        effective_rank=_effective_rank(eigenvalues),
        participation=_participation(eigenvalues),
        n_axes={f"{share:.0%}": _count_axes(eigenvalues, share) for share in _SHARES},
    )


def count_pairs(raw: Floats, people: Sequence[str]) -> PairCounts:
    """Count the similarities of all pairs, for a histogram; any number of photos.

    Args:
        raw: (N, D), of any length but 0.
        people: N names.

    Raises:
        InputError: as `analyze_embeddings`.
    """
    unit, _ = _normalize(raw, people)
    codes, _ = _number_people(people)
    counts = np.zeros((2, N_BINS), np.int64)
    for scores, is_same in _all_pairs(unit, codes):
        bars = np.clip((scores + 1) * (N_BINS / 2), 0, N_BINS - 1).astype(np.int64)
        counts += np.bincount(bars + N_BINS * is_same, minlength=2 * N_BINS).reshape(2, N_BINS)
    return PairCounts(np.linspace(-1, 1, N_BINS + 1), counts[1], counts[0])


def project_embeddings(raw: Floats) -> Doubles:
    """The plane in which unit vectors vary the most: their first two principal components.

    Args:
        raw: (N, D), of any length but 0, at least two.

    Returns:
        (N, 2), centered; signs are such that the largest part of each axis is positive.

    Raises:
        InputError: fewer than two vectors or dimensions, a NaN or a vector of length 0.
    """
    unit, _ = _normalize(raw, [""] * len(raw))
    if unit.shape[1] < 2:
        raise InputError(f"embeddings of {unit.shape[1]} dimension have no plane")
    centered = unit - unit.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1][:, :-3:-1]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    points: Doubles = centered @ (axes * signs)
    return points


# ── pairs ──


def _all_pairs(unit: Doubles, codes: Counts) -> Iterator[tuple[Doubles, NDArray[np.bool_]]]:
    """Every pair of photos once: cosine, and whether it is one person; block by block."""
    step = max(1, _BLOCK // len(unit))
    for start in range(0, len(unit) - 1, step):
        rows = unit[start : start + step]
        is_after = np.tri(len(rows), len(unit) - start, dtype=bool)
        np.logical_not(is_after, out=is_after)
        scores = (rows @ unit[start:].T)[is_after]
        is_same = (codes[start : start + step, None] == codes[None, start:])[is_after]
        yield np.clip(scores, -1.0, 1.0), is_same


def _describe_pairs(unit: Doubles, codes: Counts) -> tuple[Spread | None, Spread | None]:
    """Spreads of genuine and impostor similarities, summed block by block."""
    parts: tuple[list[Spread], list[Spread]] = ([], [])
    for scores, is_same in _all_pairs(unit, codes):
        for found, chosen in zip(parts, (scores[is_same], scores[~is_same]), strict=True):
            if len(chosen):
                found.append(describe_spread(chosen))
    genuine, impostor = (_join_spreads(found) if found else None for found in parts)
    return genuine, impostor


def _join_spreads(parts: Sequence[Spread]) -> Spread:
    """The spread of all values of several parts."""
    n = sum(part.n for part in parts)
    mean = sum(part.n * part.mean for part in parts) / n
    squares = sum(part.n * (part.std**2 + (part.mean - mean) ** 2) for part in parts)
    low, high = min(part.min for part in parts), max(part.max for part in parts)
    return Spread(n, float(mean), float(np.sqrt(squares / n)), low, high)


# ── angles and dimensions ──


def _normalize(raw: Floats, people: Sequence[str]) -> tuple[Doubles, Doubles]:
    vectors = np.asarray(raw, np.float64)
    if vectors.ndim != 2 or len(vectors) != len(people):
        raise InputError(f"embeddings of shape {vectors.shape} for {len(people)} names of people")
    if len(vectors) < 2:
        raise InputError(
            f"{len(vectors)} embedding has nothing to be held against", hint="give two or more"
        )
    norms = row_norms(vectors, lambda row: f"photo {row}")
    return vectors / norms[:, None], norms


def _number_people(people: Sequence[str]) -> tuple[Counts, Counts]:
    """(N,) the number of each photo's person, and (P,) how many photos each has."""
    _, codes, n_photos = np.unique(
        np.array(people, dtype=object), return_inverse=True, return_counts=True
    )
    return codes.astype(np.int64), n_photos.astype(np.int64)


def _center(unit: Doubles, codes: Counts, n_people: int) -> Doubles:
    """(P, D) unit vectors; zeros where a person's photos cancel out."""
    sums = np.zeros((n_people, unit.shape[1]))
    np.add.at(sums, codes, unit)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centers: Doubles = sums / np.where(lengths > 0, lengths, 1.0)
    return centers


def _nearest_angles(centers: Doubles) -> Doubles:
    best = np.empty(len(centers))
    step = max(1, _BLOCK // len(centers))
    for start in range(0, len(centers), step):
        cosines = centers[start : start + step] @ centers.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        best[start : start + step] = cosines.max(axis=1)
    return _angles(best)


def _angles(cosines: Doubles) -> Doubles:
    angles: Doubles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return angles


def _eigenvalues(unit: Doubles) -> Doubles:
    """Of the covariance, falling; none is below 0, and all are 0 where the vectors are equal."""
    centered = unit - unit.mean(axis=0)
    if float(np.einsum("nd,nd->", centered, centered)) <= _EQUAL * len(unit):
        return np.zeros(unit.shape[1])
    values: Doubles = np.linalg.eigvalsh(centered.T @ centered / len(unit))[::-1]
    return np.maximum(values, 0)


def _effective_rank(eigenvalues: Doubles) -> float:
    total = eigenvalues.sum()
    if not total > 0:
        return 0.0
    shares = eigenvalues[eigenvalues > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _participation(eigenvalues: Doubles) -> float:
    squares = float((eigenvalues**2).sum())
    return float(eigenvalues.sum()) ** 2 / squares if squares > 0 else 0.0


def _count_axes(eigenvalues: Doubles, share: float) -> int:
    total = eigenvalues.sum()
    if not total > 0:
        return 0
    return int(np.searchsorted(np.cumsum(eigenvalues), share * total * (1 - 1e-12))) + 1


def _show(spread: Spread | None, absent: str = "", digits: int = 4) -> str:
    if spread is None:
        return absent
    parts = (f"{part:.{digits}f}" for part in (spread.mean, spread.std, spread.min, spread.max))
    mean, std, low, high = parts
    return f"{mean} ± {std}, {low} to {high}"
