"""Bring the tables of a gallery up to date. The only importer of Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def migrate(connection: Connection) -> None:
    """Run every migration that a gallery lacks, inside the transaction of `connection`."""
    config = Config()
    config.set_main_option("script_location", "arcwise.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
