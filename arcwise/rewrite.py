"""ONNX graphs rewritten so that ONNX Runtime runs them faster on a CPU, with the same answers.

It does not run graphs and does not know what they are for. Measured: docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from arcwise.errors import InputError, SessionError
from arcwise.files import read_bytes

_LEAST_OPSET = 8  # since then Min and Max broadcast (ONNX changelog)


def spell_out_prelu(model: Path | str | bytes) -> Path | str | bytes:
    """Replace every PRelu of constant slopes by two or three plain vector operations.

    The runtime's own PRelu takes about 6 ns for a value, which is half of the time of a
    MobileFaceNet. max(x, a·x) for slopes up to 1 is the same to the last bit;
    x + (a - 1)·min(x, 0) for others is the same up to one rounding.

    Args:
        model: an ONNX file or its bytes.

    Returns:
        The bytes of the rewritten graph; `model` itself when there was nothing to do, when its
        weights lie in other files, or when its operator set is older than 8.

    Raises:
        SessionError: the file cannot be read, or is not an ONNX graph.
    """
    described = "the graph" if isinstance(model, bytes) else str(model)
    try:
        content = model if isinstance(model, bytes) else read_bytes(model)
        proto = onnx.load_model_from_string(content)
    except InputError as exc:
        raise SessionError(str(exc), hint=exc.hint) from exc
    except DecodeError as exc:
        raise SessionError(
            f"onnxruntime cannot load {described}: it is not an ONNX graph",
            hint="is it a whole ONNX file? fetch or convert it again",
        ) from exc
    graph = proto.graph
    if _opset(proto) < _LEAST_OPSET:
        return model
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        return model
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    replaced: set[str] = set()
    for node in graph.node:
        slopes = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slopes is None or slopes.data_type != onnx.TensorProto.FLOAT:
            nodes.append(node)
        else:
            nodes += _spell_out(node, slopes, graph)
            replaced.add(slopes.name)
    if not replaced:
        return model
    del graph.node[:]
    graph.node.extend(nodes)
    unused = replaced - {name for node in nodes for name in node.input}
    _drop(graph.initializer, unused)
    _drop(graph.input, unused)  # up to IR 3 every initializer is also listed as an input
    if proto.ir_version < 4:
        _list_as_inputs(graph)
    rewritten: bytes = proto.SerializeToString()
    return rewritten


def _opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operators; 0 when the graph does not say."""
    return max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _drop(entries: Any, names: set[str]) -> None:
    kept = [entry for entry in entries if entry.name not in names]
    del entries[:]
    entries.extend(kept)


def _list_as_inputs(graph: onnx.GraphProto) -> None:
    listed = {entry.name for entry in graph.input}
    for tensor in graph.initializer:
        if tensor.name not in listed:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)


def _spell_out(
    node: onnx.NodeProto, tensor: onnx.TensorProto, graph: onnx.GraphProto
) -> Iterator[onnx.NodeProto]:
    value, output = node.input[0], node.output[0]
    slopes = numpy_helper.to_array(tensor)
    if (slopes <= 1).all():
        yield helper.make_node("Mul", [value, node.input[1]], [f"{output}/scaled"])
        yield helper.make_node("Max", [value, f"{output}/scaled"], [output])
        return
    zero, less = f"{output}/zero", f"{output}/slope-1"
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), zero))
    graph.initializer.append(numpy_helper.from_array(slopes - np.float32(1), less))
    yield helper.make_node("Min", [value, zero], [f"{output}/negative"])
    yield helper.make_node("Mul", [f"{output}/negative", less], [f"{output}/change"])
    yield helper.make_node("Add", [value, f"{output}/change"], [output])
