"""What every backbone keeps to: crops in, raw float32 embeddings out, and a name in the table."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arcwise.errors import LearningError
from arcwise.nn import ALIASES, BACKBONES, Backbone, build_backbone, find_backbone
from arcwise.nn.fuse import fuse_batch_norm
from arcwise.nn.resnet import ResNet50
from arcwise.nn.vit import VisionTransformer
from arcwise.session import Session

pytestmark = pytest.mark.slow

HEAVY = [
    "iresnet34",
    "iresnet50",
    "iresnet100",
    "iresnet200",
    "vit_s",
    "vit_b",
    "vit_l",
    "resnet_face34",
    "resnet_face50",
    "resnet50_gap",
]


class Kind(NamedTuple):
    """A network with all parts of its kind, as small as may be, and what it takes."""

    build: Callable[[], nn.Module]
    crop_shape: tuple[int, int, int] = (3, 112, 112)


def named(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: build_backbone(name, dimension=16, dropout=0.2, options=options)


KINDS = {
    "iresnet": Kind(named("iresnet18")),
    "iresnet se gap": Kind(named("iresnet18", se=True, output="gap")),
    "iresnet gdc": Kind(named("iresnet18", output="gdc")),
    "mobilefacenet": Kind(named("mobilefacenet", scale=1)),
    "compact": Kind(named("compact")),
    "vit": Kind(lambda: VisionTransformer(32, 3, dimension=16, dropout=0.2, drop_path=0.3)),
    "resnet_face": Kind(named("resnet_face18"), (1, 128, 128)),
    "resnet_face se": Kind(named("resnet_face18", se=True), (1, 128, 128)),
    "resnet": Kind(lambda: ResNet50(dimension=16, dropout=0.2), (3, 64, 64)),
    "resnet gap": Kind(lambda: ResNet50(dimension=None), (3, 64, 64)),
}


@cache
def trained(kind: str) -> nn.Module:
    """Weights and statistics as training leaves them, numbers near 1 in all layers; eval mode."""
    torch.manual_seed(5)
    network = KINDS[kind].build()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.weight, 0.3, 1)
            nn.init.normal_(part.bias, 0, 0.3)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def draw(kind: str, n: int) -> Tensor:
    dice = torch.Generator().manual_seed(n)
    return torch.rand(n, *KINDS[kind].crop_shape, generator=dice) * 2 - 1


QUICK = {"compact", "vit"}
ONE_OF_EACH = QUICK | {"iresnet gdc", "mobilefacenet", "resnet_face se", "resnet"}


def every_kind(*, quick: set[str]) -> pytest.MarkDecorator:
    """All kinds, but those that are not quick only where there is time."""
    marked = [pytest.param(k, marks=() if k in quick else pytest.mark.slow) for k in KINDS]
    return pytest.mark.parametrize("kind", marked)


# The table


def test_the_table_holds_these_names() -> None:
    assert sorted(BACKBONES) == [
        "compact",
        "iresnet100",
        "iresnet18",
        "iresnet200",
        "iresnet34",
        "iresnet50",
        "mobilefacenet",
        "mobilefacenet_large",
        "resnet50",
        "resnet50_gap",
        "resnet_face18",
        "resnet_face34",
        "resnet_face50",
        "vit_b",
        "vit_l",
        "vit_s",
        "vit_t",
    ]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in HEAVY else ()) for n in BACKBONES],
)
def test_crops_become_embeddings_of_the_asked_dimension(name: str) -> None:
    dimension = BACKBONES[name].dimension or 96
    with FakeTensorMode():
        network = build_backbone(name, dimension=dimension)
        embeddings = network(torch.empty(2, *BACKBONES[name].crop_shape()))
    assert embeddings.shape == (2, dimension)
    assert embeddings.dtype == torch.float32


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_says_what_it_is_and_takes_its_own_defaults(name: str) -> None:
    row = BACKBONES[name]
    assert 10 < len(row.about) < 80
    with torch.device("meta"):
        plain = build_backbone(name, dimension=row.dimension or 8)
        told = build_backbone(name, dimension=row.dimension or 8, options=row.options)
    assert [(n, w.shape) for n, w in plain.state_dict().items()] == [
        (n, w.shape) for n, w in told.state_dict().items()
    ]
    assert plain.recompute is False


@pytest.mark.parametrize("alias", ALIASES)
def test_the_names_of_insightface_are_understood(alias: str) -> None:
    assert find_backbone(alias) in BACKBONES
    with torch.device("meta"):
        ours, theirs = build_backbone(ALIASES[alias]), build_backbone(alias)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_crops_of_another_size_go_where_the_network_allows_them() -> None:
    assert BACKBONES["iresnet50"].crop_shape() == (3, 112, 112)
    assert BACKBONES["resnet_face18"].crop_shape(128) == (1, 128, 128)
    assert BACKBONES["resnet50_gap"].crop_shape() == (3, 448, 448)
    assert BACKBONES["resnet50_gap"].crop_shape(32) == (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "size_px", "text"),
    [
        ("iresnet18", 128, "takes crops of 112 px, not of 128"),
        ("iresnet18", 96, "takes crops of 112 px, not of 96"),
        ("resnet50", 31, "takes crops of 32 px and more, not of 31"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_refused(name: str, size_px: int, text: str) -> None:
    with pytest.raises(LearningError, match=text):
        BACKBONES[name].crop_shape(size_px)


# What is asked for


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("iresnet52", "did you mean iresnet50?"),
        ("vgg", "there are: iresnet18, "),
        ("r500", "did you mean iresnet50? its options: output, se"),
        ("iresnet50_se", "did you mean iresnet50? its options: output, se"),
        ("vit_b_dp005_mask_005", "did you mean vit_b? its options: drop_path, mask"),
        ("Compact", "did you mean compact?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(name: str, hint: str) -> None:
    with pytest.raises(LearningError, match=f"no backbone is called '{name}'") as caught:
        build_backbone(name)
    assert caught.value.hint.startswith(hint)


def test_an_embedding_needs_dimensions() -> None:
    with pytest.raises(LearningError, match="0 dimensions"):
        build_backbone("iresnet18", dimension=0)


def test_a_network_without_last_layer_gives_what_it_has() -> None:
    with pytest.raises(LearningError, match="resnet50_gap gives 2048 dimensions, not 512"):
        build_backbone("resnet50_gap")


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout: float) -> None:
    with pytest.raises(LearningError, match="dropout is"):
        build_backbone("iresnet18", dropout=dropout)


@pytest.mark.parametrize("name", BACKBONES)
def test_dropout_is_passed_on(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name, dimension=BACKBONES[name].dimension or 8, dropout=0.4)
    shares = [part.p for part in network.modules() if isinstance(part, nn.Dropout)]
    assert shares == [0.4]


@pytest.mark.parametrize(
    ("name", "options", "complaint", "hint"),
    [
        ("iresnet18", {"outputs": "e"}, "iresnet18 has no option 'outputs'", "you mean output?"),
        ("vit_t", {"depth": 3}, "vit_t has no option 'depth'", "its options are drop_path, mask"),
        (
            "compact",
            {"se": True},
            "compact has no option 'se'",
            "its options are widths, blocks, front",
        ),
        ("iresnet18", {"se": 1}, "option se of iresnet18 is 1", "its default, False"),
        ("iresnet18", {"output": True}, "option output of iresnet18 is True", "default, 'e'"),
        ("iresnet18", {"output": "GPA"}, "no output of IResNet is called 'GPA'", "mean gap?"),
        ("mobilefacenet", {"scale": True}, "option scale of mobilefacenet is True", "default, 2"),
        ("mobilefacenet", {"scale": 1.5}, "option scale of mobilefacenet is 1.5", "default, 2"),
        ("mobilefacenet", {"blocks": [1, 2]}, r"is \[1, 2\]", r"[1, 4, 6, 2]"),
        ("mobilefacenet", {"blocks": [1, 4, 6, "2"]}, r"is \[1, 4, 6, '2'\]", r"[1, 4, 6, 2]"),
        ("mobilefacenet", {"blocks": 4}, "is 4", r"[1, 4, 6, 2]"),
        ("vit_t", {"mask": float("nan")}, "option mask of vit_t is nan", "default, 0.1"),
        ("vit_t", {"mask": 1}, "mask is 1", "0.05 or 0.1"),
        ("vit_t", {"drop_path": -0.1}, "drop_path is -0.1", "0.05 or 0.1"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(
    name: str, options: dict[str, Any], complaint: str, hint: str
) -> None:
    with (
        torch.device("meta"),
        pytest.raises(LearningError, match=complaint) as caught,
    ):
        build_backbone(name, options=options)
    assert hint in caught.value.hint


def test_options_come_back_from_json() -> None:
    with torch.device("meta"):
        network = build_backbone(
            "mobilefacenet", options=json.loads('{"scale": 1, "blocks": [2, 1, 1, 1]}')
        )
        whole = build_backbone("vit_t", options={"mask": 0})
    assert len(network.layers[1].layers) == 2
    assert not whole.mask_token.requires_grad


def test_a_row_of_ones_own_is_built_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(nn.Module):
        def __init__(self, dimension: int, dropout: float, width: int) -> None:
            super().__init__()
            self.fc = nn.Linear(width, dimension)

    monkeypatch.setitem(BACKBONES, "own", Backbone(Own, options={"width": 3}))
    assert build_backbone("own", dimension=2).fc.weight.shape == (2, 3)
    assert build_backbone("own", dimension=2, options={"width": 5}).fc.weight.shape == (2, 5)


def test_without_torch_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails as if it were absent
    monkeypatch.delitem(sys.modules, "arcwise.nn")
    with pytest.raises(LearningError, match="torch is not installed") as caught:
        importlib.import_module("arcwise.nn")
    assert caught.value.hint == "pip install 'arcwise[train]'"


# What every kind of network keeps to


@torch.no_grad()
@every_kind(quick=set(KINDS))
def test_an_embedding_does_not_depend_on_the_rest_of_its_batch(kind: str) -> None:
    crops = draw(kind, 5)
    together, alone = trained(kind)(crops), trained(kind)(crops[:1])
    assert together.dtype == torch.float32
    assert (together[0] - together[1]).norm() > 1e-3 * together[0].norm()
    assert (alone[0] - together[0]).norm() < 1e-4 * together[0].norm()


@torch.no_grad()
@every_kind(quick=ONE_OF_EACH)
def test_under_autocast_the_end_is_float32(kind: str) -> None:
    network = trained(kind)
    linear = [part for part in network.modules() if isinstance(part, nn.Linear)][-1:]
    seen: list[torch.dtype] = []
    handles = [
        layer.register_forward_hook(lambda module, x, y: seen.extend([x[0].dtype, y.dtype]))
        for layer in linear
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = network(draw(kind, 1))
    for handle in handles:
        handle.remove()
    assert {*seen, embeddings.dtype} == {torch.float32}
    assert embeddings.isfinite().all()
    full = network(draw(kind, 1))
    assert (embeddings - full).norm() < 0.2 * full.norm()  # bfloat16 has 8 bits


@every_kind(quick=set(KINDS))
def test_what_is_no_batch_of_crops_is_refused(kind: str) -> None:
    n_channels, side, _ = KINDS[kind].crop_shape
    other = 4 - n_channels
    for shape in [(1, other, side, side), (1, side, side, n_channels), (n_channels, side, side)]:
        with pytest.raises(LearningError, match=r"a batch of shape \(") as caught:
            trained(kind)(torch.empty(shape))
        assert "px" in caught.value.hint
    with pytest.raises(LearningError, match="a batch of shape"):
        trained(kind)(torch.empty(1, n_channels, 16, 16))


@every_kind(quick=ONE_OF_EACH)
def test_every_weight_that_learns_gets_a_finite_gradient(kind: str) -> None:
    torch.manual_seed(1)
    network = KINDS[kind].build()
    embeddings = network(draw(kind, 3))
    (embeddings * torch.randn(embeddings.shape)).sum().backward()
    bad = [
        name
        for name, weight in network.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.isfinite().all())
    ]
    assert bad == []


@every_kind(quick=QUICK)
def test_computing_again_for_the_gradient_changes_nothing_that_is_learned(kind: str) -> None:
    torch.manual_seed(2)
    plain = KINDS[kind].build()
    thrifty = copy.deepcopy(plain)
    thrifty.recompute = True
    for network in (plain, thrifty):
        torch.manual_seed(3)  # of dropout, stochastic depth and masking
        embeddings = network(draw(kind, 2))
        (embeddings * embeddings.detach().cos()).sum().backward()
    for name, weight in plain.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(thrifty.get_parameter(name).grad, weight.grad)
    for name, value in plain.named_buffers():
        assert torch.equal(thrifty.get_buffer(name), value), name


@every_kind(quick=ONE_OF_EACH)
def test_a_fused_network_gives_the_same_embeddings(kind: str) -> None:
    network = trained(kind)
    fused = fuse_batch_norm(network, crop_shape=KINDS[kind].crop_shape)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    before, after = (sum(isinstance(m, norms) for m in n.modules()) for n in (network, fused))
    assert after < before
    with torch.no_grad():
        expected, found = network(draw(kind, 2)), fused(draw(kind, 2))
    assert (found - expected).norm() < 1e-4 * expected.norm()


@every_kind(quick=QUICK)
def test_in_channels_last_order_it_answers_the_same(kind: str) -> None:
    network, crops = trained(kind), draw(kind, 2)
    turned = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        expected = network(crops)
        found = turned(crops.to(memory_format=torch.channels_last))
    assert (found - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's own exporter, 2.13
@pytest.mark.parametrize(
    ("kind", "is_fused"),
    [(kind, True) for kind in KINDS] + [("iresnet", False), ("mobilefacenet", False)],
)
def test_the_exported_graph_takes_any_number_of_crops(
    kind: str, is_fused: bool, tmp_path: Path
) -> None:
    shape = KINDS[kind].crop_shape
    network = trained(kind)
    if is_fused:
        network = fuse_batch_norm(network, crop_shape=shape)
    program = torch.onnx.export(
        network,
        (torch.zeros(2, *shape),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("B")},),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "network.onnx")
    session = Session((tmp_path / "network.onnx").read_bytes(), provider="cpu")
    for n_crops in (1, 5):
        crops = draw(kind, n_crops)
        (answer,) = session.run(crops.numpy())
        expected = network(crops).detach().numpy()
        np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())
