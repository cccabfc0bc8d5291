"""The truth about a gallery: people, templates and the count of changes, in one SQLite file."""

from arcwise.store.records import Changes, NewTemplate, Revision, Stamp
from arcwise.store.sql import SQLStore

__all__ = ["Changes", "NewTemplate", "Revision", "SQLStore", "Stamp"]
