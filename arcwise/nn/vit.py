"""Vision transformer for face crops: 144 patches that look at each other, no class token.

It does not know losses, nor where weights come from. Names and shapes of the weights are those
of the layout InsightFace publishes, so that such a state dict loads without renaming.

Source: Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words"; stochastic depth after Huang
et al. (2016), "Deep Networks with Stochastic Depth"; leaving tokens out after He et al. (2022),
"Masked Autoencoders Are Scalable Vision Learners"; sizes, ReLU6 and the output as in InsightFace's
arcface_torch.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as torch's own pages write it

from arcwise.errors import LearningError
from arcwise.nn.crops import check_crops
from arcwise.nn.recompute import run_blocks

_SIZE_PX = 112
_PATCH_PX = 9
_N_TOKENS = (_SIZE_PX // _PATCH_PX) ** 2  # 144; the last 4 px of each side are not looked at
_N_HEADS = 8
_WIDENING = 4  # of the two linear layers in each block
_STD = 0.02  # of the initial linear layers, positions and mask token
_EPS = 2e-5  # of both BatchNorms at the end


class _Attention(nn.Module):
    """Each token takes from all tokens, by how alike their queries and keys are, in eight heads.

    The likeness is computed in float32: in float16 a product of queries and keys overflows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same shape."""
        parts = self.qkv(x).unflatten(2, (3, _N_HEADS, -1)).permute(2, 0, 3, 1, 4)
        with torch.autocast(x.device.type, enabled=False):
            query, key, value = parts.float().unbind()  # each (B, heads, N, width / heads)
            taken = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(taken.transpose(1, 2).flatten(2))
        return result


class _DropPath(nn.Module):
    """Stochastic depth: while training, nothing of the branch for a share of the crops."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same shape; what is kept is scaled, so that the mean stays."""
        if not self.training or self.rate == 0:
            return x
        is_kept = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
        return x * (is_kept / (1 - self.rate)).to(x.dtype)


class _Block(nn.Module):
    """LayerNorm and attention, LayerNorm and two linear layers, each added to what came in."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        wide = _WIDENING * width
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width)
        self.drop_path = _DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(width, wide), act=nn.ReLU6(), fc2=nn.Linear(wide, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        total: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return total


class VisionTransformer(nn.Module):
    """Patches of 9 px become tokens; the last linear layers read all of them in order.

    Args:
        width: numbers of a token, a multiple of 8.
        depth: blocks.
        dimension: D, length of the embeddings.
        dropout: share of the 144 width features left out before the linear layers while training.
        drop_path: stochastic depth, the share of crops that the last block leaves as they are
            while training; it rises evenly from 0 in the first.
        mask: share of the tokens of each crop that the blocks do not see while training; the
            mask token stands in their places afterwards. 0 fixes the mask token, which is of no
            use then.

    Attributes:
        recompute: compute blocks again for the gradient, to save memory.

    Raises:
        LearningError: a width that the heads cannot share, no block, a share outside [0, 1).

    Source: see the module; initialization as in the layout InsightFace publishes.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        dimension: int = 512,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        mask: float = 0.1,
    ) -> None:
        super().__init__()
        _check_shape(width, depth)
        self._n_kept = _count_kept(mask)
        if not 0 <= drop_path < 1:
            raise LearningError(
                f"drop_path is {drop_path}, it is a share from 0 to below 1",
                hint="the published networks have 0.05 or 0.1",
            )
        self.recompute = False
        self.mask_token = nn.Parameter(torch.empty(1, 1, width), requires_grad=mask > 0)
        self.pos_embed = nn.Parameter(torch.empty(1, _N_TOKENS, width))
        self.patch_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(3, width, _PATCH_PX, stride=_PATCH_PX))
        )
        last = max(depth - 1, 1)
        self.blocks = nn.ModuleList(_Block(width, drop_path * i / last) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Sequential(
            nn.Linear(_N_TOKENS * width, width, bias=False),
            nn.BatchNorm1d(width, eps=_EPS),
            nn.Linear(width, dimension, bias=False),
            nn.BatchNorm1d(dimension, eps=_EPS),
        )
        self._initialize()

    def _initialize(self) -> None:
        """The patches' convolution, LayerNorm and BatchNorm (1 and 0) start as torch has them.

        The published code cuts the normal distribution off at 2, a hundred times its width.
        """
        nn.init.normal_(self.mask_token, std=_STD)
        nn.init.normal_(self.pos_embed, std=_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Embed crops.

        Args:
            x: (B, 3, 112, 112) float, RGB, (x - 127.5) / 127.5.

        Returns:
            (B, D) float32, not normalized; also under autocast, which rules the linear layers of
            the blocks only.

        Raises:
            LearningError: not of that shape.
        """
        check_crops(x, size_px=_SIZE_PX)
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        if self.training and self._n_kept < _N_TOKENS:
            tokens = self._embed_some(tokens)
        else:
            tokens = self.norm(run_blocks(self.blocks, tokens, recompute=self.recompute).float())
        with torch.autocast(x.device.type, enabled=False):
            embeddings: Tensor = self.feature(self.dropout(tokens.float().flatten(1)))
        return embeddings

    def _embed_some(self, tokens: Tensor) -> Tensor:
        """Let the blocks see a random choice of tokens, another one for each crop.

        Args:
            tokens: (B, 144, width), with their positions.

        Returns:
            (B, 144, width) float32, each in its place; the mask token where one was left out.
        """
        shuffled = torch.rand(tokens.shape[:2], device=tokens.device).argsort(1)
        chosen = shuffled[:, : self._n_kept, None].expand(-1, -1, tokens.shape[2])
        seen = run_blocks(self.blocks, tokens.gather(1, chosen), recompute=self.recompute)
        everywhere = self.mask_token.expand_as(tokens).float()
        return everywhere.scatter(1, chosen, self.norm(seen.float()).float())


def _check_shape(width: int, depth: int) -> None:
    if width < _N_HEADS or width % _N_HEADS or depth < 1:
        raise LearningError(
            f"a vision transformer of width {width} and depth {depth}",
            hint=f"the width is a multiple of {_N_HEADS}, the depth at least 1",
        )


def _count_kept(mask: float) -> int:
    """How many tokens the blocks see; any share above 0 leaves one out at least."""
    n_kept = int(_N_TOKENS * (1 - mask)) if 0 <= mask < 1 else 0
    if n_kept < 1:
        raise LearningError(
            f"mask is {mask}, it is a share from 0 that leaves one token of {_N_TOKENS}",
            hint="the published networks have 0, 0.05 or 0.1",
        )
    return n_kept
