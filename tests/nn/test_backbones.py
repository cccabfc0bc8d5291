"""What every backbone keeps to: crops in, raw float32 embeddings out, and a name in the table."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arcwise.errors import LearningError
from arcwise.nn import BACKBONES, build_backbone
from arcwise.nn.fuse import fuse_batch_norm
from arcwise.session import Session

CHEAP = ["iresnet18", "mobilefacenet", "compact"]
HEAVY = ["iresnet34", "iresnet50", "iresnet100", "iresnet200"]


def last_linear(network: nn.Module) -> nn.Linear:
    (linear,) = (part for part in network.modules() if isinstance(part, nn.Linear))
    return linear


def test_the_table_holds_these_names() -> None:
    assert sorted(BACKBONES) == [
        "compact",
        "iresnet100",
        "iresnet18",
        "iresnet200",
        "iresnet34",
        "iresnet50",
        "mobilefacenet",
    ]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in HEAVY else ()) for n in BACKBONES],
)
def test_crops_become_embeddings_of_the_asked_dimension(name: str) -> None:
    with FakeTensorMode():
        network = build_backbone(name, dimension=96)
        embeddings = network(torch.empty(2, 3, 112, 112))
    assert embeddings.shape == (2, 96)
    assert embeddings.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("name", CHEAP)
def test_an_embedding_does_not_depend_on_the_rest_of_its_batch(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(name, dimension=16).eval()
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    both, first = network(crops), network(crops[:1])
    assert (both[0] - both[1]).norm() > 1e-2 * both[0].norm()
    assert (first[0] - both[0]).norm() < 1e-4 * both[0].norm()


@torch.no_grad()
@pytest.mark.parametrize("name", CHEAP)
def test_under_autocast_the_end_is_float32(name: str) -> None:
    network = build_backbone(name, dimension=16).eval()
    linear, seen = last_linear(network), []
    linear.register_forward_hook(lambda module, x, y: seen.extend([x[0].dtype, y.dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = network(torch.rand(1, 3, 112, 112))
    assert [*seen, embeddings.dtype] == [torch.float32] * 3


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet"])
@pytest.mark.parametrize("shape", [(1, 3, 128, 128), (1, 112, 112, 3), (3, 112, 112)])
def test_what_is_no_batch_of_crops_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = build_backbone(name)
        with pytest.raises(LearningError, match=str(shape[-2])) as caught:
            network(torch.empty(shape))
    assert "112 px" in caught.value.hint


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet"])
def test_dropout_is_passed_on(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name, dropout=0.4)
    shares = [part.p for part in network.modules() if isinstance(part, nn.Dropout)]
    assert shares == [0.4]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("iresnet52", "did you mean iresnet50?"), ("vgg", "there are: iresnet18, ")],
)
def test_an_unknown_name_is_answered_with_the_closest(name: str, hint: str) -> None:
    with pytest.raises(LearningError, match=f"no backbone is called '{name}'") as caught:
        build_backbone(name)
    assert caught.value.hint.startswith(hint)


def test_an_embedding_needs_dimensions() -> None:
    with pytest.raises(LearningError, match="0 dimensions"):
        build_backbone("iresnet18", dimension=0)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout: float) -> None:
    with pytest.raises(LearningError, match="dropout is"):
        build_backbone("iresnet18", dropout=dropout)


def test_without_torch_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails as if it were absent
    monkeypatch.delitem(sys.modules, "arcwise.nn")
    with pytest.raises(LearningError, match="torch is not installed") as caught:
        importlib.import_module("arcwise.nn")
    assert caught.value.hint == "pip install 'arcwise[train]'"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's own exporter, 2.13
@pytest.mark.parametrize("is_fused", [False, True], ids=["as trained", "fused"])
@pytest.mark.parametrize("name", CHEAP)
def test_the_exported_graph_takes_any_number_of_crops(
    name: str, is_fused: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build_backbone(name, dimension=16)
    with torch.no_grad():
        network(torch.rand(4, 3, 112, 112) * 2 - 1)
    network = fuse_batch_norm(network) if is_fused else network.eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, 112, 112),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("B")},),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "network.onnx")
    session = Session((tmp_path / "network.onnx").read_bytes(), provider="cpu")
    for n_crops in (1, 5):
        crops = torch.rand(n_crops, 3, 112, 112) * 2 - 1
        (answer,) = session.run(crops.numpy())
        expected = network(crops).detach().numpy()
        np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())
