"""The tables of a gallery, as the newest migration leaves them.

Migrations are written by hand and never import this; a test compares the two. `revisions` and
`removals` tell an index what to do and hold nothing about a person.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = "0001"
"""The newest migration: four digits, so that later ones compare greater."""
APPLICATION_ID = 0x41524357
"""Marks the file in its SQLite header: "ARCW"."""

METADATA = MetaData()

META = Table(
    "meta",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True),
    Column("model_digest", Text),
    Column("model_name", Text),
    Column("dimension", Integer),
    Column("detector_name", Text),
    Column("detector_digest", Text),
    Column("created_at", Text, nullable=False),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("token", Text, nullable=False),
)

PEOPLE = Table(
    "people",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Text, nullable=False),
    sqlite_autoincrement=True,
)

TEMPLATES = Table(
    "templates",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("person_id", Integer, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("norm", Float, nullable=False),
    Column("photo_digest", Text, nullable=False),
    Column("quality", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    UniqueConstraint("person_id", "photo_digest"),
    Index("templates_by_photo", "photo_digest"),
    Index("templates_by_revision", "revision"),
    sqlite_autoincrement=True,
)

REMOVALS = Table(
    "removals",
    METADATA,
    Column("template_id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Index("removals_by_revision", "revision"),
)
