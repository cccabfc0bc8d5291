"""`make demo`: the first thing a stranger runs, with the model that comes with arcwise."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest

from arcwise.cli.run import run
from arcwise.gallery import Gallery
from arcwise.image import read_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty current folder, in which nobody has set anything."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("ARCWISE_")]:
            patch.delenv(key)
        patch.setenv("ARCWISE_HOME", str(folder / "home"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def screen(demo: ModuleType, place: Path) -> str:
    """What the demo prints."""
    return show(demo)


def show(demo: ModuleType) -> str:
    text = io.StringIO()
    with redirect_stdout(text):
        demo.main()
    return text.getvalue()


def open_gallery(place: Path) -> Gallery:
    recognizer = Recognizer(settings=Settings.from_environment({"ARCWISE_HOME": str(place)}))
    return Gallery(place / "demo-output" / "people.db", recognizer=recognizer, create=False)


def test_every_answer_is_right(screen: str) -> None:
    people = ("Grace Hopper  ", "Eileen Collins  ")
    rows = [line for line in screen.splitlines() if line.startswith(people)]
    assert len(rows) == 12
    assert sum("unknown" in row for row in rows) == 6, "whoever is not enrolled is unknown"
    assert "24 of 24 answers are right" in screen


def test_it_says_what_it_does_not_show(screen: str) -> None:
    assert "altered copies" in screen
    assert "not new photos" in screen
    assert "demo grade" in screen


def test_it_leaves_a_gallery_of_both_and_the_pictures(screen: str, place: Path) -> None:
    assert {path.name for path in (place / "demo-output").iterdir()} == {
        "named.png",
        "people.db",
        "together.png",
    }
    assert min(read_image(place / "demo-output" / "named.png").shape[:2]) > 1000
    with open_gallery(place) as gallery:
        people = {person.name: person.n_templates for person in gallery.people()}
    assert people == {"Eileen Collins": 1, "Grace Hopper": 1}


def test_the_user_keeps_what_is_theirs(screen: str, place: Path) -> None:
    assert not (place / "home").exists()


def test_it_starts_afresh_each_time(demo: ModuleType, screen: str, place: Path) -> None:
    again = show(demo)
    drop_time = re.compile(r" in \d+ s:")
    assert drop_time.sub("", again) == drop_time.sub("", screen)
    with open_gallery(place) as gallery:
        assert [person.n_templates for person in gallery.people()] == [1, 1]


def test_the_commands_it_names_work(
    screen: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    lines = [line for line in screen.splitlines() if "--gallery" in line]
    commands = [shlex.split(line.partition("arcwise ")[2]) for line in lines]
    assert [words[0] for words in commands] == ["identify", "forget"]
    for words in commands:
        assert run(words) == 0
    told = capsys.readouterr().out
    assert "Grace Hopper" in told
    assert "forgot Eileen Collins" in told


@pytest.mark.fault
def test_ctrl_c_ends_it_in_one_line(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", str(DEMO)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "offline" not in process.stdout.readline():
        assert process.poll() is None, "it ended before it began"
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint.split()) == (130, ["interrupted"])
