"""How alike all faces of some photos are: the matrix, and the pair that is most alike.

It does not know photos or models. Two faces in one photo are two people; so the most alike pair
within one photo shows how low a threshold may not be (system A's check of a group photo).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.compare import Threshold, cosine_similarity
from arcwise.errors import InputError
from arcwise.evaluate.row import Row
from arcwise.types import Floats

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class FaceOf:
    """A face by its photo and its number there, from 1, largest first."""

    photo: str
    number: int

    def __str__(self) -> str:
        return f"{self.photo}#{self.number}"


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two different faces and their similarity, cosine."""

    a: FaceOf
    b: FaceOf
    similarity: float

    def __str__(self) -> str:
        return f"{self.similarity:.4f}, {self.a} and {self.b}"


@dataclass(frozen=True, eq=False, slots=True)
class SimilarityMatrix:
    """All faces against all.

    Attributes:
        faces: N of them.
        similarities: (N, N) float32 cosine, the same both ways, 1 on the diagonal.
        threshold: from which similarity on two faces count as one person.
    """

    faces: tuple[FaceOf, ...]
    similarities: Floats
    threshold: Threshold

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the faces, photo#number."""
        return tuple(map(str, self.faces))

    def most_alike(self, n: int | None = None) -> list[AlikePair]:
        """Pairs of different faces, most alike first, of equal ones the first in order.

        Args:
            n: how many; None for all.
        """
        rows, columns = np.triu_indices(len(self.faces), 1)
        return self._pairs(rows, columns, n)

    def _largest(self) -> AlikePair | None:
        return next(iter(self.most_alike(1)), None)

    def most_alike_within(self) -> AlikePair | None:
        """The most alike two faces of one photo, or None where no photo shows two."""
        photos = np.array([face.photo for face in self.faces])
        rows, columns = np.nonzero(np.triu(photos[:, None] == photos, 1))
        found = self._pairs(rows, columns, 1)
        return found[0] if found else None

    def _pairs(self, rows: Places, columns: Places, n: int | None) -> list[AlikePair]:
        """The most alike of some pairs, given by the places of their faces."""
        found = self.similarities[rows, columns]
        order = np.argsort(-found, kind="stable")[:n]
        return [
            AlikePair(self.faces[rows[k]], self.faces[columns[k]], float(found[k])) for k in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        largest, within = self._largest(), self.most_alike_within()
        return {
            "faces": [asdict(face) for face in self.faces],
            "similarities": self.similarities.tolist(),
            "largest": asdict(largest) if largest else None,
            "largest_within_photo": asdict(within) if within else None,
            "n_matches": self._count_matches(),
            "threshold": asdict(self.threshold),
        }

    def rows(self) -> list[Row]:
        """The numbers with their definitions."""
        largest, within = self._largest(), self.most_alike_within()
        n_pairs = len(self.faces) * (len(self.faces) - 1) // 2
        place = f"{self.threshold.similarity:.4f}"
        return [
            Row("faces", f"{len(self.faces):,}", "all faces of all photos"),
            Row("largest", str(largest or _ONE_FACE), "the most alike two faces"),
            Row("largest within one photo", str(within or _ONE_EACH), _WITHIN),
            Row("threshold", place, self.threshold.why),
            Row(
                "matches",
                f"{self._count_matches():,} of {n_pairs:,} pairs",
                "pairs of faces that reach the threshold: one person by its rule",
            ),
        ]

    def _count_matches(self) -> int:
        above = np.triu(self.similarities >= self.threshold.similarity, 1)
        return int(np.count_nonzero(above))


_ONE_FACE = "n/a: needs two faces"
_ONE_EACH = "n/a: needs a photo with two faces"
_WITHIN = (
    "two faces in one photo are two people: only a threshold above this tells all of them apart"
)


def compare_all(
    faces: Sequence[FaceOf], vectors: Floats, *, threshold: Threshold
) -> SimilarityMatrix:
    """Compare every face with every face.

    Args:
        faces: N of them.
        vectors: (N, D), of any length; one of length 0 is like nothing.
        threshold: from which similarity on two faces count as one person.

    Raises:
        InputError: no face, not one vector each, or a NaN.
    """
    if not faces or len(faces) != len(vectors) or not np.isfinite(vectors).all():
        raise InputError(
            f"cannot compare {len(faces)} faces with vectors of shape {vectors.shape}",
            hint="give one finite vector for each face, at least one",
        )
    similarities = cosine_similarity(vectors, vectors)
    similarities = np.maximum(similarities, similarities.T)  # sums may end in another last digit
    np.fill_diagonal(similarities, 1.0)
    return SimilarityMatrix(tuple(faces), similarities, threshold)
