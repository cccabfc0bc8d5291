"""What people get wrong: nothing of theirs is lost, and one line says what to try."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcwise.cli.run import run
from arcwise.encode import write_image
from arcwise.image import read_image


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


@pytest.fixture
def own(portraits: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of somebody's own photos."""
    folder = tmp_path / "own"
    folder.mkdir()
    image = read_image(portraits["Grace Hopper"])
    write_image(folder / "a.jpg", image)
    write_image(folder / "b.jpg", image[:, ::-1].copy())
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.mark.parametrize("command", ["detect", "identify"])
def test_pictures_never_replace_the_photos_they_are_made_from(
    capsys: pytest.CaptureFixture[str], own: Path, tiny_model: Path, command: str
) -> None:
    before = digests(own)
    for arguments in (
        (own, "--out", own),
        (own / "a.jpg", "--out", own),
        (own / "a.jpg", "--out", own / "a.jpg"),
    ):
        extra = [] if command == "detect" else ["--model", tiny_model]
        code, _, err = call(capsys, command, *arguments, *extra)
        assert code == 3
        assert "would be replaced" in err
    assert digests(own) == before


def test_no_result_replaces_what_it_is_made_from(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path, tiny_model: Path
) -> None:
    archive, pairs = tmp_path / "photos.md", tmp_path / "pairs.json"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(own / "a.jpg", "a.jpg")
    pairs.write_text("a.jpg a.jpg 1\n")
    shutil.copy(own / "a.jpg", own / "a.npz")
    (own / "link.jpg").symlink_to(own / "a.jpg")
    before = digests(own) | digests(tmp_path / "own")
    evaluate = ("evaluate", "verification", "--pairs", pairs, "--photos", archive)
    for arguments in (
        ("align", own / "a.jpg", "--out", tmp_path / "crops", "--sheet", own / "a.jpg"),
        ("align", own / "a.jpg", "--out", tmp_path / "crops", "--sheet", own / "link.jpg"),
        ("embed", own / "a.npz", "--out", own / "a.npz", "--model", tiny_model),
        (*evaluate, "--out", archive, "--model", tiny_model),
        (*evaluate, "--out", pairs, "--model", tiny_model),
    ):
        code, _, err = call(capsys, *arguments)
        assert code == 3, arguments
        assert "would be replaced" in err
    assert digests(own) == before
    assert zipfile.is_zipfile(archive)


def test_no_report_replaces_the_card_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx").touch()
    card = tmp_path / "model.json"
    card.write_text("{}")
    arguments = ["evaluate", "verification", "--pairs", "p.txt", "--photos", "photos"]
    assert run([*arguments, "--out", str(card)]) == 3
    assert "is the card of model.onnx" in capsys.readouterr().err
    assert card.read_text() == "{}"


@pytest.mark.parametrize("out", ["vectors", "vectors.jpg", "."])
def test_vectors_go_into_an_npz_file(
    capsys: pytest.CaptureFixture[str], own: Path, tiny_model: Path, out: str
) -> None:
    code, printed, _ = call(
        capsys, "embed", own / "a.jpg", "--out", own / out, "--model", tiny_model
    )
    assert (code, printed) == (3, "")


def test_a_sheet_and_a_crop_cannot_be_one_file(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    sheet = crops / "a_face1.png"
    code, _, err = call(capsys, "align", own / "a.jpg", "--out", crops, "--sheet", sheet)
    assert code == 3
    assert "another sheet" in err


def test_json_is_json_in_any_encoding(own: Path) -> None:
    odd = own / "李 😀.jpg"
    shutil.copy(own / "a.jpg", odd)
    done = subprocess.run(
        [sys.executable, "-m", "arcwise", "detect", odd, "--json"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.decode("cp1252"))[0]["photo"] == str(odd)


def test_a_wrong_place_for_pictures_is_told_before_the_work(
    capsys: pytest.CaptureFixture[str], own: Path
) -> None:
    for arguments in (
        ("detect", own / "a.jpg", "--out", own / "x.gif"),
        ("detect", own / "a.jpg", "--out", own / "b.jpg" / "deeper"),
        ("align", own / "a.jpg", "--out", own / "crops", "--sheet", own / "s.gif"),
    ):
        code, out, err = call(capsys, *arguments)
        assert (code, out) == (3, "")
        assert "try:" in err
    assert not (own / "crops").exists()


def test_crops_of_photos_with_one_name_stay_apart(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path
) -> None:
    hopper = read_image(own / "a.jpg")
    write_image(tmp_path / "x" / "p.png", hopper)
    write_image(tmp_path / "y" / "p.png", np.hstack([hopper, hopper]))
    photos = (tmp_path / "x" / "p.png", tmp_path / "y" / "p.png")
    code, out, _ = call(capsys, "align", *photos, "--out", tmp_path / "crops", "--json")
    assert code == 0
    crops = [(row["photo"], Path(row["crop"]).name) for row in json.loads(out)]
    assert crops == [
        (str(photos[0]), "p_face1.png"),
        (str(photos[1]), "p-2_face1.png"),
        (str(photos[1]), "p-2_face2.png"),
    ]


def test_a_photo_comes_on_standard_input(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    own: Path,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    content = (own / "a.jpg").read_bytes()
    gallery = ["--model", tiny_model, "--gallery", tmp_path / "g.db"]
    for arguments in (
        ("detect", "-"),
        ("embed", "-", "--model", tiny_model),
        ("compare", own / "a.jpg", "-", "--model", tiny_model),
        ("enroll", "-", "--name", "Grace", *gallery),
        ("identify", "-", *gallery),
    ):
        stdin = io.TextIOWrapper(io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, err = call(capsys, *arguments)
        assert code == 0, (arguments, err)
        assert "<file stdin>" in out or arguments[0] in ("compare", "enroll")
    code, _, err = call(capsys, "detect", "-", "-")
    assert code == 2
    assert "twice" in err


def test_an_empty_gallery_file_is_filled(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """What `kill -9` leaves when it comes between making the file and its tables."""
    gallery = tmp_path / "g.db"
    gallery.touch()
    for command in (["identify", own / "a.jpg", "-m", tiny_model], ["people"], ["forget", "Ann"]):
        code, _, err = call(capsys, *command, "-g", gallery)
        assert code == 5
        assert "empty" in err
    assert gallery.stat().st_size == 0
    code, _, err = call(
        capsys, "enroll", own / "a.jpg", "--name", "Grace", "-g", gallery, "-m", tiny_model
    )
    assert code == 0, err


def test_photos_without_a_name_are_asked_for_one(
    capsys: pytest.CaptureFixture[str], own: Path, tiny_model: Path
) -> None:
    code, _, err = call(capsys, "enroll", own / "a.jpg", "-m", tiny_model)
    assert code == 2
    assert "--name" in err


def test_one_bad_name_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path, tiny_model: Path
) -> None:
    people = tmp_path / "people"
    for name, photo in (("Grace", "a.jpg"), ("two\nlines", "b.jpg")):
        (people / name).mkdir(parents=True)
        shutil.copy(own / photo, people / name)
    gallery = tmp_path / "g.db"
    code, out, err = call(capsys, "enroll", people, "-g", gallery, "-m", tiny_model)
    assert code == 3
    assert "Grace" in out
    assert "two\\nlines" in err


def test_identify_keeps_to_the_pixel_limit_that_was_set(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    own: Path,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    gallery = ["--model", tiny_model, "--gallery", tmp_path / "g.db"]
    assert call(capsys, "enroll", own / "a.jpg", "--name", "Grace", *gallery)[0] == 0
    monkeypatch.setenv("ARCWISE_MAX_MEGAPIXELS", "0.1")
    code, _, err = call(capsys, "identify", own / "a.jpg", *gallery)
    assert code == 3
    assert "ARCWISE_MAX_MEGAPIXELS" in err


def test_a_damaged_photo_in_an_archive_is_a_failed_read(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path, tiny_model: Path
) -> None:
    shade = read_image(own / "a.jpg")
    names = [f"p{number:02d}.png" for number in range(8)]
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number, name in enumerate(names):
            buffer = io.BytesIO()
            Image.fromarray(np.roll(shade, number * 3, axis=1)).save(buffer, "png")
            packed.writestr(name, buffer.getvalue())
        damaged = packed.getinfo("p00.png")
    content = bytearray(archive.read_bytes())
    content[damaged.header_offset + 2000] ^= 0xFF
    archive.write_bytes(bytes(content))
    pairs = tmp_path / "pairs.csv"
    rows = [f"{a},{b},{int((i + j) % 2)},{(i + j) // 2 % 2}" for i, a in enumerate(names)
            for j, b in enumerate(names) if i < j]  # fmt: skip
    pairs.write_text("a,b,is_same,fold\n" + "\n".join(rows) + "\n")
    code, out, err = call(
        capsys, "evaluate", "verification", "--pairs", pairs, "--photos", archive,
        "--model", tiny_model, "--json",
    )  # fmt: skip
    assert code == 0, err
    (report,) = json.loads(out)["results"]
    assert [photo["name"] for photo in report["failed_photos"]] == ["p00.png"]
    assert "p00.png" in report["failed_photos"][0]["reason"]


def test_a_web_address_is_no_photo(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "detect", "https://example.org/x.jpg")
    assert code == 3
    assert "web address" in err


@pytest.mark.skipif(os.name == "nt", reason="file names of bytes are POSIX")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_file_name_can_be_printed(own: Path, encoding: str) -> None:
    odd = os.fsencode(own) + b"/\xffodd \xe6\x9d\x8e\x1b[31m.jpg"
    shutil.copy(own / "a.jpg", odd)
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "arcwise", "detect", odd, *extra],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b[31m" not in done.stdout
        if extra:
            assert json.loads(done.stdout)[0]["faces"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of this kind are POSIX")
def test_a_closed_pipe_ends_quietly(own: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m arcwise detect {own} --json | true",
        shell=True,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
