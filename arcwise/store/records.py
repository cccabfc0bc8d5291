"""The values that go into a store and come out of it: frozen, checked when made.

They do not know SQL. A vector is stored as float32, little endian, of norm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError, ModelMismatchError
from arcwise.types import Floats

_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which models filled a gallery.

    Attributes:
        model_digest: of the embedding model; another one is refused.
        model_name: for people.
        dimension: length of every vector.
        detector_name, detector_digest: for the record; another detector is only warned about.
    """

    model_digest: str
    model_name: str
    dimension: int
    detector_name: str
    detector_digest: str

    def check_model(self, other: Stamp) -> None:
        """Refuse another embedding model.

        Args:
            other: the models in use now.

        Raises:
            ModelMismatchError: its model digest differs from this one.
        """
        if other.model_digest != self.model_digest:
            raise ModelMismatchError(
                f"the gallery was filled by model {self.model_name} "
                f"({self.model_digest[:12]}), this is {other.model_name} "
                f"({other.model_digest[:12]}): their embeddings cannot be compared",
                hint=f"use model {self.model_name}, or enroll the photos again in a new gallery",
            )


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of one gallery.

    Attributes:
        number: how many changes led to it.
        token: random, drawn with the change. Another gallery, or a copy that was changed on its
            own, can have the number but not the token.
    """

    number: int
    token: str


@dataclass(frozen=True, eq=False, slots=True)
class NewTemplate:
    """One face to remember.

    Attributes:
        vector: (D,) float32 of norm 1.
        norm: length of the raw embedding.
        photo_digest: SHA-256 of the photo's pixels, hex.
        quality: what was measured about the face, by name.
    """

    vector: Floats
    norm: float
    photo_digest: str
    quality: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not abs(length - 1.0) <= _NORM_TOLERANCE:
            raise InputError(
                f"a template must be one vector of norm 1, got shape {vector.shape}, norm {length}"
            )
        if not self.photo_digest:
            raise InputError("a template needs the digest of its photo")
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    def to_bytes(self) -> bytes:
        """The vector as it is stored."""
        return self.vector.astype("<f4").tobytes()


@dataclass(frozen=True, eq=False, slots=True)
class Changes:
    """What an index must do to follow the store.

    Attributes:
        revision: the store's, after these changes.
        stamp: the models of the vectors, or None when the store has none.
        is_everything: the revision asked about is not in the past of this gallery: drop what is
            known and start with these.
        ids: (N,) int64 templates that are new or belong to another person now.
        person_ids: (N,) int64 whose they are.
        vectors: (N, D) float32.
        removed: (R,) int64 templates that are gone.
    """

    revision: Revision
    stamp: Stamp | None
    is_everything: bool
    ids: NDArray[np.int64]
    person_ids: NDArray[np.int64]
    vectors: Floats
    removed: NDArray[np.int64]
