"""The same data and seeds learned several times: with other losses, or with fewer people.

Each run is an ordinary run in a folder of its own below the given one, and goes on where it was
cut off; what comes out is one table and one picture. It does not know how a run learns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcwise.errors import SettingsError
from arcwise.files import write_atomically
from arcwise.nn.losses import LOSSES
from arcwise.train.config import TrainConfig
from arcwise.train.curves import draw_comparison, draw_points
from arcwise.train.log import RunLog
from arcwise.train.loop import train

TRIPLET = "triplet"
_MEASURES = {
    "training_accuracy": "training accuracy",
    "accuracy": "accuracy, known people",
    "eer": "EER, strangers",
    "tar": "TAR at FAR 1e-2, strangers",
}
_LAST_STEPS = 50  # whose mean is the training accuracy


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the things that are compared, with what each of its rounds found.

    Attributes:
        name: of it.
        people: learned.
        rounds: measures of each seed, by name; None for what cannot be said.
        seconds: of all rounds together, in this call.
    """

    name: str
    people: int
    rounds: Sequence[Mapping[str, float | None]]
    seconds: float

    def mean(self, measure: str) -> float | None:
        """Over all rounds that know it."""
        known = [found[measure] for found in self.rounds]
        values = [value for value in known if value is not None]
        return statistics.fmean(values) if values else None

    def spread(self, measure: str) -> float:
        """Standard deviation over rounds; 0 of one."""
        known = [found[measure] for found in self.rounds]
        values = [value for value in known if value is not None]
        return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out.

    Attributes:
        folder: with comparison.md, comparison.json and, where a measure is known, comparison.png.
        variants: in the order they were asked for.
        is_complete: whether all runs reached their end.
    """

    folder: Path
    variants: Sequence[Variant]
    is_complete: bool

    def rows(self) -> list[list[str]]:
        """A table for people: name, people and the measures that are known."""
        return [
            [v.name, f"{v.people:,}", *(_format(v, measure) for measure in self.measures)]
            for v in self.variants
        ]

    @property
    def measures(self) -> list[str]:
        """Those that any variant knows."""
        return [m for m in _MEASURES if any(v.mean(m) is not None for v in self.variants)]

    @property
    def head(self) -> list[str]:
        """The first line of the table."""
        return ["", "people", *(_MEASURES[measure] for measure in self.measures)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "is_complete": self.is_complete,
            "variants": [
                {
                    "name": v.name,
                    "people": v.people,
                    "rounds": [dict(found) for found in v.rounds],
                    "mean": {m: v.mean(m) for m in _MEASURES},
                    "seconds": round(v.seconds, 1),
                }
                for v in self.variants
            ],
        }


Report = Callable[[str], None]


def compare_losses(
    config: TrainConfig,
    losses: Sequence[str],
    *,
    n_rounds: int = 1,
    report: Report = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Train once with each loss, all else being equal.

    Args:
        config: of the runs; its `run` is the folder of the comparison. Where a loss has another
            than the configured one, its margin and options are its defaults.
        losses: names of `LOSSES`, or "triplet" for a triplet loss alone (P x K batches); with a
            margin after a colon, such as "arcface:0.3".
        n_rounds: each with a seed of its own, of which the table shows mean and deviation.
        report: gets one line of text at a time, for people.
        should_stop: as in `train`.

    Raises:
        SettingsError: an unknown loss, one twice, or nothing to compare.
        LearningError, DatasetError, InputError: as `train`.
    """
    variants = {name: _with_loss(config, name) for name in losses}
    if len(variants) < len(losses):
        raise SettingsError(f"a loss is named twice: {', '.join(losses)}")
    return _compare(config.run, variants, n_rounds, report, should_stop)


def compare_scales(
    config: TrainConfig,
    n_people: Sequence[int],
    *,
    n_rounds: int = 1,
    report: Report = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Train with growing numbers of people, all else being equal; each contains the one before.

    Args:
        config: of the runs; its `run` is the folder of the comparison.
        n_people: numbers of people to learn, at least 2 each.
        n_rounds: each with a seed of its own, which also draws other people.
        report: gets one line of text at a time, for people.
        should_stop: as in `train`.

    Raises:
        SettingsError: a number below 2, or nothing to compare.
        LearningError, DatasetError, InputError: as `train`.
    """
    variants = {}
    for number in sorted(set(n_people)):
        values = config.to_dict()
        values["data"]["most_people"] = number
        variants[f"{number} people"] = values
    comparison = _compare(config.run, variants, n_rounds, report, should_stop)
    points = {
        _MEASURES[m]: [
            (v.people, 100 * mean) for v in comparison.variants if (mean := v.mean(m)) is not None
        ]
        for m in comparison.measures
    }
    if comparison.variants:
        draw_points(points, config.run / "scaling.png", x_label="people learned", y_label="%")
    return comparison


def _with_loss(config: TrainConfig, name: str) -> dict[str, Any]:
    loss, colon, margin = name.partition(":")
    if loss not in {*LOSSES, TRIPLET}:
        raise SettingsError(
            f"no loss of the name {loss!r}", hint=f"there are {', '.join([*LOSSES, TRIPLET])}"
        )
    values = config.to_dict()
    head = values["head"]
    if colon or loss != head["loss"]:
        try:
            number = float(margin) if colon else None
        except ValueError as exc:
            raise SettingsError(
                f"{name!r} has no number after the colon", hint="such as arcface:0.3"
            ) from exc
        if loss == TRIPLET:
            section = {"margin": number} if number is not None else {}
            values["triplet"] = (values["triplet"] or {}) | section
            values["data"]["sampler"] = "pk"
            values["best_by"] = "eer"  # the head, which knows the people, learns nothing
            head |= {"weight": 0.0, "start": "random"}
        else:
            options = head["options"] if loss == head["loss"] else {}
            head |= {"loss": loss, "margin": number, "options": options}
            if loss == "softmax":  # whose centers have no direction to start from
                head["start"] = "random"
    if loss != TRIPLET:
        head["weight"] = head["weight"] or 1.0  # of a recipe for a triplet loss alone
    return values


def _compare(
    folder: Path,
    variants: Mapping[str, dict[str, Any]],
    n_rounds: int,
    report: Report,
    should_stop: Callable[[], bool],
) -> Comparison:
    if not variants or n_rounds < 1:
        raise SettingsError(
            f"{len(variants)} runs of {n_rounds} rounds each are nothing to compare",
            hint="give at least one loss or number of people, and one round",
        )
    configs = list(_list_configs(folder, variants, n_rounds))  # all are checked before the first
    found: list[Variant] = []
    is_complete = True
    for name, wanted in configs:
        rounds, people, began = [], 0, time.monotonic()
        for config in wanted:
            if not is_complete:
                break
            report(f"== {name}, seed {config.seed}: {config.run}")
            result = train(config, report=report, should_stop=should_stop)
            is_complete = result.is_complete
            best = None if result.best is None else _keep_known(config, result.best)
            rounds.append(_measure(_read_log(config), best))
            people = result.n_people
        if rounds:
            found.append(Variant(name, people, rounds, time.monotonic() - began))
    comparison = Comparison(folder, found, is_complete)
    _write(comparison, {name: _read_log(wanted[0]) for name, wanted in configs})
    return comparison


def _list_configs(
    folder: Path, variants: Mapping[str, dict[str, Any]], n_rounds: int
) -> Iterator[tuple[str, list[TrainConfig]]]:
    for name, values in variants.items():
        place = folder / name.replace(":", "_").replace(" ", "_")
        rounds = []
        for number in range(n_rounds):
            seed = values["seed"] + number
            run = place if n_rounds == 1 else place / f"seed_{seed}"
            rounds.append(TrainConfig.from_dict(values | {"seed": seed, "run": str(run)}))
        yield name, rounds


def _read_log(config: TrainConfig) -> list[Mapping[str, Any]]:
    return [_keep_known(config, entry) for entry in RunLog(config.run).read()]


def _keep_known(config: TrainConfig, found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the accuracy by centers that did not learn, of a triplet loss alone."""
    if config.head.weight:
        return found
    return {name: value for name, value in found.items() if name != "accuracy"}


def _measure(
    entries: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None
) -> dict[str, float | None]:
    steps = [entry["accuracy"] for entry in entries if entry.get("accuracy") is not None]
    found: dict[str, float | None] = dict.fromkeys(_MEASURES)
    if steps:
        found["training_accuracy"] = statistics.fmean(steps[-_LAST_STEPS:])
    return found | {m: best[m] for m in _MEASURES if best is not None and m in best}


def _format(variant: Variant, measure: str) -> str:
    mean = variant.mean(measure)
    if mean is None:
        return ""
    spread = f" ± {variant.spread(measure):.2%}" if len(variant.rounds) > 1 else ""
    return f"{mean:.2%}{spread}"


def _write(comparison: Comparison, logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    lines = [comparison.head, ["---"] * len(comparison.head), *comparison.rows()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    n_rounds = max((len(v.rounds) for v in comparison.variants), default=0)
    text = (
        "# Comparison\n\nThe same data, schedule and seeds; each run is in its own folder here. "
        f"{n_rounds} round(s) each. Differences of the size of the deviation between seeds mean "
        f"nothing.\n\n{table}\n"
    )
    text += "\n![Curves](comparison.png)\n" if comparison.measures else ""
    folder = comparison.folder
    write_atomically(folder / "comparison.md", text.encode())
    content = json.dumps(comparison.to_dict(), indent=2) + "\n"
    write_atomically(folder / "comparison.json", content.encode())
    if comparison.measures:
        known = {name: entries for name, entries in logs.items() if entries}
        draw_comparison(known, folder / "comparison.png")
