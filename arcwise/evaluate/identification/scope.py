"""What is wanted of the searches of a gallery: ranks, rates, thresholds, sizes, draws.

It does not measure anything; evaluate/identification does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from arcwise.compare import Threshold
from arcwise.errors import InputError
from arcwise.evaluate.identification.seed import check_seed
from arcwise.evaluate.row import FailedPolicy


@dataclass(frozen=True, slots=True)
class Scope:
    """What is measured. The defaults are the ranks of system D, the rates of CVLface and NIST.

    Attributes:
        ranks: for top-k, from 1.
        cmc_to: last rank of the CMC.
        fars, dir_ranks: for DIR@FAR.
        fpirs: for FNIR@FPIR.
        thresholds: chosen elsewhere.
        failed_policy: what becomes of failed mated searches.
        sizes: of smaller galleries; () for none, None for 10, 30, 100, 300 and so on (our choice).
        n_draws: random galleries of each size.
        n_replicates: draws of people for the intervals.
        seed: of both, 0 to 2**32 - 1.
    """

    ranks: tuple[int, ...] = (1, 3, 5)
    cmc_to: int = 20
    fars: tuple[float, ...] = (0.01, 0.1)
    dir_ranks: tuple[int, ...] = (1, 5, 20)
    fpirs: tuple[float, ...] = (0.1, 0.01, 0.003, 0.001)
    thresholds: tuple[Threshold, ...] = ()
    failed_policy: FailedPolicy = "count_as_wrong"
    sizes: tuple[int, ...] | None = ()
    n_draws: int = 10
    n_replicates: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.cmc_to < 1 or self.n_draws < 1 or self.n_replicates < 2:
            raise InputError(
                f"the CMC ends at rank {self.cmc_to}, with {self.n_draws} draws and "
                f"{self.n_replicates} replicates",
                hint="use 1, 1 and 2 at least",
            )
        if any(size < 1 for size in self.sizes or ()):
            raise InputError(f"gallery sizes are {self.sizes}", hint="give numbers of people")

    def count_failed(self, failed_mates: Collection[str]) -> int:
        """How many failed mated searches count as misses."""
        return len(failed_mates) if self.failed_policy == "count_as_wrong" else 0
