"""A model is a file plus a card: what it eats, what it gives, who made it, what it may be used for.

A card lies beside its model (`model.onnx` + `model.json`). It does not know how a model is run
and does not guess: what the graph cannot tell, its owner must.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arcwise.errors import ChecksumError, ModelError, UnknownModelError
from arcwise.files import read_bytes, sha256_of_file, write_atomically

Grade = Literal["demo", "good", "state of the art", "unknown"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputContract(_Frozen):
    """What a model eats: a crop becomes (x - mean) / std in this color order and layout.

    Attributes:
        size_px: side of the square crop.
        color: order of the channels the network expects.
        mean, std: of pixel values 0..255; (0, 1) when the graph normalizes by itself.
        layout: order of the axes.
    """

    size_px: int = Field(default=112, ge=16)
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    mean: float = 127.5
    std: float = Field(default=127.5, gt=0)
    layout: Literal["nchw", "nhwc"] = "nchw"


class License(_Frozen):
    """What a model may be used for.

    Attributes:
        name: SPDX identifier, or the publisher's words.
        commercial_use: True or False when the publisher says so, None when nobody knows.
        note: anything a user must know.
    """

    name: str = Field(min_length=1)
    commercial_use: bool | None = None
    note: str = ""


class PublishedThreshold(_Frozen):
    """The publisher's own threshold. Ours is a calibration and lives in its own file.

    Attributes:
        similarity: least cosine that counts as the same person.
        fmr: false match rate the publisher states for it, or None.
        source: where it was published.
    """

    similarity: float = Field(ge=-1, le=1)
    fmr: float | None = Field(default=None, gt=0, lt=1)
    source: str = Field(min_length=1)


class ModelCard(_Frozen):
    """Everything that is known of one model file.

    Attributes:
        name: the name to ask for; lowercase words, digits, "-", "_", ".".
        task: "embed" (aligned crop to vector) or "detect" (photo to faces).
        file: name of the model file, beside the card.
        sha256: of the model file.
        input: what the model eats.
        template: name of the alignment template of its crops (docs/conventions.md).
        dimension: length of the embedding.
        grade: how far to trust it: demo, good, state of the art, unknown.
        license: what it may be used for.
        source: where it comes from.
        trained_on: people and photos it was trained on, as far as known.
        threshold: the publisher's, when there is one.
        metrics: measured numbers by name, as the source states them.
        note: anything else.
        version: of the card's format.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    task: Literal["embed", "detect"] = "embed"
    file: str = Field(pattern=r"^[^/\\]+$")
    sha256: Sha256
    input: InputContract
    template: Literal["arcface"] = "arcface"
    dimension: int = Field(ge=1)
    grade: Grade = "unknown"
    license: License
    source: str
    trained_on: str = ""
    threshold: PublishedThreshold | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    note: str = ""
    version: Literal[1] = 1

    @property
    def digest(self) -> str:
        """The model digest: what makes two embeddings comparable, and nothing else.

        SHA-256 over the weights' digest, the input contract, the template and the dimension;
        never over threshold, license or text.
        """
        parts = {
            "weights": self.sha256,
            "input": self.input.model_dump(),
            "template": self.template,
            "dimension": self.dimension,
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The card as it is written, with a final newline."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, origin: str = "card") -> ModelCard:
        """Read a card.

        Args:
            text: JSON.
            origin: what to call it in an error, usually its path.

        Raises:
            ModelError: not JSON, a field is missing, misspelt or has a wrong value.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            problems = "; ".join(_describe(problem) for problem in exc.errors())
            raise ModelError(
                f"{origin} is not a model card: {problems}",
                hint="docs/models.md lists the fields of a card",
            ) from exc


def _describe(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the file"
    return f"{place}: {problem['msg']}"


def card_path_of(model_path: Path) -> Path:
    """Where the card of a model file lies: the same name with .json."""
    return model_path.with_suffix(".json")


def load_card(path: Path | str) -> ModelCard:
    """Read the card beside a model, or the card itself.

    Args:
        path: of the model file or of its card.

    Raises:
        UnknownModelError: there is no such file or no card beside it.
        ModelError: the card cannot be read.
    """
    path = Path(path)
    card_file = path if path.suffix == ".json" else card_path_of(path)
    if not card_file.is_file():
        raise UnknownModelError(
            f"no model card at {card_file}",
            hint="`arcwise models add FILE.onnx` writes one for your own model",
        )
    return ModelCard.from_json(read_bytes(card_file), origin=str(card_file))


def save_card(card: ModelCard, model_path: Path | str) -> Path:
    """Write a card beside its model file, atomically.

    Returns:
        The path of the card.

    Raises:
        InputError: the place cannot be written.
    """
    return write_atomically(card_path_of(Path(model_path)), card.to_json().encode())


def check_file(card: ModelCard, path: Path) -> None:
    """Make sure that a file is the one its card names.

    Raises:
        ChecksumError: it is another file.
        InputError: it cannot be read.
    """
    found = sha256_of_file(path)
    if found != card.sha256:
        raise ChecksumError(
            f"{path} has SHA-256 {found}, its card says {card.sha256}",
            hint="fetch or convert the model again; if you changed it, write a new card "
            "with `arcwise models add`",
        )
