"""What a model is given, and what becomes of its answers. The model's answer is its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from arcwise.embed import ONNXEmbedder, TwoViews, prepare_crops, to_raw
from arcwise.errors import ChecksumError, InputError, ModelError, SessionError
from arcwise.files import sha256_of_file
from arcwise.zoo.card import InputContract, License, ModelCard
from arcwise.zoo.registry import Model
from tests.tiny_models import averaging, build_graph, flattening, write

SIZE_PX = 16


@pytest.fixture
def crops() -> np.ndarray:
    """(3, 16, 16, 3), nothing in them is symmetrical."""
    return np.random.default_rng(0).integers(0, 256, (3, SIZE_PX, SIZE_PX, 3), np.uint8)


def model_of(folder: Path, graph: bytes, *, dimension: int, **contract: Any) -> Model:
    path = write(folder / "tiny.onnx", graph)
    card = ModelCard(
        name="tiny",
        file=path.name,
        sha256=sha256_of_file(path),
        input=InputContract(**({"size_px": SIZE_PX, "mean": 0, "std": 1} | contract)),
        dimension=dimension,
        license=License(name="MIT"),
        source="made for a test",
    )
    return Model(card, path, "file")


def embedder(folder: Path, *, batch: int | str = "N", flip: bool = False, **contract: Any) -> Any:
    channels = 1 if contract.get("color") == "gray" else 3
    layout = contract.get("layout", "nchw")
    graph = flattening(size_px=SIZE_PX, channels=channels, layout=layout, batch=batch)
    dimension = channels * SIZE_PX * SIZE_PX
    return ONNXEmbedder(model_of(folder, graph, dimension=dimension, **contract), flip=flip)


def raw(embedder: ONNXEmbedder, crops: np.ndarray) -> np.ndarray:
    embeddings = embedder.embed(crops)
    return embeddings.vectors * embeddings.norms[:, None]


# What the model is given


def test_color_order_is_the_cards(crops: np.ndarray, tmp_path: Path) -> None:
    means = crops.astype(np.float64).mean(axis=(1, 2))
    for color, order in (("rgb", [0, 1, 2]), ("bgr", [2, 1, 0])):
        model = model_of(tmp_path, averaging(size_px=SIZE_PX), dimension=3, color=color)
        np.testing.assert_allclose(raw(ONNXEmbedder(model), crops), means[:, order], rtol=1e-5)


def test_gray_is_weighted_as_the_eye_does(crops: np.ndarray, tmp_path: Path) -> None:
    luma = crops @ np.array([0.299, 0.587, 0.114])
    found = raw(embedder(tmp_path, color="gray"), crops)
    np.testing.assert_allclose(found, luma.reshape(3, -1), rtol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), (127.5, 128), (0, 255), (10, 1)])
def test_pixels_are_moved_and_scaled_as_the_card_says(
    mean: float, std: float, crops: np.ndarray, tmp_path: Path
) -> None:
    expected = ((crops.astype(np.float64) - mean) / std).transpose(0, 3, 1, 2).reshape(3, -1)
    found = raw(embedder(tmp_path, mean=mean, std=std), crops)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("layout", "axes"), [("nchw", (0, 3, 1, 2)), ("nhwc", (0, 1, 2, 3))])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_axes_are_in_the_cards_order(
    layout: Any, axes: tuple[int, ...], color: str, crops: np.ndarray, tmp_path: Path
) -> None:
    ordered = crops if color == "rgb" else crops[..., ::-1]
    expected = ordered.transpose(axes).reshape(3, -1)
    found = raw(embedder(tmp_path, layout=layout, color=color), crops)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_prepared_crops_are_whole_float32_and_the_crops_stay(
    color: Any, layout: Any, crops: np.ndarray
) -> None:
    before = crops.copy()
    contract = InputContract(size_px=SIZE_PX, color=color, layout=layout)
    values = prepare_crops(crops, contract)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert np.abs(values).max() <= 1
    np.testing.assert_array_equal(crops, before)


def test_flip_adds_the_mirrored_crop(crops: np.ndarray, tmp_path: Path) -> None:
    plain, flipping = embedder(tmp_path), embedder(tmp_path, flip=True)
    both = raw(plain, crops) + raw(plain, np.ascontiguousarray(crops[:, :, ::-1]))
    np.testing.assert_allclose(raw(flipping, crops), both / 2, rtol=1e-5)
    found = flipping.embed(crops).vectors
    np.testing.assert_allclose(found, both / np.linalg.norm(both, axis=1, keepdims=True), rtol=1e-4)


# Batches


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 16, 17, 37])
def test_any_number_of_crops_is_embedded_in_order(n: int, batch: int | str, tmp_path: Path) -> None:
    crops = np.random.default_rng(n).integers(0, 256, (n, SIZE_PX, SIZE_PX, 3), np.uint8)
    embeddings = embedder(tmp_path, batch=batch).embed(crops)
    expected = crops.transpose(0, 3, 1, 2).reshape(n, 3 * SIZE_PX * SIZE_PX)
    assert embeddings.vectors.shape == (n, 3 * SIZE_PX * SIZE_PX)
    np.testing.assert_allclose(embeddings.vectors * embeddings.norms[:, None], expected, rtol=1e-5)


def test_embeddings_have_norm_1_and_keep_their_length(crops: np.ndarray, tmp_path: Path) -> None:
    embeddings = embedder(tmp_path).embed(crops)
    lengths = np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    expected = np.linalg.norm(crops.reshape(3, -1).astype(np.float64), axis=1)
    np.testing.assert_allclose(embeddings.norms, expected, rtol=1e-6)


def test_an_embedder_says_what_it_is(tmp_path: Path) -> None:
    one = embedder(tmp_path)
    assert (one.name, one.dimension, one.crop_size_px) == ("tiny", 768, SIZE_PX)
    assert one.digest == one.card.digest
    assert one.provider == "cpu"


# Errors


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((1, 15, 16, 3), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((1, 3, 16, 16), np.uint8),
    ],
)
def test_what_are_no_crops_of_that_size_is_refused(given: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the model takes \(N, 16, 16, 3\) uint8 RGB"):
        embedder(tmp_path).embed(given)


@pytest.mark.parametrize("dimension", [767, 769, 2304])
def test_a_card_with_a_wrong_dimension_is_refused(
    dimension: int, crops: np.ndarray, tmp_path: Path
) -> None:
    model = model_of(tmp_path, flattening(size_px=SIZE_PX), dimension=dimension)
    with pytest.raises(ModelError, match=rf"\(3, 768\) for 3 crops, its card says {dimension}"):
        ONNXEmbedder(model).embed(crops)


def test_one_answer_for_several_crops_is_refused(crops: np.ndarray, tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["input"], ["output"], axes=[0, 2, 3], keepdims=0)
    graph = build_graph([mean], takes=("N", 3, SIZE_PX, SIZE_PX), gives=(3,))
    model = model_of(tmp_path, graph, dimension=1)
    with pytest.raises(ModelError, match=r"gives \(3,\) for 2 crops"):
        ONNXEmbedder(model).embed(crops[:2])


def test_answers_that_are_not_finite_are_refused(crops: np.ndarray, tmp_path: Path) -> None:
    graph = averaging(size_px=SIZE_PX, scale=float("inf"))
    model = model_of(tmp_path, graph, dimension=3)
    with pytest.raises(ModelError, match="tiny gives values that are not finite") as caught:
        ONNXEmbedder(model).embed(crops)
    assert "mean and std" in caught.value.hint


def test_a_graph_of_another_size_than_its_card_is_refused(
    crops: np.ndarray, tmp_path: Path
) -> None:
    model = model_of(tmp_path, flattening(size_px=20), dimension=1200)
    with pytest.raises(SessionError, match="failed on an input of shape"):
        ONNXEmbedder(model).embed(crops)


def test_a_changed_file_is_refused_before_it_runs(tmp_path: Path) -> None:
    model = model_of(tmp_path, flattening(size_px=SIZE_PX), dimension=768)
    write(model.path, flattening(size_px=20))
    with pytest.raises(ChecksumError, match=r"tiny\.onnx"):
        ONNXEmbedder(model)


def test_a_detector_does_not_embed(tmp_path: Path) -> None:
    model = model_of(tmp_path, flattening(size_px=SIZE_PX), dimension=768)
    card = model.card.model_copy(update={"task": "detect"})
    with pytest.raises(ModelError, match="tiny is a model to detect, not to embed"):
        ONNXEmbedder(Model(card, model.path, "file"))


# Two views


def test_two_views_lie_behind_each_other(crops: np.ndarray, tmp_path: Path) -> None:
    single = embedder(tmp_path)
    views = to_raw(TwoViews(single).embed(crops))
    np.testing.assert_allclose(views[:, :768], raw(single, crops), rtol=1e-5)
    np.testing.assert_allclose(views[:, 768:], raw(single, crops[:, :, ::-1]), rtol=1e-5)


def test_the_sum_of_two_views_points_where_flip_does(crops: np.ndarray, tmp_path: Path) -> None:
    views = to_raw(TwoViews(embedder(tmp_path)).embed(crops))
    flipped = raw(embedder(tmp_path, flip=True), crops)
    np.testing.assert_allclose((views[:, :768] + views[:, 768:]) / 2, flipped, rtol=1e-4)


def test_two_views_are_another_model(tmp_path: Path) -> None:
    single = embedder(tmp_path)
    views = TwoViews(single)
    assert (views.dimension, views.crop_size_px) == (2 * 768, SIZE_PX)
    assert views.digest != single.digest
    assert "tiny" in views.name


def test_two_views_of_a_flipped_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by itself"):
        TwoViews(embedder(tmp_path, flip=True))
