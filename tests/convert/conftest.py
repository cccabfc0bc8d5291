"""What the tests of foreign formats share: writers of the files that MXNet writes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from arcwise.convert import convert_model
from arcwise.zoo.card import InputContract, License

FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
FLAGS |= {"bool": 7}
MAGICS = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}

PackArrays = Callable[..., bytes]
SaveModel = Callable[..., Path]


def _pack_record(array: np.ndarray, version: int) -> bytes:
    if version == 0:
        head = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    else:
        head = struct.pack("<I", MAGICS[version])
        head += struct.pack("<i", 0) if version >= 2 else b""
        head += struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
    device = struct.pack("<ii", 1, 0)
    return head + device + struct.pack("<i", FLAGS[array.dtype.name]) + array.tobytes()


def _pack_arrays(arrays: Mapping[str, np.ndarray], version: int = 2) -> bytes:
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    parts += [_pack_record(array, version) for array in arrays.values()]
    parts += [struct.pack("<Q", len(arrays))]
    parts += [struct.pack("<Q", len(name.encode())) + name.encode() for name in arrays]
    return b"".join(parts)


@pytest.fixture
def pack_arrays() -> PackArrays:
    """Bytes of an array list; versions 1 to 3, and 0 for the layout without a magic number."""
    return _pack_arrays


@pytest.fixture
def save_model(tmp_path: Path) -> SaveModel:
    """Writes a model from (op, name, attributes, inputs) and returns its folder.

    Inputs that are no earlier node become variables in front of it, as MXNet lists them.
    """

    def save(
        nodes: list[tuple[str, str, dict[str, Any], list[str]]],
        params: Mapping[str, np.ndarray],
        *,
        attributes_key: str = "attrs",
        folder: str = "model",
        heads: list[str] | None = None,
    ) -> Path:
        written: list[dict[str, Any]] = []
        number: dict[str, int] = {}

        def add(op: str, name: str, attributes: dict[str, Any], inputs: list[str]) -> None:
            links = [[number[one], 0, 0] for one in inputs]
            texts = {key: str(value) for key, value in attributes.items()}
            number[name] = len(written)
            written.append({"op": op, "name": name, attributes_key: texts, "inputs": links})

        for op, name, attributes, inputs in nodes:
            for one in inputs:
                if one not in number:
                    add("null", one, {}, [])
            add(op, name, attributes, inputs)
        ends = [[number[head], 0, 0] for head in heads or [nodes[-1][1]]]
        symbol = {"nodes": written, "arg_nodes": [], "heads": ends}
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "net-symbol.json").write_text(json.dumps(symbol))
        named = {
            f"{'aux' if '_moving_' in name else 'arg'}:{name}": np.asarray(array)
            for name, array in params.items()
        }
        (place / "net-0000.params").write_bytes(_pack_arrays(named))
        return place

    return save


@pytest.fixture
def pixels() -> np.ndarray:
    """Two small images, (2, 3, 16, 16) float32 in -1..1."""
    return np.random.default_rng(1).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def convert() -> Callable[[Path], Path]:
    """Converts a folder for crops of 16 px and returns the model file."""

    def convert_folder(folder: Path) -> Path:
        out = folder / "converted.onnx"
        contract = InputContract(size_px=16, mean=0, std=1)
        convert_model(folder, out, license=License(name="none"), input=contract)
        return out

    return convert_folder


@pytest.fixture
def run_model() -> Callable[[Path, np.ndarray], np.ndarray]:
    """Runs a model file in the runtime."""

    def run(model: Path, data: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run(None, {"data": data})[0]

    return run


@pytest.fixture
def run_layers(
    save_model: SaveModel,
    convert: Callable[[Path], Path],
    run_model: Callable[[Path, np.ndarray], np.ndarray],
    pixels: np.ndarray,
) -> Callable[..., np.ndarray]:
    """What the converted layers make of `pixels`, each sample flattened to a row."""

    def run(nodes: list[Any], params: Mapping[str, np.ndarray]) -> np.ndarray:
        folder = save_model([*nodes, ("Flatten", "out", {}, [nodes[-1][1]])], params)
        return run_model(convert(folder), pixels)

    return run
