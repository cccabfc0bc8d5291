"""The three MTCNN networks as ONNX graphs, built from the weights inside the `mtcnn` wheel.

It never imports `mtcnn` (that would import TensorFlow): the files are found by their place and
opened only after their pinned SHA-256 matched, since joblib unpickles. It does not know photos.

Source: Zhang et al. (2016), "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks"; weights from the `mtcnn` 1.0.0 wheel (MIT).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from arcwise.errors import ChecksumError, UnknownModelError
from arcwise.files import read_bytes

PINNED_SHA256 = {  # of mtcnn/assets/weights/*.lz4 in the mtcnn 1.0.0 wheel
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
WEIGHTS_DIGEST = hashlib.sha256("".join(PINNED_SHA256.values()).encode()).hexdigest()
OPSET = 17
IR_VERSION = 8  # what onnxruntime 1.18 still reads

Weights = list[NDArray[np.float32]]


def load_weights(network: str) -> Weights:
    """The arrays of one network in the order of its layers, as Keras stores them.

    Args:
        network: pnet, rnet or onet.

    Raises:
        UnknownModelError: the `mtcnn` wheel is not installed, or not wholly.
        ChecksumError: its file is not the one we know; it is not opened.
    """
    spec = importlib.util.find_spec("mtcnn")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    path = folder / "assets" / "weights" / f"{network}.lz4" if folder else None
    if path is None or not path.is_file():
        raise UnknownModelError(
            f"the weights {network}.lz4 of the MTCNN detector are not installed",
            hint="pip install --force-reinstall mtcnn==1.0.0",
        )
    content = read_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if found != PINNED_SHA256[network]:
        raise ChecksumError(
            f"{path} has SHA-256 {found}, expected {PINNED_SHA256[network]}",
            hint="pip install --force-reinstall mtcnn==1.0.0",
        )
    arrays: Weights = joblib.load(io.BytesIO(content))
    return arrays


class _Graph:
    """Layers are appended one after the other; each takes the output of the one before."""

    def __init__(self, weights: Weights) -> None:
        self._weights = iter(weights)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self.last = "input"

    def take(self) -> NDArray[np.float32]:
        return next(self._weights)

    def constant(self, value: NDArray[Any]) -> str:
        name = f"w{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        self.last = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [self.last], **attributes))
        return self.last

    def normalize(self) -> None:
        """(B, H, W, 3) uint8 to (B, 3, H, W) float32, (x - 127.5) / 128."""
        self.add("Transpose", [self.last], perm=[0, 3, 1, 2])
        self.add("Cast", [self.last], to=TensorProto.FLOAT)
        self.add("Sub", [self.last, self.constant(np.array(127.5, np.float32))])
        self.add("Mul", [self.last, self.constant(np.array(1 / 128, np.float32))])

    def conv(self, output: str = "") -> None:
        kernel, bias = self.take(), self.take()  # (h, w, in, out)
        inputs = [self.last, self.constant(kernel.transpose(3, 2, 0, 1)), self.constant(bias)]
        self.add("Conv", inputs, output)

    def prelu(self) -> None:
        slope = self.take()
        wide = slope.reshape(-1, 1, 1) if slope.ndim == 3 else slope
        self.add("PRelu", [self.last, self.constant(wide)])

    def pool(self, size: int) -> None:
        self.add("MaxPool", [self.last], kernel_shape=[size, size], strides=[2, 2], ceil_mode=1)

    def dense(self, output: str = "") -> None:
        kernel, bias = self.take(), self.take()  # (in, out)
        self.add("Gemm", [self.last, self.constant(kernel), self.constant(bias)], output)

    def flatten_and_dense(self, size: int) -> None:
        """The first dense layer. Its rows are in the order (W, H, C), ours come as (C, H, W)."""
        kernel, bias = self.take(), self.take()
        channels = kernel.shape[0] // (size * size)
        rows = kernel.reshape(size, size, channels, -1).transpose(2, 1, 0, 3)
        self.add("Flatten", [self.last], axis=1)
        inputs = [self.last, self.constant(rows.reshape(kernel.shape)), self.constant(bias)]
        self.add("Gemm", inputs)
        self.prelu()

    def build(self, name: str, outputs: Sequence[str], *, rank: int = 2) -> bytes:
        source = helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", "H", "W", 3])
        results = [
            helper.make_tensor_value_info(o, TensorProto.FLOAT, [None] * rank) for o in outputs
        ]
        graph = helper.make_graph(self._nodes, name, [source], results, self._initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content


def build_proposal_net() -> bytes:
    """PNet: slides over a photo; every 2nd px one window of 12 px.

    Input (B, H, W, 3) uint8 RGB; outputs boxes (B, 4, h, w) and scores (B, 2, h, w).
    """
    net = _Graph(load_weights("pnet"))
    net.normalize()
    net.conv()
    net.prelu()
    net.pool(2)
    net.conv()
    net.prelu()
    net.conv()
    net.prelu()
    features = net.last
    net.conv("boxes")
    net.last = features
    net.conv()
    net.add("Softmax", [net.last], "scores", axis=1)
    return net.build("pnet", ["boxes", "scores"], rank=4)


def build_refine_net() -> bytes:
    """RNet: looks again at crops of 24 px. Outputs boxes (B, 4) and scores (B, 2)."""
    net = _Graph(load_weights("rnet"))
    net.normalize()
    for pool in (3, 3, 0):
        net.conv()
        net.prelu()
        if pool:
            net.pool(pool)
    net.flatten_and_dense(3)
    features = net.last
    net.dense("boxes")
    net.last = features
    net.dense()
    net.add("Softmax", [net.last], "scores", axis=1)
    return net.build("rnet", ["boxes", "scores"])


def build_output_net() -> bytes:
    """ONet: the last word on crops of 48 px.

    Outputs boxes (B, 4), points (B, 10: x1..x5, y1..y5) and scores (B, 2).
    """
    net = _Graph(load_weights("onet"))
    net.normalize()
    for pool in (3, 3, 2, 0):
        net.conv()
        net.prelu()
        if pool:
            net.pool(pool)
    net.flatten_and_dense(3)
    features = net.last
    net.dense("boxes")
    net.last = features
    net.dense("points")
    net.last = features
    net.dense()
    net.add("Softmax", [net.last], "scores", axis=1)
    return net.build("onet", ["boxes", "points", "scores"])
