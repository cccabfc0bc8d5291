from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from arcwise.store import SQLStore
from arcwise.store.database import Database
from arcwise.store.migrate import migrate
from arcwise.store.tables import APPLICATION_ID, METADATA, SCHEMA

SHA256_OF_0001 = "8a3d83a058cbdd944b7ebe16b2ef65565911bf6be0303fd305849bfa5393ebeb"


def test_the_migrations_end_at_the_schema_that_the_store_expects() -> None:
    config = Config()
    config.set_main_option("script_location", "arcwise.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_the_migrations_make_the_tables_that_the_store_uses(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    SQLStore.open(path)
    with Database(path, timeout_s=1).reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        assert connection.exec_driver_sql("PRAGMA application_id").scalar() == APPLICATION_ID


def test_the_first_migration_makes_what_it_made_when_it_was_released(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.touch()
    config = Config()
    config.set_main_option("script_location", "arcwise.store:migrations")
    with Database(path, timeout_s=1).writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        # Alembic's own table is its own affair, and so is how SQLAlchemy breaks lines
        query = (
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version' "
            "ORDER BY sql"
        )
        made = connection.exec_driver_sql(query).scalars()
        statements = "\n".join(" ".join(statement.split()) for statement in made)
    assert hashlib.sha256(statements.encode()).hexdigest() == SHA256_OF_0001, (
        "migration 0001 is frozen: galleries exist that have run it; undo your change and write a "
        f"new migration instead. It makes now:\n{statements}"
    )


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    SQLStore.open(path)
    content = path.read_bytes()
    with Database(path, timeout_s=1).writing() as connection:
        migrate(connection)
    assert path.read_bytes() == content


def test_a_migration_that_fails_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.touch()

    def migrate_and_stop() -> None:
        with Database(path, timeout_s=1).writing() as connection:
            migrate(connection)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate_and_stop()
    assert path.stat().st_size == 0
    assert SQLStore.open(path).people() == []
