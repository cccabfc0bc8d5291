"""The ONNX graphs against a plain numpy forward in float64, and the pinned weights.

Source of the layer lists: Zhang et al. (2016), figure 2; pooling rounds up, convolutions are valid.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import onnx
import pytest

from arcwise.detect.networks import (
    PINNED_SHA256,
    WEIGHTS_DIGEST,
    build_output_net,
    build_proposal_net,
    build_refine_net,
    load_weights,
)
from arcwise.errors import ChecksumError, UnknownModelError
from arcwise.session import Session

Array = np.ndarray


# The naive forward: one image, (H, W, C) float64.


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    size_h, size_w = kernel.shape[:2]
    height, width = x.shape[0] - size_h + 1, x.shape[1] - size_w + 1
    out = np.empty((height, width, kernel.shape[3]))
    for row in range(height):
        for column in range(width):
            patch = x[row : row + size_h, column : column + size_w]
            out[row, column] = np.tensordot(patch, kernel.astype(np.float64), 3) + bias
    return out


def bend(x: Array, slopes: Array) -> Array:
    """PReLU, one slope for each channel."""
    return np.where(x > 0, x, x * slopes.reshape(-1))


def pool(x: Array, size: int) -> Array:
    """The largest of each window, steps of 2; windows over the edge see what is there."""
    height, width = (-(-(side - size) // 2) + 1 for side in x.shape[:2])
    out = np.empty((height, width, x.shape[2]))
    for row in range(height):
        for column in range(width):
            window = x[2 * row : 2 * row + size, 2 * column : 2 * column + size]
            out[row, column] = window.max(axis=(0, 1))
    return out


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def run_layers(image: Array, network: str, pools: list[int]) -> tuple[Array, Iterator[Array]]:
    """The convolutions, each with PReLU and a pooling (0: none), and the weights left."""
    weights = iter(load_weights(network))
    x = (image.astype(np.float64) - 127.5) / 128
    for size in pools:
        x = convolve(x, next(weights), next(weights))
        x = bend(x, next(weights))
        x = pool(x, size) if size else x
    return x, weights


def propose(image: Array) -> dict[str, Array]:
    x, weights = run_layers(image, "pnet", [2, 0, 0])
    boxes = convolve(x, next(weights), next(weights))
    scores = softmax(convolve(x, next(weights), next(weights)))
    return {"boxes": boxes.transpose(2, 0, 1), "scores": scores.transpose(2, 0, 1)}


def run_dense(x: Array, weights: Iterator[Array], heads: list[str]) -> dict[str, Array]:
    flat = x.transpose(1, 0, 2).reshape(-1)  # (W, H, C), as the weights were trained
    flat = bend(flat @ next(weights).astype(np.float64) + next(weights), next(weights))
    out = {head: flat @ next(weights).astype(np.float64) + next(weights) for head in heads}
    assert next(weights, None) is None
    return out | {"scores": softmax(out["scores"])}


def refine(image: Array) -> dict[str, Array]:
    return run_dense(*run_layers(image, "rnet", [3, 3, 0]), ["boxes", "scores"])


def decide(image: Array) -> dict[str, Array]:
    return run_dense(*run_layers(image, "onet", [3, 3, 2, 0]), ["boxes", "points", "scores"])


@pytest.mark.parametrize(
    ("build", "naive", "shape"),
    [
        (build_proposal_net, propose, (12, 12)),
        (build_proposal_net, propose, (17, 23)),
        (build_proposal_net, propose, (30, 15)),
        (build_refine_net, refine, (24, 24)),
        (build_output_net, decide, (48, 48)),
    ],
)
def test_a_graph_answers_as_the_plain_forward_does(
    build: Callable[[], bytes], naive: Callable[[Array], dict[str, Array]], shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    dull = np.full((1, *shape, 3), 30, np.uint8)
    images = np.concatenate([rng.integers(0, 256, (2, *shape, 3), np.uint8), dull])
    session = Session(build(), provider="cpu")
    answers = dict(zip(session.output_names, session.run(images), strict=True))
    for number, image in enumerate(images):
        expected = naive(image)
        assert expected.keys() == answers.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(answers[name][number], values, atol=1e-4)


@pytest.mark.parametrize("build", [build_proposal_net, build_refine_net, build_output_net])
def test_a_graph_is_valid_and_readable_by_older_runtimes(build: Callable[[], bytes]) -> None:
    model = onnx.load_from_string(build())
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)


def test_neither_tensorflow_nor_its_package_is_imported() -> None:
    for build in (build_proposal_net, build_refine_net, build_output_net):
        build()
    assert {"tensorflow", "keras", "mtcnn"}.isdisjoint(sys.modules)


# The pinned weights


def weights_folder() -> Path:
    spec = importlib.util.find_spec("mtcnn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "assets" / "weights"


def pretend_package(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = SimpleNamespace(origin=str(folder / "__init__.py")) if folder else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.mark.parametrize("network", PINNED_SHA256)
@pytest.mark.parametrize("change", ["one bit", "one byte more", "empty"])
def test_a_changed_file_is_refused_before_it_is_opened(
    network: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((weights_folder() / f"{network}.lz4").read_bytes())
    if change == "one bit":
        content[len(content) // 2] ^= 1
    content = {"one byte more": content + b"\x00", "empty": bytearray()}.get(change, content)
    folder = tmp_path / "assets" / "weights"
    folder.mkdir(parents=True)
    (folder / f"{network}.lz4").write_bytes(content)

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("the file was unpickled")

    monkeypatch.setattr(joblib, "load", fail)
    pretend_package(monkeypatch, tmp_path)
    with pytest.raises(ChecksumError, match=PINNED_SHA256[network]) as caught:
        load_weights(network)
    assert "mtcnn==1.0.0" in caught.value.hint


@pytest.mark.parametrize("is_installed", [False, True], ids=["no wheel", "a wheel without weights"])
def test_missing_weights_say_how_to_install_them(
    is_installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_package(monkeypatch, tmp_path if is_installed else None)
    with pytest.raises(UnknownModelError, match=r"pnet\.lz4 .* not installed") as caught:
        load_weights("pnet")
    assert "mtcnn==1.0.0" in caught.value.hint


def test_the_digest_that_galleries_recorded_does_not_change() -> None:
    assert WEIGHTS_DIGEST == "f2836e484b6b1f84a722098b32425d412ee0c7910806e5eb84fca52db6544ddb"
