"""A trained backbone becomes its faster twin: each BatchNorm goes into the layer it follows.

It knows no architecture: one forward pass shows which BatchNorm reads what a convolution or a
linear layer gave. The fused network is for inference only, it cannot go on training.

Source: in inference BatchNorm is x -> (x - mean) gamma / sqrt(var + eps) + beta (Ioffe and
Szegedy 2015, algorithm 2). After W x + b both together are the one layer with
W' = W gamma / sqrt(var + eps) and b' = (b - mean) gamma / sqrt(var + eps) + beta.
"""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_FOLDED_INTO: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: nn.Conv2d,
    nn.BatchNorm1d: nn.Linear,
}
_LAYERS: tuple[type[nn.Module], ...] = tuple(_FOLDED_INTO.values())


def fuse_batch_norm(
    network: nn.Module, *, crop_shape: tuple[int, int, int] = (3, 112, 112)
) -> nn.Module:
    """A copy for inference with each BatchNorm folded into the layer whose output it reads.

    It gives the same embeddings up to rounding, with fewer passes over memory. A BatchNorm stays
    where its input is not the output of a convolution or a linear layer, or is read by something
    else as well. So one before a convolution with zero padding stays: padding comes after it and
    is 0, not the 0 that BatchNorm would have shifted, so that one bias for the middle and the
    border of the map cannot replace it.

    Args:
        network: a backbone. It is not changed.
        crop_shape: channels, height and width of what it takes.

    Returns:
        A deep copy in eval mode that takes no gradient. A folded BatchNorm is an Identity; its
        layer has kept its name and has a bias.

    Source: see the module.
    """
    fused = copy.deepcopy(network).eval().requires_grad_(False)
    for layer_name, norm_name in _find_pairs(fused, crop_shape).items():
        _fold(fused.get_submodule(layer_name), fused.get_submodule(norm_name))
        parent, _, attribute = norm_name.rpartition(".")
        setattr(fused.get_submodule(parent), attribute, nn.Identity().eval())
    return fused


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, it sees every operation, and so who reads what a layer gave.

    Attributes:
        outputs: name of a layer to what it gave, kept so that no other tensor gets its id.
        readers: id of such an output to the names of the BatchNorms that read it; "" is anything
            else.
        n_calls: how often a layer or a BatchNorm has run.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outputs: dict[str, Tensor] = {}
        self.readers: dict[int, set[str]] = {}
        self.n_calls: Counter[str] = Counter()
        self._running = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), self._running)
        return func(*args, **(kwargs or {}))

    def _note(self, values: Any, reader: str) -> None:
        for value in tree_iter(values):
            if id(value) in self.readers:
                self.readers[id(value)].add(reader)

    def leave_layer(self, name: str, _layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.n_calls[name] += 1
        self.outputs[name] = output
        self.readers[id(output)] = set()

    def enter_norm(self, name: str, _norm: nn.Module, _inputs: Any) -> None:
        self.n_calls[name] += 1
        self._running = name

    def leave_norm(self, _norm: nn.Module, _inputs: Any, _output: Any) -> None:
        self._running = ""

    def leave_network(self, answer: Any) -> None:
        """What the network gives is read by whoever asked for it."""
        self._note(answer, "")


def _find_pairs(network: nn.Module, crop_shape: tuple[int, int, int]) -> dict[str, str]:
    """Name of a layer to that of the BatchNorm which alone reads its output."""
    names = Counter(id(part) for _, part in network.named_modules(remove_duplicate=False))
    modules = {name: part for name, part in network.named_modules() if names[id(part)] == 1}
    watch = _Watch()
    with ExitStack() as hooks:
        for name, part in modules.items():
            if type(part) in _FOLDED_INTO:
                enter = partial(watch.enter_norm, name)
                hooks.enter_context(part.register_forward_pre_hook(enter))
                hooks.enter_context(part.register_forward_hook(watch.leave_norm))
            elif isinstance(part, _LAYERS):
                leave = partial(watch.leave_layer, name)
                hooks.enter_context(part.register_forward_hook(leave))
        device = next((weight.device for weight in network.parameters()), None)
        with torch.no_grad(), watch:
            watch.leave_network(network(torch.zeros(1, *crop_shape, device=device)))
    pairs = {}
    for name, output in watch.outputs.items():
        readers = watch.readers[id(output)]
        if len(readers) != 1:
            continue
        (reader,) = readers
        is_once = watch.n_calls[name] == watch.n_calls[reader] == 1
        if is_once and _can_fold(modules[name], modules[reader], output):
            pairs[name] = reader
    return pairs


def _can_fold(layer: nn.Module, norm: nn.Module, output: Tensor) -> bool:
    """Whether the BatchNorm has kept statistics, and takes for channels what the layer does.

    BatchNorm1d means the second dimension, a linear layer the last.
    """
    is_fit = isinstance(layer, _FOLDED_INTO[type(norm)])
    is_same_channel = isinstance(layer, nn.Conv2d) or output.ndim == 2
    return is_fit and is_same_channel and getattr(norm, "running_var", None) is not None


def _fold(layer: nn.Module, norm: nn.Module) -> None:
    """Change the layer so that it answers as layer and BatchNorm did; arithmetic in float64."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    gain = (_doubles(norm.running_var, 1) + norm.eps).rsqrt() * _doubles(norm.weight, 1)
    shift = _doubles(layer.bias, 0) - _doubles(norm.running_mean, 0)
    bias = shift * gain + _doubles(norm.bias, 0)
    weight = _doubles(layer.weight, 1)
    weight = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    layer.weight = nn.Parameter(weight.to(layer.weight), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(layer.weight), requires_grad=False)


def _doubles(values: Tensor | None, absent: float) -> Tensor:
    """In float64, and on the CPU as some devices have none; `absent` where there are none."""
    if values is None:
        return torch.tensor(absent, dtype=torch.float64)
    return values.detach().cpu().double()
