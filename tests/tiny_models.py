"""Tiny ONNX graphs that show what a model was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def build_graph(
    nodes: Sequence[onnx.NodeProto],
    *,
    takes: Dims,
    gives: Dims | Sequence[Dims],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    """A graph from "input" to "output" (several shapes: "output0", "output1", …)."""
    several = bool(gives) and not isinstance(gives[0], int | str)
    shapes = {f"output{i}": dims for i, dims in enumerate(gives)} if several else {"output": gives}
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(takes))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))
            for name, dims in shapes.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def flattening(
    *, size_px: int = 16, channels: int = 3, layout: str = "nchw", batch: int | str = "N"
) -> bytes:
    """The embedding is the input itself, flattened."""
    image = (channels, size_px, size_px) if layout == "nchw" else (size_px, size_px, channels)
    flatten = helper.make_node("Flatten", ["input"], ["output"], axis=1)
    return build_graph(
        [flatten], takes=(batch, *image), gives=(batch, channels * size_px * size_px)
    )


def averaging(*, size_px: int = 112, channels: int = 3, scale: float = 1.0) -> bytes:
    """The embedding is the mean of each channel, times `scale`; nchw."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["output"]),
    ]
    constants = {"scale": np.array(scale, np.float32)}
    takes = ("N", channels, size_px, size_px)
    return build_graph(nodes, takes=takes, gives=("N", channels), constants=constants)


def normalizing(*, size_px: int = 112) -> bytes:
    """Like `averaging`, with (x - 127.5) / 128 and a convolution in front, as MXNet exports."""
    nodes = [
        helper.make_node("Sub", ["input", "mean"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["output"], axes=[2, 3], keepdims=0),
    ]
    constants = {
        "mean": np.array(127.5, np.float32),
        "scale": np.array(1 / 128, np.float32),
        "kernel": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
    }
    return build_graph(nodes, takes=("N", 3, size_px, size_px), gives=("N", 3), constants=constants)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
