"""One run and its folder: when to log, validate and save, and how to go on after a break.

It does not know what a step does; the learner does. RUN/ holds README.md, config.yaml,
environment.json, left_out.json, log.jsonl, curves.png and checkpoints/{last,best}.safetensors.
On several ranks all of them walk through the same calls; the first one writes.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcwise.data.loader import Batch
from arcwise.errors import CheckpointError, LearningError, NotFiniteError
from arcwise.files import translate_os_errors, write_atomically
from arcwise.nn.collective import any_rank, sum_over
from arcwise.train.board import Sink
from arcwise.train.checkpoint import Checkpoint, load_checkpoint
from arcwise.train.config import TrainConfig, differences, free_on_resume
from arcwise.train.curves import draw_curves
from arcwise.train.guard import save_batch
from arcwise.train.learner import Learner, StepResult
from arcwise.train.log import RunLog, describe_environment, format_line
from arcwise.train.material import Material
from arcwise.train.ranks import check_agreement
from arcwise.train.schedule import margin_strength_at
from arcwise.train.shards import remove_stale
from arcwise.train.snapshot import restore_learner, save_learner
from arcwise.train.story import describe_start, tell_score, write_story
from arcwise.train.timing import Timing
from arcwise.train.validate import embed_crops
from arcwise.train.whiten import fold_map, whiten_network

LAST, BEST = "checkpoints/last.safetensors", "checkpoints/best.safetensors"
WHITENED = "checkpoints/whitened.safetensors"
BROKEN = "not_finite"


class Run:
    """A training run in its folder.

    Attributes:
        timing: when what happens, and at which rate.
        best: the best validation and its step, or None.

    Args:
        config: what is asked for.
        material: what is learned from.
        learner: what learns.
        sinks: who else is told what the log is told.
    """

    def __init__(
        self,
        config: TrainConfig,
        material: Material,
        learner: Learner,
        *,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.folder = config.run
        self.timing = Timing(config, material.sampler.steps_per_epoch)
        self.best: dict[str, Any] | None = None
        self._config, self._material, self._learner = config, material, learner
        self._sinks = sinks
        self._log = RunLog(config.run)
        self._validation: dict[str, Any] | None = None
        self._sums: dict[str, float] = defaultdict(float)
        self._n_summed = 0
        self._since = self._began = time.monotonic()
        n_photos, dimension = len(material.split.training), config.network.dimension
        if config.whiten and n_photos < dimension:
            raise LearningError(
                f"whiten needs at least {dimension} training photos, as many as dimensions; "
                f"there are {n_photos}",
                hint="set whiten=0, or a smaller network.dimension",
            )
        if config.whiten:  # told now that it cannot be done, not after the last step
            fold_map(learner.network, np.eye(dimension, dtype=np.float32))

    @property
    def done(self) -> int:
        """Steps that are done."""
        return self._learner.n_steps

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all steps are done, or validation stopped improving."""
        return self.done >= self.timing.n_steps or self.has_stalled

    @property
    def has_stalled(self) -> bool:
        """Whether as many validations as `patience` in a row were not better than the best."""
        if self._config.patience is None or self._material.measure is None:
            return False
        if self.best is None or self._validation is None:
            return False
        n_since = self._validation["step"] - self.best["step"]
        return bool(n_since >= self._config.patience * self.timing.validate_every)

    @property
    def best_epoch(self) -> float:
        """Epoch of the best validation; 0 without one."""
        return 0.0 if self.best is None else float(self.best["epoch"])

    @property
    def is_time_to_log(self) -> bool:
        """Whether the step just done ends a line for people."""
        return self.timing.is_time_to_log(self.done)

    @property
    def is_time_to_validate(self) -> bool:
        """Whether to validate after the step just done."""
        return self._material.can_validate and self.timing.is_time_to_validate(self.done)

    @property
    def is_time_to_save(self) -> bool:
        """Whether to write a checkpoint after the step just done."""
        return self.timing.is_time_to_save(self.done) or self.has_stalled

    def begin(self) -> None:
        """Take up the last checkpoint, or write down what a new run is made of.

        Raises:
            CheckpointError: the folder holds a run of another configuration or of other people.
            InputError: it cannot be read or written.
        """
        path = self.folder / LAST
        is_new = not path.exists()
        found = None if is_new else load_checkpoint(path)
        facts = {
            "the settings": self._config.to_yaml(),
            "the people or photos": self._material.people_digest,
            "the step of the checkpoint": "none" if found is None else str(found.step),
        }
        check_agreement(self._learner.ranks, facts)
        if self._learner.ranks.is_first:
            self._remove_leftovers(is_new)
        if found is not None:
            self._restore(found, path)
        elif self._config.network.weights is not None:
            self._learner.start_from(self._config.network.weights)
        any_rank(False, self._learner.ranks)  # nobody writes before all have looked
        self._learner.freeze(self.timing.is_frozen(self.done))
        if is_new and self._config.head.start == "class_mean":
            self._start_from_means()
        if not self._learner.ranks.is_first:
            return
        self._log.resume_at(self.done)
        if not self.done:
            self._write_json("environment.json", describe_environment(self._learner.device))
        self._write_json("left_out.json", self._material.split.left_out, private=True)
        write_atomically(self.folder / "config.yaml", self._config.to_yaml().encode())

    def _remove_leftovers(self, is_new: bool) -> None:
        """What a run that was killed, or another run before it, left and nobody may take up."""
        places = self.folder / "checkpoints"
        with translate_os_errors(self.folder, doing="write"):
            for path in (*places.glob(".*.part"), *self.folder.glob(f"{BROKEN}*")):
                path.unlink(missing_ok=True)
            for path in places.glob("*.safetensors") if is_new else ():
                path.replace(path.with_suffix(".replaced"))  # somebody may miss it

    def _restore(self, found: Checkpoint, path: Path) -> None:
        free = free_on_resume(self._config)
        before = TrainConfig.from_dict(found.config)
        changed = [c for c in differences(before, self._config) if c.key not in free]
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
        restore_learner(self._learner, found, path)
        if self._learner.ranks.is_first:
            remove_stale(path.parent, path.stem, keep=[str(s["file"]) for s in found.shards])
        self.best = dict(found.best) if found.best else None
        self._validation = dict(found.validation) if found.validation else None

    def _start_from_means(self) -> None:
        """Put each center where the embeddings of its photos are, of a network that knows faces."""
        material, learner = self._material, self._learner
        ranks = learner.ranks
        mine = slice(ranks.rank, None, ranks.size)
        vectors = embed_crops(learner.network, material.crops, material.split.training[mine])
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        sums = torch.zeros(material.n_people, units.shape[1], device=learner.device)
        labels = torch.from_numpy(material.split.labels[mine]).to(learner.device)
        sums.index_add_(0, labels, torch.from_numpy(units).to(learner.device))
        learner.head.set_centers(sum_over(sums, ranks))

    def describe(self) -> list[str]:
        """What is going to happen, in lines for people."""
        lines = describe_start(self._config, self._material, self._learner)
        if self.is_over and self.done:
            lines.append(f"already complete: {self.done} steps")
        elif self.done:
            lines.append(f"going on at step {self.done} of {self.timing.n_steps}")
        else:
            size = self._config.schedule.batch_size
            lines.append(f"{self.timing.n_steps} steps of {size} photos")
        return lines

    def step(self, parts: Sequence[Batch]) -> str | None:
        """Learn from one batch.

        Returns:
            A warning for people, when the first loss of the run is not what it should be.

        Raises:
            NotFiniteError: a loss or the gradient is not finite; not_finite.json says where,
                not_finite.npz holds the batch, and the last checkpoint is from before.
        """
        self._learner.freeze(self.timing.is_frozen(self.done))
        rate = self.timing.learning_rate_at(self.done)
        strength = margin_strength_at(self.done, self.timing.margin_steps)
        is_first = self.done == 0
        try:
            found = self._learner.step(parts, learning_rate=rate, strength=strength)
        except NotFiniteError as exc:
            raise self._explain(exc, parts, rate) from exc
        self._note_step(found, rate=rate, strength=strength)
        return self._learner.doubt_first(found, parts, strength) if is_first else None

    def _explain(self, exc: NotFiniteError, parts: Sequence[Batch], rate: float) -> NotFiniteError:
        step = self.done + 1
        where = f"step {step}, epoch {self.timing.epoch_at(self.done):.2f}"
        rows = np.concatenate([part.rows for part in parts])
        names = self._material.photos_of(rows)
        note = {"step": step, "learning_rate": rate, "why": str(exc), "photos": names}
        ranks = self._learner.ranks
        stem = BROKEN if ranks.size == 1 else f"{BROKEN}_rank{ranks.rank}"  # each has its part
        self._write_json(f"{stem}.json", note, private=True)
        save_batch(self.folder / f"{stem}.npz", parts)
        return NotFiniteError(
            f"{exc} (at {where}, learning rate {rate:.3g}; {stem}.json names the photos, "
            f"{stem}.npz holds them as the network saw them)",
            hint=exc.hint,
        )

    def _note_step(self, found: StepResult, *, rate: float, strength: float) -> None:
        now = time.monotonic()
        per_step_s, self._began = now - self._began, now
        entry: dict[str, Any] = {"step": self.done, "epoch": round(self._epoch, 4)}
        entry |= found.losses | found.values
        for name, value in (found.losses | found.values).items():
            self._sums[name] += value
        entry |= {"learning_rate": rate, "margin_strength": strength}
        if self._learner.loss_scale.is_on:
            entry |= {"loss_scale": self._learner.loss_scale.value, "is_skipped": found.is_skipped}
        n_left = self.timing.n_steps - self.done
        entry |= {
            "images_per_s": round(self._config.schedule.batch_size / max(per_step_s, 1e-9), 1),
            "remaining_s": round(per_step_s * n_left),
        }
        self._n_summed += 1
        self._tell(entry)
        self._last = entry

    @property
    def _epoch(self) -> float:
        return self.timing.epoch_at(self.done)

    def _tell(self, entry: Mapping[str, Any]) -> None:
        if not self._learner.ranks.is_first:
            return
        self._log.append(entry)
        for sink in self._sinks:
            sink.write(entry)

    def write_line(self) -> str:
        """A line for people on the steps since the last one."""
        now = time.monotonic()
        per_step_s = (now - self._since) / self._n_summed
        entry = self._last | {name: value / self._n_summed for name, value in self._sums.items()}
        entry["images_per_s"] = self._config.schedule.batch_size / per_step_s
        entry["remaining_s"] = per_step_s * (self.timing.n_steps - self.done)
        self._sums.clear()
        self._n_summed, self._since = 0, now
        return format_line(entry)

    def validate(self) -> str:
        """Score the network on validation photos; the best one so far is kept.

        Returns:
            A line for people.
        """
        began = time.monotonic()
        self._learner.share_statistics()
        score = self._material.score(self._learner)
        score = {"step": self.done, "epoch": round(self._epoch, 4)} | score
        self._validation = score
        is_best = self.best is None or self._rank(score) > self._rank(self.best)
        if is_best:
            self.best = self._validation
            self._save(BEST)
        measures = {name: score[name] for name in score if name not in {"step", "epoch"}}
        self._tell({"step": self.done, "epoch": score["epoch"], "validation": measures})
        self._write_pictures()
        spent = time.monotonic() - began  # not a part of the training's speed
        self._since, self._began = self._since + spent, self._began + spent
        return f"validation: {tell_score(score)}" + (" (best so far)" if is_best else "")

    def _rank(self, score: Mapping[str, Any]) -> float:
        """The higher the better; where nothing can be measured, the newest is the best."""
        measure = self._material.measure
        if measure is None:
            return float(score.get("step", self.done))
        return -score[measure] if measure == "eer" else float(score[measure])

    def _write_pictures(self) -> None:
        if self._learner.ranks.is_first:
            draw_curves(self._log.read(), self.folder / "curves.png")
            write_story(self.folder, self._config, self._material, done=self.done, best=self.best)

    def save(self) -> None:
        """Write the last checkpoint; the one before stays whole until this one is.

        Raises:
            InputError: it cannot be written.
        """
        if self._learner.ranks.is_first:
            self._log.sync()
        self._save(LAST)

    def keep(self) -> None:
        """Write a checkpoint that stays, where it is time for one (`keep_every_epochs`)."""
        if self.timing.is_time_to_keep(self.done):
            number = f"{self._epoch:g}".replace(".", "_")
            self._save(f"checkpoints/epoch_{number}.safetensors")

    def finish(self, report: Callable[[str], None]) -> None:
        """What is left to do after the last step: whiten, or take away what was whitened before.

        Args:
            report: gets a line for people.
        """
        if not self._learner.ranks.is_first:
            return
        self._write_pictures()
        if self._config.whiten:
            place = BEST if self.best is not None else LAST
            score = whiten_network(
                self._learner, self._material, self.folder / place, self.folder / WHITENED
            )
            told = "" if score is None else f": {tell_score(score)}"
            power = self._config.whiten
            report(f"axes evened out ({WHITENED}, power {power:g}){told}")
        else:
            with translate_os_errors(self.folder, doing="write"):
                (self.folder / WHITENED).unlink(missing_ok=True)

    def _save(self, place: str) -> None:
        note = Checkpoint(
            tensors={},
            step=self.done,
            config=self._config.to_dict(),
            n_identities=self._material.n_people,
            people_digest=self._material.people_digest,
            best=self.best,
            validation=self._validation,
        )
        save_learner(self._learner, self.folder / place, note)

    def _write_json(self, name: str, content: object, *, private: bool = False) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        path = self.folder / name
        write_atomically(path, text.encode(errors="backslashreplace"), private=private)
