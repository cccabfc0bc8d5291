"""What a graph says of itself, and which graphs are no embedding models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from arcwise.detect.networks import build_output_net
from arcwise.errors import InputError, ModelError
from arcwise.zoo.graph import GraphFacts, check_size, inspect_graph
from tests.tiny_models import averaging, build_graph, flattening, normalizing, write


def identity(takes: tuple[int | str, ...], gives: tuple[int | str, ...]) -> bytes:
    return build_graph(
        [helper.make_node("Identity", ["input"], ["output"])], takes=takes, gives=gives
    )


def test_size_layout_channels_and_dimension_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", flattening(size_px=16))
    assert inspect_graph(path) == GraphFacts(16, "nchw", 3, 768, normalizes=False)
    path = write(tmp_path / "b.onnx", flattening(size_px=20, channels=1, layout="nhwc"))
    assert inspect_graph(path) == GraphFacts(20, "nhwc", 1, 400, normalizes=False)


def test_axes_of_one_after_the_vector_do_not_count(tmp_path: Path) -> None:
    pool = helper.make_node("GlobalAveragePool", ["input"], ["output"])
    graph = build_graph([pool], takes=("N", 3, 112, 112), gives=("N", 3, 1, 1))
    assert inspect_graph(write(tmp_path / "a.onnx", graph)).dimension == 3


def test_what_the_graph_leaves_open_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", identity(("N", 3, "H", "W"), ("N", 3, "H", "W")))
    facts = inspect_graph(path)
    assert facts.size_px is None
    assert facts.dimension is None


def test_a_normalization_in_front_is_seen(tmp_path: Path) -> None:
    assert inspect_graph(write(tmp_path / "a.onnx", normalizing())).normalizes
    assert not inspect_graph(write(tmp_path / "b.onnx", averaging())).normalizes


def test_a_subtraction_behind_the_first_layer_is_no_normalization(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["features"]),
        helper.make_node("Sub", ["features", "one"], ["lower"]),
        helper.make_node("Mul", ["lower", "one"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["output"], axes=[2, 3], keepdims=0),
    ]
    constants = {"kernel": np.ones((3, 3, 1, 1), np.float32), "one": np.array(1, np.float32)}
    graph = build_graph(nodes, takes=("N", 3, 112, 112), gives=("N", 3), constants=constants)
    assert not inspect_graph(write(tmp_path / "a.onnx", graph)).normalizes


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (b"not a graph", "is not an ONNX graph"),
        (b"", "is not an ONNX graph"),
        (identity(("N", 128), ("N", 128)), r"takes an input of shape \[None, 128\]"),
        (identity(("N", 3, 64, 80), ("N", 3, 64, 80)), "80x64 px"),
        (identity(("N", 4, 64, 64), ("N", 4, 64, 64)), "4 channels"),
        (build_output_net(), "3 outputs"),
    ],
    ids=["words", "empty", "vectors", "oblong", "four channels", "detector"],
)
def test_what_is_no_embedding_model_is_refused(graph: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        inspect_graph(write(tmp_path / "a.onnx", graph))


def test_a_graph_of_two_inputs_is_refused(tmp_path: Path) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 112, 112])
        for name in ("a", "b", "sum")
    ]
    node = helper.make_node("Add", ["a", "b"], ["sum"])
    model = helper.make_model(helper.make_graph([node], "two", values[:2], values[2:]))
    path = write(tmp_path / "a.onnx", model.SerializeToString())
    with pytest.raises(ModelError, match=r"2 inputs \(a, b\)"):
        inspect_graph(path)


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    model = onnx.load_from_string(normalizing())
    onnx.save(model, path, save_as_external_data=True, location="a.data", size_threshold=0)
    with pytest.raises(ModelError, match="keeps its weights in other files") as caught:
        inspect_graph(path)
    assert "onnx.save" in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        inspect_graph(tmp_path / "nowhere.onnx")


def test_graph_and_owner_must_agree_on_the_size() -> None:
    fixed = GraphFacts(128, "nchw", 3, 512, normalizes=True)
    free = GraphFacts(None, "nchw", 3, 512, normalizes=True)
    assert check_size(fixed, None, Path("a.onnx")) == check_size(fixed, 128, Path("a.onnx")) == 128
    assert check_size(free, 224, Path("a.onnx")) == 224
    assert check_size(free, None, Path("a.onnx")) == 112
    with pytest.raises(InputError, match="128 px, not of 112"):
        check_size(fixed, 112, Path("a.onnx"))


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    ["scrfd/scrfd_500m_kps.onnx", "yunet/yunet_n_640_640.onnx", "yunet/yunet_n_dynamic.onnx"],
)
def test_a_published_detector_is_refused(name: str, real_data: Path) -> None:
    with pytest.raises(ModelError, match="outputs"):
        inspect_graph(real_data / "models" / name)
