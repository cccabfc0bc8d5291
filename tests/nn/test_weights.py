"""A file of weights is half as large, says what it fits, and refuses what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from arcwise.errors import CheckpointError, LearningError
from arcwise.nn.weights import load_weights, save_weights

TINY = {"name": "compact", "dimension": 4}


@pytest.fixture
def network() -> nn.Module:
    """A convolution with its BatchNorm, whose statistics no float16 can hold."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4))
    network[1].running_var = torch.tensor([1e-9, 1.0, 1e6, 3.3333333])
    network[1].running_mean = torch.tensor([0.0, 1e5, -1.0, 1.2345678])
    return network.to(memory_format=torch.channels_last)


def test_what_was_saved_is_loaded_in_float32(network: nn.Module, tmp_path: Path) -> None:
    found = load_weights(save_weights(tmp_path / "new" / "w.safetensors", network, **TINY))
    assert found.network == TINY
    wanted = network.state_dict()
    assert found.tensors.keys() == wanted.keys()
    for name, value in found.tensors.items():
        assert value.dtype == wanted[name].dtype
        torch.testing.assert_close(value, wanted[name], rtol=1 / 2048, atol=0)
    network.load_state_dict(found.tensors)


def test_a_file_says_the_options_of_its_network(network: nn.Module, tmp_path: Path) -> None:
    options = {"scale": 1, "blocks": (2, 4, 6, 2)}
    path = save_weights(tmp_path / "w.safetensors", network, **TINY, options=options)
    found = load_weights(path).network
    assert found == TINY | {"options": {"scale": 1, "blocks": [2, 4, 6, 2]}}


def test_without_options_the_file_is_what_it_was_before_there_were_any(
    network: nn.Module, tmp_path: Path
) -> None:
    older = save_weights(tmp_path / "a.safetensors", network, **TINY)
    newer = save_weights(tmp_path / "b.safetensors", network, **TINY, options={})
    assert older.read_bytes() == newer.read_bytes()
    assert load_weights(older).network == TINY


def test_the_statistics_of_a_batch_norm_keep_every_bit(network: nn.Module, tmp_path: Path) -> None:
    found = load_weights(save_weights(tmp_path / "w.safetensors", network, **TINY))
    for name in ("1.running_var", "1.running_mean", "1.num_batches_tracked"):
        assert torch.equal(found.tensors[name], network.state_dict()[name])


def test_weights_take_two_bytes_each(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "w.safetensors", nn.Linear(100, 100), **TINY)
    assert 2 * 10_100 < path.stat().st_size < 2 * 10_100 + 500


def test_equal_weights_make_an_equal_file(network: nn.Module, tmp_path: Path) -> None:
    first = save_weights(tmp_path / "a.safetensors", network, **TINY)
    again = save_weights(tmp_path / "b.safetensors", network, **TINY)
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("value", [1e5, float("nan")])
def test_a_weight_that_half_precision_cannot_hold_is_refused(
    value: float, network: nn.Module, tmp_path: Path
) -> None:
    with torch.no_grad():
        network[3].bias[2] = value
    with pytest.raises(LearningError, match=r"3\.bias cannot be saved, its largest value is"):
        save_weights(tmp_path / "w.safetensors", network, **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("note", "complaint"),
    [
        (None, "holds no weights of arcwise"),
        ({"arcwise": "{}"}, "holds no weights of arcwise"),
        ({"arcwise-weights": "{"}, "is damaged"),
        ({"arcwise-weights": "[]"}, "is damaged"),
        ({"arcwise-weights": '{"version": 1, "network": {"name": "compact"}}'}, "is damaged"),
        ({"arcwise-weights": '{"version": 2, "nets": []}'}, "has format 2"),
        (
            {
                "arcwise-weights": '{"version": 1, "network": '
                '{"name": "compact", "dimension": 4, "options": 3}}'
            },
            "is damaged",
        ),
    ],
)
def test_a_file_without_our_note_is_refused(
    note: dict[str, str] | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}, metadata=note))
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load_weights(path)
    assert caught.value.hint


@pytest.mark.parametrize("n_bytes", [0, 4, 40, -1])
def test_a_file_that_was_cut_off_is_refused(
    n_bytes: int, network: nn.Module, tmp_path: Path
) -> None:
    path = save_weights(tmp_path / "w.safetensors", network, **TINY)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        load_weights(path)


def test_the_note_stands_in_the_header(tmp_path: Path) -> None:
    """Anybody can read it: length, JSON, then the numbers."""
    content = save_weights(tmp_path / "w.safetensors", nn.Linear(2, 2), **TINY).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    note = json.loads(header["__metadata__"]["arcwise-weights"])
    assert note == {"version": 1, "network": TINY}
