"""A pickle is read as data: what packs hold comes through, a hostile file does nothing."""

from __future__ import annotations

import builtins
import os
import pickle
import pickletools
import resource
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.pickled import PickledArray
from arcwise.evaluate.sets.unpickle import read_pickled

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def load(tmp_path: Path):
    def load_content(content: bytes) -> Any:
        path = tmp_path / "x.bin"
        path.write_bytes(content)
        return read_pickled(path)

    return load_content


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for many examples."""
    return tmp_path_factory.mktemp("pickles") / "x.bin"


class Runs:
    """A pickle of this calls something when it is loaded."""

    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.given


plain = st.recursive(
    st.binary() | st.text() | st.booleans() | st.none() | st.integers(-(2**31), 2**31 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=plain)
def test_plain_data_of_every_protocol_is_what_python_loads(place, protocol, value):
    place.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_pickled(place) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bytearray_becomes_bytes(load, protocol):
    value = [bytearray(b"\xff\x00a"), bytearray()]
    assert load(pickle.dumps(value, protocol=protocol)) == [b"\xff\x00a", b""]


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_an_array_of_bytes_keeps_its_shape_under_old_and_new_names_of_numpy(load, protocol, module):
    array = np.arange(5, dtype=np.uint8)[:, None]
    content = pickle.dumps([array, array[:0, 0], array > 2], protocol=protocol)
    if protocol < 4:  # in protocol 4 a name carries its length
        content = content.replace(b"numpy._core.multiarray", module)
    column, empty, truths = load(content)
    assert (column.shape, column.kind, column.content) == ((5, 1), "u1", bytes(range(5)))
    assert (empty.shape, empty.content) == ((0,), b"")
    assert (truths.kind, truths.content) == ("b1", b"\0\0\0\1\1")


@pytest.mark.parametrize("module", [b"numpy._core.numeric", b"numpy.core.numeric\0"])
def test_an_array_of_protocol_5_is_read_under_old_and_new_names_of_numpy(load, module):
    column = np.arange(5, dtype=np.uint8)[:, None]
    fixed = np.frombuffer(b"abc", np.uint8)
    content = pickle.dumps([column, fixed, column[:, 0] > 2, column[:0, 0]], protocol=5)
    assert b"_frombuffer" in content
    if module.endswith(b"\0"):  # the name carries its length
        content = content.replace(b"\x13numpy._core.numeric", b"\x12" + module[:-1])
    array, other, truths, empty = load(content)
    assert (array.shape, array.kind, array.content) == ((5, 1), "u1", bytes(range(5)))
    assert (other.shape, other.content, empty.content) == ((3,), b"abc", b"")
    assert (truths.kind, truths.content) == ("b1", b"\0\0\0\1\1")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truths_of_numpy_in_a_list_are_truths(load, protocol):
    found = load(pickle.dumps(list(np.array([True, False, True])), protocol=protocol))
    assert found == [True, False, True]
    assert {type(truth) for truth in found} == {bool}


# As CPython 2.7 with NumPy 1.16 writes them: str, and an array whose kind and bytes are str.
PYTHON_2_LISTS = {
    0: b"(lp0\nS'\\xff\\xd8\\n\\'\"'\np1\naS\"it's\"\np2\naI01\naL7L\na.",
    2: b"\x80\x02]q\x00(U\x05\xff\xd8\n'\"q\x01T\x04\x00\x00\x00it'sq\x02\x88\x8a\x01\x07e.",
}
PYTHON_2_ARRAY = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85q\x03U\x01b"
    b"q\x04\x87q\x05Rq\x06(K\x01\x8a\x01\x03\x85q\x07cnumpy\ndtype\nq\x08U\x02u1q\tK\x00K\x01\x87q\n"
    b"Rq\x0b(K\x03U\x01|q\x0cNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\rb\x89U\x03\xff\x00\x01"
    b"q\x0etq\x0fb."
)
PYTHON_2_BYTEARRAY = (
    b"\x80\x02c__builtin__\nbytearray\nq\x00X\x03\x00\x00\x00\xc3\xbfaq\x01U\x07latin-1q\x02\x86q\x03"
    b"Rq\x04."
)


@pytest.mark.parametrize("protocol", PYTHON_2_LISTS)
def test_a_str_of_python_2_is_bytes(load, protocol):
    content = PYTHON_2_LISTS[protocol]
    assert load(content) == [b"\xff\xd8\n'\"", b"it's", True, 7]
    assert load(content) == pickle.loads(content, encoding="bytes") or protocol == 0


def test_an_array_of_python_2_is_read(load):
    assert pickle.loads(PYTHON_2_ARRAY, encoding="bytes").tolist() == [255, 0, 1]
    found = load(PYTHON_2_ARRAY)
    assert (found.shape, found.kind, found.content) == ((3,), "u1", b"\xff\x00\x01")


def test_a_bytearray_of_python_2_is_read(load):
    assert load(PYTHON_2_BYTEARRAY) == b"\xffa"


# ── hostile files ──


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("call", "given_to_it", "name"),
    [
        (os.system, ("echo run > {proof}",), "system"),
        (builtins.eval, ("open({proof!r}, 'w')",), "eval"),
        (builtins.exec, ("open({proof!r}, 'w')",), "exec"),
        (builtins.getattr, ("", "upper"), "getattr"),
        (builtins.open, ("{proof}", "w"), "open"),
        (builtins.__import__, ("antigravity",), "__import__"),
        (np.load, ("{proof}",), "load"),
        (np.save, ("{proof}", 1), "save"),
        (np.fromfile, ("{proof}",), "fromfile"),
    ],
)
def test_a_file_that_calls_something_is_refused_by_its_name(
    load, tmp_path, protocol, call, given_to_it, name
):
    proof = tmp_path / "proof"
    filled = [x.format(proof=str(proof)) if isinstance(x, str) else x for x in given_to_it]
    content = pickle.dumps(([Runs(call, *filled)], [True]), protocol=protocol)
    with pytest.raises(DatasetError, match=rf"asks for [\w.]*{name}\b") as caught:
        load(content)
    assert "nothing of the file was run" in caught.value.hint
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"(ios\nsystem\nS'x'\n.", "asks for os.system"),  # INST, with the name in the step
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "asks for os.system"),
        (b"cnumpy\nndarray.__class__\n.", "asks for numpy.ndarray.__class__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0dload.__self__\x93.", "asks for numpy.load.__self__"),
        (b"c\xff\nx\n.", "text that is not utf-8"),
        (b"cos\x1b[2J\nsystem\n.", r"asks for os\\x1b\[2J.system"),
        (b"c" + b"a" * 500 + b"\nb\n.", "a line without end"),
        (b"c_codecs\nencode\n(V0\nVrot13\ntR.", "as Latin-1"),
        (b"c_codecs\nencode\n(V\\u0100\nVlatin1\ntR.", "text where bytes are due"),
        (b"c_codecs\nencode\nNR.", "calls Role"),
        (b"c_codecs\nencode\n}b.", "the step EMPTY_DICT"),
        (b"c_codecs\nencode\n(NNtb.", r"fills _codecs.encode with tuple"),
        (b"cnumpy\nndarray\n)R.", "makes an array in an unknown way"),
        (b"cnumpy\nndarray\n)\x81.", "the step NEWOBJ"),
        (b"(cnumpy\nndarray\no.", "the step OBJ"),
        (b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.", "makes bytes of int"),
        (b"cbuiltins\nbytearray\n(]tR.", "makes bytes of list"),
        (b"S'0'\nQ.", "the step BINPERSID"),
        (b"Px\n.", "the step PERSID"),
        (b"\x82\x01.", "the step EXT1"),
        (b"\x97.", "the step NEXT_BUFFER"),
        (b"G\0\0\0\0\0\0\0\0.", "the step BINFLOAT"),
        (b"\x80\xff.", "protocol 255"),
        (b"\x8b\xff\xff\xff\x7f.", "the step LONG4"),
        (b"\x8a\xff" + b"1" * 255 + b".", "a number of 255 bytes"),
        (b"I" + b"9" * 100 + b"\n.", "where a number is due"),
        (b"Ieval\n.", "where a number is due"),
        (b"S'a\n.", "without quotes"),
        (b"S'\n.", "without quotes"),
        (b"h\x05.", "repeats thing 5"),
        (b"g-1\n.", "repeats thing -1"),
        (b"a.", "takes more than it has put down"),
        (b"\x94.", "takes more than it has put down"),
        (b"e.", "ends a list that it has not begun"),
        (b"(K\x01.", "ends before its lists do"),
        (b"K\x01K\x01.", "ends before its lists do"),
        (b"K\x01K\x02a.", "adds items to int"),
        (b"K\x01K\x02R.", "calls int"),
        (b"\x00.", "no step of a pickle"),
        (b"", "1 more bytes, 0 follow"),
        (b"PK\x03\x04", "the step PERSID"),
        (b"S'a'", "a line without end"),
    ],
)
def test_a_made_up_file_is_refused(load, content, named):
    with pytest.raises(DatasetError, match=named):
        load(content)


def array_pickle(*, kind: bytes = b"u1", shape: bytes = b"K\x03\x85", state: bytes = b"C\x03abc"):
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nC\x02"
        + kind
        + b"\x89\x88\x87R(K\x03C\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + state
        + b"tb."
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": b"O8", "state": b"]"}, "kind 'O8'"),
        ({"kind": b"f8"}, "kind 'f8'"),
        ({"kind": b"V9"}, "kind 'V9'"),
        ({"state": b"]"}, "fills an array with list"),
        ({"state": b"C\x02ab"}, r"shape \(3,\) with 2 bytes"),
        ({"shape": b"J\xff\xff\xff\x7f\x85"}, "2147483647"),
        ({"shape": b"J\xff\xff\xff\xff\x85"}, "without a shape"),
        ({"shape": b"K\x03"}, "without a shape"),
        ({"shape": b"(K\x01K\x01K\x01K\x01K\x03t"}, "without a shape"),
        ({"shape": b"\x88\x85"}, "without a shape"),
    ],
)
def test_an_array_that_is_none_of_bytes_is_refused(load, changed, named):
    assert load(array_pickle()).content == b"abc"
    with pytest.raises(DatasetError, match=named):
        load(array_pickle(**changed))


def test_a_kind_of_records_is_refused(load):
    content = array_pickle().replace(b"|NNN", b"|N)N")
    with pytest.raises(DatasetError, match="records"):
        load(content)


def test_an_array_of_another_class_is_refused(load):
    content = array_pickle().replace(b"cnumpy\nndarray\n", b"c_codecs\nencode\n")
    with pytest.raises(DatasetError, match="unknown class"):
        load(content)


def view_pickle(
    *,
    content: bytes = b"C\x03abc",
    kind: bytes = b"u1",
    shape: bytes = b"K\x03\x85",
    order: bytes = b"\x8c\x01C",
) -> bytes:
    dtype = b"cnumpy\ndtype\nC\x02" + kind + b"\x89\x88\x87R"
    return (
        b"\x80\x05cnumpy._core.numeric\n_frombuffer\n(" + content + dtype + shape + order + b"tR."
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": b"O8"}, "kind 'O8'"),
        ({"kind": b"f8"}, "kind 'f8'"),
        ({"content": b"]"}, "fills an array with list"),
        ({"content": b"K\x03"}, "fills an array with int"),
        ({"content": b"C\x02ab"}, r"shape \(3,\) with 2 bytes"),
        ({"content": b"\x97"}, "the step NEXT_BUFFER"),
        ({"shape": b"J\xff\xff\xff\x7f\x85"}, "2147483647"),
        ({"shape": b"J\xff\xff\xff\xff\x85"}, "without a shape"),
        ({"shape": b"K\x03"}, "without a shape"),
        ({"order": b"\x8c\x01K"}, "an unknown way"),
        ({"order": b"]"}, "an unknown way"),
        ({"order": b""}, "an unknown way"),
    ],
)
def test_an_array_of_protocol_5_that_is_none_of_bytes_is_refused(load, changed, named):
    assert load(view_pickle()).content == b"abc"
    with pytest.raises(DatasetError, match=named):
        load(view_pickle(**changed))


def test_one_row_of_bytes_may_be_viewed_often_and_takes_its_memory_once(load):
    content = b"\x80\x05(B" + struct.pack("<I", 200_000) + bytes(200_000) + b"\x94"
    view = b"cnumpy._core.numeric\n_frombuffer\n(h\x00cnumpy\ndtype\nC\x02u1\x89\x88\x87R"
    view += b"J" + struct.pack("<i", 200_000) + b"\x85\x8c\x01CtR"
    tracemalloc.start()
    found = load(content + view * 5_000 + b"l.")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert len(found) == 5_001
    assert all(array.content is found[0] for array in found[1:])


def truth_pickle(*, kind: bytes = b"b1", content: bytes = b"C\x01\x01") -> bytes:
    dtype = b"cnumpy\ndtype\nC\x02" + kind + b"\x89\x88\x87R"
    return b"\x80\x04cnumpy._core.multiarray\nscalar\n(" + dtype + content + b"tR."


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": b"u1"}, "no truth"),
        ({"kind": b"O8"}, "kind 'O8'"),
        ({"content": b"C\x01\x02"}, "no truth"),
        ({"content": b"C\x00"}, "no truth"),
        ({"content": b"]"}, "no truth"),
        ({"content": b"K\x01"}, "no truth"),
        ({"content": b""}, "no truth"),
        ({"content": b"cos\nsystem\n"}, "asks for os.system"),
    ],
)
def test_a_single_value_of_numpy_that_is_no_truth_is_refused(load, changed, named):
    assert load(truth_pickle()) is True
    with pytest.raises(DatasetError, match=named):
        load(truth_pickle(**changed))


@pytest.mark.parametrize("claim", [2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("step", [b"B", b"X", b"T"])
def test_a_claim_of_gigabytes_takes_no_memory(load, step, claim):
    tracemalloc.start()
    with pytest.raises(DatasetError, match=f"promises {claim:,} more bytes"):
        load(step + struct.pack("<I", claim) + b"abc.")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("step", [b"\x8e", b"\x8d", b"\x96"])
def test_a_claim_of_all_memory_takes_none(load, step):
    with pytest.raises(DatasetError, match="promises 18,446,744,073,709,551,615 more bytes"):
        load(step + b"\xff" * 8 + b"abc.")


def test_a_far_place_in_the_memo_takes_no_memory(load):
    """These bytes make pickle.load of Python 3.11 fill all memory (python/cpython#115952)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert load(b"]r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.") == ([], [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_text_that_is_encoded_again_and_again_is_stopped(load):
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    again = b"c_codecs\nencode\nq\x00" + text + b"X\x06\x00\x00\x00latin1\x86q\x01R"
    assert load(again + b".") == b"a" * 100_000
    with pytest.raises(DatasetError, match="makes more bytes than it holds"):
        load(b"(" + again + b"h\x00h\x01R" * 1000 + b"l.")


@pytest.mark.parametrize("step", [b"]", b"(", b"\x85"])
def test_a_file_of_nothing_but_steps_is_stopped(load, step):
    with pytest.raises(DatasetError, match="far more steps than data"):
        load(b"]" + step * 1_500_000 + b".")


def test_a_list_that_holds_itself_is_read_without_end(load):
    value: list[Any] = []
    value.append(value)
    found = load(pickle.dumps(value))
    assert found[0] is found


def test_deep_nesting_does_not_exhaust_the_stack(load):
    found = load(b"]" + b"\x85" * 500_000 + b".")
    assert isinstance(found, tuple)


@given(cut=st.integers(0, 400))
def test_every_cut_of_a_pack_is_refused(place, cut):
    arrays = [np.arange(9, dtype=np.uint8), b"abc"]
    content = pickle.dumps((arrays, [True]), protocol=2)
    place.write_bytes(content[: min(cut, len(content) - 1)])
    with pytest.raises(DatasetError):
        read_pickled(place)


STEPS = [step.code.encode("latin-1") for step in pickletools.opcodes]


@given(
    parts=st.lists(
        st.sampled_from(STEPS)
        | st.binary(max_size=4)
        | st.sampled_from(
            [b"os\nsystem\n", b"numpy\nndarray\n", b"\x02os", b"\x06system", b"'a'\n"]
        ),
        max_size=30,
    )
)
def test_any_bytes_are_plain_data_or_refused(place, parts):
    place.write_bytes(b"".join(parts) + b".")
    try:
        found = read_pickled(place)
    except DatasetError:
        return
    known = (list, tuple, bytes, str, int, type(None), PickledArray)
    assert isinstance(found, known) or type(found).__module__ == "arcwise.evaluate.sets.pickled"


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_pickled(tmp_path / "none.bin")
    with pytest.raises(InputError, match="cannot read"):
        read_pickled(tmp_path)
