"""What a run says: one JSON line for each step, one line for people now and then.

It does not know losses or networks; it writes the numbers it is given. A step is {"step", "epoch",
"loss", a name of `PARTS`…, "learning_rate", "images_per_s"}, a validation {"step", "epoch",
"validation": {measure: value}}; whatever else is in an entry is kept. Logs hold numbers and words,
never images, vectors or names of people. train/curves.py draws them.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcwise import __version__
from arcwise.errors import LearningError
from arcwise.files import read_bytes, translate_os_errors, write_atomically
from arcwise.nn.losses import LOSSES

Entry = Mapping[str, Any]

PARTS = (*LOSSES, "triplet", "cosine", "relational")
"""What the loss is the weighted sum of, by the name of the key."""

_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")


class RunLog:
    """The file log.jsonl of a run, to which lines are only ever added, or cut off its end.

    Call `resume_at` before the first `append` where the file may be there already.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / "log.jsonl"

    def append(self, entry: Entry) -> None:
        """Add one line. What is not finite becomes null.

        Args:
            entry: with a "step"; numbers, words, None, and mappings of them.

        Raises:
            LearningError: no step, or a value of another kind, such as a list.
            InputError: it cannot be written.
        """
        if not isinstance(entry.get("step"), int):
            raise LearningError(f"a line of the log needs a step, got {entry.get('step')!r}")
        line = json.dumps(_clean(entry), ensure_ascii=False, allow_nan=False) + "\n"
        with translate_os_errors(self.path, doing="write"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line.encode(errors="backslashreplace"))

    def sync(self) -> None:
        """Hand all lines to the disk, which a checkpoint of the same step is about to reach.

        Raises:
            InputError: it cannot be written.
        """
        if self.path.exists():
            with translate_os_errors(self.path, doing="write"), self.path.open("ab") as file:
                os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All lines; a last one that a crash cut off is left out, a missing file has none.

        Raises:
            LearningError: another line is broken.
            InputError: the file cannot be read.
        """
        if not self.path.exists():
            return []
        entries = []
        lines = read_bytes(self.path).splitlines()
        for number, line in enumerate(lines, start=1):
            entry = _parse(line)
            if entry is not None:
                entries.append(entry)
            elif number < len(lines):
                raise LearningError(
                    f"line {number} of {self.path} is no entry of a log",
                    hint="delete that line; the training itself does not need the log",
                )
        return entries

    def resume_at(self, step: int) -> list[dict[str, Any]]:
        """Cut off every line of a later step, atomically, so that the run can write them again.

        Args:
            step: of the checkpoint that is gone on from; 0 for a new run.

        Returns:
            The lines that are left.

        Raises:
            LearningError, InputError: as `read`; or the file cannot be written.
        """
        kept = [entry for entry in self.read() if entry["step"] <= step]
        if self.path.exists():
            lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
            write_atomically(self.path, "".join(lines).encode(errors="backslashreplace"))
        return kept


def format_line(entry: Entry) -> str:
    """One line for people, of a step or a validation; what is not there is left out."""
    words = [f"epoch {entry['epoch']:.2f}"] if "epoch" in entry else []
    words.append(f"step {entry['step']}")
    if "loss" in entry:
        parts = ", ".join(f"{name} {_short(entry[name])}" for name in PARTS if name in entry)
        words.append(f"loss {_short(entry['loss'])}" + (f" ({parts})" if parts else ""))
    measures = entry.get("validation") or {}
    words += [f"{name} {_short(value)}" for name, value in measures.items() if value is not None]
    for key, form in _TAIL.items():
        if entry.get(key) is not None:
            words.append(form(entry[key]))
    return "  ".join(words)


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """What a run depends on besides its config. No names of hosts, users or folders.

    Args:
        device: that it learns on.

    Returns:
        Versions by library, and the processor as torch sees it.
    """
    return {
        "arcwise": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cv2": _version_of(_OPENCV),
        "system": platform.system(),
        "machine": platform.machine(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda or "none",
    }


def _version_of(distributions: Iterable[str]) -> str:
    """The version of the first of some distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise LearningError(
        f"a log holds numbers and words, got {type(value).__name__}",
        hint="log the mean, never images, embeddings or lists",
    )


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_entry = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    return entry if is_entry else None


def _short(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if round(seconds) < 60:
        return f"{seconds:.0f} s left"
    if minutes < 60:
        return f"{minutes} min left"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min left"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24:02d} h left"


_TAIL: dict[str, Callable[[float], str]] = {
    "learning_rate": lambda value: f"lr {value:.3g}",
    "images_per_s": lambda value: f"{value:.0f} img/s",
    "remaining_s": _format_duration,
}
