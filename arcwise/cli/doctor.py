"""`arcwise doctor`: what runs here, which models there are, where files live, how to erase them."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from arcwise import __version__
from arcwise.cli.options import JsonOption, ProviderOption, StrictOption, build_settings
from arcwise.cli.show import count, make_printable, print_json
from arcwise.errors import ArcwiseError, InputError, SettingsError, UnknownModelError
from arcwise.files import translate_os_errors
from arcwise.settings import Provider, Settings

if TYPE_CHECKING:
    from arcwise.zoo.registry import Model, Shelf

Result = TypeVar("Result")
_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "onnx", "sqlalchemy", "mtcnn")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, what was found, and whether it is fine."""

    what: str
    found: str
    is_fine: bool = True
    hint: str = ""


def doctor(
    provider: ProviderOption = None, strict: StrictOption = False, as_json: JsonOption = False
) -> None:
    """Check the installation: hardware, runtime, models, folders; try one face."""
    findings = []
    try:
        settings = build_settings(provider=provider, strict=strict)
    except SettingsError as exc:
        findings.append(_report_settings(exc))
        settings = _default_settings(provider, strict)
    findings += [
        *_look_at_software(),
        *_look_at_runtime(settings),
        *_look_at_models(settings),
        *_look_at_files(settings),
        *_try_one_face(settings),
    ]
    is_fine = all(finding.is_fine for finding in findings)
    if as_json:
        print_json({"is_fine": is_fine, "findings": [_to_plain(f) for f in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            mark = " " if finding.is_fine else "!"
            typer.echo(f"{mark} {finding.what:<{width}}  {make_printable(finding.found)}")
            if finding.hint:
                typer.echo(f"  {'':<{width}}  try: {finding.hint}")
    if not is_fine:
        raise typer.Exit(4)


def _report_settings(error: SettingsError) -> Finding:
    text = f"{error}; what follows is looked at with the default settings"
    return Finding("settings", text, False, error.hint)


def _default_settings(provider: Provider | None, strict: bool) -> Settings:
    return replace(Settings.from_environment({}), provider=provider or "auto", strict=strict)


def _to_plain(finding: Finding) -> dict[str, Any]:
    return {
        "what": finding.what,
        "found": finding.found,
        "is_fine": finding.is_fine,
        "hint": finding.hint,
    }


def _version_of(distribution: str) -> str | None:
    from importlib import metadata  # 60 ms that `arcwise --help` need not pay

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _look_at_software() -> list[Finding]:
    versions = ((name, _version_of(name)) for name in _LIBRARIES)
    listed = ", ".join(f"{name} {version}" for name, version in versions if version)
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return [
        Finding("arcwise", f"{__version__}, {system}"),
        Finding("hardware", f"{os.cpu_count()} processors; {_find_gpu()}"),
        Finding("libraries", listed),
    ]


def _find_gpu() -> str:
    """The GPUs that NVIDIA's driver sees, whether or not the runtime can use them."""
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "no NVIDIA GPU"
    return ", ".join(done.stdout.split("\n")).strip(", ") or "no NVIDIA GPU"


def _look_at_runtime(settings: Settings) -> list[Finding]:
    from arcwise.session import available_providers, choose_provider

    installed = [name for name in _RUNTIMES if _version_of(name)]
    findings = []
    if len(installed) > 1:
        findings.append(
            Finding(
                "runtime clash",
                f"{' and '.join(installed)} overwrite each other's files",
                False,
                f"pip uninstall -y {' '.join(installed)}, then pip install one of them",
            )
        )
    try:
        there = available_providers()
        choice = choose_provider(settings.provider, strict=settings.strict)
    except ArcwiseError as exc:
        return [*findings, Finding("runtime", str(exc), False, exc.hint)]
    versions = ", ".join(f"{name} {_version_of(name)}" for name in installed)
    findings.append(Finding("runtime", f"{versions}; can run on {', '.join(there)}"))
    findings.append(Finding("provider", f"{choice.provider} ({choice.why})"))
    return findings


def _look_at_models(settings: Settings) -> list[Finding]:
    from arcwise.zoo.registry import survey_models

    shelf = survey_models(settings)
    return [
        *(_look_at_model(model) for model in shelf.models),
        *(
            Finding(f"card {fault.name}", str(fault.error), False, fault.error.hint)
            for fault in shelf.faults
        ),
        _look_at_default(settings, shelf),
    ]


def _look_at_model(model: Model) -> Finding:
    card = model.card
    try:
        model.verify()
    except ArcwiseError as exc:
        return Finding(f"model {card.name}", str(exc), False, exc.hint)
    allowed = {True: "yes", False: "no", None: "unknown"}[card.license.commercial_use]
    text = f"{model.origin}, {card.grade}, {card.license.name} (commercial use: {allowed})"
    return Finding(f"model {card.name}", text)


def _look_at_default(settings: Settings, shelf: Shelf) -> Finding:
    from arcwise.zoo.registry import default_model

    try:
        chosen = default_model(settings)
    except ArcwiseError as exc:
        # None, or several and no choice, is how many people work; a wish that fails is a fault
        is_fine = not settings.model and not shelf.faults
        return Finding("default model", str(exc), is_fine, exc.hint)
    return Finding("default model", f"{chosen.model.card.name} ({chosen.why})")


def _look_at_files(settings: Settings) -> list[Finding]:
    folders = [_look_at_folder("home", settings.home, "ARCWISE_HOME")]
    if folders[0].is_fine:
        folders.append(_look_at_folder("models folder", settings.models_dir, "ARCWISE_HOME"))
    if _outside(settings):
        place = settings.gallery.parent
        folders.append(_look_at_folder("gallery folder", place, "ARCWISE_GALLERY"))
    return [
        *folders,
        *_look_at_gallery(settings.gallery),
        Finding("to erase a person", "arcwise forget NAME"),
        Finding("to erase everything", f"delete {settings.home}" + _outside(settings)),
    ]


def _look_at_folder(what: str, folder: Path, variable: str) -> Finding:
    try:
        with translate_os_errors(folder, doing="look at"):
            standing = next(place for place in (folder, *folder.parents) if place.exists())
            is_folder = standing.is_dir()
    except InputError as exc:
        return Finding(what, str(exc), False, exc.hint)
    if not is_folder:
        hint = f"set {variable} to another place, or move the file away"
        return Finding(what, f"{folder}: {standing} is a file, not a folder", False, hint)
    if not os.access(standing, os.W_OK | os.X_OK):
        hint = f"change its permissions, or set {variable} to a place of yours"
        return Finding(what, f"{folder}: {standing} cannot be written", False, hint)
    return Finding(what, str(folder) if standing == folder else f"{folder} (not made yet)")


def _look_at_gallery(path: Path) -> list[Finding]:
    """Open the gallery as commands do, but never make one; and say who else can read it."""
    from arcwise.store import SQLStore

    try:
        with translate_os_errors(path, doing="look at"):
            state = path.stat() if path.exists() else None
        if state is None or (stat.S_ISREG(state.st_mode) and not state.st_size):
            return [Finding("gallery", f"{path} (not made yet)")]
        with closing(SQLStore.open(path, create=False)) as store:
            store.check()
            n_people, stamp = len(store.people()), store.stamp()
    except ArcwiseError as exc:
        return [Finding("gallery", str(exc), False, exc.hint)]
    filled = f"filled by {stamp.model_name}" if stamp else "filled by no model yet"
    size = f"{state.st_size / 1e6:.1f} MB"
    people = count(n_people, "person", "people")
    findings = [Finding("gallery", f"{path} ({size}, {people}, {filled})")]
    mode = stat.S_IMODE(state.st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"others may read or write {path} (mode {mode:04o}); it holds biometric data"
        findings.append(Finding("gallery access", text, False, f"chmod 600 {path}"))
    return findings


def _outside(settings: Settings) -> str:
    if settings.gallery.is_relative_to(settings.home):
        return ""
    return f" and {settings.gallery}"


def _try_one_face(settings: Settings) -> list[Finding]:
    from arcwise.recognizer import Recognizer
    from arcwise.testing import draw_photo

    image = draw_photo([7]).image
    height, width = image.shape[:2]
    recognizer = Recognizer(settings=settings)
    try:
        recognizer.detect(image)  # the first run prepares the networks
        faces, spent_ms = _time(lambda: recognizer.detect(image))
        really = getattr(recognizer.detector, "provider", "unknown")
    except ArcwiseError as exc:
        return [Finding("detection", str(exc), False, exc.hint)]
    text = f"{len(faces)} of 1 drawn face found in {width}x{height} px, {spent_ms:.0f} ms, {really}"
    findings = [Finding("detection", text, len(faces) == 1)]
    if not faces:
        return findings
    try:
        size_px = recognizer.embedder.crop_size_px
        crops = recognizer.align(image, size_px=size_px)
        recognizer.embedder.embed(crops)
        embedding, spent_ms = _time(lambda: recognizer.embedder.embed(crops))
        really = getattr(recognizer.embedder, "provider", "unknown")
    except UnknownModelError:
        return findings  # there is nothing to try: "default model" says why
    except ArcwiseError as exc:
        return [*findings, Finding("embedding", str(exc), False, exc.hint)]
    text = f"{recognizer.embedder.name}: {embedding.vectors.shape[1]} dimensions"
    return [*findings, Finding("embedding", f"{text}, {spent_ms:.0f} ms, {really}")]


def _time(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1000
