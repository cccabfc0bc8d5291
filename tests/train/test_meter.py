"""The bytes that a meter counts are those that tensors take, on real and on fake ones."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn import BACKBONES, build_backbone
from arcwise.train.meter import Footprint, Meter, measure_network

pytestmark = pytest.mark.slow


def saved_bytes(network: nn.Module, crops: Tensor, *, is_half: bool) -> int:
    """What autograd itself says it keeps of a forward pass, without the weights."""
    own = {id(t.untyped_storage()) for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = storage
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        network(crops)
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)


def learn(name: str, crops: Tensor, *, recompute: bool) -> tuple[int, int]:
    """What real tensors leave after a forward pass, and their peak in the backward pass."""
    with Meter() as meter:
        network = build_backbone(name, dimension=32)
        network.recompute = recompute
        state_bytes = meter.live_bytes
        crops = crops.clone()
        embeddings = network(crops)
        activation_bytes = meter.live_bytes - state_bytes
        meter.peak_bytes = 0
        embeddings.sum().backward()
    return activation_bytes, meter.peak_bytes


def test_a_tensor_counts_while_it_is_alive() -> None:
    with Meter() as meter:
        first = torch.ones(1000)
        second = first.double()
        assert meter.live_bytes == 4000 + 8000
        del first
        gc.collect()
        assert meter.live_bytes == 8000
        assert meter.peak_bytes == 12000
        del second


def test_a_view_takes_nothing() -> None:
    with Meter() as meter:
        whole = torch.ones(1000)
        parts = [whole[:500], whole.view(10, 100), whole.detach()]
        assert meter.live_bytes == 4000
        del parts


def test_what_is_done_in_place_takes_nothing() -> None:
    with Meter() as meter:
        torch.ones(1000).mul_(2).add_(1)
        assert meter.peak_bytes == 4000


@pytest.mark.parametrize(
    "name",
    ["compact", "iresnet18"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("mobilefacenet", "resnet_face18")],
)
def test_fake_tensors_count_as_real_ones_do(name: str) -> None:
    found = measure_network(name, dimension=32, n_photos=2)
    crops = torch.randn(2, *BACKBONES[name].crop_shape())
    activation_bytes, peak_bytes = learn(name, crops, recompute=False)
    assert found.activation_bytes == activation_bytes
    everything = found.state_bytes + found.activation_bytes + found.gradient_bytes
    assert peak_bytes <= everything + found.passing_bytes + 64  # a sum and its gradient


@pytest.mark.parametrize("is_half", [False, True])
def test_activations_are_what_autograd_keeps(is_half: bool) -> None:
    """And the crops, of which half precision keeps a copy; the embeddings hardly count."""
    network = build_backbone("compact", dimension=32)
    crops = torch.randn(16, 3, 112, 112)
    kept = saved_bytes(network, crops, is_half=is_half) + is_half * crops.nbytes
    found = measure_network("compact", dimension=32, n_photos=16, is_half=is_half)
    assert found.activation_bytes == pytest.approx(kept, rel=1e-3)


def test_parameters_are_those_of_the_published_network() -> None:
    found = measure_network("iresnet50", dimension=512, n_photos=2)
    assert found.n_weights == 43_590_848  # InsightFace, r50
    assert found.n_learned == 43_590_848 - 512  # the weights of the last BatchNorm are fixed


def test_twice_the_photos_leave_twice_the_activations() -> None:
    few, more = (measure_network("compact", dimension=32, n_photos=n) for n in (16, 32))
    assert more.activation_bytes == pytest.approx(2 * few.activation_bytes, rel=0.01)
    assert more.state_bytes == few.state_bytes


def test_half_precision_leaves_about_half() -> None:
    whole = measure_network("compact", dimension=64, n_photos=64)
    half = measure_network("compact", dimension=64, n_photos=64, is_half=True)
    assert 0.5 < half.activation_bytes / whole.activation_bytes < 0.6
    assert half.state_bytes == whole.state_bytes, "weights stay float32"


def test_computing_blocks_again_is_counted_as_it_is() -> None:
    found = measure_network("iresnet18", dimension=32, n_photos=2, recompute=True)
    crops = torch.randn(2, 3, 112, 112)
    activation_bytes, peak_bytes = learn("iresnet18", crops, recompute=True)
    assert found.activation_bytes == activation_bytes
    everything = found.state_bytes + found.activation_bytes + found.gradient_bytes
    assert peak_bytes <= everything + found.passing_bytes + 64
    without = measure_network("iresnet18", dimension=32, n_photos=2)
    assert found.activation_bytes < 0.4 * without.activation_bytes


@pytest.mark.slow
def test_larger_crops_leave_more() -> None:
    small, large = (
        measure_network("resnet50_gap", dimension=2048, n_photos=2, size_px=size)
        for size in (64, 128)
    )
    assert large.activation_bytes == pytest.approx(4 * small.activation_bytes, rel=0.02)


@pytest.mark.slow
def test_the_largest_network_is_measured_without_its_memory() -> None:
    """4 GiB of activations; the process would tell if they were taken."""
    found = measure_network("vit_l", dimension=512, n_photos=32, is_half=True)
    assert found.n_weights == pytest.approx(255.7e6, rel=1e-3)  # arcface_torch, ViT-L
    assert found.activation_bytes > 3 << 30


def test_one_photo_is_too_few() -> None:
    with pytest.raises(LearningError, match="1 photos in one pass"):
        measure_network("compact", dimension=32, n_photos=1)


def test_gradients_are_those_of_weights_that_learn() -> None:
    found = Footprint(
        n_weights=10, n_learned=8, state_bytes=40, activation_bytes=0, passing_bytes=0
    )
    assert found.gradient_bytes == 32
