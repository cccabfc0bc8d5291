"""The notebooks: small and clean in the repository, and every cell runs, offline."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("recognize", "train_and_evaluate")


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of its own; nothing of Jupyter's is read from or left with the user."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    folder = tmp_path / "lab"
    folder.mkdir()
    return folder


def execute(name: str, lab: Path, *, timeout_s: int) -> str:
    """Run every cell; one that fails is an error. What they show, as one text."""
    book = read(name)
    client = NotebookClient(book, timeout=timeout_s, resources={"metadata": {"path": str(lab)}})
    client.execute()
    shown = []
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            shown.append(output.get("text") or data.get("text/markdown") or data.get("text/plain"))
    return "\n".join(shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    book = read(name)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in book.cells]
    assert all(re.fullmatch("[a-z-]+", word) for word in ids), "ids are words, not chance"
    for cell in book.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


@pytest.mark.slow
def test_the_first_notebook_names_both_people_and_forgets_one(lab: Path) -> None:
    shown = execute("recognize", lab, timeout_s=120)
    named = re.findall(r"^\| (\S+?),? .*\| (Grace Hopper|Eileen Collins|unknown) \|", shown, re.M)
    assert named == [
        ("Hopper", "Grace Hopper"),
        ("Hopper", "Grace Hopper"),
        ("Collins", "Eileen Collins"),
        ("Collins", "Eileen Collins"),
        ("both", "Grace Hopper"),
        ("both", "Eileen Collins"),
    ]
    assert "unknown: the nearest person, Grace Hopper" in shown.partition("['Grace Hopper']")[2]
    assert list(lab.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_second_notebook_learns_to_tell_strangers_apart(lab: Path) -> None:
    shown = execute("train_and_evaluate", lab, timeout_s=500)
    found = re.findall(r"^\| (pixels|trained) \| ([\d.]+)% .*\| ([\d.]+) \|$", shown, re.M)
    accuracy = {what: float(percent) for what, percent, _ in found}
    area = {what: float(share) for what, _, share in found}
    assert accuracy["trained"] > 75, "guessing is right in 50 %"
    assert area["trained"] > area["pixels"]
    assert list(lab.iterdir()) == []
