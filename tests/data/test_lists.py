"""Lists of photos: a line of every dialect, and the lines that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arcwise.data.lists import ListedPhoto, PhotoList, read_list, write_list
from arcwise.errors import DatasetError, InputError

POINTS = ["30", "65", "48", "33", "62", "51", "52", "71", "92", "92"]  # x1..x5, then y1..y5


def read(tmp_path: Path, text: str) -> PhotoList:
    (tmp_path / "list.txt").write_text(text)
    return read_list(tmp_path / "list.txt")


def brief(found: PhotoList) -> list[tuple[str, str]]:
    return [(photo.path, photo.person) for photo in found.photos]


TWO = [("0/a.jpg", "0000000"), ("1/b c.jpg", "0000001")]

DIALECTS = {
    "space": ("path_label", "0/a.jpg 0\n1/b c.jpg 1\n"),
    "several spaces": ("path_label", "0/a.jpg   0\n1/b c.jpg\u00a0 1 \n"),
    "tab": ("path_label", "0/a.jpg\t0\n1/b c.jpg\t1\n"),
    "comma": ("path_label", "0/a.jpg,0\n1/b c.jpg, 1\n"),
    "windows": ("path_label", "\ufeff0\\a.jpg 0\r\n\r\n.\\1\\b c.jpg 1\r\n"),
    "floats": ("path_label", "0/a.jpg 0.0\n1/b c.jpg 1e0\n"),
    "MagFace": ("magface", "0/a.jpg 0 0 0\n1/b c.jpg 0 1 0\n"),
    "index first": ("index_path_label", "0\t0/a.jpg\t0\n1\t1/b c.jpg\t1\n"),
    "index from 1": ("index_path_label", "1\t0/a.jpg\t0\n2\t1/b c.jpg\t1\n"),
    "CVLface": ("titled", "index\tpath\tlabel\n0\t0/a.jpg\t0\n1\t1/b c.jpg\t1\n"),
    "csv": ("titled", "Image,Age,Label\n0/a.jpg,30,0\n1/b c.jpg,31,1\n"),
    "InsightFace": ("insightface", "1\t0/a.jpg\t0\n1\t1/b c.jpg\t1\n"),
    "im2rec": ("im2rec", "7\t0.000000\t0/a.jpg\n3\t1.000000\t1/b c.jpg\n"),
    "im2rec, two labels": ("im2rec", "7\t0\t1\t0/a.jpg\n3\t1\t1\t1/b c.jpg\n"),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_photos_and_people(tmp_path: Path, name: str) -> None:
    dialect, text = DIALECTS[name]
    found = read(tmp_path, text)
    assert found.dialect == dialect
    assert brief(found) == TWO


def test_names_may_stand_where_labels_do(tmp_path: Path) -> None:
    found = read(tmp_path, "Ann Lee/1.jpg\tAnn Lee\nBob/1.jpg\t7\n")
    assert brief(found) == [("Ann Lee/1.jpg", "Ann Lee"), ("Bob/1.jpg", "7")]


def test_a_photo_that_is_no_crop_comes_with_its_box_and_points(tmp_path: Path) -> None:
    """The landmarks of face_preprocess.parse_lst_line: five x, then five y."""
    box = ["10", "20", "90", "120"]
    columns = ["0", "a/1.jpg", "5", *box, *POINTS]
    found = read(tmp_path, "\t".join(columns) + "\n" + "\t".join(["1", "a/2.jpg", "5"]))
    assert found.dialect == "insightface"
    assert found.photos[0] == ListedPhoto(
        "a/1.jpg",
        "0000005",
        is_aligned=False,
        box_xyxy_px=(10, 20, 90, 120),
        points_px=((30, 51), (65, 52), (48, 71), (33, 92), (62, 92)),
    )
    assert found.photos[1] == ListedPhoto("a/2.jpg", "0000005")
    with_box = read(tmp_path, "\t".join(["0", "a/1.jpg", "5", *box]))
    assert (with_box.photos[0].box_xyxy_px, with_box.photos[0].points_px) == (
        (10, 20, 90, 120),
        None,
    )


def test_a_flag_is_told_from_an_index(tmp_path: Path) -> None:
    flags = read(tmp_path, "1\ta/1.jpg\t5\n0\ta/2.jpg\t5\n1\ta/3.jpg\t6\n")
    assert [photo.is_aligned for photo in flags.photos] == [True, False, True]
    index = read(tmp_path, "0\ta/1.jpg\t5\n1\ta/2.jpg\t5\n2\ta/3.jpg\t6\n")
    assert all(photo.is_aligned for photo in index.photos)


def test_the_partition_of_in_shop_keeps_its_parts(tmp_path: Path) -> None:
    text = (
        "3\nimage_name item_id evaluation_status\n"
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg      id_00000002 train \n"
        "img/WOMEN/a b/id_00000007/01_1_front.jpg id_00000007 query\n"
        "img/WOMEN/a b/id_00000007/01_2_side.jpg id_00000007 gallery\n"
    )
    found = read(tmp_path, text)
    assert found.dialect == "in_shop"
    assert [photo.part for photo in found.photos] == ["train", "query", "gallery"]
    assert brief(found)[1] == ("img/WOMEN/a b/id_00000007/01_1_front.jpg", "id_00000007")


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no photos"),
        ("\n  \n", "names no photos"),
        ("a/1.jpg\n", r"list.txt:1: 'a/1.jpg' is not a path and a label"),
        ("a/1.jpg 0\n\na/2.jpg\n", r"list.txt:3: 'a/2.jpg' is not a path and a label"),
        ("a/1.jpg 0\na/2.jpg 1.5\n", r"list.txt:2: .* has label '1.5', which is no whole number"),
        ("a/1.jpg 0\na/2.jpg 1O\n", r"list.txt:2: .* has label '1O'"),
        ("a/1.jpg 0\na/2.jpg -1\n", r"list.txt:2: .* has label '-1'"),
        ("a/1.jpg 0\n../b/2.jpg 1\n", r"list.txt:2: .* leads out of the folder"),
        ("a/1.jpg 0\nb\\..\\..\\2.jpg 1\n", r"list.txt:2: .* leads out of the folder"),
        ("a/1.jpg a/2.jpg 1\n", r"list.txt:1: .* names two photos; a list of pairs"),
        ("Dear reader, hello\n", r"list.txt:1: .* has no path of a photo but 'Dear reader,'"),
        ("5\ta/1.jpg\n", r"list.txt:1: .* has no path of a photo but '5'"),
        ("10\t300\n", r"list.txt:1: .* has no path of a photo but '10'"),
        ("a/1.jpg\t0\t3\n", "has columns of no known meaning"),
        ("a/1.jpg 0 5 0\na/2.jpg 5\n", r"list.txt:2: .* is not `path 0 label 0`"),
        ("7\ta/1.jpg\t0\nx\ta/2.jpg\t0\n", r"list.txt:2: .* is not an index, a path and a label"),
        ("7\t0\ta/1.jpg\n3\tAnn\ta/2.jpg\n", r"list.txt:2: .* is not an index, labels and a path"),
        ("1\ta/1.jpg\t0\n1\ta/2.jpg\t0\t1\n", r"list.txt:2: .* is not `aligned path label`"),
        ("0\ta/1.jpg\t0\t1\t2\t3\tx\n", "has a box or points that are no numbers"),
        ("path,label\na/1.jpg,0\na/2.jpg\n", r"list.txt:3: .* has 1 columns, the first line has 2"),
        ("path,label\n", "is followed by no photos"),
        ("path,label\na/1.jpg,\n", "has no label"),
        ("52712\na/1.jpg id_1 train\n", "no titles of a partition follow"),
        ("2\nimage_name item_id evaluation_status\na/1.jpg i train\n", "promises 2 photos, 1"),
        ("1\nimage_name item_id evaluation_status\na/1.jpg i test\n", "one of train, query"),
    ],
)
def test_a_line_that_is_none_is_quoted_with_its_number(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, text)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a/1.jpg 0\n\xff\xfe 1\n")
    with pytest.raises(DatasetError, match=r"list.txt:2: not UTF-8 text"):
        read_list(tmp_path / "list.txt")


# Writing


ANY = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.text('a01/\\., "-\x85\u2028\x1c', min_size=1, max_size=8),
    st.sampled_from(["a.jpg", "path", "label", "1.5", "007", "a b"]),
)
PLAIN = st.text("aZ é中_-,09", max_size=12).map(lambda text: f"n{text}n")


def check_read(lines: list[tuple[str, int | str]], path: Path) -> None:
    for (photo, label), found in zip(lines, read_list(path).photos, strict=True):
        assert found.path == photo.replace("\\", "/").removeprefix("./")
        assert found.person in {str(label), str(label).zfill(7)}


@given(st.lists(st.tuples(ANY, st.one_of(st.integers(0, 10**7), ANY)), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_what_is_written_is_read_again_or_refused(
    tmp_path: Path, lines: list[tuple[str, int | str]]
) -> None:
    lines = [(f"{path}/1.jpg", label) for path, label in lines]
    try:
        path = write_list(tmp_path / "list.txt", lines)
    except InputError:
        return
    check_read(lines, path)


@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spaces_commas_and_letters_of_any_script_are_written(
    tmp_path: Path, lines: list[tuple[str, int | str]]
) -> None:
    lines = [(f"{path}/1.jpg", label) for path, label in lines]
    check_read(lines, write_list(tmp_path / "list.txt", lines))


def test_a_line_is_a_path_and_a_label_parted_by_a_tab(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.txt", [("a b/1.jpg", "Ann Lee"), ("c/2.jpg", "7")])
    assert path.read_bytes() == b"a b/1.jpg\tAnn Lee\nc/2.jpg\t7\n"


def test_a_name_after_a_number_could_not_be_read_back(tmp_path: Path) -> None:
    lines: list[tuple[str, int | str]] = [("a/1.jpg", 3), ("b/1.jpg", "Ann")]
    with pytest.raises(InputError, match=r"'b/1.jpg' of 'Ann' cannot be a line"):
        write_list(tmp_path / "list.txt", lines)
    check_read(lines[::-1], write_list(tmp_path / "list.txt", lines[::-1]))


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("a\n.jpg", 0),
        ("a\t.jpg", 0),
        (" a.jpg", 0),
        ("a.jpg", ""),
        ("a.jpg", "Ann "),
        ("", 0),
        ("../a.jpg", 0),
        ("name", 0),
        ("a\udcff.jpg", 0),
        ("a.jpg", "1.5"),
        ("a.jpg", "007"),
    ],
)
def test_a_line_that_could_not_be_read_back_is_refused(
    tmp_path: Path, photo: str, label: int | str
) -> None:
    with pytest.raises(InputError, match=r"cannot be a line of a list|is no text"):
        write_list(tmp_path / "list.txt", [(photo, label)])
    assert list(tmp_path.iterdir()) == []
