from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arcwise.data.idx import Index, read_index, write_index
from arcwise.errors import DatasetError, InputError


def index_of(keys: list[int], offsets: list[int]) -> Index:
    return Index(np.array(keys, np.int64), np.array(offsets, np.int64))


def test_a_line_is_a_key_and_a_byte_parted_by_a_tab(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", index_of([1, 2, 0], [0, 40, 84]))
    assert path.read_bytes() == b"1\t0\n2\t40\n0\t84\n"  # mxnet.recordio: '%s\t%d\n'


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), min_size=1).filter(
        lambda pairs: len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_index_is_read_as_it_was_written(tmp_path: Path, pairs: list[tuple[int, int]]) -> None:
    keys, offsets = map(list, zip(*pairs, strict=True))
    found = read_index(write_index(tmp_path / "a.idx", index_of(keys, offsets)))
    assert (found.keys.tolist(), found.offsets.tolist()) == (keys, offsets)
    assert found.keys.dtype == found.offsets.dtype == np.int64


@pytest.mark.parametrize("text", [b"0\t0\r\n1\t40\r\n", b"0\t0\n1\t40", b"0\t0\n1\t40\n\n"])
def test_line_ends_do_not_matter(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.idx").write_bytes(text)
    assert read_index(tmp_path / "a.idx").offsets.tolist() == [0, 40]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0\t0\n1 40\n", r"a.idx:2: b'1 40' is not a key, a tab and an offset"),
        (b"0\t0\n\n1\t40\n", r"a.idx:2: b'' is not"),
        (b"0\t0\nimage1\t40\n", r"a.idx:2: b'image1\\t40' is not"),
        (b"0\t0\n1\t\n", r"a.idx:2: b'1\\t' is not"),
        (b"0\t0\n1\t-4\n", r"a.idx:2: b'1\\t-4' is not"),
        (b"0\t0\n1\t4.0\n", r"a.idx:2: b'1\\t4.0' is not"),
        (b"0\t0\t1\t4\n", r"a.idx:1: b'0\\t0\\t1\\t4' is not"),
        (b"\xff\xfe", r"a.idx:1: b'\\xff\\xfe' is not"),
        (b"", "a.idx is empty"),
        (b"\n", "a.idx is empty"),
        (b"0\t0\n1\t4\n0\t8\n", "has the key 0 twice"),
        (b"0\t0\n1\t8\n2\t8\n", "has the offset 8 twice"),
    ],
)
def test_a_line_that_is_none_is_quoted(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.idx").write_bytes(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_index(tmp_path / "a.idx")
    assert "take" in caught.value.hint


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*a.idx"):
        read_index(tmp_path / "a.idx")


@pytest.mark.slow
def test_a_million_lines_are_read_exactly(tmp_path: Path) -> None:
    offsets = np.cumsum(np.random.default_rng(0).integers(500, 2000, 1_000_000)) * 4
    index = Index(np.arange(1_000_000), offsets)
    found = read_index(write_index(tmp_path / "a.idx", index))
    assert np.array_equal(found.offsets, offsets)
    assert offsets[-1] > 2**32
