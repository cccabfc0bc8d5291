"""The axes of the embedding evened out, after training: a linear map folded into the last layer.

A network that is trained on few people answers more boldly along directions that are easy to
learn (sex, age, light) than along those that tell two alike people apart, and cosine counts every
direction by its size. The map divides each principal axis of the embeddings of the training
photos by a power of its variance: 0 leaves all as it is, 0.5 makes all axes equal, which gives
too much to noise; 0.25 helped most (docs/experiments.md). No person outside training is used.

Source: principal component whitening with a fractional power, as in the
retrieval literature (Jegou and Chum 2012, "Negative evidences and co-occurrences in image
retrieval"; Radenovic et al. 2018 for learned whitening).
"""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.train.checkpoint import load_checkpoint, restore, save_checkpoint
from arcwise.train.learner import Learner
from arcwise.train.material import Material
from arcwise.train.validate import embed_crops
from arcwise.types import Floats

_LEAST_VARIANCE = 1e-2  # relative to the largest: axes below are noise and are not raised further


def whitening_map(embeddings: Floats, power: float) -> Floats:
    """The map for some embeddings.

    Args:
        embeddings: (N, D), of any length; only their directions count.
        power: of the variance by which an axis is divided, 0 to 0.5.

    Returns:
        (D, D) float64, symmetric: U diag(max(v, 0.01 max v)^-power) U' for the second moments
        U diag(v) U' of the unit embeddings, where the largest v counts as 1.

    Raises:
        LearningError: fewer embeddings than dimensions, or one that has no direction.
    """
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    n, dimension = embeddings.shape
    if n < dimension or not (np.isfinite(norms).all() and norms.all()):
        raise LearningError(
            f"{n} embeddings of {dimension} dimensions cannot be whitened",
            hint="give at least as many training photos as dimensions, or set whiten to 0",
        )
    unit = embeddings / norms
    variances, axes = np.linalg.eigh(unit.T @ unit / n)
    relative = np.maximum(variances / variances[-1], _LEAST_VARIANCE)
    result: Floats = (axes * relative**-power) @ axes.T
    return result


def fold_map(network: nn.Module, matrix: Floats) -> nn.Module:
    """A copy of a network, in evaluation mode, whose embeddings are those of it times a map.

    Args:
        network: that ends in a Linear and a BatchNorm1d over its output.
        matrix: (D, D).

    Returns:
        The copy: the map is in the weights of the Linear, the BatchNorm1d only adds a bias.

    Raises:
        LearningError: the network ends in something else.
    """
    result = copy.deepcopy(network).eval()
    last = [m for m in result.modules() if isinstance(m, nn.Linear | nn.BatchNorm1d)][-2:]
    linear, norm = last if len(last) == 2 else (None, None)
    if not isinstance(linear, nn.Linear) or not isinstance(norm, nn.BatchNorm1d):
        raise LearningError("the network does not end in a Linear and a BatchNorm1d")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        turn = torch.from_numpy(np.ascontiguousarray(matrix, np.float64)).to(linear.weight.device)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - scale * norm.running_mean.double()
        _set(linear.weight, turn @ (scale[:, None] * linear.weight.double()))
        if linear.bias is not None:
            _set(linear.bias, turn @ (scale * linear.bias.double()))
        _set(norm.bias, turn @ shift)
        norm.weight.fill_(1.0)
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0 - norm.eps)
    return result


def _set(target: Tensor, value: Tensor) -> None:
    target.copy_(value.to(target.dtype))


def whiten_network(
    learner: Learner, material: Material, source: Path, out: Path
) -> dict[str, Any] | None:
    """Even out the axes of the network in a checkpoint, and write it as a checkpoint of its own.

    Args:
        learner: whose network has the same layers.
        material: whose training photos say what the axes are.
        source: the checkpoint.
        out: the new one, which holds nothing but the network.

    Returns:
        What validation of the result found; None without validation.

    Raises:
        CheckpointError: the source does not fit.
        InputError: something cannot be read or written.
    """
    power = learner.config.whiten
    found = load_checkpoint(source)
    name = "average" if "average" in found.tensors else "network"
    network = copy.deepcopy(learner.network)
    tensors = found.tensors[name]
    restore(network, tensors, what="network", origin=str(source), holds=found.holds)
    vectors = embed_crops(network, material.crops, material.split.training)
    whitened = fold_map(network, whitening_map(vectors, power))
    score: dict[str, Any] | None = None
    if material.validation is not None:
        score = {"step": found.step, "whiten": power}
        score |= asdict(material.validation.score(whitened))
    state = replace(
        found,
        tensors={"network": whitened.state_dict()},
        config=learner.config.to_dict(),
        validation=score,
        shards=(),
    )
    save_checkpoint(out, state)
    return score
