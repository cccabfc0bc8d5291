"""Many photos under their names: folders, lists of files, zip archives."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.errors import InputError
from arcwise.photos import PHOTO_SUFFIXES, find_people, find_photos, open_photos


def fill(folder: Path, *names: str) -> Path:
    """Files whose content is their own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def pack(path: Path, *names: str) -> Path:
    """An archive of files whose content is their own name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def relative(paths: Iterable[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


# Files and folders


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    fill(tmp_path, "photo10.jpg", "photo2.JPG", "Photo1.png", "b/1.webp", "a/c/1.tiff", "notes.txt")
    found = relative(find_photos([tmp_path]), tmp_path)
    assert found == ["a/c/1.tiff", "b/1.webp", "Photo1.png", "photo2.JPG", "photo10.jpg"]


def test_every_promised_suffix_is_found(tmp_path: Path) -> None:
    fill(tmp_path, *(f"a{suffix}" for suffix in PHOTO_SUFFIXES))
    assert {path.suffix for path in find_photos([tmp_path])} == PHOTO_SUFFIXES


def test_hidden_files_and_leftovers_of_systems_are_skipped(tmp_path: Path) -> None:
    fill(
        tmp_path, "a.jpg", "._a.jpg", ".cache/a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg", "Thumbs.db"
    )
    assert relative(find_photos([tmp_path]), tmp_path) == ["a.jpg"]


def test_files_are_kept_as_given_and_each_photo_comes_once(tmp_path: Path) -> None:
    fill(tmp_path, "scan", ".hidden.jpg", "in/a.jpg")
    given_paths = [
        tmp_path / "scan",
        str(tmp_path / ".hidden.jpg"),
        tmp_path,
        tmp_path / "in/a.jpg",
    ]
    assert relative(find_photos(given_paths), tmp_path) == ["scan", ".hidden.jpg", "in/a.jpg"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    fill(tmp_path, "elsewhere/a.jpg", "root/b.jpg")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "circle").symlink_to(tmp_path / "root")
    found = relative(find_photos([tmp_path / "root"]), tmp_path / "root")
    assert found == ["b.jpg", "linked/a.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_pipes_and_devices_that_look_like_photos_are_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    assert relative(find_photos([tmp_path]), tmp_path) == ["a.jpg"]
    assert list(find_people(tmp_path).people) == ["a"]
    with open_photos(tmp_path) as photos:
        assert photos.names == ("a.jpg",)


def test_what_is_missing_or_empty_is_said(tmp_path: Path) -> None:
    fill(tmp_path, "full/a.jpg", "empty/notes.txt")
    for paths, words in [
        ([tmp_path / "full", tmp_path / "absent"], "absent does not exist"),
        ([tmp_path / "full", tmp_path / "empty"], "empty holds no photos"),
        ([], "no photos were given"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            find_photos(paths)
        assert caught.value.hint


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=6).map(sorted))
@settings(max_examples=30)
def test_numbers_in_names_sort_as_numbers(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int]
) -> None:
    folder = fill(
        tmp_path_factory.mktemp("numbers"), *(f"img_{n}.jpg" for n in numbers), "zero.jpg"
    )
    found = relative(find_photos([folder]), folder)
    assert found == [*(f"img_{n}.jpg" for n in numbers), "zero.jpg"]


# People


def test_a_subfolder_or_a_photo_is_a_person_and_both_may_be_one(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "Grace Hopper/2.jpg", "Grace Hopper/old/1.jpg", "Grace Hopper.png",
        "Eileen_Collins.jpg", "Zoë/1.jpg", "list.csv",
    )  # fmt: skip
    folder = find_people(tmp_path)
    assert {name: relative(photos, tmp_path) for name, photos in folder.people.items()} == {
        "Eileen_Collins": ["Eileen_Collins.jpg"],
        "Grace Hopper": ["Grace Hopper/2.jpg", "Grace Hopper/old/1.jpg", "Grace Hopper.png"],
        "Zoë": ["Zoë/1.jpg"],
    }
    assert folder.empty == ()


def test_people_come_in_natural_order_and_the_empty_ones_apart(tmp_path: Path) -> None:
    fill(tmp_path, "person10/a.jpg", "person2/a.jpg", "Ann/notes.txt", "Bob.jpg", ".git/a.jpg")
    (tmp_path / "Bob").mkdir()
    folder = find_people(tmp_path)
    assert list(folder.people) == ["Bob", "person2", "person10"]
    assert folder.empty == ("Ann",)


def test_a_folder_without_people_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "Ann/notes.txt", "file.jpg")
    for folder, words in [
        (tmp_path / "Ann", "holds no photos"),
        (tmp_path / "absent", "absent"),
        (tmp_path / "file.jpg", "is a file"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            find_people(folder)
        assert caught.value.hint


# Names


def test_a_folder_and_its_archive_give_the_same_photos(tmp_path: Path) -> None:
    names = ("Ann/1.jpg", "Bob/2.png", "Ann/.hidden.jpg", "Bob/notes.txt")
    folder = fill(tmp_path / "faces", *names)
    flat = pack(tmp_path / "flat.zip", *names, "__MACOSX/Ann/1.jpg")
    nested = pack(tmp_path / "nested.zip", "faces/", *(f"faces/{name}" for name in names))
    windows = pack(tmp_path / "windows.zip", *(f"faces\\{n}".replace("/", "\\") for n in names))
    for root in (folder, flat, nested, windows):
        with open_photos(root) as photos:
            assert photos.names == ("Ann/1.jpg", "Bob/2.png"), root
            assert photos.read("Bob/2.png").replace(b"\\", b"/").endswith(b"Bob/2.png")


def test_a_folder_named_like_a_photo_is_no_photo(tmp_path: Path) -> None:
    root = pack(tmp_path / "a.zip", "Ann.jpg/", "Ann.jpg/1.jpg", "Bob/1.jpg")
    with open_photos(root) as photos:
        assert photos.names == ("Ann.jpg/1.jpg", "Bob/1.jpg")


def test_a_missing_name_brings_the_closest_one(tmp_path: Path) -> None:
    fill(tmp_path, "Abel_Pacheco/Abel_Pacheco_0001.jpg", "Bob/1.jpg")
    with (
        open_photos(tmp_path) as photos,
        pytest.raises(InputError, match="no photo 'Abel_Pacheco") as caught,
    ):
        photos.read("Abel_Pacheco/Abel_Pacheco_1.jpg")
    assert caught.value.hint == "did you mean Abel_Pacheco/Abel_Pacheco_0001.jpg?"


@pytest.mark.parametrize("name", ["../b.jpg", "a/../../b.jpg", "/b.jpg", "C:\\b.jpg", "..\\b.jpg"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path / "in", "a.jpg")
    fill(tmp_path, "b.jpg")
    with open_photos(folder) as photos, pytest.raises(InputError, match="leads out"):
        photos.read(name)
    with pytest.raises(InputError, match="leads out"):
        open_photos(pack(tmp_path / "evil.zip", "a.jpg", name))


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "secret.zip", "a.jpg")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # APPNOTE 4.4.4: bit 0 says encrypted
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        open_photos(path)


def test_roots_that_hold_no_photos_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "notes.txt", "folder/notes.txt")
    for root, words in [
        (tmp_path / "absent.zip", "No such file"),
        (tmp_path / "notes.txt", "not a zip"),
        (tmp_path / "folder", "holds no photos"),
        (pack(tmp_path / "empty.zip", "notes.txt"), "holds no photos"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            open_photos(root)
        assert caught.value.hint


def test_an_entry_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "bomb.zip", "a.jpg")
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # APPNOTE 4.3.12: uncompressed size
    content[at : at + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with open_photos(path) as photos, pytest.raises(InputError, match="2147483648 bytes"):
        photos.read("a.jpg")


def test_an_entry_without_a_name_is_no_photo(tmp_path: Path) -> None:
    path = pack(tmp_path / "nameless.zip", "a.jpg")
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 28], content[at + 32] = 0, 5  # APPNOTE 4.3.12: the name becomes a comment
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no photos"):
        open_photos(path)


def test_nothing_is_read_from_a_closed_archive(tmp_path: Path) -> None:
    photos = open_photos(pack(tmp_path / "a.zip", "a.jpg"))
    photos.close()
    photos.close()
    with pytest.raises(InputError, match="closed"):
        photos.read("a.jpg")


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    names = [f"p{i % 7}/{i}.jpg" for i in range(300)]
    with (
        open_photos(pack(tmp_path / "a.zip", *names)) as photos,
        ThreadPoolExecutor(8) as threads,
    ):
        contents = list(threads.map(photos.read, names * 3))
    assert contents == [name.encode() for name in names * 3]


@settings(max_examples=300, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4),
    end=st.none() | st.integers(0, 600),
)
def test_a_damaged_archive_gives_photos_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], end: int | None
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"set/{i}.jpg", bytes(range(50)))
    content = bytearray(buffer.getvalue())
    for place, value in flips:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(content[:end])
    try:
        with open_photos(path) as photos:
            contents = [photos.read(name) for name in photos.names]
    except InputError:
        return
    assert contents


@pytest.mark.real
def test_lfw_is_read_from_its_archive_in_place(real_data: Path) -> None:
    with open_photos(real_data / "lfw" / "lfw-deepfunneled.zip") as photos:
        assert len(photos.names) == 13_233
        assert "Abel_Pacheco/Abel_Pacheco_0001.jpg" in photos.names
        assert len({name.partition("/")[0] for name in photos.names}) == 5_749
        assert photos.read("Abel_Pacheco/Abel_Pacheco_0001.jpg").startswith(b"\xff\xd8")
