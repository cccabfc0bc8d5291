"""What an ONNX graph itself can tell about an embedding model, without running it.

It does not guess what the graph cannot know: color order and normalization outside the graph
are its owner's to say. Source of the normalization sign: MXNet-era exports begin with a
subtraction and a multiplication (contract of the InsightFace loader).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from arcwise.errors import InputError, ModelError
from arcwise.files import translate_os_errors

_MOST_OUTPUTS = 2  # CurricularFace and AdaFace exports give a map or the norm beside the vector
_LAYERS = {"Conv", "Gemm", "MatMul", "BatchNormalization"}  # a normalization comes before them


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the graph says.

    Attributes:
        size_px: side of the square input, or None when the graph leaves it open.
        layout: nchw or nhwc.
        channels: of the input.
        dimension: length of the output vector, or None when the graph leaves it open.
        normalizes: whether the graph begins with a subtraction and a scaling of its own.
    """

    size_px: int | None
    layout: Literal["nchw", "nhwc"]
    channels: int
    dimension: int | None
    normalizes: bool


def inspect_graph(path: Path | str) -> GraphFacts:
    """Read the facts of an embedding model from its graph.

    Raises:
        InputError: the file cannot be read.
        ModelError: it is no ONNX graph, or not one from one image to one vector.
    """
    path = Path(path)
    try:
        with translate_os_errors(path, doing="read"):
            model = onnx.load(str(path), load_external_data=False)
        if any(uses_external_data(tensor) for tensor in model.graph.initializer):
            raise ModelError(
                f"{path} keeps its weights in other files, a model is one file here",
                hint="write it whole: onnx.save(onnx.load(PATH), NEW_PATH)",
            )
        onnx.checker.check_model(model, check_custom_domain=False)
        model = onnx.shape_inference.infer_shapes(model)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise ModelError(
            f"{path} is not an ONNX graph: {str(exc).splitlines()[0]}",
            hint="give the .onnx file; other formats are read by `arcwise convert`",
        ) from exc
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(
            f"{path} has {len(inputs)} inputs ({names}), an embedding model has one",
            hint="is it a detector or another kind of model?",
        )
    if len(model.graph.output) > _MOST_OUTPUTS:
        raise ModelError(
            f"{path} has {len(model.graph.output)} outputs, an embedding model has one",
            hint="it looks like a detector",
        )
    layout, channels, size_px = _read_input(path, _shape_of(inputs[0]))
    output = _shape_of(model.graph.output[0])
    operators = [node.op_type for node in model.graph.node]
    early = set(takewhile(lambda operator: operator not in _LAYERS, operators))
    return GraphFacts(
        size_px=size_px,
        layout=layout,
        channels=channels,
        dimension=_length_of(output[1:]),
        normalizes="Sub" in early and bool(early & {"Mul", "Div"}),
    )


def _length_of(dims: list[int | None]) -> int | None:
    """Length of the vector of each image, whatever axes of 1 the graph leaves on it."""
    known = [dim for dim in dims if dim is not None]
    return math.prod(known) if dims and len(known) == len(dims) else None


def _shape_of(value: onnx.ValueInfoProto) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.dim_value > 0 else None for dim in dims]


def _read_input(
    path: Path, shape: list[int | None]
) -> tuple[Literal["nchw", "nhwc"], int, int | None]:
    if len(shape) != 4:
        raise ModelError(
            f"{path} takes an input of shape {shape}, an embedding model takes a batch of images",
            hint="export it with a 4-dimensional image input",
        )
    layout: Literal["nchw", "nhwc"] = "nhwc" if shape[3] in (1, 3) else "nchw"
    channels, height, width = (
        (shape[3], shape[1], shape[2]) if layout == "nhwc" else (shape[1], shape[2], shape[3])
    )
    if channels not in (1, 3):
        raise ModelError(f"{path} takes images of {channels} channels, 3 (or 1) are expected")
    if height != width:
        raise ModelError(
            f"{path} takes images of {width}x{height} px, ArcFace crops are square",
            hint="is it a detector or another kind of model?",
        )
    return layout, channels, height


def check_size(facts: GraphFacts, size_px: int | None, path: Path) -> int:
    """The crop size to use, from the graph or from the owner.

    Raises:
        InputError: they contradict each other.
    """
    if facts.size_px and size_px and facts.size_px != size_px:
        raise InputError(f"{path} takes crops of {facts.size_px} px, not of {size_px}")
    return facts.size_px or size_px or 112  # ArcFace's own size where the graph leaves it open
