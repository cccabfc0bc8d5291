"""Models on the command line: words become a card or one line that says what is wrong with them."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from arcwise.cli.run import run
from arcwise.files import sha256_of_file
from arcwise.zoo.card import load_card
from tests.tiny_models import averaging, normalizing, write


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A model without a card."""
    return write(tmp_path / "mine.onnx", averaging())


@pytest.fixture
def with_card(tiny_model: Path, tmp_path: Path) -> Path:
    """A model with its card beside it, to be changed at will."""
    folder = tmp_path / "given"
    folder.mkdir()
    shutil.copy(tiny_model.with_suffix(".json"), folder)
    return Path(shutil.copy(tiny_model, folder))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--license", "x", "--threshold", "7"], "--threshold is 7.0"),
        (["--license", "x", "--threshold", "nan"], "--threshold is nan"),
        (["--license", ""], "--license is ''"),
        (["--license", "  "], "--license is '  '"),
        (["--license", "x", "--input", "rgb,nan,1"], "--input is 'rgb,nan,1'"),
        (["--license", "x", "--input", "rgb,1,0"], "--input is 'rgb,1,0'"),
        (["--license", "x", "--input", "rgb,1"], "--input is 'rgb,1'"),
        (["--license", "x", "--input", "cmyk,1,1"], "--input is 'cmyk,1,1'"),
        (["--commercial"], "--commercial"),
    ],
)
def test_words_that_cannot_be_are_wrong_usage(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str], bare: Path, own_home: Path
) -> None:
    code, out, err = call(capsys, "models", "add", bare, "--input", "rgb,0,1", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"arcwise: {named}")
    assert "\n  try: " in err
    assert not own_home.exists()


def test_converting_without_a_license_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = call(capsys, "convert", tmp_path, "--out", tmp_path / "a.onnx", "--license", "")
    assert code == 2
    assert err.startswith("arcwise: --license is ''")


def test_a_converted_model_is_told_on_standard_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    links = [["null", "data", []], ["Flatten", "f", [[0, 0, 0]]]]
    nodes = [{"op": op, "name": name, "attrs": {}, "inputs": inputs} for op, name, inputs in links]
    symbol = {"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]}
    (tmp_path / "net-symbol.json").write_text(json.dumps(symbol))
    no_arrays = struct.pack("<QQQQ", 0x112, 0, 0, 0)  # MXNet's list of arrays and of their names
    (tmp_path / "net-0000.params").write_bytes(no_arrays)
    out_file = tmp_path / "flat.onnx"
    words = ["--license", "MIT", "--input", "rgb,127.5,128"]
    code, out, err = call(capsys, "convert", tmp_path, "--out", out_file, *words)
    assert (code, err) == (0, "")
    assert out == f"wrote {out_file} and its card: 37632 dimensions, 112 px\n"
    code, out, err = call(capsys, "convert", tmp_path, "--out", out_file, *words, "--json")
    assert (code, err) == (0, "")
    card = load_card(out_file)
    assert json.loads(out) == card.model_dump() | {"path": str(out_file), "digest": card.digest}


def test_results_go_to_standard_output(
    capsys: pytest.CaptureFixture[str], bare: Path, own_home: Path
) -> None:
    words = ["--license", "MIT", "--input", "rgb,127.5,128"]
    code, out, err = call(capsys, "models", "add", bare, *words)
    assert (code, err) == (0, "")
    first, place = out.splitlines()
    assert first == "added mine: 112 px rgb, (x - 127.5) / 128, 3 dimensions"
    assert place == str(own_home / "models" / "mine.onnx")
    code, out, err = call(capsys, "models", "remove", "mine")
    assert (code, out, err) == (0, "removed mine\n", "")


@pytest.mark.usefixtures("nothing_shipped")
def test_every_answer_is_json_when_asked(
    capsys: pytest.CaptureFixture[str], bare: Path, own_home: Path
) -> None:
    def ask(*arguments: object) -> Any:
        code, out, err = call(capsys, "models", *arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    added = ask("add", bare, "--license", "MIT", "--input", "rgb,0,1")
    assert added["name"] == "mine"
    assert added["sha256"] == sha256_of_file(bare)
    assert added["path"] == str(own_home / "models" / "mine.onnx")
    assert (added["origin"], len(added["digest"])) == ("own", 64)
    assert ask("list") == [added]
    assert ask("show", "mine") == added
    assert ask("remove", "mine") == added
    assert ask("list") == []


@pytest.mark.usefixtures("nothing_shipped")
def test_bad_cards_are_notes_beside_the_list(
    capsys: pytest.CaptureFixture[str], bare: Path, own_home: Path
) -> None:
    call(capsys, "models", "add", bare, "--license", "MIT", "--input", "rgb,0,1")
    write(own_home / "models" / "bad.json", b"{}")
    code, out, err = call(capsys, "models", "list")
    assert code == 0
    assert "mine" in out
    assert err.startswith("note: ")
    assert "bad.json is not a model card" in err
    code, out, err = call(capsys, "models", "list", "--json")
    assert [model["name"] for model in json.loads(out)] == ["mine"]
    assert "bad.json is not a model card" in err
    code, out, err = call(capsys, "models", "remove", "bad")
    assert (code, out, err) == (0, "removed the card bad.json, and no model\n", "")
    bad = write(own_home / "models" / "bad.json", b"{}")
    code, out, err = call(capsys, "models", "remove", "bad", "--json")
    assert (code, json.loads(out), err) == (0, {"name": "bad", "card": str(bad)}, "")
    assert call(capsys, "models", "remove", "mine")[0] == 0


def test_words_that_replace_those_of_a_card_are_said(
    capsys: pytest.CaptureFixture[str], with_card: Path, own_home: Path
) -> None:
    code, _, err = call(capsys, "models", "add", with_card)
    assert (code, err) == (0, "")
    code, _, err = call(capsys, "models", "add", with_card, "--name", "twin", "--threshold", "0.5")
    assert code == 0
    assert err == (
        f"note: {with_card.with_suffix('.json')} lies beside the file; "
        "your words are used instead of its words\n"
    )
    twin = load_card(own_home / "models" / "twin.onnx")
    assert twin.license.name == "Apache-2.0"
    assert twin.threshold is not None
    assert twin.threshold.similarity == 0.5
    words = ["--license", "x", "--input", "bgr,0,1", "--name", "third"]
    code, _, err = call(capsys, "models", "add", with_card, *words)
    assert code == 0
    assert "your words are used instead of all its words" in err
    third = load_card(own_home / "models" / "third.onnx")
    assert (third.license.name, third.threshold) == ("x", None)


def test_words_that_were_not_used_are_not_noted(
    capsys: pytest.CaptureFixture[str], with_card: Path
) -> None:
    code, out, err = call(capsys, "models", "add", with_card, "--name", "No Name")
    assert (code, out) == (4, "")
    assert err.startswith("arcwise: no model can be called 'No Name'")


def test_a_card_is_not_taken_for_its_model(
    capsys: pytest.CaptureFixture[str], with_card: Path
) -> None:
    card_file = with_card.with_suffix(".json")
    code, out, err = call(capsys, "models", "add", card_file)
    assert (code, out) == (3, "")
    assert err == f"arcwise: {card_file} is a card\n  try: give {with_card}\n"


def test_a_graph_that_normalizes_is_not_normalized_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "mx.onnx", normalizing())
    words = ["models", "add", path, "--license", "x"]
    code, _, err = call(capsys, *words, "--input", "rgb,127.5,128")
    assert code == 4
    assert "would do it twice" in err
    assert "--input rgb,0,1" in err
    assert call(capsys, *words)[0] == 0
