"""The vision transformer has the published weights, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from arcwise.errors import LearningError
from arcwise.nn import build_backbone
from arcwise.nn.vit import VisionTransformer, _DropPath

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
N_TOKENS = 144

build_small = partial(VisionTransformer, 16, 3, dimension=8)


def published_names(depth: int) -> Iterator[str]:
    yield from ("mask_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")
    for block in (f"blocks.{i}" for i in range(depth)):
        yield from (f"{block}.norm1.weight", f"{block}.norm1.bias")
        yield from (f"{block}.attn.{x}" for x in ("qkv.weight", "proj.weight", "proj.bias"))
        yield from (f"{block}.norm2.weight", f"{block}.norm2.bias")
        yield from (f"{block}.mlp.{fc}.{part}" for fc in ("fc1", "fc2") for part in NORM[:2])
    yield from ("norm.weight", "norm.bias")
    for i in (0, 2):
        yield f"feature.{i}.weight"
        yield from (f"feature.{i + 1}.{part}" for part in NORM)


def naive_blocks(tokens: Tensor, w: dict[str, Tensor], *, depth: int, n_heads: int = 8) -> Tensor:
    """One token after the other, one head after the other."""

    def norm(x: Tensor, name: str) -> Tensor:
        spread = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(spread + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attend(x: Tensor, name: str) -> Tensor:
        width = x.shape[1]
        size = width // n_heads
        query, key, value = (x @ w[f"{name}.qkv.weight"].T).split(width, dim=1)
        out = torch.empty_like(x)
        for head in range(n_heads):
            own = slice(head * size, (head + 1) * size)
            for i in range(len(x)):
                likeness = torch.exp(key[:, own] @ query[i, own] / size**0.5)
                out[i, own] = likeness @ value[:, own] / likeness.sum()
        return out @ w[f"{name}.proj.weight"].T + w[f"{name}.proj.bias"]

    def widen(x: Tensor, name: str) -> Tensor:
        inside = x @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"]
        return inside.clamp(0, 6) @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]

    for name in (f"blocks.{i}" for i in range(depth)):
        tokens = tokens + attend(norm(tokens, f"{name}.norm1"), f"{name}.attn")
        tokens = tokens + widen(norm(tokens, f"{name}.norm2"), f"{name}.mlp")
    return norm(tokens, "norm")


def naive_tokens(crop: Tensor, w: dict[str, Tensor]) -> Tensor:
    """Cut out each patch of 9 px, line by line, and weigh its values."""
    kernel = w["patch_embed.proj.weight"]
    patches = [
        (crop[:, 9 * row : 9 * row + 9, 9 * column : 9 * column + 9] * kernel).sum((1, 2, 3))
        for row in range(12)
        for column in range(12)
    ]
    return torch.stack(patches) + w["patch_embed.proj.bias"] + w["pos_embed"][0]


def naive_end(tokens: Tensor, w: dict[str, Tensor]) -> Tensor:
    x = tokens.flatten()
    for i in (0, 2):
        x = w[f"feature.{i}.weight"] @ x
        gamma, beta, mean, var = (w[f"feature.{i + 1}.{part}"] for part in NORM[:4])
        x = (x - mean) / torch.sqrt(var + 2e-5) * gamma + beta
    return x


@pytest.fixture
def small() -> VisionTransformer:
    """With weights large enough that attention looks at something, in eval mode, float64."""
    torch.manual_seed(4)
    network = build_small()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def in_doubles(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.double() for name, value in network.state_dict().items()}


# The published weights


@pytest.mark.parametrize(
    ("name", "n_millions"),
    [  # counted on the published networks, as InsightFace's arcface_torch builds them
        ("vit_t", 19.14),
        ("vit_s", 76.02),
        ("vit_b", 113.8),
        ("vit_l", 255.7),
    ],
)
def test_every_size_has_as_many_weights_as_the_published_one(name: str, n_millions: float) -> None:
    with torch.device("meta"):
        network = build_backbone(name)
    n = sum(weight.numel() for weight in network.parameters())
    assert float(f"{n / 1e6:.4g}") == n_millions


def test_the_weights_have_the_published_names() -> None:
    with torch.device("meta"):
        network = build_backbone("vit_t")
    assert list(network.state_dict()) == list(published_names(12))


def test_the_weights_have_the_published_shapes() -> None:
    with torch.device("meta"):
        network = build_backbone("vit_t")
    shapes = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    assert shapes["mask_token"] == (1, 1, 256)
    assert shapes["pos_embed"] == (1, 144, 256)
    assert shapes["patch_embed.proj.weight"] == (256, 3, 9, 9)
    assert shapes["blocks.0.attn.qkv.weight"] == (768, 256)
    assert shapes["blocks.11.mlp.fc1.weight"] == (1024, 256)
    assert shapes["feature.0.weight"] == (256, 144 * 256)
    assert shapes["feature.2.weight"] == (512, 256)


@pytest.mark.parametrize(("width", "depth"), [(12, 2), (0, 2), (4, 2), (16, 0)])
def test_a_shape_that_cannot_be_built_is_refused(width: int, depth: int) -> None:
    with pytest.raises(LearningError, match=f"width {width} and depth {depth}"):
        VisionTransformer(width, depth)


# The beginning of training


def test_the_weights_begin_as_published() -> None:
    torch.manual_seed(0)
    network = VisionTransformer(64, 2)
    for part in network.modules():
        if isinstance(part, nn.Linear):
            assert part.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert part.bias is None or (part.bias == 0).all()
        if isinstance(part, nn.LayerNorm | nn.BatchNorm1d):
            assert (part.weight == 1).all()
            assert (part.bias == 0).all()
    assert network.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
    assert [m.eps for m in network.feature if isinstance(m, nn.BatchNorm1d)] == [2e-5, 2e-5]


# Its arithmetic


@torch.no_grad()
def test_it_answers_as_the_plain_forward_from_the_published_names(
    small: VisionTransformer,
) -> None:
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    w = in_doubles(small)
    expected = torch.stack(
        [naive_end(naive_blocks(naive_tokens(crop.double(), w), w, depth=3), w) for crop in crops]
    )
    assert (small(crops) - expected).norm() < 1e-4 * expected.norm()


@torch.no_grad()
def test_the_last_four_pixels_of_a_side_are_not_looked_at(small: VisionTransformer) -> None:
    crops = torch.rand(1, 3, 112, 112)
    changed = crops.clone()
    changed[:, :, 108:] = 0
    changed[:, :, :, 108:] = 0
    assert torch.equal(small(crops), small(changed))


@torch.no_grad()
def test_attention_is_float32_under_autocast_and_stays_finite(small: VisionTransformer) -> None:
    """Products of queries and keys of 1e3 are beyond float16; none of them may be rounded to it."""
    attention = small.blocks[0].attn
    attention.qkv.weight.mul_(300)
    with torch.autocast("cpu", torch.float16):
        assert small(torch.rand(1, 3, 112, 112)).isfinite().all()


# Masking


@torch.no_grad()
def test_the_blocks_see_the_share_of_tokens_that_is_asked_for() -> None:
    """Not a tenth whenever the share is above 0, as the published code has it."""
    for mask, n_seen in [(0.0, 144), (0.1, 129), (0.05, 136), (0.5, 72), (0.001, 143)]:
        network = build_small(mask=mask)
        seen: list[int] = []
        network.blocks[0].register_forward_hook(
            lambda block, x, y, seen=seen: seen.append(len(y[0]))
        )
        network(torch.rand(2, 3, 112, 112))
        network.eval()(torch.rand(2, 3, 112, 112))
        assert seen == [n_seen, 144]


@torch.no_grad()
def test_what_is_seen_stands_in_its_place_and_the_mask_token_elsewhere(
    small: VisionTransformer,
) -> None:
    """Which tokens those are follows from the random numbers, drawn here once more."""
    small._n_kept = 100
    tokens = torch.randn(2, N_TOKENS, 16)
    torch.manual_seed(9)
    found = small._embed_some(tokens)
    torch.manual_seed(9)
    order = torch.rand(2, N_TOKENS).argsort(1)
    w = in_doubles(small)
    for i in range(2):
        kept = order[i, :100]
        expected = w["mask_token"][0].expand(N_TOKENS, -1).clone()
        expected[kept] = naive_blocks(tokens[i, kept].double(), w, depth=3)
        assert (found[i] - expected).norm() < 1e-4 * expected.norm()
    assert set(order[0, :100].tolist()) != set(order[1, :100].tolist())


def test_the_mask_token_learns_where_it_is_used_and_is_fixed_elsewhere() -> None:
    used = build_small(mask=0.1)
    used(torch.rand(2, 3, 112, 112)).square().sum().backward()
    assert used.mask_token.grad is not None
    assert build_small(mask=0.0).mask_token.requires_grad is False


# Stochastic depth


def test_stochastic_depth_rises_evenly_to_what_is_asked_for() -> None:
    network = VisionTransformer(8, 5, drop_path=0.2)
    rates = [part.rate for part in network.modules() if isinstance(part, _DropPath)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert VisionTransformer(8, 1, drop_path=0.2).blocks[0].drop_path.rate == 0


def test_a_branch_is_left_out_for_a_share_of_the_crops_and_keeps_its_mean() -> None:
    torch.manual_seed(0)
    branch = _DropPath(0.25)
    given = branch(torch.ones(4000, 2, 3))
    torch.testing.assert_close(given.unique(), torch.tensor([0, 4 / 3]))
    assert (given == given[:, :1, :1]).all()  # a crop as a whole
    assert given.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(branch.eval()(torch.ones(2, 2, 2)), torch.ones(2, 2, 2))
