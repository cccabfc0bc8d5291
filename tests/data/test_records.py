"""Sets in record files: what is read is what was written, and what is refused."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from arcwise.data.idx import read_index
from arcwise.data.recordio import Header, RecordFile, RecordWriter, pack_payload
from arcwise.data.records import Records, RecordSamples, find_record_file, write_records
from arcwise.data.split import Sample, SplitRules, split_samples
from arcwise.encode import encode_image
from arcwise.errors import DatasetError, InputError
from arcwise.image import read_image
from arcwise.testing import draw_person
from arcwise.types import Image

Dialect = Literal["insightface", "sequential"]
LABELS = [0, 0, 1, 2, 2, 2]


def draw(label: int, variation: int, size_px: int = 112) -> Image:
    return draw_person(label, variation=variation, size_px=size_px)[0]


CROPS = [(encode_image(draw(label, i), suffix=".jpg"), label) for i, label in enumerate(LABELS)]


@pytest.fixture(params=["insightface", "sequential"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
def rec(tmp_path: Path, dialect: Dialect) -> Path:
    write_records(tmp_path / "set" / "train.rec", CROPS, dialect=dialect)
    return tmp_path / "set" / "train.rec"


# Reading


def test_crops_are_read_as_they_were_written(rec: Path, dialect: Dialect) -> None:
    records = Records(rec)
    first = 1 if dialect == "insightface" else 0
    assert records.dialect == dialect
    assert records.labels.tolist() == LABELS
    assert records.labels.dtype == np.int64
    assert records.keys.tolist() == list(range(first, first + 6))
    assert (records.n_classes, records.side_px, records.border_px) == (3, 112, 0)
    assert records.notes == ()
    for i, (content, _) in enumerate(CROPS):
        assert records.content(i) == content, "the bytes of a picture are not touched"
        assert np.array_equal(records.read(i), read_image(content))
    assert records.read(2) is records.read(2), "a decoded crop is kept"


def test_the_set_is_the_same_without_the_files_beside_it(rec: Path, dialect: Dialect) -> None:
    for name in ("train.idx", "train.json", "train.labels.npy", "property"):
        (rec.parent / name).unlink()
        records = Records(rec)
        assert records.dialect == dialect
        assert records.labels.tolist() == LABELS
        assert [records.content(i) for i in range(6)] == [content for content, _ in CROPS]
    assert records.notes == (
        "train.idx is missing; all records were looked for",
        "property is missing: 3 people of 112 px were found",
    )


def test_a_sample_is_made_when_it_is_asked_for() -> None:
    n = 17_091_657
    samples = RecordSamples(np.arange(1, n + 1), np.arange(n) // 50)
    assert len(samples) == n
    assert samples[-1] == Sample("0341833/17091657", "0341833")
    assert samples[100:102][0] == Sample("0000002/00000101", "0000002")
    assert list(samples[49:51]) == [samples[49], samples[50]]
    with pytest.raises(IndexError):
        samples[n]


def test_people_have_the_names_that_were_given(tmp_path: Path) -> None:
    people = ("Ann", "Bob Lee", "Zoë")
    write_records(tmp_path / "train.rec", CROPS, people=people)
    records = Records(tmp_path)
    assert records.people == people
    assert records.samples[2] == Sample("Bob Lee/00000003", "Bob Lee")


def test_people_without_names_keep_the_order_of_their_labels(tmp_path: Path) -> None:
    crops = [(CROPS[0][0], label) for label in range(0, 24, 2)]
    write_records(tmp_path / "train.rec", crops)
    records = Records(tmp_path)
    split = split_samples(records.samples, SplitRules())
    assert split.labels.tolist() == list(range(12))
    assert split.people[1] == "0000002"


def test_a_border_is_found_from_the_size(tmp_path: Path) -> None:
    write_records(tmp_path / "train.rec", [(draw(0, 0, 144), 0), (draw(1, 0, 144), 1)])
    assert (tmp_path / "property").read_text() == "2,144,144\n"
    assert (Records(tmp_path).border_px, Records(tmp_path, size_px=128).border_px) == (16, 8)
    with pytest.raises(DatasetError, match="144x144 px, networks take 448x448"):
        Records(tmp_path, size_px=448)


def test_many_threads_read_one_set(rec: Path) -> None:
    records = Records(rec)
    order = np.random.default_rng(0).integers(0, 6, 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(records.read, order))
    for position, crop in zip(order, read, strict=True):
        assert np.array_equal(crop, read_image(CROPS[position][0]))


def test_a_set_that_was_pickled_is_opened_again(rec: Path) -> None:
    records = Records(rec)
    records.read(1)
    other = pickle.loads(pickle.dumps(records))
    records.close()
    assert np.array_equal(other.read(3), read_image(CROPS[3][0]))
    assert other.samples[3] == records.samples[3]


def test_a_folder_means_its_record_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no record file"):
        find_record_file(tmp_path)
    (tmp_path / "val.rec").touch()
    assert find_record_file(tmp_path).name == "val.rec"
    (tmp_path / "other.rec").touch()
    with pytest.raises(InputError, match="holds 2 record files"):
        find_record_file(tmp_path)
    (tmp_path / "train.rec").touch()
    assert find_record_file(tmp_path).name == "train.rec"


# What is refused when a crop is read


def test_a_crop_of_another_size_is_named(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, side_px in enumerate((112, 112, 96)):
            content = encode_image(draw(0, 0, side_px), suffix=".png")
            writer.append(key, pack_payload(Header((0.0,), key), content))
    records = Records(tmp_path)
    with pytest.raises(DatasetError, match=r"record 2 of .*train.rec has 96x96 px, .* 112x112"):
        records.read(2)


def test_a_broken_crop_is_named(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        cut_off = CROPS[1][0][:300], CROPS[1][0][:-1]
        for key, content in enumerate([CROPS[0][0], b"no picture", *cut_off]):
            writer.append(key, pack_payload(Header((0.0,), key), content))
    records = Records(tmp_path)
    for key in (1, 2, 3):
        with pytest.raises(DatasetError, match=rf"record {key} of .*train.rec cannot be read"):
            records.read(key)


def test_a_label_that_is_not_the_one_of_the_record_is_found_out(rec: Path) -> None:
    np.save(rec.parent / "train.labels.npy", np.array([0, 1, 0, 2, 2, 2], np.int64))
    records = Records(rec)
    assert records.content(0)
    with pytest.raises(DatasetError, match=r"has label 0, not 1"):
        records.content(1)


# Writing


def test_the_files_of_a_set_are_those_of_insightface_and_exact_counts(tmp_path: Path) -> None:
    contents = [encode_image(draw(i, 0), suffix=".png") for i in range(3)]
    crops = list(zip(contents, [0, 0, 1], strict=True))
    counts = write_records(tmp_path / "train.rec", crops)
    with RecordFile(tmp_path / "train.rec") as file:
        index = read_index(tmp_path / "train.idx")
        payloads = {
            key: file.read(offset)
            for key, offset in zip(index.keys.tolist(), index.offsets.tolist(), strict=True)
        }
    # The golden records of the format for 3 crops and 2 people: see test_recordio.py.
    assert list(payloads) == [1, 2, 3, 0, 4, 5]
    header = "02000000 00000000 0000000000000000 0000000000000000 00008040 0000c040"
    person = "02000000 00000000 0400000000000000 0000000000000000 0000803f 00004040"
    assert payloads[0] == bytes.fromhex(header)
    assert payloads[4] == bytes.fromhex(person)
    crop = "00000000 0000803f 0300000000000000 0000000000000000"
    assert payloads[3] == bytes.fromhex(crop) + contents[2]
    assert (tmp_path / "property").read_text() == "2,112,112\n"
    assert json.loads((tmp_path / "train.json").read_text()) == counts.model_dump()
    assert (counts.n_crops, counts.n_people) == (3, 2)
    assert counts.rec_bytes == (tmp_path / "train.rec").stat().st_size
    assert np.load(tmp_path / "train.labels.npy").tolist() == [0, 0, 1]
    assert len(list(tmp_path.iterdir())) == 5


def test_pixels_are_stored_as_jpeg(tmp_path: Path) -> None:
    write_records(tmp_path / "train.rec", [(draw(0, 0), 0), (draw(1, 0), 1)], quality=95)
    wanted = encode_image(draw(1, 0), suffix=".jpg", quality=95)
    assert Records(tmp_path).content(1) == wanted


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        ([], "no crops"),
        ([(CROPS[0][0], -1)], "label -1 of crop 0 is no whole number"),
        ([(CROPS[0][0], 1.5)], "label 1.5 of crop 0 is no whole number"),
        ([(CROPS[0][0], 2**24 + 1)], "label 16777217 of crop 0"),
        ([*CROPS, (CROPS[0][0], 0)], "label 0 comes back at crop 6"),
        ([CROPS[0], (draw(0, 0, 96), 0)], "crop 2 has 96x96 px, it must be 112x112 as the first"),
        ([(np.zeros((96, 112, 3), np.uint8), 0)], "crop 1 has 112x96 px, it must be square"),
        ([CROPS[0], (b"no picture", 0)], "crop 2 cannot be read"),
        ([CROPS[0], (CROPS[0][0], 7)], "label 7 of crop 1 has none of the 3 names"),
    ],
)
def test_what_cannot_be_a_set_is_refused_and_leaves_nothing(
    tmp_path: Path, crops: list[tuple[bytes, int]], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        write_records(tmp_path / "train.rec", crops, people=("Ann", "Bob", "Cid"))
    assert list(tmp_path.iterdir()) == []


def test_labels_may_come_back_in_the_sequential_dialect(tmp_path: Path) -> None:
    crops = [(CROPS[0][0], label) for label in (1, 0, 1)]
    write_records(tmp_path / "train.rec", crops, dialect="sequential")
    assert Records(tmp_path).labels.tolist() == [1, 0, 1]


def test_a_place_that_is_taken_is_left_alone(rec: Path) -> None:
    before = {path: path.read_bytes() for path in rec.parent.iterdir()}
    for name in ("train.rec", "other.rec", "train.txt"):
        with pytest.raises(InputError, match=r"is there already|does not end in .rec"):
            write_records(rec.with_name(name), CROPS)
    assert {path: path.read_bytes() for path in rec.parent.iterdir()} == before


@pytest.mark.fault
@pytest.mark.parametrize("n_written", range(5))
def test_a_crash_leaves_a_set_that_is_whole_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    """The names of files are given one after the other; the process dies before one of them."""
    real, done = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        if len(done) == n_written:
            raise KeyboardInterrupt
        done.append(Path(target).name)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "train.rec", CROPS)
    assert (
        done == ["property", "train.labels.npy", "train.rec", "train.idx", "train.json"][:n_written]
    )
    if "train.rec" in done:
        records = Records(tmp_path)
        assert [records.content(i) for i in range(6)] == [content for content, _ in CROPS]
        assert records.labels.tolist() == LABELS
