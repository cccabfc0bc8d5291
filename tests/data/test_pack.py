"""Into a record file and back: bytes, labels, dialects, and blows in the middle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from arcwise.data.folder import CropFolder
from arcwise.data.pack import UNPACKING_NAME, pack_crops, unpack_records
from arcwise.data.records import Records, write_records
from arcwise.data.selection import SelectionRules, select_samples
from arcwise.data.source import open_crops
from arcwise.encode import write_image
from arcwise.errors import DatasetError, InputError
from arcwise.image import read_image


@pytest.fixture
def crops(drawn_crops: Path, tmp_path: Path) -> Path:
    """Three people with two JPEG crops each."""
    root = tmp_path / "crops"
    for person in ("Ann", "Bob", "Cleo"):
        for number in range(2):
            image = read_image(drawn_crops / f"person{ord(person[0]) - 65}" / f"{number}.png")
            write_image(root / person / f"{number}.jpg", image)
    return root


def contents_of(root: Path) -> dict[str, list[bytes]]:
    return {
        folder.name: [path.read_bytes() for path in sorted(folder.iterdir())]
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }


def test_there_and_back_gives_every_byte_to_the_same_person(crops: Path, tmp_path: Path) -> None:
    packed = pack_crops(open_crops(crops), tmp_path / "packed")
    assert (packed.n_photos, packed.n_people, packed.side_px, packed.n_copied) == (6, 3, 112, 6)
    unpacked = unpack_records(packed.path, tmp_path / "back")
    assert (unpacked.n_photos, unpacked.n_people, unpacked.n_done_before) == (6, 3, 0)
    assert contents_of(tmp_path / "back") == contents_of(crops)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [
        "property",
        "train.idx",
        "train.json",
        "train.labels.npy",
        "train.rec",
    ]
    assert (tmp_path / "packed" / "property").read_text() == "3,112,112\n"


def test_the_insightface_dialect_goes_person_by_person_and_the_other_is_mixed(
    crops: Path, tmp_path: Path
) -> None:
    source = open_crops(crops)
    pack_crops(source, tmp_path / "ordered")
    ordered = Records(tmp_path / "ordered")
    assert (ordered.dialect, ordered.labels.tolist()) == ("insightface", [0, 0, 1, 1, 2, 2])
    labels = set()
    for seed in range(5):
        out = tmp_path / f"mixed{seed}"
        pack_crops(source, out, dialect="sequential", seed=seed)
        mixed = Records(out)
        assert mixed.dialect == "sequential"
        labels.add(tuple(mixed.labels.tolist()))
        own = {(sample.person, mixed.content(i)) for i, sample in enumerate(mixed.samples)}
        assert own == {(p, content) for p, all_ in contents_of(crops).items() for content in all_}
    assert len(labels) > 1
    again = pack_crops(source, tmp_path / "again", dialect="sequential", seed=4)
    assert again.path.read_bytes() == (tmp_path / "mixed4" / "train.rec").read_bytes()


def test_a_selection_packs_its_crops_with_its_labels(crops: Path, tmp_path: Path) -> None:
    source = open_crops(crops)
    chosen = select_samples(source.samples, SelectionRules(n_people=2, max_photos=1))
    pack_crops(source, tmp_path / "packed", selection=chosen)
    packed = Records(tmp_path / "packed")
    assert [sample.person for sample in packed.samples] == ["Ann", "Bob"]
    assert packed.n_classes == 2


def test_a_border_is_cut_when_asked_and_kept_otherwise(crops: Path, tmp_path: Path) -> None:
    for path in crops.glob("*/*.jpg"):
        write_image(path, np.pad(read_image(path), ((16, 16), (16, 16), (0, 0))))
    source = open_crops(crops)
    kept = pack_crops(source, tmp_path / "kept")
    assert (kept.side_px, kept.n_copied) == (144, 6)
    cut = pack_crops(source, tmp_path / "cut", cut_border=True)
    assert (cut.side_px, cut.n_copied) == (112, 0)
    inner = source.read(0)[16:-16, 16:-16].astype(np.float64)
    stored = Records(tmp_path / "cut").read(0).astype(np.float64)
    assert np.abs(inner - stored).mean() < 4


def test_files_that_other_readers_would_turn_or_not_read_are_encoded_again(
    crops: Path, tmp_path: Path
) -> None:
    upright = read_image(crops / "Ann" / "0.jpg")
    exif = Pillow.Exif()
    exif[274] = 6  # EXIF 2.32, table 6: to be turned a quarter clockwise
    turned = Pillow.fromarray(np.rot90(upright).copy())
    turned.save(crops / "Ann" / "0.jpg", exif=exif, quality=95)
    write_image(crops / "Bob" / "0.webp", read_image(crops / "Bob" / "0.jpg"))
    (crops / "Bob" / "0.jpg").unlink()
    report = pack_crops(open_crops(crops), tmp_path / "packed")
    assert (report.n_photos, report.n_copied) == (6, 4)
    records = Records(tmp_path / "packed")
    assert all(records.content(i).startswith(b"\xff\xd8\xff") for i in range(6))
    assert b"Exif" not in records.content(0)
    difference = records.read(0).astype(np.float64) - upright.astype(np.float64)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_pack_leaves_nothing_behind(
    crops: Path, tmp_path: Path, error: BaseException
) -> None:
    def stop(names: Iterable[str], _total: int) -> Iterator[str]:
        yield from list(names)[:3]
        raise error

    with pytest.raises((KeyboardInterrupt, OSError)):
        pack_crops(open_crops(crops), tmp_path / "out" / "packed", watch=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_crop_is_named_and_nothing_is_left(crops: Path, tmp_path: Path) -> None:
    content = (crops / "Bob" / "1.jpg").read_bytes()
    (crops / "Bob" / "1.jpg").write_bytes(content[:200])
    with pytest.raises(DatasetError, match=r"Bob/1\.jpg"):
        pack_crops(open_crops(crops), tmp_path / "out" / "packed")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_kept(crops: Path, tmp_path: Path) -> None:
    before = contents_of(crops)
    with pytest.raises(InputError, match="exists already"):
        pack_crops(open_crops(crops), crops)
    assert contents_of(crops) == before


def test_a_name_that_is_no_text_is_refused_before_the_work(crops: Path, tmp_path: Path) -> None:
    (crops / "Ann").rename(crops / b"J\xf6rg".decode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match="is no text"):
        pack_crops(open_crops(crops), tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


# ── and back ──


def test_an_interrupted_unpack_goes_on_and_ends_as_one_that_was_not(
    crops: Path, tmp_path: Path
) -> None:
    rec = pack_crops(open_crops(crops), tmp_path / "packed").path
    out = tmp_path / "back"

    def stop(names: Iterable[str], _total: int) -> Iterator[str]:
        for number, name in enumerate(names):
            if number == 4:
                raise KeyboardInterrupt
            yield name

    with pytest.raises(KeyboardInterrupt):
        unpack_records(rec, out, watch=stop)
    assert (out / UNPACKING_NAME).is_file()
    (out / "Ann" / ".0123456789abcdef.part").write_bytes(b"half")  # kill -9 leaves such
    (out / "Bob" / "00000003.jpg").write_bytes(b"half")
    report = unpack_records(rec, out)
    assert (report.n_photos, report.n_done_before) == (6, 3)
    assert contents_of(out) == contents_of(crops)
    assert not (out / UNPACKING_NAME).exists()


def test_a_folder_of_something_else_is_never_unpacked_into(crops: Path, tmp_path: Path) -> None:
    rec = pack_crops(open_crops(crops), tmp_path / "packed").path
    before = contents_of(crops)
    with pytest.raises(InputError, match="is not empty: it holds Ann"):
        unpack_records(rec, crops)
    assert contents_of(crops) == before
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / UNPACKING_NAME).write_text('{"file": "other.rec"}\n')
    with pytest.raises(InputError, match="from another record file"):
        unpack_records(rec, tmp_path / "half")


@pytest.mark.parametrize("name", ["../Ann", "a/b", "a\\b", "..", "", "C:x", "/etc"])
def test_a_name_in_a_file_never_leads_out_of_the_folder(
    crops: Path, tmp_path: Path, name: str
) -> None:
    rec = pack_crops(open_crops(crops), tmp_path / "packed").path
    counts = rec.with_suffix(".json")
    plain = json.loads(counts.read_text())
    counts.write_text(json.dumps(plain | {"people": ["Ann", name, "Cleo"]}))
    with pytest.raises(DatasetError, match="nobody's folder can be called"):
        unpack_records(rec, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_record_that_holds_no_photo_is_named(crops: Path, tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted(crops.glob("*/*.jpg"))]
    rec = tmp_path / "set" / "train.rec"
    write_records(rec, zip(files, (0, 0, 1, 1, 2, 2), strict=True))
    content = bytearray(rec.read_bytes())
    at = content.index(files[3])
    content[at : at + 4] = b"oops"
    rec.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match="0000001/00000004 is not a photo"):
        unpack_records(rec, tmp_path / "back")


def test_what_was_unpacked_can_be_trained_on(crops: Path, tmp_path: Path) -> None:
    rec = pack_crops(open_crops(crops), tmp_path / "packed").path
    unpack_records(rec, tmp_path / "back")
    back, there = CropFolder(tmp_path / "back"), CropFolder(crops)
    assert [sample.person for sample in back.samples] == [s.person for s in there.samples]
    assert all(np.array_equal(back.read(i), there.read(i)) for i in range(6))


def test_a_link_to_the_folder_of_crops_packs_the_same(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(crops)
    one = pack_crops(open_crops(crops), tmp_path / "one")
    two = pack_crops(open_crops(tmp_path / "link"), tmp_path / "two")
    assert one.path.read_bytes() == two.path.read_bytes()
    shutil.rmtree(tmp_path / "one")
    assert crops.is_dir()
