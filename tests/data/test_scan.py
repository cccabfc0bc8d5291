"""Photos of any place: what is found in a folder, an archive, a prepared folder, a list, a .rec."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from arcwise.data.lists import write_list
from arcwise.data.manifest import CropContract, DetectorStamp, Manifest, PreparedPhoto
from arcwise.data.records import write_records
from arcwise.data.scan import scan_place
from arcwise.errors import DatasetError, InputError


@pytest.fixture
def photos(drawn_crops: Path, tmp_path: Path) -> Path:
    """Two people, one of them a level deeper, a stray photo and an empty folder."""
    root = tmp_path / "photos"
    (root / "2020" / "Ann").mkdir(parents=True)
    (root / "Bob").mkdir()
    (root / "Nobody").mkdir()
    shutil.copy(drawn_crops / "person0" / "0.png", root / "2020" / "Ann" / "1.png")
    shutil.copy(drawn_crops / "person1" / "0.png", root / "Bob" / "1.png")
    shutil.copy(drawn_crops / "person1" / "1.png", root / "stray.png")
    return root


def test_in_a_folder_the_last_folder_is_the_person(photos: Path) -> None:
    with scan_place(photos) as scan:
        found = {sample.photo: sample.person for sample in scan.samples}
        assert found == {"2020/Ann/1.png": "Ann", "Bob/1.png": "Bob", "stray.png": ""}
        assert (scan.kind, scan.base, scan.people_without_photo) == ("folder", photos, ("Nobody",))
        assert scan.paths == tuple(sample.photo for sample in scan.samples)
        assert scan.read(1) == (photos / "Bob" / "1.png").read_bytes()


def test_an_archive_gives_what_the_folder_gives(photos: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in photos.rglob("*.png"):
            packed.write(path, path.relative_to(photos))
    with scan_place(archive) as scan, scan_place(photos) as folder:
        assert scan.samples == folder.samples
        assert [scan.read(i) for i in range(3)] == [folder.read(i) for i in range(3)]
        assert (scan.kind, scan.base) == ("archive", None)


def test_a_prepared_folder_names_its_crops_and_who_has_none(
    drawn_crops: Path, tmp_path: Path
) -> None:
    root = tmp_path / "prepared"
    (root / "crops" / "Ann").mkdir(parents=True)
    shutil.copy(drawn_crops / "person0" / "0.png", root / "crops" / "Ann" / "1.jpg.png")
    stamp = DetectorStamp(name="mtcnn", digest="0" * 64)
    CropContract(detector=stamp, min_face_px=40, format="png", source="photos").save(root)
    manifest = Manifest(root)
    box, points = (0.0, 0.0, 9.0, 9.0), ((1.0, 1.0),) * 5
    manifest.append(
        [
            PreparedPhoto("Bob/1.jpg", "Bob", error="no face was found"),
            PreparedPhoto("Ann/1.jpg", "Ann", "crops/Ann/1.jpg.png", box, 0.9, points, 1, "0f"),
        ]
    )
    manifest.close()
    with scan_place(root) as scan:
        assert [(s.photo, s.person, s.hash) for s in scan.samples] == [("Ann/1.jpg", "Ann", "0f")]
        assert (scan.kind, scan.border_px, list(scan.paths)) == (
            "prepared",
            16,
            ["crops/Ann/1.jpg.png"],
        )
        assert scan.people_without_photo == ("Bob",)
        assert scan.read(0) == (drawn_crops / "person0" / "0.png").read_bytes()


def test_a_record_file_is_found_by_itself_and_by_its_folder(
    drawn_crops: Path, tmp_path: Path
) -> None:
    contents = [(drawn_crops / f"person{i}" / "0.png").read_bytes() for i in range(3)]
    write_records(
        tmp_path / "set" / "train.rec",
        zip(contents, range(3), strict=True),
        people=["Ann", "Bob", "Cleo"],
    )
    for place in (tmp_path / "set", tmp_path / "set" / "train.rec"):
        with scan_place(place) as scan:
            assert [sample.person for sample in scan.samples] == ["Ann", "Bob", "Cleo"]
            assert [scan.read(i) for i in range(3)] == contents
            assert (scan.kind, list(scan.paths), scan.border_px) == ("records", [], 0)


def test_a_list_is_read_beside_its_photos_or_from_a_root(photos: Path, tmp_path: Path) -> None:
    lines = [("Bob/gone.png", 1), ("Bob/1.png", 1), ("2020/Ann/1.png", 0)]
    for out, root in ((photos / "train.txt", None), (tmp_path / "far" / "train.txt", photos)):
        write_list(out, lines)
        with scan_place(out, root=root) as scan:
            assert [sample.photo for sample in scan.samples] == [path for path, _ in lines]
            assert [sample.person for sample in scan.samples] == ["0000001", "0000001", "0000000"]
            assert scan.read(1) == (photos / "Bob" / "1.png").read_bytes()
            with pytest.raises(InputError, match=r"Bob/gone\.png"):
                scan.read(0)


def test_what_is_missing_empty_or_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing to see here\n")
    with pytest.raises(InputError, match="nowhere does not exist"):
        scan_place(tmp_path / "nowhere")
    with pytest.raises(InputError, match="empty holds no photos"):
        scan_place(tmp_path / "empty")
    with pytest.raises(DatasetError, match="nothing to see here"):
        scan_place(tmp_path / "notes.txt")
