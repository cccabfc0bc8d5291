"""1:1 over templates, as IJB-B and IJB-C ask it: is it the same person in both?

It does not know files, images or models. Two rules for TAR at a FAR: ours (`tar_at_far`: never more
false accepts than asked for) and the published one of InsightFace's eval_ijbc.py, named
`insightface`: the point of the ROC curve whose FAR is nearest, of equal ones the highest TAR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.errors import DatasetError
from arcwise.evaluate.curve import FARS, Counts, Rising, Scores, count_needed
from arcwise.evaluate.rates import CurveReport, measure_sorted
from arcwise.evaluate.row import Row
from arcwise.evaluate.sets.ijb import TemplatePairs
from arcwise.evaluate.templates import Templates, score_pairs


@dataclass(frozen=True, eq=False, slots=True)
class TemplateScores:
    """Scored pairs of templates.

    Attributes:
        genuine, impostor: cosine of the pairs of one person and of two people, rising, float32.
        n_failed_same, n_failed_different: pairs with a template that has no vector.
    """

    genuine: Rising
    impostor: Rising
    n_failed_same: int
    n_failed_different: int


@dataclass(frozen=True, slots=True)
class NearestTar:
    """TAR at the point of the ROC curve whose FAR is nearest.

    Attributes:
        far: the false accept rate aimed at.
        tar: true accept rate there; None where the impostor pairs are too few to tell.
        far_found: the false accept rate there, or None; it may be above `far`.
        similarity: the threshold, cosine; None where nothing is accepted.
        text: the result in words.
    """

    far: float
    tar: float | None
    far_found: float | None
    similarity: float | None
    text: str


@dataclass(frozen=True, slots=True)
class TemplatePairReport:
    """What the pairs of a set say.

    Attributes:
        n_pairs, n_same: all pairs of the list, and those of one person.
        n_failed_same, n_failed_different: pairs with a template that has no vector: refused at
            every threshold if of one person, else not in any FAR.
        curve: every measure of the scored pairs, by our rule.
        insightface: TAR at the nearest FAR, the published rule.
    """

    n_pairs: int
    n_same: int
    n_failed_same: int
    n_failed_different: int
    curve: CurveReport
    insightface: tuple[NearestTar, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {
            name: getattr(self, name)
            for name in ("n_pairs", "n_same", "n_failed_same", "n_failed_different")
        }
        published = [asdict(tar) for tar in self.insightface]
        return plain | {"curve": self.curve.to_dict(), "insightface": published}

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        published = [
            Row(f"TAR@FAR {tar.far:.0e} (insightface)", tar.text, _NEAREST)
            for tar in self.insightface
        ]
        pairs = Row("pairs", f"{self.n_pairs:,}", "pairs of templates of the list")
        return [pairs, *self.curve.rows(), *published]


def score_templates(templates: Templates, pairs: TemplatePairs) -> TemplateScores:
    """Score the pairs of a set and sort the scores.

    Args:
        templates: of the set.
        pairs: by numbers of templates.

    Raises:
        InputError: a pair names a template without images.
        DatasetError: no pair of one of the classes can be scored.
    """
    first, second = templates.places(pairs.first), templates.places(pairs.second)
    has_both = templates.has_vector[first] & templates.has_vector[second]
    scores = score_pairs(templates.vectors, first[has_both], second[has_both])
    is_same = pairs.is_same[has_both]
    genuine, impostor = np.sort(scores[is_same]), np.sort(scores[~is_same])
    if not len(genuine) or not len(impostor):
        raise DatasetError(
            f"{len(genuine):,} scored pairs of one person and {len(impostor):,} of two people",
            hint="1:1 needs both",
        )
    n_failed_same = int(np.count_nonzero(pairs.is_same)) - len(genuine)
    n_failed = len(has_both) - len(scores)
    return TemplateScores(genuine, impostor, n_failed_same, n_failed - n_failed_same)


def measure_templates(scores: TemplateScores) -> TemplatePairReport:
    """Every measure of scored pairs of templates."""
    n_same = len(scores.genuine) + scores.n_failed_same
    n_different = len(scores.impostor) + scores.n_failed_different
    return TemplatePairReport(
        n_pairs=n_same + n_different,
        n_same=n_same,
        n_failed_same=scores.n_failed_same,
        n_failed_different=scores.n_failed_different,
        curve=measure_sorted(
            Scores(scores.genuine, scores.impostor),
            n_failed_same=scores.n_failed_same,
            n_failed_different=scores.n_failed_different,
        ),
        insightface=nearest_tars(scores.genuine, scores.impostor, n_failed=scores.n_failed_same),
    )


def nearest_tars(
    genuine: Rising, impostor: Rising, *, fars: Sequence[float] = FARS, n_failed: int = 0
) -> tuple[NearestTar, ...]:
    """TAR by the published rule: at the point of the ROC curve whose FAR is nearest.

    The points are those of scikit-learn's roc_curve: one for each distinct score, without those
    that lie on a line between their neighbors, and (0, 0). Of two equally near the one of higher
    FAR is taken, of several of that FAR the one of highest TAR. So more impostors may pass than
    asked for, and with few of them many more; `tar_at_far` never lets that happen.

    Args:
        genuine: (G,) scores of same-person pairs, rising, at least one.
        impostor: (I,) of the others, likewise.
        fars: aimed at.
        n_failed: same-person pairs without a score; they are never accepted.
    """
    thresholds, n_false, n_true = _trace_curve(genuine, impostor)
    n_genuine = len(genuine) + n_failed
    far_of = n_false / len(impostor)
    found = []
    for far in fars:
        need = count_needed(far)
        if need > len(impostor):
            text = f"n/a: needs 1/FAR = {need:,} impostors, has {len(impostor):,}"
            found.append(NearestTar(far, None, None, None, text))
            continue
        at = len(far_of) - 1 - int(np.argmin(np.abs(far_of - far)[::-1]))
        tar = int(n_true[at]) / n_genuine
        similarity = float(thresholds[at - 1]) if at else None
        text = f"{tar:.2%}, at FAR {far_of[at]:.2e}"
        found.append(NearestTar(far, tar, float(far_of[at]), similarity, text))
    return tuple(found)


def _trace_curve(genuine: Rising, impostor: Rising) -> tuple[Rising, Counts, Counts]:
    """Falling thresholds (C,), and false and true accepts (C + 1,), from none accepted on."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    n_false = len(impostor) - np.searchsorted(impostor, thresholds, side="left")
    n_true = len(genuine) - np.searchsorted(genuine, thresholds, side="left")
    if len(thresholds) > 2:  # roc_curve(drop_intermediate=True)
        is_corner = (np.diff(n_false, 2) != 0) | (np.diff(n_true, 2) != 0)
        kept = np.concatenate(([True], is_corner, [True]))
        thresholds, n_false, n_true = thresholds[kept], n_false[kept], n_true[kept]
    return thresholds, np.append(0, n_false), np.append(0, n_true)


_NEAREST = (
    "at the point of the ROC curve whose FAR is nearest, as InsightFace's eval_ijbc.py takes it; "
    "the FAR found may be above the one asked for"
)
