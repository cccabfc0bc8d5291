"""Our metadata in a Parquet file are read, or refused; what cannot be written is told before."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from arcwise.errors import InputError
from arcwise.evaluate.vectors.embedded import check_names, load_embeddings


@pytest.mark.parametrize("metadata", [b"[" * 100_000, b"{", b"[]", b'{"facts": {"model": 3}}'])
def test_broken_metadata_are_refused(tmp_path: Path, metadata: bytes) -> None:
    table = pyarrow.table({"names": ["a"], "vectors": [[1.0]]})
    table = table.replace_schema_metadata({b"arcwise": metadata})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match="metadata of ours"):
        load_embeddings(tmp_path / "x.parquet")


def test_a_name_that_is_no_text_is_told_before_the_work() -> None:
    check_names(Path("x.npz"), ["a", "\udcff"])
    check_names(Path("x.parquet"), ["a", "Zoë"])
    with pytest.raises(InputError, match="a name that is no text"):
        check_names(Path("x.parquet"), ["a", "\udcff"])
