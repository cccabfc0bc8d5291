from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from arcwise.store import SQLStore
from arcwise.store.database import Database
from arcwise.store.migrate import migrate
from arcwise.store.tables import APPLICATION_ID, METADATA, SCHEMA


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
