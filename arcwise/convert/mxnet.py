"""The dialect of MXNet: `NAME-symbol.json` and `NAME-0000.params` become one ONNX model.

It does not know where the result is written, and MXNet itself is not needed.

Source: the file formats of Apache MXNet 1.x; the models that InsightFace and the ONNX zoo
publish for ArcFace (input `data`, RGB 0..255 or normalized).
"""

from __future__ import annotations

import re
from pathlib import Path

from arcwise.convert.graph import Converted, Graph
from arcwise.convert.layers import COPIES, SCALES, SHIFTS, Step
from arcwise.convert.symbol import VARIABLE, Symbol, read_symbol
from arcwise.convert.weights import Weights
from arcwise.errors import CheckpointError, InputError
from arcwise.files import sha256_of_file
from arcwise.zoo.card import InputContract

INPUT_NAME = "data"
_GRAPH_END = "-symbol.json"
_EPOCH = re.compile(r"-\d{4,}$")


def is_mxnet(source: Path) -> bool:
    """Whether a folder, a prefix or a file looks like an MXNet model."""
    return bool(_find_graphs(source) or _find_params(source))


def convert_mxnet(source: Path, input: InputContract | None) -> Converted:  # noqa: A002
    """Convert an MXNet model.

    Args:
        source: a folder with one model, the prefix of its files, or one of the two files.
        input: what the model eats; may be None when the graph normalizes by itself, which then
            takes RGB crops of 112 px.

    Raises:
        CheckpointError: the files are not one whole model, or not one we can convert.
        InputError: a file cannot be read, or `input` is missing or contradicts the graph.

    Source: as the module.
    """
    graph_file, params_file = find_files(source)
    symbol = read_symbol(graph_file)
    weights = Weights.from_file(params_file)
    variables = [node.name for node in symbol.nodes if node.op == VARIABLE]
    variables += _unlisted(symbol)
    if INPUT_NAME not in variables:
        raise CheckpointError(f"{graph_file} has no input of the name {INPUT_NAME}")
    parameters = [name for name in variables if name != INPUT_NAME]
    weights.check_names(parameters)
    contract = _choose_contract(symbol, input, graph_file)
    n_channels = 1 if contract.color == "gray" else 3
    graph = Graph(
        input_name=INPUT_NAME, input_shape=(n_channels, contract.size_px, contract.size_px)
    )
    for node in symbol.nodes:
        if node.op != VARIABLE:
            Step(node, graph, weights).translate()
    shape = graph.shapes.get(symbol.output, ())
    if symbol.output == INPUT_NAME or len(shape) != 1:
        raise CheckpointError(
            f"{graph_file} gives {symbol.output} of shape {('N', *shape)}, not one vector per crop"
        )
    unused = weights.names_besides(parameters)
    return Converted(
        model=graph.build(symbol.output, name=graph_file.name.removesuffix(_GRAPH_END)),
        dimension=shape[0],
        input=contract,
        origin=f"converted from MXNet: {_describe(graph_file)}, {_describe(params_file)}",
        note=f"parameters the graph does not use: {', '.join(unused)}" if unused else "",
    )


def find_files(source: Path) -> tuple[Path, Path]:
    """The graph and the parameters of one model.

    Args:
        source: as for `convert_mxnet`.

    Raises:
        CheckpointError: one of the two is missing, or there are several.
    """
    return (
        _only(_find_graphs(source), f"*{_GRAPH_END}", source),
        _only(_find_params(source), "*.params", source),
    )


def _find_graphs(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(source.glob(f"*{_GRAPH_END}"))
    if source.name.endswith(_GRAPH_END) and source.is_file():
        return [source]
    graph_file = source.with_name(_prefix(source) + _GRAPH_END)
    return [graph_file] if graph_file.is_file() else []


def _find_params(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(source.glob("*.params"))
    if source.suffix == ".params":
        return [source] if source.is_file() else []
    prefix = _prefix(source)
    beside = sorted(source.parent.glob("*.params"))
    return [path for path in beside if _prefix(path) == prefix]


def _prefix(path: Path) -> str:
    """What the two files of one model share: model-0000.params and model-symbol.json: model."""
    if path.suffix == ".params":
        return _EPOCH.sub("", path.stem)
    return path.name.removesuffix(_GRAPH_END)


def _only(found: list[Path], pattern: str, source: Path) -> Path:
    if not found:
        raise CheckpointError(
            f"no {pattern} of an MXNet model at {source}",
            hint="give a folder with NAME-symbol.json and NAME-0000.params, or one of the two",
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CheckpointError(
            f"several {pattern} at {source}: {names}", hint="give the .params file you mean"
        )
    return found[0]


def _unlisted(symbol: Symbol) -> list[str]:
    """Parameters that nodes take and old files do not list as variables."""
    known = {node.name for node in symbol.nodes}
    taken = [name for node in symbol.nodes for name in node.inputs]
    return [name for name in dict.fromkeys(taken) if name not in known]


def _choose_contract(
    symbol: Symbol, given: InputContract | None, graph_file: Path
) -> InputContract:
    normalizes = _normalizes(symbol)
    if given is None:
        if not normalizes:
            raise InputError(
                f"{graph_file} does not normalize its input, and nobody says how it must be done",
                hint="say mean, std and color the model was trained with, "
                "often mean 127.5, std 127.5 or 128, rgb",
            )
        return InputContract(mean=0.0, std=1.0)
    if normalizes and (given.mean, given.std) != (0.0, 1.0):
        raise InputError(
            f"{graph_file} normalizes its input, mean {given.mean:g} and std {given.std:g} "
            "would do it twice",
            hint="say mean 0 and std 1, or nothing",
        )
    if given.layout != "nchw":
        raise InputError(f"an MXNet model takes nchw, not {given.layout}")
    return given


def _normalizes(symbol: Symbol) -> bool:
    """Whether the graph begins by moving and scaling every pixel value by one number."""
    shifts = scales = False
    tensor = INPUT_NAME
    while True:
        takers = [node for node in symbol.nodes if tensor in node.inputs]
        if len(takers) != 1 or takers[0].op not in {*SHIFTS, *SCALES, *COPIES}:
            return shifts and scales
        shifts |= takers[0].op in SHIFTS
        scales |= takers[0].op in SCALES
        tensor = takers[0].name


def _describe(path: Path) -> str:
    return f"{path.name} (SHA-256 {sha256_of_file(path)})"
