"""Embeddings as Parquet, one row for each photo; the only file that knows pyarrow.

It does not know what the columns mean: embedded.py does. The columns are those of the .npz file;
what is not of one photo (model, failed reads) lies in the schema's metadata as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import InputError
from arcwise.evaluate.vectors.contents import Contents
from arcwise.files import translate_os_errors

try:
    import pyarrow
    import pyarrow.parquet
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "pyarrow":
        raise
    raise InputError(
        "pyarrow is not installed, which reads and writes Parquet",
        hint="pip install 'arcwise[report]', or name a file that ends in .npz",
    ) from exc

_KEY = b"arcwise"
_EXTRA = ("facts", "reasons", "failed_digests")


def check_texts(texts: Sequence[str]) -> None:
    """Make sure that a file can hold some texts.

    Raises:
        InputError: one is no text, as a file's name may be.
    """
    try:
        for text in texts:
            text.encode()
    except UnicodeError as exc:
        hint = "rename the photo, or name a file that ends in .npz"
        raise InputError(f"Parquet cannot hold a name that is no text: {exc}", hint=hint) from exc


def to_parquet(contents: Contents) -> bytes:
    """The bytes of a file; columns (N, D) of numbers become lists of D.

    Raises:
        InputError: a name is no text, as a file's name may be.
    """
    for column in contents.columns.values():
        if column.dtype.kind == "U":
            check_texts(column.tolist())
    arrays = {name: _to_arrow(column) for name, column in contents.columns.items()}
    extra = {name: dict(getattr(contents, name)) for name in _EXTRA}
    metadata = {_KEY: json.dumps(extra).encode()}
    table = pyarrow.table(arrays).replace_schema_metadata(metadata)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def read_parquet(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> Contents:
    """What a file holds, ours or anybody's.

    Args:
        path: where it is.
        choose: which of its columns to read.

    Returns:
        Those columns of texts and of vectors, and what our metadata say.

    Raises:
        InputError: it cannot be read, or a column has a gap or vectors of several lengths.
    """
    with translate_os_errors(path, doing="read"):
        content = path.read_bytes()
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        table = file.read(columns=list(choose(file.schema_arrow.names)))
        columns = {
            field.name: column
            for field in table.schema
            if (column := _from_arrow(table[field.name].combine_chunks(), field.name)) is not None
        }
    except (pyarrow.ArrowException, OSError, ValueError) as exc:
        raise InputError(f"{path} is no readable Parquet file: {exc}") from exc
    except InputError as exc:
        raise InputError(f"{path}: {exc}", hint=exc.hint) from exc
    extra = _read_extra((file.schema_arrow.metadata or {}).get(_KEY, b"{}"), path)
    return Contents(columns, **extra)


def _to_arrow(column: NDArray[Any]) -> Any:
    if column.ndim == 1:
        return pyarrow.array(column)
    flat = pyarrow.array(np.ascontiguousarray(column).reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, column.shape[1])


def _from_arrow(column: Any, name: str) -> NDArray[Any] | None:
    """A column as numpy has it; None when it is neither texts nor vectors of numbers."""
    kind = column.type
    types = pyarrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    is_text = types.is_string(kind) or types.is_large_string(kind)
    if not is_text and not (is_list and types.is_floating(kind.value_type)):
        return None
    values = column.flatten() if is_list else column
    if column.null_count or values.null_count:
        raise InputError(f"column {name} has gaps", hint="leave out the rows without a vector")
    if is_text:
        return np.array(column.to_pylist(), np.str_)
    lengths = {kind.list_size} if types.is_fixed_size_list(kind) else _lengths_of(column)
    if len(lengths) > 1:
        raise InputError(f"column {name} holds vectors of {len(lengths)} lengths")
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), lengths.pop() if lengths else 0)


def _lengths_of(column: Any) -> set[int]:
    return set(np.unique(np.diff(column.offsets.to_numpy())).tolist())


def _read_extra(content: bytes, path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(content)
        extra = {name: dict(found.get(name, {})) for name in _EXTRA}
    except (AttributeError, RecursionError, TypeError, ValueError) as exc:
        raise InputError(f"{path} holds metadata of ours that is broken: {exc}") from exc
    texts = [text for part in extra.values() for pair in part.items() for text in pair]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path} holds metadata of ours that are no texts")
    return extra
