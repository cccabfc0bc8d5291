"""Which records are crops: dialects, exact counts, labels, and what contradicts what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from arcwise.data import contents
from arcwise.data.contents import (
    Contents,
    RecordCounts,
    check_property,
    counts_path,
    labels_path,
    read_contents,
    write_counts,
)
from arcwise.data.idx import Index, read_index, write_index
from arcwise.data.recordio import Header, RecordFile, RecordWriter, pack_payload
from arcwise.errors import DatasetError, InputError

Record = tuple[int, tuple[float, ...], bytes]  # key, labels, picture


def write(path: Path, records: Sequence[Record]) -> Path:
    with RecordWriter(path) as writer:
        for key, labels, picture in records:
            header = Header(labels, key, is_vector=len(labels) > 1)
            writer.append(key, pack_payload(header, picture))
    return path


def read(path: Path) -> Contents:
    with RecordFile(path) as file:
        return read_contents(file)


def faces(
    labels: Sequence[float], people: Sequence[tuple[float, float]], end: int = 0
) -> list[Record]:
    """Crops, header and people as face2rec2.py writes them."""
    crops = [(i + 1, (float(label),), b"picture") for i, label in enumerate(labels)]
    after = len(crops) + 1
    header = (0, (float(after), float(end or after + len(people))), b"")
    return [*crops, header, *((after + i, span, b"") for i, span in enumerate(people))]


THREE = faces([0, 0, 1], [(1, 3), (3, 4)])


# Dialects


def test_the_header_and_the_people_of_insightface_are_no_crops(tmp_path: Path) -> None:
    found = read(write(tmp_path / "train.rec", THREE))
    assert found.dialect == "insightface"
    assert found.keys.tolist() == [1, 2, 3]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.labels.dtype == np.int64
    assert (found.n_classes, found.notes) == (2, ())


def test_a_label_with_a_flag_beside_it_is_the_label(tmp_path: Path) -> None:
    records = [(key, (labels[0], 1.0), picture) for key, labels, picture in THREE[:3]]
    found = read(write(tmp_path / "train.rec", [*records, *THREE[3:]]))
    assert found.labels.tolist() == [0, 0, 1]


def test_records_that_count_up_from_0_are_all_crops(tmp_path: Path) -> None:
    records = [(i, (float(i // 2),), b"picture") for i in range(5)]
    found = read(write(tmp_path / "train.rec", records))
    assert found.dialect == "sequential"
    assert found.keys.tolist() == [0, 1, 2, 3, 4]
    assert found.labels.tolist() == [0, 0, 1, 1, 2]


def test_shuffled_keys_with_gaps_are_those_of_im2rec(tmp_path: Path) -> None:
    records = [(key, (float(key % 3),), b"picture") for key in (8, 2, 6, 1)]
    path = write(tmp_path / "train.rec", records)
    found = read(path)
    assert found.dialect == "im2rec"
    assert found.keys.tolist() == [1, 2, 6, 8]
    assert found.labels.tolist() == [1, 2, 0, 2]
    with RecordFile(path) as file:
        assert file.survey(found.offsets).ids.tolist() == [1, 2, 6, 8]


def test_a_first_record_with_two_labels_and_a_picture_is_a_crop(tmp_path: Path) -> None:
    records = [(i, (float(i), 1.0), b"picture") for i in range(3)]
    assert read(write(tmp_path / "train.rec", records)).dialect == "sequential"


# The trap of float32


@pytest.mark.slow
def test_counts_beyond_2_to_the_24_are_those_of_the_index() -> None:
    """By its header, whose numbers are rounded, such a set would lose its last crop."""
    n_crops, n_people = 17_091_656, 3  # about as many as Glint360K has
    header = np.float32([n_crops + 1, n_crops + 1 + n_people])
    assert int(header[0]) - 1 == n_crops - 1, "float32(17,091,657) is 17,091,656"
    survey = contents.Survey(
        labels=np.concatenate([header[:1], np.zeros(n_crops + n_people, np.float32)]),
        second=header[1:],
        n_labels=np.array([2]),
        ids=np.empty(0, np.int64),
        n_bytes=np.repeat([0, 9, 0], [1, n_crops, n_people]),
        ends=np.empty(0, np.int64),
    )
    keys = np.arange(1 + n_crops + n_people)
    notes: list[str] = []
    contents._check_header(Path("a.rec"), Index(keys, keys), survey, keys, notes)
    assert notes == []
    survey.n_bytes[n_crops - 2 :] = 0  # more are missing than rounding explains
    with pytest.raises(DatasetError, match="promises 17091655 crops and its index names 17091653"):
        contents._check_header(Path("a.rec"), Index(keys, keys), survey, keys, notes)


# Without an index, and with one that lies


@pytest.mark.parametrize(
    "records",
    [THREE, [(key, (float(key % 3),), b"p") for key in (8, 2, 6, 1)]],
    ids=["insightface", "im2rec"],
)
def test_without_an_index_the_keys_are_those_in_the_headers(
    tmp_path: Path, records: list[Record]
) -> None:
    path = write(tmp_path / "train.rec", records)
    known = read(path)
    path.with_suffix(".idx").unlink()
    found = read(path)
    assert found.dialect == known.dialect
    for a, b in (
        (found.keys, known.keys),
        (found.labels, known.labels),
        (found.offsets, known.offsets),
    ):
        assert np.array_equal(a, b)
    assert found.notes == ("train.idx is missing; all records were looked for",)
    assert not path.with_suffix(".idx").exists(), "opening a set writes nothing"


def test_without_an_index_and_without_keys_records_are_counted(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for label in (4.0, 5.0, 4.0):
            writer.append(0, pack_payload(Header((label,), 0), b"picture"))
    (tmp_path / "train.idx").unlink()
    found = read(tmp_path / "train.rec")
    assert (found.dialect, found.keys.tolist()) == ("sequential", [0, 1, 2])
    assert found.labels.tolist() == [4, 5, 4]


def change_index(path: Path, keys: Sequence[int], *, shift: int = 0) -> Path:
    """Leave only some keys in the index."""
    index = read_index(path.with_suffix(".idx"))
    kept = np.isin(index.keys, keys)
    write_index(path.with_suffix(".idx"), Index(index.keys[kept], index.offsets[kept] + shift))
    return path


@pytest.mark.parametrize(
    ("keys", "shift", "message"),
    [
        (range(6), 4, "no record begins at byte 4"),
        (range(6), 1 << 40, r"train.idx names a record at byte \d+, train.rec ends at byte"),
        ((0, 2, 3, 4, 5), 0, "crop 1 of .* is missing: its keys go from 2 to 3, but there are 2"),
        ((0, 1, 3, 4, 5), 0, "crop 2 of .* is missing: its keys go from 1 to 3, but there are 2"),
        ((0, 1, 2, 4, 5), 0, "promises 3 crops and its index names 2"),
        ((1, 2, 3, 4, 5), 0, "record 4 of .* has no picture"),
    ],
)
def test_an_index_that_lies_is_found_out(
    tmp_path: Path, keys: Sequence[int], shift: int, message: str
) -> None:
    path = change_index(write(tmp_path / "train.rec", THREE), keys, shift=shift)
    with pytest.raises(DatasetError, match=message) as caught:
        read(path)
    assert caught.value.hint


def test_records_that_the_index_does_not_name_are_noted(tmp_path: Path) -> None:
    path = change_index(write(tmp_path / "train.rec", THREE), (1, 2, 3))
    assert read(path).notes == ("train.rec has 120 bytes of records that its .idx does not name",)


def test_a_file_that_is_cut_off_is_found_out(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec", THREE)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match="is cut off"):
        read(path)


def test_a_header_that_miscounts_its_people_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec", faces([0, 0, 1], [(1, 3), (3, 4)], end=9))
    assert read(path).notes == ("the header of train.rec ends its people at 9, there are 2",)


def test_a_set_without_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no crops"):
        read(write(tmp_path / "train.rec", faces([], [])))


# Labels


@pytest.mark.parametrize("label", [0.5, -1.0, float("nan"), float("inf"), 2.0**24 + 2])
def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path, label: float) -> None:
    path = write(tmp_path / "train.rec", faces([0, label, 1], [(1, 4)]))
    with pytest.raises(DatasetError, match=r"the label of record 2 of .*, and 1 of 3 are no"):
        read(path)


def test_numbers_without_a_crop_are_noted(tmp_path: Path) -> None:
    found = read(write(tmp_path / "train.rec", faces([1, 1, 6], [(1, 3), (3, 4)])))
    assert found.n_classes == 7
    assert found.notes == ("labels go up to 6, but 5 numbers have no crop, such as 0, 2, 3",)


# The counts beside it


COUNTS = RecordCounts(
    dialect="insightface", n_crops=3, n_classes=2, n_people=2, side_px=112, rec_bytes=1
)


def add_counts(path: Path, **changed: object) -> Path:
    counts = COUNTS.model_copy(update={"rec_bytes": path.stat().st_size} | changed)
    np.save(labels_path(path), np.array([0, 0, 1], np.int64))
    write_counts(path, counts)
    return path


def test_with_counts_no_record_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "train.rec", THREE)
    looked = read(path)
    add_counts(path, people=("Ann", "Bob"))
    monkeypatch.delattr(RecordFile, "survey")
    found = read(path)
    assert found.people == ("Ann", "Bob")
    assert (found.dialect, found.n_classes) == (looked.dialect, looked.n_classes)
    assert np.array_equal(found.keys, looked.keys)
    assert np.array_equal(found.offsets, looked.offsets)
    assert np.array_equal(found.labels, looked.labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rec_bytes": 5}, "is about a file of 5 bytes, train.rec has"),
        ({"n_crops": 6}, "promises the crops 1 to 6, the .idx names others"),
        ({"n_crops": 2}, "has 2 crops of 2 classes, the labels others"),
        ({"n_classes": 3}, "has 3 crops of 3 classes, the labels others"),
        ({"dialect": "sequential", "n_crops": 7}, "promises the crops 0 to 6"),
        ({"people": ("Ann",)}, "names 1 people, there are 2 classes"),
    ],
)
def test_counts_of_another_file_are_found_out(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = add_counts(write(tmp_path / "train.rec", THREE), **change)
    with pytest.raises(DatasetError, match=words) as caught:
        read(path)
    assert "train.json away" in caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(COUNTS.model_dump() | {"version": 2})])
def test_counts_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = add_counts(write(tmp_path / "train.rec", THREE))
    counts_path(path).write_text(text)
    with pytest.raises(DatasetError, match="does not hold the counts of a record file"):
        read(path)


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    path = add_counts(write(tmp_path / "train.rec", THREE))
    for content in (b"", b"no numpy"):
        labels_path(path).write_bytes(content)
        with pytest.raises(DatasetError, match="does not hold labels"):
            read(path)
    np.save(labels_path(path), np.zeros((3, 1)))
    with pytest.raises(DatasetError, match=r"does not hold labels but float64 of \(3, 1\)"):
        read(path)
    labels_path(path).unlink()
    with pytest.raises(InputError, match="cannot read"):
        read(path)


# property


def test_property_is_inferred_where_it_is_missing(tmp_path: Path) -> None:
    note = check_property(tmp_path / "train.rec", 85742, 112)
    assert note == "property is missing: 85742 people of 112 px were found"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("10572,112,112", ""),
        ("10572,112,112\n", ""),
        ("10600,112,112\n", "property says 10600 people, labels go up to 10571"),
    ],
)
def test_property_that_fits_is_taken(tmp_path: Path, text: str, note: str) -> None:
    (tmp_path / "property").write_text(text)
    assert check_property(tmp_path / "train.rec", 10572, 112) == note


@pytest.mark.parametrize("text", ["10571,112,112", "10572,112,96", "10572,144,144"])
def test_property_that_contradicts_the_crops_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "property").write_text(text)
    with pytest.raises(DatasetError, match=r"labels up to 10571 and crops of 112x112 px"):
        check_property(tmp_path / "train.rec", 10572, 112)


@pytest.mark.parametrize("text", ["", "10572", "10572 112 112", "a,112,112", "1,2,3,4", "-1,2,2"])
def test_property_that_is_none_is_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "property").write_text(text)
    with pytest.raises(DatasetError, match="not PEOPLE,HEIGHT,WIDTH") as caught:
        check_property(tmp_path / "train.rec", 10572, 112)
    assert repr(text) in str(caught.value)
