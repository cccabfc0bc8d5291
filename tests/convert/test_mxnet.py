"""Whole MXNet models: what is written, what is refused, and one that was published."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from arcwise.convert import convert_model, detect_dialect
from arcwise.errors import CheckpointError, InputError
from arcwise.files import sha256_of_file
from arcwise.zoo.card import InputContract, License, ModelCard, load_card

Array = NDArray[Any]
SaveModel = Callable[..., Path]
RunModel = Callable[[Path, Array], Array]
LayerNodes = list[tuple[str, str, dict[str, Any], list[str]]]

LICENSE = License(name="Apache-2.0", commercial_use=True)
RAW_16 = InputContract(size_px=16, mean=0.0, std=1.0)


def weights(*shape: int, seed: int = 7) -> Array:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def convert(folder: Path, **options: Any) -> tuple[ModelCard, Path]:
    out = folder / "converted.onnx"
    options = {"license": LICENSE, "input": RAW_16, **options}
    return convert_model(folder, out, **options), out


FLAT: LayerNodes = [("Flatten", "f", {}, ["data"])]
DENSE: LayerNodes = [("FullyConnected", "d", {"num_hidden": 5}, ["data", "d_weight", "d_bias"])]
NORMALIZING: LayerNodes = [
    ("identity", "id", {}, ["data"]),
    ("_minus_scalar", "minus", {"scalar": 127.5}, ["id"]),
    ("_mul_scalar", "times", {"scalar": 0.0078125}, ["minus"]),
    ("FullyConnected", "fc1", {"num_hidden": 5}, ["times", "d_weight", "d_bias"]),
]
DENSE_PARAMS = {"d_weight": weights(5, 768), "d_bias": weights(5)}


def conv_nodes(**changes: Any) -> LayerNodes:
    attributes = {"kernel": (3, 3), "num_filter": 4, "no_bias": True, **changes}
    return [("Convolution", "c", attributes, ["data", "c_weight"])]


CONV_PARAMS = {"c_weight": weights(4, 3, 3, 3)}


def test_the_card_names_the_file_the_contract_and_the_origin(save_model: SaveModel) -> None:
    folder = save_model(NORMALIZING, DENSE_PARAMS)
    card, out = convert(folder, source_note="https://example.org/r100")
    assert load_card(out) == card
    assert card.sha256 == sha256_of_file(out)
    assert (card.name, card.file, card.license) == ("converted", "converted.onnx", LICENSE)
    assert card.input == RAW_16
    assert card.source.startswith("https://example.org/r100; converted from MXNet: net-symbol.json")
    assert sha256_of_file(folder / "net-0000.params") in card.source


def test_the_model_keeps_the_names_and_any_batch_size(save_model: SaveModel) -> None:
    _, out = convert(save_model(NORMALIZING, DENSE_PARAMS))
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    shapes = {
        end.name: [size.dim_param or size.dim_value for size in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"data": ["N", 3, 16, 16], "fc1": ["N", 5]}


def test_the_same_files_give_the_same_bytes(save_model: SaveModel) -> None:
    folder = save_model(NORMALIZING, DENSE_PARAMS)
    assert convert(folder)[0].sha256 == convert(folder)[0].sha256


def test_a_graph_that_normalizes_needs_no_contract(save_model: SaveModel) -> None:
    params = {**DENSE_PARAMS, "d_weight": weights(5, 3 * 112 * 112)}
    card, _ = convert(save_model(NORMALIZING, params), input=None)
    assert card.input == InputContract(size_px=112, color="rgb", mean=0, std=1)


def test_a_graph_that_does_not_normalize_needs_one(save_model: SaveModel) -> None:
    folder = save_model([("Flatten", "f", {}, ["data"])], {})
    with pytest.raises(InputError, match="does not normalize its input") as caught:
        convert(folder, input=None)
    assert "mean" in caught.value.hint
    card, _ = convert(folder, input=InputContract(size_px=16, color="bgr", std=128))
    assert card.input == InputContract(size_px=16, color="bgr", mean=127.5, std=128)


def test_normalizing_twice_is_refused(save_model: SaveModel) -> None:
    with pytest.raises(InputError, match=r"mean 127.5 and std 127.5 would do it twice"):
        convert(save_model(NORMALIZING, DENSE_PARAMS), input=InputContract(size_px=16))


def test_a_gray_model_has_one_channel(save_model: SaveModel) -> None:
    folder = save_model([("Flatten", "f", {}, ["data"])], {})
    card, _ = convert(folder, input=InputContract(size_px=16, color="gray"))
    assert card.dimension == 256


def test_a_training_loss_behind_the_head_is_left_out(save_model: SaveModel) -> None:
    nodes = [*NORMALIZING, ("SoftmaxOutput", "softmax", {}, ["fc1", "softmax_label"])]
    params = {**DENSE_PARAMS, "fc7_weight": weights(10, 5)}
    card, out = convert(save_model(nodes, params, heads=["fc1"]))
    assert [end.name for end in onnx.load(out).graph.output] == ["fc1"]
    assert card.note == "parameters the graph does not use: fc7_weight"


@pytest.mark.parametrize(
    ("nodes", "params", "says"),
    [
        ([("Custom", "x", {}, ["data"])], {}, r"node x \(Custom\) uses an operator"),
        ([("SoftmaxOutput", "s", {}, ["data"])], {}, r"node s .* is a training loss"),
        (DENSE, {"d_weight": weights(5, 768)}, "lacks 1 of the 2 parameters .* d_bias"),
        (DENSE, {"a": weights(1), "b": weights(1)}, "lacks 2 of the 2 parameters"),
        (DENSE, {**DENSE_PARAMS, "d_weight": weights(5, 700)}, r"\(5, 700\).* wants \(5, 768\)"),
        (DENSE, {**DENSE_PARAMS, "d_bias": weights(6)}, r"d_bias has the shape \(6,\)"),
        (DENSE, {**DENSE_PARAMS, "d_bias": np.full(5, np.nan)}, "5 of the 5 values of d_bias"),
        (DENSE, {**DENSE_PARAMS, "d_bias": np.full(5, 1e300)}, "not finite in float32"),
        (DENSE, {**DENSE_PARAMS, "d_bias": np.arange(5)}, "d_bias is int64"),
        (conv_nodes(), CONV_PARAMS, r"gives c of shape .* not one vector per crop"),
        (conv_nodes(layout="NHWC"), CONV_PARAMS, "layout='NHWC', which cannot be converted"),
        (conv_nodes(kernel=(3,)), CONV_PARAMS, r"kernel='\(3,\)'"),
        (conv_nodes(kernel=None), CONV_PARAMS, "lacks the attribute kernel"),
        (conv_nodes(stride=(0, 1)), CONV_PARAMS, r"stride \(0, 1\)"),
        (conv_nodes(num_group=2), CONV_PARAMS, "3 to 4 channels into 2 groups"),
        (conv_nodes(kernel=(17, 17)), CONV_PARAMS, "0×0 px"),
        (conv_nodes(no_bias="perhaps"), CONV_PARAMS, "no_bias='perhaps'"),
        ([("Convolution", "c", {}, ["data"])], {}, "lacks the attribute num_filter"),
        ([("Convolution", "c", conv_nodes()[0][2], ["data"])], {}, "has 1 inputs, it needs 2"),
        ([("Activation", "a", {"act_type": "gelu"}, ["data"])], {}, "act_type='gelu'"),
        ([("LeakyReLU", "a", {"act_type": "rrelu"}, ["data"])], {}, "act_type='rrelu'"),
        ([("_mul_scalar", "m", {"scalar": "nan"}, ["data"])], {}, "scalar='nan'"),
        ([("_mul_scalar", "m", {"scalar": "1e39"}, ["data"])], {}, "scalar='1e39'"),
        ([("_mul_scalar", "m", {}, ["data"])], {}, "lacks the attribute scalar"),
        ([("_div_scalar", "m", {"scalar": 0}, ["data"])], {}, "divides by zero"),
        ([("Reshape", "r", {"shape": (-1, 3)}, ["data"])], {}, "not to one row per sample"),
        ([("Dropout", "d", {"mode": "always"}, ["data"])], {}, "mode='always'"),
        ([*FLAT, ("elemwise_add", "a", {}, ["data", "f"])], {}, "joins shapes"),
        ([*FLAT, ("Concat", "a", {}, ["data", "f"])], {}, "joins shapes"),
        ([("elemwise_add", "a", {}, ["data", "w"])], {"w": weights(3)}, "takes the parameter w"),
        ([("elemwise_add", "a", {}, ["data"])], {}, "has 1 inputs, it needs 2"),
        ([("Flatten", "f", {}, ["image"])], {"image": weights(3)}, "no input of the name data"),
    ],
)
def test_a_model_we_cannot_convert_exactly_is_refused(
    save_model: SaveModel, nodes: LayerNodes, params: dict[str, Array], says: str
) -> None:
    folder = save_model(nodes, params)
    with pytest.raises(CheckpointError, match=says):
        convert(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["net-0000.params", "net-symbol.json"]


def test_a_graph_with_two_outputs_is_refused(save_model: SaveModel) -> None:
    folder = save_model(NORMALIZING, DENSE_PARAMS, heads=["fc1", "minus"])
    with pytest.raises(CheckpointError, match="has 2 outputs"):
        convert(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not JSON", "is not an MXNet graph: the file: Invalid JSON"),
        ("[" * 100_000, "is not an MXNet graph"),
        ("{}", "is not an MXNet graph: nodes"),
        ('{"nodes": [{"op": "null"}], "heads": [[0, 0]]}', r"nodes\.0\.name"),
        ('{"nodes": [{"op": "null", "name": "data"}], "heads": [[7, 0]]}', "leads nowhere"),
        ('{"nodes": [{"op": "null", "name": "data"}], "heads": [[0, 1]]}', "takes output 1"),
        ('{"nodes": [{"op": "null", "name": "data"}], "heads": [[0, 0]]}', "gives data of shape"),
        (
            '{"nodes": [{"op": "Flatten", "name": "f", "inputs": [[0, 0]]}], "heads": [[0, 0]]}',
            "leads nowhere",
        ),
        (
            '{"nodes": [{"op": "null", "name": "data"}, {"op": "Flatten", "name": "data", '
            '"inputs": [[0, 0]]}], "heads": [[1, 0]]}',
            "two nodes of the name data",
        ),
    ],
)
def test_a_damaged_graph_is_refused(save_model: SaveModel, content: str, says: str) -> None:
    folder = save_model(FLAT, {})
    (folder / "net-symbol.json").write_text(content)
    with pytest.raises(CheckpointError, match=says):
        convert(folder)


def test_cut_parameters_write_nothing(save_model: SaveModel) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    params = folder / "net-0000.params"
    params.write_bytes(params.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off"):
        convert(folder)
    assert not (folder / "converted.onnx").exists()
    assert not (folder / "converted.json").exists()


def test_parameters_without_kind_are_refused(
    save_model: SaveModel, pack_arrays: Callable[..., bytes]
) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    (folder / "net-0000.params").write_bytes(pack_arrays(DENSE_PARAMS))
    with pytest.raises(CheckpointError, match="'d_weight', without arg: or aux:"):
        convert(folder)


@pytest.mark.parametrize("source", ["", "net", "net-symbol.json", "net-0000.params"])
def test_a_source_is_a_folder_a_prefix_or_a_file(save_model: SaveModel, source: str) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    assert detect_dialect(folder / source) == "mxnet"
    card = convert_model(folder / source, folder / "m.onnx", license=LICENSE, input=RAW_16)
    assert card.dimension == 5


def test_several_epochs_need_a_choice(save_model: SaveModel) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    shutil.copy(folder / "net-0000.params", folder / "net-0001.params")
    for source in (folder, folder / "net", folder / "net-symbol.json"):
        with pytest.raises(CheckpointError, match=r"several .* net-0000.params, net-0001.params"):
            convert_model(source, folder / "m.onnx", license=LICENSE, input=RAW_16)
    chosen = folder / "net-0001.params"
    card = convert_model(chosen, folder / "m.onnx", license=LICENSE, input=RAW_16)
    assert "net-0001.params" in card.source


@pytest.mark.parametrize(
    ("present", "missing"),
    [("net-symbol.json", r"no \*.params"), ("net-0000.params", r"no \*-symbol.json")],
)
def test_half_a_model_is_refused(save_model: SaveModel, present: str, missing: str) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    for path in folder.iterdir():
        if path.name != present:
            path.unlink()
    with pytest.raises(CheckpointError, match=missing):
        convert(folder)


def test_a_path_without_a_known_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing to convert"):
        detect_dialect(tmp_path / "missing" / "net")
    with pytest.raises(CheckpointError, match="no model of a known dialect"):
        detect_dialect(tmp_path)
    with pytest.raises(InputError, match="there is no dialect 'caffe'"):
        convert(tmp_path, dialect="caffe")


def test_a_folder_as_target_gets_the_name_of_the_source(save_model: SaveModel) -> None:
    folder = save_model(DENSE, DENSE_PARAMS, folder="My Face Net")
    card = convert_model(folder, folder / "out", license=LICENSE, input=RAW_16)
    assert card.name == "my-face-net"
    assert (folder / "out/my-face-net.onnx").is_file()
    assert (folder / "out/my-face-net.json").is_file()


def test_a_name_no_model_can_have_writes_nothing(save_model: SaveModel) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    with pytest.raises(InputError, match="no model can have the name 'A/B'"):
        convert(folder, name="A/B")
    assert not (folder / "converted.onnx").exists()


def test_a_place_that_cannot_be_written_is_the_users_mistake(save_model: SaveModel) -> None:
    folder = save_model(DENSE, DENSE_PARAMS)
    target = folder / "net-symbol.json" / "m.onnx"
    with pytest.raises(InputError, match="cannot write"):
        convert_model(folder, target, license=LICENSE, input=RAW_16)


@pytest.fixture(scope="module")
def mobilefacenet(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "mobilefacenet.onnx"
    convert_model(real_data / "models/mobilefacenet_y1", out, license=LICENSE)
    return out


@pytest.mark.real
def test_published_mobilefacenet_gives_128_values_for_any_batch(
    mobilefacenet: Path, run_model: RunModel
) -> None:
    onnx.checker.check_model(onnx.load(mobilefacenet), full_check=True)
    card = load_card(mobilefacenet)
    assert card.dimension == 128
    assert card.input == InputContract(mean=0, std=1)
    crops = np.random.default_rng(0).integers(0, 256, (5, 3, 112, 112)).astype(np.float32)
    together = run_model(mobilefacenet, crops)
    alone = np.concatenate([run_model(mobilefacenet, crop[None]) for crop in crops])
    assert together.shape == (5, 128)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=1e-5)


def read_pairs(data: Path, first: int, n: int) -> list[list[str]]:
    lines = (data / "lfw/pairs_6000.txt").read_text().splitlines()
    return [line.split() for line in lines[first : first + n]]


@pytest.mark.real
def test_published_mobilefacenet_knows_people_apart(
    real_data: Path, mobilefacenet: Path, run_model: RunModel
) -> None:
    same = read_pairs(real_data, 600, 20)  # fold 3, as the official ten folds number it
    different = read_pairs(real_data, 3600, 20)
    assert {pair[2] for pair in same} == {"1"}
    assert {pair[2] for pair in different} == {"0"}
    with zipfile.ZipFile(real_data / "lfw/lfw-deepfunneled.zip") as archive:

        def read_crop(name: str) -> Array:
            photo = Image.open(io.BytesIO(archive.read(f"lfw-deepfunneled/{name}")))
            crop = photo.convert("RGB").crop((70, 65, 180, 175)).resize((112, 112))
            return np.asarray(crop, np.float32).transpose(2, 0, 1)

        crops = np.stack([read_crop(name) for pair in same + different for name in pair[:2]])
    vectors = run_model(mobilefacenet, crops)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = (vectors[0::2] * vectors[1::2]).sum(axis=1)
    assert similarity[:20].mean() > similarity[20:].mean() + 0.4
