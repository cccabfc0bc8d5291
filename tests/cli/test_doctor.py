"""The doctor names each fault once, beside everything that is fine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from arcwise.cli.run import run
from arcwise.settings import Settings
from tests.tiny_models import averaging, write

Report = dict[str, tuple[bool, str, str]]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]):
    """Runs the doctor; findings by what they are about: fine or not, found, hint."""

    def ask() -> Report:
        code = run(["doctor", "--json"])
        report = json.loads(capsys.readouterr().out)
        assert code == (0 if report["is_fine"] else 4)
        found = {f["what"]: (f["is_fine"], f["found"], f["hint"]) for f in report["findings"]}
        assert len(found) == len(report["findings"])
        return found

    return ask


def faults(report: Report) -> list[str]:
    return [what for what, (is_fine, _, _) in report.items() if not is_fine]


def add(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    assert run(["models", "add", str(path), *words]) == 0
    capsys.readouterr()


@pytest.fixture
def gallery(
    capsys: pytest.CaptureFixture[str],
    portraits: dict[str, Path],
    tiny_model: Path,
    own_home: Path,
) -> Path:
    """The default gallery with one person, filled by the tiny model."""
    photo = str(portraits["Grace Hopper"])
    assert run(["enroll", "--name", "Grace", photo, "--model", str(tiny_model)]) == 0
    capsys.readouterr()
    return own_home / "gallery.db"


@pytest.mark.usefixtures("nothing_shipped")
def test_nothing_installed_is_fine(examine, own_home: Path) -> None:
    report = examine()
    assert faults(report) == []
    assert "no embedding model is installed" in report["default model"][1]
    assert "arcwise models add" in report["default model"][2]
    assert report["gallery"][1] == f"{own_home / 'gallery.db'} (not made yet)"
    assert report["home"][1] == f"{own_home} (not made yet)"
    assert not own_home.exists()


@pytest.mark.usefixtures("nothing_shipped")
def test_a_whole_installation_is_fine(
    examine, capsys: pytest.CaptureFixture[str], tiny_model: Path, gallery: Path
) -> None:
    add(tiny_model, capsys)
    report = examine()
    assert faults(report) == []
    assert report["model tiny"][1] == "own, unknown, Apache-2.0 (commercial use: yes)"
    assert report["default model"][1] == "tiny (the only one in your models folder)"
    assert "1 person, filled by tiny" in report["gallery"][1]
    assert "tiny: 192 dimensions" in report["embedding"][1]


@pytest.mark.usefixtures("nothing_shipped")
def test_a_changed_model_does_not_hide_the_others(
    examine, capsys: pytest.CaptureFixture[str], tmp_path: Path, own_home: Path
) -> None:
    for name, scale in (("a", 1.0), ("b", 2.0)):
        path = write(tmp_path / f"{name}.onnx", averaging(scale=scale))
        add(path, capsys, "--license", "x", "--input", "rgb,0,1")
    write(own_home / "models" / "a.onnx", averaging(scale=3))
    report = examine()
    assert faults(report) == ["model a"]
    assert "SHA-256" in report["model a"][1]
    assert report["model b"][1] == "own, unknown, x (commercial use: unknown)"
    assert "several embedding models" in report["default model"][1]


def test_each_bad_card_is_a_fault_of_its_own(
    examine, capsys: pytest.CaptureFixture[str], tiny_model: Path, own_home: Path
) -> None:
    add(tiny_model, capsys)
    add(tiny_model, capsys, "--name", "gone")
    (own_home / "models" / "gone.onnx").unlink()
    write(own_home / "models" / "stray.json", b"[]")
    write(own_home / "models" / "tiny.calibration.json", b"{}")
    report = examine()
    assert faults(report) == ["card gone", "card stray"]
    assert "which is not beside it" in report["card gone"][1]
    assert "is not a model card" in report["card stray"][1]
    assert report["default model"][0]


@pytest.mark.usefixtures("nothing_shipped")
def test_only_bad_cards_leave_no_default(examine, own_home: Path) -> None:
    write(own_home / "models" / "stray.json", b"[]")
    assert faults(examine()) == ["card stray", "default model"]


def test_a_wished_model_that_is_not_there_is_a_fault(
    examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCWISE_MODEL", "nope")
    report = examine()
    assert faults(report) == ["default model"]
    assert "no model is called 'nope'" in report["default model"][1]


def test_a_home_that_is_a_file_is_a_fault(examine, own_home: Path) -> None:
    own_home.write_bytes(b"x")
    report = examine()
    assert faults(report) == ["home"]
    assert "is a file, not a folder" in report["home"][1]
    assert "ARCWISE_HOME" in report["home"][2]


def test_a_home_inside_a_file_is_a_fault(
    examine, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home.write_bytes(b"x")
    monkeypatch.setenv("ARCWISE_HOME", str(own_home / "inner"))
    assert faults(examine()) == ["home"]


def test_folders_that_cannot_be_written_are_faults(
    examine, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "models").mkdir(parents=True)
    allowed = os.access  # the superuser may write everywhere, so the answer is replaced

    def forbid(path: Path, mode: int) -> bool:
        return Path(path) != own_home / "models" and allowed(path, mode)

    monkeypatch.setattr(os, "access", forbid)
    report = examine()
    assert faults(report) == ["models folder"]
    assert "cannot be written" in report["models folder"][1]
    assert report["models folder"][2]


def test_the_folder_of_a_gallery_elsewhere_is_looked_at(
    examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "place", b"a file")
    monkeypatch.setenv("ARCWISE_GALLERY", str(tmp_path / "place" / "people.db"))
    report = examine()
    assert faults(report) == ["gallery folder"]
    assert "ARCWISE_GALLERY" in report["gallery folder"][2]
    assert report["to erase everything"][1].endswith(f" and {tmp_path / 'place' / 'people.db'}")


def test_a_damaged_gallery_is_a_fault(examine, gallery: Path) -> None:
    gallery.write_bytes(gallery.read_bytes()[:5000])
    report = examine()
    assert faults(report) == ["gallery"]
    assert "damaged" in report["gallery"][1]
    gallery.write_bytes(b"no database" * 100)
    assert "not a gallery" in examine()["gallery"][1]


def test_an_empty_gallery_file_is_not_made_yet(examine, own_home: Path) -> None:
    write(own_home / "gallery.db", b"")
    assert "not made yet" in examine()["gallery"][1]
    assert (own_home / "gallery.db").stat().st_size == 0


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_gallery_that_others_can_read_is_a_fault(examine, gallery: Path) -> None:
    gallery.chmod(0o644)
    report = examine()
    assert faults(report) == ["gallery access"]
    assert "mode 0644" in report["gallery access"][1]
    assert report["gallery access"][2] == f"chmod 600 {gallery}"
    assert report["gallery"][0]


@pytest.mark.usefixtures("nothing_shipped")
def test_the_report_marks_faults_for_people(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    write(own_home / "models" / "stray.json", b"[]")
    assert run(["doctor"]) == 4
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("! ")]
    assert [line.split("  ")[0] for line in marked] == ["! card stray", "! default model"]


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [("THREADS", "many", "use a whole number"), ("PROVIDER", "abacus", "use one of auto")],
)
def test_a_wrong_setting_is_a_fault_beside_the_rest(
    examine, name: str, value: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    defaults = Settings(home=tmp_path / "default", gallery=tmp_path / "default" / "gallery.db")
    monkeypatch.setattr("arcwise.settings._user_folder", lambda: defaults.home)
    monkeypatch.setenv(f"ARCWISE_{name}", value)
    report = examine()
    assert faults(report) == ["settings"]
    assert f"is {value!r}" in report["settings"][1]
    assert "with the default settings" in report["settings"][1]
    assert hint in report["settings"][2]
    assert report["home"][1] == f"{defaults.home} (not made yet)"
    assert "1 of 1 drawn face found" in report["detection"][1]


def test_a_wrong_setting_is_marked_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("arcwise.settings._user_folder", lambda: tmp_path / "default")
    monkeypatch.setenv("ARCWISE_STRICT", "perhaps")
    assert run(["doctor"]) == 4
    captured = capsys.readouterr()
    assert captured.out.startswith("! settings")
    assert "try: use 1 or 0" in captured.out
    assert captured.err == ""
