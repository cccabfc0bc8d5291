"""The truth about a gallery: people, templates and the count of changes, in one SQLite file."""

from arcwise.store.records import Changes, NewTemplate, Stamp
from arcwise.store.sql import SQLStore

__all__ = ["Changes", "NewTemplate", "SQLStore", "Stamp"]
