from __future__ import annotations

import json
from pathlib import Path

import pytest

from arcwise.cli.run import run as run_command

SETTINGS = (
    "schedule.batch_size=8",
    "schedule.epochs=1",
    "schedule.warmup_epochs=0",
    "data.validation_share=0.4",
    "data.photos_per_person=2",
    "network.dimension=16",
    "threads=1",
)


def words(command: str, folder: Path, crops: Path) -> list[str]:
    return [command, f"run={folder}", f"data.folder={crops}", *SETTINGS]


@pytest.mark.slow
def test_losses_are_compared_in_one_table(
    drawn_crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = ["--loss", "arcface:0.3", "--loss", "cosface", "--loss", "triplet"]
    arguments = [*words("compare-losses", tmp_path, drawn_crops), *losses]
    assert run_command(arguments) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("arcface:0.3", "cosface", "triplet"))
    assert (tmp_path / "comparison.png").is_file()
    table = (tmp_path / "comparison.md").read_text("utf-8")
    assert table.count("| 5 |") == 3  # people learned
    config = (tmp_path / "arcface_0.3" / "config.yaml").read_text("utf-8")
    assert "margin: 0.3" in config
    # Again: all runs are complete, and the same numbers come out at once.
    found = json.loads((tmp_path / "comparison.json").read_text("utf-8"))
    assert run_command([*arguments, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [v["rounds"] for v in again["variants"]] == [v["rounds"] for v in found["variants"]]


@pytest.mark.slow
def test_rounds_differ_by_their_seed_and_are_averaged(
    drawn_crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("compare-losses", tmp_path, drawn_crops)
    assert run_command([*arguments, "--loss", "arcface", "--rounds", "2", "--json"]) == 0
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    first, second = (found["training_accuracy"] for found in variant["rounds"])
    assert variant["mean"]["training_accuracy"] == pytest.approx((first + second) / 2)
    assert {path.name for path in (tmp_path / "arcface").iterdir()} == {"seed_1", "seed_2"}
    assert "±" in (tmp_path / "comparison.md").read_text("utf-8")


@pytest.mark.slow
def test_more_people_are_learned_from_run_to_run(
    drawn_crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("scaling", tmp_path, drawn_crops)
    assert run_command([*arguments, "--people", "4", "--people", "2", "--json"]) == 0
    variants = json.loads(capsys.readouterr().out)["variants"]
    assert [variant["people"] for variant in variants] == [2, 4]
    assert (tmp_path / "scaling.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare-losses", "--loss", "arcfase"], "no loss of the name 'arcfase'"),
        (["compare-losses", "--loss", "arcface:x"], "has no number after the colon"),
        (["compare-losses", "--loss", "arcface", "--loss", "arcface"], "named twice"),
        (["scaling"], "no number of people is given"),
    ],
)
def test_a_slip_is_told_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*arguments, f"run={tmp_path / 'r'}", "data.folder=nowhere"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
