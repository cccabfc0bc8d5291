"""Rows that some ranks wrote are read by any number of others; a broken file is told of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from arcwise.errors import CheckpointError, InputError
from arcwise.nn.centers import find_block
from arcwise.train.shards import Shard, name_shard, read_rows, remove_stale, save_shard
from tests.ranks.threads import name_ranks

N = 10


def make_rows(n: int = N) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return {
        "weight": torch.randn(n, 3, generator=generator),
        "memory.steps": torch.arange(n, dtype=torch.float32),
    }


def write_shards(folder: Path, size: int, *, n: int = N, step: int = 5) -> list[Shard]:
    rows, shards = make_rows(n), []
    for rank, ranks in enumerate(name_ranks(size)):
        own = find_block(n, ranks)
        name = name_shard("last", step=step, rank=rank, size=size)
        shards.append(Shard(name, own.start, len(own), step))
        part = {kind: tensor[own.start : own.stop] for kind, tensor in rows.items()}
        save_shard(folder, shards[-1], part)
    return shards


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_any_number_of_ranks_reads_what_any_number_wrote(
    tmp_path_factory: pytest.TempPathFactory, n: int, n_before: int, n_now: int, random: object
) -> None:
    """Also where there are more ranks than rows, and whatever order the shards are named in."""
    folder = tmp_path_factory.mktemp("shards")
    shards = write_shards(folder, n_before, n=n)
    random.shuffle(shards)  # type: ignore[attr-defined]
    blocks = [find_block(n, ranks) for ranks in name_ranks(n_now)]
    parts = [read_rows(folder, shards, block.start, len(block)) for block in blocks]
    for kind, wanted in make_rows(n).items():
        found = torch.cat([part[kind] for part in parts])
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


def test_only_the_files_that_hold_the_rows_are_read(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, 4)  # 3, 3, 2, 2
    for shard in (shards[0], shards[3]):
        (tmp_path / shard.file).unlink()
    found = read_rows(tmp_path, shards, 3, 5)
    assert torch.equal(found["weight"], make_rows()["weight"][3:8])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, 2)
    (tmp_path / shards[1].file).unlink()
    with pytest.raises(CheckpointError, match=r"last-5-1of2\.safetensors is missing, .* 5"):
        read_rows(tmp_path, shards, 0, N)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    shards = write_shards(tmp_path, 2)
    path = tmp_path / shards[1].file
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="is no whole safetensors file") as caught:
        read_rows(tmp_path, shards, 0, N)
    assert "an older checkpoint" in caught.value.hint


@pytest.mark.parametrize("wrong", [{"step": 6}, {"first": 4}, {"n_rows": 6}])
def test_a_file_of_another_checkpoint_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    first, second = write_shards(tmp_path, 2)
    named = [replace(first, n_rows=wrong.get("first", 5)), replace(second, **wrong)]
    save_shard(tmp_path, named[0], make_rows())
    with pytest.raises(CheckpointError, match="the checkpoint names"):
        read_rows(tmp_path, named, 0, N)


def test_a_file_without_our_note_is_refused(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, 1)
    safetensors.torch.save_file(make_rows(), tmp_path / shard.file)
    with pytest.raises(CheckpointError, match="holds None, the checkpoint names"):
        read_rows(tmp_path, [shard], 0, N)


@pytest.mark.parametrize(("left_out", "row"), [(0, 0), (1, 4), (2, 8)])
def test_rows_that_no_shard_holds_are_missed(tmp_path: Path, left_out: int, row: int) -> None:
    shards = write_shards(tmp_path, 3, n=11)  # 4, 4, 3
    del shards[left_out]
    with pytest.raises(CheckpointError, match=f"hold no row {row} of the head"):
        read_rows(tmp_path, shards, 0, 11)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Files are readable by all, unless who writes them says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_shard_is_for_its_owner_alone(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, 1)
    assert (tmp_path / shard.file).stat().st_mode & 0o777 == 0o600


def test_a_view_of_a_larger_tensor_is_written_as_the_part_it_shows(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, 1)
    whole = torch.arange(60.0).view(6, 10)
    save_shard(tmp_path, shard, {"weight": whole.T[:, ::2].requires_grad_()})
    assert torch.equal(read_rows(tmp_path, [shard], 2, 4)["weight"], whole.T[2:6, ::2])


def test_a_place_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        save_shard(tmp_path / "file", Shard("s", 0, N, 1), make_rows())


def test_stale_shards_go_and_those_of_other_names_stay(tmp_path: Path) -> None:
    kept = ["last-8-0of2.safetensors", "last-8-1of2.safetensors"]
    others = [
        "last.safetensors",
        "best-4-0of2.safetensors",
        "last-one-4-0of2.safetensors",
        "last-4.safetensors",
        "last-4-0of2.safetensors.txt",
        "epoch_1-4-1of2.safetensors",
    ]
    stale = ["last-4-0of2.safetensors", "last-8-2of3.safetensors", "last-12-0of1.safetensors"]
    for name in (*kept, *others, *stale):
        (tmp_path / name).write_bytes(b"")
    remove_stale(tmp_path, "last", keep=kept)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, *others}
    remove_stale(tmp_path, "last", keep=())
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    remove_stale(tmp_path / "nowhere", "last", keep=())
