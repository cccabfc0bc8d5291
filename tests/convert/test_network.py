"""Layers with weights, and a small network of them, against a naive float64 evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]
LayerNodes = list[tuple[str, str, dict[str, Any], list[str]]]
RunLayers = Callable[[LayerNodes, dict[str, Array]], Array]
SaveModel = Callable[..., Path]
RunModel = Callable[[Path, Array], Array]
Convert = Callable[[Path], Path]


def weights(*shape: int, seed: int = 7) -> Array:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def windows(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilate: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, Array]]:
    """Every place of a sliding window over the padded (N, C, H, W): row, column, values."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate, strict=True)]
    for row in range((x.shape[2] - reach[0]) // stride[0] + 1):
        for column in range((x.shape[3] - reach[1]) // stride[1] + 1):
            top, left = row * stride[0], column * stride[1]
            part = x[:, :, top : top + reach[0] : dilate[0], left : left + reach[1] : dilate[1]]
            yield row, column, part


def naive_convolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    dilate: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Array:
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    n_out, n_in, *kernel = weight.shape
    per_group = n_out // groups
    places = list(windows(x, (kernel[0], kernel[1]), stride, dilate))
    out = np.zeros((len(x), n_out, places[-1][0] + 1, places[-1][1] + 1))
    for row, column, part in places:
        for channel in range(n_out):
            first = channel // per_group * n_in
            taken = part[:, first : first + n_in] * weight[channel].astype(np.float64)
            out[:, channel, row, column] = taken.sum(axis=(1, 2, 3))
    return out if bias is None else out + bias.reshape(1, -1, 1, 1)


def naive_batch_norm(
    x: Array, gamma: Array | float, beta: Array, mean: Array, var: Array, *, eps: float
) -> Array:
    along = (1, -1) + (1,) * (x.ndim - 2)
    gamma = np.broadcast_to(np.asarray(gamma, np.float64), beta.shape)
    scale = gamma / np.sqrt(var.astype(np.float64) + eps)
    return (x - mean.reshape(along)) * scale.reshape(along) + beta.reshape(along)


def naive_prelu(x: Array, slope: Array) -> Array:
    along = (1, -1) + (1,) * (x.ndim - 2)
    return np.where(x >= 0, x, x * slope.reshape(along).astype(np.float64))


def assert_rows(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected.reshape(len(expected), -1), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("n_out", "groups", "stride", "pad", "dilate", "has_bias"),
    [
        (6, 1, (1, 1), (0, 0), (1, 1), True),
        (6, 1, (2, 2), (1, 1), (1, 1), False),
        (6, 3, (1, 1), (1, 1), (1, 1), True),
        (3, 3, (2, 1), (1, 0), (1, 1), False),
        (4, 1, (1, 2), (2, 2), (2, 2), True),
    ],
)
def test_convolution_is_the_sum_over_its_window(
    run_layers: RunLayers,
    pixels: Array,
    n_out: int,
    groups: int,
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilate: tuple[int, int],
    has_bias: bool,
) -> None:
    params = {"c_weight": weights(n_out, 3 // groups, 3, 3), "c_bias": weights(n_out)}
    attributes = {"kernel": (3, 3), "num_filter": n_out, "num_group": groups, "stride": stride}
    attributes |= {"pad": pad, "dilate": dilate, "no_bias": not has_bias}
    inputs = ["data", "c_weight", "c_bias"] if has_bias else ["data", "c_weight"]
    expected = naive_convolution(
        pixels,
        params["c_weight"],
        params["c_bias"] if has_bias else None,
        stride=stride,
        pad=pad,
        dilate=dilate,
        groups=groups,
    )
    found = run_layers([("Convolution", "c", attributes, inputs)], params)
    assert_rows(found, expected)


BN_PARAMS = {
    "b_gamma": weights(3, seed=1),
    "b_beta": weights(3, seed=2),
    "b_moving_mean": weights(3, seed=3),
    "b_moving_var": np.array([0.002, 0.5, 2.0], np.float32),
}


@pytest.mark.parametrize(
    ("attributes", "gamma", "eps"),
    [
        ({}, 1.0, 1e-3),  # MXNet's defaults: gamma is taken as 1, eps is large
        ({"fix_gamma": "True", "eps": "2e-05"}, 1.0, 2e-5),
        ({"fix_gamma": "False", "eps": "2e-05"}, BN_PARAMS["b_gamma"], 2e-5),
        ({"fix_gamma": "False", "use_global_stats": "True"}, BN_PARAMS["b_gamma"], 1e-3),
    ],
)
def test_batch_norm_has_the_defaults_of_mxnet(
    run_layers: RunLayers,
    pixels: Array,
    attributes: dict[str, str],
    gamma: Array | float,
    eps: float,
) -> None:
    expected = naive_batch_norm(
        pixels,
        gamma,
        BN_PARAMS["b_beta"],
        BN_PARAMS["b_moving_mean"],
        BN_PARAMS["b_moving_var"],
        eps=eps,
    )
    nodes: LayerNodes = [("BatchNorm", "b", attributes, ["data", *BN_PARAMS])]
    assert_rows(run_layers(nodes, BN_PARAMS), expected)


def test_old_files_do_not_list_the_statistics_of_a_batch_norm(run_layers: RunLayers) -> None:
    listed = list(BN_PARAMS)[:2]
    nodes: LayerNodes = [("BatchNorm", "b", {}, ["data", *listed])]
    found = run_layers(nodes, BN_PARAMS)
    full: LayerNodes = [("BatchNorm", "b", {}, ["data", *BN_PARAMS])]
    np.testing.assert_array_equal(found, run_layers(full, BN_PARAMS))


def test_prelu_has_one_slope_for_each_channel(run_layers: RunLayers, pixels: Array) -> None:
    params = {"p_gamma": np.array([0.1, 0.5, -2.0], np.float32)}
    nodes: LayerNodes = [("LeakyReLU", "p", {"act_type": "prelu"}, ["data", "p_gamma"])]
    assert_rows(run_layers(nodes, params), naive_prelu(pixels, params["p_gamma"]))


def test_prelu_after_a_vector_has_one_slope_for_each_value(
    run_layers: RunLayers, pixels: Array
) -> None:
    params = {"p_gamma": weights(768)}
    nodes: LayerNodes = [
        ("Flatten", "f", {}, ["data"]),
        ("LeakyReLU", "p", {"act_type": "prelu"}, ["f", "p_gamma"]),
    ]
    expected = naive_prelu(pixels.reshape(2, -1), params["p_gamma"])
    assert_rows(run_layers(nodes, params), expected)


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_fully_connected_layer_flattens_channel_first(
    run_layers: RunLayers, pixels: Array, has_bias: bool
) -> None:
    params = {"d_weight": weights(5, 768), "d_bias": weights(5)}
    inputs = ["data", *list(params)[: 1 + has_bias]]
    attributes = {"num_hidden": 5, "no_bias": not has_bias}
    expected = pixels.reshape(2, -1).astype(np.float64) @ params["d_weight"].T.astype(np.float64)
    found = run_layers([("FullyConnected", "d", attributes, inputs)], params)
    np.testing.assert_allclose(found, expected + has_bias * params["d_bias"], atol=1e-4)


def norm_params(name: str, n: int, seed: int) -> dict[str, Array]:
    """Parameters of a BatchNorm in MXNet's order."""
    return {
        f"{name}_gamma": 1 + weights(n, seed=seed) / 5,
        f"{name}_beta": weights(n, seed=seed + 1),
        f"{name}_moving_mean": weights(n, seed=seed + 2),
        f"{name}_moving_var": 0.5 + np.abs(weights(n, seed=seed + 3)),
    }


def small_resnet() -> tuple[LayerNodes, dict[str, Array]]:
    """The unit, head and preprocessing of LResNet100E-IR, at 16 px and with few channels."""
    params: dict[str, Array] = {"conv0_weight": weights(4, 3, 3, 3), "relu0_gamma": weights(4)}
    params |= {"conv1_weight": weights(8, 4, 3, 3) / 3, "relu1_gamma": weights(8)}
    params |= {"conv2_weight": weights(8, 8, 3, 3) / 4, "conv1sc_weight": weights(8, 4, 1, 1)}
    params |= {"pre_fc1_weight": weights(6, 512) / 5, "pre_fc1_bias": weights(6)}
    for seed, (name, n) in enumerate(
        {"bn0": 4, "bn1": 4, "bn2": 8, "bn3": 8, "sc": 8, "last": 8, "fc1": 6}.items()
    ):
        params |= norm_params(name, n, 10 * seed)
    nodes: LayerNodes = [
        ("identity", "id", {}, ["data"]),
        ("_minus_scalar", "_minusscalar0", {"scalar": "127.5"}, ["id"]),
        ("_mul_scalar", "_mulscalar0", {"scalar": "0.0078125"}, ["_minusscalar0"]),
    ]

    def convolve(name: str, source: str, n: int, kernel: int, stride: int) -> None:
        attributes = {"kernel": (kernel,) * 2, "num_filter": n, "no_bias": True}
        attributes |= {"stride": (stride,) * 2, "pad": (kernel // 2,) * 2}
        nodes.append(("Convolution", name, attributes, [source, f"{name}_weight"]))

    def normalize(name: str, source: str, fixed: bool = False) -> None:
        attributes = {"eps": "2e-05", "fix_gamma": fixed}
        nodes.append(("BatchNorm", name, attributes, [source, *norm_params(name, 1, 0)]))

    def activate(name: str, source: str) -> None:
        nodes.append(("LeakyReLU", name, {"act_type": "prelu"}, [source, f"{name}_gamma"]))

    convolve("conv0", "_mulscalar0", 4, 3, 1)
    normalize("bn0", "conv0")
    activate("relu0", "bn0")
    normalize("bn1", "relu0")
    convolve("conv1", "bn1", 8, 3, 1)
    normalize("bn2", "conv1")
    activate("relu1", "bn2")
    convolve("conv2", "relu1", 8, 3, 2)
    normalize("bn3", "conv2")
    convolve("conv1sc", "relu0", 8, 1, 2)
    normalize("sc", "conv1sc")
    nodes.append(("elemwise_add", "_plus0", {}, ["bn3", "sc"]))
    normalize("last", "_plus0")
    nodes.append(("Dropout", "dropout0", {"p": 0.4}, ["last"]))
    links = ["dropout0", "pre_fc1_weight", "pre_fc1_bias"]
    nodes.append(("FullyConnected", "pre_fc1", {"num_hidden": 6}, links))
    normalize("fc1", "pre_fc1", fixed=True)
    return nodes, params


def naive_resnet(pixels: Array, p: dict[str, Array]) -> Array:
    def norm(x: Array, name: str, *, fixed: bool = False) -> Array:
        gamma, beta, mean, var = (p[key] for key in norm_params(name, 1, 0))
        return naive_batch_norm(x, 1.0 if fixed else gamma, beta, mean, var, eps=2e-5)

    x = (pixels.astype(np.float64) - 127.5) / 128
    x = naive_prelu(
        norm(naive_convolution(x, p["conv0_weight"], pad=(1, 1)), "bn0"), p["relu0_gamma"]
    )
    y = naive_convolution(norm(x, "bn1"), p["conv1_weight"], pad=(1, 1))
    y = naive_prelu(norm(y, "bn2"), p["relu1_gamma"])
    y = norm(naive_convolution(y, p["conv2_weight"], pad=(1, 1), stride=(2, 2)), "bn3")
    y = y + norm(naive_convolution(x, p["conv1sc_weight"], stride=(2, 2)), "sc")
    rows = norm(y, "last").reshape(len(x), -1)
    return norm(rows @ p["pre_fc1_weight"].T + p["pre_fc1_bias"], "fc1", fixed=True)


FACES = np.random.default_rng(5).integers(0, 256, (5, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("attributes_key", ["attrs", "attr", "param"])
def test_a_residual_network_answers_as_the_naive_evaluation(
    save_model: SaveModel, convert: Convert, run_model: RunModel, attributes_key: str
) -> None:
    nodes, params = small_resnet()
    out = convert(save_model(nodes, params, attributes_key=attributes_key))
    expected = naive_resnet(FACES, params)
    np.testing.assert_allclose(run_model(out, FACES), expected, atol=1e-4)
    reference = ReferenceEvaluator(onnx.load(out)).run(None, {"data": FACES})[0]
    np.testing.assert_allclose(reference, expected, atol=1e-4)
    for one, row in zip(FACES, expected, strict=True):
        np.testing.assert_allclose(run_model(out, one[None])[0], row, atol=1e-4)
