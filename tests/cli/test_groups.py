"""`arcwise evaluate groups`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from arcwise.cli.groups import groups
from arcwise.compare import Calibration, CalibrationPoint
from arcwise.errors import ArcwiseError, DatasetError, InputError, SettingsError
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings

APP = typer.Typer()
APP.command()(groups)
DIGEST = "e" * 64


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    names = [f"{person:02}/{photo}.jpg" for person in range(24) for photo in range(2)]
    centers = np.repeat(rng.normal(size=(24, 6)), 2, axis=0)
    raw = (centers + 0.7 * rng.normal(size=(48, 6))).astype(np.float32)
    digests = tuple(f"{i:064x}" for i in range(48))
    embedded = EmbeddedPhotos(tuple(names), raw, None, digests, {}, "tiny", DIGEST)
    return save_embeddings(embedded, tmp_path / "vectors.npz")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "who.csv"
    lines = [f"{person:02},{20 + person},{'fm'[person % 2]}" for person in range(24)]
    path.write_text("\n".join(["person,age,gender", *lines]))
    return path


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if isinstance(result.exception, ArcwiseError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def results(*arguments: object) -> Any:
    return json.loads(call(*arguments, "--json").stdout)["results"]


def test_each_column_becomes_a_table(saved: Path, csv: Path) -> None:
    out = call("--metadata", csv, "--embeddings", saved, "--threshold", "0.5").stdout
    assert "12 people" not in out.split("\n")[0]
    for word in ("gender: f FMR", "gender: FMR ratio", "below 25.75", "everybody"):
        assert word in out
    assert "n/a: needs 10 people, has 6" in out


def test_edges_make_the_ranges(saved: Path, csv: Path) -> None:
    found = results(
        "--metadata", csv, "--embeddings", saved, "--threshold", "0.5", "--edges", "age=32"
    )
    age = next(grouping for grouping in found["groupings"] if grouping["column"] == "age")
    assert [group["name"] for group in age["groups"]] == ["below 32", "32 and above"]
    assert [group["n_people"] for group in age["groups"]] == [12, 12]


def test_the_threshold_is_the_calibrated_one_by_default(
    saved: Path, csv: Path, own_home: Path
) -> None:
    with pytest.raises(InputError, match="model tiny has no calibration"):
        call("--metadata", csv, "--embeddings", saved)
    points = (CalibrationPoint(1e-3, 0.62, 0.6, 0.64),)
    calibration = Calibration(DIGEST, points, 9, 99, "0" * 64, "2026-11-22")
    calibration.save(own_home / "calibrations" / f"{DIGEST}.json")
    found = results("--metadata", csv, "--embeddings", saved)
    assert (found["similarity"], found["fmr_aimed"]) == (0.62, 1e-3)
    assert "on 99 people, 2026-11-22" in found["why"]


def test_a_report_is_written_and_held_against_an_earlier_one(
    saved: Path, csv: Path, tmp_path: Path
) -> None:
    arguments = ("--metadata", csv, "--embeddings", saved, "--threshold", "0.5")
    out = tmp_path / "groups.json"
    call(*arguments, "--out", out)
    assert json.loads(out.read_text())["results"]["similarity"] == 0.5
    call(*arguments, "--expected", out)
    result = CliRunner().invoke(APP, [*map(str, arguments[:-1]), "0.3", "--expected", str(out)])
    assert result.exit_code == 1
    call(*arguments, "--out", tmp_path / "groups.md")
    assert "gender: f FNMR" in (tmp_path / "groups.md").read_text()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--edges", "age"], SettingsError, "--edges is 'age'"),
        (["--edges", "age=x"], SettingsError, "--edges is"),
        (["--edges", "height=3"], InputError, "no column 'height'"),
        (["--threshold", "2"], SettingsError, "--threshold is 2.0"),
        (["--folds", "1"], SettingsError, "--folds needs a list"),
        (["--photos", "x"], SettingsError, "one of --photos"),
    ],
)
def test_what_does_not_fit_is_refused(saved, csv, options, error, message) -> None:
    with pytest.raises(error, match=message):
        call("--metadata", csv, "--embeddings", saved, "--threshold", "0.5", *options)


def test_metadata_of_other_people_is_refused(saved: Path, csv: Path) -> None:
    csv.write_text("person,age\nnobody,3\n")
    with pytest.raises(DatasetError, match="says nothing of any of the 24 people"):
        call("--metadata", csv, "--embeddings", saved, "--threshold", "0.5")
