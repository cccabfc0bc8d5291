"""What the outside may rely on: public names, cost of an import, documentation of every word."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

import arcwise
from arcwise import errors
from arcwise.cli.app import build_command
from arcwise.settings import DESCRIPTIONS, PREFIX
from tests.contracts.source import read_docs

HEAVY = {
    "torch",
    "onnxruntime",
    "onnx",
    "fastapi",
    "sqlalchemy",
    "matplotlib",
    "cv2",
    "PIL",
    "pydantic",
}


def test_the_public_names_are_one_alphabetical_list() -> None:
    assert list(arcwise.__all__) == sorted(arcwise.__all__)


@pytest.mark.parametrize("name", [name for name in arcwise.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(arcwise, name)
    assert inspect.getdoc(value)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="recogniser"):
        _ = arcwise.recogniser


def test_importing_arcwise_loads_nothing_heavy() -> None:
    script = "import arcwise, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(_python("-c", script))
    assert HEAVY & set(loaded) == set()


def test_the_help_of_the_command_line_loads_no_model_library() -> None:
    script = (
        "import sys, json; from arcwise.cli.run import run; run(['--help']);"
        "print('LOADED' + json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(_python("-c", script).split("LOADED")[1])
    assert HEAVY & set(loaded) == set()


@pytest.mark.parametrize(
    ("arguments", "limit_s"),
    [(("-c", "import arcwise"), 0.3), (("-m", "arcwise", "--help"), 0.6)],
    ids=["import arcwise", "arcwise --help"],
)
def test_starting_is_cheap(arguments: tuple[str, ...], limit_s: float) -> None:
    """Processor time, not wall time, beyond a bare interpreter; the best of five."""
    spent_s = min(_cpu_seconds(*arguments) for _ in range(5))
    bare_s = min(_cpu_seconds("-c", "pass") for _ in range(5))
    assert spent_s - bare_s < limit_s


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def _cpu_seconds(*arguments: str) -> float:
    before = os.times()
    _python(*arguments)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


DOCS = read_docs()


def _commands() -> list[str]:
    group = build_command()
    names = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        names += [f"{name} {part}" for part in inner] if inner else [name]
    return names


@pytest.mark.parametrize("command", _commands())
def test_every_command_is_documented(command: str) -> None:
    assert f"arcwise {command}" in DOCS


@pytest.mark.parametrize("command", _commands())
def test_every_command_answers_in_json_when_asked(command: str) -> None:
    found = build_command()
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    options = {option for parameter in found.params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("setting", DESCRIPTIONS)
def test_every_setting_is_documented(setting: str) -> None:
    assert f"`{PREFIX}{setting}`" in DOCS


@pytest.mark.parametrize(
    "error",
    [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.ArcwiseError)
    ],
)
def test_every_error_is_documented(error: str) -> None:
    assert f"`{error}`" in DOCS
