"""One rank of several: `python -m tests.ranks.work RANK SIZE FOLDER`; RESULT-RANK.pt is written."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from arcwise.errors import LearningError
from arcwise.nn.collective import Ranks, any_rank, max_over, sum_over
from arcwise.nn.partial_fc import PartialHead
from arcwise.nn.rule import Rule
from arcwise.train.rows import RowOptimizer
from tests.ranks.cases import (
    CASES,
    DIMENSION,
    N_STEPS,
    RATE,
    build_head,
    describe_state,
    run_case,
    run_gathered,
    run_network,
    take_steps,
)

RESUMED = ("arcface", "some, adam", "some, curricularface, sub-centers")


def stop_early(name: str, ranks: Ranks) -> dict[str, Any]:
    """A run that ends before its last step; what a checkpoint would hold of it."""
    head = build_head(CASES[name], ranks)
    optimizer = RowOptimizer(head, **CASES[name].optimizer)
    take_steps(CASES[name], head, optimizer, range(N_STEPS - 1))
    state, rule = describe_state(head, optimizer), head.rule.state_dict()
    return {"first_row": head.first_row, "state": state, "rule": rule}


def go_on(name: str, parts: list[dict[str, Any]], ranks: Ranks) -> dict[str, Any]:
    """The last step of a run that another number of ranks began."""
    head = build_head(CASES[name], ranks)
    optimizer = RowOptimizer(head, **CASES[name].optimizer)
    n_taken = 0
    for part in parts:
        memory = dict(part["state"])
        n_taken += head.load_rows(part["first_row"], memory.pop("weight"))
        optimizer.load_rows(part["first_row"], memory)
    assert n_taken == len(head.weight)
    head.rule.load_state_dict(parts[0]["rule"])
    steps = take_steps(CASES[name], head, optimizer, range(N_STEPS - 1, N_STEPS))
    return {"steps": steps, "state": describe_state(head, optimizer)}


def draw_twice(ranks: Ranks) -> list[torch.Tensor]:
    """What two steps of a head draw that may draw for itself, of all identities."""
    head, drawn = build_head(CASES["some"], ranks), []
    for label in (1, 30):
        head.draw_rows(torch.tensor([label, -1]))
        assert head.drawn is not None
        assert head.drawn.identities is not None
        drawn.append(head.drawn.identities + head.first)
    return drawn


def refuse(ranks: Ranks) -> dict[str, str]:
    """What is said where the ranks do not go together."""
    said = {}
    head = build_head(CASES["arcface"], ranks)
    n_uneven = 2 + ranks.rank
    for name, call in (
        ("uneven", lambda: head(torch.ones(n_uneven, DIMENSION), torch.zeros(n_uneven).long())),
        ("uneven draw", lambda: head.draw_rows(torch.zeros(n_uneven).long())),
        ("not drawn", lambda: _forget_a_label(ranks)),
    ):
        try:
            call()
        except LearningError as exc:
            said[name] = str(exc)
    return said


def _forget_a_label(ranks: Ranks) -> None:
    head = build_head(CASES["some"], ranks)
    head.use_rows(torch.arange(20))
    head(torch.ones(1, DIMENSION), torch.tensor([21 if ranks.rank else 5]))


def lose_the_others(ranks: Ranks) -> str:
    """What the first rank says when all others have ended."""
    head = build_head(CASES["arcface"], ranks)
    if ranks.rank:
        return ""
    try:
        head(torch.ones(2, DIMENSION), torch.zeros(2).long())
    except LearningError as exc:
        return f"{exc} | {exc.hint}"
    return "nothing"


def work(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """All that the tests want to know of this rank."""
    began = folder / "began.pt"
    return {
        "cases": {
            (name, dtype): run_case(case, ranks, dtype)
            for name, case in CASES.items()
            for dtype in (torch.float32, torch.float64)
        },
        "network": run_network(ranks),
        "gathered": run_gathered(ranks),
        "sum": sum_over(torch.tensor([1.0, ranks.rank]), ranks),
        "max": max_over(torch.tensor([-1.0, ranks.rank]), ranks),
        "any": [any_rank(ranks.rank == 1, ranks), any_rank(False, ranks)],
        "stopped": {name: stop_early(name, ranks) for name in RESUMED},
        "resumed": {
            name: go_on(name, parts, ranks)
            for name, parts in (torch.load(began) if began.exists() else {}).items()
        },
        "drawn": draw_twice(ranks),
        "few": build_few(ranks),
        "refused": refuse(ranks),
        "lost": lose_the_others(ranks),
    }


def build_few(ranks: Ranks) -> dict[str, torch.Tensor]:
    """A head of fewer identities than ranks, where one of them owns nothing."""
    head = PartialHead(DIMENSION, 1, Rule(16), ranks=ranks, sample_rate=RATE)
    embeddings = torch.ones(2, DIMENSION, requires_grad=True)
    result = head(embeddings, torch.tensor([0, -1]))
    result.loss.backward()
    assert embeddings.grad is not None
    return {"loss": result.loss.detach(), "gradient": embeddings.grad}


def main() -> None:
    """Join the others through a file, work, and leave."""
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    store = f"file://{(folder / 'store').absolute()}"
    timeout = timedelta(seconds=60)
    dist.init_process_group("gloo", store, timeout, size, rank)
    found = work(Ranks(rank, size, dist.group.WORLD), folder)
    torch.save(found, folder / f"result-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
