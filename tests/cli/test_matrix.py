"""`arcwise compare --matrix` as a person types it, and that `compare A B` is what it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arcwise.encode import write_image
from arcwise.evaluate.report import read_document
from arcwise.testing import DrawnPhoto, draw_photo
from tests.cli.album import Call, fake_call


@pytest.fixture(scope="module")
def drawn() -> dict[str, DrawnPhoto]:
    """A photo of two people, one of each of them alone, and one of nobody."""
    two = draw_photo([1, 2], size_wh_px=(260, 130), widths_px=[72, 60])
    alone = {
        f"person{k}.png": draw_photo([k], size_wh_px=(128, 128), widths_px=[72], variation=1)
        for k in (1, 2)
    }
    return {"group.png": two} | alone


@pytest.fixture
def album(drawn: dict[str, DrawnPhoto], tmp_path: Path) -> Path:
    for name, photo in drawn.items():
        write_image(tmp_path / "album" / name, photo.image)
    return tmp_path / "album"


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: dict[str, DrawnPhoto],
) -> Call:
    return fake_call(capsys, monkeypatch, drawn, modules=("compare",), words=("compare",))


def test_all_faces_of_all_photos_are_compared(call: Call, album: Path) -> None:
    code, out, err = call("--matrix", album, "--json")
    assert code == 0, err
    plain = json.loads(out)
    faces = [(face["photo"], face["number"]) for face in plain["faces"]]
    assert faces == [("group.png", 1), ("group.png", 2), ("person1.png", 1), ("person2.png", 1)]
    found = np.array(plain["similarities"])
    assert found.argsort(axis=1)[:, -2].tolist() == [2, 3, 0, 1]  # who they really are
    assert plain["largest"]["similarity"] == found[np.triu_indices(4, 1)].max()
    assert plain["largest_within_photo"]["similarity"] == found[0, 1]


def test_the_table_names_the_largest_value_and_the_threshold(call: Call, album: Path) -> None:
    code, out, _ = call("--matrix", album)
    assert code == 0
    assert "person2.png#1" in out
    rows = {line[:26].strip(): line for line in out.splitlines()}
    assert "group.png#1 and group.png#2" in rows["largest within one photo"]
    assert "#1" in rows["largest"]
    assert "uncalibrated" in rows["threshold"]


@pytest.mark.parametrize(
    ("name", "begins"), [("m.svg", b"<svg"), ("m.png", b"\x89PNG"), ("m.html", b"<!doctype html>")]
)
def test_the_matrix_is_drawn(
    name: str, begins: bytes, call: Call, album: Path, tmp_path: Path
) -> None:
    code, _, err = call("--matrix", album / "group.png", "--out", tmp_path / name)
    assert code == 0, err
    content = (tmp_path / name).read_bytes()
    assert content.startswith(begins)
    assert name == "m.png" or b"group.png#2" in content


def test_the_json_report_holds_what_the_command_prints(
    call: Call, album: Path, tmp_path: Path
) -> None:
    code, out, _ = call("--matrix", album, "--json", "--out", tmp_path / "m.json")
    assert code == 0
    document = read_document(tmp_path / "m.json")
    assert json.loads(out) == {"model": document.model} | document.values
    assert document.data == "4 faces of 3 photos"


def test_photos_of_one_name_are_told_apart_by_their_folders(call: Call, album: Path) -> None:
    other = album / "more" / "group.png"
    other.parent.mkdir()
    other.write_bytes((album / "group.png").read_bytes())
    plain = json.loads(call("--matrix", album / "group.png", other, "--json")[1])
    assert {face["photo"] for face in plain["faces"]} == {str(album / "group.png"), str(other)}


def test_a_photo_that_cannot_be_read_is_named_and_the_others_compared(
    call: Call, album: Path
) -> None:
    (album / "broken.jpg").write_bytes(b"no photo")
    code, out, err = call("--matrix", album, "--json")
    assert code == 3
    assert "broken.jpg" in err
    assert len(json.loads(out)["faces"]) == 4


def test_photos_without_a_face_answer_no(call: Call, tmp_path: Path) -> None:
    write_image(tmp_path / "wall.png", np.full((64, 64, 3), 200, np.uint8))
    code, out, err = call("--matrix", tmp_path / "wall.png", "--json")
    assert (code, json.loads(out)) == (1, {"faces": [], "similarities": []})
    assert "no face in" in err


def test_a_drawing_never_replaces_a_photo(call: Call, album: Path) -> None:
    before = (album / "group.png").read_bytes()
    for out in (album / "group.png", album / "new.png"):
        code, _, err = call("--matrix", album, "--out", out)
        assert code == 3, err
    assert (album / "group.png").read_bytes() == before
    assert not (album / "new.png").exists()


def test_two_photos_are_compared_as_before(call: Call, album: Path) -> None:
    code, out, _ = call(album / "group.png", album / "person1.png", "--json")
    assert code == 0
    plain = json.loads(out)
    assert plain["is_match"] is True
    assert {"similarity", "threshold", "fmr", "calibrated", "why", "model"} <= plain.keys()
    code, out, _ = call(album / "person1.png", album / "person2.png")
    assert (code, out.split(":")[0]) == (1, "different people")


@pytest.mark.parametrize("n", [1, 3])
def test_another_number_of_photos_needs_the_matrix(n: int, call: Call, album: Path) -> None:
    code, _, err = call(*[album / "group.png"] * n)
    assert code == 2
    assert "--matrix" in err


def test_a_place_for_a_drawing_needs_the_matrix(call: Call, album: Path, tmp_path: Path) -> None:
    code, _, err = call(*[album / "group.png"] * 2, "--out", tmp_path / "m.svg")
    assert code == 2
    assert "--matrix" in err
