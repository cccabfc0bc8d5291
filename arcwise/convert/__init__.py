"""Foreign model files become one `model.onnx` with its card.

It does not know a foreign format: each dialect is a row of `DIALECTS`. Everything is refused
before anything is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from arcwise.convert.graph import Converted
from arcwise.convert.mxnet import convert_mxnet, is_mxnet
from arcwise.errors import CheckpointError, InputError
from arcwise.files import write_atomically
from arcwise.zoo.card import InputContract, License, ModelCard, save_card


@dataclass(frozen=True, slots=True)
class Dialect:
    """One foreign format.

    Attributes:
        recognizes: whether a path looks like this format; reads no content.
        convert: path and input contract (None: the model itself must tell) to the result.
    """

    recognizes: Callable[[Path], bool]
    convert: Callable[[Path, InputContract | None], Converted]


DIALECTS = {"mxnet": Dialect(is_mxnet, convert_mxnet)}
"""Name to dialect."""


def convert_model(
    source: Path | str,
    out: Path | str,
    *,
    license: License,  # noqa: A002 - both names are fields of the card
    input: InputContract | None = None,  # noqa: A002
    dialect: str | None = None,
    name: str | None = None,
    source_note: str = "",
) -> ModelCard:
    """Convert a foreign model and write it with its card.

    Args:
        source: the foreign files: a folder, a prefix or one file, as the dialect says.
        out: the .onnx file to write, or the folder for `NAME.onnx`; the card goes beside it.
            Older files of these names are replaced.
        license: what the publisher allows.
        input: what the model eats; may be None when the graph normalizes by itself.
        dialect: a name of `DIALECTS`; None finds out.
        name: of the model; None takes the name of the .onnx file, or of the source's folder.
        source_note: where the files come from, such as an address; stands first in the card.

    Returns:
        The card, as written.

    Raises:
        CheckpointError: the source is not one whole model, or not one we can convert.
        InputError: there is no such source, an argument cannot be used, or the place cannot be
            written.
    """
    source, out = Path(source), Path(out)
    chosen = _choose_dialect(source, dialect)
    name = _choose_name(source, out, name)
    model_path = out if out.suffix == ".onnx" else out / f"{name}.onnx"
    converted = chosen.convert(source, input)
    content = converted.model.SerializeToString(deterministic=True)
    try:
        card = ModelCard(
            name=name,
            file=model_path.name,
            sha256=hashlib.sha256(content).hexdigest(),
            input=converted.input,
            dimension=converted.dimension,
            license=license,
            source="; ".join(text for text in (source_note, converted.origin) if text),
            note=converted.note,
        )
    except ValidationError as exc:
        raise InputError(
            f"no model can have the name {name!r}",
            hint="use lowercase letters and digits, after the first also '-', '_' and '.'",
        ) from exc
    write_atomically(model_path, content)
    save_card(card, model_path)
    return card


def detect_dialect(source: Path | str) -> str:
    """The dialect of foreign files.

    Args:
        source: as for `convert_model`.

    Raises:
        InputError: there is nothing at that path.
        CheckpointError: no dialect knows what is there.
    """
    source = Path(source)
    for dialect_name, dialect in DIALECTS.items():
        if dialect.recognizes(source):
            return dialect_name
    if not source.exists():
        raise InputError(
            f"there is nothing to convert at {source}", hint="check the path for typing errors"
        )
    raise CheckpointError(
        f"{source} is no model of a known dialect ({', '.join(DIALECTS)})",
        hint="docs/convert.md says which files are read",
    )


def _choose_dialect(source: Path, dialect: str | None) -> Dialect:
    dialect_name = detect_dialect(source) if dialect is None else dialect
    if dialect_name not in DIALECTS:
        raise InputError(
            f"there is no dialect {dialect_name!r}", hint=f"choose from {', '.join(DIALECTS)}"
        )
    return DIALECTS[dialect_name]


def _choose_name(source: Path, out: Path, name: str | None) -> str:
    if name is not None:
        return name
    if out.suffix == ".onnx":
        place = out.stem
    else:
        place = (source if source.is_dir() else source.parent).resolve().name
    return re.sub(r"[^a-z0-9._-]+", "-", place.lower()).strip("-._")
