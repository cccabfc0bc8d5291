"""`arcwise data make-bin`: the pack it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from arcwise.cli.bin import make_bin
from arcwise.errors import ArcwiseError, DatasetError, InputError
from arcwise.evaluate.sets.packs import pack_pairs, read_pack

APP = typer.Typer()
APP.command()(make_bin)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if isinstance(result.exception, ArcwiseError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def write_pairs(path: Path, *, n_each: int = 10, missing: str = "") -> Path:
    """All pairs of one person first, as some lists have them."""
    lines = [f"person{i % 8}/{i % 3}.png person{i % 8}/{3 + i % 3}.png 1" for i in range(n_each)]
    lines += [f"person{i % 8}/0.png person{(i + 1) % 8}/{i % 6}.png 0" for i in range(n_each)]
    path.write_text("\n".join(lines) + f"\n{missing}")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.txt")


@pytest.mark.parametrize("name", ["x.bin", "x.npz"])
def test_the_pack_holds_the_crops_as_they_are_fold_by_fold(tmp_path, pairs, drawn_crops, name):
    out = tmp_path / name
    result = call("--pairs", pairs, "--photos", drawn_crops, "--out", out)
    assert result.stdout == f"wrote {out}: 20 pairs, 10 of one person, of 32 crops\n"
    pack = read_pack(out)
    assert pack.is_same.tolist() == [True, False] * 10
    assert pack.images[0] == (drawn_crops / "person0" / "0.png").read_bytes()
    assert pack.images[1] == (drawn_crops / "person0" / "3.png").read_bytes()
    assert [pair.fold for pair in pack_pairs(pack)] == [i // 2 for i in range(20)]


def test_anybody_can_load_it(tmp_path, pairs, drawn_crops):
    out = tmp_path / "x.bin"
    call("--pairs", pairs, "--photos", drawn_crops, "--out", out)
    images, answers = pickle.loads(out.read_bytes(), encoding="bytes")
    assert {type(image) for image in images} == {bytes}
    assert answers == [True, False] * 10


def test_json_tells_the_counts(tmp_path, pairs, drawn_crops):
    out = tmp_path / "x.bin"
    result = call("--pairs", pairs, "--photos", drawn_crops, "--out", out, "--json")
    found = json.loads(result.stdout)
    assert found == {"path": str(out), "n_pairs": 20, "n_same": 10, "n_photos": found["n_photos"]}


def test_missing_crops_are_named_and_nothing_is_written(tmp_path, drawn_crops):
    lines = "".join(f"person0/x{i}.png person1/0.png 0\n" for i in range(12))
    pairs = write_pairs(tmp_path / "pairs.txt", missing=lines)
    with pytest.raises(DatasetError, match=r"12 photos of \d+ .*person0/x0\.png.* and 2 more"):
        call("--pairs", pairs, "--photos", drawn_crops, "--out", tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()


@pytest.mark.parametrize(
    ("n_each", "folds", "note"),
    [(10, 5, "read it with --folds 5"), (7, 2, "not of one size"), (8, 3, "not of one size")],
)
def test_folds_that_a_reader_would_not_cut_are_told(tmp_path, drawn_crops, n_each, folds, note):
    pairs = write_pairs(tmp_path / "pairs.txt", n_each=n_each)
    result = call(
        "--pairs", pairs, "--photos", drawn_crops, "--out", tmp_path / "x.bin", "--folds", folds
    )
    assert note in result.stderr


@pytest.mark.parametrize("name", ["x.pkl", "x"])
def test_another_ending_is_refused(tmp_path, pairs, drawn_crops, name):
    with pytest.raises(InputError, match="cannot write"):
        call("--pairs", pairs, "--photos", drawn_crops, "--out", tmp_path / name)


def test_the_list_is_not_replaced(tmp_path, drawn_crops):
    pairs = write_pairs(tmp_path / "pairs.bin")
    with pytest.raises(InputError, match="would be replaced"):
        call("--pairs", pairs, "--photos", drawn_crops, "--out", pairs)


def test_nothing_is_written_into_the_folder_that_is_read(pairs, drawn_crops):
    out = drawn_crops / "x.bin"
    with pytest.raises(InputError, match="which is only read"):
        call("--pairs", pairs, "--photos", drawn_crops, "--out", out)
    assert not out.exists()
