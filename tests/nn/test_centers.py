"""Every identity has one owner, and the same center whoever that is."""

from __future__ import annotations

import pytest
import torch

from arcwise.errors import LearningError
from arcwise.nn.centers import (
    check_draw,
    copy_rows,
    draw_identities,
    find_block,
    point_centers,
    start_centers,
)
from arcwise.nn.collective import Ranks


def make_ranks(rank: int, size: int) -> Ranks:
    """Of a group that is never spoken to."""
    return Ranks(
        rank, size, torch.distributed.ProcessGroup(torch.distributed.HashStore(), rank, size)
    )


@pytest.mark.parametrize(
    ("n", "size", "lengths"),
    [(10, 1, [10]), (10, 4, [3, 3, 2, 2]), (8, 4, [2, 2, 2, 2]), (2, 4, [1, 1, 0, 0])],
)
def test_blocks_follow_each_other_and_hold_everybody(n: int, size: int, lengths: list[int]):
    blocks = [find_block(n, make_ranks(rank, size)) for rank in range(size)]
    assert [len(block) for block in blocks] == lengths
    assert [identity for block in blocks for identity in block] == [*range(n)]


@pytest.mark.parametrize("cut", [1, 1023, 1024, 1025, 2500])
def test_new_centers_do_not_hang_on_where_they_are_cut(cut: int):
    whole = start_centers(range(3000), n_rows=2, dimension=4, seed=3)
    parts = [
        start_centers(own, n_rows=2, dimension=4, seed=3) for own in (range(cut), range(cut, 3000))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_blocks_of_seeds_do_not_repeat():
    centers = start_centers(range(4096), n_rows=1, dimension=4, seed=0)
    assert len(centers.unique(dim=0)) == 4096


def test_a_draw_hangs_on_seed_rank_and_number():
    labels, own = torch.tensor([100, 7]), range(100, 200)

    def draw(**changed: int) -> list[int]:
        given = {"seed": 1, "n_draw": 2, "rank": 3} | changed
        return draw_identities(labels, own, rate=0.2, **given).tolist()

    assert draw() == draw()
    assert len(draw()) == 20
    assert draw()[0] == 0  # identity 100, the true one of this rank
    assert len({tuple(draw(**{key: 9})) for key in ("seed", "n_draw", "rank")} | {()}) == 4
    assert draw() not in [draw(**{key: 9}) for key in ("seed", "n_draw", "rank")]


def test_a_large_seed_is_not_cut_to_32_bits():
    own, labels = range(100), torch.tensor([0])
    some, other = (
        draw_identities(labels, own, rate=0.2, seed=seed, n_draw=0, rank=0)
        for seed in (1, 1 + 2**32)
    )
    assert not torch.equal(some, other)


def test_centers_point_where_they_are_told_to():
    old, means = torch.randn(3, 2, 4), torch.randn(3, 4)
    means[1] = 0
    new = point_centers(old, means)
    assert torch.equal(new[1], old[1])
    assert torch.cosine_similarity(new[0, 0], means[0], dim=0).item() == pytest.approx(1)
    assert new[0].norm(dim=1).tolist() == pytest.approx([0.02, 0.02])


def test_rows_are_copied_where_both_reach():
    own = torch.zeros(4, 1)
    assert copy_rows(own, 10, 8, torch.arange(4.0)[:, None]) == 2
    assert own[:, 0].tolist() == [2, 3, 0, 0]
    assert copy_rows(own, 10, 14, torch.ones(3, 1)) == 0
    with pytest.raises(LearningError, match=r"rows of shape \(2,\)"):
        copy_rows(own, 10, 10, torch.zeros(4, 2))


@pytest.mark.parametrize(("rate", "seed"), [(-0.1, 0), (1.1, 0), (0.5, -1)])
def test_what_cannot_be_drawn_is_refused(rate: float, seed: int):
    with pytest.raises(LearningError, match="got"):
        check_draw(rate, seed)
