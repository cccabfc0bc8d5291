"""The meta files of IJB-B and IJB-C, as InsightFace lays them out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.ijb import (
    find_meta,
    note_sizes,
    read_images,
    read_template_pairs,
    read_template_people,
)
from tests.ijb_set import N_PEOPLE, Row, build_set, write_meta

POINTS = (30.0, 40.0, 60.0, 40.0, 45.0, 60.0, 33.0, 80.0, 57.0, 80.0)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two images of template 1, one of template 2; no image files."""
    rows = [
        Row("1.jpg", 1, 7, POINTS, 0.9),
        Row("a b/2.jpg", 1, 7, POINTS, 0.8),
        Row("3.jpg", 2, 8, POINTS, 0.1),
    ]
    write_meta(tmp_path / "meta", "ijbb", rows, {"S1": [(1, 5)]}, [(2, 5)])
    return tmp_path


def edit(root: Path, end: str, old: str, new: str) -> None:
    (path,) = (root / "meta").glob(f"*{end}")
    path.write_text(path.read_text().replace(old, new))


def test_a_whole_set_is_found_and_read(tmp_path: Path) -> None:
    rows = build_set(tmp_path)
    files = find_meta(tmp_path)
    assert (files.name, list(files.galleries)) == ("ijbc", ["G1", "G2"])
    assert files.images == tmp_path / "loose_crop"
    images = read_images(files)
    assert images.names == tuple(row.name for row in rows)
    assert images.templates.tolist() == [row.template for row in rows]
    assert images.media.tolist() == [row.media for row in rows]
    assert np.allclose(images.points_px.reshape(-1, 10), [row.points for row in rows])
    assert np.allclose(images.scores, [row.score for row in rows])
    assert files.pairs is not None
    pairs = read_template_pairs(files.pairs)
    assert (len(pairs.first), int(pairs.is_same.sum())) == (2 * N_PEOPLE**2, 2 * N_PEOPLE)


def test_the_meta_folder_itself_works_as_well(small: Path) -> None:
    assert find_meta(small / "meta") == find_meta(small)


def test_a_name_may_hold_spaces(small: Path) -> None:
    assert read_images(find_meta(small)).names[1] == "a b/2.jpg"


def test_two_sets_in_one_folder_need_a_name(small: Path) -> None:
    write_meta(small / "meta", "ijbc", [Row("1.jpg", 1, 7, POINTS, 0.9)], {}, [(1, 5)])
    with pytest.raises(InputError, match="holds ijbb, ijbc"):
        find_meta(small)
    assert find_meta(small, "IJBC").name == "ijbc"
    with pytest.raises(InputError, match="no ijbs meta files"):
        find_meta(small, "ijbs")


def test_a_folder_without_meta_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no meta files"):
        find_meta(tmp_path)


def test_lists_of_other_images_are_refused_with_the_line(small: Path) -> None:
    edit(small, "_5pts_score.txt", "3.jpg", "4.jpg")
    with pytest.raises(DatasetError, match=r"line 3 is '3\.jpg'"):
        read_images(find_meta(small))


def test_a_list_that_is_cut_off_is_refused(small: Path) -> None:
    path = small / "meta" / "ijbb_name_5pts_score.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DatasetError, match="names 3 images"):
        read_images(find_meta(small))


@pytest.mark.parametrize(
    ("end", "old", "new", "match"),
    [
        ("_face_tid_mid.txt", "1.jpg 1 7", "1.jpg 1", "face_tid_mid.txt:1"),
        ("_face_tid_mid.txt", "3.jpg 2 8", "3.jpg 2.5 8", "not whole"),
        ("_face_tid_mid.txt", "3.jpg 2 8", "3.jpg inf 8", "not whole"),
        ("_face_tid_mid.txt", "3.jpg 2 8", "3.jpg x 8", "face_tid_mid.txt:3"),
        ("_5pts_score.txt", "0.100", "-0.1", "score.txt:3"),
        ("_5pts_score.txt", "0.100", "nan", "score.txt:3"),
        ("_5pts_score.txt", "30.000", "inf", "score.txt:1"),
    ],
)
def test_a_strange_line_is_named(small: Path, end: str, old: str, new: str, match: str) -> None:
    edit(small, end, old, new)
    with pytest.raises(DatasetError, match=match):
        read_images(find_meta(small))


@pytest.mark.parametrize("name", ["../3.jpg", "/3.jpg", "C:/3.jpg", "..\\3.jpg"])
def test_a_name_that_leads_out_of_the_folder_is_refused(small: Path, name: str) -> None:
    for end in ("_face_tid_mid.txt", "_5pts_score.txt"):
        edit(small, end, "3.jpg", name)
    with pytest.raises(DatasetError, match="leads out"):
        read_images(find_meta(small))


@pytest.mark.parametrize("end", ["_face_tid_mid.txt", "_5pts_score.txt"])
def test_an_empty_list_is_refused(small: Path, end: str) -> None:
    (path,) = (small / "meta").glob(f"*{end}")
    path.write_text("\n")
    with pytest.raises(DatasetError, match="is empty"):
        read_images(find_meta(small))


@given(
    rows=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000), st.booleans())),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    is_ended=st.booleans(),
)
def test_pairs_are_read_as_python_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, bool]],
    end: str,
    is_ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.txt"
    lines = [f"{a} {b}\t{int(c)}" for a, b, c in rows]
    path.write_bytes((end.join(lines) + (end if is_ended else "")).encode())
    if not rows:
        with pytest.raises(DatasetError, match="is empty"):
            read_template_pairs(path)
        return
    pairs = read_template_pairs(path)
    assert list(zip(pairs.first, pairs.second, pairs.is_same, strict=True)) == rows


def test_pairs_across_the_cuts_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{i} {i * 7} {i % 2}\n" for i in range(500)))
    whole = read_template_pairs(path)
    monkeypatch.setattr("arcwise.evaluate.sets.ijb._CHUNK_BYTES", 5)  # shorter than a line
    cut = read_template_pairs(path)
    assert np.array_equal(whole.first, cut.first)
    assert np.array_equal(whole.is_same, cut.is_same)
    path.write_text(path.read_text().replace("\n400 ", "\n400.0 "))
    with pytest.raises(DatasetError, match=r"pairs\.txt:401: '400\.0 2800 0'"):
        read_template_pairs(path)


@pytest.mark.parametrize(
    "line",
    ["1 2", "1 2 3 4", "1 2 2", "1 -2 1", "a b 1", "1 2 1.5", f"{2**31} 2 1", "9" * 30 + " 1 1"],
)
def test_a_strange_pair_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"1 2 1\n\n{line}\n3 4 0\n")
    with pytest.raises(DatasetError, match=r"pairs\.txt:3"):
        read_template_pairs(path)


def test_people_by_the_names_of_their_columns_or_by_place(tmp_path: Path) -> None:
    path = tmp_path / "gallery.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["FILENAME", "SUBJECT_ID", "TEMPLATE_ID"], ["a, b.jpg", "77", "3"], ["c", "5", "2"]]
        )
    people = read_template_people(path)
    assert (people.templates.tolist(), people.people) == ([2, 3], ("5", "77"))
    path.write_text("tid,sid\n3,77\n3,77\n2,5\n")  # a line for each image
    assert read_template_people(path).people == ("5", "77")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "names no template"),
        ("template_id,subject_id\n", "names no template"),
        ("template_id,subject_id\n1\n", "csv:2"),
        ("template_id,subject_id\nx,1\n", "csv:2"),
        ("template_id,subject_id\n1,\n", "csv:2"),
        ("template_id,subject_id\n1,5\n1,6\n", "template 1 is of 5 and of 6"),
    ],
)
def test_a_strange_gallery_is_refused(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "gallery.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=match):
        read_template_people(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gallery.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="is not text"):
        read_template_people(path)


def test_sizes_are_held_against_the_published_ones() -> None:
    assert note_sizes("ijbc", {"images": 469_375, "genuine pairs": 19_557}) == []
    assert note_sizes("ijbc", {"images": 5}) == ["5 images, the published ijbc has 469,375"]
    assert note_sizes("own", {"images": 5}) == []
