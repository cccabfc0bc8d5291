"""What a run is, in words: lines at its start, and the README.md of its folder.

It knows configurations, data and results; it does not train. No names of people are in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcwise import __version__
from arcwise.data.loader import find_border
from arcwise.files import write_atomically
from arcwise.train.config import TrainConfig
from arcwise.train.learner import Learner
from arcwise.train.material import Material

_MEASURES = {
    "eer": ("equal error rate, strangers", "{:.2%}"),
    "tar": ("TAR at FAR 1e-2, strangers", "{:.2%}"),
    "n_genuine": ("genuine pairs", "{:,}"),
    "n_impostor": ("impostor pairs", "{:,}"),
    "accuracy": ("accuracy, new photos of known people", "{:.2%}"),
    "loss_with_margin": ("loss on them, with margin", "{:.4g}"),
    "loss_without_margin": ("loss on them, without margin", "{:.4g}"),
    "n_known": ("photos of known people", "{:,}"),
}


def describe_start(config: TrainConfig, material: Material, learner: Learner) -> list[str]:
    """What is going to happen, in lines for people."""
    split, crops = material.split, material.crops
    n_strangers = 0 if material.validation is None else material.validation.n_photos
    n_weights = sum(p.numel() for p in learner.network.parameters())
    border_px = find_border(crops.source.side_px, crops.size_px)
    ranks = learner.ranks
    lines = [
        f"crops of {crops.source.side_px} px: {crops.size_px} and a border of {border_px} on "
        "each side",
        f"{len(split.training)} photos of {material.n_people} people to learn from, "
        f"{n_strangers} to validate on; {len(split.left_out)} names left out "
        "(left_out.json)",
        f"{config.network.name}: {n_weights / 1e6:.2f} million parameters, "
        f"{config.network.dimension} dimensions, on {learner.device.type}"
        + (f", {ranks.size} ranks" if ranks.size > 1 else ""),
    ]
    if material.known is not None:
        lines.append(f"{material.known.n_photos} photos of known people are kept to validate on")
    if material.can_validate and material.measure != config.best_by:
        lines.append(f"the best is chosen by {material.measure}: {config.best_by} cannot be told")
    if material.validation is None and config.data.validation_share:
        lines.append("no strangers are validated on: too few people have two photos")
    return lines


def tell_score(score: Mapping[str, Any]) -> str:
    """What a validation found, for people."""
    words = []
    if score.get("eer") is not None:
        words.append(f"EER {score['eer']:.2%}")
    if score.get("tar") is not None:
        words.append(f"TAR at FAR 1e-2 {score['tar']:.2%}")
    if score.get("accuracy") is not None:
        words.append(
            f"known people: accuracy {score['accuracy']:.2%}, loss {score['loss_with_margin']:.3g} "
            f"with margin, {score['loss_without_margin']:.3g} without"
        )
    return ", ".join(words)


def write_story(
    folder: Path,
    config: TrainConfig,
    material: Material,
    *,
    done: int,
    best: Mapping[str, Any] | None,
) -> Path:
    """Write the README.md of a run.

    Args:
        folder: of the run.
        config: of the run.
        material: what it learns from.
        done: steps that are done.
        best: the best validation, or None.

    Returns:
        Its path.

    Raises:
        InputError: it cannot be written.
    """
    split, schedule = material.split, config.schedule
    rows = [
        ("people learned", f"{material.n_people:,}"),
        ("photos learned", f"{len(split.training):,}"),
        ("names left out", f"{len(split.left_out):,} (left_out.json)"),
        ("network", f"{config.network.name}, {config.network.dimension} dimensions"),
        ("loss", _tell_losses(config)),
        ("optimizer", f"{config.optimizer.name}, rate {config.optimizer.learning_rate:g}"),
        ("schedule", f"{schedule.epochs:g} epochs of batches of {schedule.batch_size}"),
        ("steps done", f"{done:,}, {done / material.sampler.steps_per_epoch:.2f} epochs"),
    ]
    parts = [
        f"# {folder.resolve().name}",
        f"A training run of arcwise {__version__}. `config.yaml` repeats it, `log.jsonl` has one "
        "line for each step, `environment.json` says what it ran on.",
        _format_table(("what", "value"), rows),
    ]
    if best is not None:
        found = [
            (name, form.format(best[key]))
            for key, (name, form) in _MEASURES.items()
            if best.get(key) is not None
        ]
        parts += [
            f"## Best validation, after epoch {best['epoch']:g}",
            _format_table(("measure", "value"), found),
            "The photos these numbers come from chose the checkpoint, so they are a little better "
            "than on photos nobody has looked at; `arcwise evaluate` measures on others.",
        ]
    parts += [
        "![Curves](curves.png)",
        "## What next",
        "```bash\narcwise export . --out model.onnx --license 'all rights reserved'\n```",
        "The checkpoints hold what a network learned of the people in the photos: keep them as "
        "private as the photos.",
    ]
    text = "\n\n".join(parts) + "\n"
    return write_atomically(folder / "README.md", text.encode(errors="backslashreplace"))


def _tell_losses(config: TrainConfig) -> str:
    """What the loss is the sum of, with the weights where there are several."""
    head, triplet, distill = config.head, config.triplet, config.distill
    margin = "its default" if head.margin is None else f"{head.margin}"
    told = [(f"{head.loss}, margin {margin}, scale {head.scale}", head.weight)]
    if triplet is not None:
        told.append((f"triplet, margin {triplet.margin:g}, {triplet.mining}", triplet.weight))
    if distill is not None:
        told += [("cosine to targets", distill.cosine), ("relational", distill.relational)]
    parts = [(name, weight) for name, weight in told if weight]
    if len(parts) == 1:
        return parts[0][0]
    return "; ".join(f"{weight:g} x {name}" for name, weight in parts)


def _format_table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(lines)
