"""The partition of In-Shop: three parts, held against its own count and the published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.inshop import IN_SHOP_SIZES, ShopPhoto, read_inshop

TITLES = "image_name item_id evaluation_status"
LINES = [
    "img/WOMEN/Dresses/id_00000001/01_1_front.jpg id_00000001 train",
    "img/WOMEN/Dresses/id_00000002/02_1_front.jpg           id_00000002 query",
    "img/MEN/Two words/id_00000002/02_2_side.jpg\tid_00000002\tgallery",
    "img/WOMEN/Dresses/id_00000003/01_1_front.jpg id_00000003 gallery",
]


def write(folder: Path, *lines: str, count: int | str | None = None, titles: str = TITLES) -> Path:
    path = folder / "list_eval_partition.txt"
    head = [str(len(lines) if count is None else count), titles]
    path.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    return path


def test_each_part_keeps_its_order(tmp_path):
    found = read_inshop(write(tmp_path, *LINES))
    assert found.train == (
        ShopPhoto("img/WOMEN/Dresses/id_00000001/01_1_front.jpg", "id_00000001"),
    )
    assert [photo.item for photo in found.query] == ["id_00000002"]
    assert found.gallery[0].name == "img/MEN/Two words/id_00000002/02_2_side.jpg"
    assert [photo.item for photo in found.gallery] == ["id_00000002", "id_00000003"]


def test_the_folder_of_the_set_is_enough(tmp_path):
    (tmp_path / "Eval").mkdir()
    write(tmp_path / "Eval", *LINES)
    assert len(read_inshop(tmp_path).gallery) == 2


def test_other_sizes_than_the_published_are_told(tmp_path):
    notes = read_inshop(write(tmp_path, *LINES)).notes
    assert len(notes) == 4
    assert "1 photos of query, the published list has 14,218" in notes[1]


def test_the_published_sizes_are_no_news(tmp_path):
    assert sum(IN_SHOP_SIZES.values()) == 52_712  # first line of the published list
    n_items = {"train": 3_997, "query": 3_985, "gallery": 3_985}
    lines = [
        f"img/{part}/{i}.jpg id_{part == 'train'}_{i % n_items[part]} {part}"
        for part, n in IN_SHOP_SIZES.items()
        for i in range(n)
    ]
    found = read_inshop(write(tmp_path, *lines))
    assert found.notes == ()
    assert len(found.train) == 25_882


@pytest.mark.parametrize(
    ("lines", "changed", "why"),
    [
        (LINES, {"count": 5}, "promises 5 photos, 4 follow"),
        (LINES, {"count": "9" * 30}, "promises 99999999999999999999 photos"),
        (LINES, {"count": "four"}, "does not begin with a count"),
        (LINES, {"titles": "image_name item_id"}, "are not the titles"),
        ([], {}, "lists no photo as query"),
        (LINES[:1], {}, "lists no photo as query"),
        (LINES[:2], {}, "lists no photo as gallery"),
        ([*LINES, "img/a.jpg id_4 test"], {}, ":7: 'img/a.jpg id_4 test' is not a path"),
        ([*LINES, "img/a.jpg query"], {}, ":7: .* is not a path"),
        ([*LINES, LINES[3]], {}, ":7: .* is listed twice"),
        ([*LINES, "img/a.jpg id_00000001 query"], {}, "id_00000001 is learned, and asked for"),
    ],
)
def test_what_is_no_partition_is_refused(tmp_path, lines, changed, why):
    with pytest.raises(DatasetError, match=why):
        read_inshop(write(tmp_path, *lines, **changed))


def test_bytes_that_are_no_text_are_refused_by_their_line(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"1\n\xff\n")
    with pytest.raises(DatasetError, match=":2: not UTF-8"):
        read_inshop(path)


def test_a_missing_or_empty_list_is_an_error_of_ours(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_inshop(tmp_path)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DatasetError, match="does not begin with a count"):
        read_inshop(tmp_path / "empty.txt")
