"""A checkpoint becomes model.onnx with its card, after both were seen to answer alike.

It does not know training, photos or people: the card says what the checkpoint tells, its owner
says the rest. Everything is refused before anything is written.

The graph is ONNX opset 18, made by torch's own exporter from the fused network in evaluation
mode. It holds nothing of the machine it was made on, so that equal weights give an equal file as
long as torch and arcwise are the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arcwise.nn import (
    BACKBONES,
    build_backbone,
)  # first: it says in our words that torch is missing

# isort: split
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from pydantic import ValidationError
from torch import Tensor, nn

from arcwise import __version__
from arcwise.errors import (
    CheckpointError,
    ExportMismatchError,
    InputError,
    LearningError,
    SettingsError,
)
from arcwise.files import write_atomically
from arcwise.nn.crops import draw_crops
from arcwise.nn.fuse import fuse_batch_norm
from arcwise.nn.weights import save_weights
from arcwise.session import Session
from arcwise.train.checkpoint import Checkpoint, load_checkpoint, restore
from arcwise.train.config import TrainConfig
from arcwise.zoo.card import Grade, InputContract, License, ModelCard, card_path_of, save_card

OPSET = 18
MOST_DIFFERENCE = 1e-4
"""Of any value of an embedding, as a share of its norm; rounding in float32 makes 1e-6."""
LEAST_COSINE = 0.9999
"""Between embeddings of whole and of half precision; photos of one person differ far more."""

_IR_VERSION = 8  # what came with opset 18 (ONNX 1.13), so that older runtimes read the file
_WEIGHTED = ("Conv", "Gemm", "MatMul")  # operators whose second input is worth halving


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the checkpoint cannot tell, and how to write.

    Attributes:
        license: what the model may be used for.
        name: of the model; None takes the name of the .onnx file, or of the run's folder.
        grade: how far to trust it; who trains must claim more than demo.
        trained_on: people and photos; None says what the configuration of the run tells.
        half: keep weights as float16, which halves the file; it is computed in float32 as before.
        weights: also write the weights before BatchNorm is folded, as float16, to this
            .safetensors file.
        checkpoint: of a run's folder; None takes the whitened, else the best, else the last.
        overwrite: replace files of these names.
    """

    license: License
    name: str | None = None
    grade: Grade = "demo"
    trained_on: str | None = None
    half: bool = False
    weights: Path | None = None
    checkpoint: Literal["whitened", "best", "last"] | None = None
    overwrite: bool = False


def export_model(source: Path | str, out: Path | str, *, options: ExportOptions) -> ModelCard:
    """Write the network of a run as an ONNX file with its card.

    The averaged weights are taken where the checkpoint has them. The graph takes "data",
    (N, 3, S, S) float32, RGB, or (N, 1, S, S), gray, as (x - 127.5) / 127.5, with the size and
    color of the backbone, and gives "embedding", (N, D) float32, not normalized; N is free.

    Each file is written whole or not at all: weights, then the model, then its card. A crash
    between the last two leaves a new model beside an older card or none. Such a pair is never
    used: the older card names another SHA-256, which is checked whenever a model is opened.
    Exporting again, with `overwrite`, mends it.

    Args:
        source: folder of a run, or a checkpoint.
        out: the .onnx file to write, or the folder for `NAME.onnx`; the card goes beside it.
        options: what the checkpoint cannot tell.

    Returns:
        The card, as written. Its metrics hold what was validated, and "export_difference" and
        "export_cosine": how far the file is from the network at most.

    Raises:
        CheckpointError: there is no checkpoint, it cannot be read, it holds another network than
            it says, or the network gives values that are not finite.
        ExportMismatchError: the graph does not answer as the network does; nothing was written.
        InputError: a file is in the way, an argument cannot be used, or the place cannot be
            written.
        LearningError: the exporter is not installed or fails; a weight does not fit float16.
        SessionError: onnxruntime is not installed, or refuses the graph.
    """
    source, out = Path(source), Path(out)
    path = _find_checkpoint(source, options.checkpoint)
    name = options.name if options.name is not None else _choose_name(path, out)
    model_path = out if out.suffix == ".onnx" else out / f"{name}.onnx"
    _check_places(model_path, path, options)
    checkpoint = load_checkpoint(path)
    config = _read_config(checkpoint, path)
    draft = _draft_card(name, model_path, checkpoint, config, options)
    network = _restore_network(checkpoint, config, path)
    shape = BACKBONES[config.network.name].crop_shape(config.network.size_px)
    crops = draw_crops(shape)
    fused = fuse_batch_norm(network, crop_shape=shape)
    content = _finish_graph(_trace(fused, crops), half=options.half)
    likeness = _compare(network, fused, content, crops, half=options.half, origin=str(path))
    proof = {"export_difference": likeness.difference, "export_cosine": likeness.cosine}
    digest = hashlib.sha256(content).hexdigest()
    card = draft.model_copy(update={"sha256": digest, "metrics": draft.metrics | proof})
    if options.weights is not None:
        made = config.network
        save_weights(
            options.weights,
            network,
            name=made.name,
            dimension=made.dimension,
            options=made.options,
        )
    write_atomically(model_path, content)
    save_card(card, model_path)
    return card


def _find_checkpoint(source: Path, wanted: Literal["whitened", "best", "last"] | None) -> Path:
    if source.is_file():
        return source
    if not source.exists():
        raise InputError(f"there is nothing at {source}", hint="check the path for typing errors")
    names = (wanted,) if wanted else ("whitened", "best", "last")
    places = [source / "checkpoints" / f"{name}.safetensors" for name in names]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise CheckpointError(
            f"there is no checkpoint at {places[-1]}",
            hint="name the folder of a run of `arcwise train`, or a checkpoint",
        )
    return found


def _choose_name(checkpoint: Path, out: Path) -> str:
    """From the .onnx file, else from the folder of the run, else from the checkpoint."""
    is_of_run = checkpoint.parent.name == "checkpoints"
    source = checkpoint.absolute().parents[1].name if is_of_run else checkpoint.stem
    place = out.stem if out.suffix == ".onnx" else source
    return re.sub(r"[^a-z0-9._-]+", "-", place.lower()).strip("-._")


def _check_places(model_path: Path, checkpoint_path: Path, options: ExportOptions) -> None:
    """Refuse, before the work, files that are in the way."""
    places = [model_path, card_path_of(model_path)]
    if options.weights is not None:
        if options.weights.suffix != ".safetensors":
            raise InputError(
                f"cannot write weights to {options.weights}", hint="end its name with .safetensors"
            )
        places.append(options.weights)
    for place in places:
        standing = next(parent for parent in place.absolute().parents if parent.exists())
        if not standing.is_dir():
            raise InputError(f"{standing} is a file, not a folder", hint="name another place")
        if place.is_dir():
            raise InputError(f"{place} is a folder", hint="name another place")
        if place.exists() and place.samefile(checkpoint_path):
            raise InputError(f"{place} is what is exported", hint="name another place")
        if place.exists() and not options.overwrite:
            raise InputError(f"{place} exists already", hint="--overwrite replaces it")


def _read_config(checkpoint: Checkpoint, path: Path) -> TrainConfig:
    try:
        return TrainConfig.from_dict(checkpoint.config)
    except SettingsError as exc:
        raise CheckpointError(
            f"the configuration in {path} cannot be read: {exc}",
            hint="use the arcwise that made it",
        ) from exc


def _restore_network(checkpoint: Checkpoint, config: TrainConfig, path: Path) -> nn.Module:
    wanted = config.network
    network = build_backbone(wanted.name, dimension=wanted.dimension, options=wanted.options)
    tensors = checkpoint.tensors.get("average") or checkpoint.tensors.get("network", {})
    restore(network, tensors, what="network", origin=str(path), holds=checkpoint.holds)
    return network.eval().requires_grad_(False)


def _draft_card(
    name: str, model_path: Path, checkpoint: Checkpoint, config: TrainConfig, options: ExportOptions
) -> ModelCard:
    """The card, but for what only the finished file can tell."""
    kind = BACKBONES[config.network.name]
    side_px = kind.crop_shape(config.network.size_px)[1]
    notes = [f"{option} {value}" for option, value in config.network.options.items()]
    notes += [f"step {checkpoint.step}"]
    notes += ["averaged weights"] * bool(checkpoint.tensors.get("average"))
    notes += ["weights stored as float16"] * options.half
    described = options.trained_on
    try:
        return ModelCard(
            name=name,
            file=model_path.name,
            sha256="0" * 64,
            input=InputContract(size_px=side_px, color=kind.color),
            dimension=config.network.dimension,
            grade=options.grade,
            license=options.license,
            source=f"trained with arcwise {__version__}",
            trained_on=_describe_data(checkpoint, config) if described is None else described,
            metrics=_collect_metrics(checkpoint),
            note=f"{config.network.name}; {', '.join(notes)}",
        )
    except ValidationError as exc:
        raise InputError(
            f"no model can have the name {name!r}",
            hint="use lowercase letters and digits, after the first also '-', '_' and '.'",
        ) from exc


def _describe_data(checkpoint: Checkpoint, config: TrainConfig) -> str:
    """Names of files without their folders: a card travels."""
    folder = config.data.folder.name or "a folder"
    text = f"{checkpoint.n_identities} people of {folder}, {config.schedule.epochs:g} epochs"
    if config.distill is not None:
        text += f", with the embeddings of {config.distill.targets.name} to learn from"
    return text


def _collect_metrics(checkpoint: Checkpoint) -> dict[str, float]:
    """What was validated, if it was with these weights and not with those of an earlier step."""
    found = checkpoint.validation or {}
    if found.get("step", checkpoint.step) != checkpoint.step:
        return {}
    values = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {
        f"validation_{name}": float(value)
        for name, value in values.items()
        if name not in ("step", "epoch") and math.isfinite(value)
    }


def _trace(fused: nn.Module, crops: Tensor) -> onnx.ModelProto:
    """The graph as torch's exporter writes it, for crops of this shape."""
    if importlib.util.find_spec("onnxscript") is None:
        raise LearningError("onnxscript is not installed", hint="pip install 'arcwise[train]'")
    try:
        with _hush():
            program = torch.onnx.export(
                fused,
                (torch.zeros_like(crops[:2]),),  # 1 would be taken for a fixed size
                dynamo=True,
                opset_version=OPSET,
                input_names=["data"],
                output_names=["embedding"],
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as exc:
        reason = str(exc).strip().splitlines()[0]
        raise LearningError(f"torch cannot export this network: {reason}") from exc
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


@contextmanager
def _hush() -> Iterator[None]:
    """Keep back what the exporter tells its own developers, and nothing else."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")

    def is_telling(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("torchvision is not installed")

    registry.addFilter(is_telling)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        registry.removeFilter(is_telling)


def _finish_graph(proto: onnx.ModelProto, *, half: bool) -> bytes:
    """Take away what the exporter notes of source files, sign it, check it."""
    graph = proto.graph
    if half:
        _halve_weights(graph)
    del graph.value_info[:]
    for part in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
    graph.name, proto.ir_version = "arcwise", _IR_VERSION
    # Without a version, so that a release changes no digest.
    proto.producer_name, proto.producer_version = "arcwise", ""
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Keep the weights of convolutions and linear layers as float16, cast before they are used.

    Runtimes cast constants once, when they load the graph.
    """
    wanted = {node.input[1] for node in graph.node if node.op_type in _WEIGHTED}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in wanted or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name = tensor.name
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # an infinite weight shows when the answers are compared
            small = values.astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(small, f"{name}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How far answers are from the network's: share of the norm, cosine; the worst of all."""

    difference: float
    cosine: float

    @classmethod
    def measure(cls, found: NDArray[Any], expected: NDArray[Any]) -> _Likeness:
        found, expected = found.astype(np.float64), expected.astype(np.float64)
        norms = np.linalg.norm(expected, axis=1)
        differences = np.abs(found - expected).max(axis=1) / norms
        with np.errstate(invalid="ignore"):  # not a number is not alike either
            cosines = (found * expected).sum(axis=1) / (np.linalg.norm(found, axis=1) * norms)
        return cls(float(differences.max()), float(cosines.min()))


def _compare(
    network: nn.Module, fused: nn.Module, content: bytes, crops: Tensor, *, half: bool, origin: str
) -> _Likeness:
    """Let network, fused network and graph embed the same crops, all at once and one alone."""
    with torch.inference_mode():
        expected, folded = network(crops).numpy(), fused(crops).numpy()
    norms = np.linalg.norm(expected, axis=1)
    if not np.isfinite(norms).all() or not norms.all():
        raise CheckpointError(
            f"the network of {origin} gives embeddings of norm {norms.min():g} to {norms.max():g}",
            hint="did the training diverge? export an earlier checkpoint",
        )
    _check_likeness("fused network", _Likeness.measure(folded, expected), half=False)
    session = Session(content, provider="cpu")
    batch = crops.numpy()
    found = session.run(batch)[0]
    alone = session.run(batch[:1])[0]
    worst = _Likeness.measure(np.concatenate([found, alone]), expected[[*range(len(batch)), 0]])
    _check_likeness("graph", worst, half=half)
    return worst


def _check_likeness(what: str, likeness: _Likeness, *, half: bool) -> None:
    is_alike = likeness.cosine >= LEAST_COSINE if half else likeness.difference < MOST_DIFFERENCE
    if not is_alike:
        limit = f"cosine {LEAST_COSINE}" if half else f"difference {MOST_DIFFERENCE:g}"
        raise ExportMismatchError(
            f"the {what} does not answer as the network does: largest difference "
            f"{likeness.difference:.2g} of the norm, least cosine {likeness.cosine:.6f} "
            f"(limit: {limit})",
            hint="nothing was written; " + ("leave --half away" if half else "try another torch"),
        )
