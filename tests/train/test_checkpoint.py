"""A checkpoint gives back every bit, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from arcwise.errors import CheckpointError, InputError
from arcwise.train.checkpoint import (
    Checkpoint,
    flatten_optimizer,
    load_checkpoint,
    restore,
    restore_optimizer,
    save_checkpoint,
)
from arcwise.train.config import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = load_config(None, ["run=r", "data.folder=d"]).to_dict()


def make_network(width: int = 4, *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2)
    ).to(memory_format=torch.channels_last)


def make_state(step: int = 7, **tensors: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(
        tensors=tensors or {"network": dict(make_network().state_dict())},
        step=step,
        config=CONFIG,
        n_identities=5,
        people_digest="ab" * 32,
        best={"eer": 0.1, "step": 4},
    )


def learn(network: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        crops = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(crops).square().sum().backward()
        optimizer.step()


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a
    )


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda net: SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda net: SGD(net.parameters(), lr=0.1),
    "adamw": lambda net: AdamW(
        [{"params": [p], "weight_decay": 0.1 * (p.ndim > 1)} for p in net.parameters()], lr=0.1
    ),
}


# There and back


def test_a_checkpoint_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    network = make_network()
    tensors = {
        "network": dict(network.state_dict()),
        "head": {"weight": torch.tensor([[0.1, -0.0, 1e-40, torch.inf]])},
        "average": {"half": torch.randn(3, dtype=torch.bfloat16)},
        "optimizer": {"0.step": torch.tensor(3.0)},
    }
    state = make_state(**tensors)
    found = load_checkpoint(save_checkpoint(tmp_path / "run" / "last.safetensors", state))
    assert found.tensors.keys() == tensors.keys()
    assert all(same_bits(dict(found.tensors[group]), tensors[group]) for group in tensors)
    assert (found.step, found.n_identities, found.people_digest) == (7, 5, "ab" * 32)
    assert (found.config, found.best, found.validation) == (CONFIG, {"eer": 0.1, "step": 4}, None)


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    network = make_network()
    network(torch.randn(2, 3, 3, 3))
    path = save_checkpoint(tmp_path / "a", make_state(network=dict(network.state_dict())))
    found = load_checkpoint(path).tensors["network"]["1.num_batches_tracked"]
    assert found.dtype == torch.int64
    assert found.item() == 1


def test_tensors_that_share_memory_or_are_turned_can_be_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    state = make_state(network={"a": weight, "b": weight, "c": weight.t(), "d": weight[0]})
    found = load_checkpoint(save_checkpoint(tmp_path / "a", state)).tensors["network"]
    assert torch.equal(found["b"], weight)
    assert torch.equal(found["c"], weight.t())
    assert torch.equal(found["d"], weight[0])


def test_saving_does_not_touch_what_is_saved(tmp_path: Path) -> None:
    network = make_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_checkpoint(tmp_path / "a", make_state(network=dict(network.state_dict())))
    assert same_bits(dict(network.state_dict()), before)


def test_the_file_is_one_that_any_reader_of_safetensors_opens(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a.safetensors", make_state())
    assert "network.0.weight" in safetensors.torch.load_file(path)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a", make_state())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_three_steps_a_stop_and_three_steps_are_six_steps(tmp_path: Path, kind: str) -> None:
    straight, build = make_network(), OPTIMIZERS[kind]
    learn(straight, build(straight), range(6))

    network = make_network()
    optimizer = build(network)
    learn(network, optimizer, range(3))
    tensors = {"network": dict(network.state_dict()), "optimizer": flatten_optimizer(optimizer)}
    path = save_checkpoint(tmp_path / "last.safetensors", make_state(**tensors))

    found = load_checkpoint(path)
    again = make_network(seed=99)
    optimizer = build(again)
    restore(again, found.tensors["network"], what="network", origin="last")
    restore_optimizer(optimizer, found.tensors.get("optimizer", {}), origin="last")
    learn(again, optimizer, range(3, 6))
    assert same_bits(dict(again.state_dict()), dict(straight.state_dict()))


def test_what_was_read_is_not_changed_by_learning_on(tmp_path: Path) -> None:
    network = make_network()
    optimizer = OPTIMIZERS["sgd"](network)
    learn(network, optimizer, range(1))
    saved = {name: tensor.clone() for name, tensor in flatten_optimizer(optimizer).items()}
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    restore_optimizer(optimizer, saved, origin="last")
    learn(network, optimizer, range(1, 3))
    assert same_bits(saved, kept)


def test_rates_and_decays_are_those_of_the_new_optimizer() -> None:
    network = make_network()
    old, new = SGD(network.parameters(), lr=0.1, momentum=0.9), SGD(network.parameters(), lr=0.7)
    learn(network, old, range(1))
    restore_optimizer(new, flatten_optimizer(old), origin="last")
    assert new.param_groups[0]["lr"] == 0.7


# What is not a checkpoint


def refuse(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError, match=path.name) as caught:
        load_checkpoint(path)
    assert caught.value.hint
    return caught.value


def test_a_missing_checkpoint_is_told(tmp_path: Path) -> None:
    assert "no checkpoint" in str(refuse(tmp_path / "last.safetensors"))
    assert "RUN/checkpoints" in refuse(tmp_path).hint


def test_every_cut_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    whole = save_checkpoint(
        tmp_path / "a", make_state(network={"weight": torch.randn(2, 2)})
    ).read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "no whole safetensors file" in str(refuse(path))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcwise.train.checkpoint.read_bytes", lambda _: content)
        with pytest.raises(CheckpointError, match="no whole safetensors file"):
            load_checkpoint(__file__)


@given(st.data())
def test_a_flipped_byte_of_the_header_is_refused_or_read(data: st.DataObject) -> None:
    """Never another error: what is damaged either shows or is one of the weights."""
    with pytest.MonkeyPatch.context() as patch:
        kept: list[bytes] = []
        patch.setattr(
            "arcwise.train.checkpoint.write_atomically",
            lambda _, content, private: kept.append(content),
        )
        save_checkpoint("a", make_state(network={"weight": torch.ones(2)}))
        content = bytearray(kept[0])
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        patch.setattr("arcwise.train.checkpoint.read_bytes", lambda _: bytes(content))
        try:
            assert load_checkpoint(__file__).tensors
        except CheckpointError:
            return


def test_a_pickled_checkpoint_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(2)}, path)
    assert "no whole safetensors file" in str(refuse(path))


def write_note(path: Path, note: object, **tensors: Tensor) -> Path:
    text = note if isinstance(note, str) else json.dumps(note)
    tensors = tensors or {"network.weight": torch.ones(2)}
    path.write_bytes(safetensors.torch.save(tensors, metadata={"arcwise": text}))
    return path


def good_note() -> dict[str, object]:
    return {
        "version": 2,
        "loss_scale": [1.0, 0.0],
        "shards": [],
        "config": {},
        "step": 1,
        "n_identities": 2,
        "people_digest": "0" * 64,
        "best": None,
        "validation": None,
    }


def test_the_format_is_the_written_one(tmp_path: Path) -> None:
    found = load_checkpoint(write_note(tmp_path / "a", good_note()))
    assert (found.step, found.n_identities) == (1, 2)
    path = save_checkpoint(tmp_path / "b", found)
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["arcwise"]) == good_note()


def test_weights_of_somebody_else_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}, metadata=metadata))
        assert "not a checkpoint of arcwise" in str(refuse(path))


def test_a_newer_format_is_told(tmp_path: Path) -> None:
    error = refuse(write_note(tmp_path / "a", {"version": 3, "anything": "else"}))
    assert "format 3, this arcwise reads format 2" in str(error)
    assert "newer arcwise" in error.hint


@pytest.mark.parametrize(
    "note",
    [
        "{",
        "[1]",
        good_note() | {"step": -1},
        good_note() | {"step": "1"},
        good_note() | {"version": "2"},
        good_note() | {"people_digest": "abc"},
        good_note() | {"extra": 1},
        {key: value for key, value in good_note().items() if key != "config"},
    ],
)
def test_a_damaged_note_is_refused(tmp_path: Path, note: object) -> None:
    assert "note in" in str(refuse(write_note(tmp_path / "a", note)))


@pytest.mark.parametrize("name", ["weight", "teacher.weight"])
def test_tensors_of_no_group_are_refused(tmp_path: Path, name: str) -> None:
    path = write_note(tmp_path / "a", good_note(), **{name: torch.ones(2)})
    assert f"{name!r}, which is no tensor of ours" in str(refuse(path))


def test_what_cannot_be_written_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a", make_state())
    before = path.read_bytes()
    nan = Checkpoint({}, 1, CONFIG, 2, "0" * 64, best={"eer": float("nan")})
    for state, word in (
        (make_state(teacher={"weight": torch.ones(2)}), "teacher"),
        (make_state(step=-1), "step"),
        (nan, "JSON"),
    ):
        with pytest.raises(CheckpointError, match=word):
            save_checkpoint(path, state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Another architecture


def test_another_width_is_told_with_what_the_checkpoint_holds_and_changes_nothing() -> None:
    wide, narrow = make_network(8), make_network(4)
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    state = make_state()
    with pytest.raises(CheckpointError) as caught:
        restore(
            narrow, wide.state_dict(), what="network", origin="a.safetensors", holds=state.holds
        )
    said = str(caught.value)
    assert "the network of a.safetensors (compact, dimension 128, 5 people, step 7)" in said
    assert "6 of another shape (0.weight 8x3x3x3 instead of 4x3x3x3, " in said
    assert ", …)" in said
    assert same_bits(dict(narrow.state_dict()), before)


def test_missing_and_unexpected_tensors_are_counted_and_named() -> None:
    network = make_network()
    tensors = {f"0.{name}": tensor for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        restore(network, tensors, what="head", origin="a")
    assert "8 missing (0.weight, 1.weight, 1.bias, …)" in str(caught.value)
    assert "8 unexpected (0.0.weight, 0.1.weight, 0.1.bias, …)" in str(caught.value)
    assert caught.value.hint


def test_one_missing_tensor_changes_nothing() -> None:
    network, other = make_network(), make_network(seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = dict(other.state_dict())
    del tensors["3.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing \(3\.bias\)"):
        restore(network, tensors, what="network", origin="a")
    assert same_bits(dict(network.state_dict()), before)


def test_a_count_is_not_taken_for_a_weight() -> None:
    network = make_network()
    tensors = dict(network.state_dict()) | {"1.num_batches_tracked": torch.tensor(1.5)}
    with pytest.raises(CheckpointError, match="num_batches_tracked"):
        restore(network, tensors, what="network", origin="a")


def test_a_config_that_is_not_ours_is_an_unknown_network() -> None:
    state = Checkpoint({}, 3, {"network": "mine"}, 2, "0" * 64)
    assert state.holds == "an unknown network, dimension ?, 2 people, step 3"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"9.momentum_buffer": torch.ones(1)}, "9.momentum_buffer has no place in SGD"),
        ({"0.exp_avg": torch.ones(1)}, "0.exp_avg has no place in SGD"),
        ({"x.momentum_buffer": torch.ones(1)}, "x.momentum_buffer has no place"),
        ({"0.momentum_buffer": torch.ones(3)}, "0.momentum_buffer is 3, its parameter 4x3x3x3"),
    ],
)
def test_the_memory_of_another_optimizer_is_refused(change: dict[str, Tensor], said: str) -> None:
    network = make_network()
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
    learn(network, optimizer, range(1))
    before = {name: tensor.clone() for name, tensor in flatten_optimizer(optimizer).items()}
    with pytest.raises(CheckpointError) as caught:
        restore_optimizer(optimizer, before | change, origin="last.safetensors")
    assert said in str(caught.value)
    assert caught.value.hint
    assert same_bits(flatten_optimizer(optimizer), before)


def test_half_a_memory_is_refused() -> None:
    network = make_network()
    optimizer = AdamW(network.parameters())
    learn(network, optimizer, range(1))
    tensors = flatten_optimizer(optimizer)
    del tensors["2.exp_avg_sq"]
    with pytest.raises(CheckpointError, match=r"2\.exp_avg_sq is missing"):
        restore_optimizer(AdamW(network.parameters()), tensors, origin="last")


# Faults


FULL_DISK = """
import json, sys
from pathlib import Path
import torch
from arcwise.errors import InputError
from arcwise.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

folder = Path(sys.argv[1])
def state(step, n):
    return Checkpoint({"network": {"weight": torch.full((n,), float(step))}}, step, {}, 2, "0" * 64)
path = save_checkpoint(folder / "last.safetensors", state(1, 1000))
try:
    save_checkpoint(path, state(2, 1000_000))
except InputError as exc:
    print(json.dumps([str(exc), exc.hint]))
found = load_checkpoint(path)
print(json.dumps([found.step, found.tensors["network"]["weight"].unique().tolist()]))
print(json.dumps(sorted(item.name for item in folder.iterdir())))
save_checkpoint(path, state(3, 1000))
print(load_checkpoint(path).step)
"""


@pytest.mark.fault
def test_a_full_disk_leaves_the_last_checkpoint_whole_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=512k tmpfs '{folder}' && exec \"$@\""
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    can_mount = (
        shutil.which("unshare")
        and not subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode
    )
    if not can_mount:
        pytest.skip("no mount namespace: needs Linux, util-linux and the right to mount")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FULL_DISK, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    (message, hint), kept, names, step = [json.loads(line) for line in done.stdout.splitlines()]
    assert "cannot write" in message
    assert "the disk is full" in hint
    assert kept == [1, [1.0]]
    assert names == ["last.safetensors"]
    assert step == 3


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "last.safetensors", make_state())
