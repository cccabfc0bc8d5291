"""YAML and words become one frozen config, or an error that names the key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arcwise.data.augment import Augmentation
from arcwise.errors import InputError, SettingsError
from arcwise.train.config import (
    FREE_ON_RESUME,
    KEYS,
    Difference,
    TrainConfig,
    differences,
    load_config,
)

NEEDED = ["run=runs/a", "data.folder=crops"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"


TRIPLET = ("triplet={}", "data.sampler=pk")


def load(*words: str) -> TrainConfig:
    return load_config(None, [*NEEDED, *words])


def load_text(tmp_path: Path, text: str | bytes, *words: str) -> TrainConfig:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path, [*NEEDED, *words])


def complaint(*words: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(*words)
    assert caught.value.hint
    return str(caught.value)


def test_training_without_torch_is_refused_in_one_sentence() -> None:
    script = """
import sys
sys.modules["torch"] = None
from arcwise.errors import LearningError
try:
    import arcwise.train
except LearningError as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "torch is not installed | pip install 'arcwise[train]'"


# What is read


def test_run_and_folder_are_enough() -> None:
    config = load()
    assert config.run == Path("runs/a")
    assert config.data.folder == Path("crops")
    assert config.network.name == "compact"
    assert config.distill is None


def test_a_file_is_read_and_a_word_wins_over_it(tmp_path: Path) -> None:
    text = "run: b\nschedule:\n  epochs: 3\n  batch_size: 8\n"
    config = load_text(tmp_path, text, "schedule.epochs=5")
    assert (config.schedule.epochs, config.schedule.batch_size) == (5.0, 8)
    assert config.run == Path("runs/a")


def test_of_two_words_the_last_wins() -> None:
    assert load("seed=2", "seed=3").seed == 3


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("optimizer.weight_decay=5e-4", 5e-4),
        ("optimizer.weight_decay=.5", 0.5),
        ("optimizer.weight_decay=1.", 1.0),
        ("optimizer.clip_norm=null", None),
        ("optimizer.clip_norm=", None),
        ("head.scale=auto", "auto"),
        ("head.scale=64", 64.0),
        ("head.options.easy_margin=true", {"easy_margin": True}),
        ("data.leave_out=no", Path("no")),
        ("data.leave_out='007'", Path("007")),
        ("data.leave_out=a=b", Path("a=b")),
        ("data.leave_out=C:\\crops", Path("C:\\crops")),
        ("network.weights=~/w", Path.home() / "w"),
        ("augment.mirror=0.25", 0.25),
    ],
)
def test_the_value_of_a_word_is_yaml(word: str, value: object) -> None:
    section, name = word.partition("=")[0].split(".")[:2]
    found = load(word).to_dict()[section][name]
    assert found == (str(value) if isinstance(value, Path) else value)


def test_a_word_may_bring_a_list_or_a_whole_section() -> None:
    config = load("data.pairs=p.txt", "data.test_folds=[1, 2]", "schedule={epochs: 2}")
    assert config.data.test_folds == (1, 2)
    assert config.schedule.epochs == 2


def test_a_word_makes_and_removes_an_optional_section() -> None:
    words = ["distill.targets=t.npz", "distill.cosine=3"]
    distill = load(*words).distill
    assert distill is not None
    assert (distill.targets, distill.cosine, distill.center) == (Path("t.npz"), 3.0, True)
    assert load(*words, "distill=null").distill is None


def test_an_empty_section_or_file_is_one_of_defaults(tmp_path: Path) -> None:
    assert load_text(tmp_path, "schedule:\naugment: # none yet\n") == load()
    assert load_text(tmp_path, "") == load()


def test_a_file_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    assert load_text(tmp_path, "\ufeffseed: 3").seed == 3


def test_a_relative_path_belongs_to_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    config = load_text(tmp_path / "deep", "data:\n  leave_out: names.txt\n")
    assert config.data.leave_out == Path("names.txt")


def test_strengths_that_are_not_given_are_written_out() -> None:
    config = load("augment.erase=0.25")
    assert Augmentation(**config.augment) == Augmentation(erase=0.25)


def test_options_are_words_of_their_own() -> None:
    head = load("head.loss=cosface", "head.options.gradient=straight_through").head
    assert head.options == {"gradient": "straight_through"}
    network = load("network.name=r18", "network.options={se: true}").network
    assert network.name == "iresnet18"
    assert network.options == {"se": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network.name=iresnet18", "network.options.see=true"], "did you mean se"),
        (["network.options.se=true"], "network.options has no se for compact"),
        (["head.options.gradiant=exact"], "did you mean gradient"),
        (["head.options.gradient=2"], "gradient of arcface is 2"),
        (["head.loss=combined", "head.margin=0.5"], r"takes 3 number"),
        (["head.loss=magface", "head.class_margins=counts"], "takes no margins of identities"),
        (["triplet={}"], "data.sampler=pk"),
        (["data.sampler=pk", "schedule.batch_size=30"], "no multiple of"),
        (["schedule.accumulate=7"], "cannot be divided"),
        (["schedule.shape=step"], "schedule.milestones"),
        (["schedule.shape=step", "schedule.milestones=[5, 3]"], "should rise"),
        (["best_by=accuracy"], "data.validation_photos"),
        (["head.focal_form=batch_mean"], "head.focal_gamma"),
    ],
)
def test_what_does_not_fit_a_network_loss_or_schedule_is_told(words: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(*words)


def test_keys_of_another_system_can_be_translated(tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text("lr: 0.2")

    def translate(values: dict[str, Any]) -> dict[str, Any]:
        return {
            "run": "r",
            "data": {"folder": "d"},
            "optimizer": {"learning_rate": values["lr"]},
        }

    config = load_config(path, ["seed=3"], translate=translate)
    assert (config.optimizer.learning_rate, config.seed) == (0.2, 3)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().seed = 3  # type: ignore[misc]


# Slips


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("schedule.epoch=3", "schedule.epoch is not a key; did you mean schedule.epochs?"),
        ("epochs=3", "epochs is not a key; did you mean schedule.epochs?"),
        ("schedul.epochs=3", "schedul.epochs is not a key; did you mean schedule.epochs?"),
        ("schedule.epochs.x=3", "schedule.epochs.x is not a key; did you mean schedule.epochs?"),
        ("network.optimizer=3", "network.optimizer is not a key"),
        ("augment.mirrr=1", "augment.mirrr is not a key; did you mean augment.mirror?"),
        ("head.momentum=1", "head.momentum is not a key; did you mean optimizer.momentum?"),
        ("sead=1", "sead is not a key; did you mean seed?"),
        ("schedule={epoch: 3}", "schedule.epoch is not a key; did you mean schedule.epochs?"),
        ("zzz=1", "zzz is not a key"),
        ("=1", " is not a key"),
    ],
)
def test_a_misspelt_key_is_told_with_the_nearest_one(word: str, said: str) -> None:
    assert complaint(word) == said


def test_a_misspelt_key_in_a_file_is_told_as_well(tmp_path: Path) -> None:
    for text, said in (
        ("schedule:\n  epoch: 3\n", "schedule.epoch is not a key; did you mean schedule.epochs?"),
        ("schedul:\n  epochs: 3\n", "schedul is not a key; did you mean schedule?"),
        ("1: 2\n", "1 is not a key"),
    ):
        with pytest.raises(SettingsError) as caught:
            load_text(tmp_path, text)
        assert str(caught.value) == said
    assert "schedule" in caught.value.hint


def test_a_key_with_a_dot_in_a_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"schedule\.epochs is epochs below schedule"):
        load_text(tmp_path, "schedule.epochs: 3")


def test_a_word_without_a_value_is_refused() -> None:
    assert complaint("schedule.epochs") == "'schedule.epochs' is not KEY=VALUE"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("schedule.epochs=0", "schedule.epochs is 0: it should be greater than 0"),
        ("schedule.epochs=many", "schedule.epochs is 'many': it should be a valid number"),
        ("schedule.epochs=true", "schedule.epochs is True: it should be a valid number"),
        ("schedule.epochs=1:30", "schedule.epochs is '1:30': it should be a valid number"),
        ("schedule.epochs=.nan", "schedule.epochs is '.nan': it should be a valid number"),
        ("schedule.epochs=1e999", "schedule.epochs is inf: it should be a finite number"),
        ("schedule.batch_size=1", "schedule.batch_size is 1: it should be greater than or equal"),
        ("schedule.batch_size=2.5", "schedule.batch_size is 2.5: it should be a valid integer"),
        ("schedule.shape=cos", "schedule.shape is 'cos': it should be 'cosine', 'poly'"),
        ("seed=-1", "seed is -1: it should be greater than or equal to 0"),
        ("average=1", "average is 1: it should be less than 1"),
        ("precision=half", "precision is 'half': it should be 'float32', 'bfloat16' or 'float16'"),
        ("head.scale=0", "head.scale is 0: it should be greater than 0 or 'auto'"),
        ("head.loss=sphere", "head.loss is 'sphere': it should be one of softmax, norm_softmax"),
        ("network.name=resnet", "network.name is 'resnet': it should be a network of"),
        ("optimizer.clip_norm=off", "optimizer.clip_norm is 'off': it should be a valid number"),
        ("augment.mirror=2", "augment.mirror is 2.0 (use a probability from 0 to 1)"),
        ("augment.erase=yes", "augment.erase is 'yes': it should be a valid number"),
        ("data.test_folds=1", "data.test_folds is 1: it should be a valid list, such as [1, 2]"),
        ("data.test_folds=[0]", "data.test_folds is 0: it should be greater than or equal to 1"),
        ("run=", "run is None: it should be a path"),
        ("run='  '", "run is '  ': it should be a path"),
        ('run="a\\0"', r"run is 'a\x00': it should be a path"),
        ("run=~nobody-of-that-name/a", "run is '~nobody-of-that-name/a': Could not determine"),
        ("schedule=5", "schedule is 5: it should be keys and values"),
        ("augment=[1]", "augment is [1]: it should be keys and values"),
        ("distill.cosine=1", "distill.targets is missing"),
        ("data=null", "data.folder is missing"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(word: str, said: str) -> None:
    assert complaint(word).startswith(said)


def test_what_is_needed_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^run is missing; data is missing$"):
        load_config()


def test_all_wrong_values_are_told_at_once() -> None:
    said = complaint("seed=-1", "schedule.epochs=-1")
    assert "seed is -1" in said
    assert "schedule.epochs is -1" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.test_folds=[1]"], "data.pairs and folds of it"),
        (["data.pairs=p"], "data.pairs and folds of it"),
        (
            ["data.pairs=p", "data.test_folds=[1,2]", "data.validation_folds=[2]"],
            "fold 2 is more than once",
        ),
        (["data.pairs=p", "data.test_folds=[3,3]"], "fold 3 is more than once"),
        (["head.margin=28.6"], "m2 is in radians: 0.5 is 28.6 degrees"),
        (["head.loss=cosface", "head.margin=1.5"], "head.margin is 1.5, cosface"),
        (
            ["head.loss=cosface", "head.options.easy_margin=true"],
            "cosface has no option 'easy_margin'",
        ),
        (["head.weight=0"], "nothing would be learned"),
        (["distill.targets=t", "distill.cosine=0", "distill.relational=0"], "both 0"),
        (["schedule.epochs=0.25"], "schedule.warmup_epochs is 0.5, longer than"),
        (["head.margin_warmup_epochs=30"], "head.margin_warmup_epochs is 30, longer than"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(words: list[str], said: str) -> None:
    assert said in complaint(*words)


def test_values_at_their_limits_are_allowed() -> None:
    words = ["schedule.epochs=0.5", "head.weight=0", "distill.targets=t", "average=0"]
    assert load(*words, "data.validation_share=0", "head.margin=0").head.weight == 0


# Broken YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b: c", "line 1, column 5: mapping values"),
        ("seed: 1\nrun: [a", "line 2, column 8: while parsing a flow sequence, expected"),
        ("schedule:\n  epochs: 1\n  epochs: 2\n", "line 3, column 3: the key epochs comes twice"),
        ("seed: 1\nseed: 1\n", "line 2, column 1: the key seed comes twice"),
        ("seed: 1\nrun: \xff".encode("latin-1"), "line 2, column 6: invalid start byte"),
        ("seed: \x00", "line 1, column 7: special characters"),
        ("---\nseed: 1\n---\nseed: 2\n", "line 3, column 1: expected a single document"),
        ("seed: !!python/object:os.system x", "line 1, column 7: could not determine a constr"),
        ("? [1]\n: 2\n", "line 1, column 3: while constructing a mapping, found unhashable key"),
        ("run: *nobody", "line 1, column 6: found undefined alias"),
        ("- seed", "no list of keys and values: ['seed']"),
        ("0", "no list of keys and values: 0"),
        ("seed: !!int x", "is no YAML we can read"),
        ("seed: " + "[" * 600, "is no YAML we can read"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        load_text(tmp_path, text)
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_broken_word_is_told_with_its_key() -> None:
    assert complaint("data.test_folds=[1").startswith("the value of data.test_folds, line 1, col")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
@example(b"data: &a {folder: *a}\nrun: x\n")
@example(b"data: &a [*a]\nrun: x\n")
@example(b"run: 1" + b"0" * 5000)
@example(b"!!set {run, data}")
def test_no_content_breaks_the_reader(content: bytes) -> None:
    path = Path("any.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcwise.train.config.read_bytes", lambda _: content)
        with suppress(SettingsError):
            load_config(path)


# There and back


@settings(max_examples=30)
@given(
    st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text and "~" not in text)
)
@example("5e-4")
@example("007")
@example("null")
@example("no")
@example("1_0")
@example("a: b #c")
@example("\udc80")
@example("line\nbreak\x85")
def test_any_path_comes_back_from_yaml(text: str) -> None:
    config = TrainConfig.from_dict({"run": text, "data": {"folder": text}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcwise.train.config.read_bytes", lambda _: config.to_yaml().encode())
        assert load_config("config.yaml") == config


def test_a_config_with_everything_comes_back(tmp_path: Path) -> None:
    config = load(
        "distill.targets=t.npz",
        "data.pairs=p.txt",
        "data.test_folds=[1,2]",
        "optimizer.learning_rate=1e-7",
        "optimizer.clip_norm=null",
        "head.scale=64",
    )
    assert load_text(tmp_path, config.to_yaml()) == config
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert yaml.safe_load(config.to_yaml()) == config.to_dict()  # other readers see the same


def test_the_written_config_names_every_key() -> None:
    written = load("distill.targets=t.npz", *TRIPLET).to_dict()
    found = [
        f"{name}.{inner}" if inner else name
        for name, value in written.items()
        for inner in (value if isinstance(value, dict) else [""])
    ]
    assert sorted(found) == sorted(KEYS)


# What changed


def test_equal_configs_have_no_differences() -> None:
    assert differences(load("schedule.epochs=20"), load("schedule.epochs=20.0")) == []


def test_differences_are_told_by_key_with_both_values() -> None:
    new = load("schedule.epochs=30", "augment.erase=0", "run=elsewhere", "threads=2")
    assert differences(load(), new) == [
        Difference("run", "runs/a", "elsewhere"),
        Difference("threads", 0, 2),
        Difference("augment.erase", 0.5, 0.0),
        Difference("schedule.epochs", 20.0, 30.0),
    ]


def test_a_difference_is_one_sentence() -> None:
    (found,) = differences(load(), load("schedule.shape=poly"))
    assert str(found) == "schedule.shape: cosine -> poly"


def test_a_new_section_is_a_difference_of_all_its_keys() -> None:
    found = differences(load(), load("distill.targets=t.npz"))
    assert found[0] == Difference("distill.targets", None, "t.npz")
    assert {change.key for change in found} == {key for key in KEYS if key.startswith("distill.")}


def test_what_may_change_on_resume_are_keys() -> None:
    assert set(KEYS) >= FREE_ON_RESUME


# The page


def rows_of_page() -> dict[str, str]:
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {key: default.strip("`") for key, default in rows}


def test_the_page_lists_every_key_and_no_other() -> None:
    assert sorted(rows_of_page()) == sorted(KEYS)


def test_the_page_tells_the_true_defaults() -> None:
    defaults: dict[str, Any] = load("distill.targets=t.npz", *TRIPLET).to_dict()
    defaults["data"]["sampler"] = "shuffled"
    for key, told in rows_of_page().items():
        section, _, name = key.rpartition(".")
        if told != "required":
            value = (defaults[section] if section else defaults)[name]
            assert yaml.safe_load(told) == value, key


def test_the_page_says_what_is_required() -> None:
    required = {key for key, told in rows_of_page().items() if told == "required"}
    assert required == {"run", "data.folder", "distill.targets"}


def test_the_page_says_what_may_change_on_resume() -> None:
    (line,) = [line for line in PAGE.read_text("utf-8").splitlines() if "may change" in line]
    assert set(re.findall(r"`([\w.]+)`", line)) == FREE_ON_RESUME


def test_the_example_of_the_page_is_a_config(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "first.yaml"
    path.write_text(text, "utf-8")
    assert load_config(path).schedule.epochs == 10


def test_every_strength_of_the_augmentation_is_a_key() -> None:
    assert {f"augment.{field.name}" for field in fields(Augmentation)} <= set(KEYS)
