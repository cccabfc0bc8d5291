"""The parameters of an MXNet model: found by name, given out in float32 when they fit.

It does not know what a layer does with them, nor how they lie in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.convert.ndarrays import read_ndarrays
from arcwise.convert.symbol import Node
from arcwise.errors import CheckpointError
from arcwise.types import Floats

_OTHER_MODEL = "the .params file belongs to another model, or to another part of its training"


class Weights:
    """Parameters by the names the graph uses.

    Args:
        arrays: by the names of the file, such as "arg:fc1_weight" and "aux:fc1_moving_mean".
        origin: the file, for messages.

    Raises:
        CheckpointError: a name without "arg:" or "aux:", or one name in both.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], origin: Path) -> None:
        self.origin = origin
        self._arrays: dict[str, NDArray[Any]] = {}
        for full_name, array in arrays.items():
            kind, _, name = full_name.partition(":")
            if kind not in ("arg", "aux") or not name:
                raise CheckpointError(
                    f"{origin} names a parameter {full_name!r}, without arg: or aux:",
                    hint="Gluon's save_parameters writes such names; save with net.export",
                )
            if name in self._arrays:
                raise CheckpointError(f"{origin} holds {name} as arg: and as aux:")
            self._arrays[name] = array

    @classmethod
    def from_file(cls, path: Path) -> Weights:
        """Read a .params file.

        Raises:
            CheckpointError: as for `read_ndarrays` and the class.
            InputError: the file cannot be read.
        """
        return cls(read_ndarrays(path), path)

    def check_names(self, wanted: Iterable[str]) -> None:
        """Make sure that none of these is missing.

        Raises:
            CheckpointError: some are.
        """
        names = list(wanted)
        missing = [name for name in names if name not in self._arrays]
        if missing:
            some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            raise CheckpointError(
                f"{self.origin} lacks {len(missing)} of the {len(names)} parameters "
                f"of the graph: {some}",
                hint=_OTHER_MODEL,
            )

    def names_besides(self, used: Iterable[str]) -> list[str]:
        """Sorted names of the parameters that are none of these."""
        return sorted(self._arrays.keys() - set(used))

    def take(self, node: Node, at: int, shape: tuple[int, ...]) -> Floats:
        """One parameter of a node.

        Args:
            node: whose parameter it is.
            at: its place among the node's inputs.
            shape: what it must have.

        Returns:
            Its values, float32 in that shape.

        Raises:
            CheckpointError: the node has no such input, it is computed and no parameter, it has
                another shape, is not of floats, or holds values that are not finite.
        """
        if at >= len(node.inputs):
            raise CheckpointError(f"{node} has {len(node.inputs)} inputs, it needs {at + 1}")
        name = node.inputs[at]
        if name not in self._arrays:
            raise CheckpointError(f"{node} takes {name}, which is computed, as a parameter")
        array = self._arrays[name]
        if array.shape != shape:
            raise CheckpointError(
                f"{name} has the shape {array.shape}, {node} wants {shape}",
                hint=f"{_OTHER_MODEL}; or its crops have another size than the contract says",
            )
        if array.dtype.kind != "f" or not array.size:
            raise CheckpointError(f"{name} is {array.dtype} {shape}, {node} wants floats")
        with np.errstate(over="ignore"):  # a float64 too large for float32 is refused below
            values = array.astype(np.float32)
        n_wrong = int(values.size - np.isfinite(values).sum())
        if n_wrong:
            raise CheckpointError(
                f"{n_wrong} of the {values.size} values of {name} are not finite in float32",
                hint="the training of this model diverged, or the file is damaged",
            )
        return values
