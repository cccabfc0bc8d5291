"""Layers without weights against a naive float64 evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from arcwise.errors import CheckpointError

Array = NDArray[Any]
LayerNodes = list[tuple[str, str, dict[str, Any], list[str]]]
RunLayers = Callable[[LayerNodes, dict[str, Array]], Array]


def naive_pooling(
    x: Array, kernel: int, stride: int, pad: int, *, kind: str, full: bool, counts_pad: bool
) -> Array:
    """Pooling as MXNet's pool.h says it, one output value after the other."""
    size = x.shape[2]
    span = (size + 2 * pad - kernel) / stride
    n_out = 1 + (math.ceil(span) if full else math.floor(span))
    out = np.zeros((*x.shape[:2], n_out, n_out))
    for row in range(n_out):
        for column in range(n_out):
            starts = row * stride - pad, column * stride - pad
            ends = [min(start + kernel, size + pad) for start in starts]
            n_counted = (ends[0] - starts[0]) * (ends[1] - starts[1])
            inside = [
                slice(max(start, 0), min(end, size))
                for start, end in zip(starts, ends, strict=True)
            ]
            part = x[:, :, inside[0], inside[1]].astype(np.float64)
            if not counts_pad:
                n_counted = part.shape[2] * part.shape[3]
            total = part.sum(axis=(2, 3)) / n_counted
            out[:, :, row, column] = part.max(axis=(2, 3)) if kind == "max" else total
    return out


def assert_rows(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected.reshape(len(expected), -1), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "kind", "full", "counts_pad"),
    [
        (3, 2, 0, "max", False, True),
        (3, 2, 1, "max", False, True),
        (3, 2, 0, "max", True, True),
        (3, 2, 0, "avg", True, True),
        (3, 2, 1, "avg", True, False),
        (3, 1, 1, "avg", False, True),
        (3, 1, 1, "avg", False, False),
        (2, 2, 0, "avg", True, True),
    ],
)
def test_pooling_rounds_and_counts_as_mxnet_does(
    run_layers: RunLayers,
    pixels: Array,
    kernel: int,
    stride: int,
    pad: int,
    kind: str,
    full: bool,
    counts_pad: bool,
) -> None:
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pad": (pad,) * 2}
    attributes |= {"pool_type": kind, "pooling_convention": "full" if full else "valid"}
    attributes |= {"count_include_pad": counts_pad}
    expected = naive_pooling(
        pixels, kernel, stride, pad, kind=kind, full=full, counts_pad=counts_pad
    )
    nodes: LayerNodes = [("Pooling", "p", attributes, ["data"])]
    assert_rows(run_layers(nodes, {}), expected)


def test_pooling_that_onnx_cannot_say_is_refused(run_layers: RunLayers) -> None:
    attributes = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pool_type": "avg"}
    attributes |= {"pooling_convention": "full"}
    with pytest.raises(CheckpointError, match="pools beyond its padding"):
        run_layers([("Pooling", "p", attributes, ["data"])], {})


@pytest.mark.parametrize(("kind", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_global_pooling_leaves_one_value_for_each_channel(
    run_layers: RunLayers, pixels: Array, kind: str, reduce: Callable[..., Array]
) -> None:
    attributes = {"kernel": (7, 7), "global_pool": True, "pool_type": kind}
    found = run_layers([("Pooling", "p", attributes, ["data"])], {})
    assert_rows(found, reduce(pixels, axis=(2, 3)))


@pytest.mark.parametrize(
    ("mode", "axes"), [("instance", (1, 2, 3)), ("channel", (1,)), ("spatial", (2, 3))]
)
def test_l2_normalization_divides_by_the_length(
    run_layers: RunLayers, pixels: Array, mode: str, axes: tuple[int, ...]
) -> None:
    x = pixels.astype(np.float64)
    expected = x / np.sqrt((x**2).sum(axis=axes, keepdims=True) + 1e-10)
    nodes: LayerNodes = [("L2Normalization", "n", {"mode": mode}, ["data"])]
    assert_rows(run_layers(nodes, {}), expected)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("op", "attributes", "function"),
    [
        ("Activation", {"act_type": "relu"}, lambda x: np.maximum(x, 0)),
        ("Activation", {"act_type": "sigmoid"}, sigmoid),
        ("Activation", {"act_type": "tanh"}, np.tanh),
        ("LeakyReLU", {}, lambda x: np.where(x > 0, x, 0.25 * x)),
        ("LeakyReLU", {"act_type": "leaky", "slope": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
        ("_minus_scalar", {"scalar": 0.5}, lambda x: x - 0.5),
        ("_plus_scalar", {"scalar": 0.5}, lambda x: x + 0.5),
        ("_mul_scalar", {"scalar": -3}, lambda x: x * -3),
        ("_div_scalar", {"scalar": 4}, lambda x: x / 4),
        ("_MulScalar", {"scalar": 2}, lambda x: x * 2),
        ("Dropout", {"p": 0.4}, lambda x: x),
        ("identity", {}, lambda x: x),
        ("_copy", {}, lambda x: x),
        ("BlockGrad", {}, lambda x: x),
        ("Reshape", {"shape": (0, -1)}, lambda x: x),
        ("Reshape", {"shape": (-1, 768)}, lambda x: x),
    ],
)
def test_a_layer_without_parameters_is_its_function(
    run_layers: RunLayers,
    pixels: Array,
    op: str,
    attributes: dict[str, Any],
    function: Callable[[Array], Array],
) -> None:
    found = run_layers([(op, "layer", attributes, ["data"])], {})
    assert_rows(found, function(pixels.astype(np.float64)))


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("elemwise_add", np.add),
        ("_Plus", np.add),
        ("_plus", np.add),
        ("broadcast_add", np.add),
        ("elemwise_mul", np.multiply),
        ("broadcast_mul", np.multiply),
    ],
)
def test_two_branches_join(
    run_layers: RunLayers, pixels: Array, op: str, function: Callable[[Array, Array], Array]
) -> None:
    nodes: LayerNodes = [
        ("_mul_scalar", "twice", {"scalar": 2}, ["data"]),
        (op, "join", {}, ["data", "twice"]),
    ]
    x = pixels.astype(np.float64)
    assert_rows(run_layers(nodes, {}), function(x, 2 * x))


def test_broadcasting_scales_whole_channels(run_layers: RunLayers, pixels: Array) -> None:
    nodes: LayerNodes = [
        ("Pooling", "mean", {"global_pool": True, "pool_type": "avg"}, ["data"]),
        ("broadcast_mul", "scaled", {}, ["data", "mean"]),
    ]
    expected = pixels * pixels.mean(axis=(2, 3), keepdims=True)
    assert_rows(run_layers(nodes, {}), expected)


def test_concat_joins_channels(run_layers: RunLayers, pixels: Array) -> None:
    nodes: LayerNodes = [
        ("_plus_scalar", "more", {"scalar": 1}, ["data"]),
        ("Concat", "both", {"num_args": 2, "dim": 1}, ["data", "more"]),
    ]
    assert_rows(run_layers(nodes, {}), np.concatenate([pixels, pixels + 1], axis=1))
