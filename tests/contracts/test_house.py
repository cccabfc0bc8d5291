"""The rules of the house: layers, owners of libraries, sizes, names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from tests.contracts.source import ROOT, Module, imported_names, read_modules

MODULES = read_modules()
OWNERS = {
    "torch": ("nn/", "train/", "data/loader.py", "data/sampler.py", "invert.py", "export.py"),
    "onnxruntime": ("session.py", "quantize.py"),
    "onnx": ("zoo/", "detect/", "convert/", "rewrite.py", "export.py", "quantize.py"),
    "cv2": (
        "image.py",
        "encode.py",
        "plain.py",
        "pyramid.py",
        "distort.py",
        "draw.py",
        "live/capture.py",
    ),
    "PIL": ("image.py", "decode.py", "draw.py"),
    "sqlalchemy": ("store/",),
    "alembic": ("store/",),
    "fastapi": ("server/",),
    "matplotlib": ("evaluate/report/drawing.py", "train/curves.py"),
    "jinja2": ("evaluate/report/page.py",),
    "pyarrow": ("evaluate/vectors/parquet.py",),
    "sklearn": (
        "evaluate/identification/baseline.py",
        "evaluate/calibrate/probability.py",
        "evaluate/tsne.py",
    ),
    "scipy": ("evaluate/sets/agedb.py", "evaluate/clusters/linkage.py"),
    "sqlite3": ("store/", "evaluate/vectors/cache.py"),
    "joblib": ("detect/networks.py",),
    "platformdirs": ("settings.py",),
    "yaml": ("train/recipe.py",),
    "safetensors": ("train/checkpoint.py", "train/shards.py", "nn/weights.py"),
    "tensorboard": ("train/board.py",),
    "wandb": ("train/board.py",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "mtcnn": (),
    "pickle": ("evaluate/sets/packs.py",),
    "tensorflow": (),
    "mxnet": (),
}
FORBIDDEN_FILES = {"utils", "common", "core", "base", "helpers", "misc", "new", "v2"}


def test_imports_go_down_only_and_never_in_circles() -> None:
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owners_only(library: str) -> None:
    strangers = [
        module.place
        for module in MODULES
        for _, name in imported_names(module.tree)
        if name.split(".")[0] == library and not module.place.startswith(OWNERS[library])
    ]
    assert strangers == []


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module.place
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
    }
    assert readers == {"settings.py"}


def test_functions_import_in_the_command_line_only() -> None:
    inside = {
        module.place
        for module in MODULES
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for _ in imported_names(function)
    }
    assert {place for place in inside if not place.startswith("cli/")} == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.place)
def test_a_file_has_at_most_400_lines(module: Module) -> None:
    assert module.text.count("\n") <= 400


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.place)
def test_a_function_has_at_most_60_lines_without_its_docstring(module: Module) -> None:
    long = {}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        n_lines = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            n_lines -= text.end_lineno - text.lineno + 1
        if n_lines > 60:
            long[node.name] = n_lines
    assert long == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.place)
def test_a_module_says_what_it_does(module: Module) -> None:
    if module.place != "store/migrations/env.py":
        assert ast.get_docstring(module.tree)


def test_files_are_called_by_one_telling_word() -> None:
    names = {PurePosixPath(module.place).stem for module in MODULES}
    assert names & FORBIDDEN_FILES == set()


def test_the_word_distance_is_left_to_foreign_systems() -> None:
    users = [
        module.place
        for module in MODULES
        if "distance" in module.text.lower() and not module.place.startswith("compat/")
    ]
    assert users == []


def test_nothing_is_swallowed() -> None:
    """No `except Exception` that goes on as if nothing had happened."""
    swallowing = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.id if isinstance(node.type, ast.Name) else None
            is_broad = node.type is None or caught in {"Exception", "BaseException"}
            if is_broad and not any(isinstance(part, ast.Raise) for part in ast.walk(node)):
                swallowing.append(f"{module.place}:{node.lineno}")
    assert swallowing == []
