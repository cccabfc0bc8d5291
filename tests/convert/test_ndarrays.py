from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arcwise.convert.ndarrays import read_ndarrays
from arcwise.errors import CheckpointError, InputError

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
PackArrays = Callable[..., bytes]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "net-0000.params"
    path.write_bytes(content)
    return path


def patched(content: bytes, at: int, layout: str, value: int) -> bytes:
    raw = struct.pack(layout, value)
    return content[:at] + raw + content[at + len(raw) :]


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_published_layout_is_read(
    tmp_path: Path, pack_arrays: PackArrays, version: int
) -> None:
    arrays = {"arg:weight": WEIGHT, "aux:mean": np.array([1.5, -2.0], np.float32)}
    found = read_ndarrays(write(tmp_path, pack_arrays(arrays, version)))
    assert list(found) == ["arg:weight", "aux:mean"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_record_as_written_by_hand_from_the_published_layout(tmp_path: Path) -> None:
    content = bytes.fromhex(
        "1201000000000000 0000000000000000"  # magic, reserved
        "0100000000000000"  # one array
        "c9fa93f9 00000000"  # version 2, dense
        "02000000 0100000000000000 0200000000000000"  # shape (1, 2)
        "01000000 00000000 00000000"  # CPU 0, float32
        "0000803f 000000c0"  # 1.0, -2.0
        "0100000000000000 0500000000000000"  # one name of five bytes
    )
    found = read_ndarrays(write(tmp_path, content + b"arg:w"))
    np.testing.assert_array_equal(found["arg:w"], [[1.0, -2.0]])


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"]
)
def test_the_type_of_an_array_is_kept(tmp_path: Path, pack_arrays: PackArrays, dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype)
    found = read_ndarrays(write(tmp_path, pack_arrays({"arg:a": array})))["arg:a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_version_3_may_hold_a_scalar(tmp_path: Path, pack_arrays: PackArrays) -> None:
    content = pack_arrays({"arg:a": np.array(3.0, np.float32)}, 3)
    assert read_ndarrays(write(tmp_path, content))["arg:a"].shape == ()


def test_arrays_cannot_be_changed_by_accident(tmp_path: Path, pack_arrays: PackArrays) -> None:
    found = read_ndarrays(write(tmp_path, pack_arrays({"arg:a": WEIGHT})))
    with pytest.raises(ValueError, match="read-only"):
        found["arg:a"][0] = 1


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_file_cut_off_anywhere_is_refused(
    tmp_path: Path, pack_arrays: PackArrays, version: int
) -> None:
    content = pack_arrays({"arg:weight": WEIGHT, "aux:m": WEIGHT[0]}, version)
    for length in range(len(content)):
        with pytest.raises(CheckpointError, match="cut off"):
            read_ndarrays(write(tmp_path, content[:length]))


def test_bytes_after_the_end_are_refused(tmp_path: Path, pack_arrays: PackArrays) -> None:
    with pytest.raises(CheckpointError, match="3 bytes after its end"):
        read_ndarrays(write(tmp_path, pack_arrays({"arg:a": WEIGHT}) + b"abc"))


RECORD = 24  # where the first record begins: magic, reserved word, count


@pytest.mark.parametrize(
    ("at", "layout", "value", "says"),
    [
        (0, "<Q", 0x113, "does not begin like"),
        (0, "<I", 0x04034B50, "zip archive"),
        (RECORD - 8, "<Q", 2**63, "states 9223372036854775808 arrays"),
        (RECORD + 4, "<i", 1, "sparse"),
        (RECORD + 8, "<i", -1, "rank -1"),
        (RECORD + 8, "<i", 33, "rank 33"),
        (RECORD + 8, "<i", 0, "holds nothing"),
        (RECORD + 12, "<q", 2**62, "cut off"),
        (RECORD + 12, "<q", -2, "states the shape"),
        (RECORD + 44, "<i", 12, "unknown type"),
        (RECORD + 48 + 96, "<Q", 0, "1 arrays and 0 names"),
        (RECORD + 48 + 96 + 8, "<Q", 2**60, "cut off"),
        (RECORD + 48 + 96 + 16, "<B", 0xFF, "not text"),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    tmp_path: Path, pack_arrays: PackArrays, at: int, layout: str, value: int, says: str
) -> None:
    content = patched(pack_arrays({"arg:a": WEIGHT}), at, layout, value)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_ndarrays(write(tmp_path, content))
    assert "net-0000.params" in str(caught.value)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path, pack_arrays: PackArrays) -> None:
    content = pack_arrays({"arg:a": WEIGHT, "arg:b": WEIGHT}).replace(b"arg:b", b"arg:a")
    with pytest.raises(CheckpointError, match="two arrays of the name 'arg:a'"):
        read_ndarrays(write(tmp_path, content))


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_ndarrays(tmp_path / "none.params")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_damaged_byte_gives_other_values_or_our_error(
    tmp_path: Path, pack_arrays: PackArrays, at: int, value: int
) -> None:
    content = bytearray(pack_arrays({"arg:weight": WEIGHT, "aux:m": WEIGHT[0]}))
    content[at % len(content)] = value
    try:
        found = read_ndarrays(write(tmp_path, bytes(content)))
    except CheckpointError:
        return
    assert len(found) == 2


@pytest.mark.real
def test_published_parameters_are_read_whole(real_data: Path) -> None:
    found = read_ndarrays(real_data / "models/mobilefacenet_y1/model-0000.params")
    assert len(found) == 284
    assert found["arg:fc1_weight"].shape == (128, 512)
    assert all(np.isfinite(array).all() for array in found.values())
