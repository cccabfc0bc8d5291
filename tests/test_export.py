"""An exported model answers as the network it was made from, or is not written."""

from __future__ import annotations

import copy
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

import arcwise.export
from arcwise import __version__
from arcwise.embed import ONNXEmbedder
from arcwise.errors import (
    CheckpointError,
    ChecksumError,
    ExportMismatchError,
    InputError,
    LearningError,
)
from arcwise.export import ExportOptions, export_model
from arcwise.files import sha256_of_file
from arcwise.nn import build_backbone
from arcwise.nn.fuse import fuse_batch_norm
from arcwise.nn.weights import load_weights
from arcwise.session import Session
from arcwise.testing import draw_person
from arcwise.train.checkpoint import Checkpoint, save_checkpoint
from arcwise.train.config import TrainConfig
from arcwise.zoo.card import InputContract, License, ModelCard, load_card
from arcwise.zoo.registry import Model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
DIMENSION = 32
trace = arcwise.export._trace  # some tests replace it
OPTIONS = ExportOptions(license=License(name="MIT", commercial_use=True))
EVERYTHING = ["model.json", "model.onnx"]


@cache
def trained(name: str = "compact", dimension: int = DIMENSION) -> nn.Module:
    """A network with weights and statistics as training leaves them: none is 0 or 1."""
    torch.manual_seed(3)
    network = build_backbone(name, dimension=dimension)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.3, 1)
            nn.init.normal_(part.bias, 0, 0.3)
            part.running_mean.normal_(0, 0.5)
            part.running_var.uniform_(0.5, 3)
    return network.eval()


@cache
def traced() -> onnx.ModelProto:
    """What torch's exporter, which takes seconds, makes of the network above."""
    return trace(fuse_batch_norm(trained()), torch.zeros(2, 3, 112, 112))


def make_run(folder: Path, network: nn.Module, *, checkpoint: str = "last", **changes: Any) -> Path:
    """A run whose network was trained, and went astray; its averaged weights did not."""
    name, dimension = changes.pop("name", "compact"), changes.pop("dimension", DIMENSION)
    config = TrainConfig.from_dict(
        {
            "run": str(folder),
            "average": 0.99,
            "data": {"folder": str(folder / "secret" / "crops")},
            "network": {"name": name, "dimension": dimension},
            "distill": {"targets": str(folder / "secret" / "teacher.npz")},
        }
    )
    averaged = network.state_dict()
    astray = {key: torch.zeros_like(value) for key, value in averaged.items()}
    state = Checkpoint(
        tensors={"network": astray, "average": averaged},
        step=700,
        config=config.to_dict(),
        n_identities=9,
        people_digest="0" * 64,
        validation={"step": 700, "epoch": 3.5, "eer": 0.125, "tar": None, "n_genuine": 40},
    )
    save_checkpoint(folder / "checkpoints" / f"{checkpoint}.safetensors", replace(state, **changes))
    return folder


def draw_crops(n: int) -> np.ndarray:
    return np.stack([draw_person(seed)[0] for seed in range(n)])


@torch.inference_mode()
def answer(network: nn.Module, crops: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    return network((pixels - 127.5) / 127.5).numpy()


def embed(path: Path, crops: np.ndarray) -> np.ndarray:
    """As a user of the model does, raw."""
    found = ONNXEmbedder(Model(load_card(path), path, "file")).embed(crops)
    return found.vectors * found.norms[:, None]


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def digests_in(folder: Path) -> dict[str, str]:
    files = (file for file in folder.iterdir() if file.suffix != ".part")
    return {file.name: sha256_of_file(file) for file in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "My Run", trained())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's answer is known already."""
    monkeypatch.setattr(arcwise.export, "_trace", lambda *_: copy.deepcopy(traced()))


@pytest.fixture
def unchecked(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed, for tests of what lies around it."""
    likeness = arcwise.export._Likeness(1e-7, 1.0)
    monkeypatch.setattr(arcwise.export, "fuse_batch_norm", lambda network, **_: network)
    monkeypatch.setattr(arcwise.export, "_compare", lambda *_, **__: likeness)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arcwise.export, "_trace", lambda *_: copy.deepcopy(traced()))
        export_model(run, path, options=OPTIONS)
    return path


@pytest.mark.parametrize("n_crops", [1, 3, 9])
def test_the_file_answers_as_the_averaged_weights_do(exported: Path, n_crops: int) -> None:
    crops = draw_crops(n_crops)
    expected, found = answer(trained(), crops), embed(exported, crops)
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.shape == (n_crops, DIMENSION)
    assert (np.abs(found - expected) < 1e-5 * norms).all()


def test_any_number_of_crops_goes_in_at_once(exported: Path) -> None:
    session = Session(exported)
    assert (session.input_name, session.output_names) == ("data", ("embedding",))
    assert session.input_shape == ("N", 3, 112, 112)
    assert session.run(np.zeros((11, 3, 112, 112), np.float32))[0].shape == (11, DIMENSION)


def test_the_file_is_a_plain_graph_of_opset_18_signed_by_us(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert (model.producer_name, model.producer_version) == ("arcwise", "")
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer)
    assert files_in(exported.parent) == EVERYTHING


def test_the_file_tells_nothing_of_the_machine(exported: Path, run: Path) -> None:
    content = exported.read_bytes() + exported.with_suffix(".json").read_bytes()
    places = [ROOT, Path.cwd(), Path.home(), Path(sys.prefix), Path(torch.__file__).parent, run]
    words = [*map(str, places), "site-packages", '.py"', "secret", "stack_trace", "pytorch"]
    assert [word for word in words if word.encode() in content] == []


def test_the_card_says_what_the_checkpoint_knows(exported: Path) -> None:
    card = load_card(exported)
    difference, cosine = (card.metrics[f"export_{name}"] for name in ("difference", "cosine"))
    assert 0 < difference < 1e-5
    assert cosine == pytest.approx(1, abs=1e-6)
    assert card == ModelCard(
        name="model",
        file="model.onnx",
        sha256=card.sha256,
        input=InputContract(size_px=112, color="rgb", mean=127.5, std=127.5),
        dimension=DIMENSION,
        grade="demo",
        license=OPTIONS.license,
        source=f"trained with arcwise {__version__}",
        trained_on="9 people of crops, 20 epochs, with the embeddings of teacher.npz to learn from",
        metrics={
            "validation_eer": 0.125,
            "validation_n_genuine": 40,
            "export_difference": difference,
            "export_cosine": cosine,
        },
        note="compact; step 700, averaged weights",
    )


def test_numbers_of_an_earlier_step_are_not_those_of_these_weights(
    unchecked: None, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", trained(), step=701)
    card = export_model(run, tmp_path / "model.onnx", options=OPTIONS)
    assert set(card.metrics) == {"export_difference", "export_cosine"}


def test_half_precision_halves_the_file_and_keeps_the_answers(
    run: Path, exported: Path, quick: None, tmp_path: Path
) -> None:
    path = tmp_path / "half.onnx"
    card = export_model(run, path, options=replace(OPTIONS, half=True))
    assert path.stat().st_size < 0.51 * exported.stat().st_size
    crops = draw_crops(4)
    expected, found = answer(trained(), crops), embed(path, crops)
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    assert ((expected * found).sum(axis=1) / norms > 0.99999).all()
    assert card.metrics["export_cosine"] > 0.99999
    assert "float16" in card.note


def test_half_precision_keeps_weights_only_and_computes_as_before(
    run: Path, unchecked: None, tmp_path: Path
) -> None:
    path = tmp_path / "half.onnx"
    export_model(run, path, options=replace(OPTIONS, half=True))
    graph = onnx.load(path).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {kinds[n.input[0]] for n in graph.node if n.op_type == "Cast"} == {TensorProto.FLOAT16}
    assert kinds["fc.bias"] == TensorProto.FLOAT
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    n_layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in trained().modules())
    assert sum(node.op_type == "Cast" for node in graph.node) == n_layers


def spoil(proto: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    spoiled = copy.deepcopy(proto)
    tensor = next(tensor for tensor in spoiled.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return spoiled


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_a_graph_that_answers_otherwise_is_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, factor: float, half: bool
) -> None:
    spoiled = spoil(traced(), "fc.bias" if factor > 1 else "fc.weight", 5 * factor)
    monkeypatch.setattr(arcwise.export, "_trace", lambda *_: spoiled)
    with pytest.raises(ExportMismatchError, match=r"the graph does not .* cosine (0\.\d|nan)"):
        export_model(run, tmp_path / "model.onnx", options=replace(OPTIONS, half=half))
    assert files_in(tmp_path) == []


def test_a_fused_network_that_answers_otherwise_is_not_written(
    run: Path, quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fuse_wrongly(network: nn.Module, **_: object) -> nn.Module:
        fused = fuse_batch_norm(network)
        fused.get_parameter("fc.bias").mul_(1.01)
        return fused

    monkeypatch.setattr(arcwise.export, "fuse_batch_norm", fuse_wrongly)
    with pytest.raises(ExportMismatchError, match=r"the fused network .* difference 0\.\d+ of"):
        export_model(run, tmp_path / "model.onnx", options=OPTIONS)
    assert files_in(tmp_path) == []


def test_a_weight_too_large_for_half_precision_is_a_mismatch(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoiled = spoil(traced(), "stem.0.weight", 1e6)
    monkeypatch.setattr(arcwise.export, "_trace", lambda *_: spoiled)
    with pytest.raises(ExportMismatchError, match="cosine nan") as caught:
        export_model(run, tmp_path / "model.onnx", options=replace(OPTIONS, half=True))
    assert "--half" in caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_network_without_a_sensible_answer_is_not_exported(
    value: float, quick: None, tmp_path: Path
) -> None:
    network = copy.deepcopy(trained())
    network.features.weight.data.fill_(value)
    network.features.bias.data.fill_(value)
    run = make_run(tmp_path / "run", network)
    with pytest.raises(CheckpointError, match=r"embeddings of norm (nan|0) to") as caught:
        export_model(run, tmp_path / "out" / "model.onnx", options=OPTIONS)
    assert "diverge" in caught.value.hint
    assert files_in(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("wanted", "step"), [(None, 5), ("best", 5), ("last", 8), ("checkpoint", 8)]
)
def test_of_a_run_the_best_checkpoint_is_taken(
    unchecked: None, tmp_path: Path, wanted: Any, step: int
) -> None:
    run = make_run(tmp_path / "run", trained(), checkpoint="last", step=8)
    make_run(run, trained(), checkpoint="best", step=5)
    source, options = run, replace(OPTIONS, checkpoint=wanted)
    if wanted == "checkpoint":
        source, options = run / "checkpoints" / "last.safetensors", OPTIONS
    card = export_model(source, tmp_path / "model.onnx", options=options)
    assert f"step {step}," in card.note


def test_without_an_average_the_network_itself_is_taken(quick: None, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trained(), tensors={"network": trained().state_dict()})
    card = export_model(run, tmp_path / "model.onnx", options=OPTIONS)
    assert card.note == "compact; step 700"


def test_a_folder_gets_a_file_named_after_the_run(
    run: Path, unchecked: None, tmp_path: Path
) -> None:
    card = export_model(run, tmp_path / "new" / "folder", options=OPTIONS)
    assert (card.name, card.file) == ("my-run", "my-run.onnx")
    assert files_in(tmp_path / "new" / "folder") == ["my-run.json", "my-run.onnx"]


def test_what_its_owner_says_stands_in_the_card(run: Path, unchecked: None, tmp_path: Path) -> None:
    options = replace(OPTIONS, name="faces-1", grade="good", trained_on="nobody")
    export_model(run, tmp_path / "model.onnx", options=options)
    card = load_card(tmp_path / "model.onnx")
    assert (card.name, card.grade, card.trained_on) == ("faces-1", "good", "nobody")


def test_the_weights_before_fusing_can_be_kept(run: Path, unchecked: None, tmp_path: Path) -> None:
    place = tmp_path / "new" / "weights.safetensors"
    export_model(run, tmp_path / "model.onnx", options=replace(OPTIONS, weights=place))
    found = load_weights(place)
    assert found.network == {"name": "compact", "dimension": DIMENSION}
    network = build_backbone(**found.network)
    network.load_state_dict(found.tensors)
    crops = draw_crops(2)
    expected = answer(trained(), crops)
    np.testing.assert_allclose(
        answer(network.eval(), crops), expected, atol=2e-3 * np.linalg.norm(expected)
    )


def no_run(folder: Path) -> Path:
    folder.mkdir()
    return folder


def no_checkpoint(folder: Path) -> Path:
    folder.write_bytes(b"PK\x03\x04 a pickled model of another framework")
    return folder


def another_dimension(folder: Path) -> Path:
    return make_run(folder, trained(), dimension=16)


def another_network(folder: Path) -> Path:
    return make_run(folder, trained(), name="mobilefacenet")


def no_network(folder: Path) -> Path:
    return make_run(folder, trained(), tensors={"head": {"weight": torch.zeros(9, DIMENSION)}})


def another_config(folder: Path) -> Path:
    return make_run(folder, trained(), config={"run": "x", "data": {"folder": "y"}, "colour": 1})


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (no_run, r"there is no checkpoint at .*last\.safetensors"),
        (no_checkpoint, "is no whole safetensors file"),
        (another_dimension, r"does not fit: 6 of another shape .* 32 instead of 16"),
        (another_network, "does not fit: .* missing"),
        (no_network, "does not fit: .* missing"),
        (another_config, "configuration in .* cannot be read: .*colour"),
    ],
)
def test_what_is_no_checkpoint_of_ours_is_refused(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=complaint) as caught:
        export_model(make(tmp_path / "run"), tmp_path / "model.onnx", options=OPTIONS)
    assert caught.value.hint
    assert files_in(tmp_path) == ["run"]


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is nothing at .*runs"):
        export_model(tmp_path / "runs", tmp_path / "model.onnx", options=OPTIONS)


@pytest.mark.parametrize("standing", ["model.onnx", "model.json", "weights.safetensors"])
def test_a_file_in_the_way_is_replaced_only_when_asked(
    run: Path, unchecked: None, tmp_path: Path, standing: str
) -> None:
    (tmp_path / standing).write_text("old")
    options = replace(OPTIONS, weights=tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=f"{standing} exists already") as caught:
        export_model(run, tmp_path / "model.onnx", options=options)
    assert "--overwrite" in caught.value.hint
    assert files_in(tmp_path) == [standing]
    export_model(run, tmp_path / "model.onnx", options=replace(options, overwrite=True))
    Model(load_card(tmp_path / "model.onnx"), tmp_path / "model.onnx", "file").verify()
    assert load_weights(tmp_path / "weights.safetensors").tensors


@pytest.mark.parametrize(
    ("out", "weights", "complaint"),
    [
        ("model.onnx", "run/checkpoints/last.safetensors", "is what is exported"),
        ("model.onnx", "weights.pt", "cannot write weights to"),
        ("folder.onnx", None, "is a folder"),
        ("file/model.onnx", None, "is a file, not a folder"),
        ("file", None, "is a file, not a folder"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, out: str, weights: str | None, complaint: str
) -> None:
    run = make_run(tmp_path / "run", trained())
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("here")
    before = digests_in(run / "checkpoints")
    place = None if weights is None else tmp_path / weights
    with pytest.raises(InputError, match=complaint) as caught:
        export_model(run, tmp_path / out, options=replace(OPTIONS, weights=place, overwrite=True))
    assert caught.value.hint
    assert digests_in(run / "checkpoints") == before


@pytest.mark.parametrize("name", ["", "My Model", "../up", "-x"])
def test_a_name_that_no_model_can_have_is_refused_before_the_work(
    run: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="no model can have the name"):
        export_model(run, tmp_path / "model.onnx", options=replace(OPTIONS, name=name))
    assert files_in(tmp_path) == []


def test_a_full_disk_leaves_the_old_model_whole(
    run: Path, unchecked: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    export_model(run, path, options=OPTIONS)
    before = digests_in(tmp_path)

    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(InputError, match=r"cannot write .*model\.onnx") as caught:
        export_model(run, path, options=replace(OPTIONS, half=True, overwrite=True))
    assert "full" in caught.value.hint
    assert digests_in(tmp_path) == before
    assert files_in(tmp_path) == EVERYTHING


def test_a_missing_exporter_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LearningError, match="onnxscript is not installed") as caught:
        export_model(run, tmp_path / "model.onnx", options=OPTIONS)
    assert "arcwise[train]" in caught.value.hint


def test_what_the_exporter_refuses_is_said_in_one_line() -> None:
    class Guessing(nn.Module):
        """Its way depends on its input, which no graph can tell."""

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            return crops.flatten(1) if crops.sum() > 0 else -crops.flatten(1)

    with pytest.raises(LearningError, match="torch cannot export this network: ") as caught:
        trace(Guessing().eval(), torch.zeros(2, 3, 112, 112))
    assert "\n" not in str(caught.value)


KILLED = """
import os, signal, sys
from pathlib import Path
import onnx
import arcwise.export as export
from arcwise.zoo.card import License

run, out, graph, moment = map(Path, sys.argv[1:])
export._trace = lambda *_: onnx.load(graph)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment.name == "writing":
    os.fsync = die
else:
    export.save_card = die
options = export.ExportOptions(license=License(name="new"), half=True, overwrite=True)
export.export_model(run, out, options=options)
"""


def kill_export(run: Path, out: Path, moment: str) -> None:
    graph = out.with_name("graph")
    onnx.save(traced(), str(graph))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(run), str(out), str(graph), moment],
        cwd=ROOT,
        check=False,
    )
    graph.unlink()
    assert done.returncode == -signal.SIGKILL


@pytest.mark.fault
@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_kill_while_the_model_is_written_leaves_the_old_pair(
    run: Path, quick: None, tmp_path: Path, is_replaced: bool
) -> None:
    out = tmp_path / "model.onnx"
    if is_replaced:
        export_model(run, out, options=OPTIONS)
    before = digests_in(tmp_path)
    kill_export(run, out, "writing")
    assert digests_in(tmp_path) == before
    assert not is_replaced or embed(out, draw_crops(1)).shape == (1, DIMENSION)


@pytest.mark.fault
def test_a_kill_between_model_and_card_leaves_no_pair_that_is_used(
    run: Path, quick: None, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    export_model(run, out, options=OPTIONS)
    kill_export(run, out, "between")
    with pytest.raises(ChecksumError):
        embed(out, draw_crops(1))
    export_model(run, out, options=replace(OPTIONS, overwrite=True))
    assert embed(out, draw_crops(1)).shape == (1, DIMENSION)


@pytest.mark.slow
def test_equal_weights_make_an_equal_file_in_another_process(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    out = tmp_path / "another name.onnx"
    subprocess.run(
        [sys.executable, "-m", "arcwise", "export", run, "--out", out, "--license", "other"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "11"},
        check=True,
    )
    assert sha256_of_file(out) == sha256_of_file(exported)


@pytest.mark.slow
def test_a_gray_network_with_options_says_so_and_is_exported(tmp_path: Path) -> None:
    options = {"se": True}
    torch.manual_seed(3)
    network = build_backbone("resnet_face18", dimension=16, options=options).eval()
    config = TrainConfig.from_dict(
        {
            "run": "x",
            "data": {"folder": "y"},
            "network": {"name": "resnet_face18", "dimension": 16, "options": options},
        }
    )
    tensors = {"network": network.state_dict()}
    run = make_run(tmp_path / "run", network, config=config.to_dict(), tensors=tensors)
    path, weights = tmp_path / "model.onnx", tmp_path / "weights.safetensors"
    card = export_model(run, path, options=replace(OPTIONS, weights=weights))
    assert (card.input.size_px, card.input.color) == (128, "gray")
    assert card.note.startswith("resnet_face18; se True, step 700")
    made_of = {"name": "resnet_face18", "dimension": 16, "options": options}
    assert load_weights(weights).network == made_of
    crops = np.random.default_rng(0).integers(0, 256, (2, 1, 128, 128)).astype(np.float32)
    crops = (crops - 127.5) / 127.5
    found = Session(path.read_bytes(), provider="cpu").run(crops)[0]
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops)).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "dimension"), [("mobilefacenet", 128), ("iresnet18", 512)])
def test_the_larger_networks_export_too(
    tmp_path: Path, name: str, dimension: int, half: bool
) -> None:
    network = trained(name, dimension)
    run = make_run(tmp_path / "run", network, name=name, dimension=dimension)
    path = tmp_path / "model.onnx"
    export_model(run, path, options=replace(OPTIONS, half=half))
    crops = draw_crops(3)
    expected, found = answer(network, crops), embed(path, crops)
    limit = 0.01 if half else 1e-4
    assert (np.abs(found - expected) < limit * np.linalg.norm(expected, axis=1)[:, None]).all()
