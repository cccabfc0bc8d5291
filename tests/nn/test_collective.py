"""Ranks tell each other the same numbers, and gradients find their way back."""

from __future__ import annotations

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.collective import (
    ALONE,
    Ranks,
    any_rank,
    check_even,
    gather_rows,
    gather_values,
    max_over,
    sum_over,
    translate_lost_rank,
)
from tests.ranks.cases import run_gathered
from tests.ranks.start import run_ranks

pytestmark = pytest.mark.slow

SIZES = [2, pytest.param(4, marks=pytest.mark.slow)]


def test_one_process_is_rank_0_of_1():
    assert Ranks.alone() == ALONE == Ranks(0, 1, None)
    assert ALONE.is_first


@pytest.mark.parametrize(("rank", "size"), [(1, 1), (-1, 2), (4, 4)])
def test_a_rank_beyond_the_size_is_refused(rank: int, size: int):
    with pytest.raises(LearningError, match=f"rank {rank} of {size}"):
        Ranks(rank, size)


def test_several_ranks_without_a_group_are_refused():
    with pytest.raises(LearningError, match="2 ranks without a group"):
        Ranks(0, 2)


def test_alone_everything_comes_back_as_it_was():
    values = torch.tensor([3.0, -1.0])
    rows = torch.ones(2, 3, requires_grad=True)
    assert sum_over(values, ALONE) is values
    assert max_over(values, ALONE) is values
    assert values.tolist() == [3, -1]
    assert gather_rows(rows, ALONE) is rows
    assert torch.equal(gather_values(values, ALONE), values)
    assert any_rank(True, ALONE) is True
    assert any_rank(False, ALONE) is False
    check_even(3, ALONE)


@pytest.mark.parametrize("size", SIZES)
def test_sums_maxima_and_flags_are_the_same_on_every_rank(size: int):
    for found in run_ranks(size):
        assert found["sum"].tolist() == [size, size * (size - 1) / 2]
        assert found["max"].tolist() == [-1, size - 1]
        assert found["any"] == [True, False]


@pytest.mark.parametrize("size", SIZES)
def test_rows_of_all_ranks_lie_in_their_order(size: int):
    alone = run_gathered()
    for found in run_ranks(size):
        assert torch.equal(found["gathered"]["rows"], alone["rows"])
        assert found["gathered"]["values"].tolist() == list(range(size))


@pytest.mark.parametrize("size", SIZES)
def test_a_loss_that_every_rank_computes_whole_has_the_gradient_of_one_process(size: int):
    found = torch.cat([part["gathered"]["gradient"] for part in run_ranks(size)])
    torch.testing.assert_close(found, run_gathered()["gradient"])


@pytest.mark.parametrize("size", SIZES)
def test_batches_of_different_sizes_are_refused_on_every_rank(size: int):
    listed = ", ".join(f"{2 + rank} on rank {rank}" for rank in range(size))
    for found in run_ranks(size):
        expected = f"the ranks bring batches of different sizes: {listed}"
        assert found["refused"]["uneven"] == found["refused"]["uneven draw"] == expected


def test_a_rank_that_ended_is_told_of_by_the_others():
    said = run_ranks(2)[0]["lost"]
    assert said.startswith("rank 0 of 2 lost the others: ")
    assert "the run goes on from its last checkpoint" in said


def test_errors_of_one_process_are_not_blamed_on_ranks():
    with pytest.raises(RuntimeError, match="own mistake"), translate_lost_rank(ALONE):
        raise RuntimeError("own mistake")
