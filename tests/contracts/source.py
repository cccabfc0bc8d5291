"""The source of the package as the contract tests read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "arcwise"


@dataclass(frozen=True)
class Module:
    """One file of the package: its path below the package ("zoo/card.py"), text and tree."""

    place: str
    text: str
    tree: ast.Module


def read_modules() -> list[Module]:
    files = sorted(PACKAGE.rglob("*.py"))
    texts = [(file.relative_to(PACKAGE).as_posix(), file.read_text()) for file in files]
    return [Module(place, text, ast.parse(text)) for place, text in texts]


def imported_names(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import below a node with the module it names."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            for alias in part.names:
                yield part, alias.name
        elif isinstance(part, ast.ImportFrom) and part.module:
            yield part, part.module


def read_docs() -> str:
    """All documentation as one text."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text() for page in pages)
