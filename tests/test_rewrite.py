"""Rewritten graphs answer as the ones they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from arcwise.errors import SessionError
from arcwise.rewrite import spell_out_prelu


def prelu_graph(
    slopes: np.ndarray, *, constant: bool = True, opset: int = 17, ir_version: int = 8
) -> bytes:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", len(slopes), 4, 4])]
    initializers = []
    if constant:
        initializers.append(numpy_helper.from_array(slopes.reshape(-1, 1, 1), "slopes"))
        if ir_version < 4:
            shape = [len(slopes), 1, 1]
            inputs.append(helper.make_tensor_value_info("slopes", TensorProto.FLOAT, shape))
    else:
        inputs.append(helper.make_tensor_value_info("slopes", TensorProto.FLOAT, None))
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slopes"], ["y"])],
        "prelu",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(slopes), 4, 4])],
        initializers,
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 2), helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    content: bytes = model.SerializeToString()
    return content


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {"x": x})[0]
    return answer


@pytest.mark.parametrize(
    ("slopes", "tolerance"),
    [
        ([0.25, 0.0, -0.6, 1.0], 0),  # up to 1: the same to the last bit
        ([0.25, 1.3, -0.6, 2.0], 1e-6),
    ],
)
def test_a_rewritten_prelu_gives_the_same_values(slopes: list[float], tolerance: float) -> None:
    content = prelu_graph(np.array(slopes, np.float32))
    rewritten = spell_out_prelu(content)
    assert isinstance(rewritten, bytes)
    ops = [node.op_type for node in onnx.load_from_string(rewritten).graph.node]
    assert "PRelu" not in ops
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 4)).astype(np.float32)
    x[0, :, 0, 0] = 0
    np.testing.assert_allclose(run(rewritten, x), run(content, x), rtol=tolerance, atol=0)


@pytest.mark.parametrize("opset", [8, 9, 13])
@pytest.mark.parametrize("ir_version", [3, 4])
@pytest.mark.parametrize("slopes", [[0.25, -0.6], [0.25, 1.3]])
def test_graphs_that_list_their_constants_as_inputs_stay_valid(
    opset: int, ir_version: int, slopes: list[float]
) -> None:
    content = prelu_graph(np.array(slopes, np.float32), opset=opset, ir_version=ir_version)
    onnx.checker.check_model(content)
    rewritten = spell_out_prelu(content)
    assert isinstance(rewritten, bytes)
    model = onnx.load_from_string(rewritten)
    onnx.checker.check_model(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    listed = constants if ir_version < 4 else set()
    assert {entry.name for entry in model.graph.input} == {"x"} | listed
    assert ("slopes" in constants) == (max(slopes) <= 1)
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(content, x), rtol=1e-6)


def test_graphs_whose_operators_do_not_broadcast_are_left_alone() -> None:
    content = prelu_graph(np.array([0.25, -0.6], np.float32), opset=7, ir_version=3)
    assert spell_out_prelu(content) is content


def test_slopes_that_are_computed_are_left_alone() -> None:
    content = prelu_graph(np.zeros(4, np.float32), constant=False)
    assert spell_out_prelu(content) is content


def test_a_graph_without_prelu_is_left_alone(tiny_model: Path) -> None:
    assert spell_out_prelu(tiny_model) is tiny_model


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(SessionError, match=r"broken\.onnx"):
        spell_out_prelu(broken)


@pytest.mark.real
def test_real_weights_give_the_same_embeddings(y1_model: Path) -> None:
    rewritten = spell_out_prelu(y1_model)
    assert isinstance(rewritten, bytes)
    crops = np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    sessions = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for graph in (y1_model.read_bytes(), rewritten)
    )
    first, second = (session.run(None, {"data": crops})[0] for session in sessions)
    np.testing.assert_allclose(second, first, atol=1e-5)
