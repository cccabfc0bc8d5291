"""One rank as torchrun starts it: `torchrun … -m tests.ranks.join FOLDER`; RANK.txt is written."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from arcwise.nn.collective import sum_over
from arcwise.train.ranks import close_ranks, open_ranks

if __name__ == "__main__":
    ranks = open_ranks(torch.device("cpu"), timeout_s=60)
    total = sum_over(torch.tensor([1.0, 10.0**ranks.rank]), ranks)
    close_ranks(ranks)
    words = f"{ranks.rank} of {ranks.size}: {total.tolist()}, {torch.distributed.is_initialized()}"
    Path(sys.argv[1], f"{ranks.rank}.txt").write_text(words, encoding="utf-8")
