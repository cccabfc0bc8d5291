"""Bring the tables of a gallery up to date. The only importer of Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from arcwise.errors import GalleryError


def migrate(connection: Connection) -> None:
    """Run every migration that a gallery lacks, inside the transaction of `connection`.

    Raises:
        GalleryError: its schema is none that this arcwise knows.
    """
    config = Config()
    config.set_main_option("script_location", "arcwise.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise GalleryError(
            f"the gallery has a schema that is unknown: {exc}",
            hint="restore it from a backup, or choose another path; nothing was changed",
        ) from exc
