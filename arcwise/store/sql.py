"""People and templates in SQLite: the truth that every index is rebuilt from.

It does not know photos, models or similarity, and it does not judge names. Every change counts
the revision up in the same transaction, so that an index elsewhere can follow; each revision has
a random token, so that an index notices when the file was replaced. Safe from several threads and
processes at once, also after a fork: see `arcwise.store.database`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from arcwise.errors import DuplicatePersonError, GalleryError, InputError, UnknownPersonError
from arcwise.store.database import Database
from arcwise.store.records import Changes, NewTemplate, Revision, Stamp
from arcwise.store.tables import META, PEOPLE, REMOVALS, REVISIONS, TEMPLATES
from arcwise.types import Person

_MAX_VARIABLES = 900  # older SQLite allows 999 in one statement
_WAIT_S = 5.0

T = TypeVar("T")


class SQLStore:
    """One gallery file. Made by `SQLStore.open`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path | str, *, create: bool = True, timeout_s: float = _WAIT_S) -> SQLStore:
        """Open a gallery file, or make one that only its owner can read.

        Args:
            path: of the file; "~" is your home.
            create: make a missing or empty file a gallery; else it is an error.
            timeout_s: how long any operation waits for the lock of another process.

        Raises:
            GalleryError: it is missing, no regular file, not a gallery, made by a newer arcwise, or
                unreadable.
            GalleryLockedError: another process held it for longer than `timeout_s`.
        """
        database = Database(_expand_home(Path(path)), timeout_s=timeout_s)
        database.prepare(create=create)
        return cls(database)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def check(self) -> None:
        """Read the whole file and compare it with itself; takes as long as reading it.

        Raises:
            GalleryError: it is damaged.
        """
        self._database.check()

    def revision(self) -> Revision:
        """How often the gallery changed, and the token of the last change."""
        with self._database.reading() as connection:
            return _read_revision(connection)

    def stamp(self) -> Stamp | None:
        """The models that filled the gallery, or None while it holds no template."""
        with self._database.reading() as connection:
            return _read_stamp(connection)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        with self._database.reading() as connection:
            return _read_people(connection)

    def find_person(self, name: str) -> Person | None:
        """The person of that name, or None."""
        with self._database.reading() as connection:
            return _find(connection, name)

    def names(self, person_ids: Iterable[int], revision: Revision) -> dict[int, str]:
        """Names by id.

        Args:
            person_ids: any number.
            revision: of the gallery that gave these ids.

        Returns:
            Who is not in the gallery (any more) is missing. So is everybody when `revision` is not
            in the past of this gallery: the file was replaced, and the ids are those of others.
        """
        found: dict[int, str] = {}
        with self._database.reading() as connection:
            if not _has_revision(connection, revision):
                return found
            for some in _portions(sorted(set(person_ids))):
                query = select(PEOPLE.c.id, PEOPLE.c.name).where(PEOPLE.c.id.in_(some))
                found.update((row.id, row.name) for row in connection.execute(query))
        return found

    def photo_owners(self, photo_digests: Iterable[str]) -> dict[str, str]:
        """Who was enrolled from which photo: names by digest, for the photos that were."""
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            for some in _portions(sorted(set(photo_digests))):
                query = (
                    select(TEMPLATES.c.photo_digest, PEOPLE.c.name)
                    .join(PEOPLE, PEOPLE.c.id == TEMPLATES.c.person_id)
                    .where(TEMPLATES.c.photo_digest.in_(some))
                    .order_by(TEMPLATES.c.id)
                )
                found.update((row.photo_digest, row.name) for row in connection.execute(query))
        return found

    def add_templates(self, name: str, templates: Sequence[NewTemplate], stamp: Stamp) -> Person:
        """Remember faces of one person, who is made when new; all of them or none.

        The first template binds the gallery to its models, for as long as it holds any.

        Args:
            name: of the person.
            templates: at least one; a photo the person already has is passed over.
            stamp: the models that made them.

        Returns:
            The person as they are now.

        Raises:
            InputError: there are no templates, or one has another dimension than the model.
            ModelMismatchError: another model filled the gallery.
            GalleryError: the gallery cannot be written.
        """
        _check_templates(name, templates, stamp)
        with self._database.writing() as connection:
            _bind(connection, stamp)
            person = _find(connection, name)
            known = set(_read_photos(connection, person.id)) if person else set()
            fresh = {t.photo_digest: t for t in templates if t.photo_digest not in known}
            if fresh:
                person_id = person.id if person else _insert_person(connection, name)
                _insert_templates(connection, person_id, fresh.values())
            return _require(connection, name)

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            UnknownPersonError: nobody is called `old`.
            DuplicatePersonError: somebody else is called `new`.
        """
        with self._database.writing() as connection:
            person = _require(connection, old)
            if old != new:
                if _find(connection, new) is not None:
                    raise DuplicatePersonError(
                        f"{new!r} is in the gallery already",
                        hint="choose another name, or merge the two if they are one person",
                    )
                rows = update(PEOPLE).where(PEOPLE.c.id == person.id)
                connection.execute(rows.values(name=new))
                _next_revision(connection)
            return _require(connection, new)

    def merge(self, into: str, other: str) -> Person:
        """Make two people one: the templates of `other` go to `into`, and `other` is gone.

        Raises:
            InputError: both are the same.
            UnknownPersonError: one of them is not in the gallery.
        """
        if into == other:
            raise InputError(f"cannot merge {into!r} with itself")
        with self._database.writing() as connection:
            kept, gone = _require(connection, into), _require(connection, other)
            revision = _next_revision(connection)
            has = select(TEMPLATES.c.photo_digest).where(TEMPLATES.c.person_id == kept.id)
            moving = update(TEMPLATES).where(
                TEMPLATES.c.person_id == gone.id, TEMPLATES.c.photo_digest.not_in(has)
            )
            connection.execute(moving.values(person_id=kept.id, revision=revision))
            _delete_person(connection, gone.id, revision)
            return _require(connection, into)

    def forget(self, name: str) -> Person:
        """Delete a person and every template; the bytes are overwritten in the file.

        Returns:
            The person as they were; `n_templates` is how many were deleted.

        Raises:
            UnknownPersonError: nobody of that name.
        """
        return self.forget_many([name])[0]

    def forget_many(self, names: Iterable[str]) -> list[Person]:
        """Delete people and all their templates: all of them, or nobody when a name is unknown.

        Args:
            names: one that is given twice counts once.

        Returns:
            The people as they were, in the order of `names`.

        Raises:
            UnknownPersonError: nobody has one of the names.
        """
        with self._database.writing() as connection:
            people = [_require(connection, name) for name in dict.fromkeys(names)]
            if people:
                revision = _next_revision(connection)
                for person in people:
                    _delete_person(connection, person.id, revision)
            return people

    def changes_since(self, revision: Revision | None) -> Changes:
        """What happened after a revision, read in one transaction.

        Args:
            revision: None for everything; so is one that is not in the past of this gallery.
        """
        with self._database.reading() as connection:
            known = revision if revision and _has_revision(connection, revision) else None
            number = known.number if known else 0
            stamp, now = _read_stamp(connection), _read_revision(connection)
            query = select(TEMPLATES.c.id, TEMPLATES.c.person_id, TEMPLATES.c.vector)
            rows = connection.execute(
                query.where(TEMPLATES.c.revision > number).order_by(TEMPLATES.c.id)
            ).all()
            removed = connection.scalars(
                select(REMOVALS.c.template_id).where(REMOVALS.c.revision > number)
            ).all()
        vectors = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
        return Changes(
            revision=now,
            stamp=stamp,
            is_everything=known is None,
            ids=np.array([row.id for row in rows], np.int64),
            person_ids=np.array([row.person_id for row in rows], np.int64),
            vectors=vectors.astype(np.float32).reshape(len(rows), stamp.dimension if stamp else 0),
            removed=np.array(removed, np.int64),
        )


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as exc:  # "~somebody" whom the system does not know
        raise GalleryError(f"no gallery at {path}: {exc}", hint="give the full path") from exc


def _read_people(connection: Connection, *conditions: ColumnElement[bool]) -> list[Person]:
    query = (
        select(PEOPLE.c.id, PEOPLE.c.name, func.count(TEMPLATES.c.id), PEOPLE.c.created_at)
        .join(TEMPLATES, TEMPLATES.c.person_id == PEOPLE.c.id, isouter=True)
        .where(*conditions)
        .group_by(PEOPLE.c.id)
        .order_by(PEOPLE.c.name)
    )
    return [Person(*row) for row in connection.execute(query)]


def _find(connection: Connection, name: str) -> Person | None:
    found = _read_people(connection, PEOPLE.c.name == name)
    return found[0] if found else None


def _require(connection: Connection, name: str) -> Person:
    person = _find(connection, name)
    if person is None:
        raise UnknownPersonError(
            f"nobody called {name!r} is in the gallery",
            hint="check the spelling against the list of people",
        )
    return person


def _read_stamp(connection: Connection) -> Stamp | None:
    row = connection.execute(
        select(
            META.c.model_digest,
            META.c.model_name,
            META.c.dimension,
            META.c.detector_name,
            META.c.detector_digest,
        ).where(exists(select(TEMPLATES.c.id)))  # without templates it belongs to no model
    ).one_or_none()
    return None if row is None else Stamp(*row)


def _bind(connection: Connection, stamp: Stamp) -> None:
    """Refuse another model than that of the templates; without templates take any."""
    present = _read_stamp(connection)
    if present is None:
        connection.execute(update(META).values(**asdict(stamp)))
    else:
        present.check_model(stamp)


def _check_templates(name: str, templates: Sequence[NewTemplate], stamp: Stamp) -> None:
    if not templates:
        raise InputError(f"no templates for {name!r}")
    for template in templates:
        if len(template.vector) != stamp.dimension:
            raise InputError(
                f"a template of {name!r} has {len(template.vector)} dimensions, "
                f"model {stamp.model_name} gives {stamp.dimension}"
            )


def _read_revision(connection: Connection) -> Revision:
    query = select(REVISIONS.c.number, REVISIONS.c.token).order_by(REVISIONS.c.number.desc())
    return Revision(*connection.execute(query.limit(1)).one())


def _has_revision(connection: Connection, revision: Revision) -> bool:
    """Whether the gallery is, or once was, in this state."""
    query = select(REVISIONS.c.token).where(REVISIONS.c.number == revision.number)
    return connection.execute(query).scalar() == revision.token


def _next_revision(connection: Connection) -> int:
    number = _read_revision(connection).number + 1
    connection.execute(insert(REVISIONS).values(number=number, token=secrets.token_hex(16)))
    return number


def _read_photos(connection: Connection, person_id: int) -> list[str]:
    query = select(TEMPLATES.c.photo_digest).where(TEMPLATES.c.person_id == person_id)
    return list(connection.scalars(query))


def _insert_person(connection: Connection, name: str) -> int:
    connection.execute(insert(PEOPLE).values(name=name, created_at=_now()))
    return int(connection.execute(select(PEOPLE.c.id).where(PEOPLE.c.name == name)).scalar_one())


def _insert_templates(
    connection: Connection, person_id: int, templates: Iterable[NewTemplate]
) -> None:
    revision, now = _next_revision(connection), _now()
    rows = [
        {
            "person_id": person_id,
            "vector": template.to_bytes(),
            "norm": template.norm,
            "photo_digest": template.photo_digest,
            "quality": json.dumps(dict(template.quality), separators=(",", ":")),
            "revision": revision,
            "created_at": now,
        }
        for template in templates
    ]
    connection.execute(insert(TEMPLATES), rows)


def _delete_person(connection: Connection, person_id: int, revision: int) -> None:
    """Delete a person and what templates are left of them; note which for every index."""
    theirs = select(TEMPLATES.c.id, literal(revision)).where(TEMPLATES.c.person_id == person_id)
    connection.execute(insert(REMOVALS).from_select(["template_id", "revision"], theirs))
    connection.execute(delete(PEOPLE).where(PEOPLE.c.id == person_id))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _portions(values: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(islice(rest, _MAX_VARIABLES)):
        yield some
