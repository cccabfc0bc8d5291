"""What a csv says of photos, and how it parts them into groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.metadata import Metadata, read_metadata, sort_into_groups


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "who.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_csv_is_read_by_its_titles(tmp_path):
    text = '\ufeffPhoto, age ,gender\r\na/1.jpg,31,f\r\n\r\n"b,c/1.jpg",,m\r\n'
    found = read_metadata(write(tmp_path, text))
    assert (found.is_of_people, found.columns) == (False, ("age", "gender"))
    assert found.rows == {"a/1.jpg": ("31", "f"), "b,c/1.jpg": ("", "m")}
    assert read_metadata(write(tmp_path, "person,gender\nAnn,f\n")).is_of_people


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with the titles"),
        ("name,age\na,1\n", "does not begin with the titles"),
        ("photo\na\n", "does not begin with the titles"),
        ("photo,,age\na,1,2\n", "does not begin with the titles"),
        ("photo,age,age\na,1,2\n", "two columns of one title"),
        ("photo,age\na,1\na,2\n", "names a twice"),
        ("photo,age\na,1,2\n", "line of 'a' has 3 cells, there are 2"),
        ("photo,age\n,1\n", "line of ''"),
        ("photo,age\n", "names no photo"),
        (b"photo,age\n\xff,1\n", "is no csv"),
        ('photo,age\n"a,1\n', "is no csv"),
    ],
)
def test_what_is_no_such_csv_is_refused(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_metadata(write(tmp_path, text))
    assert caught.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nothing\.csv"):
        read_metadata(tmp_path / "nothing.csv")


def make(*columns: str, **rows: tuple[str, ...]) -> Metadata:
    return Metadata(False, columns, rows)


def test_words_are_groups_and_nothing_is_known_of_the_rest():
    known = make("gender", a=("m",), b=("f",), c=("",), d=("m",))
    parts = sort_into_groups(known, ["a", "b", "c", "d", "e"], {})["gender"]
    assert parts.names == ("f", "m")
    assert parts.codes.tolist() == [1, 0, -1, 1, -1]


def test_a_few_numbers_are_groups_in_order_of_value():
    known = make("grade", a=("10",), b=("9",), c=("9.0",))
    parts = sort_into_groups(known, ["a", "b", "c"], {})["grade"]
    assert parts.names == ("9", "10")
    assert parts.codes.tolist() == [1, 0, 0]


def test_many_numbers_become_quarters():
    known = make("age", **{f"p{i}": (str(i),) for i in range(100)})
    parts = sort_into_groups(known, [f"p{i}" for i in range(100)], {})["age"]
    assert parts.names == (
        "below 24.75",
        "24.75 to below 49.5",
        "49.5 to below 74.25",
        "74.25 and above",
    )
    assert parts.codes.tolist() == [i // 25 for i in range(100)]


def test_a_range_holds_its_lower_edge_and_not_its_upper_one():
    known = make("age", a=("17.9",), b=("18",), c=("29",), d=("30",), e=("",))
    parts = sort_into_groups(known, list("abcde"), {"age": (18, 30)})["age"]
    assert parts.names == ("below 18", "18 to below 30", "30 and above")
    assert parts.codes.tolist() == [0, 1, 1, 2, -1]


def test_a_column_of_which_nothing_is_known_is_left_out():
    assert list(sort_into_groups(make("age", "note", a=("3", "")), ["a"], {})) == ["age"]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"height": (1.0,)}, "no column 'height'"),
        ({"age": (30.0, 18.0)}, "edges of 'age'"),
        ({"age": ()}, "edges of 'age'"),
        ({"age": (float("nan"),)}, "edges of 'age'"),
        ({"gender": (1.0,)}, "column 'gender' holds no numbers"),
    ],
)
def test_edges_that_do_not_fit_are_refused(edges, message):
    with pytest.raises(InputError, match=message):
        sort_into_groups(make("age", "gender", a=("3", "f")), ["a"], edges)


def test_an_age_that_is_no_finite_number_makes_the_column_words():
    parts = sort_into_groups(make("age", a=("nan",), b=("3",)), ["a", "b"], {})["age"]
    assert parts.names == ("3", "nan")


def test_different_numbers_are_different_groups_however_long_they_are():
    dates = {"a": ("19800101",), "b": ("19800102",), "c": ("0.3",), "d": ("0.30000000000000004",)}
    parts = sort_into_groups(make("born", **dates), list("abcd"), {})["born"]
    assert parts.names == ("0.3", "0.30000000000000004", "19800101.0", "19800102.0")
    assert parts.codes.tolist() == [2, 3, 0, 1]
    parts = sort_into_groups(make("born", a=dates["a"], b=dates["b"]), list("ab"), {})["born"]
    assert parts.names == ("19800101", "19800102")


def test_quarters_of_near_numbers_have_different_names():
    known = make("born", **{f"p{i}": (str(19800100 + i),) for i in range(12)})
    parts = sort_into_groups(known, [f"p{i}" for i in range(12)], {})["born"]
    assert len(set(parts.names)) == len(parts.names) == 4
    assert parts.names[0] == "below 19800102.75"


def test_a_range_without_photos_is_no_group():
    values = ["0"] * 30 + [str(i) for i in range(1, 11)]
    known = make("score", **{f"p{i}": (value,) for i, value in enumerate(values)})
    parts = sort_into_groups(known, [f"p{i}" for i in range(40)], {})["score"]
    assert "below 0" not in parts.names
    assert set(parts.codes.tolist()) == set(range(len(parts.names)))
