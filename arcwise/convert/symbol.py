"""Read the graph that MXNet writes as JSON (`model-symbol.json`).

It does not know what an operator does; that is `arcwise.convert.layers`. The nodes are named
instead of numbered, and only those the output needs are kept.

Source: SaveJSON of NNVM; what older files lack, from src/nnvm/legacy_json_util.cc of Apache MXNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from arcwise.errors import CheckpointError
from arcwise.files import read_bytes

_MAX_FLOAT32 = float(np.finfo(np.float32).max)

VARIABLE = "null"
"""The operator of a node that computes nothing: the input or a parameter."""

_NUMBER = r"\s*-?\d{1,9}L?\s*"  # Python 2 wrote 3L
_NUMBERS = re.compile(rf"[(\[]?({_NUMBER}(,{_NUMBER})*,?)?\s*[)\]]?")


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the graph, or one variable.

    Attributes:
        op: the operator, such as Convolution; "null" is a variable.
        name: of the node, and of what it computes.
        attributes: as written: texts.
        inputs: names of the nodes it takes, in the operator's order.
    """

    op: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[str, ...]

    def __str__(self) -> str:
        return f"node {self.name} ({self.op})"

    def get_text(self, key: str, default: str) -> str:
        """An attribute as text; an absent one and "None" are the default."""
        value = self.attributes.get(key, "None")
        return default if value == "None" else value

    def get_int(self, key: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            CheckpointError: it is not one, or absent without a default.
        """
        return self._only(key, self.get_ints(key, () if default is None else (default,)), 1)[0]

    def get_ints(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Whole numbers, as in "(3, 3)"; an empty tuple is the default.

        Raises:
            CheckpointError: they are not whole numbers.
        """
        text = self.get_text(key, "")
        if not _NUMBERS.fullmatch(text):
            raise self._wrong(key, text)
        return tuple(int(number) for number in re.findall(r"-?\d+", text)) or default

    def get_pair(self, key: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Two whole numbers, for height and width.

        Raises:
            CheckpointError: there are not two, or none and no default.
        """
        found = self._only(key, self.get_ints(key, default or ()), 2)
        return found[0], found[1]

    def get_float(self, key: str, default: float | None = None) -> float:
        """A number that float32 can hold.

        Raises:
            CheckpointError: it is not one, or absent without a default.
        """
        text = self.get_text(key, "" if default is None else str(default))
        try:
            number = float(text)
        except ValueError as exc:
            raise self._wrong(key, text) from exc
        if not abs(number) <= _MAX_FLOAT32:  # not a number is refused, too
            raise self._wrong(key, text)
        return number

    def get_bool(self, key: str, default: bool) -> bool:
        """Yes or no.

        Raises:
            CheckpointError: it is neither.
        """
        text = self.get_text(key, str(default))
        if text not in ("True", "true", "1", "False", "false", "0"):
            raise self._wrong(key, text)
        return text in ("True", "true", "1")

    def require(self, key: str, *allowed: str) -> None:
        """Make sure that an attribute is absent or one of these.

        Raises:
            CheckpointError: it is something else.
        """
        if self.get_text(key, allowed[0]) not in allowed:
            raise self._wrong(key, self.attributes[key])

    def _only(self, key: str, numbers: tuple[int, ...], n_wanted: int) -> tuple[int, ...]:
        if len(numbers) != n_wanted:
            raise self._wrong(key, self.get_text(key, ""))
        return numbers

    def _wrong(self, key: str, text: str) -> CheckpointError:
        return CheckpointError(
            f"{self} has {key}={text!r}, which cannot be converted"
            if text
            else f"{self} lacks the attribute {key}",
            hint="docs/convert.md lists what each operator may have",
        )


@dataclass(frozen=True, slots=True)
class Symbol:
    """A graph with one output.

    Attributes:
        nodes: those the output needs, each after the ones it takes.
        output: name of the node whose result is the output.
    """

    nodes: tuple[Node, ...]
    output: str


class _RawNode(BaseModel):
    op: str
    name: str = Field(min_length=1)
    inputs: list[list[int]] = Field(default_factory=list)
    attrs: dict[str, str] = Field(default_factory=dict)  # MXNet 1
    attr: dict[str, str] = Field(default_factory=dict)  # MXNet 0.9 to 0.12
    param: dict[str, str] = Field(default_factory=dict)  # before that, beside the user's "attr"


class _RawSymbol(BaseModel):
    nodes: list[_RawNode] = Field(min_length=1)
    heads: list[list[int]]


def read_symbol(path: Path | str) -> Symbol:
    """Read a graph.

    Args:
        path: the file, usually `NAME-symbol.json`.

    Raises:
        CheckpointError: not JSON, not a graph, two nodes of one name, or not exactly one output.
        InputError: the file cannot be read.

    Source: as the module.
    """
    path = Path(path)
    try:
        raw = _RawSymbol.model_validate_json(read_bytes(path))
    except ValidationError as exc:
        problem = exc.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise CheckpointError(
            f"{path} is not an MXNet graph: {place}: {problem['msg']}",
            hint="give the model-symbol.json that belongs to the .params file",
        ) from exc
    if len(raw.heads) != 1:
        raise CheckpointError(
            f"{path} has {len(raw.heads)} outputs, an embedding model has one",
            hint="save the internal output of the embedding only, such as fc1_output",
        )
    nodes = [_read_node(raw, k, path) for k in range(len(raw.nodes))]
    head = _follow(raw, raw.heads[0], len(nodes), path)
    return Symbol(_needed(raw, nodes, head, path), nodes[head].name)


def _follow(raw: _RawSymbol, link: list[int], before: int, path: Path) -> int:
    """Number of the node that a link [node, output, version] means; it must come earlier."""
    if len(link) < 2 or not 0 <= link[0] < before:
        raise CheckpointError(f"{path} is not an MXNet graph: a link {link} leads nowhere")
    if link[1] != 0:
        raise CheckpointError(
            f"{path} takes output {link[1]} of node {raw.nodes[link[0]].name}: "
            "only the first output of a node can be converted"
        )
    return link[0]


def _read_node(raw: _RawSymbol, number: int, path: Path) -> Node:
    node = raw.nodes[number]
    inputs = [raw.nodes[_follow(raw, [*link[:1], 0], number, path)].name for link in node.inputs]
    if node.op == "BatchNorm" and len(inputs) == 3:  # before 0.9 its statistics were not listed
        inputs += [f"{node.name}_moving_mean", f"{node.name}_moving_var"]
    return Node(node.op, node.name, {**node.attr, **node.attrs, **node.param}, tuple(inputs))


def _needed(raw: _RawSymbol, nodes: list[Node], head: int, path: Path) -> tuple[Node, ...]:
    """The nodes that lead to the head: a cut graph may still hold the training loss."""
    needed = {head}
    for number in range(head, -1, -1):
        if number in needed:
            needed.update(_follow(raw, link, number, path) for link in raw.nodes[number].inputs)
    kept = tuple(nodes[number] for number in sorted(needed))
    names = [node.name for node in kept]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CheckpointError(f"{path} has two nodes of the name {twice}")
    return kept
