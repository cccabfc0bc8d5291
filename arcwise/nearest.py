"""The people nearest to a face: an index that follows its store, whichever process changes it.

It does not know photos, thresholds or what an answer is; gallery.py decides. Whoever was
forgotten before a search returned is not in its answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from threading import Lock

from arcwise.errors import GalleryLockedError
from arcwise.index import ExactIndex
from arcwise.store import Revision, SQLStore, Stamp
from arcwise.types import Floats

_MAX_SEARCHES = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person a face may be, and the similarity to the nearest of their templates."""

    person_id: int
    name: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a search found.

    Attributes:
        rows: for each face the two nearest people, nearest first; fewer in a small gallery.
        n_people: how many people were searched.
    """

    rows: tuple[tuple[Candidate, ...], ...]
    n_people: int


class NearestPeople:
    """The index of one gallery. Safe to use from several threads.

    Args:
        store: what to follow.
        stamp: the models in use; a store that another model filled is refused.
    """

    def __init__(self, store: SQLStore, stamp: Stamp) -> None:
        self._store = store
        self._stamp = stamp
        self._is_detector_told = False
        self._lock = Lock()
        self._start()

    def rank(self, vectors: Floats) -> Ranking:
        """The two nearest people of each face, as of now.

        Args:
            vectors: (N, D) float32 of norm 1.

        Raises:
            ModelMismatchError: another model filled the gallery.
            InputError: a vector has another dimension or is not finite.
            GalleryLockedError: the gallery changes faster than it can be searched.
        """
        for _ in range(_MAX_SEARCHES):
            with self._lock:
                revision = self._follow()
                rows = self._search(vectors)
                n_people = len(self._sizes)
            # Names are read last: who was forgotten since the search began has none, nor has
            # anybody when the file was replaced. Then the search is done again.
            ids = {person_id for row in rows for person_id in row}
            names = self._store.names(ids, revision)
            if ids == names.keys():
                return Ranking(
                    rows=tuple(
                        tuple(Candidate(one, names[one], value) for one, value in row.items())
                        for row in rows
                    ),
                    n_people=n_people,
                )
        raise GalleryLockedError(
            f"the gallery is changing too fast: in each of {_MAX_SEARCHES} searches somebody who "
            "was found had gone before their name could be read",
            hint="wait until the other process has finished, then try again",
        )

    def check_models(self) -> None:
        """Refuse another embedding model; warn, once, about another detector.

        Raises:
            ModelMismatchError: another model filled the gallery.
        """
        present = self._store.stamp()
        if present is not None:
            self._check_stamp(present)

    def _check_stamp(self, present: Stamp) -> None:
        present.check_model(self._stamp)
        if present.detector_digest != self._stamp.detector_digest and not self._is_detector_told:
            self._is_detector_told = True
            _log.warning(
                "the gallery was filled with detector %s (%s), this is %s (%s): it may place the "
                "five points a little differently, and similarities may be lower",
                present.detector_name,
                present.detector_digest[:12],
                self._stamp.detector_name,
                self._stamp.detector_digest[:12],
            )

    def _start(self) -> None:
        self._index = ExactIndex(self._stamp.dimension)
        self._owners: dict[int, int] = {}  # person id by template id
        self._sizes: Counter[int] = Counter()  # templates by person id
        self._revision: Revision | None = None

    def _follow(self) -> Revision:
        """Apply what changed since the last search. Cut off in the middle, it can be repeated.

        Returns:
            The revision the index is at now.
        """
        revision = self._store.revision()
        if revision == self._revision:
            return revision
        changes = self._store.changes_since(self._revision)
        if changes.stamp is not None:
            self._check_stamp(changes.stamp)
        if changes.is_everything:  # the first search, or the file was replaced
            self._start()
        self._index.remove(changes.removed)
        for template_id in changes.removed.tolist():
            self._owners.pop(template_id, None)
        if len(changes.ids):
            self._index.remove(changes.ids)  # a merge gave some to another person
            self._index.add(changes.ids, changes.vectors)
        self._owners.update(zip(changes.ids.tolist(), changes.person_ids.tolist(), strict=True))
        self._sizes = Counter(self._owners.values())
        self._revision = changes.revision
        return changes.revision

    def _search(self, vectors: Floats) -> list[dict[int, float]]:
        """For each vector the two nearest people: similarity by person id, nearest first."""
        # One person can fill at most so many places, so the next one belongs to somebody else.
        k = max(self._sizes.values(), default=0) + 1
        hits = self._index.search(vectors, k)
        rows: list[dict[int, float]] = []
        for ids, similarities in zip(hits.ids.tolist(), hits.similarities.tolist(), strict=True):
            row: dict[int, float] = {}
            for template_id, similarity in zip(ids, similarities, strict=True):
                if template_id < 0 or len(row) == 2:
                    break
                row.setdefault(self._owners[template_id], similarity)
            rows.append(row)
        return rows
