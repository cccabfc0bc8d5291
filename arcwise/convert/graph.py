"""An ONNX graph while it is being built, with the shape of everything in it.

It does not know from which dialect the graph comes, and not what its weights mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

from arcwise.errors import CheckpointError
from arcwise.zoo.card import InputContract

OPSET = 17  # the newest that needs no more than IR 8
IR_VERSION = 8  # of ONNX 1.12; every onnxruntime from 1.12 on reads it
_MAX_BYTES = 2**31 - 1  # Protocol Buffers cannot hold a larger message

Shape = tuple[int, ...]
"""Of one sample: the axis of the batch is left out."""


@dataclass(frozen=True, eq=False, slots=True)
class Converted:
    """What a dialect makes of its files.

    Attributes:
        model: the checked graph, one input and one output, any batch size.
        dimension: length of the embedding.
        input: what the graph eats.
        origin: the files it comes from, with their SHA-256.
        note: anything a user of the model must know.
    """

    model: onnx.ModelProto
    dimension: int
    input: InputContract
    origin: str
    note: str


class Graph:
    """Nodes, weights and shapes of a graph with one input.

    Attributes:
        shapes: of each tensor that depends on the input, without the batch, by name.
    """

    def __init__(self, *, input_name: str, input_shape: Shape) -> None:
        self.shapes: dict[str, Shape] = {input_name: input_shape}
        self._input_name = input_name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, TensorProto] = {}

    def add_node(
        self, op: str, inputs: Sequence[str], output: str, shape: Shape, **attributes: Any
    ) -> None:
        """Add one step; its only output is a tensor of this shape, without the batch."""
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        self.shapes[output] = shape

    def add_weight(self, name: str, values: NDArray[Any]) -> str:
        """Add a weight, float32; one that several nodes share is kept once.

        Raises:
            CheckpointError: there is another weight of that name.
        """
        weight = numpy_helper.from_array(np.asarray(values, np.float32), name)
        if self._weights.setdefault(name, weight) != weight:
            raise CheckpointError(f"two different weights would have the name {name}")
        return name

    def build(self, output: str, *, name: str) -> onnx.ModelProto:
        """The whole model, checked by ONNX.

        Args:
            output: the tensor that is the output; (dimension,) without the batch.
            name: of the graph.

        Raises:
            CheckpointError: it is too large for one file, or ONNX refuses it.
        """
        ends = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", *self.shapes[end]])
            for end in (self._input_name, output)
        ]
        weights = list(self._weights.values())
        n_bytes = sum(len(weight.raw_data) for weight in weights)
        if n_bytes > _MAX_BYTES:
            raise CheckpointError(f"{n_bytes} bytes of weights do not fit into one ONNX file")
        graph = helper.make_graph(self._nodes, name, ends[:1], ends[1:], initializer=weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="arcwise",
        )
        try:
            checker.check_model(model, full_check=True)
        except (checker.ValidationError, shape_inference.InferenceError) as exc:
            raise CheckpointError(f"the converted graph is not valid ONNX: {exc}") from exc
        return model
