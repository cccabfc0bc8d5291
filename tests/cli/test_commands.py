"""The commands as a person types them: output, JSON, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from arcwise.cli.options import SelectName
from arcwise.cli.run import run
from arcwise.image import read_image
from arcwise.types import Select


@pytest.fixture
def people(portraits: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with one folder for Eileen and a single photo named after Grace."""
    folder = tmp_path / "people"
    (folder / "Eileen Collins").mkdir(parents=True)
    shutil.copy(portraits["Eileen Collins"], folder / "Eileen Collins" / "astronaut.png")
    shutil.copy(portraits["Grace Hopper"], folder / "Grace Hopper.jpg")
    return folder


@pytest.fixture
def model(tiny_model: Path) -> list[str]:
    return ["--model", str(tiny_model)]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def call_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, err = call(capsys, *arguments, "--json")
    assert code in (0, 1), err
    return json.loads(out)


def test_the_words_of_select_are_those_of_the_library() -> None:
    assert get_args(SelectName) == get_args(Select)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--version")
    assert code == 0
    assert out.startswith("arcwise ")


def test_a_misspelt_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "detect", "--providre", "cpu")
    assert code == 2
    assert "--providre" in err


def test_a_misspelt_command_suggests_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "detct", "x.jpg")
    assert code == 2
    assert "detect" in err


def test_detect_tells_faces_and_draws_them(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "pictures"
    photos = list(portraits.values())
    results = call_json(capsys, "detect", *photos, "--out", out)
    assert [len(result["faces"]) for result in results] == [1, 1]
    drawn = read_image(out / "grace_hopper.jpg")
    original = read_image(photos[0])
    assert drawn.shape == original.shape
    assert np.abs(drawn.astype(int) - original).max() > 50


def test_detect_says_no_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "white.png")
    code, out, _ = call(capsys, "detect", tmp_path / "white.png")
    assert code == 1
    assert "no face" in out


def test_an_unreadable_photo_is_told_and_the_others_are_done(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    code, out, err = call(capsys, "detect", tmp_path / "broken.jpg", portraits["Grace Hopper"])
    assert code == 3
    assert "broken.jpg" in err
    assert "grace_hopper.jpg" in out


@pytest.mark.parametrize("command", ["detect", "identify", "embed"])
def test_a_folder_without_photos_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, model: list[str]
) -> None:
    extra = [] if command == "detect" else model
    code, _, err = call(capsys, command, tmp_path, *extra)
    assert code == 3
    assert str(tmp_path) in err


def test_one_file_cannot_take_the_pictures_of_two_photos(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path
) -> None:
    code, _, err = call(capsys, "detect", *portraits.values(), "--out", tmp_path / "one.jpg")
    assert code == 3
    assert "folder" in err


def test_align_writes_crops_and_a_sheet(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    rows = call_json(
        capsys, "align", *portraits.values(), "--out", tmp_path / "crops", "--sheet", sheet
    )
    assert [read_image(row["crop"]).shape for row in rows] == [(112, 112, 3)] * 2
    assert sheet.is_file()


def test_align_refuses_a_size_without_template(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path
) -> None:
    photo = portraits["Grace Hopper"]
    code, _, err = call(capsys, "align", photo, "--out", tmp_path / "c", "--size", "100")
    assert code == 3
    assert "100 px" in err
    assert not (tmp_path / "c").exists()


def test_embed_saves_vectors_without_pickle(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], tmp_path: Path, model: list[str]
) -> None:
    out = tmp_path / "vectors.npz"
    code, _, err = call(capsys, "embed", *portraits.values(), "--out", out, *model)
    assert code == 0, err
    with np.load(out, allow_pickle=False) as saved:
        assert saved["vectors"].shape == (2, 192)
        np.testing.assert_allclose(np.linalg.norm(saved["vectors"], axis=1), 1, atol=1e-5)
        assert saved["model"] == "tiny"


def test_compare_answers_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path], model: list[str]
) -> None:
    hopper, collins = portraits.values()
    code, out, _ = call(capsys, "compare", hopper, hopper, *model)
    assert (code, out.split(":")[0]) == (0, "same person")
    code, out, _ = call(capsys, "compare", hopper, collins, *model)
    assert (code, out.split(":")[0]) == (1, "different people")


def test_people_from_enroll_to_forget(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path, model: list[str]
) -> None:
    gallery = ["--gallery", str(tmp_path / "people.db")]
    (tmp_path / "people" / "Nobody").mkdir()
    code, out, err = call(capsys, "enroll", people, *gallery, *model)
    assert code == 0, err
    assert "no photo of Nobody" in err
    assert "2 new faces of 2 people" in err

    again = call_json(capsys, "enroll", people, *gallery, *model)
    assert [row["rejected"][0]["code"] for row in again] == ["duplicate", "duplicate"]

    photo = people / "Grace Hopper.jpg"
    (named,) = call_json(
        capsys, "identify", photo, *gallery, *model, "--out", tmp_path / "named.jpg"
    )
    assert named["faces"][0]["person"] == "Grace Hopper"
    assert (tmp_path / "named.jpg").is_file()

    assert [row["name"] for row in call_json(capsys, "people", *gallery)] == [
        "Eileen Collins",
        "Grace Hopper",
    ]
    assert call(capsys, "rename", "Grace Hopper", "Amazing Grace", *gallery)[0] == 0
    assert call(capsys, "forget", "Amazing Grace", *gallery)[0] == 0
    code, out, _ = call(capsys, "identify", photo, *gallery, *model)
    assert code == 1
    assert "unknown" in out
    code, _, err = call(capsys, "forget", "Amazing Grace", *gallery)
    assert code == 5
    assert "Amazing Grace" in err


def test_the_gallery_finds_its_own_model(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path, tiny_model: Path
) -> None:
    gallery = ["--gallery", str(tmp_path / "people.db")]
    assert call(capsys, "models", "add", tiny_model)[0] == 0
    assert call(capsys, "models", "add", tiny_model, "--name", "twin", "--license", "x",
                "--input", "bgr,0,1")[0] == 0  # fmt: skip
    assert call(capsys, "enroll", people, *gallery, "--model", "tiny")[0] == 0
    (named,) = call_json(capsys, "identify", people / "Grace Hopper.jpg", *gallery)
    assert named["faces"][0]["person"] == "Grace Hopper"
    code, _, err = call(
        capsys, "identify", people / "Grace Hopper.jpg", *gallery, "--model", "twin"
    )
    assert code == 5
    assert "tiny" in err
    assert "twin" in err


def test_identify_makes_no_gallery_where_there_is_none(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path, model: list[str]
) -> None:
    missing = tmp_path / "none.db"
    code, _, err = call(
        capsys, "identify", people / "Grace Hopper.jpg", "--gallery", missing, *model
    )
    assert code == 5
    assert "none.db" in err
    assert not missing.exists()


@pytest.mark.usefixtures("nothing_shipped")
def test_models_are_added_shown_and_removed(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "My Model.onnx"
    shutil.copy(tiny_model, bare)
    code, _, err = call(capsys, "models", "add", bare)
    assert code == 2
    assert "--license" in err
    code, _, err = call(capsys, "models", "add", bare, "--license", "MIT")
    assert code == 4
    assert "--input" in err
    code, _, err = call(
        capsys, "models", "add", bare, "--license", "MIT", "--input", "rgb,127.5,127.5"
    )
    assert code == 0, err
    (listed,) = call_json(capsys, "models", "list")
    assert listed["name"] == "my-model"
    assert listed["dimension"] == 192
    code, out, _ = call(capsys, "models", "show", "my-model")
    assert json.loads(out)["license"]["name"] == "MIT"
    assert call(capsys, "models", "remove", "my-model")[0] == 0
    assert call_json(capsys, "models", "list") == []


def test_a_wrong_input_contract_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], tiny_model: Path
) -> None:
    code, _, err = call(
        capsys, "models", "add", tiny_model, "--license", "x", "--input", "rgb;127.5"
    )
    assert code == 2
    assert "COLOR,MEAN,STD" in err


def test_a_provider_that_is_not_there_fails_when_strict(
    capsys: pytest.CaptureFixture[str], portraits: dict[str, Path]
) -> None:
    photo = portraits["Grace Hopper"]
    code, _, err = call(capsys, "detect", photo, "--provider", "coreml", "--strict")
    assert code == 4
    assert "coreml" in err


def test_doctor_finds_everything_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    report = call_json(capsys, "doctor")
    found = {finding["what"]: finding for finding in report["findings"]}
    assert report["is_fine"], report
    assert "1 of 1" in found["detection"]["found"]
    assert "arcwise forget NAME" in found["to erase a person"]["found"]


def test_a_wrong_setting_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCWISE_PROVIDER", "gpu")
    code, _, err = call(capsys, "models", "list")
    assert code == 2
    assert "ARCWISE_PROVIDER" in err
