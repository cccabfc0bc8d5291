"""Packs of InsightFace and ours: what is written is read, and what is none is refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.packs import KNOWN_PACKS, Pack, pack_pairs, read_pack, write_pack

IMAGES = [b"\xff\xd8first", b"\xff\xd8second", b"\x89PNG third", b""]
ANSWERS = [True, False]


def dump(path: Path, value: object, *, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("suffix", [".bin", ".npz"])
def test_a_written_pack_is_read_as_it_was(tmp_path, suffix):
    pack = read_pack(write_pack(tmp_path / f"mine{suffix}", IMAGES, ANSWERS))
    assert (pack.name, pack.images, pack.is_same.tolist()) == ("mine", tuple(IMAGES), ANSWERS)
    assert pack.is_same.dtype == np.bool_
    assert pack.notes == ()
    assert pack.photo_names == ("mine/000000", "mine/000001", "mine/000002", "mine/000003")


def test_a_written_bin_is_plain_lists_for_everybody_else(tmp_path):
    content = write_pack(tmp_path / "x.bin", IMAGES, np.array(ANSWERS)).read_bytes()
    assert pickle.loads(content, encoding="bytes") == (IMAGES, ANSWERS)
    assert content[:2] == b"\x80\x04"
    assert b"numpy" not in content


def test_a_photo_given_twice_is_written_once(tmp_path):
    image = bytes(100_000)
    path = write_pack(tmp_path / "x.bin", [image, image, image, b"other"], ANSWERS)
    assert path.stat().st_size < 110_000
    assert read_pack(path).images == (image, image, image, b"other")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (1, -1)])
def test_photos_as_arrays_are_their_bytes(tmp_path, protocol, shape):
    arrays = [np.frombuffer(image, np.uint8).reshape(shape) for image in IMAGES[:2]]
    path = dump(tmp_path / "x.bin", (arrays, np.array([True])), protocol=protocol)
    pack = read_pack(path)
    assert pack.images == tuple(IMAGES[:2])
    assert pack.is_same.tolist() == [True]


@pytest.mark.parametrize("protocol", range(6))
def test_answers_may_be_truths_of_numpy_in_a_list(tmp_path, protocol):
    path = dump(tmp_path / "x.bin", (IMAGES, list(np.array(ANSWERS))), protocol=protocol)
    assert read_pack(path).is_same.tolist() == ANSWERS


def test_lists_numbers_and_tuples_are_taken_too(tmp_path):
    pack = read_pack(dump(tmp_path / "x.bin", [tuple(IMAGES), (1, 0)]))
    assert pack.is_same.tolist() == ANSWERS


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (IMAGES, "a list of 4, not two things"),
        (b"x", "a bytes, not two things"),
        ((b"x", ANSWERS), "a bytes as its photos"),
        ((IMAGES, b"x"), "a bytes as its answers"),
        ((IMAGES, [True]), "4 photos for 1 pairs"),
        ((IMAGES[:3], ANSWERS), "3 photos for 2 pairs"),
        (([], []), "holds no pairs"),
        ((["text", b""], [True]), "photo 0 is a str, not encoded bytes"),
        (([b"", [b""]], [True]), "photo 1 is a list of 1, not encoded bytes"),
        (([b"", None], [True]), "photo 1 is a NoneType"),
        ((IMAGES, [True, 2]), "answer 1 is an int"),
        ((IMAGES, [True, None]), "answer 1 is a NoneType"),
        ((IMAGES, ["yes", "no"]), "answer 0 is a str"),
        ((IMAGES, np.array([[1, 0]], np.uint8)), "an array of shape .1, 2. and kind u1 as its"),
        ((IMAGES, np.array([1, 7], np.uint8)), "answer 1 is an int"),
        (([np.zeros((2, 3), np.uint8)] * 2, [True]), r"shape \(2, 3\) and kind u1, not encoded"),
        (([np.zeros(3, bool)] * 2, [True]), "kind b1, not encoded"),
        ((IMAGES, list(np.array([1, 0]))), "kind 'i8'"),
        ((IMAGES, list(np.array([1, 0], np.uint8))), "a single value of NumPy that is no truth"),
        (([np.zeros(3, np.int64)] * 2, [True]), "kind 'i8'"),
        ((np.array(IMAGES, dtype=object), ANSWERS), "kind 'O8'"),
        (({"images": IMAGES}, ANSWERS), "EMPTY_DICT"),
    ],
)
def test_what_is_no_pack_is_refused(tmp_path, value, why):
    with pytest.raises(DatasetError, match=why):
        read_pack(dump(tmp_path / "x.bin", value))


def test_a_list_that_holds_itself_is_refused(tmp_path):
    images: list[object] = [b""]
    images.append(images)
    with pytest.raises(DatasetError, match="photo 1 is a list of 2"):
        read_pack(dump(tmp_path / "x.bin", (images, [True])))


@pytest.mark.parametrize(
    ("images", "answers", "name", "why"),
    [
        (IMAGES, ANSWERS, "x.pkl", "cannot write x.pkl"),
        (IMAGES, [True], "x.bin", "4 photos for 1 pairs"),
        ([], [], "x.npz", "0 photos for 0 pairs"),
    ],
)
def test_what_is_no_pack_is_not_written(tmp_path, images, answers, name, why):
    with pytest.raises(InputError, match=why):
        write_pack(tmp_path / name, images, answers)
    assert not list(tmp_path.iterdir())


# ── npz ──


def npz(path: Path, *, save=np.savez, **changed: object) -> Path:
    parts = {
        "content": np.arange(9, dtype=np.uint8),
        "ends": np.array([2, 4, 4, 9]),
        "is_same": np.array(ANSWERS),
    } | changed
    buffer = io.BytesIO()
    save(buffer, **{name: part for name, part in parts.items() if part is not None})
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"content": None}, "content"),
        ({"ends": np.array([4, 2, 4, 9])}, "do not fit"),
        ({"ends": np.array([-1, 2, 4, 9])}, "do not fit"),
        ({"ends": np.array([2, 4, 4, 8])}, "do not fit"),
        ({"ends": np.array([2, 4, 4, 2**62])}, "do not fit"),
        ({"ends": np.array([2.0, 4, 4, 9])}, "ends is <f8"),
        ({"ends": np.array([], np.int64)}, "do not fit"),
        ({"is_same": np.array([[True], [False]])}, r"is_same is \|b1 of shape \(2, 1\)"),
        ({"is_same": np.array([True, False], dtype=object)}, "Object arrays"),
        ({"content": np.zeros(9, "u1,u1")}, "content is"),
        ({"save": np.savez_compressed}, "is compressed"),
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, changed, why):
    assert read_pack(npz(tmp_path / "good.npz")).images == (
        b"\0\1",
        b"\2\3",
        b"",
        bytes([4, 5, 6, 7, 8]),
    )
    with pytest.raises(DatasetError, match=why):
        read_pack(npz(tmp_path / "x.npz", **changed))


def test_an_npz_that_claims_more_than_it_holds_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**31,)}
    )
    path = npz(tmp_path / "x.npz", content=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("content.npy", buffer.getvalue())
    with pytest.raises(DatasetError, match="no pack"):
        read_pack(path)


def test_truths_of_an_npz_are_truths_whatever_bytes_they_are(tmp_path):
    path = npz(tmp_path / "x.npz", is_same=np.array([2, 0], np.uint8).view(np.bool_))
    assert read_pack(path).is_same.sum() == 1


@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_npz_is_read_or_refused(tmp_path_factory, place, byte):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    content = bytearray(npz(path).read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        read_pack(path)
    except (DatasetError, InputError):
        return


# ── pairs and published counts ──


@pytest.mark.parametrize("is_mixed", [True, False], ids=["fold by fold", "same first"])
def test_pairs_of_a_pack_fall_into_ten_equal_folds(is_mixed):
    answers = np.tile(np.repeat([True, False], 3), 10) if is_mixed else np.repeat([True, False], 30)
    pairs = pack_pairs(Pack("lfw", (b"",) * 120, answers))
    assert (pairs[1].a, pairs[1].b) == ("lfw/000002", "lfw/000003")
    assert [pair.is_same for pair in pairs] == answers.tolist()
    counts = Counter((pair.fold, pair.is_same) for pair in pairs)
    assert counts == {(fold, same): 3 for fold in range(10) for same in (True, False)}


@pytest.mark.parametrize(
    ("answers", "n_folds", "error", "why"),
    [
        ([True] * 20, 10, DatasetError, "0 pairs of two people"),
        ([True] * 20 + [False] * 9, 10, DatasetError, "9 pairs of two people"),
        ([True, False], 1, InputError, "at least 2"),
    ],
)
def test_a_pack_that_cannot_fill_its_folds_is_refused(answers, n_folds, error, why):
    with pytest.raises(error, match=why):
        pack_pairs(Pack("x", (b"",) * 2 * len(answers), np.array(answers)), n_folds=n_folds)


@pytest.mark.parametrize(
    ("name", "n_pairs"),  # InsightFace, eval sets of the dataset zoo; two photos for each pair
    [("lfw", 6000), ("cfp_ff", 7000), ("cfp_fp", 7000), ("agedb_30", 6000), ("calfw", 6000),
     ("cplfw", 6000)],
)  # fmt: skip
def test_a_published_pack_of_another_size_is_told(tmp_path, name, n_pairs):
    assert KNOWN_PACKS[name] == n_pairs
    answers = [True, False] * (n_pairs // 2)
    whole = read_pack(write_pack(tmp_path / f"{name}.bin", [b"x"] * 2 * n_pairs, answers))
    assert len(whole.images) == 2 * n_pairs
    assert whole.notes == ()
    short = tmp_path / f"{name.upper().replace('_', '-')}.bin"
    (note,) = read_pack(write_pack(short, [b"x"] * 2 * (n_pairs - 2), answers[2:])).notes
    assert f"holds {n_pairs - 2:,} pairs" in note
    assert f"holds {n_pairs:,}" in note


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_pack(tmp_path / "none.bin")
