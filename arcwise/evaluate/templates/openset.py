"""1:N over templates, as IJB-B and IJB-C ask it: who of a gallery is it, if anybody?

It does not know files, images or models. Closed set: ranks of the mated searches. Open set: the
published index rule of InsightFace's ijb_evals.py (TPIR@FPIR) and NIST's FNIR@FPIR. The two
galleries hold different people; each is searched with all probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.errors import DatasetError
from arcwise.evaluate.curve import count_needed
from arcwise.evaluate.identification.alarm import DetPoints, FnirAtFpir, det_points, fnir_at_fpir
from arcwise.evaluate.identification.search import Searches, cmc, search_gallery
from arcwise.evaluate.row import Row, Share, count_share
from arcwise.evaluate.sets.ijb import TemplatePeople
from arcwise.evaluate.templates import Templates

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)  # of the published tables
NIST_FPIRS = (0.003, 0.01, 0.1)  # 0.003 is the headline of FRTE 1:N
_CURVE_RANKS = 20


@dataclass(frozen=True, slots=True)
class TpirAtFpir:
    """True positive identification rate by the published index rule.

    Attributes:
        fpir: the false positive identification rate aimed at.
        tpir: share of mated searches whose mate is first and above the threshold; None where
            the non-mated searches are too few to tell.
        similarity: the threshold, cosine, or None.
        text: the result in words.
    """

    fpir: float
    tpir: Share | None
    similarity: float | None
    text: str


@dataclass(frozen=True, slots=True)
class GalleryReport:
    """All probes searched in one gallery.

    Attributes:
        name: of the gallery, such as G1.
        n_people, n_templates: in the gallery.
        n_mated: searches whose person is in the gallery, failed ones included.
        n_failed_mated: of these, the probe or the person's templates have no vector; they never
            find their mate.
        n_non_mated: searches whose person is not, with a vector.
        n_failed_non_mated: without one; they are in no rate.
        ranks: share of mated searches with the mate among the first 1, 5, 10.
        tpirs: the published rule.
        fnirs: NIST's rates.
        cmc: shares at ranks 1 to 20.
        det: FNIR against FPIR; None without non-mated searches.
    """

    name: str
    n_people: int
    n_templates: int
    n_mated: int
    n_failed_mated: int
    n_non_mated: int
    n_failed_non_mated: int
    ranks: tuple[Share, ...]
    tpirs: tuple[TpirAtFpir, ...]
    fnirs: tuple[FnirAtFpir, ...]
    cmc: tuple[float, ...]
    det: DetPoints | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the DET points are left out."""
        plain = {name: getattr(self, name) for name in _COUNTS}
        return plain | {
            "ranks": {str(rank): asdict(at) for rank, at in zip(RANKS, self.ranks, strict=True)},
            "tpirs": [asdict(tpir) for tpir in self.tpirs],
            "fnirs": [asdict(fnir) for fnir in self.fnirs],
            "cmc": list(self.cmc),
        }

    def rows(self) -> list[Row]:
        """Every number with its definition."""
        failed = f"{self.n_failed_mated:,} mated, {self.n_failed_non_mated:,} non-mated"
        return [
            Row("gallery", f"{self.n_people:,} people, {self.n_templates:,} templates", self.name),
            Row("mated searches", f"{self.n_mated:,}", "the person is in the gallery"),
            Row("non-mated searches", f"{self.n_non_mated:,}", "the person is not"),
            Row("failed searches", failed, _FAILED),
            *(
                Row(f"rank {rank}", str(at), _RANK)
                for rank, at in zip(RANKS, self.ranks, strict=True)
            ),
            *(Row(f"TPIR@FPIR {at.fpir:g} (insightface)", at.text, _TPIR) for at in self.tpirs),
            *(Row(f"FNIR@FPIR {at.fpir:g}", at.text, _FNIR) for at in self.fnirs),
        ]


@dataclass(frozen=True, slots=True)
class OpenSetReport:
    """All galleries of a set, and what they say together.

    Attributes:
        galleries: each for itself.
        ranks: hits of all galleries over the mated searches of all, as ijb_evals.py counts.
        mean_ranks: the mean of the galleries' shares.
        mean_tpirs: the mean of the galleries' TPIR; None where one of them cannot tell.
    """

    galleries: tuple[GalleryReport, ...]
    ranks: tuple[Share, ...]
    mean_ranks: tuple[float, ...]
    mean_tpirs: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "galleries": {gallery.name: gallery.to_dict() for gallery in self.galleries},
            "ranks": {str(rank): asdict(at) for rank, at in zip(RANKS, self.ranks, strict=True)},
            "mean_ranks": dict(zip(map(str, RANKS), self.mean_ranks, strict=True)),
            "mean_tpirs": dict(zip(map(str, FPIRS), self.mean_tpirs, strict=True)),
        }

    def rows(self) -> list[Row]:
        """What the galleries say together; each has rows of its own."""
        names = ", ".join(gallery.name for gallery in self.galleries)
        return [
            *(
                Row(f"rank {rank}", str(at), f"hits over mated searches, of {names} together")
                for rank, at in zip(RANKS, self.ranks, strict=True)
            ),
            *(
                Row(f"rank {rank}, mean", f"{mean:.2%}", f"mean of the shares of {names}")
                for rank, mean in zip(RANKS, self.mean_ranks, strict=True)
            ),
            *(
                Row(f"TPIR@FPIR {fpir:g}, mean (insightface)", _show(mean), f"mean of {names}")
                for fpir, mean in zip(FPIRS, self.mean_tpirs, strict=True)
            ),
        ]


def search_galleries(
    templates: Templates, galleries: Mapping[str, TemplatePeople], probes: TemplatePeople
) -> OpenSetReport:
    """Search all probes in each gallery, and measure.

    Args:
        templates: of the set, galleries and probes.
        galleries: name -> whose templates are in it, at least one gallery.
        probes: whose templates are searched for.

    Raises:
        InputError: a template without images.
        DatasetError: a gallery or the probes without any vector, or no probe of a gallery's people.
    """
    if not galleries:
        raise DatasetError("there is no gallery", hint="1:N needs SET_1N_gallery_*.csv")
    found = tuple(
        _search_one(name, templates, gallery, probes) for name, gallery in galleries.items()
    )
    pooled = tuple(
        count_share(sum(at.n_hits for at in ranks), sum(at.n for at in ranks))
        for ranks in zip(*(gallery.ranks for gallery in found), strict=True)
    )
    means = tuple(
        float(np.mean([at.share for at in ranks]))
        for ranks in zip(*(gallery.ranks for gallery in found), strict=True)
    )
    tpirs = []
    for column in zip(*(gallery.tpirs for gallery in found), strict=True):
        shares = [at.tpir.share for at in column if at.tpir is not None]
        tpirs.append(float(np.mean(shares)) if len(shares) == len(column) else None)
    return OpenSetReport(found, pooled, means, tuple(tpirs))


def _search_one(
    name: str, templates: Templates, gallery: TemplatePeople, probes: TemplatePeople
) -> GalleryReport:
    """A search without a vector, or for a person without one, is failed and not run."""
    rows, searched = templates.places(gallery.templates), templates.places(probes.templates)
    known = set(gallery.people)
    shown = [place for place, row in enumerate(rows) if templates.has_vector[row]]
    able = {gallery.people[place] for place in shown}
    run = [
        place
        for place, (row, person) in enumerate(zip(searched, probes.people, strict=True))
        if templates.has_vector[row] and (person in able or person not in known)
    ]
    n_mated = sum(person in known for person in probes.people)
    n_run_mated = sum(probes.people[place] in able for place in run)
    if not n_run_mated:
        raise DatasetError(
            f"gallery {name}: none of {len(probes.people):,} probes shows one of its "
            f"{len(known):,} people, both with a vector",
            hint="the meta files are of different sets, or the images could not be read",
        )
    searches = search_gallery(
        templates.vectors[searched[run]],
        [probes.people[place] for place in run],
        templates.vectors[rows[shown]],
        [gallery.people[place] for place in shown],
    )
    n_failed = n_mated - n_run_mated
    n_non_mated = searches.n_non_mated
    return GalleryReport(
        name=name,
        n_people=len(known),
        n_templates=len(rows),
        n_mated=n_mated,
        n_failed_mated=n_failed,
        n_non_mated=n_non_mated,
        n_failed_non_mated=len(probes.people) - n_mated - n_non_mated,
        ranks=tuple(cmc(searches, RANKS, n_failed=n_failed)),
        tpirs=tuple(tpir_at_fpir(searches, fpir, n_failed=n_failed) for fpir in FPIRS),
        fnirs=tuple(fnir_at_fpir(searches, fpir, n_failed=n_failed) for fpir in NIST_FPIRS),
        cmc=tuple(at.share for at in cmc(searches, range(1, _CURVE_RANKS + 1), n_failed=n_failed)),
        det=det_points(searches, n_failed=n_failed) if n_non_mated else None,
    )


def tpir_at_fpir(searches: Searches, fpir: float, *, n_failed: int = 0) -> TpirAtFpir:
    """TPIR by the published index rule of InsightFace's ijb_evals.py.

    Of the highest scores of the N non-mated searches, falling, the threshold is the one at index
    max(int(N * fpir) - 1, 0). A mated search is right when its mate scores above everybody else
    and above the threshold.

    Args:
        searches: mated ones, and enough non-mated ones.
        fpir: the false positive identification rate aimed at, above 0.
        n_failed: mated searches without a score; they are never right.
    """
    highest = np.sort(searches.other_scores[~searches.is_mated])[::-1]
    need = count_needed(fpir)
    if need > len(highest):
        text = f"n/a: needs 1/FPIR = {need:,} non-mated searches, has {len(highest):,}"
        return TpirAtFpir(fpir, None, None, text)
    threshold = highest[max(int(len(highest) * fpir) - 1, 0)]
    is_hit = (searches.mate_ranks == 1) & (searches.mate_scores > threshold)
    share = count_share(int(np.count_nonzero(is_hit)), searches.n_mated + n_failed)
    return TpirAtFpir(fpir, share, float(threshold), f"{share}, at {threshold:.4f}")


def _show(mean: float | None) -> str:
    return "n/a: a gallery has too few non-mated searches" if mean is None else f"{mean:.2%}"


_COUNTS = (
    "n_people",
    "n_templates",
    "n_mated",
    "n_failed_mated",
    "n_non_mated",
    "n_failed_non_mated",
)
_FAILED = "without a vector; a mated one never finds its mate, a non-mated one is in no rate"
_RANK = "share of mated searches with the mate among the first so many people; ties count against"
_TPIR = (
    "share of mated searches whose mate is first and above the threshold, the score at index "
    "max(int(N * FPIR) - 1, 0) of the N non-mated ones, falling (InsightFace's ijb_evals.py)"
)
_FNIR = "share of mated searches without their mate where at most FPIR of the others get a name"
