"""What every test may ask for. Real photos and weights come through one fixture."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import hypothesis
import onnx
import pytest
from onnx import TensorProto, helper

from arcwise.convert import convert_model
from arcwise.encode import write_image
from arcwise.files import sha256_of_file
from arcwise.testing import draw_person
from arcwise.zoo import registry
from arcwise.zoo.card import InputContract, License, ModelCard, PublishedThreshold, save_card

# A shell that starts the tests in the background makes all of their children deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine may take any time for one example; how long tests take is pytest-timeout's.
hypothesis.settings.register_profile("arcwise", deadline=None)
hypothesis.settings.load_profile("arcwise")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photos and weights (ARCWISE_TEST_DATA); its absence skips the test."""
    given = os.environ.get("ARCWISE_TEST_DATA")
    if not given:
        pytest.skip("ARCWISE_TEST_DATA is not set: no real photos or weights")
    folder = Path(given)
    assert folder.is_dir(), f"ARCWISE_TEST_DATA names no folder: {folder}"
    return folder


@pytest.fixture(scope="session")
def portraits() -> dict[str, Path]:
    """The two public-domain portraits that come inside wheels: Grace Hopper, Eileen Collins."""
    found = {}
    for person, package, place in (
        ("Grace Hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("Eileen Collins", "skimage", "data/astronaut.png"),
    ):
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is missing: pip install 'arcwise[demo]'"
        assert spec.origin is not None
        found[person] = Path(spec.origin).parent / place
    return found


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's folder or the user's settings."""
    for key in list(os.environ):
        if key.startswith("ARCWISE_") and key != "ARCWISE_TEST_DATA":
            monkeypatch.delenv(key)
    home = tmp_path / "arcwise-home"
    monkeypatch.setenv("ARCWISE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding model of 192 dimensions with its card: the crop itself, 8x8 pixels, mean-free.

    It knows no faces, but tells two portraits and their slightly changed copies apart.
    """
    size_px, cell_px = 112, 14
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["cells"], kernel_shape=[cell_px] * 2, strides=[cell_px] * 2
        ),
        helper.make_node("Flatten", ["cells"], ["flat"], axis=1),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, size_px, size_px])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 192])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    onnx.save(model, str(path))
    card = ModelCard(
        name="tiny",
        file=path.name,
        sha256=sha256_of_file(path),
        input=InputContract(),
        dimension=192,
        license=License(name="Apache-2.0", commercial_use=True),
        source="made by the test suite",
        threshold=PublishedThreshold(similarity=0.8, source="the two portraits are at 0.52"),
    )
    save_card(card, path)
    return path


@pytest.fixture(scope="session")
def y1_model(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileFaceNet y1, converted from its MXNet files."""
    out = tmp_path_factory.mktemp("y1") / "y1.onnx"
    convert_model(
        real_data / "models" / "mobilefacenet_y1",
        out,
        license=License(name="non-commercial research", commercial_use=False),
    )
    return out


@pytest.fixture(scope="session")
def drawn_crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of aligned crops of eight drawn people, six of each."""
    root = tmp_path_factory.mktemp("crops")
    for person in range(8):
        for variation in range(6):
            image, _ = draw_person(person, variation=variation)
            write_image(root / f"person{person}" / f"{variation}.png", image)
    return root


@pytest.fixture
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the model that comes along: only the user's own count."""
    monkeypatch.setattr(registry, "SHIPPED_DIR", tmp_path / "nothing-shipped")
