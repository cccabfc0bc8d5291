"""What each MXNet operator is in ONNX: the table `LAYERS`.

It does not know files. Every translator checks that its parameters have the shapes the graph
wants; what cannot be said exactly in ONNX is refused, never approximated.

Source: the operator reference of Apache MXNet 1.x (defaults, padding and rounding of Pooling
from src/operator/nn/pooling.cc and pool.h) and the ONNX operator reference, opset 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from arcwise.convert.graph import Graph, Shape
from arcwise.convert.symbol import Node
from arcwise.convert.weights import Weights
from arcwise.errors import CheckpointError
from arcwise.types import Floats

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """The translation of one MXNet node.

    Attributes:
        node: not a variable.
        graph: what was built so far: all that the node takes, but for parameters.
        weights: the parameters.
    """

    node: Node
    graph: Graph
    weights: Weights

    def translate(self) -> None:
        """Add what the node computes to the graph, as a tensor of the node's name.

        Raises:
            CheckpointError: the operator is unknown or belongs to training, it has an attribute
                we cannot convert, or a parameter does not fit.
        """
        if self.node.op in _LOSSES:
            raise CheckpointError(
                f"{self.node} is a training loss, not an embedding",
                hint="save the graph up to the embedding only, such as fc1_output",
            )
        if self.node.op not in LAYERS:
            raise CheckpointError(
                f"{self.node} uses an operator we cannot convert",
                hint="docs/convert.md lists the operators",
            )
        LAYERS[self.node.op](self)

    def get_shape(self, at: int = 0, *, n_axes: int | None = None) -> Shape:
        """Shape of one computed input, without the batch."""
        if at >= len(self.node.inputs):
            raise CheckpointError(
                f"{self.node} has {len(self.node.inputs)} inputs, it needs {at + 1}"
            )
        name = self.node.inputs[at]
        if name not in self.graph.shapes:
            raise CheckpointError(f"{self.node} takes the parameter {name} as if it were computed")
        shape = self.graph.shapes[name]
        if n_axes is not None and len(shape) != n_axes:
            raise CheckpointError(
                f"{self.node} takes {name} of shape {('N', *shape)}, it needs {n_axes + 1} axes"
            )
        return shape

    def get_weight(self, at: int, shape: Shape) -> Floats:
        """Values of one parameter; it must have this shape."""
        return self.weights.take(self.node, at, shape)

    def keep_weight(self, at: int, shape: Shape) -> str:
        """Put one parameter into the graph as it is, under its own name."""
        values = self.get_weight(at, shape)
        return self.graph.add_weight(self.node.inputs[at], values)

    def add_weight(self, suffix: str, values: Floats | float) -> str:
        """Put a value into the graph that MXNet has not as a parameter, or not in this shape."""
        return self.graph.add_weight(f"{self.node.name}_{suffix}", np.asarray(values))

    def add(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> None:
        """Add the ONNX node whose result is the result of the MXNet node."""
        self.graph.add_node(op, inputs, self.node.name, shape, **attributes)

    def add_before(
        self, suffix: str, op: str, inputs: list[str], shape: Shape, **attributes: Any
    ) -> str:
        """Add an ONNX node on the way there."""
        name = f"{self.node.name}_{suffix}"
        self.graph.add_node(op, inputs, name, shape, **attributes)
        return name


Translator = Callable[[Step], None]


def _convolution(step: Step) -> None:
    node = step.node
    node.require("layout", "NCHW")
    n_in, *size_hw = step.get_shape(n_axes=3)
    n_out, n_groups = node.get_int("num_filter"), node.get_int("num_group", 1)
    kernel, stride = node.get_pair("kernel"), node.get_pair("stride", (1, 1))
    pad, dilate = node.get_pair("pad", (0, 0)), node.get_pair("dilate", (1, 1))
    _check_window(node, kernel, stride, pad, dilate)
    if n_groups < 1 or n_in % n_groups or n_out % n_groups:
        raise CheckpointError(f"{node} splits {n_in} to {n_out} channels into {n_groups} groups")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate, strict=True)]
    out_hw = [
        (n + 2 * p - r) // s + 1 for n, p, r, s in zip(size_hw, pad, reach, stride, strict=True)
    ]
    _check_size(node, out_hw)
    inputs = [node.inputs[0], step.keep_weight(1, (n_out, n_in // n_groups, *kernel))]
    if not node.get_bool("no_bias", False):
        inputs.append(step.keep_weight(2, (n_out,)))
    step.add(
        "Conv",
        inputs,
        (n_out, *out_hw),
        kernel_shape=kernel,
        strides=stride,
        dilations=dilate,
        pads=[*pad, *pad],
        group=n_groups,
    )


def _check_window(node: Node, kernel: Shape, stride: Shape, pad: Shape, dilate: Shape) -> None:
    if min(*kernel, *stride, *dilate) < 1 or min(pad) < 0:
        raise CheckpointError(
            f"{node} has kernel {kernel}, stride {stride}, pad {pad}, dilate {dilate}"
        )


def _check_size(node: Node, size_hw: list[int]) -> None:
    if min(size_hw) < 1:
        raise CheckpointError(
            f"{node} would give an image of {size_hw[0]}×{size_hw[1]} px",
            hint="the model is made for larger crops than the input contract says",
        )


def _batch_norm(step: Step) -> None:
    node = step.node
    node.require("axis", "1")
    node.require("output_mean_var", "False", "0")
    shape = step.get_shape()
    per_channel = shape[:1]
    if node.get_bool("fix_gamma", True):  # whatever gamma is stored, MXNet takes 1
        gamma = step.add_weight("fixed_gamma", np.ones_like(step.get_weight(1, per_channel)))
    else:
        gamma = step.keep_weight(1, per_channel)
    others = [step.keep_weight(at, per_channel) for at in (2, 3, 4)]
    epsilon = node.get_float("eps", 1e-3)
    step.add("BatchNormalization", [node.inputs[0], gamma, *others], shape, epsilon=epsilon)


def _leaky_relu(step: Step) -> None:
    node = step.node
    node.require("act_type", "leaky", "prelu")
    shape = step.get_shape()
    if node.get_text("act_type", "leaky") == "leaky":
        step.add("LeakyRelu", [node.inputs[0]], shape, alpha=node.get_float("slope", 0.25))
        return
    slope = step.get_weight(1, shape[:1])
    # ONNX aligns shapes at the last axis: (C,) would be a slope for each column.
    aligned = step.add_weight("slope", slope.reshape(-1, *[1] * (len(shape) - 1)))
    step.add("PRelu", [node.inputs[0], aligned], shape)


def _activation(step: Step) -> None:
    act_type = step.node.get_text("act_type", "")
    if act_type not in _ACTIVATIONS:
        raise CheckpointError(
            f"{step.node} has act_type={act_type!r}, we can convert {', '.join(_ACTIVATIONS)}"
        )
    step.add(_ACTIVATIONS[act_type], [step.node.inputs[0]], step.get_shape())


def _fully_connected(step: Step) -> None:
    node = step.node
    shape = step.get_shape()
    n_out, n_in = node.get_int("num_hidden"), math.prod(shape)
    rows = node.inputs[0]
    if len(shape) > 1:
        if not node.get_bool("flatten", True):
            raise CheckpointError(f"{node} works on each position (flatten=False)")
        rows = step.add_before("rows", "Flatten", [rows], (n_in,), axis=1)
    inputs = [rows, step.keep_weight(1, (n_out, n_in))]
    if not node.get_bool("no_bias", False):
        inputs.append(step.keep_weight(2, (n_out,)))
    step.add("Gemm", inputs, (n_out,), transB=1)


def _flatten(step: Step) -> None:
    n_values = math.prod(step.get_shape())
    step.add("Flatten", [step.node.inputs[0]], (n_values,), axis=1)


def _reshape(step: Step) -> None:
    step.node.require("reverse", "False", "0")
    n_values = math.prod(step.get_shape())
    wanted = step.node.get_ints("shape", ())
    if wanted not in ((0, -1), (0, n_values), (-1, n_values)):
        raise CheckpointError(f"{step.node} reshapes to {wanted}, not to one row per sample")
    _flatten(step)


def _identity(step: Step) -> None:
    step.node.require("mode", "training")  # a Dropout of mode "always" is random at inference
    step.add("Identity", [step.node.inputs[0]], step.get_shape())


def _scalar(op: str) -> Translator:
    def translate(step: Step) -> None:
        number = step.node.get_float("scalar")
        if op == "Div" and np.float32(number) == 0:
            raise CheckpointError(f"{step.node} divides by zero")
        shape = step.get_shape()
        step.add(op, [step.node.inputs[0], step.add_weight("scalar", number)], shape)

    return translate


def _elementwise(op: str, *, broadcasts: bool) -> Translator:
    def translate(step: Step) -> None:
        a, b = step.get_shape(0), step.get_shape(1)
        pairs_up = len(a) == len(b) and all(
            m == n or (broadcasts and 1 in (m, n)) for m, n in zip(a, b, strict=True)
        )
        if not pairs_up:
            raise CheckpointError(f"{step.node} joins shapes {('N', *a)} and {('N', *b)}")
        step.add(op, list(step.node.inputs[:2]), np.broadcast_shapes(a, b))

    return translate


def _concat(step: Step) -> None:
    shapes = [step.get_shape(at) for at in range(max(1, len(step.node.inputs)))]
    axis = step.node.get_int("dim", 1)
    first, place = shapes[0], axis - 1
    fits = 0 <= place < len(first) and all(
        len(shape) == len(first)
        and shape[:place] == first[:place]
        and shape[place + 1 :] == first[place + 1 :]
        for shape in shapes
    )
    if not fits:
        raise CheckpointError(f"{step.node} joins shapes {shapes} along axis {axis}")
    total = sum(shape[place] for shape in shapes)
    joined = (*first[:place], total, *first[place + 1 :])
    step.add("Concat", list(step.node.inputs), joined, axis=axis)


def _l2_normalization(step: Step) -> None:
    shape = step.get_shape()
    axes_of = {"instance": [*range(1, len(shape) + 1)], "channel": [1], "spatial": [2, 3]}
    step.node.require("mode", *axes_of)
    axes = axes_of[step.node.get_text("mode", "instance")]
    if max(axes) > len(shape):
        raise CheckpointError(f"{step.node} normalizes axes {axes} of shape {('N', *shape)}")
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape, start=1))
    data = step.node.inputs[0]
    # Not LpNormalization: it has no epsilon and divides by zero.
    epsilon = step.add_weight("eps", step.node.get_float("eps", 1e-10))
    squares = step.add_before("squares", "ReduceSumSquare", [data], kept, axes=axes, keepdims=1)
    total = step.add_before("sum", "Add", [squares, epsilon], kept)
    norm = step.add_before("norm", "Sqrt", [total], kept)
    step.add("Div", [data, norm], shape)


def _pooling(step: Step) -> None:
    node = step.node
    node.require("layout", "NCHW")
    node.require("pool_type", "max", "avg")
    n_channels, *size_hw = step.get_shape(n_axes=3)
    is_max = node.get_text("pool_type", "max") == "max"
    if node.get_bool("global_pool", False):
        op = "GlobalMaxPool" if is_max else "GlobalAveragePool"
        step.add(op, [node.inputs[0]], (n_channels, 1, 1))
        return
    kernel, stride = node.get_pair("kernel"), node.get_pair("stride", (1, 1))
    pad = node.get_pair("pad", (0, 0))
    _check_window(node, kernel, stride, pad, (1, 1))
    node.require("pooling_convention", "valid", "full")
    rounds_up = node.get_text("pooling_convention", "valid") == "full"
    spans = [n + 2 * p - k for n, p, k in zip(size_hw, pad, kernel, strict=True)]
    out_hw = [(-(-n // s) if rounds_up else n // s) + 1 for n, s in zip(spans, stride, strict=True)]
    _check_size(node, out_hw)
    # Runtimes disagree on ONNX's ceil_mode, so what windows reach beyond is padded by hand.
    beyond = [max(0, (o - 1) * s - n) for o, s, n in zip(out_hw, stride, spans, strict=True)]
    ends = [p + b for p, b in zip(pad, beyond, strict=True)]
    counts_pad = not is_max and any(pad) and node.get_bool("count_include_pad", True)
    is_exact = not (counts_pad and any(beyond))  # MXNet counts the padding, not what is beyond it
    if not is_exact or any(end >= k for end, k in zip(ends, kernel, strict=True)):
        raise CheckpointError(
            f"{node} pools beyond its padding (kernel {kernel}, stride {stride}, pad {pad}, "
            f"image {tuple(size_hw)}), which ONNX cannot say"
        )
    attributes: dict[str, Any] = {} if is_max else {"count_include_pad": int(counts_pad)}
    step.add(
        "MaxPool" if is_max else "AveragePool",
        [node.inputs[0]],
        (n_channels, *out_hw),
        kernel_shape=kernel,
        strides=stride,
        pads=[*pad, *ends],
        **attributes,
    )


SHIFTS = dict.fromkeys(("_minus_scalar", "_MinusScalar"), _scalar("Sub")) | dict.fromkeys(
    ("_plus_scalar", "_PlusScalar"), _scalar("Add")
)
"""Operators that move every value by one number."""

SCALES = dict.fromkeys(("_mul_scalar", "_MulScalar"), _scalar("Mul")) | dict.fromkeys(
    ("_div_scalar", "_DivScalar"), _scalar("Div")
)
"""Operators that scale every value by one number."""

COPIES = dict.fromkeys(("identity", "_copy", "BlockGrad", "Dropout"), _identity)
"""Operators that do nothing at inference."""

LAYERS: dict[str, Translator] = {
    **SHIFTS,
    **SCALES,
    **COPIES,
    **dict.fromkeys(("elemwise_add", "_Plus", "_plus"), _elementwise("Add", broadcasts=False)),
    **dict.fromkeys(("elemwise_mul", "_Mul", "_mul"), _elementwise("Mul", broadcasts=False)),
    "broadcast_add": _elementwise("Add", broadcasts=True),
    "broadcast_mul": _elementwise("Mul", broadcasts=True),
    "Activation": _activation,
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "Flatten": _flatten,
    "FullyConnected": _fully_connected,
    "L2Normalization": _l2_normalization,
    "LeakyReLU": _leaky_relu,
    "Pooling": _pooling,
    "Reshape": _reshape,
}
"""MXNet operator, under today's name and those of older files, to its translator."""

_LOSSES = frozenset(
    ("LinearRegressionOutput", "LogisticRegressionOutput", "MakeLoss", "SVMOutput", "SoftmaxOutput")
)
