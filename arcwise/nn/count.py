"""What a network costs: its weights, its multiplications for one crop, its time on this machine.

It knows no architecture: torch counts each convolution, matrix product and attention by the
shapes that go in. What works on single values (BatchNorm, activations, sums) is not counted.
Where others publish "FLOPs", most mean what is called multiply-adds here; some add the values
that a BatchNorm handles (docs/backbones.md).
"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

# torch's own pages import it from there: https://docs.pytorch.org "Fake tensor".
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arcwise.nn import BACKBONES, build_backbone, find_backbone

_DIMENSION = 512  # of the published networks
_FEWEST_ROUNDS = 3
_PATIENCE_S = 2.0  # rounds begin within it


class Cost(NamedTuple):
    """What a network costs.

    Attributes:
        n_weights: parameters, those that are fixed too; without running statistics.
        n_multiply_adds: for one crop: a multiplication and an addition count once.
    """

    n_weights: int
    n_multiply_adds: int


def count_backbone(name: str, *, size_px: int | None = None) -> Cost:
    """What a backbone of a name costs, with 512 dimensions where it may have any.

    Args:
        name: as `build_backbone` takes it.
        size_px: side of the crop; None takes the one it is made for.

    Raises:
        LearningError: no such backbone, or it does not take crops of that side.
    """
    row = BACKBONES[find_backbone(name)]
    with torch.device("meta"):
        network = build_backbone(name, dimension=row.dimension or _DIMENSION)
    return count_cost(network, row.crop_shape(size_px))


def time_backbone(name: str, *, size_px: int | None = None) -> float:
    """Milliseconds of a backbone of a name, with random weights, as `time_network` measures them.

    Args:
        name: as `build_backbone` takes it.
        size_px: side of the crop; None takes the one it is made for.

    Raises:
        LearningError: no such backbone, or it does not take crops of that side.
    """
    row = BACKBONES[find_backbone(name)]
    shape = row.crop_shape(size_px)
    return time_network(build_backbone(name, dimension=row.dimension or _DIMENSION), shape)


def count_cost(network: nn.Module, crop_shape: tuple[int, int, int]) -> Cost:
    """Count without computing: only shapes are followed, weights are not needed.

    Args:
        network: on any device, the meta device too. It is left in evaluation mode.
        crop_shape: channels, height and width of what it takes.

    Raises:
        LearningError: the network does not take such crops.
    """
    network.eval()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), FakeTensorMode():
        weights: dict[str, Tensor] = {name: torch.empty(shape) for name, shape in shapes.items()}
        crop = torch.empty(1, *crop_shape)
        # As plain products: a CPU's own attention is not counted.
        with sdpa_kernel(SDPBackend.MATH), counter:
            functional_call(network, weights, crop)
    n_weights = sum(weight.numel() for weight in network.parameters())
    return Cost(n_weights, counter.get_total_flops() // 2)


def time_network(network: nn.Module, crop_shape: tuple[int, int, int]) -> float:
    """Milliseconds that one crop alone takes, in float32: the median of some rounds.

    Args:
        network: on the device to measure. It is left in evaluation mode.
        crop_shape: channels, height and width of what it takes.

    Raises:
        LearningError: the network does not take such crops.
    """
    device = next(network.parameters()).device
    crop = torch.zeros(1, *crop_shape, device=device)
    network.eval()
    spent_s: list[float] = []
    with torch.inference_mode():
        network(crop).cpu()  # the first run prepares
        while len(spent_s) < _FEWEST_ROUNDS or sum(spent_s) < _PATIENCE_S:
            start = time.perf_counter()
            network(crop).cpu()  # waits for a device that works on its own
            spent_s.append(time.perf_counter() - start)
    return statistics.median(spent_s) * 1000
