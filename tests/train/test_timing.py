"""From epochs to steps: what happens when follows from the number of the step alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.errors import LearningError
from arcwise.train.config import load_config
from arcwise.train.schedule import learning_rate_at
from arcwise.train.timing import Timing

WARM = ("schedule.warmup_epochs=0", "optimizer.learning_rate=1")


def make(*words: str, per_epoch: int = 10) -> Timing:
    return Timing(load_config(None, ["run=r", "data.folder=d", *WARM, *words]), per_epoch)


def when(is_time: object, timing: Timing) -> list[int]:
    """The steps after which it is time."""
    assert callable(is_time)
    return [done for done in range(1, timing.n_steps + 1) if is_time(done)]


@pytest.mark.parametrize(
    ("epochs", "per_epoch", "n_steps"), [(3, 10, 30), (2.5, 10, 25), (0.5, 7, 4), (0.01, 10, 1)]
)
def test_epochs_are_steps_rounded_and_at_least_one(
    epochs: float, per_epoch: int, n_steps: int
) -> None:
    timing = make(f"schedule.epochs={epochs}", per_epoch=per_epoch)
    assert timing.n_steps == n_steps
    assert timing.epoch_at(per_epoch) == 1
    assert timing.epoch_at(0) == 0


def test_the_rate_is_that_of_the_schedule_with_its_epochs_in_steps() -> None:
    words = ["epochs=3", "warmup_epochs=0.5", "shape=poly", "power=2"]
    timing = make(*(f"schedule.{word}" for word in words), "optimizer.learning_rate=0.3")
    for step in range(30):
        wanted = learning_rate_at(
            step, n_steps=30, warmup_steps=5, base=0.3, shape="poly", power=2.0
        )
        assert timing.learning_rate_at(step) == wanted


def test_milestones_are_epochs() -> None:
    timing = make(
        "schedule.epochs=3",
        "schedule.shape=step",
        "schedule.milestones=[1, 2.5]",
        "schedule.factor=0.5",
    )
    rates = [timing.learning_rate_at(step) for step in range(30)]
    assert rates == [1.0] * 10 + [0.5] * 15 + [0.25] * 5


def test_milestones_that_fall_on_one_step_are_refused() -> None:
    words = ("schedule.epochs=3", "schedule.shape=step", "schedule.milestones=[1, 1.01]")
    with pytest.raises(LearningError, match=r"milestones of a schedule are \[10, 10\]"):
        make(*words).learning_rate_at(0)


def test_a_warm_up_never_outlasts_a_run() -> None:
    timing = make("schedule.epochs=0.04", "schedule.warmup_epochs=0.04", per_epoch=100)
    assert [timing.learning_rate_at(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_the_network_is_frozen_for_its_epochs() -> None:
    timing = make("network.freeze_epochs=0.3", "schedule.epochs=1")
    assert [timing.is_frozen(done) for done in range(5)] == [True, True, True, False, False]
    assert not make().is_frozen(0)


def test_lines_validations_and_checkpoints_come_in_turn_and_at_the_end() -> None:
    timing = make(
        "schedule.epochs=2.5",
        "log_every_steps=4",
        "save_every_steps=10",
        "validate_every_epochs=0.6",
    )
    assert when(timing.is_time_to_log, timing) == [4, 8, 12, 16, 20, 24, 25]
    assert when(timing.is_time_to_validate, timing) == [6, 12, 18, 24, 25]
    assert when(timing.is_time_to_save, timing) == [12, 24, 25]


@given(st.integers(1, 30), st.integers(1, 60), st.integers(1, 40))
def test_a_checkpoint_is_written_with_a_line_and_not_before_it_is_asked_for(
    log_every: int, save_every: int, per_epoch: int
) -> None:
    words = (f"log_every_steps={log_every}", f"save_every_steps={save_every}")
    timing = make(*words, "schedule.epochs=3", per_epoch=per_epoch)
    saved, logged = (when(f, timing) for f in (timing.is_time_to_save, timing.is_time_to_log))
    assert set(saved) <= set(logged)
    assert saved[-1] == timing.n_steps
    gaps = [late - early for early, late in zip([0, *saved[:-1]], saved[:-1], strict=False)]
    assert all(save_every <= gap < save_every + log_every for gap in gaps)


def test_a_share_of_a_step_between_validations_is_one_step() -> None:
    timing = make("schedule.epochs=0.3", "validate_every_epochs=0.01")
    assert when(timing.is_time_to_validate, timing) == [1, 2, 3]


def test_checkpoints_that_stay_come_by_the_epoch_or_never() -> None:
    timing = make("keep_every_epochs=0.5", "schedule.epochs=2")
    assert when(timing.is_time_to_keep, timing) == [5, 10, 15, 20]
    assert when(make().is_time_to_keep, make("schedule.epochs=2")) == []


def test_a_sketch_shows_rate_and_margin_from_the_first_step_to_the_last() -> None:
    timing = make("schedule.epochs=2", "schedule.shape=poly", "head.margin_warmup_epochs=1")
    sketch = timing.sketch(5)
    assert [point["epoch"] for point in sketch] == [0.0, 0.5, 1.0, 1.4, 1.9]
    assert [point["margin_strength"] for point in sketch] == [0.0, 0.5, 1.0, 1.0, 1.0]
    rates = [point["learning_rate"] for point in sketch]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.3, 0.05])


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_sketch_has_no_more_points_than_steps(n_points: int, n_steps: int) -> None:
    timing = make("schedule.epochs=1", per_epoch=n_steps)
    epochs = [point["epoch"] for point in timing.sketch(n_points)]
    assert len(epochs) == min(n_points, n_steps)
    assert epochs == sorted(set(epochs))
    assert epochs[0] == 0
    if n_points > 1:
        assert epochs[-1] == timing.epoch_at(n_steps - 1)
