"""From similarities to an answer: the same person or not; match, unknown, ambiguous; and why.

It does not know galleries or photos: it is given candidates or a similarity, and a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arcwise.compare import Calibration, ProbabilityCurve, Threshold
from arcwise.quality import IDENTIFY, find_faults
from arcwise.types import Comparison, Face, Match, Status

if TYPE_CHECKING:  # two photos are compared without loading what a gallery needs
    from arcwise.nearest import Candidate

AMBIGUOUS_MARGIN = 0.05
"""Two people closer than this are not told apart; the margin of InsightFace PersonAnalysis."""
SURE_NO, SURE_YES = 0.1, 0.9
"""A no is sure below the first probability, a yes from the second on: our choice."""


def decide_match(face: Face, ranked: Sequence[Candidate], threshold: Threshold) -> Match:
    """The answer for one face.

    The first that holds: the face is too poor to decide, nobody is similar enough, two people
    are too close to each other, it is a match.

    Args:
        face: its quality is judged when it was measured.
        ranked: the two nearest people, nearest first; fewer in a small gallery.
        threshold: the least similarity that counts.
    """
    best = ranked[0] if ranked else None
    second = ranked[1] if len(ranked) > 1 else None
    margin = best.similarity - second.similarity if best and second else None
    faults = find_faults(face.quality, IDENTIFY) if face.quality else ()
    status: Status
    if faults:
        status, why = "low_quality", "; ".join(fault.text for fault in faults)
    elif best is None:
        status, why = "unknown", f"the gallery is empty ({threshold.why})"
    elif best.similarity < threshold.similarity:
        status = "unknown"
        why = (
            f"the nearest person, {best.name}, has similarity {best.similarity:.3f}, "
            f"{threshold.similarity:.3f} is needed ({threshold.why})"
        )
    elif second and margin is not None and margin < AMBIGUOUS_MARGIN:
        status = "ambiguous"
        why = (
            f"{best.name} ({best.similarity:.3f}) and {second.name} ({second.similarity:.3f}) are "
            f"less than {AMBIGUOUS_MARGIN} apart; {threshold.similarity:.3f} is needed "
            f"({threshold.why})"
        )
    else:
        status = "match"
        why = (
            f"similarity {best.similarity:.3f}, {threshold.similarity:.3f} is needed "
            f"({threshold.why})"
        )
    return Match(
        status=status,
        person=best.name if best and status == "match" else None,
        similarity=best.similarity if best else None,
        threshold=threshold.similarity,
        margin=margin,
        candidate=best.name if best else None,
        runner_up=second.name if second else None,
        why=why,
        calibrated=threshold.calibrated,
    )


def decide_pair(
    similarity: float, threshold: Threshold, calibration: Calibration | None
) -> Comparison:
    """Whether two faces are of one person, and how sure that is.

    The threshold alone decides. The answer is uncertain where the probability is known and does
    not clearly say the same: a yes below 0.9, or a no at 0.1 or above; see `uncertain_band`.

    Args:
        similarity: cosine of the two.
        threshold: a match when the similarity is at least this.
        calibration: that may know the probability, or None.
    """
    is_match = similarity >= threshold.similarity
    relation = "at least" if is_match else "below"
    why = f"similarity {similarity:.3f} is {relation} {threshold.similarity:.3f} ({threshold.why})"
    curve = calibration.probability if calibration is not None else None
    probability, is_uncertain = None, None
    if curve is not None:
        probability = curve.at(similarity)
        low, high = uncertain_band(curve, threshold.similarity)
        is_uncertain = low <= similarity < high
        why += f"; probability of one person {probability:.3f} ({curve.prior:g} beforehand)"
        why += ", uncertain" if is_uncertain else ""
    return Comparison(
        similarity=similarity,
        threshold=threshold.similarity,
        fmr=threshold.fmr,
        is_match=is_match,
        calibrated=threshold.calibrated,
        why=why,
        probability=probability,
        is_uncertain=is_uncertain,
    )


def uncertain_band(curve: ProbabilityCurve, threshold: float) -> tuple[float, float]:
    """The similarities whose answer is uncertain: from the first up to, but not at, the second.

    The first is that of probability 0.1, or the threshold where that is lower; the second that of
    0.9, or the threshold where that is higher. It is above 1 where nothing has 0.9.

    Args:
        curve: the probability.
        threshold: of the answers, cosine.
    """
    return min(curve.reach(SURE_NO), threshold), max(curve.reach(SURE_YES), threshold)
