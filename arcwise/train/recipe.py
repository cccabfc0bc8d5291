"""Recipes as text: YAML of plain kinds, read and written so that nothing is lost or guessed.

It does not know which keys there are. Plain words are read as version 1.2 of YAML has them: 5e-4
is a number, `no` a word (in PyYAML's 1.1 neither is). A key that comes twice is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from arcwise.errors import SettingsError

_HINT = "docs/config.md lists every key"


class _Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """The safe loader, where a key may not come twice and only plain kinds exist."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as PyYAML declares it

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} comes twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]
    """The safe dumper, which quotes what `_Loader` would take for a number, or break a line at."""

    def represent_str(self, text: str) -> Any:
        return self.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_TAG = "tag:yaml.org,2002:"
for _kind, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]{0,17})",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), None)
_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.yaml_constructors = {None: yaml.SafeLoader.yaml_constructors[None]} | {
    _TAG + kind: yaml.SafeLoader.yaml_constructors[_TAG + kind]
    for kind in ("null", "bool", "int", "float", "str", "seq", "map")
}


def write_yaml(values: Any) -> str:
    """Values as text, in their order; `read_yaml` makes equal values of it."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read_yaml(content: bytes, origin: str) -> Any:
    """Values of a text.

    Args:
        content: UTF-8.
        origin: what to call it in an error.

    Raises:
        SettingsError: not YAML, of another encoding, or with a key twice.
    """
    try:
        return yaml.load(content, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.reader.ReaderError as exc:
        before = content[: exc.position].split(b"\n")
        place = f"line {len(before)}, column {len(before[-1]) + 1}"
        raise SettingsError(f"{origin}, {place}: {exc.reason}", hint="use UTF-8 text") from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        why = ", ".join(filter(None, (exc.context, exc.problem)))
        raise SettingsError(f"{origin}, {place}: {why}", hint=_HINT) from exc
    except (KeyError, ValueError, RecursionError) as exc:  # a tag on what it is not; too deep
        raise SettingsError(f"{origin} is no YAML we can read: {exc}", hint=_HINT) from exc
