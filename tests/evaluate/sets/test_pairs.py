"""Every dialect of verification lists becomes pairs with folds, and a bad line says where it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.pairs import drop_people, keep_folds, read_pairs
from arcwise.types import Pair


@pytest.fixture
def write(tmp_path: Path):
    def write_list(*lines: str, name: str = "list.txt") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_list


def official_body(n_folds: int, n_each: int) -> list[str]:
    lines = []
    for fold in range(n_folds):
        lines += [f"Ann_{fold}\t{i + 1}\t{i + 2}" for i in range(n_each)]
        lines += [f"Ann_{fold}\t{i + 1}\tBob_{fold}\t{i + 3}" for i in range(n_each)]
    return lines


def positives_first(n_each: int) -> list[str]:
    same = [f"s{i}/a.jpg s{i}/b.jpg 1" for i in range(n_each)]
    return same + [f"s{i}/a.jpg d{i}/b.jpg 0" for i in range(n_each)]


def count_classes(pairs: list[Pair]) -> Counter[tuple[int, bool]]:
    return Counter((pair.fold, pair.is_same) for pair in pairs)


def test_the_official_list_names_photos_by_person_and_number_and_states_its_folds(write):
    pairs = read_pairs(write("3\t2", *official_body(3, 2)))
    assert pairs[0] == Pair("Ann_0/Ann_0_0001.jpg", "Ann_0/Ann_0_0002.jpg", True, 0)
    assert pairs[2] == Pair("Ann_0/Ann_0_0001.jpg", "Bob_0/Bob_0_0003.jpg", False, 0)
    assert count_classes(pairs) == {(fold, same): 2 for fold in range(3) for same in (True, False)}


def test_a_header_with_one_number_leaves_the_folds_to_us(write):
    pairs = read_pairs(write("20", *official_body(1, 20)), n_folds=4)
    assert count_classes(pairs) == {(fold, same): 5 for fold in range(4) for same in (True, False)}


def test_the_official_syntax_without_header_keeps_its_order(write):
    pairs = read_pairs(write(*official_body(5, 2)), n_folds=5)
    assert [pair.fold for pair in pairs] == [i // 4 for i in range(20)]


def test_a_photo_that_is_there_only_as_png_is_named_so(write):
    path = write("2\t1", *official_body(2, 1))
    photos = ["Ann_0/Ann_0_0001.png", "Ann_0/Ann_0_0002.jpg", "Ann_0/Ann_0_0002.png"]
    pair = read_pairs(path, photos=photos)[0]
    assert (pair.a, pair.b) == ("Ann_0/Ann_0_0001.png", "Ann_0/Ann_0_0002.jpg")
    assert read_pairs(path, photos=photos)[1].b == "Bob_0/Bob_0_0003.jpg"


def test_positives_first_are_joined_block_by_block_with_the_negatives(write):
    pairs = read_pairs(write(*positives_first(20)))
    assert [pair.fold for pair in pairs] == [i // 2 for i in range(20)] * 2


def test_the_order_of_the_list_is_kept_where_negatives_come_first(write):
    lines = positives_first(20)
    pairs = read_pairs(write(*lines[20:], *lines[:20]))
    assert [pair.is_same for pair in pairs] == [False] * 20 + [True] * 20
    assert [pair.fold for pair in pairs] == [i // 2 for i in range(20)] * 2


def test_folds_in_order_stay_as_they_are(write):
    lines = positives_first(20)
    mixed = [line for k in range(10) for half in (0, 20) for line in lines[half + 2 * k :][:2]]
    assert [pair.fold for pair in read_pairs(write(*mixed))] == [i // 4 for i in range(40)]


def test_uneven_cuts_make_the_first_folds_larger(write):
    lines = [f"s{i}/a.jpg s{i}/b.jpg {i % 2}" for i in range(11)]
    sizes = Counter(pair.fold for pair in read_pairs(write(*lines), n_folds=3))
    assert sizes == {0: 4, 1: 4, 2: 3}


@pytest.mark.parametrize("header", [[], ["label path1 path2"]])
def test_a_label_may_come_first_and_a_header_is_skipped(write, header: list[str]):
    lines = [f"{i % 2} p{i}/a.jpg q{i}/b.jpg" for i in range(20)]
    pairs = read_pairs(write(*header, *lines))
    assert len(pairs) == 20
    assert pairs[1] == Pair("p1/a.jpg", "q1/b.jpg", True, 0)


def test_two_lines_make_a_pair_and_any_label_but_zero_is_the_same_person(write):
    lines = []
    for fold in range(1, 11):
        lines += [f"Ann_{fold}_0001.jpg {fold}", f"Ann_{fold}_0002.jpg {fold}"]
    for fold in range(1, 11):
        lines += [f"Ann_{fold}_0001.jpg 0", f"Bob_{fold}_0001.jpg 0"]
    pairs = read_pairs(write(*lines))
    assert pairs[1] == Pair("Ann_2_0001.jpg", "Ann_2_0002.jpg", True, 1)
    assert pairs[-1] == Pair("Ann_10_0001.jpg", "Bob_10_0001.jpg", False, 9)


@pytest.mark.parametrize(("same", "yes", "no"), [("is_same", "true", "False"), ("label", "1", "0")])
def test_a_csv_is_read_by_its_header(write, same: str, yes: str, no: str):
    rows = [f'{yes if i % 2 else no},"x, {i}.jpg",y{i}.jpg' for i in range(20)]
    pairs = read_pairs(write(f"{same},a,b", *rows, name="list.csv"))
    assert pairs[3] == Pair("x, 3.jpg", "y3.jpg", True, 1)


def test_a_csv_may_state_its_folds_which_are_numbered_from_zero(write):
    rows = [f"x{i}.jpg,y{i}.jpg,{i % 2},{fold}" for fold in (2, 7) for i in range(2)]
    pairs = read_pairs(write("a,b,is_same,fold", *rows))
    assert [pair.fold for pair in pairs] == [0, 0, 1, 1]


def test_spaces_in_names_are_bridged_by_tabs_or_by_file_endings(write):
    tabs = [f"my photos/a {i}\tyour photos/b {i}\t{i % 2}" for i in range(20)]
    assert read_pairs(write(*tabs))[1].b == "your photos/b 1"
    spaces = [f"my photos/a {i}.jpg your photos/b {i}.jpg {i % 2}" for i in range(20)]
    first = read_pairs(write(*spaces))[1]
    assert (first.a, first.b) == ("my photos/a 1.jpg", "your photos/b 1.jpg")


def test_paths_are_written_with_slashes_and_the_list_may_come_from_windows(write, tmp_path: Path):
    path = tmp_path / "windows.txt"
    lines = [f".\\a{i}.jpg b\\{i}.jpg {i % 2}\r\n" for i in range(20)]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(lines).encode())
    assert read_pairs(path)[2] == Pair("a2.jpg", "b/2.jpg", False, 1)


@pytest.mark.parametrize(
    ("lines", "number", "message"),
    [
        (["a.jpg b.jpg 1", "a.jpg c.jpg"], 2, "not a pair; this list is read as `path1 path2 0/1`"),
        (["a.jpg b.jpg 1", "", "a.jpg c.jpg 2"], 3, "'a.jpg c.jpg 2' is not a pair"),
        (["a.jpg b.jpg"], 1, "not a pair of any known dialect"),
        (["a.jpg 1 b.jpg 1"], 1, "can be read as"),
        (["a.jpg b.jpg c.jpg 1"], 1, "not a pair of any known dialect"),
        (["my a your b 1"], 1, "not a pair of any known dialect"),
        (["Ann 1 2", "Ann 1 Bob"], 2, "`name i j`"),
        (["a.jpg 1", "b.jpg 1", "c.jpg 0"], 3, "odd number of lines"),
        (["a.jpg 1", "b.jpg 0"], 2, "another label"),
        (["a.jpg 1", "b.jpg c.jpg 1"], 2, "not half a pair"),
        (["2 1", "Ann 1 2", "Ann 1 Bob 1", "Ann 1 2"], 1, "promises 4 pairs, the list has 3"),
        (["1 1", "Ann 1 Bob 1", "Ann 1 2"], 2, "promises a pair of one person"),
        (["a,b", "x.jpg,y.jpg"], 1, "no column `is_same` or `label`"),
        (["a,b,label", "x.jpg,y.jpg,maybe"], 2, "label is 0, 1, true or false"),
        (["a,b,label", "x.jpg,y.jpg"], 2, "has 2 columns, the header has 3"),
        (["a,b,label,fold", "x.jpg,y.jpg,1,one"], 2, "fold a number"),
    ],
)
def test_a_bad_line_is_named_with_its_number(write, lines: list[str], number: int, message: str):
    path = write(*lines)
    with pytest.raises(DatasetError, match=rf"^{path}:{number}: ") as caught:
        read_pairs(path)
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("lines", [[""], ["label path1 path2"], ["a,b,label"]])
def test_an_empty_list_is_refused(write, lines: list[str]):
    with pytest.raises(DatasetError, match="holds no pairs"):
        read_pairs(write(*lines))


def test_one_class_only_is_refused(write):
    with pytest.raises(DatasetError, match="0 pairs of two people among 30"):
        read_pairs(write(*positives_first(30)[:30]))


def test_too_few_pairs_of_a_class_for_the_folds_are_refused(write):
    path = write(*positives_first(9))
    with pytest.raises(DatasetError, match="9 pairs of one person among 18, needs at least 10"):
        read_pairs(path)
    assert len(read_pairs(path, n_folds=9)) == 18


def test_stated_folds_must_be_two_and_hold_both_classes(write):
    one = write("a,b,label,fold", "x.jpg,y.jpg,1,0", "x.jpg,z.jpg,0,0")
    with pytest.raises(DatasetError, match="one fold only"):
        read_pairs(one)
    split = write("a,b,label,fold", "x.jpg,y.jpg,1,0", "x.jpg,z.jpg,0,1")
    with pytest.raises(DatasetError, match="fold 0 holds only pairs of one person"):
        read_pairs(split)


def test_a_list_that_is_not_text_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.jpg b.jpg 1\na\xff.jpg b.jpg 0\n")
    with pytest.raises(DatasetError, match=f"{path}:2: not UTF-8"):
        read_pairs(path)


def test_a_missing_file_and_a_single_fold_are_mistakes_of_the_caller(tmp_path: Path):
    with pytest.raises(InputError, match="cannot read"):
        read_pairs(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="at least 2, got 1"):
        read_pairs(tmp_path / "absent.txt", n_folds=1)


@pytest.mark.real
def test_the_lfw_list_becomes_ten_folds_that_share_no_person(real_data: Path):
    pairs = read_pairs(real_data / "lfw" / "pairs_6000.txt")
    assert count_classes(pairs) == {(k, same): 300 for k in range(10) for same in (True, False)}
    people = [
        {name.split("/")[0] for pair in pairs if pair.fold == k for name in (pair.a, pair.b)}
        for k in range(10)
    ]
    assert sum(len(fold) for fold in people) == len(set().union(*people)) == 4281


def test_folds_are_chosen_by_their_number_from_one(write):
    pairs = read_pairs(write("3\t2", *official_body(3, 2)))
    kept = keep_folds(pairs, (1, 3))
    assert count_classes(kept) == {(fold, same): 2 for fold in (0, 2) for same in (True, False)}
    assert kept == [pair for pair in pairs if pair.fold != 1]


def test_pairs_of_people_who_were_learned_can_be_dropped():
    pairs = [
        Pair("a/1.jpg", "a/2.jpg", True, 0),
        Pair("a/1.jpg", "b/1.jpg", False, 0),
        Pair("x/c/1.jpg", "c/2.jpg", True, 0),
    ]
    assert drop_people(pairs, {"b"}) == [pairs[0], pairs[2]]
    assert drop_people(pairs, {"a", "x"}) == [pairs[2]]
    with pytest.raises(InputError, match="each of the 3 pairs shows one of the 2 people"):
        drop_people(pairs, {"a", "c"})
    with pytest.raises(InputError, match=r"p/1\.jpg and p/2\.jpg show two people, their names say"):
        drop_people([*pairs, Pair("p/1.jpg", "p/2.jpg", False, 0)], {"a"})


@pytest.mark.parametrize(
    ("folds", "message"), [((0,), "no fold 0"), ((2, 4), "no fold 4"), ((), "no folds chosen")]
)
def test_folds_that_a_list_has_not_are_refused(write, folds: tuple[int, ...], message: str):
    pairs = read_pairs(write("3\t2", *official_body(3, 2)))
    with pytest.raises(InputError, match=message) as caught:
        keep_folds(pairs, folds)
    assert caught.value.hint == "folds are counted from 1 to 3"
