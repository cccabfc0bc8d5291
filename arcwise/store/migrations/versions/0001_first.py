"""The first schema: meta, revisions, people, templates, removals."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

# Not released before 0.1.0; never edit it after: galleries of users have run it. Write a new
# migration instead. A test freezes what it makes.
revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(f"PRAGMA application_id = {0x41524357}")
    meta = op.create_table(
        "meta",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="one_row"), primary_key=True),
        sa.Column("model_digest", sa.Text),
        sa.Column("model_name", sa.Text),
        sa.Column("dimension", sa.Integer),
        sa.Column("detector_name", sa.Text),
        sa.Column("detector_digest", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    op.bulk_insert(meta, [{"id": 1, "created_at": now}])
    revisions = op.create_table(
        "revisions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text, nullable=False),
    )
    # the first token is random as well: no two galleries have a revision in common
    op.bulk_insert(revisions, [{"number": 0, "token": secrets.token_hex(16)}])
    op.create_table(
        "people",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    person = sa.ForeignKey("people.id", ondelete="CASCADE")
    op.create_table(
        "templates",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("person_id", sa.Integer, person, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("norm", sa.Float, nullable=False),
        sa.Column("photo_digest", sa.Text, nullable=False),
        sa.Column("quality", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("person_id", "photo_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("templates_by_photo", "templates", ["photo_digest"])
    op.create_index("templates_by_revision", "templates", ["revision"])
    op.create_table(
        "removals",
        sa.Column("template_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("removals_by_revision", "removals", ["revision"])
