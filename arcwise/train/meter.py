"""How much memory a network takes to learn, found out without taking it.

`Meter` counts the bytes of the tensors that are alive, at every operation of torch. On fake
tensors, which have shapes but no memory, a whole forward and backward pass of the largest network
costs a second or two and nothing else. What libraries take beside tensors (the workspaces of cuDNN
and oneDNN, the gaps of an allocator) is not seen. It does not know heads, optimizers or ranks;
train/plan.py adds those.

Source: torch's pages on fake tensors and on `TorchDispatchMode`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

# Where torch's own pages import them from.
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from arcwise.errors import LearningError
from arcwise.nn import BACKBONES, Option, build_backbone, find_backbone

_WORD = 4  # bytes of a float32


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Counts the bytes of the tensors that are made inside its `with`, and still alive.

    Attributes:
        live_bytes: now.
        peak_bytes: at most, since the start or since it was set.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = int(storage._cdata)  # views share it; a fake storage has no address
        if key in self._known:
            return
        n_bytes = storage.nbytes()
        self._known.add(key)
        weakref.finalize(storage, self._drop, key, n_bytes)
        self.live_bytes += n_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _drop(self, key: int, n_bytes: int) -> None:
        self._known.discard(key)
        self.live_bytes -= n_bytes


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a network takes to learn from one batch.

    Attributes:
        n_weights: parameters.
        n_learned: those of them that learn.
        state_bytes: of parameters and buffers.
        activation_bytes: of what the forward pass leaves for the backward pass, crops included.
        passing_bytes: what the backward pass needs for a moment beyond all that and one gradient
            for each weight.
    """

    n_weights: int
    n_learned: int
    state_bytes: int
    activation_bytes: int
    passing_bytes: int

    @property
    def gradient_bytes(self) -> int:
        """Of one gradient for each weight that learns."""
        return self.n_learned * _WORD


def measure_network(
    name: str,
    *,
    dimension: int,
    n_photos: int,
    options: Mapping[str, Option] = MappingProxyType({}),
    size_px: int | None = None,
    is_half: bool = False,
    recompute: bool = False,
) -> Footprint:
    """What a network takes to learn from a batch, measured on fake tensors.

    Args:
        name: of the backbone.
        dimension: D, of the embedding.
        n_photos: of one pass, at least 2, as batch normalization needs.
        options: of the backbone.
        size_px: side of the crops; None: what the network is made for.
        is_half: its convolutions run in half precision.
        recompute: it computes its blocks a second time to save memory.

    Raises:
        LearningError: no such network, too few photos, or crops it does not take.
    """
    if n_photos < 2:
        raise LearningError(
            f"{n_photos} photos in one pass, batch normalization needs two",
            hint="raise schedule.batch_size, or lower schedule.accumulate or the number of ranks",
        )
    shape = BACKBONES[find_backbone(name)].crop_shape(size_px)
    with torch.device("meta"):  # where weights are not initialized
        network = build_backbone(name, dimension=dimension, options=options)
    network.recompute = recompute  # type: ignore[assignment]
    with FakeTensorMode(allow_non_fake_inputs=True), Meter() as meter:
        network.to_empty(device="cpu")
        state_bytes = meter.live_bytes
        crops = torch.randn(n_photos, *shape)
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=is_half):
            embeddings = network(crops)
        activation_bytes = meter.live_bytes - state_bytes
        meter.peak_bytes = 0
        embeddings.backward(torch.ones_like(embeddings))
        weights = list(network.parameters())
        n_learned = sum(weight.numel() for weight in weights if weight.requires_grad)
        expected = state_bytes + activation_bytes + n_learned * _WORD
        return Footprint(
            n_weights=sum(weight.numel() for weight in weights),
            n_learned=n_learned,
            state_bytes=state_bytes,
            activation_bytes=activation_bytes,
            passing_bytes=max(0, meter.peak_bytes - expected),
        )
