"""Aligned crops become embeddings, by any model that has a card.

It does not find or align faces. Flip augmentation adds the raw embedding of the mirrored crop,
as ArcFace's own evaluation does; measurements keep both apart, as protocols differ in what they
make of them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError, ModelError
from arcwise.image import mirror_image
from arcwise.session import Session
from arcwise.settings import Provider
from arcwise.types import Crops, Embedder, Embeddings, Floats
from arcwise.zoo.card import InputContract, ModelCard
from arcwise.zoo.registry import Model

_CROPS_PER_RUN = {"cpu": 8, "coreml": 16, "cuda": 64}
"""By provider. Measured on a CPU (docs/experiments.md): few crops stay in its cache, which networks
of many cheap operations thank for; plain convolutions like a few more at once."""


def prepare_crops(crops: Crops, contract: InputContract) -> Floats:
    """Turn crops into what a model eats.

    Args:
        crops: (N, S, S, 3) uint8 RGB.
        contract: from the model's card.

    Returns:
        (N, 3, S, S) or (N, S, S, 3) float32, (x - mean) / std in the contract's color order
        (one channel instead of three for gray, weighted as in Rec. 601).

    Raises:
        InputError: not crops of that size.
    """
    size_px = contract.size_px
    if crops.ndim != 4 or crops.shape[1:] != (size_px, size_px, 3) or crops.dtype != np.uint8:
        raise InputError(
            f"crops of shape {crops.shape} {crops.dtype}, the model takes "
            f"(N, {size_px}, {size_px}, 3) uint8 RGB",
            hint="align the faces with size_px of the model's card",
        )
    pixels: NDArray[np.generic] = crops
    if contract.color == "bgr":
        pixels = crops[..., ::-1]
    elif contract.color == "gray":
        weights = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma
        pixels = (crops @ weights)[..., None]
    if contract.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    values = np.ascontiguousarray(pixels).astype(np.float32)  # bytes move faster than floats
    if contract.mean != 0:
        values -= np.float32(contract.mean)
    if contract.std != 1:
        values *= np.float32(1 / contract.std)
    return values


class ONNXEmbedder:
    """An embedding model with its card, ready to run.

    Args:
        model: card and file.
        flip: add the embedding of the mirrored crop (twice the time, a little more accurate).
        provider: where it runs.
        strict: fail when the provider does not really run.
        threads: of one run; 0 lets the runtime choose.

    Raises:
        ModelError: the card is not that of an embedding model.
        ChecksumError: the file is not the one its card names.
        SessionError: the runtime refuses it.
    """

    def __init__(
        self,
        model: Model,
        *,
        flip: bool = False,
        provider: Provider = "cpu",
        strict: bool = False,
        threads: int = 0,
    ) -> None:
        if model.card.task != "embed":
            raise ModelError(f"{model.card.name} is a model to {model.card.task}, not to embed")
        model.verify()
        self.card: ModelCard = model.card
        self.flip = flip
        self._session = Session(model.path, provider=provider, strict=strict, threads=threads)

    @property
    def name(self) -> str:
        """Name of the model, from its card."""
        return self.card.name

    @property
    def digest(self) -> str:
        """The model digest; embeddings of equal digests can be compared."""
        return self.card.digest

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return self.card.dimension

    @property
    def crop_size_px(self) -> int:
        """Side of the aligned crops the model takes."""
        return self.card.input.size_px

    @property
    def provider(self) -> str:
        """Where the model really runs: cpu, cuda or coreml."""
        return self._session.choice.provider

    def embed(self, crops: Crops) -> Embeddings:
        """Embed many crops.

        Args:
            crops: (N, S, S, 3) uint8 RGB, aligned; S and the template are the card's.

        Returns:
            N embeddings; with flip, the norms are those of the mean of both.

        Raises:
            InputError: not crops of that size.
            ModelError: the model answers with another dimension than its card, or not finite.
            SessionError: the runtime failed.
        """
        raw = self._run(crops)
        if self.flip:
            raw += self._run(crops[:, :, ::-1])
            raw *= np.float32(0.5)
        return Embeddings.from_raw(raw)

    def _run(self, crops: Crops) -> Floats:
        step = self._session.max_batch or _CROPS_PER_RUN[self.provider]
        rows = np.empty((len(crops), self.dimension), np.float32)
        for start in range(0, len(crops), step):
            batch = prepare_crops(crops[start : start + step], self.card.input)
            n_crops = len(batch)
            if self._session.max_batch and n_crops < step:  # the graph takes whole batches only
                batch = np.concatenate([batch, np.repeat(batch[-1:], step - n_crops, axis=0)])
            answer = self._session.run(batch, self._session.output_names[:1])[0]
            if len(answer) != len(batch) or answer[0].size != self.dimension:
                raise ModelError(
                    f"{self.name} gives {answer.shape} for {len(batch)} crops, "
                    f"its card says {self.dimension} dimensions",
                    hint="write a new card with `arcwise models add`",
                )
            answer = answer.reshape(len(batch), self.dimension)[:n_crops]
            if not np.isfinite(answer).all():
                raise ModelError(
                    f"{self.name} gives values that are not finite",
                    hint="check mean and std in its card",
                )
            rows[start : start + n_crops] = answer
        return rows


class TwoViews:
    """An embedder that gives the embedding of a crop with that of its mirror image behind it.

    Both keep the length they have. It is a model of its own: what it gives can be compared with
    nothing else.

    Args:
        embedder: embeds each of both.

    Raises:
        InputError: it embeds the mirror image by itself.
    """

    def __init__(self, embedder: Embedder) -> None:
        if getattr(embedder, "flip", False):
            raise InputError(
                f"{embedder.name} embeds the mirror image by itself",
                hint="make the embedder without flip: both views are kept apart here",
            )
        self._embedder = embedder

    @property
    def name(self) -> str:
        """Name of the model, and that it has two views."""
        return f"{self._embedder.name}, two views"

    @property
    def digest(self) -> str:
        """Another than the model's own, as these are other vectors."""
        return hashlib.sha256(f"two views {self._embedder.digest}".encode()).hexdigest()

    @property
    def dimension(self) -> int:
        """Twice that of the model."""
        return 2 * self._embedder.dimension

    @property
    def crop_size_px(self) -> int:
        """Side of the aligned crops the model takes."""
        return self._embedder.crop_size_px

    def embed(self, crops: Crops) -> Embeddings:
        """Embed many crops and their mirror images.

        Args:
            crops: (N, S, S, 3) uint8 RGB, aligned.

        Returns:
            N embeddings of 2D numbers; vectors times norms are the raw ones.

        Raises:
            InputError: not crops of that size.
            ModelError: the model cannot be used.
        """
        views = [self._embedder.embed(crops), self._embedder.embed(mirror_image(crops))]
        return Embeddings.from_raw(np.concatenate([to_raw(view) for view in views], axis=1))


def to_raw(embeddings: Embeddings) -> Floats:
    """(N, D) float32 as the model gave them, to the last digit or so: vectors times norms."""
    return embeddings.vectors * embeddings.norms[:, None]
