"""Bytes of records: goldens, an independent reader of one record, and files that are broken."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arcwise.data import recordio
from arcwise.data.idx import read_index
from arcwise.data.recordio import (
    Header,
    RecordFile,
    RecordWriter,
    frame_payload,
    pack_payload,
    unpack_payload,
)
from arcwise.errors import DatasetError, InputError

MAGIC = bytes.fromhex("0a23d7ce")  # dmlc-core, recordio.h: 0xced7230a, little-endian
# The header, the first crop and the first person of a set of 3 crops and 2 people: computed from
# the formats of dmlc-core and mxnet.recordio by hand.
GOLDEN = {
    "header": (
        Header((4.0, 6.0), 0, is_vector=True),
        b"",
        "0a23d7ce 20000000 02000000 00000000 0000000000000000 0000000000000000 00008040 0000c040",
    ),
    "crop": (
        Header((7.0,), 1),
        b"abc",
        "0a23d7ce 1b000000 00000000 0000e040 0100000000000000 0000000000000000 616263 00",
    ),
    "person": (
        Header((1.0, 3.0), 4, is_vector=True),
        b"",
        "0a23d7ce 20000000 02000000 00000000 0400000000000000 0000000000000000 0000803f 00004040",
    ),
}
PAYLOADS = st.lists(st.sampled_from([b"a", b"bcd", MAGIC, MAGIC[:2], b"\0" * 4]), max_size=12).map(
    b"".join
)


def read_parts(record: bytes) -> bytes:
    """The payload of one record, by the words of recordio.h: nothing of ours is used."""
    payload, at, flag = b"", 0, 1
    while flag in (1, 2):
        magic, word = struct.unpack_from("<II", record, at)
        assert magic == 0xCED7230A
        flag, length = word >> 29, word & (1 << 29) - 1
        payload += (MAGIC if at else b"") + record[at + 8 : at + 8 + length]
        at += 8 + length + -length % 4
    assert at == len(record)
    return payload


def write(path: Path, *payloads: bytes) -> Path:
    with RecordWriter(path) as writer:
        for key, payload in enumerate(payloads):
            writer.append(key, payload)
    return path


# One record


@pytest.mark.parametrize("name", GOLDEN)
def test_a_record_has_the_golden_bytes(name: str) -> None:
    header, content, golden = GOLDEN[name]
    payload = pack_payload(header, content)
    assert frame_payload(payload) == bytes.fromhex(golden)
    assert unpack_payload(payload) == (header, content)


def test_one_label_may_be_a_list() -> None:
    plain, listed = Header((3.0,), 5), Header((3.0,), 5, is_vector=True)
    assert len(pack_payload(listed, b"")) == len(pack_payload(plain, b"")) + 4
    assert unpack_payload(pack_payload(listed, b"x")) == (listed, b"x")


def test_a_record_needs_a_label() -> None:
    with pytest.raises(DatasetError, match="record 5 has no label"):
        pack_payload(Header((), 5), b"x")


@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=40),
)
def test_a_header_is_read_as_it_was_packed(
    labels: list[float], id_: int, id2: int, content: bytes
) -> None:
    header = Header(tuple(labels), id_, id2, is_vector=len(labels) > 1)
    assert unpack_payload(pack_payload(header, content)) == (header, content)


@pytest.mark.parametrize("payload", [b"", bytes(23), b"\x02" + bytes(30), b"\xff" * 40])
def test_a_payload_that_is_too_short_for_its_header_is_refused(payload: bytes) -> None:
    with pytest.raises(DatasetError, match=r"record 9 of a.rec has .* too few for a header"):
        unpack_payload(payload, name="record 9 of a.rec")


@given(PAYLOADS)
def test_an_independent_reader_gets_the_payload(payload: bytes) -> None:
    assert read_parts(frame_payload(payload)) == payload


def test_the_magic_number_is_cut_out_of_a_payload_at_a_multiple_of_4_only() -> None:
    framed = frame_payload(b"abcd" + MAGIC + b"x" + MAGIC)
    # recordio.h: flags 1 (first) and 3 (last); the word at 9 is not aligned and stays
    assert framed == (
        MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd"
        + MAGIC + struct.pack("<I", 3 << 29 | 5) + b"x" + MAGIC + bytes(3)
    )  # fmt: skip


def test_a_record_of_half_a_gigabyte_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "_MOST_LENGTH", 100)
    with pytest.raises(InputError, match="less than 100 bytes, got 100"):
        frame_payload(bytes(100))


# A file


@given(st.lists(PAYLOADS, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_payloads_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]
) -> None:
    path = write(tmp_path_factory.mktemp("rec") / "a.rec", *payloads)
    index = read_index(path.with_suffix(".idx"))
    with RecordFile(path) as file:
        assert [file.read(int(offset)) for offset in index.offsets] == payloads
        assert file.scan().tolist() == index.offsets.tolist()
    assert path.read_bytes() == b"".join(map(frame_payload, payloads))


def test_a_set_that_is_read_and_written_again_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    contents = [pack_payload(header, content) for header, content, _ in GOLDEN.values()]
    path = write(tmp_path / "a.rec", *contents)
    with RecordFile(path) as file, RecordWriter(tmp_path / "b.rec") as writer:
        index = read_index(path.with_suffix(".idx"))
        for key, offset in zip(index.keys.tolist(), index.offsets.tolist(), strict=True):
            header, content = unpack_payload(file.read(offset))
            writer.append(key, pack_payload(header, content))
    assert (tmp_path / "b.rec").read_bytes() == path.read_bytes()
    assert (tmp_path / "b.idx").read_bytes() == path.with_suffix(".idx").read_bytes()


HEADERS = [
    Header((3.0,), 1),
    Header((4.0, 1.0), 2, is_vector=True),
    Header((5.0,), 3, is_vector=True),
    Header((6.0, 7.0, 8.0), 0xCED7230A, is_vector=True),  # an id that parts the record
    Header((9.0,), 2**40 + 5),
]


def test_a_survey_says_what_the_headers_say(tmp_path: Path) -> None:
    sizes = [5, 0, 9, 17, 0]
    payloads = [pack_payload(h, b"x" * n) for h, n in zip(HEADERS, sizes, strict=True)]
    path = write(tmp_path / "a.rec", *payloads)
    with RecordFile(path) as file:
        found = file.survey(file.scan()[::-1])  # in any order
        assert found.labels[::-1].tolist() == [3, 4, 5, 6, 9]
        assert found.second[::-1].tolist() == [0, 1, 0, 7, 0]
        assert found.n_labels[::-1].tolist() == [0, 2, 1, 3, 0]
        assert found.ids[::-1].tolist() == [header.id for header in HEADERS]
        assert found.n_bytes[::-1].tolist() == sizes
        assert found.ends[::-1].tolist() == [*file.scan()[1:].tolist(), file.n_bytes]


def test_a_survey_goes_on_after_the_records_that_are_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordio, "_AT_ONCE", 7)
    payloads = [pack_payload(Header((float(i),), i), b"x" * i) for i in range(50)]
    with RecordFile(write(tmp_path / "a.rec", *payloads)) as file:
        assert file.survey(file.scan()).labels.tolist() == list(range(50))


def test_many_threads_read_one_file(tmp_path: Path) -> None:
    payloads = [bytes([i]) * (i + 1) for i in range(200)]
    with (
        RecordFile(write(tmp_path / "a.rec", *payloads)) as file,
        ThreadPoolExecutor(8) as pool,
    ):
        offsets = np.random.default_rng(0).permutation(np.repeat(file.scan(), 20)).tolist()
        read = list(pool.map(file.read, offsets))
    assert sorted(read) == sorted(payloads * 20)


def test_a_reader_that_was_pickled_opens_the_file_again(tmp_path: Path) -> None:
    file = RecordFile(write(tmp_path / "a.rec", b"first", b"second"))
    other = pickle.loads(pickle.dumps(file))
    file.close()
    assert other.read(16) == b"second"
    other.close()


def _read_in_child(file: RecordFile, offset: int, answers: multiprocessing.SimpleQueue) -> None:
    answers.put(file.read(offset))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # other tests start threads
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_reader_may_go_to_another_process(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    with RecordFile(write(tmp_path / "a.rec", b"first", b"second")) as file:
        child = context.Process(target=_read_in_child, args=(file, 16, answers))
        child.start()
        child.join()
        assert answers.get() == file.read(16) == b"second"


# Broken files


@pytest.mark.parametrize("content", [b"", b"\x0a\x23", b"version https://git-lfs.github.com"])
def test_a_file_that_does_not_begin_with_a_record_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.rec").write_bytes(content)
    with pytest.raises(DatasetError, match="is no record file: it starts with"):
        RecordFile(tmp_path / "a.rec")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*a.rec"):
        RecordFile(tmp_path / "a.rec")


@pytest.mark.parametrize("cut", [1, 8, 20, 33])
def test_a_file_that_is_cut_off_is_told_from_a_whole_one(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a.rec", *(pack_payload(Header((1.0,), i), b"abcd") for i in range(3)))
    index = read_index(path.with_suffix(".idx"))
    path.write_bytes(path.read_bytes()[:-cut])
    with RecordFile(path) as file:
        assert file.read(0)
        for act in (lambda: file.read(72), file.scan, lambda: file.survey(index.offsets)):
            with pytest.raises(DatasetError, match=r"(cut off|no record begins).*byte 72"):
                act()


@pytest.mark.parametrize("offset", [-4, 3, 4, 8, 1 << 40, 36])
def test_a_place_where_no_record_begins_is_refused(tmp_path: Path, offset: int) -> None:
    with RecordFile(write(tmp_path / "a.rec", pack_payload(Header((1.0,), 0), b"abcd"))) as file:
        for act in (file.read, lambda at: file.survey(np.array([0, at]))):
            with pytest.raises(DatasetError, match=f"no record begins at byte {offset} of") as hit:
                act(offset)
        assert "idx" in hit.value.hint


def test_the_middle_of_a_record_in_parts_is_no_record(tmp_path: Path) -> None:
    payload = bytes(24) + MAGIC + b"rest"
    with RecordFile(write(tmp_path / "a.rec", payload, b"next")) as file:
        assert file.read(0) == payload
        with pytest.raises(DatasetError, match="no record begins at byte 32"):
            file.read(32)


def test_a_record_whose_last_part_is_missing_is_refused(tmp_path: Path) -> None:
    first = frame_payload(b"abcd" + MAGIC)[:12]
    (tmp_path / "a.rec").write_bytes(first + frame_payload(b"next"))
    with RecordFile(tmp_path / "a.rec") as file, pytest.raises(DatasetError, match="byte 0"):
        file.read(0)


# Writing


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    def stop() -> None:
        with RecordWriter(tmp_path / "a.rec") as writer:
            writer.append(0, b"abc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match="No space left") as caught:
        write(tmp_path / "a.rec", b"abc")
    assert "disk is full" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", b"abc")
    with pytest.raises(InputError, match="is there already"):
        RecordWriter(path)
