"""One run and its folder: when to log, validate and save, and how to go on after a break.

It does not know what a step does; the learner does. RUN/ holds config.yaml, environment.json,
left_out.json, log.jsonl, curves.png and checkpoints/{last,best}.safetensors.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from arcwise.data.loader import Batch
from arcwise.errors import CheckpointError, LearningError
from arcwise.files import translate_os_errors, write_atomically
from arcwise.train.checkpoint import (
    Checkpoint,
    flatten_optimizer,
    load_checkpoint,
    restore,
    restore_optimizer,
    save_checkpoint,
)
from arcwise.train.config import FREE_ON_RESUME, TrainConfig, differences
from arcwise.train.learner import Learner
from arcwise.train.log import RunLog, describe_environment, format_line
from arcwise.train.material import Material
from arcwise.train.schedule import learning_rate_at, margin_strength_at
from arcwise.train.validate import embed_crops
from arcwise.train.whiten import fold_map, whitening_map

LAST, BEST = "checkpoints/last.safetensors", "checkpoints/best.safetensors"
WHITENED = "checkpoints/whitened.safetensors"


class Run:
    """A training run in its folder.

    Attributes:
        n_steps: of the whole run.
        best: the best validation and its step, or None.

    Args:
        config: what is asked for.
        material: what is learned from.
        learner: what learns.
    """

    def __init__(self, config: TrainConfig, material: Material, learner: Learner) -> None:
        self.folder = config.run
        self._config = config
        self._material = material
        self._learner = learner
        self._log = RunLog(config.run)
        per_epoch = material.sampler.steps_per_epoch
        self._steps_per_epoch = per_epoch
        self.n_steps = max(1, round(config.schedule.epochs * per_epoch))
        self._warmup_steps = min(self.n_steps, round(config.schedule.warmup_epochs * per_epoch))
        self._margin_steps = round(config.head.margin_warmup_epochs * per_epoch)
        self._log_every = config.log_every_steps
        # A checkpoint is written with a line of the log, when no sum of it is pending.
        self._save_every = math.ceil(config.save_every_steps / self._log_every) * self._log_every
        self._validate_every = max(1, round(config.validate_every_epochs * per_epoch))
        self.best: dict[str, Any] | None = None
        self._validation: dict[str, Any] | None = None
        self._sums: dict[str, float] = defaultdict(float)
        self._n_summed = 0
        self._since = time.monotonic()
        n_photos, dimension = len(material.split.training), config.network.dimension
        if config.whiten and n_photos < dimension:
            raise LearningError(
                f"whiten needs at least {dimension} training photos, as many as dimensions; "
                f"there are {n_photos}",
                hint="set whiten=0, or a smaller network.dimension",
            )

    @property
    def done(self) -> int:
        """Steps that are done."""
        return self._learner.n_steps

    @property
    def epoch(self) -> float:
        """Epochs that are done."""
        return self.done / self._steps_per_epoch

    @property
    def is_time_to_log(self) -> bool:
        """Whether the step just done ends a line of the log."""
        return self.done % self._log_every == 0 or self.done == self.n_steps

    @property
    def is_time_to_validate(self) -> bool:
        """Whether to validate after the step just done."""
        is_due = self.done % self._validate_every == 0 or self.done == self.n_steps
        return self._material.validation is not None and is_due

    @property
    def is_time_to_save(self) -> bool:
        """Whether to write a checkpoint after the step just done."""
        return self.done % self._save_every == 0 or self.done == self.n_steps

    def begin(self) -> None:
        """Take up the last checkpoint, or write down what a new run is made of.

        Raises:
            CheckpointError: the folder holds a run of another configuration or of other people.
            InputError: it cannot be read or written.
        """
        self._remove_leftovers()
        path = self.folder / LAST
        if path.exists():
            self._restore(load_checkpoint(path), path)
        elif self._config.network.weights is not None:
            self._learner.start_from(self._config.network.weights)
        self._log.resume_at(self.done)
        if not self.done:
            self._write_json("environment.json", describe_environment())
        self._write_json("left_out.json", self._material.split.left_out)
        write_atomically(self.folder / "config.yaml", self._config.to_yaml().encode())

    def _remove_leftovers(self) -> None:
        """What a run that was killed, or another run before it, left and nobody may take up."""
        stale = [*(self.folder / "checkpoints").glob(".*.part"), self.folder / "not_finite.json"]
        if not (self.folder / LAST).exists():
            stale += [self.folder / BEST, self.folder / WHITENED]
        with translate_os_errors(self.folder, doing="write"):
            for path in stale:
                path.unlink(missing_ok=True)

    def _restore(self, found: Checkpoint, path: Path) -> None:
        changed = [
            change
            for change in differences(TrainConfig.from_dict(found.config), self._config)
            if change.key not in FREE_ON_RESUME
        ]
        if changed:
            raise CheckpointError(
                f"{self.folder} holds a run with other settings: "
                + "; ".join(f"{c.key} {c.old!r}, now {c.new!r}" for c in changed),
                hint="choose another folder (run=...), or the same settings to go on with it",
            )
        if found.people_digest != self._material.people_digest:
            raise CheckpointError(
                f"{self.folder} holds a run that learned other people or photos "
                f"({found.n_identities} people then, {self._material.n_people} now)",
                hint="choose another folder (run=...), or give back the photos of that run",
            )
        origin, learner = str(path), self._learner
        for name, module in learner.modules.items():
            tensors = found.tensors.get(name, {})
            restore(module, tensors, what=name, origin=origin, holds=found.holds)
        restore_optimizer(learner.optimizer, found.tensors.get("optimizer", {}), origin=origin)
        learner.n_steps = found.step
        self.best = dict(found.best) if found.best else None
        self._validation = dict(found.validation) if found.validation else None

    def describe(self) -> list[str]:
        """What is going to happen, in lines for people."""
        material, split = self._material, self._material.split
        validation = material.validation
        n_validated = 0 if validation is None else validation.n_photos
        n_weights = sum(p.numel() for p in self._learner.network.parameters())
        border_px = material.folder.border_px
        lines = [
            f"crops of {material.folder.side_px} px: 112 and a border of {border_px} on each side",
            f"{len(split.training)} photos of {material.n_people} people to learn from, "
            f"{n_validated} to validate on; {len(split.left_out)} names left out "
            "(left_out.json)",
            f"{self._config.network.name}: {n_weights / 1e6:.2f} million parameters, "
            f"{self._config.network.dimension} dimensions, on {self._learner.device.type}",
        ]
        if validation is None and self._config.data.validation_share:
            lines.append("nobody is validated on: too few people have two photos")
        if 0 < self.done < self.n_steps:
            lines.append(f"going on at step {self.done} of {self.n_steps}")
        elif self.done:
            lines.append(f"already complete: {self.n_steps} steps")
        else:
            lines.append(f"{self.n_steps} steps of {self._config.schedule.batch_size} photos")
        return lines

    def step(self, batch: Batch) -> None:
        """Learn from one batch.

        Raises:
            LearningError: a loss or the gradient is not finite; not_finite.json says where, and
                the last checkpoint is from before.
        """
        schedule = self._config.schedule
        rate = learning_rate_at(
            self.done,
            n_steps=self.n_steps,
            warmup_steps=self._warmup_steps,
            base=self._config.optimizer.learning_rate,
            shape=schedule.shape,
        )
        strength = margin_strength_at(self.done, self._margin_steps)
        try:
            found = self._learner.step(batch, learning_rate=rate, strength=strength)
        except LearningError as exc:
            where = f"step {self.done + 1}, epoch {self.epoch:.2f}"
            names = self._material.photos_of(batch.rows)
            note = {"step": self.done + 1, "learning_rate": rate, "why": str(exc), "photos": names}
            self._write_json("not_finite.json", note)
            raise LearningError(
                f"{exc} (at {where}, learning rate {rate:.3g}; not_finite.json names the photos)",
                hint=exc.hint,
            ) from exc
        values = {
            "gradient_norm": found.gradient_norm,
            "target_angle_deg": found.target_angle_deg,
            "mean_norm": found.mean_norm,
        }
        for name, value in (found.losses | values).items():
            self._sums[name] += value
        self._n_summed += 1
        self._rate, self._strength = rate, strength

    def write_line(self) -> str:
        """Write the line of the log for the steps since the last one.

        Returns:
            The same for people.
        """
        now = time.monotonic()
        per_step_s = (now - self._since) / self._n_summed
        entry: dict[str, Any] = {"step": self.done, "epoch": round(self.epoch, 4)}
        entry |= {name: value / self._n_summed for name, value in self._sums.items()}
        entry |= {
            "learning_rate": self._rate,
            "margin_strength": self._strength,
            "images_per_s": round(self._config.schedule.batch_size / per_step_s, 1),
            "remaining_s": round(per_step_s * (self.n_steps - self.done)),
        }
        self._sums.clear()
        self._n_summed, self._since = 0, now
        self._log.append(entry)
        return format_line(entry)

    def validate(self) -> str:
        """Score the network on the validation people; the best one so far is kept.

        Returns:
            A line for people.
        """
        assert self._material.validation is not None
        began = time.monotonic()
        score = asdict(self._material.validation.score(self._learner.best_network))
        self._validation = {"step": self.done, "epoch": round(self.epoch, 4)} | score
        is_best = self.best is None or score["eer"] < self.best["eer"]
        if is_best:
            self.best = self._validation
        self._log.append({"step": self.done, "epoch": round(self.epoch, 4), "validation": score})
        if is_best:
            self._save(BEST)
        self._log.draw_curves(self.folder / "curves.png")
        self._since += time.monotonic() - began  # not a part of the training's speed
        return f"validation: {_tell(score)}" + (" (best so far)" if is_best else "")

    def save(self) -> None:
        """Write the last checkpoint; the one before stays whole until this one is.

        Raises:
            InputError: it cannot be written.
        """
        self._save(LAST)

    def finish(self, report: Callable[[str], None]) -> None:
        """What is left to do after the last step: whiten, or take away what was whitened before.

        Args:
            report: gets a line for people.
        """
        if self._config.whiten:
            report(self._whiten())
        else:
            with translate_os_errors(self.folder, doing="write"):
                (self.folder / WHITENED).unlink(missing_ok=True)

    def _whiten(self) -> str:
        """Even out the axes of the best network (the last one without validation), and keep it."""
        place = BEST if self.best is not None else LAST
        found = load_checkpoint(self.folder / place)
        name = "average" if "average" in found.tensors else "network"
        network = copy.deepcopy(self._learner.network)
        restore(network, found.tensors[name], what="network", origin=place, holds=found.holds)
        material = self._material
        vectors = embed_crops(network, material.folder, material.split.training)
        power = self._config.whiten
        whitened = fold_map(network, whitening_map(vectors, power))
        score = None
        if material.validation is not None:
            score = {"step": found.step, "whiten": power}
            score |= asdict(material.validation.score(whitened))
        state = replace(
            found,
            tensors={"network": whitened.state_dict()},
            config=self._config.to_dict(),
            validation=score,
        )
        save_checkpoint(self.folder / WHITENED, state)
        told = "" if score is None else f": {_tell(score)}"
        return f"axes evened out ({WHITENED}, power {power:g}){told}"

    def _save(self, place: str) -> None:
        learner = self._learner
        tensors = {name: module.state_dict() for name, module in learner.modules.items()}
        for group, named in tensors.items():
            for name, tensor in named.items():
                if not tensor.isfinite().all():
                    raise LearningError(
                        f"{group}.{name} is not finite after step {self.done}; the checkpoint "
                        "from before stays",
                        hint="begin again in a new folder (run=...) with a lower "
                        "optimizer.learning_rate",
                    )
        state = Checkpoint(
            tensors={**tensors, "optimizer": flatten_optimizer(learner.optimizer)},
            step=self.done,
            config=self._config.to_dict(),
            n_identities=self._material.n_people,
            people_digest=self._material.people_digest,
            best=self.best,
            validation=self._validation,
        )
        save_checkpoint(self.folder / place, state)

    def _write_json(self, name: str, content: object) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        write_atomically(self.folder / name, (text + "\n").encode(errors="backslashreplace"))


def _tell(score: Mapping[str, Any]) -> str:
    tar = "" if score["tar"] is None else f", TAR at FAR 1e-2 {score['tar']:.2%}"
    return f"EER {score['eer']:.2%}{tar}"
